//! What the process takes, and what the system would still give it; none where the system does not say.

use std::{fs, path::Path};

/// Memory that is resident now, in bytes.
#[must_use]
pub(super) fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    kib.checked_mul(1_024)
}

/// Memory that the control group of a container or a service allows, in bytes.
#[must_use]
pub(super) fn memory_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let ours = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    // "max" where there is no limit.
    fs::read_to_string(Path::new("/sys/fs/cgroup").join(ours).join("memory.max")).ok()?.trim().parse().ok()
}

/// Seconds on processors, of all threads, in the program and in the system for it.
#[cfg(target_os = "linux")]
#[must_use]
pub(super) fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name before it, in brackets, may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks = |position| fields.split_whitespace().nth(position)?.parse::<u64>().ok();
    let used = ticks(11)?.checked_add(ticks(12)?)?;
    Some(used as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// As above.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub(super) fn cpu_seconds() -> Option<f64> {
    None
}

/// Files and sockets that are open.
#[must_use]
pub(super) fn open_files() -> Option<usize> {
    Some(fs::read_dir("/proc/self/fd").ok()?.count())
}

/// Room for this user on the disk that holds a folder, in bytes.
#[cfg(unix)]
#[must_use]
pub(super) fn disk_free(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    disk.f_bavail.checked_mul(disk.f_frsize)
}

/// As above.
#[cfg(not(unix))]
#[must_use]
pub(super) fn disk_free(_folder: &Path) -> Option<u64> {
    None
}

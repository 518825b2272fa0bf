//! What the process takes, and what the system would still give it; none where the system does not
//! say.

use std::{fs, path::Path};

/// Memory that is resident now, in bytes.
#[must_use]
pub(crate) fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    kib.checked_mul(1_024)
}

/// Memory that the control group (of version 2) of a container or a service allows, in bytes.
#[must_use]
pub(crate) fn memory_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let ours = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    // "max" where there is no limit.
    fs::read_to_string(Path::new("/sys/fs/cgroup").join(ours).join("memory.max"))
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// Seconds on processors, of all threads, in the program and in the system for it.
#[must_use]
pub(crate) fn cpu_seconds() -> Option<f64> {
    // As proc(5) numbers them: utime and stime.
    Some(stat_seconds(14)? + stat_seconds(15)?)
}

/// When the program was started, as unix time in seconds.
#[must_use]
pub(crate) fn start_time() -> Option<f64> {
    let system = fs::read_to_string("/proc/stat").ok()?;
    let boot: u64 =
        system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot as f64 + stat_seconds(22)?)
}

/// A field of `/proc/self/stat` that is a time, by its number in proc(5).
#[cfg(target_os = "linux")]
fn stat_seconds(number: usize) -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name before it, in brackets, may hold anything: the first after it is the third.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: u64 = fields.split_whitespace().nth(number.checked_sub(3)?)?.parse().ok()?;
    Some(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// As above.
#[cfg(not(target_os = "linux"))]
fn stat_seconds(_number: usize) -> Option<f64> {
    None
}

/// Files and sockets that are open.
#[must_use]
pub(crate) fn open_files() -> Option<usize> {
    Some(fs::read_dir("/proc/self/fd").ok()?.count())
}

/// Room for this user on the disk that holds a folder, in bytes.
#[cfg(unix)]
#[must_use]
pub(crate) fn disk_free(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    disk.f_bavail.checked_mul(disk.f_frsize)
}

/// As above.
#[cfg(not(unix))]
#[must_use]
pub(crate) fn disk_free(_folder: &Path) -> Option<u64> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn the_program_was_started_before_now_and_its_time_runs() {
        let began = Duration::from_secs_f64(start_time().expect("Linux says it"));
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        // The boot's time has whole seconds.
        assert!(began < now + Duration::from_secs(2), "{began:?} and {now:?}");
        assert!(began + Duration::from_hours(24) > now, "{began:?} and {now:?}");
        assert!(cpu_seconds().is_some_and(|seconds| (0.0..86_400.0).contains(&seconds)));
    }
}

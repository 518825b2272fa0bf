//! Reads the process's use of memory, processors and files, and the limits that the system sets.
//!
//! Functions return `None` where the system reports no number.

use std::{fs, path::Path};

/// Returns the resident memory, in bytes.
#[must_use]
pub(crate) fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    kib.checked_mul(1_024)
}

/// Returns the memory limit of the process's control group (version 2), in bytes.
#[must_use]
pub(crate) fn memory_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let ours = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    // The file holds "max" where there is no limit, which does not parse.
    fs::read_to_string(Path::new("/sys/fs/cgroup").join(ours).join("memory.max"))
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// Returns the processor time of all threads, user and system, in seconds.
#[must_use]
pub(crate) fn cpu_seconds() -> Option<f64> {
    // utime and stime, as proc(5) numbers them.
    Some(stat_seconds(14)? + stat_seconds(15)?)
}

/// Returns the start of the program, as unix time in seconds.
#[must_use]
pub(crate) fn start_time() -> Option<f64> {
    let system = fs::read_to_string("/proc/stat").ok()?;
    let boot: u64 =
        system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot as f64 + stat_seconds(22)?)
}

/// Returns the time in a field of `/proc/self/stat`, by its number in proc(5), in seconds.
#[cfg(target_os = "linux")]
fn stat_seconds(number: usize) -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // Field 2 is the program's name in brackets, which may hold any character. Field 3 follows.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: u64 = fields.split_whitespace().nth(number.checked_sub(3)?)?.parse().ok()?;
    Some(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

#[cfg(not(target_os = "linux"))]
fn stat_seconds(_number: usize) -> Option<f64> {
    None
}

/// Returns the number of open files and sockets.
#[must_use]
pub(crate) fn open_files() -> Option<usize> {
    Some(fs::read_dir("/proc/self/fd").ok()?.count())
}

/// Returns the free space for this user on the disk that holds a folder, in bytes.
#[cfg(unix)]
#[must_use]
pub(crate) fn disk_free(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    disk.f_bavail.checked_mul(disk.f_frsize)
}

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
        // The boot time is in whole seconds.
        assert!(began < now + Duration::from_secs(2), "{began:?} and {now:?}");
        assert!(began + Duration::from_hours(24) > now, "{began:?} and {now:?}");
        assert!(cpu_seconds().is_some_and(|seconds| (0.0..86_400.0).contains(&seconds)));
    }
}

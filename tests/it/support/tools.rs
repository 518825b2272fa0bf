//! Checks for tools that a machine may lack. A test that needs a missing tool is skipped with a
//! visible message. In CI (`CI=true`) it fails instead, unless the environment skips it:
//!
//! - `FRIENDCHAIN_SKIP_NETNS=1`: tests in network namespaces (they need root, `ip` and `nsenter`);
//! - `FRIENDCHAIN_SKIP_MOUNTS=1`: tests on full and read-only disks (they need root that may
//!   mount);
//! - `FRIENDCHAIN_SKIP_FAKETIME=1`: tests with a wrong clock (they need libfaketime, and a binary
//!   that is not static: with a static one they are skipped in CI too);
//! - `FRIENDCHAIN_SKIP_TMUX=1`: tests on a terminal (they need `tmux`);
//! - `FRIENDCHAIN_SKIP_PROMETHEUS=1`: tests with the real Prometheus (they need `prometheus` and
//!   `promtool`).

use std::{
    io::Write,
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use super::folder::{TestNet, binary};

/// True if the tests in network namespaces run.
///
/// # Panics
/// Panics in CI if the tools are missing and the environment does not skip the tests.
#[track_caller]
pub(crate) fn namespaces_wanted() -> bool {
    wanted(
        "FRIENDCHAIN_SKIP_NETNS",
        "root, and the programs ip (iproute2) and nsenter (util-linux)",
        &["ip netns list", "nsenter --net=/proc/self/ns/net true"],
    )
}

/// True if the tests on full and read-only disks run.
///
/// # Panics
/// Panics in CI if the tools are missing and the environment does not skip the tests.
#[track_caller]
pub(crate) fn mounts_wanted() -> bool {
    let probe = "folder=$(mktemp -d) && mount -t tmpfs tmpfs $folder && umount $folder; \
         status=$?; rmdir $folder; exit $status";
    wanted("FRIENDCHAIN_SKIP_MOUNTS", "root that may mount", &[probe])
}

/// True if the tests on a terminal run.
///
/// # Panics
/// Panics in CI if the tools are missing and the environment does not skip the tests.
#[track_caller]
pub(crate) fn terminal_wanted() -> bool {
    wanted("FRIENDCHAIN_SKIP_TMUX", "the program tmux", &["tmux -V"])
}

/// True if the tests with the real Prometheus run.
///
/// # Panics
/// Panics in CI if the tools are missing and the environment does not skip the tests.
#[track_caller]
pub(crate) fn prometheus_wanted() -> bool {
    let needs = "the programs prometheus and promtool (package prometheus)";
    wanted("FRIENDCHAIN_SKIP_PROMETHEUS", needs, &["prometheus --version", "promtool --version"])
}

/// Returns the path of libfaketime if the tests with a wrong clock run.
///
/// # Panics
/// Panics in CI if the library is missing and the environment does not skip the tests.
#[track_caller]
pub(crate) fn clocks_wanted() -> Option<String> {
    // A static program asks the system for the time without any library in between.
    if !shell_ok(&format!("ldd {} | grep -q libc", binary())) {
        say_skipped("the binary is static; tests/long-run.sh clock makes another and runs this");
        return None;
    }
    let find = "ls /usr/lib/*/faketime/libfaketimeMT.so.1 /usr/lib/faketime/libfaketimeMT.so.1";
    let probe = format!("{find} | grep -q .");
    wanted("FRIENDCHAIN_SKIP_FAKETIME", "libfaketime (package faketime)", &[&probe]).then(|| {
        let found = shell_quiet(find).expect("sh");
        String::from_utf8_lossy(&found.stdout).lines().next().expect("a path").to_owned()
    })
}

/// A wall clock with an offset. Processes with this clock see a new offset at once.
#[derive(Clone)]
pub(crate) struct Clock {
    library: String,
    file: String,
}

impl Clock {
    /// Makes a clock with an offset such as `+3d` or `-1h`.
    pub(crate) fn new(library: &str, net: &TestNet, name: &str, offset: &str) -> Self {
        let file = net.file(&format!("{name}.clock"), offset);
        Self { library: library.to_owned(), file }
    }

    /// Changes the offset.
    pub(crate) fn set(&self, offset: &str) {
        // The file is replaced as a whole, since a process may read it at any moment.
        let new = format!("{}-new", self.file);
        std::fs::write(&new, offset).expect("a file");
        std::fs::rename(new, &self.file).expect("renamed");
    }

    /// Returns the environment of a process that has this clock.
    pub(super) fn environment(&self) -> [(&str, &str); 5] {
        [
            ("LD_PRELOAD", &self.library),
            ("FAKETIME_TIMESTAMP_FILE", &self.file),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("NO_FAKE_STAT", "1"),
        ]
    }
}

/// True if SIGHUP ends the processes that tests start. They ignore it under `nohup`.
pub(crate) fn hangups_wanted() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let reached = ignored.is_none_or(|ignored| ignored & 1 == 0);
    if !reached {
        say_skipped("these tests run under nohup");
    }
    reached
}

fn say_skipped(why: &str) {
    // `eprintln!` would not be shown, since the test passes.
    writeln!(std::io::stderr(), "SKIPPED {}: {why}", test_name()).expect("stderr");
}

#[track_caller]
fn wanted(skip: &str, needs: &str, probes: &[&str]) -> bool {
    if std::env::var_os(skip).is_some_and(|value| value == "1") {
        say_skipped(&format!("{skip}=1"));
        return false;
    }
    let Some(probe) = probes.iter().find(|probe| !shell_ok(probe)) else { return true };
    let why = format!("it needs {needs}, and `{probe}` fails here");
    assert!(std::env::var_os("CI").is_none(), "{why}; install that, or set {skip}=1");
    say_skipped(&why);
    false
}

fn test_name() -> String {
    std::thread::current().name().unwrap_or("a test").to_owned()
}

/// True if a shell command succeeds.
pub(crate) fn shell_ok(command: &str) -> bool {
    shell_quiet(command).is_ok_and(|output| output.status.success())
}

/// Runs a shell command that must succeed, and returns its output.
#[track_caller]
pub(crate) fn shell(command: &str) -> String {
    let output = shell_quiet(command).expect("sh");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`{command}` failed: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn shell_quiet(command: &str) -> std::io::Result<Output> {
    Command::new("sh").args(["-c", command]).stdin(Stdio::null()).output()
}

/// Hosts on one Ethernet with multicast, each a network namespace; removed when dropped.
pub(crate) struct Lan {
    /// The namespaces, in the order of their addresses.
    pub(crate) hosts: Vec<String>,
    switch: String,
}

impl Lan {
    /// Makes hosts from 10.88.0.1 on, without a route out.
    #[track_caller]
    pub(crate) fn new(count: usize) -> Self {
        // Namespace names are global on the machine; interface names are local to a namespace and
        // have at most 15 letters.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let unique = format!("{}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let switch = format!("fc{unique}sw");
        let mut lan = Self { hosts: Vec::new(), switch: switch.clone() };
        shell(&format!(
            "ip netns add {switch} && ip -n {switch} link set lo up && \
             ip -n {switch} link add br0 type bridge && ip -n {switch} link set br0 up"
        ));
        for number in 1..=count {
            let host = format!("fc{unique}h{number}");
            lan.hosts.push(host.clone());
            shell(&format!(
                "ip netns add {host} && \
                 ip link add v{number} netns {switch} type veth peer name eth0 netns {host} && \
                 ip -n {switch} link set v{number} master br0 up && ip -n {host} link set lo up && \
                 ip -n {host} addr add {address}/24 dev eth0 && ip -n {host} link set eth0 up && \
                 ip -n {host} route add 224.0.0.0/4 dev eth0",
                address = Self::address(number),
            ));
        }
        lan
    }

    /// Returns the address of a host by number, from 1.
    pub(crate) fn address(number: usize) -> String {
        format!("10.88.0.{number}")
    }

    /// Leaves the hosts with one IPv6 address each, `fd00::1` and on, and no IPv4 address.
    #[track_caller]
    pub(crate) fn only_ipv6(&self) {
        for (host, number) in self.hosts.iter().zip(1..) {
            shell(&format!(
                "ip -n {host} addr del {address}/24 dev eth0 && \
                 ip -n {host} addr add fd00::{number}/64 dev eth0 nodad",
                address = Self::address(number),
            ));
        }
    }

    /// Plugs or unplugs a host's cable.
    #[track_caller]
    pub(crate) fn plug(&self, number: usize, up: bool) {
        let state = if up { "up" } else { "down" };
        shell(&format!("ip -n {} link set v{number} {state}", self.switch));
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for namespace in self.hosts.iter().chain([&self.switch]) {
            shell_ok(&format!("ip netns del {namespace}"));
        }
    }
}

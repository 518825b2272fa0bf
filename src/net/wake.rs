//! Detects that the machine slept, or that its network has changed.
//!
//! After either, connections may be dead without a sign, and every back-off counts time in which no
//! dial could succeed. The swarm task then dials all known peers anew.
//!
//! Sleep shows in two ways. Linux counts a suspension of the machine in one of its clocks and not
//! in the other. A stopped process or virtual machine misses its ticks.
//!
//! libp2p reports the addresses of listeners on all interfaces as they come and go. It reports
//! nothing for a listener at one IP address, so [`Listening`] checks that the machine still has it.

use std::{
    collections::BTreeSet,
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use libp2p::Multiaddr;

use super::address::ip;

/// Missed time that counts as sleep: 40 ticks. Load alone does not stop the task for so long.
const SLEEP: Duration = Duration::from_secs(10);
/// Sleep after which the far ends have given up their connections: three pings of 10 s.
const LONG_SLEEP: Duration = Duration::from_secs(30);
/// Time after the start in which the task waits for the first listener.
const FIRST_LISTENER: Duration = Duration::from_millis(100);
/// Time after the start, or after a change, in which changes of addresses count as one.
const SETTLING: Duration = Duration::from_secs(10);
/// Wait after a change of addresses, since several change at once.
const CHANGE_DELAY: Duration = Duration::from_secs(1);
/// Time after a wake in which each lost connection is dialed again at once.
const RECENT: Duration = Duration::from_secs(10);

/// Interval of the checks of the addresses at which the node listens.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The reason to dial all known peers anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wake {
    /// The machine or the process slept.
    Slept {
        /// True if the sleep was so long that no connection can have survived it.
        long: bool,
    },
    /// The machine has other addresses than before.
    Moved,
}

/// The times of the last turn, and of changes.
#[derive(Debug)]
pub(super) struct Wakes {
    last: Instant,
    suspended: Duration,
    settled: Instant,
    /// The length of the last sleep.
    slept: Duration,
    changed: Option<Instant>,
    woke: Option<Instant>,
}

impl Wakes {
    /// Starts at `now`, with the time for which the machine was suspended since its start.
    pub(super) fn new(now: Instant, suspended: Duration) -> Self {
        let (settled, slept) = (now + SETTLING, Duration::ZERO);
        Self { last: now, suspended, settled, slept, changed: None, woke: None }
    }

    /// Records a turn of the task. Returns a reason to dial all peers anew, if there is one.
    pub(super) fn turn(&mut self, now: Instant, suspended: Duration) -> Option<Wake> {
        let missed = now.saturating_duration_since(self.last);
        let slept = suspended.saturating_sub(self.suspended).saturating_add(missed);
        (self.last, self.suspended) = (now, suspended);
        if slept >= SLEEP {
            self.woke = Some(now);
            self.slept = slept;
            return Some(Wake::Slept { long: slept >= LONG_SLEEP });
        }
        if self.changed.is_some_and(|at| at <= now) {
            self.changed = None;
            self.settled = now + SETTLING;
            self.woke = Some(now);
            return Some(Wake::Moved);
        }
        None
    }

    /// Records that an address of the machine came or went. Changes just after the start are
    /// ignored. Changes soon after another one wait.
    pub(super) fn address_changed(&mut self, now: Instant, started: bool) {
        if started {
            let due = (now + CHANGE_DELAY).max(self.settled);
            self.changed.get_or_insert(due);
        }
    }

    /// Returns the length of the last sleep.
    pub(super) const fn slept(&self) -> Duration {
        self.slept
    }

    /// True for some seconds after a wake.
    pub(super) fn is_recent(&self, now: Instant) -> bool {
        self.woke.is_some_and(|woke| now.saturating_duration_since(woke) < RECENT)
    }

    /// True for a moment after the start.
    pub(super) fn is_starting(&self, now: Instant) -> bool {
        self.woke.is_none() && now + SETTLING < self.settled + FIRST_LISTENER
    }

    /// True once the time after the start is over in which the first addresses come.
    pub(super) fn is_settled(&self, now: Instant) -> bool {
        self.settled <= now || self.woke.is_some()
    }
}

/// The addresses at which the node listens.
#[derive(Debug, Default)]
pub(super) struct Listening {
    now: BTreeSet<Multiaddr>,
    /// Addresses whose listeners stand, and whose IP addresses the machine has lost.
    lost: BTreeSet<Multiaddr>,
    next_check: Option<Instant>,
}

impl Listening {
    pub(super) fn contains(&self, address: &Multiaddr) -> bool {
        self.now.contains(address)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Multiaddr> {
        self.now.iter()
    }

    pub(super) fn insert(&mut self, address: Multiaddr) {
        self.lost.remove(&address);
        self.now.insert(address);
    }

    pub(super) fn remove(&mut self, address: &Multiaddr) {
        self.lost.remove(address);
        self.now.remove(address);
    }

    /// Checks once a second which addresses the machine has lost or regained. Returns these.
    pub(super) fn check(
        &mut self,
        now: Instant,
        is_ours: impl Fn(IpAddr) -> bool,
    ) -> Vec<Multiaddr> {
        if self.next_check.is_some_and(|next| now < next) {
            return Vec::new();
        }
        self.next_check = Some(now + CHECK_INTERVAL);
        let has = |address: &Multiaddr| ip(address).is_none_or(|ip| !is_wide(ip) || is_ours(ip));
        let lost: Vec<_> = self.now.extract_if(.., |address| !has(address)).collect();
        let back: Vec<_> = self.lost.extract_if(.., |address| has(address)).collect();
        self.lost.extend(lost.iter().cloned());
        self.now.extend(back.iter().cloned());
        lost.into_iter().chain(back).collect()
    }
}

/// True if an IP address of this machine shows in which network it is. Loopback and link-local ones
/// do not, and no address can be bound to a link-local one without its interface.
pub(super) const fn is_wide(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local(),
    }
}

/// Returns the time for which the machine was suspended since its start.
#[cfg(target_os = "linux")]
pub(super) fn suspended() -> Duration {
    use rustix::time::{ClockId, clock_gettime};

    let read = |clock| Duration::try_from(clock_gettime(clock)).unwrap_or_default();
    let awake = read(ClockId::Monotonic);
    read(ClockId::Boottime).saturating_sub(awake)
}

/// Returns the lead of the wall clock over the clock that stops while the machine sleeps. A clock
/// that is set forward looks like sleep too, which costs a few dials.
#[cfg(not(target_os = "linux"))]
pub(super) fn suspended() -> Duration {
    use std::{
        sync::LazyLock,
        time::{SystemTime, UNIX_EPOCH},
    };

    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let awake = START.elapsed();
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(awake)
}

/// Returns the address of this machine from which it reaches another. Sends nothing.
pub(super) fn source_of(remote: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match remote {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let probe = UdpSocket::bind((any, 0)).ok()?;
    probe.connect(remote).ok()?;
    probe.local_addr().ok().map(|local| local.ip())
}

/// True if the machine still has the address. A connection from a lost address is dead, though the
/// system does not report it. Any other error, such as too many open files, proves nothing.
pub(super) fn is_ours(ip: IpAddr) -> bool {
    !UdpSocket::bind((ip, 0)).is_err_and(|error| error.kind() == ErrorKind::AddrNotAvailable)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn missed_time_and_suspension_count_as_sleep() {
        let mut now = Instant::now();
        let mut wakes = Wakes::new(now, SECOND);
        for _ in 0..100 {
            now += SECOND;
            assert_eq!(wakes.turn(now, SECOND), None, "a slow task does not sleep");
        }
        now += SLEEP;
        assert_eq!(wakes.turn(now, SECOND), Some(Wake::Slept { long: false }));
        assert!(wakes.is_recent(now) && !wakes.is_recent(now + RECENT));
        assert_eq!(wakes.turn(now, SECOND), None, "it wakes once");
        assert_eq!(
            wakes.turn(now + SECOND, SECOND + LONG_SLEEP),
            Some(Wake::Slept { long: true }),
            "the machine was suspended"
        );
        assert_eq!(wakes.slept(), LONG_SLEEP + SECOND);
        assert_eq!(wakes.turn(now + SECOND, Duration::ZERO), None, "a clock that went back");
    }

    #[test]
    fn changes_of_addresses_wake_once() {
        let start = Instant::now();
        let mut wakes = Wakes::new(start, Duration::ZERO);
        assert!(!wakes.is_settled(start) && wakes.is_settled(start + SETTLING));
        assert!(wakes.is_starting(start) && !wakes.is_starting(start + FIRST_LISTENER));
        let mut now = start;
        let mut seen = Vec::new();
        for step in 0..400_u32 {
            now += SECOND / 10;
            // An address flaps for twenty seconds, from the tenth second on.
            if (100..300).contains(&step) {
                wakes.address_changed(now, wakes.is_settled(now));
            }
            if let Some(wake) = wakes.turn(now, Duration::ZERO) {
                seen.push((wake, (now - start).as_secs()));
            }
        }
        let times: Vec<u64> = seen.iter().map(|(_, at)| *at).collect();
        assert!(seen.iter().all(|(wake, _)| *wake == Wake::Moved));
        assert_eq!(times, [11, 21, 31]);
    }

    #[test]
    fn an_address_that_the_machine_loses_is_reported_once_and_so_is_its_return() {
        let parsed = |text: &str| text.parse::<Multiaddr>().unwrap();
        let all =
            ["/ip4/192.168.1.12/tcp/1", "/ip4/127.0.0.1/tcp/1", "/ip6/fe80::1/tcp/1"].map(parsed);
        let (mut now, mut listening) = (Instant::now(), Listening::default());
        for address in &all {
            listening.insert(address.clone());
        }
        let mut check = |listening: &mut Listening, has| {
            now += SECOND;
            listening.check(now, |_| has)
        };
        assert!(check(&mut listening, true).is_empty());
        assert_eq!(check(&mut listening, false), all[..1], "the others show no network");
        assert!(!listening.contains(&all[0]) && check(&mut listening, false).is_empty());
        assert_eq!(check(&mut listening, true), all[..1]);
        assert!(listening.contains(&all[0]) && check(&mut listening, true).is_empty());
        check(&mut listening, false);
        // The listener itself has ended.
        listening.remove(&all[0]);
        assert!(check(&mut listening, true).is_empty());
        assert!(listening.check(now, |_| false).is_empty(), "not in the same second");
    }

    #[test]
    fn loopback_and_link_local_addresses_are_no_sign_of_a_network() {
        let wide = |text: &str| is_wide(text.parse().unwrap());
        assert!(["192.168.1.2", "8.8.8.8", "fd00::1", "2a00:1::1"].into_iter().all(wide));
        assert!(!["127.0.0.1", "169.254.1.1", "::1", "fe80::1"].into_iter().any(wide));
    }

    #[test]
    fn the_address_towards_loopback_is_ours() {
        let source = source_of("127.0.0.1:9".parse().unwrap()).unwrap();
        assert!(source.is_loopback() && is_ours(source));
        assert!(!is_ours("203.0.113.7".parse().unwrap()));
    }
}

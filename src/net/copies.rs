//! Detects another running node with this node's identity: a copy of the data folder.
//!
//! libp2p refuses each connection between the two, since both ends have one key. The refusal is the
//! proof, because no other peer can hold the key. Yet a node that dials itself, through a router or
//! a forwarded port, sees the same refusal at both ends. Refusals are therefore counted for a
//! moment: equal numbers of outgoing and incoming ones prove nothing.
//!
//! A stranger can name an address that leads back here, and cut the connection in the middle of the
//! handshake. Only the dialing end then sees a refusal. A refusal at such an address may thus be
//! the other end of one that the listener saw, and proves nothing alone.
//!
//! An mDNS record of another machine with this node's identity proves nothing either. It is a
//! reason to dial that machine.
//!
//! The address of a proven copy is dialed again and again. Once no node answers there, or another
//! one does, the copy has ended.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use libp2p::Multiaddr;

/// The time without a further refusal after which refusals are counted. If a node dials itself,
/// both ends see the refusal within milliseconds.
const QUIET: Duration = Duration::from_secs(2);

/// The maximum number of addresses that wait to be dialed. Any machine of the local network can
/// claim some.
const MAX_CLAIMS: usize = 8;

/// The maximum number of dials of a claimed address whose refusals prove nothing.
const MAX_DIALS: u32 = 6;

/// The longest wait before a dial. It is random, so that two copies do not keep dialing each other
/// at the same time.
const LONGEST_WAIT_MS: u64 = 8_000;

/// The shortest wait before a dial.
const SHORTEST_WAIT_MS: u64 = 200;

/// The shortest interval between two dials of a proven copy. A random time of the same length is
/// added, so that two copies rarely dial each other at the same time.
const RECHECK: Duration = Duration::from_secs(20);

/// The number of dials in a row that find no copy at its address before it counts as ended. The
/// machine must answer: a dial that times out proves nothing.
const MISSES: u32 = 2;

/// The end of a connection that saw the refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Dialer,
    /// The dialer of an address that is neither the user's nor a friend's.
    DialerForStranger,
    Listener,
}

/// The number of callers with this node's own identity, counted as soon as they have proved it. The
/// caller often closes the connection before this end is ready: the connection then fails here like
/// any other.
#[derive(Debug, Clone, Default)]
pub(super) struct OwnCalls(Arc<AtomicU32>);

impl OwnCalls {
    pub(super) fn note(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes one call away. Returns false if there was none.
    pub(super) fn take(&self) -> bool {
        let less = |calls: u32| calls.checked_sub(1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

/// A claimed address.
#[derive(Debug, Clone, Copy)]
struct Claim {
    due: Instant,
    dials: u32,
    /// True while it is dialed, and until the refusals are counted.
    dialed: bool,
}

/// The address at which a dial met a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Proven {
    address: Multiaddr,
    due: Instant,
    /// The number of dials in a row that found no copy there.
    misses: u32,
}

/// The recently refused connections, and the addresses to dial.
#[derive(Debug, Default)]
pub(super) struct Copies {
    claims: BTreeMap<Multiaddr, Claim>,
    proven: Option<Proven>,
    /// The address of the last refused dial.
    dialed: Option<Multiaddr>,
    calls: OwnCalls,
    outgoing: u32,
    doubtful: u32,
    incoming: u32,
    last: Option<(Instant, Multiaddr)>,
}

impl Copies {
    /// Returns the counter of callers with this node's own identity.
    pub(super) const fn calls(&self) -> &OwnCalls {
        &self.calls
    }

    /// Records that another address claims to be this node. `random` spreads the dials.
    pub(super) fn claimed(&mut self, address: Multiaddr, now: Instant, random: u64) {
        if self.claims.len() < MAX_CLAIMS {
            let claim = Claim { due: now + wait(random), dials: 0, dialed: false };
            self.claims.entry(address).or_insert(claim);
        }
    }

    /// Returns an address to dial now. `random` spreads the dials.
    pub(super) fn due(&mut self, now: Instant, random: u64) -> Option<Multiaddr> {
        if let Some(proven) = self.proven.as_mut().filter(|proven| proven.due <= now) {
            proven.due = now + recheck(random);
            return Some(proven.address.clone());
        }
        let is_due = |claim: &Claim| !claim.dialed && claim.due <= now;
        let (address, claim) = self.claims.iter_mut().find(|(_, claim)| is_due(claim))?;
        claim.dialed = true;
        claim.dials = claim.dials.saturating_add(1);
        Some(address.clone())
    }

    /// Drops a claimed address at which no peer answers, or another peer does. Returns true if a
    /// proven copy has ended there. `answered` is true if the machine at the address answered.
    pub(super) fn unfounded(&mut self, address: &Multiaddr, answered: bool) -> bool {
        self.claims.remove(address);
        let Some(proven) = self.proven.as_mut().filter(|proven| proven.address == *address) else {
            return false;
        };
        proven.misses = proven.misses.saturating_add(u32::from(answered));
        let has_ended = proven.misses >= MISSES;
        if has_ended {
            self.proven = None;
        }
        has_ended
    }

    /// Records a connection that was refused because both its ends have one identity.
    pub(super) fn refused(&mut self, end: End, address: &Multiaddr, now: Instant) {
        let count = match end {
            End::Dialer => &mut self.outgoing,
            End::DialerForStranger => &mut self.doubtful,
            End::Listener => &mut self.incoming,
        };
        *count = count.saturating_add(1);
        if end != End::Listener {
            self.dialed = Some(address.clone());
        }
        self.last = Some((now, address.clone()));
    }

    /// Returns the address of a copy, once for each proof.
    pub(super) fn found(&mut self, now: Instant, random: u64) -> Option<Multiaddr> {
        let (last, _) = self.last.as_ref()?;
        if now.saturating_duration_since(*last) < QUIET {
            return None;
        }
        let (_, address) = self.last.take()?;
        let dialed = self.dialed.take();
        let [outgoing, doubtful, incoming] =
            [&mut self.outgoing, &mut self.doubtful, &mut self.incoming].map(std::mem::take);
        if incoming < outgoing || incoming > outgoing.saturating_add(doubtful) {
            self.claims.clear();
            if let Some(address) = dialed {
                self.proven = Some(Proven { address, due: now + recheck(random), misses: 0 });
            }
            return Some(address);
        }
        self.claims.retain(|_, claim| claim.dials < MAX_DIALS);
        for claim in self.claims.values_mut().filter(|claim| claim.dialed) {
            (claim.dialed, claim.due) = (false, now + wait(random));
        }
        None
    }
}

fn recheck(random: u64) -> Duration {
    let spread = u64::try_from(RECHECK.as_millis()).map_or(0, |millis| random % millis);
    RECHECK.saturating_add(Duration::from_millis(spread))
}

fn wait(random: u64) -> Duration {
    Duration::from_millis(SHORTEST_WAIT_MS.saturating_add(random % LONGEST_WAIT_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> Multiaddr {
        format!("/ip4/10.0.0.{last}/tcp/1").parse().expect("an address")
    }

    #[test]
    fn a_refusal_at_one_end_only_is_a_copy_and_at_both_ends_a_dial_of_oneself() {
        let now = Instant::now();
        let later = now + QUIET;
        let mut copies = Copies::default();
        for end in [End::Dialer, End::Listener] {
            copies.refused(end, &address(1), now);
            assert_eq!(copies.found(now, 0), None, "not before it is quiet");
            assert_eq!(copies.found(later, 0), Some(address(1)), "{end:?}");
            assert_eq!(copies.found(later, 0), None, "once");
        }
        copies.refused(End::Dialer, &address(1), now);
        copies.refused(End::Listener, &address(2), now);
        assert_eq!(copies.found(later, 0), None);
    }

    #[test]
    fn a_strangers_address_that_leads_back_here_is_no_copy_at_whichever_end_it_is_cut() {
        let now = Instant::now();
        let later = now + QUIET;
        let mut copies = Copies::default();
        for _ in 0..2 {
            copies.refused(End::DialerForStranger, &address(1), now);
        }
        assert_eq!(copies.found(later, 0), None, "the listener saw nothing");
        for end in [End::DialerForStranger, End::Listener] {
            copies.refused(end, &address(1), now);
        }
        assert_eq!(copies.found(later, 0), None, "both ends saw it");
        for end in [End::DialerForStranger, End::Listener, End::Listener] {
            copies.refused(end, &address(1), now);
        }
        assert_eq!(copies.found(later, 0), Some(address(1)), "one call was a copy's");
    }

    #[test]
    fn a_copy_is_dialed_until_its_machine_refuses_twice_in_a_row() {
        let mut now = Instant::now();
        let mut copies = Copies::default();
        let prove = |copies: &mut Copies, now: Instant| {
            copies.refused(End::Dialer, &address(1), now);
            assert_eq!(copies.found(now + QUIET, 0), Some(address(1)));
            assert_eq!(copies.due(now + QUIET, 0), None, "not at once");
        };
        prove(&mut copies, now);
        let dial = |copies: &mut Copies, now: &mut Instant| {
            *now += 3 * RECHECK;
            assert_eq!(copies.due(*now, 0), Some(address(1)));
            assert_eq!(copies.due(*now, 0), None, "one dial at a time");
        };
        for _ in 0..5 {
            dial(&mut copies, &mut now);
            assert!(!copies.unfounded(&address(1), false), "silence proves nothing");
        }
        dial(&mut copies, &mut now);
        assert!(!copies.unfounded(&address(1), true), "it may start again");
        dial(&mut copies, &mut now);
        prove(&mut copies, now);
        for ends in [false, true] {
            dial(&mut copies, &mut now);
            assert_eq!(copies.unfounded(&address(1), true), ends);
        }
        assert_eq!(copies.due(now + 10 * RECHECK, 0), None, "it is dialed no more");
        copies.refused(End::Listener, &address(2), now);
        assert_eq!(copies.found(now + QUIET, 0), Some(address(2)));
        assert_eq!(copies.due(now + 10 * RECHECK, 0), None, "callers have no address to dial");
    }

    #[test]
    fn each_call_with_the_own_identity_counts_once() {
        let calls = OwnCalls::default();
        assert!(!calls.take());
        calls.clone().note();
        assert!(calls.take() && !calls.take());
    }

    #[test]
    fn a_claim_is_dialed_again_at_another_time_and_not_for_ever() {
        let mut now = Instant::now();
        let mut copies = Copies::default();
        copies.claimed(address(1), now, 5);
        assert_eq!(copies.due(now, 0), None);
        let mut dials = 0;
        while !copies.claims.is_empty() {
            now += Duration::from_secs(10);
            if let Some(address) = copies.due(now, 0) {
                dials += 1;
                assert_eq!(copies.due(now, 0), None, "one dial at a time");
                copies.refused(End::Dialer, &address, now);
                copies.refused(End::Listener, &address, now);
            }
            assert_eq!(copies.found(now + QUIET, 7), None);
        }
        assert_eq!(dials, MAX_DIALS);
        for last in 0..100 {
            copies.claimed(address(last), now, 0);
        }
        assert_eq!(copies.claims.len(), MAX_CLAIMS);
        assert!(!copies.unfounded(&address(0), true), "a claim is no copy");
        assert_eq!(copies.claims.len(), MAX_CLAIMS - 1);
    }
}

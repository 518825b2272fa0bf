//! The address book decides which peers to dial, at which addresses, and at what time. The swarm
//! task dials them.
//!
//! There are two kinds of entries:
//! - Peers have an id and some addresses. Their sources are mDNS, Kademlia, profiles, invites and
//!   the peers themselves.
//! - Seeds are addresses from the user, which may lack an id.
//!
//! Both are dialed with exponential back-off and jitter while they are not connected. A peer is
//! dropped after some failures in a row, unless the node vouches for it.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use libp2p::Multiaddr;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    address::{is_dialable, peer_of, without_peer},
    limits::{
        DIALS_PER_TICK, MAX_FAILURES_FOUND, MAX_FAILURES_MET, MAX_KNOWN_ADDRESSES, MAX_KNOWN_PEERS,
        MAX_SEEDS,
    },
};
use crate::primitives::PeerId;

/// The back-off between two dials of one entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct BackOff {
    pub(super) first: Duration,
    pub(super) longest: Duration,
}

impl BackOff {
    /// Returns the back-off after a number of failures in a row. It doubles with each failure, and
    /// is randomly up to a quarter longer, so that friends do not dial in step.
    fn after(self, failures: u32, random: &mut StdRng) -> Duration {
        let doubled =
            self.first.saturating_mul(1_u32.checked_shl(failures.min(16)).unwrap_or(u32::MAX));
        let base = doubled.min(self.longest);
        base.saturating_add(base.mul_f64(random.random_range(0.0..0.25)))
    }
}

/// The source of an address, least trusted first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// mDNS or Kademlia found the address. It is forgotten after some minutes of failures.
    Found,
    /// The peer itself announced the address on an authenticated connection. It is forgotten after
    /// about an hour of failures.
    Met,
    /// The node vouches for the address: a friend's profile, or an invite. It is never forgotten.
    Vouched,
}

impl Source {
    /// Returns the failures in a row after which the peer is forgotten.
    const fn patience(self) -> u32 {
        match self {
            Self::Found => MAX_FAILURES_FOUND,
            Self::Met => MAX_FAILURES_MET,
            Self::Vouched => u32::MAX,
        }
    }
}

#[derive(Debug)]
struct Known {
    addresses: Vec<Multiaddr>,
    source: Source,
    failures: u32,
    next: Instant,
    shut_until: Option<Instant>,
    dialing: bool,
}

#[derive(Debug)]
struct Seed {
    address: Multiaddr,
    /// The peer at the address, once a connection has shown it.
    peer: Option<PeerId>,
    failures: u32,
    next: Instant,
    dialing: bool,
}

/// An entry to dial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Dial {
    /// A peer, at any of these addresses.
    Peer(PeerId, Vec<Multiaddr>),
    /// An address from the user.
    Seed(Multiaddr),
}

/// The known peers and seeds, and the time of the next dial of each.
#[derive(Debug)]
pub(super) struct AddressBook {
    me: PeerId,
    private_only: bool,
    back_off: BackOff,
    peers: HashMap<PeerId, Known>,
    seeds: Vec<Seed>,
    random: StdRng,
}

impl AddressBook {
    pub(super) fn new(me: PeerId, private_only: bool, back_off: BackOff, random_seed: u64) -> Self {
        Self {
            me,
            private_only,
            back_off,
            peers: HashMap::new(),
            seeds: Vec::new(),
            random: StdRng::seed_from_u64(random_seed),
        }
    }

    /// Adds an address from the user. It is dialed even if it is public and `private_only` is set,
    /// and is never forgotten.
    pub(super) fn add_seed(&mut self, address: Multiaddr, now: Instant) {
        if self.seeds.len() >= MAX_SEEDS || self.seeds.iter().any(|seed| seed.address == address) {
            return;
        }
        let peer = peer_of(&address);
        self.seeds.push(Seed { address, peer, failures: 0, next: now, dialing: false });
    }

    /// Removes a seed that turned out to be an address of this node.
    pub(super) fn remove_seed(&mut self, address: &Multiaddr) {
        self.seeds.retain(|seed| seed.address != *address);
    }

    /// Adds an address of a peer, if it is worth dialing. Returns true if it was unknown.
    pub(super) fn add(
        &mut self,
        peer: PeerId,
        address: &Multiaddr,
        source: Source,
        now: Instant,
    ) -> bool {
        let address = without_peer(address);
        if peer == self.me || !is_dialable(&address, self.private_only) {
            return false;
        }
        if !self.peers.contains_key(&peer)
            && self.peers.len() >= MAX_KNOWN_PEERS
            && !self.make_room(source)
        {
            return false;
        }
        // Of two nodes that find each other at once, the one with the lower id dials first. This
        // mostly results in one connection instead of two.
        let next =
            if self.me < peer { now } else { now + self.back_off.after(0, &mut self.random) };
        let known = self.peers.entry(peer).or_insert_with(|| Known {
            addresses: Vec::new(),
            source,
            failures: 0,
            next,
            shut_until: None,
            dialing: false,
        });
        known.source = known.source.max(source);
        if let Some(at) = known.addresses.iter().position(|known| *known == address) {
            // The address was announced again, so it is fresh. The freshest is last; the oldest is
            // evicted first.
            let address = known.addresses.remove(at);
            known.addresses.push(address);
            return false;
        }
        if known.addresses.len() >= MAX_KNOWN_ADDRESSES {
            known.addresses.remove(0);
        }
        known.addresses.push(address);
        known.failures = 0;
        known.next = known.next.min(next);
        true
    }

    /// Evicts the least valuable peer whose source is below `source`, or that fails and is not
    /// vouched for. Found peers go before met ones, and among these the one with most failures.
    /// Returns false if there is no such peer.
    fn make_room(&mut self, source: Source) -> bool {
        let worst = self
            .peers
            .iter()
            .filter(|(_, known)| {
                known.source < source || (known.failures > 0 && known.source < Source::Vouched)
            })
            .max_by_key(|(_, known)| (std::cmp::Reverse(known.source), known.failures))
            .map(|(peer, _)| *peer);
        worst.is_some_and(|peer| self.peers.remove(&peer).is_some())
    }

    /// Records that mDNS received an announcement of the peer just now. The peer is dialed soon,
    /// whatever failed before.
    pub(super) fn seen(&mut self, peer: &PeerId, now: Instant) {
        if let Some(known) = self.peers.get_mut(peer) {
            known.failures = 0;
            known.next = known.next.min(now + self.back_off.first);
        }
    }

    /// Returns the entries to dial now, among those that are not connected. Each counts as being
    /// dialed until [`AddressBook::connected`] or [`AddressBook::failed`]. With `only_met`, enough
    /// peers are connected, and peers that were only found wait.
    pub(super) fn due(
        &mut self,
        now: Instant,
        only_met: bool,
        is_connected: impl Fn(&PeerId) -> bool,
        may_dial: impl Fn(&PeerId) -> bool,
    ) -> Vec<Dial> {
        let mut dials = Vec::new();
        let shut = |peers: &HashMap<PeerId, Known>, peer: &PeerId| {
            peers.get(peer).is_some_and(|known| known.shut_until.is_some_and(|until| now < until))
        };
        for seed in &mut self.seeds {
            let wanted =
                seed.peer.is_none_or(|peer| !is_connected(&peer) && !shut(&self.peers, &peer));
            if wanted && !seed.dialing && seed.next <= now && dials.len() < DIALS_PER_TICK {
                seed.dialing = true;
                dials.push(Dial::Seed(seed.address.clone()));
            }
        }
        for (peer, known) in &mut self.peers {
            if dials.len() >= DIALS_PER_TICK {
                break;
            }
            if known.shut_until.is_some_and(|until| now >= until) {
                known.shut_until = None;
            }
            let ready = !known.dialing && known.shut_until.is_none() && known.next <= now;
            let wanted = known.source > Source::Found || !only_met;
            if ready
                && wanted
                && !known.addresses.is_empty()
                && !is_connected(peer)
                && may_dial(peer)
            {
                known.dialing = true;
                let mut addresses = known.addresses.clone();
                addresses.reverse();
                dials.push(Dial::Peer(*peer, addresses));
            }
        }
        dials
    }

    /// Records that a connection to the peer is up, through this seed if there is one.
    pub(super) fn connected(&mut self, peer: PeerId, through: Option<&Multiaddr>) {
        if let Some(known) = self.peers.get_mut(&peer) {
            known.dialing = false;
            known.failures = 0;
        }
        for seed in self.seeds.iter_mut().filter(|seed| Some(&seed.address) == through) {
            seed.dialing = false;
            seed.failures = 0;
            seed.peer = Some(peer);
        }
    }

    /// Records that a dial failed.
    pub(super) fn failed(&mut self, dial: &Dial, now: Instant) {
        match dial {
            Dial::Peer(peer, _) => {
                let Some(known) = self.peers.get_mut(peer) else { return };
                known.dialing = false;
                known.failures = known.failures.saturating_add(1);
                known.next = now + self.back_off.after(known.failures, &mut self.random);
                if known.failures >= known.source.patience() {
                    self.peers.remove(peer);
                }
            }
            Dial::Seed(address) => {
                for seed in self.seeds.iter_mut().filter(|seed| seed.address == *address) {
                    seed.dialing = false;
                    seed.failures = seed.failures.saturating_add(1);
                    seed.next = now + self.back_off.after(seed.failures, &mut self.random);
                }
            }
        }
    }

    /// Removes an address of the peer at which another peer answered.
    pub(super) fn forget_address(&mut self, peer: &PeerId, address: &Multiaddr) {
        let address = without_peer(address);
        if let Some(known) = self.peers.get_mut(peer) {
            known.addresses.retain(|known| *known != address);
        }
    }

    /// Records that the last connection to the peer is down. The peer is dialed again soon.
    pub(super) fn disconnected(&mut self, peer: &PeerId, now: Instant) {
        let next = now + self.back_off.after(0, &mut self.random);
        if let Some(known) = self.peers.get_mut(peer) {
            known.next = next;
            known.dialing = false;
        }
        for seed in self.seeds.iter_mut().filter(|seed| seed.peer.as_ref() == Some(peer)) {
            seed.next = next;
        }
    }

    /// Forbids dials of the peer until a time.
    pub(super) fn shut(&mut self, peer: &PeerId, until: Instant) {
        if let Some(known) = self.peers.get_mut(peer) {
            known.shut_until = Some(until);
        } else if self.peers.len() < MAX_KNOWN_PEERS {
            let known = Known {
                addresses: Vec::new(),
                source: Source::Found,
                failures: 0,
                next: until,
                shut_until: Some(until),
                dialing: false,
            };
            self.peers.insert(*peer, known);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::PublicKey;

    const BACK_OFF: BackOff =
        BackOff { first: Duration::from_secs(1), longest: Duration::from_mins(1) };

    fn peer(number: u8) -> PeerId {
        PeerId(PublicKey([number; 32]))
    }

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    fn book() -> AddressBook {
        AddressBook::new(peer(0), false, BACK_OFF, 7)
    }

    fn due(book: &mut AddressBook, now: Instant) -> Vec<Dial> {
        book.due(now, false, |_| false, |_| true)
    }

    #[test]
    fn the_wait_doubles_with_each_failure_up_to_a_bound() {
        let mut now = Instant::now();
        let mut book = book();
        book.add(peer(1), &address("/ip4/10.0.0.1/tcp/1"), Source::Vouched, now);
        let mut waits = Vec::new();
        for _ in 0..10 {
            let dials = due(&mut book, now);
            assert_eq!(dials.len(), 1);
            assert!(
                due(&mut book, now + Duration::from_secs(1_000)).is_empty(),
                "one dial at a time"
            );
            book.failed(&dials[0], now);
            let before = now;
            while book.peers[&peer(1)].next > now {
                now += Duration::from_millis(100);
            }
            waits.push(now - before);
        }
        for (at, wait) in waits.iter().enumerate() {
            let base = Duration::from_secs(2).saturating_mul(1 << at).min(BACK_OFF.longest);
            assert!(
                *wait >= base && *wait <= base.mul_f64(1.25) + Duration::from_millis(100),
                "{at}: {wait:?}"
            );
        }
    }

    #[test]
    fn a_found_peer_is_dropped_in_the_end_and_a_vouched_one_never() {
        let now = Instant::now();
        let mut book = book();
        book.add(peer(1), &address("/ip4/10.0.0.1/tcp/1"), Source::Found, now);
        book.add(peer(2), &address("/ip4/10.0.0.2/tcp/1"), Source::Vouched, now);
        for round in 0..u64::from(MAX_FAILURES_FOUND) {
            for dial in due(&mut book, now + Duration::from_secs(round * 1_000)) {
                book.failed(&dial, now);
            }
        }
        assert!(!book.peers.contains_key(&peer(1)));
        assert!(book.peers.contains_key(&peer(2)));
    }

    #[test]
    fn a_seed_is_dialed_until_it_is_connected_and_again_when_it_is_lost() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1_000);
        let mut book = book();
        let seed = address("/ip4/8.8.8.8/tcp/1");
        book.add_seed(seed.clone(), now);
        book.add_seed(seed.clone(), now);
        assert_eq!(due(&mut book, now), [Dial::Seed(seed.clone())]);
        book.failed(&Dial::Seed(seed.clone()), now);
        assert!(due(&mut book, now).is_empty());
        assert_eq!(due(&mut book, later), [Dial::Seed(seed.clone())]);
        book.connected(peer(1), Some(&seed));
        assert!(book.due(later, false, |_| true, |_| true).is_empty());
        book.disconnected(&peer(1), later);
        assert!(due(&mut book, later).is_empty(), "not at once");
        assert_eq!(due(&mut book, later + Duration::from_secs(2)), [Dial::Seed(seed)]);
    }

    #[test]
    fn a_peer_that_is_shut_out_is_not_dialed_until_then() {
        let now = Instant::now();
        let mut book = book();
        book.add(peer(1), &address("/ip4/10.0.0.1/tcp/1"), Source::Vouched, now);
        book.shut(&peer(1), now + Duration::from_mins(10));
        assert!(due(&mut book, now + Duration::from_secs(599)).is_empty());
        assert_eq!(due(&mut book, now + Duration::from_mins(10)).len(), 1);
    }

    #[test]
    fn found_peers_wait_when_there_are_enough() {
        let now = Instant::now();
        let mut book = book();
        book.add(peer(1), &address("/ip4/10.0.0.1/tcp/1"), Source::Found, now);
        book.add(peer(2), &address("/ip4/10.0.0.2/tcp/1"), Source::Vouched, now);
        let dials = book.due(now, true, |_| false, |_| true);
        assert!(matches!(dials.as_slice(), [Dial::Peer(found, _)] if *found == peer(2)));
    }

    #[test]
    fn the_book_and_each_page_are_bounded() {
        let now = Instant::now();
        let mut book = book();
        for number in 0..u16::try_from(MAX_KNOWN_PEERS + 10).unwrap() {
            let mut key = [1; 32];
            key[..2].copy_from_slice(&number.to_be_bytes());
            book.add(PeerId(PublicKey(key)), &address("/ip4/10.0.0.1/tcp/1"), Source::Found, now);
        }
        assert_eq!(book.peers.len(), MAX_KNOWN_PEERS);
        assert!(
            book.add(peer(200), &address("/ip4/10.0.0.1/tcp/1"), Source::Vouched, now),
            "a friend finds room"
        );
        for port in 1..20 {
            book.add(peer(200), &address(&format!("/ip4/10.0.0.1/tcp/{port}")), Source::Found, now);
        }
        assert_eq!(book.peers[&peer(200)].addresses.len(), MAX_KNOWN_ADDRESSES);
    }

    #[test]
    fn of_two_that_meet_the_lower_dials_first() {
        let now = Instant::now();
        for (me, other, at_once) in [(1, 2, true), (2, 1, false)] {
            let mut book = AddressBook::new(peer(me), false, BACK_OFF, 7);
            book.add(peer(other), &address("/ip4/10.0.0.1/tcp/1"), Source::Found, now);
            assert_eq!(!due(&mut book, now).is_empty(), at_once);
            assert_eq!(due(&mut book, now + Duration::from_secs(2)).is_empty(), at_once);
        }
    }

    #[test]
    fn the_node_does_not_dial_itself() {
        let mut book = book();
        assert!(!book.add(peer(0), &address("/ip4/10.0.0.1/tcp/1"), Source::Found, Instant::now()));
    }
}

//! The address book decides which peers to dial, at which addresses, and at what time. The swarm
//! task dials them.
//!
//! | kind | origin | dialed |
//! |---|---|---|
//! | seed | the user gave an address, perhaps without an id | with back-off, for ever |
//! | proven | the user gave it for a peer, or a connection to it showed the key | with back-off |
//! | hint | a peer or mDNS told it | once, then less and less often; see [`hints`] |
//!
//! Seeds and proven addresses are dialed with exponential back-off and jitter while their peer is
//! not connected. A peer that keeps failing is dropped in the end, unless it is a friend or its
//! address is the user's.
//!
//! The book keeps its own list of connected peers, and the addresses that each of them announced.
//! These addresses become hints once the peer is gone.

mod hints;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use hints::Hints;
pub(super) use hints::{Class, Teller};
use libp2p::Multiaddr;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    address::{
        Scope, is_dialable, is_relayed, may_be_told, network, peer_of, scope, split_relay,
        without_peer,
    },
    limits::{
        DIALS_PER_TICK, LASTING_CONNECTION, LONGEST_BACK_OFF, MAX_FAILURES_MET,
        MAX_KNOWN_ADDRESSES, MAX_KNOWN_PEERS, MAX_KNOWN_PER_NETWORK, MAX_MET_DIALING, MAX_SEEDS,
        PATIENT_FAILURES,
    },
};
use crate::{
    peers::{Level, Trust, host_group},
    primitives::{PeerId, doubled},
};

/// The back-off between two dials of one entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct BackOff {
    pub(super) first: Duration,
    pub(super) longest: Duration,
}

impl BackOff {
    /// Returns the back-off after a number of failures in a row. It doubles with each failure, and
    /// is randomly up to a quarter longer, so that two peers do not keep dialing each other at the
    /// same time.
    fn after(self, failures: u32, random: &mut StdRng) -> Duration {
        let base = doubled(self.first, failures, self.longest);
        base.saturating_add(base.mul_f64(random.random_range(0.0..0.25)))
    }

    /// Returns the same back-off with another bound.
    const fn up_to(self, longest: Duration) -> Self {
        Self { longest, ..self }
    }
}

/// A peer with proven addresses.
#[derive(Debug)]
struct Known {
    /// The addresses, the freshest last. The flag is true for addresses from the user.
    addresses: Vec<(Multiaddr, bool)>,
    failures: u32,
    next: Instant,
    dialing: bool,
}

impl Known {
    fn is_users(&self) -> bool {
        self.addresses.iter().any(|(_, users)| *users)
    }

    /// Returns the back-off after the failures so far. It stays short for the user's addresses, and
    /// for a friend's during the first hour.
    fn wait(&self, back_off: BackOff, is_friend: bool, random: &mut StdRng) -> Duration {
        if self.is_users() || (is_friend && self.failures <= PATIENT_FAILURES) {
            return back_off.after(self.failures, random);
        }
        let doublings =
            if is_friend { self.failures.saturating_sub(PATIENT_FAILURES) } else { self.failures };
        let first = if is_friend { back_off.longest } else { back_off.first };
        BackOff { first, ..back_off.up_to(LONGEST_BACK_OFF) }.after(doublings, random)
    }
}

#[derive(Debug)]
struct Seed {
    address: Multiaddr,
    /// The peer at the address, once a connection has shown it.
    peer: Option<PeerId>,
    /// False for the meeting place, which the user did not name.
    by_user: bool,
    failures: u32,
    next: Instant,
    dialing: bool,
}

/// A peer that is connected.
#[derive(Debug)]
struct Present {
    since: Instant,
    /// The addresses that it announced, with the origin of the announcement.
    announced: Option<(Vec<Multiaddr>, Word)>,
}

/// The origin of a told address.
#[derive(Debug, Clone)]
pub(super) struct Word {
    teller: Option<PeerId>,
    /// The party that pays if the teller is a stranger.
    account: Teller,
    /// The scopes of the addresses that the teller is connected from.
    scopes: Vec<Scope>,
    /// True if the peer behind the address told it itself: on its connection, or with its
    /// signature.
    own: bool,
}

impl Word {
    /// Returns the origin of an address that a peer told, which is connected from these addresses.
    /// `own` is true if the peer behind the told address signed it, or is the teller.
    pub(super) fn of<'a>(
        teller: PeerId,
        from: impl Iterator<Item = &'a Multiaddr>,
        own: bool,
    ) -> Self {
        let from: Vec<_> = from.collect();
        let account = from.first().map_or(IpAddr::V4(0.into()), |address| network(address));
        Self {
            teller: Some(teller),
            account: Teller::Network(account),
            scopes: from.iter().map(|address| scope(address)).collect(),
            own,
        }
    }

    /// Returns the origin of an address that a walk found. Kademlia's answers do not show the
    /// teller, so `everybody` holds the scopes of all peers that it may be.
    pub(super) const fn of_walk(everybody: Vec<Scope>) -> Self {
        Self { teller: None, account: Teller::Walk, scopes: everybody, own: false }
    }

    /// Returns the origin of a machine's announcement by mDNS. Over IPv4 the library replaces the
    /// host of a record by the sender's. Over IPv6 a machine can name any address of its network,
    /// so all machines of one network share an account.
    pub(super) fn of_nearby(address: &Multiaddr, machine: IpAddr) -> Self {
        let scopes = vec![scope(address)];
        Self { teller: None, account: Teller::Nearby(host_group(machine)), scopes, own: false }
    }
}

/// An entry to dial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Dial {
    /// A peer, at any of these proven addresses.
    Peer(PeerId, Vec<Multiaddr>),
    /// An address from the user.
    Seed(Multiaddr),
    /// A peer at a told address.
    Hint(PeerId, Multiaddr),
}

/// The known peers, seeds and hints, and the time of the next dial of each.
#[derive(Debug)]
pub(super) struct AddressBook {
    me: PeerId,
    private_only: bool,
    back_off: BackOff,
    trust: Trust,
    peers: HashMap<PeerId, Known>,
    seeds: Vec<Seed>,
    hints: Hints,
    present: HashMap<PeerId, Present>,
    /// Peers that are not dialed until a time.
    shut: HashMap<PeerId, Instant>,
    random: StdRng,
}

impl AddressBook {
    pub(super) fn new(
        me: PeerId,
        private_only: bool,
        back_off: BackOff,
        trust: Trust,
        random_seed: u64,
    ) -> Self {
        Self {
            me,
            private_only,
            back_off,
            trust,
            peers: HashMap::new(),
            seeds: Vec::new(),
            hints: Hints::new(Instant::now()),
            present: HashMap::new(),
            shut: HashMap::new(),
            random: StdRng::seed_from_u64(random_seed),
        }
    }

    /// Adds an address from the user. It is never forgotten, and it is dialed even if it is public
    /// and `private_only` is set.
    pub(super) fn add_seed(&mut self, address: Multiaddr, now: Instant) {
        self.insert_seed(address, true, now);
    }

    /// Adds the address at which nodes of this machine meet. It is dialed like the user's
    /// addresses.
    ///
    /// # Security
    /// Any program of this machine may listen there, so an answer earns no trust.
    pub(super) fn add_meeting_place(&mut self, address: Multiaddr, now: Instant) {
        self.insert_seed(address, false, now);
    }

    fn insert_seed(&mut self, address: Multiaddr, by_user: bool, now: Instant) {
        if self.seeds.len() >= MAX_SEEDS || self.seeds.iter().any(|seed| seed.address == address) {
            return;
        }
        let peer = peer_of(&address);
        self.seeds.push(Seed { address, peer, by_user, failures: 0, next: now, dialing: false });
    }

    /// True if the user named the peer, or an address at which it has answered.
    pub(super) fn is_named(&self, peer: PeerId) -> bool {
        self.seeds.iter().any(|seed| seed.by_user && seed.peer == Some(peer))
    }

    /// Removes a seed that turned out to be an address of this node.
    pub(super) fn remove_seed(&mut self, address: &Multiaddr) {
        self.seeds.retain(|seed| seed.address != *address);
    }

    /// Adds a proven address of a peer: one from the user, or one at which a connection has shown
    /// the peer's key. Returns true if it was unknown.
    pub(super) fn add_proven(
        &mut self,
        peer: PeerId,
        address: &Multiaddr,
        by_user: bool,
        now: Instant,
    ) -> bool {
        let address = without_peer(address);
        if peer == self.me || !is_dialable(&address, false) {
            return false;
        }
        if !self.peers.contains_key(&peer) && !self.make_room(&peer, &address, by_user) {
            return false;
        }
        let next = self.first_dial(&peer, now);
        let known = self.peers.entry(peer).or_insert_with(|| Known {
            addresses: Vec::new(),
            failures: 0,
            next,
            dialing: false,
        });
        if let Some(at) = known.addresses.iter().position(|(known, _)| *known == address) {
            // The freshest is last; the oldest is evicted first.
            let (address, users) = known.addresses.remove(at);
            known.addresses.push((address, users || by_user));
            return false;
        }
        if known.addresses.len() >= MAX_KNOWN_ADDRESSES {
            let oldest = known.addresses.iter().position(|(_, users)| !users);
            known.addresses.remove(oldest.unwrap_or_default());
        }
        known.addresses.push((address, by_user));
        known.failures = 0;
        known.next = known.next.min(next);
        true
    }

    /// Returns the time of the first dial. Of two nodes that find each other at once, the one with
    /// the lower id dials first. This mostly results in one connection instead of two.
    fn first_dial(&mut self, peer: &PeerId, now: Instant) -> Instant {
        if self.me < *peer { now } else { now + self.back_off.after(0, &mut self.random) }
    }

    /// Makes room for a peer. Evicts the peer with most failures among those that are neither
    /// friends nor the user's: in the same network if that is crowded, else if the book is full.
    /// Returns false if there is no such peer.
    fn make_room(&mut self, peer: &PeerId, address: &Multiaddr, by_user: bool) -> bool {
        let keeps = by_user || self.trust.is_friend(peer);
        let there = network(address);
        let is_there = |known: &Known| {
            known.addresses.last().is_some_and(|(address, _)| network(address) == there)
        };
        let crowded = !keeps
            && self.peers.values().filter(|known| is_there(known) && !known.is_users()).count()
                >= MAX_KNOWN_PER_NETWORK;
        if !crowded && self.peers.len() < MAX_KNOWN_PEERS {
            return true;
        }
        let worst = self
            .peers
            .iter()
            .filter(|(peer, known)| {
                !known.is_users() && !self.trust.is_friend(peer) && (!crowded || is_there(known))
            })
            .max_by_key(|(peer, known)| (!self.present.contains_key(peer), known.failures))
            .map(|(peer, _)| *peer);
        worst.is_some_and(|peer| self.peers.remove(&peer).is_some())
            || (keeps && self.peers.len() < MAX_KNOWN_PEERS)
    }

    /// Adds a told address, if it may be dialed and its teller has a budget left. Returns true if
    /// it is new.
    pub(super) fn add_hint(
        &mut self,
        peer: PeerId,
        address: &Multiaddr,
        word: &Word,
        now: Instant,
    ) -> bool {
        let address = without_peer(address);
        let of_friend = word.own && self.trust.is_friend(&peer);
        if peer == self.me
            || self.present.contains_key(&peer)
            || !may_be_told(&address, &word.scopes, of_friend, self.private_only)
        {
            return false;
        }
        let known = self.peers.get(&peer).map(|known| &known.addresses);
        if known.is_some_and(|known| known.iter().any(|(known, _)| *known == address)) {
            return false;
        }
        let level = word.teller.map_or(Level::Stranger, |teller| self.trust.level(&teller));
        let (class, account) = match (word.account, word.teller) {
            _ if of_friend => (Class::Friend, Teller::Peer(peer)),
            (Teller::Nearby(_), _) => (Class::Nearby, word.account),
            (_, Some(teller)) if level > Level::Stranger => {
                (Class::Introduced, Teller::Peer(teller))
            }
            (Teller::Walk, _) if self.trust.is_friend(&peer) => (Class::Sought, word.account),
            _ => (Class::Stranger, word.account),
        };
        let first = self.first_dial(&peer, now);
        self.hints.add(class, (peer, &address), account, first, now)
    }

    /// Records the addresses that a connected peer announced. They become hints once it is gone.
    pub(super) fn announced(&mut self, peer: &PeerId, addresses: &[Multiaddr], word: Word) {
        if let Some(present) = self.present.get_mut(peer) {
            let addresses = addresses.iter().take(MAX_KNOWN_ADDRESSES).map(without_peer).collect();
            present.announced = Some((addresses, word));
        }
    }

    /// Forgets a told address whose mDNS record has ended.
    pub(super) fn expired(&mut self, peer: &PeerId, address: &Multiaddr) {
        self.hints.expired(peer, &without_peer(address));
    }

    /// Returns the entries to dial now, among those that are not connected. Each counts as being
    /// dialed until [`AddressBook::connected`] or [`AddressBook::failed`]. With `enough`, enough
    /// peers are connected, and only hints about friends are dialed, from any teller.
    pub(super) fn due(
        &mut self,
        now: Instant,
        enough: bool,
        may_dial: impl Fn(&PeerId) -> bool,
    ) -> Vec<Dial> {
        self.shut.retain(|_, until| now < *until);
        let Self { peers, seeds, hints, present, shut, trust, .. } = self;
        let wanted = |peer: &PeerId| {
            !present.contains_key(peer) && !shut.contains_key(peer) && may_dial(peer)
        };
        let mut dials = Vec::new();
        for seed in seeds {
            let absent = seed
                .peer
                .is_none_or(|peer| !present.contains_key(&peer) && !shut.contains_key(&peer));
            if absent && !seed.dialing && seed.next <= now && dials.len() < DIALS_PER_TICK {
                seed.dialing = true;
                dials.push(Dial::Seed(seed.address.clone()));
            }
        }
        let keeps = |peer: &PeerId, known: &Known| known.is_users() || trust.is_friend(peer);
        let met = peers.iter().filter(|(peer, known)| known.dialing && !keeps(peer, known)).count();
        // Friends come first: no friend waits behind addresses that strangers have proven.
        for (is_friends, most) in
            [(true, DIALS_PER_TICK), (false, MAX_MET_DIALING.saturating_sub(met))]
        {
            let room = DIALS_PER_TICK.saturating_sub(dials.len()).min(most);
            let due = peers.iter_mut().filter(|(peer, known)| {
                !known.dialing
                    && known.next <= now
                    && !known.addresses.is_empty()
                    && keeps(peer, known) == is_friends
                    && wanted(peer)
            });
            for (peer, known) in due.take(room) {
                known.dialing = true;
                let addresses = known.addresses.iter().rev().map(|(address, _)| address.clone());
                dials.push(Dial::Peer(*peer, addresses.collect()));
            }
            let room = DIALS_PER_TICK.saturating_sub(dials.len());
            let only_friends = is_friends || enough;
            let told = hints
                .due(now, room, |peer| wanted(peer) && (!only_friends || trust.is_friend(peer)));
            dials.extend(told.into_iter().map(|(peer, address)| Dial::Hint(peer, address)));
        }
        dials
    }

    /// Records that a connection to the peer is up, at this address if the node dialed it.
    pub(super) fn connected(&mut self, peer: PeerId, dialed: Option<&Multiaddr>, now: Instant) {
        let dialed = dialed.map(without_peer);
        self.present.entry(peer).or_insert(Present { since: now, announced: None });
        self.hints.proven(&peer, dialed.as_ref());
        if let Some(address) = &dialed
            && !self.seeds.iter().any(|seed| without_peer(&seed.address) == *address)
        {
            self.add_proven(peer, address, false, now);
        }
        if let Some(known) = self.peers.get_mut(&peer) {
            known.dialing = false;
        }
    }

    /// Records that a connection through a seed is up.
    pub(super) fn seed_answered(&mut self, address: &Multiaddr, peer: PeerId) {
        for seed in self.seeds.iter_mut().filter(|seed| seed.address == *address) {
            seed.dialing = false;
            seed.peer = Some(peer);
        }
    }

    /// Records that a dial failed.
    pub(super) fn failed(&mut self, dial: &Dial, now: Instant) {
        match dial {
            Dial::Peer(peer, _) => {
                // Another dial of the peer may have succeeded meanwhile.
                if let Some(known) = self.peers.get_mut(peer)
                    && !self.present.contains_key(peer)
                {
                    known.dialing = false;
                    self.count_failure(peer, now);
                }
            }
            Dial::Seed(address) => {
                for seed in self.seeds.iter_mut().filter(|seed| seed.address == *address) {
                    seed.dialing = false;
                    seed.failures = seed.failures.saturating_add(1);
                    seed.next = now + self.back_off.after(seed.failures, &mut self.random);
                }
            }
            Dial::Hint(peer, address) => self.hints.failed(peer, address, now),
        }
    }

    fn count_failure(&mut self, peer: &PeerId, now: Instant) {
        let is_friend = self.trust.is_friend(peer);
        let Some(known) = self.peers.get_mut(peer) else { return };
        known.failures = known.failures.saturating_add(1);
        known.next = now + known.wait(self.back_off, is_friend, &mut self.random);
        if known.failures >= MAX_FAILURES_MET && !is_friend && !known.is_users() {
            self.peers.remove(peer);
        }
    }

    /// True if the user gave an address of the peer.
    pub(super) fn is_users(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_some_and(Known::is_users)
    }

    /// Returns a random friend who is not connected.
    pub(super) fn absent_friend(&mut self) -> Option<PeerId> {
        let Self { peers, present, trust, random, .. } = self;
        let away: Vec<PeerId> = peers
            .keys()
            .filter(|peer| !present.contains_key(*peer) && trust.is_friend(peer))
            .copied()
            .collect();
        away.get(random.random_range(0..away.len().max(1))).copied()
    }

    /// Returns the addresses at which a peer may be reached without a relay: proven ones, and those
    /// that it announced.
    pub(super) fn direct(&self, peer: &PeerId) -> Vec<Multiaddr> {
        let known = self.peers.get(peer).map_or(&[][..], |known| &known.addresses);
        let announced = self.present.get(peer).and_then(|present| present.announced.as_ref());
        let own = announced.into_iter().flat_map(|(addresses, word)| {
            let scopes = &word.scopes;
            let may_be =
                move |address: &&Multiaddr| may_be_told(address, scopes, true, self.private_only);
            addresses.iter().filter(may_be)
        });
        let mut all: Vec<Multiaddr> = Vec::new();
        for address in known.iter().rev().map(|(address, _)| address).chain(own) {
            if !is_relayed(address) && !all.contains(address) && all.len() < MAX_KNOWN_ADDRESSES {
                all.push(address.clone());
            }
        }
        all
    }

    /// Removes a proven address of the peer at which another peer answered. An address from the
    /// user stays.
    pub(super) fn forget_address(&mut self, peer: &PeerId, address: &Multiaddr) {
        let address = without_peer(address);
        if let Some(known) = self.peers.get_mut(peer) {
            known.addresses.retain(|(known, users)| *known != address || *users);
            if known.addresses.is_empty() {
                self.peers.remove(peer);
            }
        }
    }

    /// Records that the last connection to the peer is down. The peer is dialed again soon, or with
    /// back-off if the connection did not last.
    pub(super) fn disconnected(&mut self, peer: &PeerId, now: Instant) {
        let Some(Present { since, announced }) = self.present.remove(peer) else { return };
        let lasted = now.saturating_duration_since(since) >= LASTING_CONNECTION;
        for seed in self.seeds.iter_mut().filter(|seed| seed.peer.as_ref() == Some(peer)) {
            seed.failures = if lasted { 0 } else { seed.failures.saturating_add(1) };
            let failures = seed.failures.saturating_sub(1);
            seed.next = now + self.back_off.after(failures, &mut self.random);
        }
        if let Some(known) = self.peers.get_mut(peer) {
            known.dialing = false;
            if lasted || known.failures == 0 {
                known.failures = u32::from(!lasted);
                known.next = now + self.back_off.after(0, &mut self.random);
            } else {
                self.count_failure(peer, now);
            }
        }
        if let Some((addresses, word)) = announced {
            for address in addresses {
                self.add_hint(*peer, &address, &word, now);
            }
        }
    }

    /// Forbids dials of the peer until a time.
    pub(super) fn shut(&mut self, peer: &PeerId, until: Instant) {
        if self.shut.len() >= MAX_KNOWN_PEERS && !self.shut.contains_key(peer) {
            let first = self.shut.iter().min_by_key(|(_, until)| **until).map(|(peer, _)| *peer);
            if let Some(first) = first {
                self.shut.remove(&first);
            }
        }
        self.shut.insert(*peer, until);
    }

    /// Makes everything due that does not come from strangers: the user's addresses, proven ones,
    /// and hints of friends and of the local network. The machine slept, or its network has
    /// changed.
    pub(super) fn wake(&mut self, now: Instant) {
        for seed in &mut self.seeds {
            (seed.failures, seed.next) = (0, now);
        }
        for known in self.peers.values_mut() {
            (known.failures, known.next) = (0, now);
        }
        self.hints.wake(now);
    }

    /// Makes the proven addresses and friends' hints due that lead through this relay, which has
    /// just connected. Earlier dials through it have failed, or still wait for the direct addresses
    /// to answer.
    pub(super) fn relay_connected(&mut self, relay: &PeerId, now: Instant) {
        for known in self.peers.values_mut() {
            if known.addresses.iter().any(|(address, _)| is_through(address, relay)) {
                (known.dialing, known.failures, known.next) = (false, 0, known.next.min(now));
            }
        }
        self.hints.relay_connected(relay, now);
    }
}

/// True if the address leads through this relay.
fn is_through(address: &Multiaddr, relay: &PeerId) -> bool {
    split_relay(address).is_some_and(|(_, through)| through == *relay)
}

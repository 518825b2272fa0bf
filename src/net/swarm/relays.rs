//! Reservations with friends who relay for this node.
//!
//! A node that no peer outside can dial keeps reservations until [`MAX_RELAYS`] friends relay for
//! it. It asks other friends instead of those that grant nothing, misuse the grant, or open no
//! circuits. To test the last, it asks each relay for a circuit to itself. A relay that fails is
//! withdrawn from the node's addresses. Its reservation stands beside, until the connection ends.
//!
//! # Security
//! A relay that opens circuits only for the tests is not noticed. It looks as if no friend dials:
//! only those friends know better, and they have no other way to this node.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use libp2p::{Multiaddr, core::transport::ListenerId, relay, request_response};

use super::Network;
use crate::{
    net::{
        address::{is_dialable, is_far, is_nearby, is_relayed, split_relay, through, without_peer},
        event::NetEvent,
        limits::{
            LASTING_CONNECTION, LEAST_RENEWAL, LONGEST_RELAY_PAUSE, MAX_FAILED_TESTS,
            MAX_KNOWN_ADDRESSES, MAX_NAMED_ADDRESSES, MAX_RELAY_ADDRESSES, MAX_RELAY_PAUSES,
            MAX_RELAYS, RELAY_PAUSE, TEST_INTERVAL,
        },
        peer::{from_libp2p, to_libp2p},
    },
    primitives::{PeerId, doubled},
};

/// A reservation, granted or requested.
#[derive(Debug)]
struct Reservation {
    listener: ListenerId,
    asked: Instant,
    /// The addresses at which the friend relays, without this node's id. Empty until granted.
    addresses: Vec<Multiaddr>,
    /// All addresses that the friend has named, usable or not.
    named: BTreeSet<Multiaddr>,
    /// The time of the last grant.
    granted: Option<Instant>,
    next_test: Instant,
    /// The failed tests in a row.
    failures: u32,
}

impl Reservation {
    const fn new(listener: ListenerId, now: Instant) -> Self {
        Self {
            listener,
            asked: now,
            addresses: Vec::new(),
            named: BTreeSet::new(),
            granted: None,
            next_test: now,
            failures: 0,
        }
    }

    /// True unless the relay has failed its tests.
    const fn works(&self) -> bool {
        self.failures < MAX_FAILED_TESTS
    }
}

/// The friends who relay for this node, and those who offer it.
#[derive(Debug, Default)]
pub(super) struct Relays {
    /// Peers that offer to relay, and the addresses that they announce.
    offers: HashMap<PeerId, Vec<Multiaddr>>,
    reservations: BTreeMap<PeerId, Reservation>,
    /// Friends that are not asked before a time, with the number of failures.
    pauses: HashMap<PeerId, (Instant, u32)>,
}

impl Relays {
    /// Records whether a connected peer offers to relay.
    pub(super) fn offers(&mut self, peer: PeerId, relays: bool, addresses: &[Multiaddr]) {
        if relays {
            let own = addresses.iter().map(without_peer).filter(|it| !is_relayed(it));
            self.offers.insert(peer, own.take(MAX_KNOWN_ADDRESSES).collect());
        } else {
            self.offers.remove(&peer);
        }
    }

    /// Forgets a peer that is gone.
    pub(super) fn gone(&mut self, peer: &PeerId) {
        self.offers.remove(peer);
    }

    /// True if the address goes through a relay that this node knows.
    pub(super) fn is_relay_of(&self, address: &Multiaddr) -> bool {
        split_relay(address).is_some_and(|(_, relay)| self.offers.contains_key(&relay))
    }

    /// Returns the friends who relay, with the addresses at which they do.
    pub(super) fn granted(&self) -> impl Iterator<Item = (&PeerId, &[Multiaddr])> {
        let working = self.reservations.iter().filter(|(_, it)| it.works());
        let all = working.map(|(relay, it)| (relay, it.addresses.as_slice()));
        all.filter(|(_, addresses)| !addresses.is_empty())
    }

    /// Returns the number of friends that may still be asked.
    fn room(&self) -> usize {
        let working = self.reservations.values().filter(|it| it.works()).count();
        MAX_RELAYS.saturating_sub(working)
    }

    /// Records an address in a grant. Returns false if the relay has named too many.
    fn named(&mut self, relay: &PeerId, address: &Multiaddr) -> bool {
        let Some(it) = self.reservations.get_mut(relay) else { return true };
        it.named.insert(address.clone());
        if let Some(address) = Self::checked(relay, address) {
            if !it.addresses.contains(&address) && it.addresses.len() < MAX_RELAY_ADDRESSES {
                it.addresses.push(address);
            }
        } else {
            tracing::debug!(%relay, %address, "a relay named an address that is not its own");
        }
        it.named.len() <= MAX_NAMED_ADDRESSES
    }

    /// Records a grant. Returns false if it comes too early after the last one.
    fn renewed(&mut self, relay: &PeerId, now: Instant) -> bool {
        let before = self.reservations.get_mut(relay).and_then(|it| it.granted.replace(now));
        before.is_none_or(|before| now.saturating_duration_since(before) >= LEAST_RENEWAL)
    }

    /// Returns the relays to test now. One that has failed is tested only while it may be needed.
    fn due(&mut self, now: Instant) -> Vec<PeerId> {
        let needed = self.room() > 0;
        let due = self.reservations.iter_mut().filter(|(_, it)| {
            !it.addresses.is_empty() && it.next_test <= now && (it.works() || needed)
        });
        let tested = due.map(|(relay, it)| {
            it.next_test = now + TEST_INTERVAL;
            *relay
        });
        tested.collect()
    }

    /// Records the result of a test. Returns true if the relay works no more, or works again.
    fn tested(&mut self, relay: PeerId, passed: bool, retest: Duration, now: Instant) -> bool {
        let Some(it) = self.reservations.get_mut(&relay) else { return false };
        let worked = it.works();
        it.failures = if passed { 0 } else { it.failures.saturating_add(1) };
        let works = it.works();
        if works && !passed {
            it.next_test = now + retest;
        }
        if worked && !works {
            self.pause(relay, now);
        }
        worked != works
    }

    /// Pauses requests to a friend that granted no reservation, or ended one.
    fn pause(&mut self, peer: PeerId, now: Instant) {
        let failures = self.pauses.get(&peer).map_or(0, |(_, failures)| *failures);
        let pause = doubled(RELAY_PAUSE, failures, LONGEST_RELAY_PAUSE);
        if self.pauses.len() >= MAX_RELAY_PAUSES && !self.pauses.contains_key(&peer) {
            let first = self.pauses.iter().min_by_key(|(_, (until, _))| *until);
            if let Some(first) = first.map(|(peer, _)| *peer) {
                self.pauses.remove(&first);
            }
        }
        self.pauses.insert(peer, (now + pause, failures.saturating_add(1)));
    }

    /// Ends a reservation, and pauses requests to the friend. The pause grows only if reservations
    /// with it never last.
    fn end(&mut self, relay: PeerId, now: Instant) {
        let ended = self.reservations.remove(&relay);
        let lasted = ended.is_some_and(|it| {
            let time = now.saturating_duration_since(it.asked);
            it.works() && !it.addresses.is_empty() && time >= LASTING_CONNECTION
        });
        if lasted {
            self.pauses.remove(&relay);
        }
        self.pause(relay, now);
    }

    /// Ends all pauses, since the machine is in another network now.
    pub(super) fn forget_pauses(&mut self) {
        self.pauses.clear();
    }

    /// Returns the friends to ask for a reservation now, the best first.
    fn wanted(&self, friends: &[PeerId], now: Instant) -> Vec<PeerId> {
        let is_free = |peer: &&PeerId| {
            self.offers.contains_key(*peer)
                && !self.reservations.contains_key(*peer)
                && self.pauses.get(*peer).is_none_or(|(until, _)| *until <= now)
        };
        friends.iter().filter(is_free).take(self.room()).copied().collect()
    }

    /// Returns an address of a granted reservation, if it is the relay's own and others may dial
    /// it.
    fn checked(relay: &PeerId, address: &Multiaddr) -> Option<Multiaddr> {
        let (at, named) = split_relay(address)?;
        let usable = named == *relay && is_dialable(&at, false) && (is_far(&at) || is_nearby(&at));
        usable.then(|| through(&at, relay))
    }

    fn relay_of(&self, listener: ListenerId) -> Option<PeerId> {
        let found = self.reservations.iter().find(|(_, it)| it.listener == listener);
        found.map(|(relay, _)| *relay)
    }
}

impl Network {
    /// Records the addresses at which a friend relays for this node.
    pub(super) fn relay_granted(&mut self, listener: ListenerId, address: &Multiaddr) {
        let Some(relay) = self.reach.relays.relay_of(listener) else { return };
        if !self.reach.relays.named(&relay, address) {
            self.leave_relay(&relay, "it names too many addresses as a relay");
        }
        self.tell_reach();
    }

    /// Ends a reservation. Returns false if the listener was none.
    pub(super) fn relay_ended(&mut self, listener: ListenerId) -> bool {
        let Some(relay) = self.reach.relays.relay_of(listener) else { return false };
        if self.peers.contains_key(&relay) {
            // The relay is still connected, and no longer relays.
            self.reach.relays.end(relay, Instant::now());
        } else {
            self.reach.relays.reservations.remove(&relay);
        }
        self.tell_reach();
        true
    }

    pub(super) fn on_circuits(&mut self, event: &relay::client::Event) -> Option<NetEvent> {
        if let relay::client::Event::ReservationReqAccepted { relay_peer_id, renewal, .. } = event {
            tracing::debug!(relay = %relay_peer_id, renewal, "a friend relays for this node");
            if let Some(relay) = from_libp2p(relay_peer_id)
                && !self.reach.relays.renewed(&relay, Instant::now())
            {
                self.leave_relay(&relay, "its grants as a relay end at once");
            }
        }
        None
    }

    /// Ends a reservation.
    ///
    /// # Security
    /// libp2p panics if a relay grants a reservation whose listener was removed meanwhile. The
    /// listener of a relay is therefore never removed: the connection to the relay is closed, which
    /// ends both. The listener of a relay that is not connected ends by itself.
    fn leave_relay(&mut self, relay: &PeerId, reason: &'static str) {
        self.reach.relays.end(*relay, Instant::now());
        self.disconnect(relay, reason);
    }

    /// Asks relays for a circuit to this node.
    pub(super) fn test_relays(&mut self, now: Instant) {
        let Some(me) = to_libp2p(&self.me) else { return };
        for relay in self.reach.relays.due(now) {
            if self.peers.contains_key(&relay)
                && let Some(relay) = to_libp2p(&relay)
            {
                self.swarm.behaviour_mut().own_circuits.send_request(&relay, me);
            }
        }
    }

    pub(super) fn on_own_circuit(
        &mut self,
        event: &request_response::Event<libp2p::PeerId, ()>,
    ) -> Option<NetEvent> {
        use request_response::{Event, Message, OutboundFailure};
        let (relay, passed) = match event {
            Event::Message { peer, message: Message::Response { .. }, .. } => (peer, true),
            // The reservation has ended too.
            Event::OutboundFailure { error: OutboundFailure::ConnectionClosed, .. } => return None,
            Event::OutboundFailure { peer, error, .. } => {
                tracing::debug!(relay = %peer, %error, "a relay opens no circuit to this node");
                (peer, false)
            }
            _ => return None,
        };
        let (relay, now) = (from_libp2p(relay)?, Instant::now());
        if self.reach.relays.tested(relay, passed, self.tuning.retest_time, now) {
            tracing::debug!(%relay, passed, "a relay has changed");
            self.tell_reach();
        }
        None
    }

    /// Ends reservations at former friends, and requests without an answer. A node that has become
    /// public keeps the granted ones.
    pub(super) fn drop_reservations(&mut self, now: Instant) {
        let time = self.tuning.reserve_time;
        let mut ended = Vec::new();
        for (relay, it) in &self.reach.relays.reservations {
            let stalls = it.addresses.is_empty() && now.saturating_duration_since(it.asked) >= time;
            if self.peers.contains_key(relay) && (stalls || !self.trust.is_friend(relay)) {
                ended.push(*relay);
            }
        }
        for relay in ended {
            self.leave_relay(&relay, "it does not answer as a relay; connecting anew");
        }
    }

    /// Asks friends for reservations.
    pub(super) fn reserve(&mut self, now: Instant) {
        let direct = |peer: &PeerId| {
            let entry = self.peers.get(peer)?;
            entry.connections.iter().find(|connection| !connection.relayed)
        };
        let mut friends: Vec<PeerId> =
            self.peers.keys().filter(|peer| self.trust.is_friend(peer)).copied().collect();
        friends.retain(|peer| direct(peer).is_some());
        // The longest connected friends come first.
        friends.sort_by_key(|peer| self.peers.get(peer).map(|entry| entry.since));
        let relays = &mut self.reach.relays;
        for relay in relays.wanted(&friends, now) {
            let proven = direct(&relay).filter(|connection| !connection.inbound);
            let announced = relays.offers.get(&relay).and_then(|own| own.first());
            let at = proven.map(|connection| &connection.address).or(announced);
            let Some(address) = at.map(|at| through(at, &relay)) else {
                relays.pause(relay, now);
                continue;
            };
            match self.swarm.listen_on(address) {
                Ok(listener) => {
                    relays.reservations.insert(relay, Reservation::new(listener, now));
                }
                Err(error) => {
                    tracing::debug!(%relay, %error, "a friend cannot be asked to relay");
                    relays.pause(relay, now);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::PublicKey;

    fn peer(number: u8) -> PeerId {
        PeerId(PublicKey([number; 32]))
    }

    fn relays(friends: u8) -> (Relays, Vec<PeerId>) {
        let mut relays = Relays::default();
        let friends: Vec<_> = (1..=friends).map(peer).collect();
        for friend in &friends {
            relays.offers(*friend, true, &[]);
        }
        (relays, friends)
    }

    #[test]
    fn a_node_that_nobody_reaches_asks_few_friends_and_others_instead_of_those_that_fail() {
        let now = Instant::now();
        let (mut relays, friends) = relays(5);
        assert_eq!(relays.wanted(&friends, now), friends[..MAX_RELAYS]);
        relays.pause(friends[0], now);
        assert_eq!(relays.wanted(&friends, now), friends[1..=MAX_RELAYS]);
        assert_eq!(relays.wanted(&friends, now + RELAY_PAUSE), friends[..MAX_RELAYS]);
        relays.pause(friends[0], now);
        assert!(!relays.wanted(&friends, now + RELAY_PAUSE).contains(&friends[0]), "it doubles");
        assert!(relays.wanted(&[peer(9)], now).is_empty(), "it does not offer to relay");
    }

    #[test]
    fn a_relay_names_no_address_but_its_own() {
        let (_, friends) = relays(1);
        let relay = friends[0];
        let good = through(&"/ip4/8.8.8.8/tcp/1".parse().unwrap(), &relay);
        assert_eq!(Relays::checked(&relay, &good), Some(good.clone()));
        assert_eq!(Relays::checked(&peer(2), &good), None, "another relay's");
        let nowhere = through(&"/ip4/0.0.0.0/tcp/1".parse().unwrap(), &relay);
        assert_eq!(Relays::checked(&relay, &nowhere), None);
        assert_eq!(Relays::checked(&relay, &"/ip4/8.8.8.8/tcp/1".parse().unwrap()), None);
    }

    /// Makes a relay grant a reservation.
    fn granted(relays: &mut Relays, relay: PeerId, now: Instant) {
        relays.reservations.insert(relay, Reservation::new(ListenerId::next(), now));
        assert!(relays.renewed(&relay, now));
        assert!(relays.named(&relay, &through(&"/ip4/8.8.8.8/tcp/1".parse().unwrap(), &relay)));
    }

    #[test]
    fn a_relay_that_fails_its_tests_is_withdrawn_and_another_friend_is_asked() {
        let (now, retest) = (Instant::now(), Duration::from_secs(1));
        let (mut relays, friends) = relays(3);
        for relay in &friends[..MAX_RELAYS] {
            granted(&mut relays, *relay, now);
        }
        assert_eq!(relays.due(now), friends[..MAX_RELAYS]);
        assert!(relays.due(now).is_empty(), "they are being tested");
        assert!(!relays.tested(friends[1], true, retest, now));
        assert!(!relays.tested(friends[0], false, retest, now), "one failure may be chance");
        assert!(relays.wanted(&friends, now).is_empty() && relays.due(now).is_empty());
        assert_eq!(relays.due(now + retest), friends[..1]);
        assert!(relays.tested(friends[0], false, retest, now + retest));
        let told: Vec<_> = relays.granted().map(|(relay, _)| *relay).collect();
        assert_eq!(told, friends[1..MAX_RELAYS]);
        assert_eq!(relays.wanted(&friends, now), friends[2..]);
        let later = now + retest + TEST_INTERVAL;
        assert!(relays.due(later).contains(&friends[0]), "it is needed");
        granted(&mut relays, friends[2], later);
        assert!(!relays.due(later + TEST_INTERVAL).contains(&friends[0]), "others relay");
        assert!(relays.tested(friends[0], true, retest, later), "it works again");
        assert_eq!(relays.granted().count(), 3);
    }

    #[test]
    fn a_relay_that_ends_its_grants_at_once_or_names_many_addresses_is_noticed() {
        let now = Instant::now();
        let (mut relays, friends) = relays(1);
        granted(&mut relays, friends[0], now);
        assert!(relays.renewed(&friends[0], now + LEAST_RENEWAL));
        assert!(!relays.renewed(&friends[0], now + LEAST_RENEWAL));
        for port in 2..=MAX_NAMED_ADDRESSES {
            let address = format!("/ip4/8.8.8.8/tcp/{port}").parse().unwrap();
            assert!(relays.named(&friends[0], &address), "{port}");
            assert!(relays.named(&friends[0], &address), "the same again");
        }
        assert!(!relays.named(&friends[0], &"/ip4/8.8.8.8/tcp/9999".parse().unwrap()));
    }

    #[test]
    fn pauses_grow_only_while_reservations_do_not_last() {
        let now = Instant::now();
        let (mut relays, friends) = relays(1);
        let pause = |relays: &Relays, from: Instant| relays.pauses[&friends[0]].0 - from;
        for factor in [1, 2, 4] {
            granted(&mut relays, friends[0], now);
            relays.end(friends[0], now);
            assert_eq!(pause(&relays, now), factor * RELAY_PAUSE);
        }
        granted(&mut relays, friends[0], now);
        let later = now + LASTING_CONNECTION;
        relays.end(friends[0], later);
        assert_eq!(pause(&relays, later), RELAY_PAUSE);
    }

    #[test]
    fn pauses_are_bounded() {
        let (mut relays, _) = relays(0);
        for number in 0..=u8::MAX {
            relays.pause(peer(number), Instant::now());
        }
        assert_eq!(relays.pauses.len(), MAX_RELAY_PAUSES);
    }
}

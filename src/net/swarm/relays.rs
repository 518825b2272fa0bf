//! Reservations with friends who relay for this node.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use libp2p::{Multiaddr, core::transport::ListenerId, relay};

use super::Network;
use crate::{
    net::{
        address::{is_dialable, is_far, is_nearby, is_relayed, split_relay, through, without_peer},
        event::NetEvent,
        limits::{
            LONGEST_RELAY_PAUSE, MAX_KNOWN_ADDRESSES, MAX_RELAY_ADDRESSES, MAX_RELAY_PAUSES,
            MAX_RELAYS, RELAY_PAUSE, RESERVE_TIME,
        },
        peer::from_libp2p,
    },
    primitives::PeerId,
};

/// A reservation, granted or requested.
#[derive(Debug)]
struct Reservation {
    listener: ListenerId,
    asked: Instant,
    /// The addresses at which the friend relays, without this node's id. Empty until granted.
    addresses: Vec<Multiaddr>,
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
        let all = self.reservations.iter().map(|(relay, it)| (relay, it.addresses.as_slice()));
        all.filter(|(_, addresses)| !addresses.is_empty())
    }

    /// Pauses requests to a friend that granted no reservation, or ended one.
    fn pause(&mut self, peer: PeerId, now: Instant) {
        let failures = self.pauses.get(&peer).map_or(0, |(_, failures)| *failures);
        let factor = 1_u32.checked_shl(failures.min(16)).unwrap_or(u32::MAX);
        let pause = RELAY_PAUSE.saturating_mul(factor).min(LONGEST_RELAY_PAUSE);
        if self.pauses.len() >= MAX_RELAY_PAUSES && !self.pauses.contains_key(&peer) {
            let first = self.pauses.iter().min_by_key(|(_, (until, _))| *until);
            if let Some(first) = first.map(|(peer, _)| *peer) {
                self.pauses.remove(&first);
            }
        }
        self.pauses.insert(peer, (now + pause, failures.saturating_add(1)));
    }

    /// Ends all pauses, since the machine is in another network now.
    pub(super) fn forget_pauses(&mut self) {
        self.pauses.clear();
    }

    /// Returns the friends to ask for a reservation now, the best first.
    fn wanted(&self, friends: &[PeerId], now: Instant) -> Vec<PeerId> {
        let room = MAX_RELAYS.saturating_sub(self.reservations.len());
        let is_free = |peer: &&PeerId| {
            self.offers.contains_key(*peer)
                && !self.reservations.contains_key(*peer)
                && self.pauses.get(*peer).is_none_or(|(until, _)| *until <= now)
        };
        friends.iter().filter(is_free).take(room).copied().collect()
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
        let Some(address) = Relays::checked(&relay, address) else {
            tracing::debug!(%relay, %address, "a relay named an address that is not its own");
            return;
        };
        if let Some(reservation) = self.reach.relays.reservations.get_mut(&relay)
            && !reservation.addresses.contains(&address)
            && reservation.addresses.len() < MAX_RELAY_ADDRESSES
        {
            reservation.addresses.push(address);
        }
        self.tell_reach();
    }

    /// Ends a reservation. Returns false if the listener was none.
    pub(super) fn relay_ended(&mut self, listener: ListenerId) -> bool {
        let Some(relay) = self.reach.relays.relay_of(listener) else { return false };
        self.reach.relays.reservations.remove(&relay);
        if self.peers.contains_key(&relay) {
            // The relay is still connected, and no longer relays.
            self.reach.relays.pause(relay, Instant::now());
        }
        self.tell_reach();
        true
    }

    pub(super) fn on_circuits(&mut self, event: &relay::client::Event) -> Option<NetEvent> {
        if let relay::client::Event::ReservationReqAccepted { relay_peer_id, renewal, .. } = event {
            tracing::debug!(relay = %relay_peer_id, renewal, "a friend relays for this node");
            if let Some(relay) = from_libp2p(relay_peer_id) {
                self.reach.relays.pauses.remove(&relay);
            }
        }
        None
    }

    /// Ends reservations at former friends, and requests without an answer. A node that has become
    /// public keeps the granted ones.
    ///
    /// # Security
    /// libp2p panics if a relay grants a reservation whose listener was removed meanwhile. The
    /// listener of a relay is therefore never removed: the connection to the relay is closed, which
    /// ends both. The listener of a relay that is not connected ends by itself.
    pub(super) fn drop_reservations(&mut self, now: Instant) {
        let mut ended = Vec::new();
        for (relay, it) in &self.reach.relays.reservations {
            let stalls =
                it.addresses.is_empty() && now.saturating_duration_since(it.asked) >= RESERVE_TIME;
            if self.peers.contains_key(relay) && (stalls || !self.trust.is_friend(relay)) {
                ended.push((*relay, stalls));
            }
        }
        for (relay, stalls) in ended {
            self.reach.relays.reservations.remove(&relay);
            self.disconnect(&relay, "it does not answer as a relay; connecting anew");
            if stalls {
                self.reach.relays.pause(relay, now);
            }
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
                    let it = Reservation { listener, asked: now, addresses: Vec::new() };
                    relays.reservations.insert(relay, it);
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

    #[test]
    fn pauses_are_bounded() {
        let (mut relays, _) = relays(0);
        for number in 0..=u8::MAX {
            relays.pause(peer(number), Instant::now());
        }
        assert_eq!(relays.pauses.len(), MAX_RELAY_PAUSES);
    }
}

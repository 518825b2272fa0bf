//! Paths from others to this node, and from this node to each peer.
//!
//! A node that no peer outside can dial keeps a reservation with up to [`MAX_RELAYS`] friends who
//! relay, and offers the relayed addresses as its own. Once an address of its own is confirmed, it
//! asks for no further reservation. These addresses are confirmed: those from the user, ports that
//! the router maps, and addresses at which a friend has dialed back.
//!
//! A peer behind a relay is also dialed at its own addresses. Once a direct connection is up, the
//! relayed one is closed.
//!
//! # Places and budgets
//! A peer behind a relay has no IP address of its own. It takes a place among those at the relay's
//! address, and uses the budget of its own level. Strangers behind one relay thus evict only each
//! other, and no friend.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use libp2p::{
    Multiaddr,
    core::transport::ListenerId,
    dcutr, relay,
    swarm::{ConnectionId, SwarmEvent},
};

use super::Network;
use crate::{
    net::{
        address::{
            is_dialable, is_far, is_nearby, is_relayed, offered, split_relay, through, without_peer,
        },
        behaviour::BehaviourEvent,
        event::{NetEvent, ReachSnapshot, ReachWay, RouterState},
        limits::{
            DIRECT_WAIT, LONGEST_DIRECT_WAIT, LONGEST_RELAY_PAUSE, MAX_KNOWN_ADDRESSES,
            MAX_RELAY_ADDRESSES, MAX_RELAY_PAUSES, MAX_RELAYS, RELAY_PAUSE, RELAYED_GRACE,
            RESERVE_TIME, UNSEEN_TIME,
        },
        mapping,
        peer::from_libp2p,
    },
    primitives::PeerId,
};

/// The path to a peer.
#[derive(Debug)]
pub(super) struct Path {
    /// The relay's address in the last event for the node; `None` for a direct connection.
    told: Option<Multiaddr>,
    /// The time of the next direct dial of a peer behind a relay, and the number of such dials so
    /// far.
    next_direct: Instant,
    direct_dials: u32,
    /// The time from which on the peer may get requests on `sync` through a relay again.
    pub(super) sync_from: Instant,
}

impl Path {
    pub(super) fn new(address: &Multiaddr, now: Instant) -> Self {
        let told = is_relayed(address).then(|| address.clone());
        Self { told, next_direct: now, direct_dials: 0, sync_from: now }
    }
}

/// A reservation, granted or requested.
#[derive(Debug)]
struct Reservation {
    listener: ListenerId,
    asked: Instant,
    /// The addresses at which the friend relays, without this node's id. Empty until granted.
    addresses: Vec<Multiaddr>,
}

/// The reason why an address counts as confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Mapped,
    /// A friend has dialed it. Holds the last time at which a friend saw this machine there.
    Tested(Instant),
}

/// The state of this node's reachability.
#[derive(Debug)]
pub(super) struct Reach {
    /// Addresses from the user.
    users: Vec<Multiaddr>,
    confirmed: BTreeMap<Multiaddr, Origin>,
    /// True to relay for friends.
    relays: bool,
    private_only: bool,
    /// Peers that offer to relay, and the addresses that they announce.
    offers: HashMap<PeerId, Vec<Multiaddr>>,
    reservations: BTreeMap<PeerId, Reservation>,
    /// Friends that are not asked before a time, with the number of failures.
    pauses: HashMap<PeerId, (Instant, u32)>,
    router: Option<RouterState>,
    relaying: bool,
    told: Option<ReachSnapshot>,
}

impl Reach {
    pub(super) fn new(
        users: Vec<Multiaddr>,
        relays: bool,
        private_only: bool,
        port_mapping: bool,
    ) -> Self {
        Self {
            users,
            confirmed: BTreeMap::new(),
            relays,
            private_only,
            offers: HashMap::new(),
            reservations: BTreeMap::new(),
            pauses: HashMap::new(),
            router: port_mapping.then_some(RouterState::Asking),
            relaying: false,
            told: None,
        }
    }

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

    /// True if others reach the node at an address of its own.
    fn is_public(&self) -> bool {
        !self.users.is_empty() || !self.confirmed.is_empty()
    }

    fn way(&self) -> ReachWay {
        let is_tested = |origin: &Origin| matches!(origin, Origin::Tested(_));
        if !self.users.is_empty() || self.confirmed.values().any(is_tested) {
            ReachWay::Public
        } else if !self.confirmed.is_empty() {
            ReachWay::Mapped
        } else if self.reservations.values().any(|it| !it.addresses.is_empty()) {
            ReachWay::Relayed
        } else {
            ReachWay::Nowhere
        }
    }

    /// Returns the addresses beyond those of the machine's interfaces, the best first.
    fn external(&self) -> Vec<Multiaddr> {
        let relayed = self.reservations.values().flat_map(|it| it.addresses.iter());
        let mut all: Vec<Multiaddr> = Vec::new();
        for address in self.users.iter().chain(self.confirmed.keys()).chain(relayed) {
            if !all.contains(address) {
                all.push(address.clone());
            }
        }
        all
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

    /// Returns the friends to ask for a reservation now, the best first.
    fn wanted(&self, friends: &[PeerId], now: Instant) -> Vec<PeerId> {
        if self.private_only || self.is_public() {
            return Vec::new();
        }
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
}

impl Network {
    /// Returns the node's addresses for others. Addresses of its own network are included only
    /// while no peer outside of it is connected: the profile carries the addresses to everybody.
    pub(super) fn own_addresses(&self) -> Vec<Multiaddr> {
        let is_outside = |address: &Multiaddr| is_relayed(address) || is_far(address);
        let mut connections = self.peers.values().flat_map(|peer| &peer.connections);
        let near =
            self.private_only || !connections.any(|connection| is_outside(&connection.address));
        offered(self.listening.iter().cloned(), &self.reach.external(), near)
    }

    /// Handles events about relays and external addresses. Returns false for others.
    pub(super) fn on_reach_event(&mut self, event: &SwarmEvent<BehaviourEvent>) -> bool {
        match event {
            SwarmEvent::NewListenAddr { listener_id, address } if is_relayed(address) => {
                self.relay_granted(*listener_id, address);
            }
            // The end of the listener reports the same.
            SwarmEvent::ExpiredListenAddr { address, .. } => return is_relayed(address),
            SwarmEvent::ListenerClosed { listener_id, .. } => {
                return self.relay_ended(*listener_id);
            }
            SwarmEvent::ExternalAddrConfirmed { address } => self.confirmed(address),
            SwarmEvent::ExternalAddrExpired { address } => self.expired(address),
            _ => return false,
        }
        true
    }

    /// Records the addresses at which a friend relays for this node.
    fn relay_granted(&mut self, listener: ListenerId, address: &Multiaddr) {
        let found = self.reach.reservations.iter().find(|(_, it)| it.listener == listener);
        let Some(relay) = found.map(|(relay, _)| *relay) else { return };
        let Some(address) = Reach::checked(&relay, address) else {
            tracing::debug!(%relay, %address, "a relay named an address that is not its own");
            return;
        };
        if let Some(reservation) = self.reach.reservations.get_mut(&relay)
            && !reservation.addresses.contains(&address)
            && reservation.addresses.len() < MAX_RELAY_ADDRESSES
        {
            reservation.addresses.push(address);
        }
        self.tell_reach();
    }

    /// Ends a reservation. Returns false if the listener was none.
    fn relay_ended(&mut self, listener: ListenerId) -> bool {
        let found = self.reach.reservations.iter().find(|(_, it)| it.listener == listener);
        let Some(relay) = found.map(|(relay, _)| *relay) else { return false };
        self.reach.reservations.remove(&relay);
        if self.peers.contains_key(&relay) {
            // The relay is still connected, and no longer relays.
            self.reach.pause(relay, Instant::now());
        }
        self.tell_reach();
        true
    }

    /// Records an address that libp2p's protocols have confirmed.
    fn confirmed(&mut self, address: &Multiaddr) {
        let address = without_peer(address);
        if !is_relayed(&address) && !self.reach.users.contains(&address) {
            let tested = Origin::Tested(Instant::now());
            self.reach.confirmed.entry(address).or_insert(tested);
            self.tell_reach();
        }
    }

    fn expired(&mut self, address: &Multiaddr) {
        self.reach.confirmed.remove(&without_peer(address));
        self.tell_reach();
    }

    /// Records the ports that the router maps. Ports that it no longer maps are dropped.
    pub(super) fn on_mapping(&mut self, event: mapping::Event) -> Option<NetEvent> {
        tracing::debug!(router = ?event.router, addresses = ?event.addresses, "mapped ports");
        let is_mapped = |origin: &Origin| *origin == Origin::Mapped;
        self.reach.confirmed.retain(|at, it| !is_mapped(it) || event.addresses.contains(at));
        let mapped = event.addresses.into_iter().map(|address| (address, Origin::Mapped));
        self.reach.confirmed.extend(mapped);
        self.reach.router = Some(event.router);
        self.tell_reach();
        None
    }

    pub(super) fn on_circuits(&mut self, event: &relay::client::Event) -> Option<NetEvent> {
        if let relay::client::Event::ReservationReqAccepted { relay_peer_id, renewal, .. } = event {
            tracing::debug!(relay = %relay_peer_id, renewal, "a friend relays for this node");
            if let Some(relay) = from_libp2p(relay_peer_id) {
                self.reach.pauses.remove(&relay);
            }
        }
        None
    }

    pub(super) fn on_relay(event: &relay::Event) -> Option<NetEvent> {
        let (peer, what) = match event {
            relay::Event::ReservationReqAccepted { src_peer_id, renewed: false } => {
                (src_peer_id, "reserved")
            }
            relay::Event::ReservationReqDenied { src_peer_id, .. } => (src_peer_id, "refused"),
            relay::Event::CircuitReqAccepted { src_peer_id, .. } => (src_peer_id, "circuit"),
            relay::Event::CircuitReqDenied { src_peer_id, .. } => (src_peer_id, "circuit_refused"),
            relay::Event::CircuitClosed { src_peer_id, .. } => (src_peer_id, "circuit_closed"),
            _ => return None,
        };
        from_libp2p(peer).map(|peer| NetEvent::Relaying { peer, what })
    }

    pub(super) fn on_punch(event: &dcutr::Event) -> Option<NetEvent> {
        let peer = from_libp2p(&event.remote_peer_id)?;
        if let Err(error) = &event.result {
            tracing::debug!(%peer, %error, "hole punching failed");
        }
        Some(NetEvent::Punched { peer, direct: event.result.is_ok() })
    }

    /// Forgets results of the network that the machine was in before, and asks the router anew.
    pub(super) fn moved(&mut self, to_other_network: bool) {
        self.reach.pauses.clear();
        if let Some(mapping) = self.swarm.behaviour_mut().mapping.as_mut() {
            mapping.look_again();
        }
        if !to_other_network {
            return;
        }
        let behaviour = self.swarm.behaviour_mut();
        behaviour.asking.start_anew();
        let seen = behaviour.identify.seen();
        let is_old = |(address, origin): (&Multiaddr, &Origin)| {
            let old = matches!(origin, Origin::Tested(_)) && !seen.contains(address);
            old.then(|| address.clone())
        };
        let old: Vec<_> = self.reach.confirmed.iter().filter_map(is_old).collect();
        self.forget_addresses(old);
    }

    fn forget_addresses(&mut self, old: Vec<Multiaddr>) {
        for address in old {
            self.reach.confirmed.remove(&address);
            self.swarm.remove_external_address(&address);
        }
    }

    /// Keeps reservations, drops lost addresses, and moves peers from relays to direct connections.
    pub(super) fn keep_reachable(&mut self, now: Instant) {
        self.drop_unseen(now);
        let relaying = self.reach.relays && self.reach.is_public();
        if relaying != self.reach.relaying {
            self.reach.relaying = relaying;
            self.swarm.behaviour_mut().relay.turn(relaying);
        }
        self.swarm.behaviour_mut().asking.look_for_friends();
        self.drop_reservations(now);
        self.reserve(now);
        self.leave_relays(now);
        self.tell_reach();
        let is_relayed = |entry: &&super::Peer| entry.path.told.is_some();
        let behind = self.peers.iter().filter(|(_, entry)| is_relayed(entry));
        let waiting: Vec<PeerId> = behind.map(|(peer, _)| *peer).collect();
        for peer in waiting {
            self.pump(&peer);
        }
    }

    /// Drops confirmed addresses at which no friend has seen this node for a while.
    fn drop_unseen(&mut self, now: Instant) {
        let identify = &self.swarm.behaviour().identify;
        let mut old = Vec::new();
        let someone = self.peers.keys().any(|peer| self.trust.is_friend(peer));
        for (address, origin) in &mut self.reach.confirmed {
            let Origin::Tested(seen) = origin else { continue };
            if identify.is_seen(address) || !someone {
                *seen = now;
            } else if now.saturating_duration_since(*seen) >= UNSEEN_TIME {
                old.push(address.clone());
            }
        }
        self.forget_addresses(old);
    }

    /// Ends reservations at former friends, and requests without an answer. A node that has become
    /// public keeps the granted ones.
    ///
    /// # Security
    /// libp2p panics if a relay grants a reservation whose listener was removed meanwhile. The
    /// listener of a relay is therefore never removed: the connection to the relay is closed, which
    /// ends both. The listener of a relay that is not connected ends by itself.
    fn drop_reservations(&mut self, now: Instant) {
        let mut ended = Vec::new();
        for (relay, it) in &self.reach.reservations {
            let stalls =
                it.addresses.is_empty() && now.saturating_duration_since(it.asked) >= RESERVE_TIME;
            if self.peers.contains_key(relay) && (stalls || !self.trust.is_friend(relay)) {
                ended.push((*relay, stalls));
            }
        }
        for (relay, stalls) in ended {
            self.reach.reservations.remove(&relay);
            self.disconnect(&relay, "it does not answer as a relay; connecting anew");
            if stalls {
                self.reach.pause(relay, now);
            }
        }
    }

    /// Asks friends for reservations.
    fn reserve(&mut self, now: Instant) {
        let direct = |peer: &PeerId| {
            let entry = self.peers.get(peer)?;
            entry.connections.iter().find(|connection| !connection.relayed)
        };
        let mut friends: Vec<PeerId> =
            self.peers.keys().filter(|peer| self.trust.is_friend(peer)).copied().collect();
        friends.retain(|peer| direct(peer).is_some());
        // The longest connected friends come first.
        friends.sort_by_key(|peer| self.peers.get(peer).map(|entry| entry.since));
        for relay in self.reach.wanted(&friends, now) {
            let proven = direct(&relay).filter(|connection| !connection.inbound);
            let announced = self.reach.offers.get(&relay).and_then(|own| own.first());
            let at = proven.map(|connection| &connection.address).or(announced);
            let Some(address) = at.map(|at| through(at, &relay)) else {
                self.reach.pause(relay, now);
                continue;
            };
            match self.swarm.listen_on(address) {
                Ok(listener) => {
                    let it = Reservation { listener, asked: now, addresses: Vec::new() };
                    self.reach.reservations.insert(relay, it);
                }
                Err(error) => {
                    tracing::debug!(%relay, %error, "a friend cannot be asked to relay");
                    self.reach.pause(relay, now);
                }
            }
        }
    }

    /// Dials peers behind relays directly, and closes relayed connections beside direct ones.
    fn leave_relays(&mut self, now: Instant) {
        let mut closing: Vec<ConnectionId> = Vec::new();
        let mut direct = Vec::new();
        let back = &self.swarm.behaviour().dialing_back;
        for (peer, entry) in &mut self.peers {
            let stands = entry.connections.iter().any(|connection| {
                !connection.relayed
                    && !back.is_back(connection.id)
                    && now.saturating_duration_since(connection.since) >= RELAYED_GRACE
            });
            let relayed = entry.connections.iter().filter(|connection| connection.relayed);
            if stands {
                closing.extend(relayed.map(|connection| connection.id));
                continue;
            }
            let only = entry.connections.iter().all(|connection| connection.relayed);
            if only && entry.path.next_direct <= now && self.trust.is_friend(peer) {
                let factor = 1_u32.checked_shl(entry.path.direct_dials.min(16)).unwrap_or(u32::MAX);
                let wait = DIRECT_WAIT.saturating_mul(factor).min(LONGEST_DIRECT_WAIT);
                entry.path.next_direct = now + wait;
                entry.path.direct_dials = entry.path.direct_dials.saturating_add(1);
                direct.push((*peer, self.book.direct(peer)));
            }
        }
        for id in closing {
            self.swarm.close_connection(id);
        }
        for (peer, addresses) in direct.into_iter().filter(|(_, addresses)| !addresses.is_empty()) {
            self.dial_directly(peer, addresses);
        }
    }

    /// Returns the peer behind a relay's address: the id in it, or the peer connected from there.
    pub(super) fn relay_at(&self, address: &Multiaddr) -> Option<PeerId> {
        if let Some((_, relay)) = split_relay(address) {
            return Some(relay);
        }
        let mut at = without_peer(address);
        at.pop();
        let is_there = |peer: &super::Peer| peer.connections.iter().any(|it| it.address == at);
        self.peers.iter().find(|(_, peer)| is_there(peer)).map(|(peer, _)| *peer)
    }

    /// Emits an event if the path to a connected peer has changed.
    pub(super) fn path_changed(&mut self, peer: &PeerId) {
        let Some(entry) = self.peers.get_mut(peer) else { return };
        let best = entry.connections.iter().min_by_key(|connection| connection.relayed);
        let Some(best) = best else { return };
        let now_through = best.relayed.then(|| best.address.clone());
        if entry.path.told == now_through {
            return;
        }
        entry.path.told.clone_from(&now_through);
        let address = best.address.to_string();
        let relay = now_through.and_then(|address| self.relay_at(&address));
        self.emit(NetEvent::PathChanged { peer: *peer, relay, address });
    }

    /// Emits an event with the relay of a peer that has just connected through one.
    pub(super) fn tell_path(&mut self, peer: &PeerId) {
        let told = self.peers.get(peer).and_then(|entry| entry.path.told.clone());
        if let Some(address) = told {
            let relay = self.relay_at(&address);
            let address = address.to_string();
            self.emit(NetEvent::PathChanged { peer: *peer, relay, address });
        }
    }

    /// Emits an event if the ways in which others reach this node have changed.
    pub(super) fn tell_reach(&mut self) {
        let texts = |all: &mut dyn Iterator<Item = &Multiaddr>| -> Vec<String> {
            all.map(ToString::to_string).collect()
        };
        let addresses = self.own_addresses();
        let granted = |it: &&Reservation| !it.addresses.is_empty();
        let relays: BTreeSet<PeerId> = self
            .reach
            .reservations
            .iter()
            .filter(|(_, it)| granted(it))
            .map(|(relay, _)| *relay)
            .collect();
        let snapshot = ReachSnapshot {
            way: self.reach.way(),
            addresses: texts(&mut addresses.iter()),
            listening: texts(&mut self.listening.iter()),
            relays: relays.into_iter().collect(),
            relaying: self.reach.relaying,
            router: self.reach.router,
            private_only: self.private_only,
        };
        if self.reach.told.as_ref() != Some(&snapshot) {
            self.reach.told = Some(snapshot.clone());
            self.emit(NetEvent::Reach(Box::new(snapshot)));
        }
    }

    /// Delays requests to a peer behind a relay after a large answer, so that the relay has room.
    pub(super) fn slow_down(&mut self, peer: &PeerId, bytes: usize, now: Instant) {
        let Some(entry) = self.peers.get_mut(peer) else { return };
        if entry.path.told.is_some() {
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
            let micros = bytes.saturating_mul(1_000_000);
            let rate = crate::net::limits::RELAYED_SYNC_RATE;
            let pause = Duration::from_micros(micros.checked_div(rate).unwrap_or(0));
            entry.path.sync_from = entry.path.sync_from.max(now) + pause;
        }
    }

    /// True if a request on `sync` may be sent to the peer now.
    pub(super) fn may_sync(&self, peer: &PeerId, now: Instant) -> bool {
        self.peers.get(peer).is_none_or(|it| it.path.told.is_none() || it.path.sync_from <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::PublicKey;

    fn peer(number: u8) -> PeerId {
        PeerId(PublicKey([number; 32]))
    }

    fn reach(friends: u8) -> (Reach, Vec<PeerId>) {
        let mut reach = Reach::new(Vec::new(), false, false, false);
        let friends: Vec<_> = (1..=friends).map(peer).collect();
        for friend in &friends {
            reach.offers(*friend, true, &[]);
        }
        (reach, friends)
    }

    #[test]
    fn a_node_that_nobody_reaches_asks_few_friends_and_others_instead_of_those_that_fail() {
        let now = Instant::now();
        let (mut reach, friends) = reach(5);
        assert_eq!(reach.wanted(&friends, now), friends[..MAX_RELAYS]);
        reach.pause(friends[0], now);
        assert_eq!(reach.wanted(&friends, now), friends[1..=MAX_RELAYS]);
        assert_eq!(reach.wanted(&friends, now + RELAY_PAUSE), friends[..MAX_RELAYS]);
        reach.pause(friends[0], now);
        assert!(!reach.wanted(&friends, now + RELAY_PAUSE).contains(&friends[0]), "it doubles");
        assert!(reach.wanted(&[peer(9)], now).is_empty(), "it does not offer to relay");
    }

    #[test]
    fn a_node_that_others_reach_asks_nobody_and_neither_does_one_of_a_private_network() {
        let now = Instant::now();
        let address: Multiaddr = "/ip4/8.8.8.8/tcp/1".parse().unwrap();
        let (mut public, friends) = reach(3);
        public.confirmed.insert(address.clone(), Origin::Mapped);
        assert!(public.wanted(&friends, now).is_empty() && public.way() == ReachWay::Mapped);
        public.confirmed.insert(address, Origin::Tested(now));
        assert_eq!(public.way(), ReachWay::Public);
        let (mut private, friends) = reach(3);
        private.private_only = true;
        assert!(private.wanted(&friends, now).is_empty());
        assert_eq!(private.way(), ReachWay::Nowhere);
    }

    #[test]
    fn a_relay_names_no_address_but_its_own() {
        let (_, friends) = reach(1);
        let relay = friends[0];
        let good = through(&"/ip4/8.8.8.8/tcp/1".parse().unwrap(), &relay);
        assert_eq!(Reach::checked(&relay, &good), Some(good.clone()));
        assert_eq!(Reach::checked(&peer(2), &good), None, "another relay's");
        let nowhere = through(&"/ip4/0.0.0.0/tcp/1".parse().unwrap(), &relay);
        assert_eq!(Reach::checked(&relay, &nowhere), None);
        assert_eq!(Reach::checked(&relay, &"/ip4/8.8.8.8/tcp/1".parse().unwrap()), None);
    }

    #[test]
    fn pauses_are_bounded() {
        let (mut reach, _) = reach(0);
        for number in 0..=u8::MAX {
            reach.pause(peer(number), Instant::now());
        }
        assert_eq!(reach.pauses.len(), MAX_RELAY_PAUSES);
    }
}

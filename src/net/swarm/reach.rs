//! Paths from others to this node, and from this node to each peer.
//!
//! A node that no peer outside can dial keeps reservations with friends who relay (see
//! [`super::relays`]), and offers the relayed addresses as its own. Once an address of its own is
//! confirmed, it asks for no further reservation. These addresses are confirmed: ports that the
//! router maps, and addresses at which a friend has dialed back. The user's are offered in any
//! case. They count as confirmed once a friend has dialed them, or if no friend can test them.
//!
//! A peer behind a relay is also dialed at its own addresses. Once a direct connection is up, the
//! relayed one is closed.
//!
//! # Places and budgets
//! A peer behind a relay has no IP address of its own. It takes a place among those at the relay's
//! address, and uses the budget of its own level. Strangers behind one relay thus evict only each
//! other, and no friend.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use libp2p::{
    Multiaddr, dcutr, relay,
    swarm::{ConnectionId, SwarmEvent},
};

use super::{Network, relays::Relays};
use crate::{
    net::{
        address::{ip, is_far, is_relayed, offered, socket, split_relay, without_peer},
        behaviour::BehaviourEvent,
        event::{NetEvent, ReachSnapshot, ReachWay, RouterState},
        identify::Witness,
        limits::{DIRECT_WAIT, LONGEST_DIRECT_WAIT, RELAYED_GRACE, RELAYED_SYNC_RATE, UNSEEN_TIME},
        mapping,
        peer::from_libp2p,
        probe::is_testable,
    },
    primitives::{PeerId, doubled},
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
    sync_from: Instant,
}

impl Path {
    pub(super) fn new(address: &Multiaddr, now: Instant) -> Self {
        let told = is_relayed(address).then(|| address.clone());
        Self { told, next_direct: now, direct_dials: 0, sync_from: now }
    }

    /// Delays requests on `sync` through a relay after an answer of this size.
    fn slow_down(&mut self, bytes: usize, now: Instant) {
        if self.told.is_some() {
            let micros = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(1_000_000);
            let pause = Duration::from_micros(micros.checked_div(RELAYED_SYNC_RATE).unwrap_or(0));
            self.sync_from = self.sync_from.max(now) + pause;
        }
    }

    /// True if a request on `sync` may be sent now.
    fn may_sync(&self, now: Instant) -> bool {
        self.told.is_none() || self.sync_from <= now
    }
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
    serves: bool,
    private_only: bool,
    pub(super) relays: Relays,
    router: Option<RouterState>,
    relaying: bool,
    told: Option<ReachSnapshot>,
}

impl Reach {
    pub(super) fn new(
        users: Vec<Multiaddr>,
        serves: bool,
        private_only: bool,
        port_mapping: bool,
    ) -> Self {
        Self {
            users,
            confirmed: BTreeMap::new(),
            serves,
            private_only,
            relays: Relays::default(),
            router: port_mapping.then_some(RouterState::Asking),
            relaying: false,
            told: None,
        }
    }

    /// True if the user gave an address that friends cannot test.
    fn is_public_by_word(&self) -> bool {
        !self.users.iter().all(is_testable)
    }

    /// Returns the user's addresses that friends can test, and at which none has reached this node
    /// over any transport.
    fn unproven(&self) -> impl Iterator<Item = &Multiaddr> {
        let port = |address: &Multiaddr| socket(address).map(|(socket, _)| socket);
        let waits = move |it: &&Multiaddr| {
            is_testable(it) && !self.confirmed.keys().any(|other| port(other) == port(it))
        };
        self.users.iter().filter(waits)
    }

    /// True if others reach the node at an address of its own.
    fn is_public(&self) -> bool {
        self.is_public_by_word() || !self.confirmed.is_empty()
    }

    /// True if friends have to relay for this node.
    fn needs_relays(&self) -> bool {
        !self.private_only && !self.is_public()
    }

    fn way(&self) -> ReachWay {
        let is_tested = |origin: &Origin| matches!(origin, Origin::Tested(_));
        if self.is_public_by_word() || self.confirmed.values().any(is_tested) {
            ReachWay::Public
        } else if !self.confirmed.is_empty() {
            ReachWay::Mapped
        } else if self.relays.granted().next().is_some() {
            ReachWay::Relayed
        } else if self.private_only {
            ReachWay::Lan
        } else {
            ReachWay::Nowhere
        }
    }

    /// Returns the addresses beyond those of the machine's interfaces, the best first.
    fn external(&self) -> Vec<Multiaddr> {
        let relayed = self.relays.granted().flat_map(|(_, addresses)| addresses);
        let mut all: Vec<Multiaddr> = Vec::new();
        for address in self.users.iter().chain(self.confirmed.keys()).chain(relayed) {
            if !all.contains(address) {
                all.push(address.clone());
            }
        }
        all
    }

    /// Returns the tested addresses at which no friend has seen this node for a while, though a
    /// friend could: one that sees the node at another address of the same IP version.
    fn unseen(&mut self, witnesses: &[Witness], now: Instant) -> Vec<Multiaddr> {
        let version = |address: &Multiaddr| ip(address).map(|ip| ip.is_ipv4());
        let seen = witnesses.iter().flat_map(|witness| &witness.seen);
        let versions: Vec<_> = seen.map(version).collect();
        let mut old = Vec::new();
        for (address, origin) in &mut self.confirmed {
            let Origin::Tested(last) = origin else { continue };
            let could = versions.contains(&version(address));
            if !could || is_seen(address, &self.users, witnesses) {
                *last = now;
            } else if now.saturating_duration_since(*last) >= UNSEEN_TIME {
                old.push(address.clone());
            }
        }
        old
    }
}

/// True if a friend sees this node at the address. Of the user's addresses the port counts for
/// nothing, since the router may map it to another.
fn is_seen(address: &Multiaddr, users: &[Multiaddr], witnesses: &[Witness]) -> bool {
    let is_users = users.contains(address);
    let mut seen = witnesses.iter().flat_map(|witness| &witness.seen);
    seen.any(|other| other == address || is_users && ip(other) == ip(address))
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

    /// Records an address that libp2p's protocols have confirmed.
    fn confirmed(&mut self, address: &Multiaddr) {
        let address = without_peer(address);
        if !is_relayed(&address) {
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

    pub(super) fn on_relay(&mut self, event: &relay::Event) {
        let (peer, what) = match event {
            // A friend tests this relay with a circuit to itself.
            relay::Event::CircuitReqAccepted { src_peer_id, dst_peer_id }
            | relay::Event::CircuitClosed { src_peer_id, dst_peer_id, .. }
                if src_peer_id == dst_peer_id =>
            {
                return;
            }
            relay::Event::ReservationReqAccepted { src_peer_id, renewed: false } => {
                (src_peer_id, "reserved")
            }
            relay::Event::ReservationReqDenied { src_peer_id, .. } => (src_peer_id, "refused"),
            relay::Event::CircuitReqAccepted { src_peer_id, .. } => (src_peer_id, "circuit"),
            relay::Event::CircuitReqDenied { src_peer_id, .. } => (src_peer_id, "circuit_refused"),
            relay::Event::CircuitClosed { src_peer_id, .. } => (src_peer_id, "circuit_closed"),
            _ => return,
        };
        // A peer may ask as often as it likes.
        if let Some(peer) = from_libp2p(peer) {
            self.emit_if_room_for(&peer, NetEvent::Relaying { peer, what });
        }
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
        self.reach.relays.forget_pauses();
        if let Some(mapping) = self.swarm.behaviour_mut().mapping.as_mut() {
            mapping.look_again();
        }
        if !to_other_network {
            return;
        }
        let behaviour = self.swarm.behaviour_mut();
        behaviour.asking.start_anew();
        let witnesses = behaviour.identify.witnesses();
        let users = &self.reach.users;
        let is_old = |(address, origin): (&Multiaddr, &Origin)| {
            let is_tested = matches!(origin, Origin::Tested(_));
            (is_tested && !is_seen(address, users, &witnesses)).then(|| address.clone())
        };
        let old: Vec<_> = self.reach.confirmed.iter().filter_map(is_old).collect();
        self.forget_addresses(old);
    }

    fn forget_addresses(&mut self, old: Vec<Multiaddr>) {
        for address in old {
            self.reach.confirmed.remove(&address);
            self.swarm.remove_external_address(&address);
            if self.reach.users.contains(&address) {
                self.swarm.add_external_address(address);
            }
        }
    }

    /// Keeps reservations, drops lost addresses, and moves peers from relays to direct connections.
    pub(super) fn keep_reachable(&mut self, now: Instant) {
        let witnesses = self.swarm.behaviour().identify.witnesses();
        let unseen = self.reach.unseen(&witnesses, now);
        self.forget_addresses(unseen);
        self.swarm.behaviour_mut().asking.look(&witnesses, now);
        let relaying = self.reach.serves && self.reach.is_public();
        if relaying != self.reach.relaying {
            self.reach.relaying = relaying;
            self.swarm.behaviour_mut().relay.turn(relaying);
        }
        self.drop_reservations(now);
        if self.reach.needs_relays() {
            self.reserve(now);
            self.test_relays(now);
        }
        self.leave_relays(now);
        self.tell_reach();
        let is_relayed = |entry: &&super::Peer| entry.path.told.is_some();
        let behind = self.peers.iter().filter(|(_, entry)| is_relayed(entry));
        let waiting: Vec<PeerId> = behind.map(|(peer, _)| *peer).collect();
        for peer in waiting {
            self.pump(&peer);
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
                let wait = doubled(DIRECT_WAIT, entry.path.direct_dials, LONGEST_DIRECT_WAIT);
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
        let relays: BTreeSet<PeerId> =
            self.reach.relays.granted().map(|(relay, _)| *relay).collect();
        let snapshot = ReachSnapshot {
            way: self.reach.way(),
            addresses: texts(&mut addresses.iter()),
            unproven: texts(&mut self.reach.unproven()),
            listening: texts(&mut self.listening.iter()),
            relays: relays.into_iter().collect(),
            relaying: self.reach.relaying,
            router: self.reach.router,
        };
        if self.reach.told.as_ref() != Some(&snapshot) {
            self.reach.told = Some(snapshot.clone());
            self.emit(NetEvent::Reach(Box::new(snapshot)));
        }
    }

    /// Delays requests to a peer behind a relay after a large answer, so that the relay has room.
    pub(super) fn slow_down(&mut self, peer: &PeerId, bytes: usize, now: Instant) {
        if let Some(entry) = self.peers.get_mut(peer) {
            entry.path.slow_down(bytes, now);
        }
    }

    /// True if a request on `sync` may be sent to the peer now.
    pub(super) fn may_sync(&self, peer: &PeerId, now: Instant) -> bool {
        self.peers.get(peer).is_none_or(|it| it.path.may_sync(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    fn witness(seen: &str) -> Witness {
        let connection = ConnectionId::new_unchecked(1);
        Witness { peer: libp2p::PeerId::random(), connection, seen: vec![address(seen)] }
    }

    #[test]
    fn an_address_is_old_only_if_a_friend_could_see_it_and_does_not() {
        let start = Instant::now();
        let own = address("/ip4/5.1.0.1/tcp/8891");
        let (mut reach, mut now) = (Reach::new(Vec::new(), false, false, false), start);
        reach.confirmed.insert(own.clone(), Origin::Tested(start));
        reach.confirmed.insert(address("/ip4/5.1.0.1/tcp/9"), Origin::Mapped);
        // Friends of the local network, and those who see an address of the other IP version.
        for witnesses in [vec![], vec![witness("/ip6/2a00:1::1/tcp/8891")]] {
            now += 2 * UNSEEN_TIME;
            assert!(reach.unseen(&witnesses, now).is_empty(), "nobody could see it");
        }
        let there = [witness("/ip4/5.1.0.1/tcp/8891")];
        let elsewhere = [witness("/ip4/5.2.0.1/tcp/8891")];
        assert!(reach.unseen(&elsewhere, now + UNSEEN_TIME / 2).is_empty(), "not at once");
        now += UNSEEN_TIME / 2;
        assert!(reach.unseen(&there, now).is_empty());
        assert_eq!(reach.unseen(&elsewhere, now + UNSEEN_TIME), [own]);
    }

    #[test]
    fn the_users_address_counts_once_a_friend_has_reached_it_and_a_name_at_once() {
        let wrong = address("/ip4/9.9.9.9/tcp/8891");
        let mut reach = Reach::new(vec![wrong.clone()], true, false, false);
        assert!(reach.needs_relays() && !reach.is_public() && reach.way() == ReachWay::Nowhere);
        assert_eq!(reach.external(), std::slice::from_ref(&wrong), "it is offered");
        assert_eq!(reach.unproven().collect::<Vec<_>>(), [&wrong]);
        let start = Instant::now();
        reach.confirmed.insert(wrong.clone(), Origin::Tested(start));
        assert!(reach.is_public() && reach.way() == ReachWay::Public);
        assert_eq!((reach.unproven().count(), reach.external().len()), (0, 1));
        let other_port = [witness("/ip4/9.9.9.9/tcp/2")];
        assert!(reach.unseen(&other_port, start + 2 * UNSEEN_TIME).is_empty());
        for certain in ["/dns/yzw.example/tcp/1", "/ip4/192.168.1.2/tcp/1"] {
            let reach = Reach::new(vec![address(certain)], true, false, false);
            assert!(reach.is_public() && reach.unproven().next().is_none(), "{certain}");
        }
    }

    #[test]
    fn a_node_that_others_reach_asks_nobody_and_neither_does_one_of_a_private_network() {
        let now = Instant::now();
        let address = address("/ip4/8.8.8.8/tcp/1");
        let mut public = Reach::new(Vec::new(), false, false, false);
        assert!(public.needs_relays() && public.way() == ReachWay::Nowhere);
        public.confirmed.insert(address.clone(), Origin::Mapped);
        assert!(!public.needs_relays() && public.way() == ReachWay::Mapped);
        public.confirmed.insert(address, Origin::Tested(now));
        assert_eq!(public.way(), ReachWay::Public);
        let private = Reach::new(Vec::new(), false, true, false);
        assert!(!private.needs_relays() && private.way() == ReachWay::Lan);
    }

    #[test]
    fn after_a_large_answer_through_a_relay_the_next_request_on_sync_waits_its_time() {
        let now = Instant::now();
        let after = |seconds: f64| now + Duration::from_secs_f64(seconds);
        let two_seconds = usize::try_from(2 * RELAYED_SYNC_RATE).unwrap();
        let mut relayed = Path::new(&"/ip4/8.8.8.8/tcp/1/p2p-circuit".parse().unwrap(), now);
        assert!(relayed.may_sync(now));
        relayed.slow_down(two_seconds, now);
        assert!(!relayed.may_sync(after(1.99)) && relayed.may_sync(after(2.0)));
        relayed.slow_down(two_seconds, after(1.0));
        assert!(!relayed.may_sync(after(3.99)) && relayed.may_sync(after(4.0)), "they add up");
        let mut direct = Path::new(&"/ip4/8.8.8.8/tcp/1".parse().unwrap(), now);
        direct.slow_down(two_seconds, now);
        assert!(direct.may_sync(now));
    }
}

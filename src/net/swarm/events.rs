//! Translates the swarm's events. Each handler takes one kind of event, updates the state, and
//! returns at most one event that must reach the node.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    time::{Duration, Instant},
};

use libp2p::{
    Multiaddr, identify, mdns, ping, relay,
    swarm::{ListenError, SwarmEvent},
};

use super::{
    Network,
    peers::{Connection, Leaving, Peer},
};
use crate::{
    net::{
        address::{ip, is_dialable, is_on_link, scope, without_peer},
        address_book::Word,
        behaviour::BehaviourEvent,
        copies::End,
        event::NetEvent,
        limits::{MAX_AGENT_CHARS, MAX_KNOWN_ADDRESSES},
        listen::root_cause,
        peer::from_libp2p,
        wake::{Wake, is_ours, is_wide},
        walk::{Found, WalkEvent},
    },
    primitives::{PeerId, printable},
    wire::Protocol,
};

impl Network {
    pub(super) fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        if self.on_reach_event(&event) {
            return;
        }
        let for_node = match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour_event(event),
            SwarmEvent::NewListenAddr { address, .. } => {
                self.listening.insert(address.clone());
                self.own_address_changed(&address);
                self.tell_reach();
                Some(NetEvent::Listening { address: address.to_string() })
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.listening.remove(&address);
                self.own_address_changed(&address);
                self.tell_reach();
                None
            }
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                if let Err(error) = reason {
                    tracing::warn!(?addresses, %error, "no longer listening");
                }
                for address in addresses {
                    self.listening.remove(&address);
                }
                None
            }
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_established(peer_id, connection_id, &endpoint)
            }
            SwarmEvent::ConnectionClosed {
                peer_id, connection_id, num_established, cause, ..
            } => self.on_closed(peer_id, connection_id, num_established, cause.as_ref()),
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                self.on_dial_error(connection_id, &error);
                None
            }
            SwarmEvent::ListenerError { error, .. } => {
                tracing::debug!(%error, "a listener failed to accept");
                None
            }
            SwarmEvent::IncomingConnectionError { error, send_back_addr, .. } => {
                // The counter leaves out QUIC calls: they end with this error at both ends.
                if self.copies.calls().take() || matches!(error, ListenError::LocalPeerId { .. }) {
                    self.copies.refused(End::Listener, &send_back_addr, Instant::now());
                }
                tracing::debug!(
                    error = root_cause(&error),
                    from = %send_back_addr,
                    "an inbound connection failed"
                );
                None
            }
            _ => None,
        };
        if let Some(event) = for_node {
            self.emit(event);
        }
    }

    fn on_behaviour_event(&mut self, event: BehaviourEvent) -> Option<NetEvent> {
        match event {
            BehaviourEvent::Gate(never)
            | BehaviourEvent::DialGate(never)
            | BehaviourEvent::Limits(never)
            | BehaviourEvent::Memory(never) => match never {},
            BehaviourEvent::Identify(event) => self.on_identify(event),
            BehaviourEvent::Ping(event) => self.on_ping(&event),
            BehaviourEvent::Mdns(event) => self.on_mdns(event),
            BehaviourEvent::Kad(WalkEvent::Found(found)) => {
                self.on_found(&found);
                None
            }
            BehaviourEvent::Gossip(event) => self.on_gossip(event),
            BehaviourEvent::Hello(event) => self.on_request_response(Protocol::Hello, event),
            BehaviourEvent::Friends(event) => self.on_request_response(Protocol::Friends, event),
            BehaviourEvent::Chat(event) => self.on_request_response(Protocol::Chat, event),
            BehaviourEvent::Sync(event) => self.on_request_response(Protocol::Sync, event),
            BehaviourEvent::Circuits(event) => self.on_circuits(&event),
            BehaviourEvent::OwnCircuits(event) => self.on_own_circuit(&event),
            BehaviourEvent::Relay(event) => {
                self.on_relay(&event);
                None
            }
            BehaviourEvent::Punch(event) => Self::on_punch(&event),
            BehaviourEvent::Mapping(event) => self.on_mapping(event),
            BehaviourEvent::Asking(event) => {
                tracing::debug!(address = %event.tested_addr, result = ?event.result, "tested");
                None
            }
            BehaviourEvent::Kad(WalkEvent::Kad(_)) | BehaviourEvent::DialingBack(_) => None,
        }
    }

    fn on_identify(&mut self, event: identify::Event) -> Option<NetEvent> {
        let identify::Event::Received { peer_id, info, .. } = event else { return None };
        let peer = from_libp2p(&peer_id)?;
        let now = Instant::now();
        let same_network = info.protocols.contains(&self.names.sync);
        let walks = info.protocols.contains(&self.names.kad) && !self.private_only;
        let entry = self.peers.get_mut(&peer)?;
        entry.agent =
            printable(&info.agent_version.chars().take(MAX_AGENT_CHARS).collect::<String>());
        entry.same_network = same_network;
        if !same_network {
            return None;
        }
        let from = || entry.connections.iter().map(|connection| &connection.address);
        self.book.announced(&peer, &info.listen_addrs, Word::of(peer, from(), true));
        let relays = info.protocols.contains(&relay::HOP_PROTOCOL_NAME);
        self.reach.relays.offers(peer, relays, &info.listen_addrs);
        if walks {
            // Peers are told only addresses of the machine that the peer is connected from. This
            // node thus passes on no false addresses of other machines.
            let there: Vec<_> = from().map(ip).collect();
            let proven = entry.connections.iter().filter(|connection| !connection.inbound);
            let own: Vec<Multiaddr> = info
                .listen_addrs
                .iter()
                .map(without_peer)
                .filter(|address| {
                    ip(address).is_some()
                        && (there.contains(&ip(address)) || self.reach.relays.is_relay_of(address))
                })
                .chain(proven.map(|connection| connection.address.clone()))
                .filter(|address| is_dialable(address, false))
                .take(MAX_KNOWN_ADDRESSES)
                .collect();
            self.swarm.behaviour_mut().kad.route(&peer_id, own);
        }
        self.liveness.same_network(&peer, now);
        None
    }

    fn on_ping(&mut self, event: &ping::Event) -> Option<NetEvent> {
        let peer = from_libp2p(&event.peer)?;
        let connections = &mut self.peers.get_mut(&peer)?.connections;
        let connection =
            connections.iter_mut().find(|connection| connection.id == event.connection)?;
        match &event.result {
            Ok(round_trip) => {
                connection.round_trip = Some(*round_trip);
                connection.ping_failures = 0;
                self.swarm.behaviour_mut().gate.places().answered(&peer, *round_trip);
            }
            Err(ping::Failure::Unsupported) => {}
            Err(error) => {
                connection.ping_failures = connection.ping_failures.saturating_add(1);
                let failures = connection.ping_failures;
                tracing::debug!(%peer, %error, failures, "a ping failed");
                if connection.ping_failures >= self.tuning.max_ping_failures {
                    let entry = self.peers.get_mut(&peer)?;
                    if let [_] = entry.connections.as_slice() {
                        entry.leaving.get_or_insert(Leaving::now("does not answer pings"));
                    }
                    self.swarm.close_connection(event.connection);
                }
            }
        }
        None
    }

    fn on_mdns(&mut self, event: mdns::Event) -> Option<NetEvent> {
        match event {
            mdns::Event::Discovered(found) => {
                for (peer_id, address) in found {
                    if let (Some(peer), Some(machine)) = (from_libp2p(&peer_id), ip(&address)) {
                        if peer == self.me {
                            self.claimed(&without_peer(&address));
                            continue;
                        }
                        if self.is_believable(machine) {
                            self.found(peer, &address, &Word::of_nearby(&address, machine));
                        }
                    }
                }
                self.dial_due(Instant::now());
            }
            mdns::Event::Expired(ended) => {
                for (peer_id, address) in ended {
                    if let Some(peer) = from_libp2p(&peer_id) {
                        self.book.expired(&peer, &address);
                    }
                }
            }
        }
        None
    }

    /// True if an mDNS record may name this machine. Over IPv4 it is the sender. Over IPv6 the
    /// sender has a link-local address and may name any other, so only neighbours are believed.
    fn is_believable(&self, machine: IpAddr) -> bool {
        match machine {
            IpAddr::V4(_) => true,
            IpAddr::V6(ip) => is_on_link(ip, self.listening.iter()),
        }
    }

    /// Records that a machine announces this node's identity at an address that is not this node's.
    fn claimed(&mut self, address: &Multiaddr) {
        if !self.is_own(address) {
            self.copies.claimed(address.clone(), Instant::now(), rand::random());
        }
    }

    /// Adds the addresses that a walk found. The teller is one of the connected peers, so addresses
    /// of a near scope are believed only if all peers are in that scope.
    fn on_found(&mut self, found: &Found) {
        let Some(peer) = from_libp2p(&found.peer) else { return };
        let connections = || self.peers.values().flat_map(|peer| &peer.connections);
        let mut scopes: Vec<_> =
            connections().map(|connection| scope(&connection.address)).collect();
        scopes.dedup();
        if scopes.len() > 1 {
            scopes.clear();
        }
        let word = Word::of_walk(scopes);
        for address in &found.addresses {
            self.found(peer, address, &word);
        }
    }

    /// Adds an address that discovery found.
    fn found(&mut self, peer: PeerId, address: &Multiaddr, word: &Word) {
        if self.book.add_hint(peer, address, word, Instant::now()) {
            self.emit_if_room(NetEvent::Discovered {
                peer,
                address: without_peer(address).to_string(),
            });
        }
    }

    /// Records that the machine has gained or lost an address.
    fn own_address_changed(&mut self, address: &Multiaddr) {
        let now = Instant::now();
        if ip(address).is_some_and(is_wide) {
            let settled = self.wakes.is_settled(now);
            self.wakes.address_changed(now, settled);
        }
    }

    /// Notices addresses that the machine has lost or regained without an event of libp2p's.
    pub(super) fn check_listening(&mut self, now: Instant) {
        let changed = self.listening.check(now, is_ours);
        for address in &changed {
            self.own_address_changed(address);
        }
        if !changed.is_empty() {
            self.tell_reach();
        }
    }

    /// Dials all known peers anew. Closes the connections that cannot have survived; otherwise they
    /// would look alive for half a minute.
    pub(super) fn woke(&mut self, wake: Wake, now: Instant) {
        tracing::info!(?wake, "dialing all known peers anew");
        self.book.wake(now);
        let is_cut = |connection: &Connection| match wake {
            Wake::Slept { long } => long,
            Wake::Moved => connection.local.is_some_and(|ip| !is_ours(ip)),
        };
        let is_there = |entry: &Peer| {
            entry.connections.iter().any(|connection| !connection.relayed && !is_cut(connection))
        };
        // A relayed connection lasts no longer than the one to its relay.
        let is_dead = |connection: &&Connection| {
            let relay = || self.relay_at(&connection.address).and_then(|it| self.peers.get(&it));
            is_cut(connection) || connection.relayed && relay().is_none_or(|it| !is_there(it))
        };
        let all = self.peers.values().flat_map(|entry| &entry.connections);
        let dead: BTreeSet<_> = all.filter(is_dead).map(|connection| connection.id).collect();
        let lost = |entry: &Peer| entry.connections.iter().all(|it| dead.contains(&it.id));
        let slept = wake != Wake::Moved;
        self.outbound.end(|peer| slept || self.peers.get(peer).is_none_or(lost));
        for entry in self.peers.values_mut().filter(|entry| lost(entry)) {
            entry.leaving.get_or_insert(Leaving::now("this machine slept or moved"));
        }
        for id in dead {
            self.swarm.behaviour_mut().identify.lost(id);
            self.swarm.close_connection(id);
        }
        self.next_walk = now;
        self.moved(wake == Wake::Moved);
        let away = match wake {
            Wake::Slept { .. } => self.wakes.slept(),
            Wake::Moved => Duration::ZERO,
        };
        self.emit(NetEvent::Woke { away });
        self.dial_due(now);
    }
}

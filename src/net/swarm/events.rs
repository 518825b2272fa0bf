//! Translates the swarm's events. Each handler takes one kind of event, updates the state, and
//! returns at most one event that must reach the node.

use std::time::Instant;

use libp2p::{Multiaddr, identify, kad, mdns, ping, swarm::SwarmEvent};

use super::{Network, peers::Leaving};
use crate::{
    net::{
        address::{is_dialable, without_peer},
        address_book::Source,
        behaviour::BehaviourEvent,
        event::NetEvent,
        limits::{MAX_AGENT_CHARS, MAX_KNOWN_ADDRESSES},
        listen::root_cause,
        peer::from_libp2p,
    },
    primitives::{PeerId, printable},
    wire::Protocol,
};

impl Network {
    pub(super) fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        let for_node = match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour_event(event),
            SwarmEvent::NewListenAddr { address, .. } => {
                self.listening.insert(address.clone());
                Some(NetEvent::Listening { address: address.to_string() })
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.listening.remove(&address);
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
            BehaviourEvent::Gate(never) | BehaviourEvent::Limits(never) => match never {},
            BehaviourEvent::Identify(event) => self.on_identify(event),
            BehaviourEvent::Ping(event) => self.on_ping(&event),
            BehaviourEvent::Mdns(event) => self.on_mdns(event),
            BehaviourEvent::Kad(event) => self.on_kad(event),
            BehaviourEvent::Gossip(event) => self.on_gossip(event),
            BehaviourEvent::Hello(event) => self.on_request_response(Protocol::Hello, event),
            BehaviourEvent::Friends(event) => self.on_request_response(Protocol::Friends, event),
            BehaviourEvent::Chat(event) => self.on_request_response(Protocol::Chat, event),
            BehaviourEvent::Sync(event) => self.on_request_response(Protocol::Sync, event),
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
        self.liveness.same_network(&peer, now);
        for address in info.listen_addrs.iter().take(MAX_KNOWN_ADDRESSES) {
            self.book.add(peer, address, Source::Met, now);
            if walks && is_dialable(address, self.private_only) {
                self.swarm.behaviour_mut().kad.add_address(&peer_id, address.clone());
            }
        }
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
        // An expired record is only a hint: the peer may well be connected.
        let mdns::Event::Discovered(found) = event else { return None };
        for (peer_id, address) in found {
            if let Some(peer) = from_libp2p(&peer_id) {
                self.found(peer, &address, true);
            }
        }
        self.dial_due(Instant::now());
        None
    }

    /// Adds an address that discovery found. `alive` is true if the peer announced itself just now.
    fn found(&mut self, peer: PeerId, address: &Multiaddr, alive: bool) {
        let now = Instant::now();
        let news = self.book.add(peer, address, Source::Found, now);
        if alive {
            self.book.seen(&peer, now);
        }
        if news {
            self.emit_if_room(NetEvent::Discovered {
                peer,
                address: without_peer(address).to_string(),
            });
        }
    }

    fn on_kad(&mut self, event: kad::Event) -> Option<NetEvent> {
        let kad::Event::OutboundQueryProgressed {
            result: kad::QueryResult::GetClosestPeers(result),
            ..
        } = event
        else {
            return None;
        };
        // The result is Ok even if the query reached no peer, so only the peers count.
        let peers = match result {
            Ok(found) => found.peers,
            Err(kad::GetClosestPeersError::Timeout { peers, .. }) => peers,
        };
        for info in peers {
            if let Some(peer) = from_libp2p(&info.peer_id) {
                for address in info.addrs.iter().take(MAX_KNOWN_ADDRESSES) {
                    self.found(peer, address, false);
                }
            }
        }
        None
    }
}

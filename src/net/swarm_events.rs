//! What libp2p says, in the node's terms: each handler takes one kind of event, brings the state up
//! to date, and gives at most one event that the node must hear.

use std::time::Instant;

use libp2p::{
    Multiaddr,
    core::ConnectedPoint,
    gossipsub, identify, kad, mdns, ping,
    request_response::{self, Message, OutboundFailure},
    swarm::{ConnectionError, ConnectionId, DialError as SwarmDialError, SwarmEvent},
};

use super::{
    address::without_peer,
    behaviour::{BehaviourEvent, message_id},
    codec::Frame,
    discovery::{Dial, Source},
    event::{DialError, GossipId, NetEvent, NetOffence, RequestError, Verdict},
    gate::Denied,
    limits::{MAX_AGENT_CHARS, MAX_KNOWN_ADDRESSES},
    listen::root_cause,
    peer::from_libp2p,
    swarm::{Connection, Dialing, Leaving, Network, Peer},
};
use crate::{
    primitives::{PeerId, printable},
    wire::{CodecError, Protocol, Request, Response, limits::MAX_PROBE_BYTES},
};

/// Times that gossipsub could not send to a peer after which its gossip counts as dead.
const MAX_SLOW: u32 = 5;

type RequestEvent = request_response::Event<Frame<Request>, Frame<Response>>;

impl Network {
    pub(super) fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        let told = match event {
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
                tracing::debug!(error = root_cause(&error), from = %send_back_addr, "a connection did not come about");
                None
            }
            _ => None,
        };
        if let Some(event) = told {
            self.tell(event);
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

    fn on_established(
        &mut self,
        peer_id: libp2p::PeerId,
        id: ConnectionId,
        endpoint: &ConnectedPoint,
    ) -> Option<NetEvent> {
        // The gate lets no other keys in.
        let peer = from_libp2p(&peer_id)?;
        let now = Instant::now();
        let address = without_peer(endpoint.get_remote_address());
        let inbound = endpoint.is_listener();
        match self.dials.remove(&id) {
            Some(Dialing::Book(Dial::Seed(seed))) => self.book.connected(peer, Some(&seed)),
            Some(Dialing::Asked(_, reply)) => {
                self.book.add(peer, &address, Source::Vouched, now);
                self.book.connected(peer, None);
                let _ = reply.send(Ok(peer));
            }
            Some(Dialing::Book(Dial::Peer(..))) | None => self.book.connected(peer, None),
        }
        if !inbound {
            self.book.add(peer, &address, Source::Met, now);
        }
        let connection = Connection {
            id,
            address: address.clone(),
            inbound,
            round_trip: None,
            ping_failures: 0,
        };
        if let Some(entry) = self.peers.get_mut(&peer) {
            entry.connections.push(connection);
            return None;
        }
        self.peers.insert(
            peer,
            Peer {
                connections: vec![connection],
                agent: String::new(),
                same_network: false,
                topics: std::collections::BTreeSet::new(),
                since: now,
                slow: 0,
                leaving: None,
            },
        );
        self.hearing.connected(peer);
        Some(NetEvent::PeerConnected { peer, address: address.to_string(), inbound })
    }

    fn on_closed(
        &mut self,
        peer_id: libp2p::PeerId,
        id: ConnectionId,
        remaining: u32,
        cause: Option<&ConnectionError>,
    ) -> Option<NetEvent> {
        let peer = from_libp2p(&peer_id)?;
        if remaining > 0 {
            if let Some(entry) = self.peers.get_mut(&peer) {
                entry.connections.retain(|connection| connection.id != id);
            }
            return None;
        }
        let entry = self.peers.remove(&peer)?;
        self.hearing.disconnected(&peer);
        self.book.disconnected(&peer, Instant::now());
        self.outbound.disconnected(&peer);
        let reason = match (entry.leaving, cause) {
            (Some(Leaving { reason, .. }), _) => reason.to_owned(),
            (None, None) => "closed".to_owned(),
            (None, Some(ConnectionError::KeepAliveTimeout)) => "idle".to_owned(),
            (None, Some(error)) => root_cause(error),
        };
        Some(NetEvent::PeerDisconnected { peer, reason })
    }

    fn on_dial_error(&mut self, id: ConnectionId, error: &SwarmDialError) {
        match self.dials.remove(&id) {
            Some(Dialing::Book(dial)) => self.dial_failed(&dial, error, Instant::now()),
            Some(Dialing::Asked(address, reply)) => {
                let expected = super::address::peer_of(&address);
                let _ = reply.send(Err(dial_error(&address, expected, error)));
            }
            None => {}
        }
    }

    /// A dial of the address book failed: what to learn from it, and when to try again.
    pub(super) fn dial_failed(&mut self, dial: &Dial, error: &SwarmDialError, now: Instant) {
        self.book.failed(dial, now);
        match (dial, error) {
            (Dial::Peer(peer, _), SwarmDialError::WrongPeerId { address, .. }) => {
                self.book.forget_address(peer, address);
            }
            (Dial::Peer(..), _) => tracing::debug!(?dial, %error, "no connection"),
            // Both ends dialed at once, or another address was faster.
            (Dial::Seed(_), SwarmDialError::DialPeerConditionFalse(_)) => {}
            (Dial::Seed(address), _) => {
                let error = dial_error(address, super::address::peer_of(address), error);
                if matches!(error, DialError::Oneself(_)) {
                    self.book.remove_seed(address);
                }
                self.tell_if_room(NetEvent::DialFailed {
                    address: address.to_string(),
                    reason: error.to_string(),
                });
            }
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
        self.hearing.is_ours(&peer, now);
        for address in info.listen_addrs.iter().take(MAX_KNOWN_ADDRESSES) {
            self.book.add(peer, address, Source::Met, now);
            if walks && super::address::is_dialable(address, self.private_only) {
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
            }
            Err(ping::Failure::Unsupported) => {}
            Err(error) => {
                connection.ping_failures = connection.ping_failures.saturating_add(1);
                tracing::debug!(%peer, %error, failures = connection.ping_failures, "a ping failed");
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
        // Expired is a hint alone: a peer that is connected is there.
        let mdns::Event::Discovered(found) = event else { return None };
        for (peer_id, address) in found {
            if let Some(peer) = from_libp2p(&peer_id) {
                self.found(peer, &address, true);
            }
        }
        self.dial_due(Instant::now());
        None
    }

    fn found(&mut self, peer: PeerId, address: &Multiaddr, alive: bool) {
        let now = Instant::now();
        let news = self.book.add(peer, address, Source::Found, now);
        if alive {
            self.book.seen(&peer, now);
        }
        if news {
            self.tell_if_room(NetEvent::Discovered {
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
        // It answers Ok though nobody was reached: only the peers count.
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

    fn on_gossip(&mut self, event: gossipsub::Event) -> Option<NetEvent> {
        let now = Instant::now();
        match event {
            gossipsub::Event::Message { propagation_source, message, .. } => {
                self.on_gossip_message(&propagation_source, &message, now)
            }
            gossipsub::Event::Subscribed { peer_id, topic } => {
                let peer = from_libp2p(&peer_id)?;
                if topic == self.names.alive {
                    self.hearing.listens_to_probes(&peer, now);
                    return None;
                }
                let topic = self.names.topic_of(&topic)?;
                self.hearing.listens(&peer);
                self.peers.get_mut(&peer)?.topics.insert(topic);
                self.publish_kept(topic, now);
                Some(NetEvent::Subscribed { peer, topic })
            }
            gossipsub::Event::Unsubscribed { peer_id, topic } => {
                let peer = from_libp2p(&peer_id)?;
                if topic == self.names.alive {
                    self.hearing.stopped_listening_to_probes(&peer);
                } else if let Some(topic) = self.names.topic_of(&topic) {
                    self.peers.get_mut(&peer)?.topics.remove(&topic);
                }
                None
            }
            gossipsub::Event::SlowPeer { peer_id, .. } => {
                let peer = from_libp2p(&peer_id)?;
                let entry = self.peers.get_mut(&peer)?;
                entry.slow = entry.slow.saturating_add(1);
                if entry.slow >= MAX_SLOW && self.hearing.should_cure(&peer, now) {
                    self.cure(&peer);
                }
                None
            }
            // A peer of this network that does not gossip is noticed by never listening.
            gossipsub::Event::GossipsubNotSupported { .. } => None,
        }
    }

    fn on_gossip_message(
        &mut self,
        source: &libp2p::PeerId,
        message: &gossipsub::Message,
        now: Instant,
    ) -> Option<NetEvent> {
        let peer = from_libp2p(source)?;
        let id = GossipId { id: message_id(&message.data), source: peer };
        self.hearing.heard(&peer, now);
        if message.topic == self.names.alive {
            let verdict = if message.data.len() > MAX_PROBE_BYTES {
                Verdict::Reject
            } else {
                Verdict::Ignore
            };
            self.report(&id, verdict);
            return None;
        }
        let Some(topic) = self.names.topic_of(&message.topic) else {
            self.report(&id, Verdict::Ignore);
            return None;
        };
        match topic.decode(&message.data) {
            Ok(gossip) => {
                if self.has_room() && self.undecided.admit(id, topic, message.data.len(), now) {
                    return Some(NetEvent::GossipReceived { peer, message: id, gossip });
                }
                self.decided(&id, topic, Verdict::Ignore);
            }
            Err(error) => {
                self.decided(&id, topic, Verdict::Reject);
                self.misbehaved(peer, NetOffence::MalformedGossip, &error);
            }
        }
        None
    }

    fn misbehaved(&mut self, peer: PeerId, offence: NetOffence, error: &CodecError) {
        let offence = match error {
            CodecError::TooLarge { .. } | CodecError::OverLimit { .. } => NetOffence::Oversized,
            _ => offence,
        };
        tracing::debug!(%peer, offence = offence.name(), code = error.code(), %error, "refused");
        let reason = format!("{}: {error}", error.code());
        self.tell_if_room(NetEvent::Misbehaved { peer, offence, reason });
    }

    fn on_request_response(&mut self, protocol: Protocol, event: RequestEvent) -> Option<NetEvent> {
        match event {
            RequestEvent::Message { peer, message, .. } => {
                let peer = from_libp2p(&peer)?;
                match message {
                    Message::Request { request_id, request, channel } => {
                        self.on_request(peer, protocol, request, (request_id, channel))
                    }
                    Message::Response { request_id, response } => {
                        self.on_response((protocol, request_id), response);
                        None
                    }
                }
            }
            RequestEvent::OutboundFailure { request_id, error, .. } => {
                self.on_request_failed((protocol, request_id), &error);
                None
            }
            RequestEvent::InboundFailure { request_id, .. }
            | RequestEvent::ResponseSent { request_id, .. } => {
                self.sent(protocol, request_id);
                None
            }
        }
    }

    fn on_request(
        &mut self,
        peer: PeerId,
        protocol: Protocol,
        request: Frame<Request>,
        channel: super::swarm::ReplyChannel,
    ) -> Option<NetEvent> {
        let Frame::Incoming { size, message } = request else { return None };
        let request = match message {
            Ok(request) => request,
            Err(error) => {
                // Dropping the channel ends the stream without an answer.
                self.metrics.request_served(protocol.code(), "malformed");
                self.misbehaved(peer, NetOffence::MalformedRequest, &error);
                return None;
            }
        };
        if !self.has_room() {
            self.respond_busy(peer, protocol, channel);
            return None;
        }
        match self.inbound.admit(peer, protocol, size, channel) {
            Ok(reply) => Some(NetEvent::RequestReceived { peer, reply, request }),
            Err(channel) => {
                self.respond_busy(peer, protocol, channel);
                None
            }
        }
    }

    fn on_response(&mut self, key: super::swarm::FlightKey, response: Frame<Response>) {
        let Some(ticket) = self.outbound.landed(key) else { return };
        let peer = ticket.peer;
        match response {
            Frame::Incoming { message: Ok(response), .. } => ticket.end(Ok(response)),
            Frame::Incoming { message: Err(error), .. } => {
                self.misbehaved(peer, NetOffence::MalformedResponse, &error);
                ticket.end(Err(RequestError::Malformed { peer, source: error }));
            }
            Frame::Outgoing(_) => {
                ticket.end(Err(RequestError::NoAnswer { peer, reason: "none came".to_owned() }))
            }
        }
        self.pump(&peer);
    }

    fn on_request_failed(&mut self, key: super::swarm::FlightKey, error: &OutboundFailure) {
        let Some(ticket) = self.outbound.landed(key) else { return };
        let peer = ticket.peer;
        let error = match error {
            OutboundFailure::DialFailure => RequestError::NotConnected(peer),
            OutboundFailure::Timeout => {
                RequestError::TimedOut { peer, limit: super::behaviour::request_timeout(key.0) }
            }
            OutboundFailure::ConnectionClosed => RequestError::Disconnected(peer),
            OutboundFailure::UnsupportedProtocols => RequestError::Unsupported(peer),
            OutboundFailure::Io(error) => {
                RequestError::NoAnswer { peer, reason: error.to_string() }
            }
        };
        ticket.end(Err(error));
        self.pump(&peer);
    }
}

/// Why a dial failed, for the user who asked for it.
pub(super) fn dial_error(
    address: &Multiaddr,
    expected: Option<PeerId>,
    error: &SwarmDialError,
) -> DialError {
    let shown = address.to_string();
    match error {
        SwarmDialError::LocalPeerId { .. } => DialError::Oneself(shown),
        SwarmDialError::WrongPeerId { obtained, .. } => DialError::WrongPeer {
            address: without_peer(address).to_string(),
            expected: expected
                .map_or_else(|| "the peer it names".to_owned(), |peer| peer.to_string()),
            obtained: obtained.to_string(),
        },
        SwarmDialError::Denied { cause } => DialError::Refused {
            address: shown,
            reason: cause
                .downcast_ref::<Denied>()
                .map_or_else(|| root_cause(cause), ToString::to_string),
        },
        SwarmDialError::NoAddresses => {
            DialError::Unreachable { address: shown, reason: "no address".to_owned() }
        }
        SwarmDialError::DialPeerConditionFalse(_) => DialError::Unreachable {
            address: shown,
            reason: "it is being dialed already".to_owned(),
        },
        SwarmDialError::Aborted => {
            DialError::Unreachable { address: shown, reason: "the attempt was given up".to_owned() }
        }
        SwarmDialError::Transport(errors) => {
            let mut reasons: Vec<_> = errors.iter().map(|(_, error)| root_cause(error)).collect();
            reasons.dedup();
            DialError::Unreachable { address: shown, reason: reasons.join("; ") }
        }
    }
}

//! Connections and connected peers.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    time::{Duration, Instant},
};

use libp2p::{
    Multiaddr,
    core::ConnectedPoint,
    request_response::InboundRequestId,
    swarm::{ConnectionError, ConnectionId},
};

use super::{Network, dial::Dialing, reach::Path};
use crate::{
    net::{
        address::{far_end, is_nearby, is_relayed, socket, without_peer},
        address_book::Dial,
        event::{ConnectionSnapshot, NetEvent, PeerSnapshot},
        gate::ip_of,
        gossip_score::MUTED_SCORE,
        limits::{EVICTED_PAUSE, NO_HELLO_PAUSE},
        listen::root_cause,
        peer::{from_libp2p, to_libp2p},
        wake,
    },
    primitives::PeerId,
    telemetry::events,
    wire::{Protocol, Topic},
};

/// The longest time for which a disconnection waits for unsent responses.
const LEAVE_TIME: Duration = Duration::from_secs(2);
/// The time for which the peer can read the last response. When the connection closes, unread data
/// is lost.
const READ_TIME: Duration = Duration::from_millis(300);

/// A connection to a peer.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) address: Multiaddr,
    /// True if the connection runs through a relay. The address is then the relay's.
    pub(super) relayed: bool,
    pub(super) since: Instant,
    /// The address of this machine's end, if it is known.
    pub(super) local: Option<IpAddr>,
    /// True if the peer dialed.
    pub(super) inbound: bool,
    /// The round trip of the last ping.
    pub(super) round_trip: Option<Duration>,
    /// The failed pings in a row.
    pub(super) ping_failures: u32,
}

/// A connected peer.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) connections: Vec<Connection>,
    pub(super) agent: String,
    pub(super) same_network: bool,
    pub(super) topics: BTreeSet<Topic>,
    /// True once the peer has sent a valid hello.
    pub(super) greeted: bool,
    pub(super) since: Instant,
    /// The number of failed sends of gossipsub to the peer.
    pub(super) slow: u32,
    /// The path to the peer.
    pub(super) path: Path,
    /// The disconnection that this node has begun.
    pub(super) leaving: Option<Leaving>,
}

impl Peer {
    /// True if this node dialed the peer.
    pub(super) fn was_dialed(&self) -> bool {
        self.connections.iter().any(|connection| !connection.inbound)
    }
}

/// A disconnection that this node has begun.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) reason: &'static str,
    /// The earliest time to close, so that the peer can read the last response.
    from: Instant,
    /// The latest time to close.
    by: Instant,
}

impl Leaving {
    /// Returns a disconnection that waits for nothing.
    pub(super) fn now(reason: &'static str) -> Self {
        let now = Instant::now();
        Self { reason, from: now, by: now }
    }
}

/// Returns the address of the far end of a connection, or of its relay.
fn address_of(endpoint: &ConnectedPoint) -> Multiaddr {
    match endpoint {
        ConnectedPoint::Listener { local_addr, send_back_addr } => {
            far_end(send_back_addr, local_addr)
        }
        ConnectedPoint::Dialer { address, .. } => without_peer(address),
    }
}

/// Returns the address of this machine's end of a connection.
fn local_of(endpoint: &ConnectedPoint, far: &Multiaddr) -> Option<IpAddr> {
    match endpoint {
        ConnectedPoint::Listener { .. } if is_relayed(far) => None,
        // A listener over QUIC on all addresses does not tell to which of them a packet came.
        ConnectedPoint::Listener { local_addr, .. }
            if socket(local_addr).is_some_and(|(it, _)| !it.ip().is_unspecified()) =>
        {
            socket(local_addr).map(|(it, _)| it.ip())
        }
        _ => socket(far).and_then(|(remote, _)| wake::source_of(remote)),
    }
}

impl Network {
    /// Accepts a connected peer as a friend if the user has named its key or its address. It does
    /// not matter which end dialed.
    pub(super) fn accept_named(&self, peer: PeerId) {
        if self.book.is_named(peer) {
            self.trust.accept(peer);
        }
    }

    pub(super) fn on_established(
        &mut self,
        peer_id: libp2p::PeerId,
        id: ConnectionId,
        endpoint: &ConnectedPoint,
    ) -> Option<NetEvent> {
        // The gate refuses other keys.
        let peer = from_libp2p(&peer_id)?;
        let now = Instant::now();
        self.forget_evicted();
        let address = address_of(endpoint);
        let (inbound, relayed) = (endpoint.is_listener(), is_relayed(&address));
        match self.dials.remove(&id) {
            Some(Dialing::Book(Dial::Seed(seed))) => {
                self.book.seed_answered(&seed, peer);
            }
            Some(Dialing::Asked(_, reply)) => {
                self.book.add_proven(peer, &address, true, now);
                let _ = reply.send(Ok(peer));
            }
            Some(Dialing::Copy(claimed)) => self.no_copy_at(&claimed, true),
            Some(Dialing::Book(Dial::Peer(..) | Dial::Hint(..)) | Dialing::Direct) | None => {}
        }
        self.accept_named(peer);
        if is_nearby(&address) {
            self.trust.met_nearby(peer);
        }
        self.book.connected(peer, (!inbound).then_some(&address), now);
        if !relayed && self.trust.is_friend(&peer) {
            self.book.relay_connected(&peer, now);
        }
        let local = local_of(endpoint, &address);
        let connection = Connection {
            id,
            address: address.clone(),
            relayed,
            since: now,
            local,
            inbound,
            round_trip: None,
            ping_failures: 0,
        };
        if let Some(entry) = self.peers.get_mut(&peer) {
            entry.connections.push(connection);
            self.path_changed(&peer);
            return None;
        }
        self.peers.insert(
            peer,
            Peer {
                connections: vec![connection],
                agent: String::new(),
                same_network: false,
                topics: BTreeSet::new(),
                greeted: false,
                since: now,
                slow: 0,
                path: Path::new(&address, now),
                leaving: None,
            },
        );
        self.liveness.connected(peer);
        // Gossipsub remembers the score of a peer that was away for a moment.
        self.set_gossip_score(&peer, 0.0);
        self.emit(NetEvent::PeerConnected { peer, address: address.to_string(), inbound });
        self.tell_path(&peer);
        None
    }

    pub(super) fn on_closed(
        &mut self,
        peer_id: libp2p::PeerId,
        id: ConnectionId,
        remaining: u32,
        cause: Option<&ConnectionError>,
    ) -> Option<NetEvent> {
        let peer = from_libp2p(&peer_id)?;
        self.forget_evicted();
        if remaining > 0 {
            if let Some(entry) = self.peers.get_mut(&peer) {
                entry.connections.retain(|connection| connection.id != id);
            }
            self.path_changed(&peer);
            return None;
        }
        self.forget(&peer, None, cause)
    }

    /// Forgets the peers that lost their places, before their connections have closed. The node
    /// thus never sees more peers than there are places.
    fn forget_evicted(&mut self) {
        let now = Instant::now();
        for evicted in self.swarm.behaviour_mut().gate.take_evicted() {
            if self.peers.get(&evicted).is_some_and(|peer| peer.same_network) {
                // The address book has its addresses.
                self.book.shut(&evicted, now + EVICTED_PAUSE);
            }
            // Its further messages would be ignored, and then not be accepted from others either.
            self.set_gossip_score(&evicted, MUTED_SCORE);
            if let Some(event) = self.forget(&evicted, Some("gave its place to another"), None) {
                self.emit(event);
            }
        }
    }

    /// Removes all state of a connected peer.
    fn forget(
        &mut self,
        peer: &PeerId,
        reason: Option<&'static str>,
        cause: Option<&ConnectionError>,
    ) -> Option<NetEvent> {
        let entry = self.peers.remove(peer)?;
        self.muted.remove(peer);
        self.liveness.disconnected(peer);
        let now = Instant::now();
        self.book.disconnected(peer, now);
        if self.wakes.is_recent(now) {
            self.book.wake(now);
        }
        self.outbound.disconnected(peer);
        self.reach.relays.gone(peer);
        let reason = match (reason.or(entry.leaving.map(|leaving| leaving.reason)), cause) {
            (Some(reason), _) => reason.to_owned(),
            (None, None) => "closed".to_owned(),
            (None, Some(ConnectionError::KeepAliveTimeout)) => "idle".to_owned(),
            (None, Some(error)) => root_cause(error),
        };
        Some(NetEvent::PeerDisconnected { peer: *peer, reason })
    }

    /// Disconnects peers that sent no hello in time, and completes other disconnections.
    pub(super) fn leave_those_due(&mut self, now: Instant) {
        let hello_time = self.tuning.hello_time;
        let is_mute = |peer: &Peer| {
            !peer.greeted && peer.leaving.is_none() && now.duration_since(peer.since) >= hello_time
        };
        let mute: Vec<_> = self
            .peers
            .iter()
            .filter(|(_, peer)| is_mute(peer))
            .map(|(id, peer)| (*id, peer.was_dialed()))
            .collect();
        for (peer, dialed) in mute {
            if dialed {
                self.book.shut(&peer, now + NO_HELLO_PAUSE);
            }
            self.disconnect(&peer, "said no hello");
        }
        let is_leaving = |(_, peer): &(&PeerId, &Peer)| peer.leaving.is_some();
        let leaving: Vec<_> = self.peers.iter().filter(is_leaving).map(|(id, _)| *id).collect();
        for peer in leaving {
            self.leave_if_idle(&peer, now);
        }
    }

    /// Closes all but one of several connections of one kind to a peer. Both ends may have dialed
    /// at once, or one end over two transports. Each connection costs pings and probes, and a
    /// circuit costs them at its relay too.
    ///
    /// Only the end with the larger id closes, so that the ends cannot close different ones. The
    /// oldest stays, since it carries reservations and circuits. A connection that tests an address
    /// is gone before the time, and a dead one has failed to answer a ping by then.
    pub(super) fn close_spare_connections(&mut self, now: Instant) {
        let spare_time = self.tuning.spare_time;
        let mut spare = Vec::new();
        for (peer, entry) in &self.peers {
            let busy = self.outbound.is_busy(peer) || self.sending.is_sending(peer);
            if entry.connections.len() < 2 || self.me < *peer || busy {
                continue;
            }
            let direct = entry.connections.iter().any(|connection| !connection.relayed);
            let is_kept = |connection: &&Connection| {
                connection.relayed != direct
                    && connection.ping_failures == 0
                    && connection.round_trip.is_some()
                    && now.saturating_duration_since(connection.since) >= spare_time
            };
            let alike = entry.connections.iter().filter(is_kept);
            spare.extend(alike.skip(1).map(|connection| connection.id));
        }
        for id in spare {
            self.swarm.close_connection(id);
        }
    }

    /// Returns the IP address of a connected peer.
    pub(super) fn ip_of_peer(&self, peer: &PeerId) -> Option<IpAddr> {
        let connection = self.peers.get(peer)?.connections.first()?;
        ip_of(&connection.address)
    }

    /// Closes all connections to a peer once its unsent responses are out.
    pub(super) fn disconnect(&mut self, peer: &PeerId, reason: &'static str) {
        let now = Instant::now();
        let Some(entry) = self.peers.get_mut(peer) else { return };
        entry.leaving.get_or_insert(Leaving { reason, from: now, by: now + LEAVE_TIME });
        self.leave_if_idle(peer, now);
    }

    /// Reconnects to a peer whose gossip is lost. Only a new connection restores it.
    pub(super) fn reconnect(&mut self, peer: &PeerId) {
        events::GossipDeaf { peer: *peer }.emit();
        self.disconnect(peer, "its gossip went deaf; connecting anew");
    }

    /// Records that a response was sent or has failed.
    pub(super) fn sent(&mut self, protocol: Protocol, request: InboundRequestId) {
        let Some(peer) = self.sending.ended(&(protocol, request)) else { return };
        if let Some(leaving) = self.peers.get_mut(&peer).and_then(|entry| entry.leaving.as_mut()) {
            leaving.from = Instant::now() + READ_TIME;
        }
    }

    /// Completes a disconnection once all responses are sent, or at its latest time.
    pub(super) fn leave_if_idle(&mut self, peer: &PeerId, now: Instant) {
        let Some(leaving) = self.peers.get(peer).and_then(|entry| entry.leaving.as_ref()) else {
            return;
        };
        let waits = now < leaving.from || self.sending.is_sending(peer);
        if waits && now < leaving.by {
            return;
        }
        if let Some(id) = to_libp2p(peer) {
            let _ = self.swarm.disconnect_peer_id(id);
        }
    }

    pub(super) fn snapshot(&self, now: Instant) -> Vec<PeerSnapshot> {
        let connection = |connection: &Connection| ConnectionSnapshot {
            address: connection.address.to_string(),
            inbound: connection.inbound,
            round_trip: connection.round_trip,
        };
        self.peers
            .iter()
            .map(|(id, peer)| PeerSnapshot {
                peer: *id,
                connections: peer.connections.iter().map(connection).collect(),
                agent: peer.agent.clone(),
                same_network: peer.same_network,
                topics: peer.topics.iter().copied().collect(),
                connected_for: now.duration_since(peer.since),
            })
            .collect()
    }
}

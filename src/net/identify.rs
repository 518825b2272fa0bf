//! Identify sends a peer only addresses that are valid where the peer is. It records the addresses
//! at which friends see this node as candidates.
//!
//! libp2p's identify sends every listening address to every peer. This module therefore has two
//! instances: one for peers at private addresses, and one for all others, which sends only external
//! addresses.
//!
//! A candidate is an address outside of this network at which a friend sees this node. It is valid
//! if its port is one that listens: on a connection that the peer dialed, or that left from a
//! listening port. Most routers keep the port, so the same host with a listening port is a
//! candidate too, over TCP and over QUIC. Without both, two friends who reach their relay over
//! different transports have no address in common. [`super::probe`] confirms candidates, and hole
//! punching offers them.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    net::SocketAddr,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    identify,
    multiaddr::Protocol,
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm, derive_prelude::Either,
    },
};

use super::{
    address::{is_far, is_nearby, is_relayed, is_transport, socket, without_peer},
    peer::from_libp2p,
};
use crate::peers::Trust;

type Inner = identify::Behaviour;

/// The state of a connection.
#[derive(Debug)]
struct Link {
    peer: PeerId,
    /// True if the peer is on the same machine or local network.
    near: bool,
    /// True if the peer sees a port at which this node listens.
    shows_port: bool,
    /// The candidates that follow from the address at which the peer sees this node.
    seen: Vec<Multiaddr>,
}

/// The instance for near peers, and the instance for all others.
pub(super) struct Identify {
    near: Inner,
    far: Inner,
    links: HashMap<ConnectionId, Link>,
    candidates: VecDeque<Multiaddr>,
    /// The addresses at which this node listens.
    listening: BTreeSet<Multiaddr>,
    trust: Trust,
}

impl Identify {
    /// Makes both instances from the settings of one.
    pub(super) fn new(settings: &identify::Config, trust: Trust) -> Self {
        let far = settings.clone().with_hide_listen_addrs(true);
        Self {
            near: Inner::new(settings.clone()),
            far: Inner::new(far),
            links: HashMap::new(),
            candidates: VecDeque::new(),
            listening: BTreeSet::new(),
            trust,
        }
    }

    /// True if a connected friend sees this node at the address.
    pub(super) fn is_seen(&self, address: &Multiaddr) -> bool {
        self.links.values().any(|link| link.seen.contains(address))
    }

    /// Returns the addresses at which connected friends see this node.
    pub(super) fn seen(&self) -> HashSet<Multiaddr> {
        self.links.values().flat_map(|link| link.seen.iter().cloned()).collect()
    }

    /// Records the address at which a peer sees this node.
    fn note(&mut self, event: &identify::Event) {
        let identify::Event::Received { connection_id, peer_id, info } = event else { return };
        let Some(link) = self.links.get_mut(connection_id) else { return };
        let address = without_peer(&info.observed_addr);
        let is_friend = from_libp2p(peer_id).is_some_and(|peer| self.trust.is_friend(&peer));
        if !is_friend || is_relayed(&address) || !is_transport(&address) || !is_far(&address) {
            return;
        }
        let kept = with_listening_ports(&address, &self.listening);
        let seen: Vec<_> = link.shows_port.then_some(address).into_iter().chain(kept).collect();
        let is_new = |address: &&Multiaddr| !link.seen.contains(address);
        self.candidates.extend(seen.iter().filter(is_new).cloned());
        link.seen = seen;
    }

    /// Addresses an event to one connection, since the two kinds of handler differ.
    fn to_one(
        &self,
        event: ToSwarm<identify::Event, THandlerInEvent<Inner>>,
        near: bool,
    ) -> Option<ToSwarm<identify::Event, THandlerInEvent<Self>>> {
        let wrap = |event| if near { Either::Left(event) } else { Either::Right(event) };
        match event {
            ToSwarm::NotifyHandler { peer_id, handler, event } => {
                let id = match handler {
                    NotifyHandler::One(id) => id,
                    NotifyHandler::Any => {
                        let is_its = |link: &Link| link.peer == peer_id && link.near == near;
                        *self.links.iter().find(|(_, link)| is_its(link))?.0
                    }
                };
                let handler = NotifyHandler::One(id);
                Some(ToSwarm::NotifyHandler { peer_id, handler, event: wrap(event) })
            }
            // `note` decides about candidates.
            ToSwarm::NewExternalAddrCandidate(_) => None,
            other => Some(other.map_in(wrap)),
        }
    }
}

/// Returns the same host with a port at which this node listens, once for each transport. Leaves
/// out a transport over which the address has such a port already.
fn with_listening_ports(address: &Multiaddr, listening: &BTreeSet<Multiaddr>) -> Vec<Multiaddr> {
    let Some((seen, over_udp)) = socket(address) else { return Vec::new() };
    let is_alike = |own: &SocketAddr| own.is_ipv4() == seen.is_ipv4() && !own.ip().is_loopback();
    let kept = |udp: bool| {
        let own =
            listening.iter().filter_map(socket).filter(|(own, it)| *it == udp && is_alike(own));
        let ports: Vec<u16> = own.map(|(own, _)| own.port()).collect();
        let port = *ports.first()?;
        let host = Multiaddr::from(seen.ip());
        let address = if udp {
            host.with(Protocol::Udp(port)).with(Protocol::QuicV1)
        } else {
            host.with(Protocol::Tcp(port))
        };
        (udp != over_udp || !ports.contains(&seen.port())).then_some(address)
    };
    [false, true].into_iter().filter_map(kept).collect()
}

impl NetworkBehaviour for Identify {
    type ConnectionHandler = Either<THandler<Inner>, THandler<Inner>>;
    type ToSwarm = identify::Event;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let near = is_nearby(remote) && !is_relayed(local);
        let shows_port = !is_relayed(local);
        self.links.insert(id, Link { peer, near, shows_port, seen: Vec::new() });
        if near {
            let handler =
                self.near.handle_established_inbound_connection(id, peer, local, remote)?;
            return Ok(Either::Left(handler));
        }
        self.far.handle_established_inbound_connection(id, peer, local, remote).map(Either::Right)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let near = is_nearby(address);
        let shows_port = port == PortUse::Reuse && !is_relayed(address);
        self.links.insert(id, Link { peer, near, shows_port, seen: Vec::new() });
        if near {
            let handler =
                self.near.handle_established_outbound_connection(id, peer, address, role, port)?;
            return Ok(Either::Left(handler));
        }
        self.far
            .handle_established_outbound_connection(id, peer, address, role, port)
            .map(Either::Right)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        let of = match &event {
            FromSwarm::ConnectionEstablished(it) => Some(it.connection_id),
            FromSwarm::ConnectionClosed(it) => Some(it.connection_id),
            FromSwarm::AddressChange(it) => Some(it.connection_id),
            _ => None,
        };
        match of.map(|id| self.links.get(&id).is_some_and(|link| link.near)) {
            Some(true) => self.near.on_swarm_event(event),
            Some(false) => self.far.on_swarm_event(event),
            None => {
                self.near.on_swarm_event(event);
                self.far.on_swarm_event(event);
            }
        }
        match event {
            FromSwarm::ConnectionClosed(closed) => {
                self.links.remove(&closed.connection_id);
            }
            // Another behaviour has refused the connection.
            FromSwarm::DialFailure(failed) => {
                self.links.remove(&failed.connection_id);
            }
            FromSwarm::ListenFailure(failed) => {
                self.links.remove(&failed.connection_id);
            }
            // The port of a circuit is the relay's.
            FromSwarm::NewListenAddr(new) if !is_relayed(new.addr) => {
                self.listening.insert(new.addr.clone());
            }
            FromSwarm::ExpiredListenAddr(old) => {
                self.listening.remove(old.addr);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {
            Either::Left(event) => self.near.on_connection_handler_event(peer, id, event),
            Either::Right(event) => self.far.on_connection_handler_event(peer, id, event),
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        loop {
            if let Some(address) = self.candidates.pop_front() {
                return Poll::Ready(ToSwarm::NewExternalAddrCandidate(address));
            }
            let (event, near) = match self.near.poll(cx) {
                Poll::Ready(event) => (event, true),
                Poll::Pending => match self.far.poll(cx) {
                    Poll::Ready(event) => (event, false),
                    Poll::Pending => return Poll::Pending,
                },
            };
            if let ToSwarm::GenerateEvent(event) = &event {
                self.note(event);
            }
            if let Some(event) = self.to_one(event, near) {
                return Poll::Ready(event);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_candidate_has_the_listening_port_of_each_transport_too() {
        let parsed = |text: &str| text.parse::<Multiaddr>().unwrap();
        let own = [
            "/ip4/127.0.0.1/tcp/1",
            "/ip4/192.168.1.2/tcp/8891",
            "/ip4/192.168.1.2/udp/8892/quic-v1",
            "/ip6/::1/tcp/2",
        ];
        let listening = own.map(parsed).into();
        let kept = |text| with_listening_ports(&parsed(text), &listening);
        let tcp = parsed("/ip4/5.3.0.1/tcp/8891");
        let quic = parsed("/ip4/5.3.0.1/udp/8892/quic-v1");
        assert_eq!(kept("/ip4/5.3.0.1/tcp/47264"), [tcp.clone(), quic.clone()]);
        assert_eq!(kept("/ip4/5.3.0.1/udp/9/quic-v1"), [tcp.clone(), quic.clone()]);
        assert_eq!(kept("/ip4/5.3.0.1/tcp/8891"), [quic]);
        assert_eq!(kept("/ip4/5.3.0.1/udp/8892/quic-v1"), [tcp]);
        assert!(kept("/ip6/2001::1/tcp/9").is_empty());
        assert!(with_listening_ports(&parsed("/ip4/5.3.0.1/tcp/9"), &BTreeSet::new()).is_empty());
    }
}

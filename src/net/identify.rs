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
    collections::{BTreeSet, HashMap, VecDeque},
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
    address::{ip, is_far, is_nearby, is_relayed, is_transport, socket, without_peer},
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
    /// True if the connection runs through a relay, which the peer sees in place of this node.
    relayed: bool,
    /// True if the peer sees a port at which this node listens.
    shows_port: bool,
    /// The candidates that follow from the address at which the peer sees this node.
    seen: Vec<Multiaddr>,
}

/// A direct connection on which a friend sees this node outside of its own network.
#[derive(Debug, Clone)]
pub(super) struct Witness {
    pub(super) peer: PeerId,
    pub(super) connection: ConnectionId,
    /// The candidates that follow from the address at which the friend sees this node. All have
    /// one IP address.
    pub(super) seen: Vec<Multiaddr>,
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

    /// Returns the connections on which friends see this node now.
    pub(super) fn witnesses(&self) -> Vec<Witness> {
        let shows = |(_, link): &(&ConnectionId, &Link)| {
            !link.seen.is_empty() && self.is_friend(&link.peer)
        };
        let witness = |(id, link): (&ConnectionId, &Link)| Witness {
            peer: link.peer,
            connection: *id,
            seen: link.seen.clone(),
        };
        self.links.iter().filter(shows).map(witness).collect()
    }

    /// Forgets where the peer of a dead connection has seen this node.
    pub(super) fn lost(&mut self, connection: ConnectionId) {
        if let Some(link) = self.links.get_mut(&connection) {
            link.seen.clear();
        }
    }

    fn is_friend(&self, peer: &PeerId) -> bool {
        from_libp2p(peer).is_some_and(|peer| self.trust.is_friend(&peer))
    }

    /// Records the address at which a peer sees this node.
    fn note(&mut self, event: &identify::Event) {
        let identify::Event::Received { connection_id, peer_id, info } = event else { return };
        let is_friend = self.is_friend(peer_id);
        let Some(link) = self.links.get_mut(connection_id) else { return };
        let address = without_peer(&info.observed_addr);
        let is_seen = !link.relayed && ip(&address).is_some() && is_transport(&address);
        if !is_seen || !is_far(&address) {
            return;
        }
        let kept = with_listening_ports(&address, &self.listening);
        let seen: Vec<_> = link.shows_port.then_some(address).into_iter().chain(kept).collect();
        if is_friend {
            self.candidates.extend(seen.iter().cloned());
        }
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
        let relayed = is_relayed(local);
        let (near, shows_port) = (is_nearby(remote) && !relayed, !relayed);
        self.links.insert(id, Link { peer, near, relayed, shows_port, seen: Vec::new() });
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
        let (near, relayed) = (is_nearby(address), is_relayed(address));
        let shows_port = port == PortUse::Reuse && !relayed;
        self.links.insert(id, Link { peer, near, relayed, shows_port, seen: Vec::new() });
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
    use libp2p::identity::Keypair;

    use super::*;

    #[test]
    fn a_dead_connection_and_a_stranger_show_no_address() {
        let key = Keypair::generate_ed25519();
        let friend = key.public().to_peer_id();
        let trust = Trust::new(from_libp2p(&friend), false);
        let settings = identify::Config::new("/friendchain/1".to_owned(), key.public());
        let mut identify = Identify::new(&settings, trust);
        let seen = vec!["/ip4/5.3.0.1/tcp/8891".parse::<Multiaddr>().unwrap()];
        for (id, peer) in [(1, friend), (2, friend), (3, PeerId::random())] {
            let link =
                Link { peer, near: false, relayed: false, shows_port: true, seen: seen.clone() };
            identify.links.insert(ConnectionId::new_unchecked(id), link);
        }
        let shown = |identify: &Identify| -> BTreeSet<_> {
            identify.witnesses().iter().map(|it| it.connection).collect()
        };
        assert_eq!(shown(&identify), [1, 2].map(ConnectionId::new_unchecked).into());
        identify.lost(ConnectionId::new_unchecked(1));
        assert_eq!(shown(&identify), [ConnectionId::new_unchecked(2)].into());
    }

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

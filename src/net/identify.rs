//! Identify, which tells a peer only addresses that mean something where the peer is, and which
//! notes as candidates the addresses at which friends see this node.
//!
//! libp2p's identify tells every peer every address that the node listens on. So there are two of
//! it here: one for peers at private addresses, and one for all others, which tells external
//! addresses alone.
//!
//! A candidate is an address outside of this network that a friend sees. It holds where the port is
//! one that listens: on a connection that the peer dialed, or that left from a listening port.
//! [`super::probe`] confirms candidates, and hole punching offers them.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    identify,
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm, derive_prelude::Either,
    },
};

use super::{
    address::{is_far, is_nearby, is_relayed, is_transport, without_peer},
    peer::from_libp2p,
};
use crate::peers::Trust;

type Inner = identify::Behaviour;

/// What is known of a connection.
#[derive(Debug)]
struct Link {
    peer: PeerId,
    /// True if the peer is on the same machine or local network.
    near: bool,
    /// True if the peer sees a port at which this node listens.
    shows_port: bool,
    /// The address at which the peer sees this node, if it is a candidate.
    seen: Option<Multiaddr>,
}

/// Identify for peers that are near, and for those that are far.
pub(super) struct Identify {
    near: Inner,
    far: Inner,
    links: HashMap<ConnectionId, Link>,
    candidates: VecDeque<Multiaddr>,
    trust: Trust,
}

impl Identify {
    /// Creates both from the settings of one.
    pub(super) fn new(settings: &identify::Config, trust: Trust) -> Self {
        let far = settings.clone().with_hide_listen_addrs(true);
        Self {
            near: Inner::new(settings.clone()),
            far: Inner::new(far),
            links: HashMap::new(),
            candidates: VecDeque::new(),
            trust,
        }
    }

    /// True if a connected friend sees this node at the address.
    pub(super) fn is_seen(&self, address: &Multiaddr) -> bool {
        self.links.values().any(|link| link.seen.as_ref() == Some(address))
    }

    /// Returns the addresses at which connected friends see this node.
    pub(super) fn seen(&self) -> HashSet<Multiaddr> {
        self.links.values().filter_map(|link| link.seen.clone()).collect()
    }

    /// Notes what a peer says about this node.
    fn note(&mut self, event: &identify::Event) {
        let identify::Event::Received { connection_id, peer_id, info } = event else { return };
        let Some(link) = self.links.get_mut(connection_id) else { return };
        let address = without_peer(&info.observed_addr);
        let is_friend = from_libp2p(peer_id).is_some_and(|peer| self.trust.is_friend(&peer));
        if !is_friend || !link.shows_port || !is_transport(&address) || !is_far(&address) {
            return;
        }
        if link.seen.as_ref() != Some(&address) {
            link.seen = Some(address.clone());
            self.candidates.push_back(address);
        }
    }

    /// Names the connection that an event is for, since only that kind of handler takes it.
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
            // What a peer sees is judged here.
            ToSwarm::NewExternalAddrCandidate(_) => None,
            other => Some(other.map_in(wrap)),
        }
    }
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
        self.links.insert(id, Link { peer, near, shows_port, seen: None });
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
        self.links.insert(id, Link { peer, near, shows_port, seen: None });
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

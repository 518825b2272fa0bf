//! Kademlia whose walks never dial. It reports the peers that it wanted to dial, with the addresses
//! from the answers, and the address book treats these as hints.
//!
//! libp2p's Kademlia dials every peer that an answer names, at every address there, and its results
//! name only peers that answered. Here a walk reaches only connected peers, and reports the peers
//! that they name.

use std::{
    collections::VecDeque,
    ops::{Deref, DerefMut},
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::Endpoint,
    kad,
    swarm::{
        ConnectionDenied, ConnectionId, DialError, DialFailure, FromSwarm, NetworkBehaviour,
        THandlerInEvent, ToSwarm,
    },
};

use super::{
    address::without_peer,
    limits::{MAX_FOUND_WAITING, MAX_KNOWN_ADDRESSES},
    pass_on::{pass_on_connections, pass_on_handler_events},
};

type Inner = kad::Behaviour<kad::store::MemoryStore>;

/// Kademlia, and the results of its walks.
pub(super) struct Walk {
    inner: Inner,
    /// Peers that Kademlia wanted to dial, and that the swarm task has not taken yet.
    found: VecDeque<Found>,
}

/// A peer that an answer named, with its addresses there. None of them is proven.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) peer: PeerId,
    pub(super) addresses: Vec<Multiaddr>,
}

/// An event of [`Walk`].
#[derive(Debug)]
pub(super) enum WalkEvent {
    Kad(Box<kad::Event>),
    Found(Found),
}

impl Walk {
    pub(super) const fn new(inner: Inner) -> Self {
        Self { inner, found: VecDeque::new() }
    }

    /// Adds addresses of a connected peer to the routing table, from which others get answers. A
    /// peer has at most [`MAX_KNOWN_ADDRESSES`] there.
    pub(super) fn route(&mut self, peer: &PeerId, addresses: Vec<Multiaddr>) {
        let held: Vec<Multiaddr> = self
            .inner
            .kbucket(*peer)
            .into_iter()
            .flat_map(|bucket| {
                bucket
                    .iter()
                    .filter(|entry| entry.node.key.preimage() == peer)
                    .flat_map(|entry| entry.node.value.iter().cloned().collect::<Vec<_>>())
                    .collect::<Vec<_>>()
            })
            .collect();
        let room = MAX_KNOWN_ADDRESSES.saturating_sub(held.len());
        // Kademlia holds them with the peer's id.
        let is_new = |address: &Multiaddr| {
            !held.iter().any(|held| without_peer(held) == without_peer(address))
        };
        for address in addresses.into_iter().filter(is_new).take(room) {
            self.inner.add_address(peer, address);
        }
    }

    /// Denies a dial, so that its query goes on to the next peer, and records its addresses.
    fn deny(&mut self, dial: ConnectionId, peer: Option<PeerId>) {
        let addresses = self
            .inner
            .handle_pending_outbound_connection(dial, peer, &[], Endpoint::Dialer)
            .unwrap_or_default();
        let error = &DialError::Aborted;
        let failure = DialFailure { peer_id: peer, error, connection_id: dial };
        self.inner.on_swarm_event(FromSwarm::DialFailure(failure));
        if let Some(peer) = peer
            && self.found.len() < MAX_FOUND_WAITING
        {
            let addresses = addresses.into_iter().take(MAX_KNOWN_ADDRESSES).collect();
            self.found.push_back(Found { peer, addresses });
        }
    }
}

impl Deref for Walk {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.inner
    }
}

impl DerefMut for Walk {
    fn deref_mut(&mut self) -> &mut Inner {
        &mut self.inner
    }
}

impl NetworkBehaviour for Walk {
    type ConnectionHandler = <Inner as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = WalkEvent;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.inner.handle_pending_inbound_connection(id, local, remote)
    }

    pass_on_connections!();

    /// Adds no addresses to a dial: those that Kademlia holds are only reported.
    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        Ok(Vec::new())
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.inner.on_swarm_event(event);
    }

    pass_on_handler_events!();

    fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        loop {
            if let Some(found) = self.found.pop_front() {
                return Poll::Ready(ToSwarm::GenerateEvent(WalkEvent::Found(found)));
            }
            match self.inner.poll(context) {
                Poll::Ready(ToSwarm::Dial { opts }) => {
                    self.deny(opts.connection_id(), opts.get_peer_id());
                }
                Poll::Ready(event) => {
                    return Poll::Ready(event.map_out(|event| WalkEvent::Kad(Box::new(event))));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

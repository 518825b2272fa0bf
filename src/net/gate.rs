//! The gate refuses connections of banned peers and of peers whose key is not ed25519.
//!
//! It is the first behaviour in the struct, so that libp2p sets nothing up for refused connections.

use std::{
    collections::HashSet,
    convert::Infallible,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId as Libp2pPeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm, dummy,
    },
};

use super::peer::from_libp2p;
use crate::primitives::PeerId;

/// A behaviour that refuses connections and does nothing else.
#[derive(Debug, Default)]
pub(super) struct Gate {
    banned: HashSet<PeerId>,
}

/// The reason for which a connection is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Denied {
    /// The node has banned the peer.
    #[error("{0} is banned")]
    Banned(PeerId),
    /// The key of the peer is of another kind, so that it has no [`PeerId`].
    #[error("{0} is not the id of an ed25519 key")]
    NotEd25519(Libp2pPeerId),
}

impl Gate {
    pub(super) fn ban(&mut self, peer: PeerId) {
        self.banned.insert(peer);
    }

    pub(super) fn unban(&mut self, peer: &PeerId) {
        self.banned.remove(peer);
    }

    pub(super) fn is_banned(&self, peer: &PeerId) -> bool {
        self.banned.contains(peer)
    }

    fn check(&self, peer: Libp2pPeerId) -> Result<(), ConnectionDenied> {
        let ours =
            from_libp2p(&peer).ok_or_else(|| ConnectionDenied::new(Denied::NotEd25519(peer)))?;
        if self.is_banned(&ours) {
            Err(ConnectionDenied::new(Denied::Banned(ours)))
        } else {
            Ok(())
        }
    }
}

impl NetworkBehaviour for Gate {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: Libp2pPeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.check(peer).map(|()| dummy::ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: Option<Libp2pPeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        peer.map_or(Ok(()), |peer| self.check(peer)).map(|()| Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: Libp2pPeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.check(peer).map(|()| dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(
        &mut self,
        _: Libp2pPeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Identity, peer::to_libp2p};

    #[test]
    fn banned_peers_and_other_keys_stay_outside() {
        let peer = Identity::generate().peer_id();
        let theirs = to_libp2p(&peer).unwrap();
        let mut gate = Gate::default();
        assert!(gate.check(theirs).is_ok());
        gate.ban(peer);
        assert!(gate.check(theirs).is_err());
        gate.unban(&peer);
        assert!(gate.check(theirs).is_ok());
        let rsa = "QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN".parse().unwrap();
        assert!(gate.check(rsa).is_err());
    }
}

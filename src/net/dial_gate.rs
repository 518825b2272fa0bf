//! The dial gate denies each dial that the swarm task did not start.
//!
//! libp2p's protocols dial peers by themselves: Kademlia dials those that an answer names,
//! gossipsub those that a peer exchange names, request-response those that a request is for. Such
//! dials would bypass the address book. The gate permits only dials that the swarm task started.
//! Circuits of relays, hole punching and dials back have permits of their own (`guest.rs`,
//! `probe.rs`).

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::Endpoint,
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandlerInEvent, ToSwarm,
        dummy,
    },
};

use super::{
    guest::{Permits, Rule},
    pass_on::no_handlers,
};

/// A behaviour that denies dials and does nothing else.
#[derive(Debug, Default)]
pub(super) struct DialGate {
    permits: Permits,
}

/// The reason why the gate denies a dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the address book did not choose this dial")]
pub(super) struct NotChosen;

impl DialGate {
    /// Returns a gate that lets the permitted dials pass.
    pub(super) const fn new(permits: Permits) -> Self {
        Self { permits }
    }

    /// Permits one dial.
    pub(super) fn permit(&self, dial: ConnectionId) {
        self.permits.permit(dial, Rule::Chosen);
    }
}

impl NetworkBehaviour for DialGate {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    no_handlers!();

    fn handle_pending_outbound_connection(
        &mut self,
        dial: ConnectionId,
        _: Option<PeerId>,
        addresses: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if self.permits.take(dial, addresses) {
            Ok(Vec::new())
        } else {
            Err(ConnectionDenied::new(NotChosen))
        }
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        // The swarm refuses some dials before it asks the gate.
        if let FromSwarm::DialFailure(failed) = event {
            self.permits.forget(failed.connection_id);
        }
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use libp2p::swarm::dial_opts::DialOpts;

    use super::*;

    #[test]
    fn only_the_permitted_dial_passes_and_only_once() {
        let mut gate = DialGate::default();
        let dial = || DialOpts::peer_id(PeerId::random()).build();
        let passes = |gate: &mut DialGate, dial: &DialOpts| {
            let (id, peer) = (dial.connection_id(), dial.get_peer_id());
            gate.handle_pending_outbound_connection(id, peer, &[], Endpoint::Dialer).is_ok()
        };
        let (ours, theirs) = (dial(), dial());
        assert!(!passes(&mut gate, &theirs));
        gate.permit(ours.connection_id());
        assert!(passes(&mut gate, &ours) && !passes(&mut gate, &ours));
        gate.permit(ours.connection_id());
        assert!(!passes(&mut gate, &theirs));
    }
}

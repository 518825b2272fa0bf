//! The relay service for friends. It hides connections through other relays from libp2p's relay.
//!
//! libp2p's relay sends each change of its status to all connections. The handler of a relayed
//! connection does not accept it: the connection's task panics, and the swarm keeps a dead
//! connection for ever.

use std::task::{Context, Poll};

use libp2p::{
    PeerId, relay,
    swarm::{FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, ToSwarm},
};

use super::pass_on::{pass_on_connections, pass_on_handler_events};

/// libp2p's relay, which is off until the node turns it on.
pub(super) struct Relaying {
    inner: relay::Behaviour,
}

impl Relaying {
    pub(super) fn new(me: PeerId, settings: relay::Config) -> Self {
        let mut inner = relay::Behaviour::new(me, settings);
        // Without a fixed status, any external address turns it on, a relayed one too.
        inner.set_status(Some(relay::Status::Disable));
        Self { inner }
    }

    /// Turns the service on or off for reservations and circuits to come.
    pub(super) fn turn(&mut self, on: bool) {
        let status = if on { relay::Status::Enable } else { relay::Status::Disable };
        self.inner.set_status(Some(status));
    }
}

impl NetworkBehaviour for Relaying {
    type ConnectionHandler = THandler<relay::Behaviour>;
    type ToSwarm = relay::Event;

    pass_on_connections!();

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        let endpoint = match &event {
            FromSwarm::ConnectionEstablished(it) => Some(it.endpoint),
            FromSwarm::ConnectionClosed(it) => Some(it.endpoint),
            _ => None,
        };
        if endpoint.is_none_or(|endpoint| !endpoint.is_relayed()) {
            self.inner.on_swarm_event(event);
        }
    }

    pass_on_handler_events!();

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.inner.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use libp2p::{
        Multiaddr,
        core::{ConnectedPoint, Endpoint, transport::PortUse},
        swarm::{
            ConnectionId, NotifyHandler,
            behaviour::{ConnectionEstablished, ExternalAddrConfirmed},
        },
    };

    use super::*;

    /// Connects a peer over an address, in the order of the swarm.
    fn connect(relaying: &mut Relaying, id: usize, address: &str) {
        let (id, peer) = (ConnectionId::new_unchecked(id), PeerId::random());
        let address: Multiaddr = address.parse().expect("an address");
        let (role, port) = (Endpoint::Dialer, PortUse::New);
        relaying
            .handle_established_outbound_connection(id, peer, &address, role, port)
            .expect("a handler");
        let endpoint = ConnectedPoint::Dialer { address, role_override: role, port_use: port };
        relaying.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
            peer_id: peer,
            connection_id: id,
            endpoint: &endpoint,
            failed_addresses: &[],
            other_established: 0,
        }));
    }

    /// Returns the connections to which the relay sends something.
    fn notified(relaying: &mut Relaying) -> Vec<ConnectionId> {
        let mut all = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(event) = relaying.poll(&mut cx) {
            if let ToSwarm::NotifyHandler { handler: NotifyHandler::One(id), .. } = event {
                all.push(id);
            }
        }
        all
    }

    #[test]
    fn only_direct_connections_hear_of_a_change() {
        let relay = PeerId::random();
        let mut relaying = Relaying::new(PeerId::random(), relay::Config::default());
        connect(&mut relaying, 1, "/ip4/5.0.1.1/tcp/1");
        connect(&mut relaying, 2, &format!("/ip4/5.0.1.1/tcp/1/p2p/{relay}/p2p-circuit"));
        for on in [true, false] {
            relaying.turn(on);
            assert_eq!(notified(&mut relaying), [ConnectionId::new_unchecked(1)]);
        }
    }

    #[test]
    fn an_external_address_does_not_turn_it_on() {
        let mut relaying = Relaying::new(PeerId::random(), relay::Config::default());
        connect(&mut relaying, 1, "/ip4/5.0.1.1/tcp/1");
        let addr = "/ip4/5.0.1.2/tcp/1".parse().expect("an address");
        let confirmed = ExternalAddrConfirmed { addr: &addr };
        relaying.on_swarm_event(FromSwarm::ExternalAddrConfirmed(confirmed));
        assert!(notified(&mut relaying).is_empty());
    }
}

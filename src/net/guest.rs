//! Protocols that dial on behalf of this node: circuits of relays, and hole punching.
//!
//! The dial gate denies each dial that the address book did not choose. [`Guest`] wraps a protocol
//! whose dials follow from a choice of the book, and permits those that obey a [`Rule`].

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::Endpoint,
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandlerInEvent, ToSwarm,
    },
};

use super::{
    address::{ip, is_dialable, is_far, is_relayed},
    limits::{MAX_GUEST_ADDRESSES, MAX_GUEST_DIALS},
    pass_on::{pass_on_connections, pass_on_handler_events},
    peer::from_libp2p,
};
use crate::peers::{Level, Trust};

/// The addresses to which a permitted dial may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rule {
    /// Anywhere: the swarm task or the address book chose it.
    Chosen,
    /// The relay of a circuit that the address book chose.
    Relay,
    /// Addresses that a peer behind a relay told for hole punching: no private ones, and few.
    Punch,
    /// Back to the machine that asked for a test of its address.
    Back(Vec<std::net::IpAddr>),
}

impl Rule {
    /// True if a dial to these addresses obeys the rule.
    fn allows(&self, addresses: &[Multiaddr]) -> bool {
        match self {
            Self::Chosen => true,
            Self::Relay => addresses.iter().all(|address| !is_relayed(address)),
            Self::Punch => {
                !addresses.is_empty()
                    && addresses.len() <= MAX_GUEST_ADDRESSES
                    && addresses.iter().all(|address| {
                        !is_relayed(address)
                            && is_far(address)
                            && ip(address).is_some()
                            && is_dialable(address, false)
                    })
            }
            Self::Back(there) => addresses.iter().all(|address| {
                !is_relayed(address) && ip(address).is_some_and(|ip| there.contains(&ip))
            }),
        }
    }
}

/// The dials that may start, shared by the dial gate and the protocols.
#[derive(Debug, Clone, Default)]
pub(super) struct Permits(Arc<Mutex<HashMap<ConnectionId, Rule>>>);

impl Permits {
    fn table(&self) -> MutexGuard<'_, HashMap<ConnectionId, Rule>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Permits one dial. Refuses those of peers beyond [`MAX_GUEST_DIALS`] at once.
    pub(super) fn permit(&self, dial: ConnectionId, rule: Rule) {
        let mut table = self.table();
        if rule == Rule::Chosen || table.len() < MAX_GUEST_DIALS {
            table.insert(dial, rule);
        }
    }

    /// Uses up the permit of a dial. Returns true if there was one, and the addresses obey its
    /// rule.
    pub(super) fn take(&self, dial: ConnectionId, addresses: &[Multiaddr]) -> bool {
        self.table().remove(&dial).is_some_and(|rule| rule.allows(addresses))
    }

    /// Forgets a dial that ended before it began.
    pub(super) fn forget(&self, dial: ConnectionId) {
        self.table().remove(&dial);
    }
}

/// A protocol that may dial by a rule.
pub(super) struct Guest<B> {
    inner: B,
    rule: Rule,
    permits: Permits,
    trust: Trust,
}

impl<B> Guest<B> {
    pub(super) const fn new(inner: B, rule: Rule, permits: Permits, trust: Trust) -> Self {
        Self { inner, rule, permits, trust }
    }

    /// True if the protocol may dial the peer. Hole punching is not tried for strangers.
    fn may_dial(&self, peer: Option<PeerId>) -> bool {
        let peer = peer.as_ref().and_then(from_libp2p);
        self.rule != Rule::Punch
            || peer.is_some_and(|peer| self.trust.level(&peer) > Level::Stranger)
    }
}

impl<B: NetworkBehaviour> NetworkBehaviour for Guest<B> {
    type ConnectionHandler = B::ConnectionHandler;
    type ToSwarm = B::ToSwarm;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.inner.handle_pending_inbound_connection(id, local, remote)
    }

    pass_on_connections!();

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.inner.handle_pending_outbound_connection(id, peer, addresses, role)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.inner.on_swarm_event(event);
    }

    pass_on_handler_events!();

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        let event = std::task::ready!(self.inner.poll(cx));
        if let ToSwarm::Dial { opts } = &event
            && self.may_dial(opts.get_peer_id())
        {
            self.permits.permit(opts.connection_id(), self.rule.clone());
        }
        Poll::Ready(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<Multiaddr> {
        texts.iter().map(|text| text.parse().expect("an address")).collect()
    }

    #[test]
    fn a_peer_behind_a_relay_points_a_dial_at_no_private_address() {
        let allows = |texts: &[&str]| Rule::Punch.allows(&addresses(texts));
        assert!(allows(&["/ip4/8.8.8.8/tcp/1", "/ip6/2a00:1::1/udp/1/quic-v1"]));
        assert!(!allows(&[]));
        for text in [
            "/ip4/127.0.0.1/tcp/1",
            "/ip4/192.168.1.1/tcp/80",
            "/ip4/169.254.169.254/tcp/80",
            "/ip6/::1/tcp/1",
            "/dns/a.example/tcp/1",
            "/ip4/8.8.8.8/udp/53",
        ] {
            assert!(!allows(&["/ip4/8.8.8.8/tcp/1", text]), "{text}");
        }
        let many: Vec<_> =
            (0..=MAX_GUEST_ADDRESSES).map(|port| format!("/ip4/8.8.8.8/tcp/{port}")).collect();
        assert!(!allows(&many.iter().map(String::as_str).collect::<Vec<_>>()));
    }

    #[test]
    fn only_the_machine_that_asks_is_dialed_back() {
        let back = Rule::Back(vec!["8.8.8.8".parse().expect("an IP address")]);
        assert!(back.allows(&addresses(&["/ip4/8.8.8.8/tcp/1"])));
        assert!(!back.allows(&addresses(&["/ip4/8.8.4.4/tcp/1"])));
        assert!(!back.allows(&addresses(&["/dns/a.example/tcp/1"])));
    }

    #[test]
    fn dials_that_peers_cause_are_few_at_once() {
        let permits = Permits::default();
        let id = ConnectionId::new_unchecked;
        for number in 0..=MAX_GUEST_DIALS {
            permits.permit(id(number), Rule::Relay);
        }
        assert!(!permits.take(id(MAX_GUEST_DIALS), &[]));
        permits.permit(id(1_000), Rule::Chosen);
        assert!(permits.take(id(1_000), &[]) && !permits.take(id(1_000), &[]));
        assert!(permits.take(id(0), &[]));
    }
}

//! The gate decides which connections may stay. It refuses banned peers and keys that are not
//! ed25519, and gives every other peer a place.
//!
//! It is the first behaviour in the struct, so that libp2p sets nothing up for refused connections.
//! [`Places`] decides which peer gets a place and which loses one; the gate closes the connections
//! of the latter.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    convert::Infallible,
    net::IpAddr,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use libp2p::{
    Multiaddr, PeerId as Libp2pPeerId,
    core::{Endpoint, transport::PortUse},
    multiaddr::Protocol,
    swarm::{
        CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
    },
};

use super::{
    address::{far_end, is_nearby},
    limits::{MAX_CONNECTIONS_PER_PEER, MAX_SECOND_CONNECTIONS},
    peer::{from_libp2p, to_libp2p},
};
use crate::{
    peers::{Places, Trust},
    primitives::PeerId,
};

/// Two connections to one peer within this time are simultaneous: each end may have dialed without
/// knowing of the other's dial. A handshake takes some round trips.
const SIMULTANEOUS: Duration = Duration::from_secs(3);

/// A behaviour that refuses and closes connections, and does nothing else.
#[derive(Debug)]
pub(super) struct Gate {
    trust: Trust,
    places: Places,
    banned: HashSet<PeerId>,
    /// The connections of each peer that has a place.
    connections: HashMap<PeerId, Vec<Standing>>,
    /// Connections to close, of peers that lost their places.
    closing: VecDeque<(PeerId, ConnectionId)>,
    /// Peers that lost their places, until the swarm task takes them.
    evicted: Vec<PeerId>,
}

/// An established connection.
#[derive(Debug)]
struct Standing {
    id: ConnectionId,
    since: Instant,
    /// The address of the other end; `None` if it is behind a relay, or was dialed by name.
    ip: Option<IpAddr>,
}

/// The reason why a connection is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Denied {
    /// The node has banned the peer.
    #[error("{0} is banned")]
    Banned(PeerId),
    /// The key of the peer is of another kind, so that it has no [`PeerId`].
    #[error("{0} is not the id of an ed25519 key")]
    NotEd25519(Libp2pPeerId),
    /// Friends hold all places.
    #[error("{0} gets no place: friends hold them all")]
    NoPlace(PeerId),
    /// The peer has the maximum number of connections.
    #[error("{0} is connected already")]
    Connected(PeerId),
    /// The peer has moved to another network. Its older connections are closed now.
    #[error("{0} has moved; its older connections are closed first")]
    Lost(PeerId),
}

impl Gate {
    pub(super) fn new(trust: Trust) -> Self {
        Self {
            places: Places::new(trust.clone()),
            trust,
            banned: HashSet::new(),
            connections: HashMap::new(),
            closing: VecDeque::new(),
            evicted: Vec::new(),
        }
    }

    /// Refuses the peer from now on.
    ///
    /// # Security
    /// No ban makes room for another here, since strangers could lift the user's bans with their
    /// own. The node bounds its bans and blocks, and lifts each that ends.
    pub(super) fn ban(&mut self, peer: PeerId) {
        self.banned.insert(peer);
    }

    pub(super) fn unban(&mut self, peer: &PeerId) {
        self.banned.remove(peer);
    }

    pub(super) fn is_banned(&self, peer: &PeerId) -> bool {
        self.banned.contains(peer)
    }

    /// Returns the places, for facts that are learnt about their holders.
    pub(super) fn places(&mut self) -> &mut Places {
        &mut self.places
    }

    /// Returns the peers that lost their places since the last call. Their connections close soon.
    pub(super) fn take_evicted(&mut self) -> Vec<PeerId> {
        std::mem::take(&mut self.evicted)
    }

    fn check(&self, peer: Libp2pPeerId) -> Result<PeerId, Denied> {
        let ours = from_libp2p(&peer).ok_or(Denied::NotEd25519(peer))?;
        if self.is_banned(&ours) { Err(Denied::Banned(ours)) } else { Ok(ours) }
    }

    /// Gives a connection its place.
    fn enter(
        &mut self,
        id: ConnectionId,
        peer: Libp2pPeerId,
        (remote, local): (&Multiaddr, &Multiaddr),
        inbound: bool,
        now: Instant,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let peer = self.check(peer).map_err(ConnectionDenied::new)?;
        if inbound && self.has_lost(peer, remote, now) {
            return Err(ConnectionDenied::new(Denied::Lost(peer)));
        }
        // A peer behind a relay counts among those at the relay's address.
        let remote = &far_end(remote, local);
        if is_nearby(remote) {
            // The level is set before the decision, since a friend gets a place of its own.
            self.trust.met_nearby(peer);
        }
        if let Some(before) = self.connections.get(&peer) {
            let most = usize::try_from(MAX_CONNECTIONS_PER_PEER).unwrap_or(usize::MAX);
            let all: usize = self.connections.values().map(Vec::len).sum();
            let second = all.saturating_sub(self.connections.len());
            if before.len() >= most || second >= MAX_SECOND_CONNECTIONS {
                return Err(ConnectionDenied::new(Denied::Connected(peer)));
            }
        }
        let evicted = self
            .places
            .admit(peer, ip_of(remote), inbound, now)
            .map_err(|_| ConnectionDenied::new(Denied::NoPlace(peer)))?;
        for gone in evicted {
            tracing::debug!(peer = %gone, instead = %peer, "a peer loses its place");
            let connections = self.connections.remove(&gone).unwrap_or_default();
            self.closing.extend(connections.into_iter().map(|one| (gone, one.id)));
            self.evicted.push(gone);
        }
        let standing = Standing { id, since: now, ip: ip_of(remote) };
        self.connections.entry(peer).or_default().push(standing);
        Ok(dummy::ConnectionHandler)
    }

    /// Returns true if a dialing peer has lost its earlier connections, since it has moved to
    /// another network. Closes them.
    ///
    /// A peer dials only while it believes that it has no connection, so both ends have to begin
    /// anew: gossipsub sends its topics only on the first of several connections, and requests
    /// would still use the dead ones. Two ends that dial each other do so at about the same time. A
    /// peer that dials back to test an address comes from the address that it had.
    fn has_lost(&mut self, peer: PeerId, remote: &Multiaddr, now: Instant) -> bool {
        let Some(before) = self.connections.get(&peer) else { return false };
        let is_old = |one: &Standing| now.saturating_duration_since(one.since) >= SIMULTANEOUS;
        let moved = match ip_of(remote) {
            // Relayed: the peer cannot reach this node directly any more.
            None => true,
            Some(now_at) => {
                let mut was_at = before.iter().filter_map(|one| one.ip).peekable();
                was_at.peek().is_some()
                    && was_at.all(|ip| ip != now_at && ip.is_ipv4() == now_at.is_ipv4())
            }
        };
        if !moved || !before.iter().all(is_old) {
            return false;
        }
        tracing::debug!(%peer, %remote, "a dialing peer has moved to another network");
        self.closing.extend(before.iter().map(|one| (peer, one.id)));
        true
    }

    /// Ends a connection, and the place of its peer if it was the last.
    fn leave(&mut self, id: ConnectionId, peer: Libp2pPeerId) {
        let Some(peer) = from_libp2p(&peer) else { return };
        self.closing.retain(|(_, closing)| *closing != id);
        let Some(connections) = self.connections.get_mut(&peer) else { return };
        connections.retain(|other| other.id != id);
        if connections.is_empty() {
            self.connections.remove(&peer);
            self.places.leave(&peer);
        }
    }
}

/// Returns the IP address in a multiaddr; `None` if it has a name instead.
pub(super) fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    address.iter().find_map(|part| match part {
        Protocol::Ip4(address) => Some(IpAddr::V4(address)),
        Protocol::Ip6(address) => Some(IpAddr::V6(address).to_canonical()),
        _ => None,
    })
}

impl NetworkBehaviour for Gate {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Libp2pPeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.enter(id, peer, (remote, local), true, Instant::now())
    }

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: Option<Libp2pPeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if let Some(peer) = peer {
            self.check(peer).map_err(ConnectionDenied::new)?;
        }
        Ok(Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Libp2pPeerId,
        remote: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.enter(id, peer, (remote, &Multiaddr::empty()), false, Instant::now())
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(closed) => self.leave(closed.connection_id, closed.peer_id),
            // Another behaviour refused the connection after the gate had let it in.
            FromSwarm::DialFailure(failed) => {
                if let Some(peer) = failed.peer_id {
                    self.leave(failed.connection_id, peer);
                }
            }
            FromSwarm::ListenFailure(failed) => {
                if let Some(peer) = failed.peer_id {
                    self.leave(failed.connection_id, peer);
                }
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: Libp2pPeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        while let Some((peer, id)) = self.closing.pop_front() {
            if let Some(peer_id) = to_libp2p(&peer) {
                let connection = CloseConnection::One(id);
                return Poll::Ready(ToSwarm::CloseConnection { peer_id, connection });
            }
        }
        // Only calls of the swarm add to the queue, and it polls after each.
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{net::Identity, peers::MAX_BANS, primitives::PublicKey};

    fn gate() -> Gate {
        Gate::new(Trust::default())
    }

    fn enter(gate: &mut Gate, number: usize, peer: PeerId, remote: &str) -> bool {
        let id = ConnectionId::new_unchecked(number);
        enter_at(gate, id, peer, remote, Instant::now())
    }

    fn enter_at(
        gate: &mut Gate,
        id: ConnectionId,
        peer: PeerId,
        remote: &str,
        now: Instant,
    ) -> bool {
        let ends = (&remote.parse().unwrap(), &Multiaddr::empty());
        gate.enter(id, to_libp2p(&peer).unwrap(), ends, true, now).is_ok()
    }

    #[test]
    fn banned_peers_and_other_keys_stay_outside() {
        let peer = Identity::generate().peer_id();
        let theirs = to_libp2p(&peer).unwrap();
        let mut gate = gate();
        assert!(gate.check(theirs).is_ok());
        gate.ban(peer);
        assert!(gate.check(theirs).is_err());
        gate.unban(&peer);
        assert!(gate.check(theirs).is_ok());
        let rsa = "QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN".parse().unwrap();
        assert!(gate.check(rsa).is_err());
    }

    #[test]
    fn bans_of_strangers_lift_no_other_ban() {
        let mut gate = gate();
        let banned = Identity::generate().peer_id();
        gate.ban(banned);
        for number in 0..3 * MAX_BANS {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            gate.ban(PeerId(PublicKey(bytes)));
        }
        assert!(gate.is_banned(&banned));
    }

    #[test]
    fn a_newcomer_takes_the_place_of_an_idle_peer_whose_connection_then_closes() {
        let mut gate = gate();
        let most = crate::peers::PLACES_PER_ADDRESS;
        for number in 0..=most {
            let peer = Identity::generate().peer_id();
            assert!(enter(&mut gate, number, peer, "/ip4/192.0.2.1/tcp/1"));
        }
        assert_eq!((gate.connections.len(), gate.take_evicted().len()), (most, 1));
        let mut context = Context::from_waker(std::task::Waker::noop());
        let action = gate.poll(&mut context);
        assert!(matches!(action, Poll::Ready(ToSwarm::CloseConnection { .. })), "{action:?}");
        assert!(gate.poll(&mut context).is_pending() && gate.take_evicted().is_empty());
    }

    #[test]
    fn a_peer_has_few_connections_and_one_place() {
        let mut gate = gate();
        let peer = Identity::generate().peer_id();
        let theirs = to_libp2p(&peer).unwrap();
        for (number, is_let_in) in [(1, true), (2, true), (3, true), (4, true), (5, false)] {
            assert_eq!(enter(&mut gate, number, peer, "/ip4/192.0.2.1/tcp/1"), is_let_in);
        }
        for number in 1..4 {
            gate.leave(ConnectionId::new_unchecked(number), theirs);
        }
        assert!(gate.connections.contains_key(&peer));
        gate.leave(ConnectionId::new_unchecked(4), theirs);
        assert!(gate.connections.is_empty());
    }

    #[test]
    fn second_connections_are_bounded_over_all_peers() {
        let friends: Vec<_> = (0..80).map(|_| Identity::generate().peer_id()).collect();
        let mut gate = Gate::new(Trust::new(friends.iter().copied(), false));
        let mut second = 0;
        for (number, friend) in (0..).step_by(2).zip(&friends) {
            assert!(enter(&mut gate, number, *friend, "/ip4/192.0.2.1/tcp/1"));
            second += usize::from(enter(&mut gate, number + 1, *friend, "/ip4/192.0.2.1/tcp/1"));
        }
        assert_eq!(second, MAX_SECOND_CONNECTIONS);
    }

    #[test]
    fn peers_behind_one_relay_share_the_places_of_its_address() {
        let relay = Identity::generate().peer_id();
        let at = format!("/ip4/192.0.2.1/tcp/1/p2p/{relay}/p2p-circuit");
        let most = crate::peers::PLACES_PER_ADDRESS;
        let mut gate = gate();
        for number in 0..=most {
            let peer = Identity::generate().peer_id();
            let id = ConnectionId::new_unchecked(number);
            let ends = (&format!("/p2p/{peer}").parse().unwrap(), &at.parse().unwrap());
            assert!(gate.enter(id, to_libp2p(&peer).unwrap(), ends, true, Instant::now()).is_ok());
        }
        assert_eq!((gate.connections.len(), gate.take_evicted().len()), (most, 1));
    }

    #[test]
    fn a_relay_nearby_makes_nobody_behind_it_a_friend() {
        let trust = Trust::new([], true);
        let mut gate = Gate::new(trust.clone());
        let (relay, peer) = (Identity::generate().peer_id(), Identity::generate().peer_id());
        let at = format!("/ip4/192.168.1.1/tcp/1/p2p/{relay}/p2p-circuit");
        assert!(enter(&mut gate, 1, peer, &at));
        assert!(!trust.is_friend(&peer));
        assert!(enter(&mut gate, 2, relay, "/ip4/192.168.1.1/tcp/1"));
        assert!(trust.is_friend(&relay));
    }

    #[test]
    fn a_peer_that_has_moved_gets_in_once_its_old_connections_are_closed() {
        let (here, elsewhere) = ("/ip4/192.0.2.1/tcp/1", "/ip4/198.51.100.1/tcp/1");
        let (start, relayed) = (Instant::now(), "/p2p-circuit");
        let moved = start + 2 * SIMULTANEOUS;
        let [first, second, third] = [1, 2, 3].map(ConnectionId::new_unchecked);
        for now_at in [elsewhere, relayed] {
            let mut gate = gate();
            let peer = Identity::generate().peer_id();
            assert!(enter_at(&mut gate, first, peer, here, start));
            assert!(enter_at(&mut gate, second, peer, here, start + SIMULTANEOUS / 2));
            // The node has not detected the move: both connections look alive.
            assert!(!enter_at(&mut gate, third, peer, now_at, moved));
            let mut context = Context::from_waker(std::task::Waker::noop());
            for old in [first, second] {
                let action = gate.poll(&mut context);
                let Poll::Ready(ToSwarm::CloseConnection { connection, .. }) = action else {
                    panic!("{action:?}");
                };
                assert!(matches!(connection, CloseConnection::One(id) if id == old));
                gate.leave(old, to_libp2p(&peer).unwrap());
            }
            assert!(gate.poll(&mut context).is_pending());
            assert!(enter_at(&mut gate, third, peer, now_at, moved));
        }
    }

    #[test]
    fn a_peer_that_dials_from_where_it_was_or_directly_at_last_keeps_its_connection() {
        let start = Instant::now();
        let later = start + 2 * SIMULTANEOUS;
        let [first, second] = [1, 2].map(ConnectionId::new_unchecked);
        let kept = [
            ("/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.1/tcp/9", later),
            ("/ip4/192.0.2.1/tcp/1", "/ip6/2001:db8::1/tcp/9", later),
            ("/ip4/192.0.2.1/tcp/1", "/ip4/198.51.100.1/tcp/9", start),
            ("/p2p-circuit", "/ip4/192.0.2.1/tcp/9", later),
        ];
        for (was_at, now_at, when) in kept {
            let mut gate = gate();
            let peer = Identity::generate().peer_id();
            assert!(enter_at(&mut gate, first, peer, was_at, start));
            assert!(enter_at(&mut gate, second, peer, now_at, when), "{was_at}, then {now_at}");
            assert!(gate.closing.is_empty());
        }
    }
}

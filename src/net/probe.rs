//! Asks friends whether an address of this node can be reached, and dials back for friends who ask,
//! by `AutoNAT` v2.
//!
//! libp2p asks only peers that this node dialed, and answers only peers that dialed it. A reachable
//! node is mostly dialed by others, so it would rarely learn that it is reachable. Here both ends
//! of a connection may ask.
//!
//! # Security
//! Only a friend's answer confirms an address, and only friends are dialed back, at the IP address
//! that they are connected from. Without a bound on the address, a peer could make this node dial
//! any machine.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    net::IpAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use libp2p::{
    Multiaddr, PeerId,
    autonat::v2::{client, server},
    core::{Endpoint, transport::PortUse},
    swarm::{
        CloseConnection, ConnectionDenied, ConnectionHandler as _, ConnectionHandlerSelect,
        ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm, derive_prelude::Either,
    },
};

use tokio::time::{Sleep, sleep};

use super::{
    address::{far_end, ip, is_relayed},
    guest::{Permits, Rule},
    limits::{DIAL_BACK_PAUSE, MAX_CANDIDATES, PROBE_INTERVAL, QUESTION_PAUSE, QUICK_QUESTIONS},
    peer::from_libp2p,
};
use crate::peers::Trust;

type Client = client::Behaviour;
type Server = server::Behaviour;
/// A handler that asks, and that accepts the connection of a peer that dials back.
type AskingHandler = ConnectionHandlerSelect<THandler<Client>, THandler<Client>>;

/// The client: asks friends.
pub(super) struct Asking {
    inner: Client,
    trust: Trust,
    relayed: HashSet<ConnectionId>,
    /// The connections since the last change of networks.
    known: HashMap<ConnectionId, PeerId>,
    /// The candidates so far, which the inner client never forgets.
    candidates: HashSet<Multiaddr>,
    /// The last event of each connection whose peer is no friend: that it answers such questions.
    strangers: HashMap<ConnectionId, (PeerId, THandlerOutEvent<Client>)>,
    /// Questions that wait, at most one for each candidate, and the connections chosen for them.
    waiting: VecDeque<(ConnectionId, THandlerInEvent<Self>)>,
    /// The number of questions so far.
    asked: usize,
    /// The end of the wait for the next question.
    pause: Option<Pin<Box<Sleep>>>,
}

impl Asking {
    pub(super) fn new(trust: Trust) -> Self {
        Self {
            inner: Self::client(),
            trust,
            relayed: HashSet::new(),
            known: HashMap::new(),
            candidates: HashSet::new(),
            strangers: HashMap::new(),
            waiting: VecDeque::new(),
            asked: 0,
            pause: None,
        }
    }

    fn client() -> Client {
        let settings = client::Config::default()
            .with_max_candidates(MAX_CANDIDATES)
            .with_probe_interval(PROBE_INTERVAL);
        Client::new(rand::make_rng(), settings)
    }

    /// Forgets all results, since the machine is in another network now. Peers are not asked again
    /// on connections from before.
    pub(super) fn start_anew(&mut self) {
        self.inner = Self::client();
        self.known.clear();
        self.candidates.clear();
        self.strangers.clear();
        self.waiting.clear();
        (self.asked, self.pause) = (0, None);
    }

    /// Asks peers that have become friends since they connected.
    pub(super) fn look_for_friends(&mut self) {
        let Self { strangers, trust, inner, .. } = self;
        let is_friend = |peer: &PeerId| from_libp2p(peer).is_some_and(|it| trust.is_friend(&it));
        for (id, (peer, event)) in strangers.extract_if(|_, (peer, _)| is_friend(peer)) {
            inner.on_connection_handler_event(peer, id, event);
        }
    }

    /// True if the next question may leave. One question at a time leaves, since a friend dials
    /// back once in [`DIAL_BACK_PAUSE`]. The inner client repeats a question without an answer for
    /// ever, so that an address behind a closed router would cost traffic without end.
    fn may_ask(&mut self, cx: &mut Context<'_>) -> bool {
        if let Some(pause) = &mut self.pause
            && pause.as_mut().poll(cx).is_pending()
        {
            return false;
        }
        self.asked = self.asked.saturating_add(1);
        let pause = if self.asked < QUICK_QUESTIONS { 2 * DIAL_BACK_PAUSE } else { QUESTION_PAUSE };
        self.pause = Some(Box::pin(sleep(pause)));
        true
    }

    /// Returns the connection for a question: the first choice, or any other friend's if that one
    /// is closed by now, or its peer no friend. A peer that cannot answer says so, and the inner
    /// client asks again.
    fn server(&self, first: ConnectionId) -> Option<(PeerId, ConnectionId)> {
        let chosen = self.known.get_key_value(&first).into_iter();
        let mut all = chosen.chain(&self.known).map(|(id, peer)| (*peer, *id));
        all.find(|(peer, id)| !self.relayed.contains(id) && self.is_friend(peer))
    }

    /// Returns the next question, if it may leave now.
    fn next_question(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Option<ToSwarm<client::Event, THandlerInEvent<Self>>> {
        let (first, _) = self.waiting.front()?;
        let (peer_id, id) = self.server(*first)?;
        if !self.may_ask(cx) {
            return None;
        }
        let (_, event) = self.waiting.pop_front()?;
        Some(ToSwarm::NotifyHandler { peer_id, handler: NotifyHandler::One(id), event })
    }

    fn is_friend(&self, peer: &PeerId) -> bool {
        from_libp2p(peer).is_some_and(|peer| self.trust.is_friend(&peer))
    }

    fn handler(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        remote: &Multiaddr,
    ) -> Result<AskingHandler, ConnectionDenied> {
        let (role, port) = (Endpoint::Dialer, PortUse::New);
        let asks =
            self.inner.handle_established_outbound_connection(id, peer, remote, role, port)?;
        let hears = self.inner.handle_established_inbound_connection(id, peer, remote, remote)?;
        Ok(asks.select(hears))
    }
}

impl NetworkBehaviour for Asking {
    type ConnectionHandler = AskingHandler;
    type ToSwarm = client::Event;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if is_relayed(local) {
            self.relayed.insert(id);
        }
        self.handler(id, peer, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if is_relayed(address) {
            self.relayed.insert(id);
        }
        self.handler(id, peer, address)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::NewExternalAddrCandidate(candidate) => {
                if self.candidates.len() >= MAX_CANDIDATES
                    && !self.candidates.contains(candidate.addr)
                {
                    return;
                }
                self.candidates.insert(candidate.addr.clone());
            }
            FromSwarm::ConnectionEstablished(it) => {
                self.known.insert(it.connection_id, it.peer_id);
            }
            FromSwarm::ConnectionClosed(it) => {
                self.relayed.remove(&it.connection_id);
                self.strangers.remove(&it.connection_id);
                if self.known.remove(&it.connection_id).is_none() {
                    return;
                }
            }
            FromSwarm::DialFailure(it) => {
                self.relayed.remove(&it.connection_id);
            }
            FromSwarm::ListenFailure(it) => {
                self.relayed.remove(&it.connection_id);
            }
            _ => {}
        }
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        if !self.known.contains_key(&id) || self.relayed.contains(&id) {
            return;
        }
        match event {
            Either::Left(event) | Either::Right(event) if self.is_friend(&peer) => {
                self.inner.on_connection_handler_event(peer, id, event);
            }
            Either::Left(event) => {
                self.strangers.insert(id, (peer, event));
            }
            // A stranger dials back, unasked.
            Either::Right(_) => {}
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        loop {
            if let Some(question) = self.next_question(cx) {
                return Poll::Ready(question);
            }
            match ready!(self.inner.poll(cx)).map_in(Either::Left) {
                ToSwarm::NotifyHandler { handler: NotifyHandler::One(id), event, .. } => {
                    self.waiting.push_back((id, event));
                }
                other => return Poll::Ready(other),
            }
        }
    }
}

/// The server: dials back for friends.
pub(super) struct DialingBack {
    inner: Server,
    permits: Permits,
    trust: Trust,
    /// The IP address of each peer's direct connections.
    machines: HashMap<ConnectionId, (PeerId, IpAddr)>,
    /// Dials back in progress, and the connections that they made.
    back: HashMap<ConnectionId, PeerId>,
    /// The last dial back to each peer.
    last: HashMap<PeerId, Instant>,
    closing: VecDeque<(PeerId, ConnectionId)>,
}

impl DialingBack {
    pub(super) fn new(permits: Permits, trust: Trust) -> Self {
        Self {
            inner: Server::new(rand::make_rng()),
            permits,
            trust,
            machines: HashMap::new(),
            back: HashMap::new(),
            last: HashMap::new(),
            closing: VecDeque::new(),
        }
    }

    /// True if the connection was made by a dial back, and ends soon.
    pub(super) fn is_back(&self, id: ConnectionId) -> bool {
        self.back.contains_key(&id)
    }

    /// Returns the IP addresses that a friend is connected from; `None` if the peer must wait or is
    /// no friend.
    fn machines_of(&mut self, peer: &PeerId, now: Instant) -> Option<Vec<IpAddr>> {
        let is_friend = from_libp2p(peer).is_some_and(|peer| self.trust.is_friend(&peer));
        let waits = |last: &Instant| now.saturating_duration_since(*last) < DIAL_BACK_PAUSE;
        if !is_friend || self.last.get(peer).is_some_and(waits) {
            return None;
        }
        self.last.retain(|_, last| now.saturating_duration_since(*last) < DIAL_BACK_PAUSE);
        self.last.insert(*peer, now);
        let of_peer = self.machines.values().filter(|(other, _)| other == peer);
        Some(of_peer.map(|(_, ip)| *ip).collect())
    }

    fn ended(&mut self, id: ConnectionId) {
        self.machines.remove(&id);
        self.back.remove(&id);
        self.closing.retain(|(_, closing)| *closing != id);
    }
}

impl NetworkBehaviour for DialingBack {
    type ConnectionHandler = THandler<Server>;
    type ToSwarm = server::Event;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if !is_relayed(local)
            && let Some(ip) = ip(&far_end(remote, local))
        {
            self.machines.insert(id, (peer, ip));
        }
        self.inner.handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if self.back.contains_key(&id) {
            return self
                .inner
                .handle_established_outbound_connection(id, peer, address, role, port);
        }
        if !is_relayed(address)
            && let Some(ip) = ip(address)
        {
            self.machines.insert(id, (peer, ip));
        }
        self.inner.handle_established_inbound_connection(id, peer, address, address)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match &event {
            FromSwarm::ConnectionClosed(it) => self.ended(it.connection_id),
            FromSwarm::DialFailure(it) => self.ended(it.connection_id),
            FromSwarm::ListenFailure(it) => self.ended(it.connection_id),
            _ => {}
        }
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.inner.on_connection_handler_event(peer, id, event);
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some((peer_id, id)) = self.closing.pop_front() {
            let connection = CloseConnection::One(id);
            return Poll::Ready(ToSwarm::CloseConnection { peer_id, connection });
        }
        let event = ready!(self.inner.poll(cx));
        match &event {
            ToSwarm::Dial { opts } => {
                let id = opts.connection_id();
                if let Some(peer) = opts.get_peer_id()
                    && let Some(machines) = self.machines_of(&peer, Instant::now())
                {
                    self.back.insert(id, peer);
                    self.permits.permit(id, Rule::Back(machines));
                }
            }
            ToSwarm::GenerateEvent(done) => {
                // The request is answered, so its connection has no more use.
                let of_peer = self.back.iter().filter(|(_, peer)| **peer == done.client);
                self.closing.extend(of_peer.map(|(id, peer)| (*peer, *id)));
            }
            _ => {}
        }
        Poll::Ready(event)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[tokio::test]
    async fn questions_that_nobody_answers_become_rare() {
        let mut asking = Asking::new(Trust::default());
        let mut cx = Context::from_waker(Waker::noop());
        let mut pauses = Vec::new();
        for _ in 0..QUICK_QUESTIONS + 2 {
            assert!(asking.may_ask(&mut cx));
            assert!(!asking.may_ask(&mut cx), "one at a time");
            let pause = asking.pause.take().expect("a pause");
            pauses.push(pause.deadline().duration_since(tokio::time::Instant::now()));
        }
        let long = |pause: &&std::time::Duration| **pause > QUESTION_PAUSE / 2;
        assert_eq!(pauses.iter().filter(long).count(), 3, "those after the quick ones");
    }
}

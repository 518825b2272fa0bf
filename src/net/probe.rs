//! Asks friends whether an address of this node can be reached, and dials back for friends who ask,
//! by `AutoNAT` v2.
//!
//! libp2p asks only peers that this node dialed, and answers only peers that dialed it. A reachable
//! node is mostly dialed by others, so it would rarely learn that it is reachable. Here both ends
//! of a connection may ask.
//!
//! # Candidates
//! A candidate is an address at which a friend sees this node, or one from the user. Names and
//! addresses of a local network are not tested.
//!
//! | state | what happens next |
//! |---|---|
//! | untested | a friend is asked that sees this node at that IP address; without one it waits |
//! | confirmed | the swarm task keeps it, and forgets it later |
//! | failed until a time | then it is untested, and another friend is asked if there is one |
//!
//! A friend dials only IP addresses that it is connected from, so its refusal shows nothing about
//! any other address. A candidate is forgotten when no friend sees this node there, unless it is
//! the user's, confirmed, or waits after a failure. A forgotten one starts as untested.
//!
//! # Questions
//! libp2p's client tests each address once and keeps the result for ever. Each question therefore
//! has a client of its own. A client asks no peer before it knows that the peer answers, and
//! connections report that only once: [`Reminder`] has them report it again. A friend gets one
//! question at a time, which also tells the answers apart.
//!
//! # Security
//! Only a friend's answer confirms an address, and only friends are dialed back, at the IP address
//! that they are connected from. Without a bound on the address, a peer could make this node dial
//! any machine.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    convert::Infallible,
    net::IpAddr,
    task::{Context, Poll, ready},
    time::Instant,
};

use libp2p::{
    Multiaddr, PeerId, StreamProtocol,
    autonat::v2::{client, server},
    core::{ConnectedPoint, Endpoint, transport::PortUse, upgrade::DeniedUpgrade},
    swarm::{
        CloseConnection, ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent,
        ConnectionHandlerSelect, ConnectionId, FromSwarm, NetworkBehaviour,
        NewExternalAddrCandidate, NotifyHandler, SubstreamProtocol, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm,
        behaviour::ConnectionEstablished,
        derive_prelude::Either,
        handler::{ConnectionEvent, ProtocolSupport},
    },
};

use super::{
    address::{far_end, ip, is_far, is_relayed},
    guest::{Permits, Rule},
    identify::Witness,
    limits::{
        DIAL_BACK_PAUSE, LONGEST_RETEST_WAIT, MAX_CANDIDATES, PROBE_INTERVAL, QUESTION_TIME,
        RETEST_WAIT,
    },
    peer::from_libp2p,
};
use crate::{peers::Trust, primitives::doubled};

#[cfg(test)]
mod tests;

type Client = client::Behaviour;
type Server = server::Behaviour;
/// A handler that asks, one that accepts the connection of a peer that dials back, and a
/// [`Reminder`], which repeats the report that the peer answers questions.
type AskingHandler =
    ConnectionHandlerSelect<ConnectionHandlerSelect<THandler<Client>, THandler<Client>>, Reminder>;

/// The protocol on which a peer answers questions.
const DIAL_REQUEST: StreamProtocol = StreamProtocol::new("/libp2p/autonat/2/dial-request");

/// A handler that removes the protocol of questions from those of the peer, and adds it again. All
/// other handlers ignore that protocol.
#[derive(Debug, Default)]
pub(super) struct Reminder(VecDeque<ProtocolSupport>);

impl ConnectionHandler for Reminder {
    type FromBehaviour = ();
    type ToBehaviour = Infallible;
    type InboundProtocol = DeniedUpgrade;
    type OutboundProtocol = DeniedUpgrade;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<DeniedUpgrade> {
        SubstreamProtocol::new(DeniedUpgrade, ())
    }

    fn on_behaviour_event(&mut self, (): ()) {
        let changes = [ProtocolSupport::Removed, ProtocolSupport::Added];
        self.0.extend(changes.map(|change| change(HashSet::from([DIAL_REQUEST]))));
    }

    fn on_connection_event(&mut self, _: ConnectionEvent<'_, DeniedUpgrade, DeniedUpgrade>) {}

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<DeniedUpgrade, (), Infallible>> {
        self.0.pop_front().map_or(Poll::Pending, |change| {
            Poll::Ready(ConnectionHandlerEvent::ReportRemoteProtocols(change))
        })
    }
}

/// True if friends can test an address that the user gave.
pub(super) fn is_testable(address: &Multiaddr) -> bool {
    ip(address).is_some() && is_far(address)
}

/// The state of a tested address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Untested,
    Confirmed,
    Failed { until: Instant },
}

/// An address at which this node may be reached.
#[derive(Debug)]
struct Candidate {
    address: Multiaddr,
    state: State,
    /// The failed tests in a row.
    failures: u32,
    /// The friend that was asked last.
    asked: Option<PeerId>,
}

/// A question to a friend.
struct Question {
    client: Client,
    connection: ConnectionId,
    address: Multiaddr,
    began: Instant,
    /// True once the client has asked. It asks again after an answer that shows nothing.
    left: bool,
}

impl Question {
    fn new(address: &Multiaddr, witness: &Witness, now: Instant) -> Self {
        let mut client = client();
        let candidate = NewExternalAddrCandidate { addr: address };
        client.on_swarm_event(FromSwarm::NewExternalAddrCandidate(candidate));
        // The client does not read the endpoint.
        let endpoint = ConnectedPoint::Dialer {
            address: address.clone(),
            role_override: Endpoint::Dialer,
            port_use: PortUse::New,
        };
        client.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
            peer_id: witness.peer,
            connection_id: witness.connection,
            endpoint: &endpoint,
            failed_addresses: &[],
            other_established: 0,
        }));
        let (connection, address) = (witness.connection, address.clone());
        Self { client, connection, address, began: now, left: false }
    }
}

fn client() -> Client {
    Client::new(rand::make_rng(), client::Config::default().with_probe_interval(PROBE_INTERVAL))
}

/// The client: asks friends.
pub(super) struct Asking {
    /// Makes the handlers.
    maker: Client,
    /// The user's addresses.
    users: Vec<Multiaddr>,
    candidates: Vec<Candidate>,
    /// The open question to each friend.
    questions: HashMap<PeerId, Question>,
    /// The connections whose peers answer questions.
    answering: HashSet<ConnectionId>,
    /// The connections to remind.
    reminders: VecDeque<(PeerId, ConnectionId)>,
}

impl Asking {
    /// Tests the user's addresses, and those at which friends see this node.
    pub(super) fn new(mut users: Vec<Multiaddr>) -> Self {
        users.retain(is_testable);
        Self {
            maker: client(),
            users,
            candidates: Vec::new(),
            questions: HashMap::new(),
            answering: HashSet::new(),
            reminders: VecDeque::new(),
        }
    }

    /// Makes all addresses untested but those that the swarm task still counts as confirmed, since
    /// the machine is in another network now.
    pub(super) fn start_anew(&mut self) {
        self.questions.clear();
        self.candidates.retain(|candidate| candidate.state == State::Confirmed);
    }

    /// Records where friends see this node now, and asks them about the addresses that are due.
    pub(super) fn look(&mut self, witnesses: &[Witness], now: Instant) {
        let late =
            |question: &Question| now.saturating_duration_since(question.began) >= QUESTION_TIME;
        let late = self.questions.iter().filter(|(_, question)| late(question));
        let late: Vec<PeerId> = late.map(|(peer, _)| *peer).collect();
        for peer in late {
            self.settle(&peer, false, now);
        }
        self.update(witnesses, now);
        while let Some((address, witness)) = self.next_question(witnesses) {
            self.reminders.push_back((witness.peer, witness.connection));
            let question = Question::new(&address, witness, now);
            self.questions.insert(witness.peer, question);
        }
    }

    /// Forgets candidates that no friend sees, ends the waits of others, and adds new ones.
    fn update(&mut self, witnesses: &[Witness], now: Instant) {
        let users = &self.users;
        let seen = || users.iter().chain(witnesses.iter().flat_map(|witness| &witness.seen));
        let is_seen = |address: &Multiaddr| seen().any(|seen| seen == address);
        self.candidates.retain_mut(|it| {
            if let State::Failed { until } = it.state
                && until <= now
            {
                it.state = State::Untested;
            }
            it.state != State::Untested || is_seen(&it.address)
        });
        for address in seen() {
            if self.candidates.iter().any(|it| it.address == *address) {
                continue;
            }
            if self.candidates.len() >= MAX_CANDIDATES {
                let is_old = |it: &Candidate| {
                    matches!(it.state, State::Failed { .. }) && !is_seen(&it.address)
                };
                let Some(old) = self.candidates.iter().position(is_old) else { continue };
                self.candidates.remove(old);
            }
            self.candidates.push(Candidate {
                address: address.clone(),
                state: State::Untested,
                failures: 0,
                asked: None,
            });
        }
    }

    /// Returns an untested address and a friend to ask about it: one that sees this node at that IP
    /// address, answers, and has no other question. Prefers a friend that sees this exact
    /// address, since it needs no 100 kB first. Among equals, prefers one that was not asked last.
    fn next_question<'a>(&self, witnesses: &'a [Witness]) -> Option<(Multiaddr, &'a Witness)> {
        let is_asked = |it: &Candidate| self.questions.values().any(|q| q.address == it.address);
        let is_due = |it: &&Candidate| it.state == State::Untested && !is_asked(it);
        let mut due: Vec<&Candidate> = self.candidates.iter().filter(is_due).collect();
        due.sort_by_key(|it| it.failures);
        due.into_iter().find_map(|candidate| {
            let there = ip(&candidate.address)?;
            let can_answer = |it: &&Witness| {
                self.answering.contains(&it.connection)
                    && !self.questions.contains_key(&it.peer)
                    && it.seen.iter().any(|seen| ip(seen) == Some(there))
            };
            let able = witnesses.iter().filter(can_answer);
            let witness = able.min_by_key(|it| {
                (!it.seen.contains(&candidate.address), candidate.asked == Some(it.peer))
            })?;
            Some((candidate.address.clone(), witness))
        })
    }

    /// Ends the question to a friend.
    fn settle(&mut self, peer: &PeerId, reached: bool, now: Instant) {
        let Some(question) = self.questions.remove(peer) else { return };
        let is_its = |it: &&mut Candidate| it.address == question.address;
        let Some(candidate) = self.candidates.iter_mut().find(is_its) else { return };
        candidate.asked = Some(*peer);
        if reached {
            (candidate.state, candidate.failures) = (State::Confirmed, 0);
        } else {
            let wait = doubled(RETEST_WAIT, candidate.failures, LONGEST_RETEST_WAIT);
            candidate.state = State::Failed { until: now + wait };
            candidate.failures = candidate.failures.saturating_add(1);
        }
    }

    fn handler(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        remote: &Multiaddr,
    ) -> Result<AskingHandler, ConnectionDenied> {
        let (role, port) = (Endpoint::Dialer, PortUse::New);
        let asks =
            self.maker.handle_established_outbound_connection(id, peer, remote, role, port)?;
        let hears = self.maker.handle_established_inbound_connection(id, peer, remote, remote)?;
        Ok(asks.select(hears).select(Reminder::default()))
    }
}

impl NetworkBehaviour for Asking {
    type ConnectionHandler = AskingHandler;
    type ToSwarm = client::Event;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
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
        self.handler(id, peer, address)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ExternalAddrExpired(it) => {
                self.candidates.retain(|candidate| candidate.address != *it.addr);
            }
            FromSwarm::ConnectionClosed(it) => {
                self.answering.remove(&it.connection_id);
                self.questions.retain(|_, question| question.connection != it.connection_id);
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
        let question = self.questions.get_mut(&peer);
        match event {
            Either::Left(Either::Left(event)) => match question {
                Some(question) if question.connection == id => {
                    question.client.on_connection_handler_event(peer, id, event);
                }
                _ => {
                    self.answering.insert(id);
                }
            },
            // The peer dials back. Without a question it does so unasked.
            Either::Left(Either::Right(event)) => {
                if let Some(question) = question {
                    question.client.on_connection_handler_event(peer, id, event);
                }
            }
            Either::Right(never) => match never {},
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some((peer_id, id)) = self.reminders.pop_front() {
            let handler = NotifyHandler::One(id);
            return Poll::Ready(ToSwarm::NotifyHandler {
                peer_id,
                handler,
                event: Either::Right(()),
            });
        }
        let mut unanswered = Vec::new();
        for (peer, question) in &mut self.questions {
            let Poll::Ready(event) = question.client.poll(cx) else { continue };
            match &event {
                ToSwarm::NotifyHandler { .. } if question.left => {
                    unanswered.push(*peer);
                    continue;
                }
                ToSwarm::NotifyHandler { .. } => question.left = true,
                ToSwarm::GenerateEvent(test) if test.tested_addr == question.address => {
                    let (peer, reached) = (*peer, test.result.is_ok());
                    self.settle(&peer, reached, Instant::now());
                    return Poll::Ready(event.map_in(|event| Either::Left(Either::Left(event))));
                }
                _ => {}
            }
            return Poll::Ready(event.map_in(|event| Either::Left(Either::Left(event))));
        }
        for peer in unanswered {
            self.settle(&peer, false, Instant::now());
        }
        Poll::Pending
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

//! The swarm task: it owns the swarm and all state of the network, and is the only one to touch
//! them.
//!
//! A turn handles one thing: an event of the swarm, a command, an answer, or the tick; none waits,
//! so one turn is short and no source starves another. `swarm_events` translates what libp2p says;
//! what the node asks is done here. Events that must not be lost wait in `backlog` when the node's
//! queue is full, and the swarm is not polled until they are out, which bounds it.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use futures::StreamExt;
use libp2p::{
    Multiaddr, Swarm, gossipsub,
    request_response::{InboundRequestId, OutboundRequestId, ResponseChannel},
    swarm::{ConnectionId, SwarmEvent, dial_opts::DialOpts, dial_opts::PeerCondition},
};
use prometheus_client::registry::Registry;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{MissedTickBehavior, interval},
};

use super::{
    NetConfig, NetError, Tuning,
    address::{offered, parse, parse_listen, peer_of, with_peer, without_peer},
    behaviour::{Behaviour, BehaviourConfig, BehaviourEvent, Names, request_timeout},
    codec::Frame,
    discovery::{AddressBook, Dial, Source},
    event::{
        ConnectionSnapshot, DialError, GossipId, NetEvent, PeerSnapshot, ReplyId, RequestError,
        Verdict,
    },
    gossip::{Hearing, KeptMessages, Undecided},
    handle::{NetAnswer, NetCommand},
    limits::LINGER,
    listen::{build_swarm, listen},
    metrics::Libp2pMetrics,
    peer::to_libp2p,
    requests::{Inbound, Job, Outbound, Sending},
};
use crate::{
    primitives::PeerId,
    telemetry::{events, metrics::NetMetrics},
    wire::{
        ChatResponse, FriendsResponse, HelloResponse, Protocol, Response, SyncResponse, Topic,
        probe,
    },
};

/// How often the address book, time-outs and hearing are looked at.
const TICK: Duration = Duration::from_millis(250);
/// A request on its way for longer than its time-out and this ends, whatever libp2p thinks.
const FLIGHT_GRACE: Duration = Duration::from_secs(15);
/// A disconnection that waits for answers to get out waits no longer than this.
const LEAVE_TIME: Duration = Duration::from_secs(2);
/// And when they are out, this long for the peer to read them: with the connection, what it has not
/// read is lost.
const READ_TIME: Duration = Duration::from_millis(300);

/// How libp2p names a request on its way.
pub(super) type FlightKey = (Protocol, OutboundRequestId);
/// Where libp2p takes an answer, and how it names the request.
pub(super) type ReplyChannel = (InboundRequestId, ResponseChannel<Frame<Response>>);

/// One connection to a peer.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) address: Multiaddr,
    pub(super) inbound: bool,
    pub(super) round_trip: Option<Duration>,
    pub(super) ping_failures: u32,
}

/// A connected peer.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) connections: Vec<Connection>,
    pub(super) agent: String,
    pub(super) same_network: bool,
    pub(super) topics: BTreeSet<Topic>,
    pub(super) since: Instant,
    /// How often gossipsub could not send to it in time.
    pub(super) slow: u32,
    /// Why this node closes the connections, if it does.
    pub(super) leaving: Option<Leaving>,
}

/// A disconnection by this node's own will.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) reason: &'static str,
    /// Not before this, for the last answer to be read.
    pub(super) from: Instant,
    /// At the latest then.
    pub(super) by: Instant,
}

impl Leaving {
    /// At once.
    pub(super) fn now(reason: &'static str) -> Self {
        let now = Instant::now();
        Self { reason, from: now, by: now }
    }
}

/// Why a dial was begun.
#[derive(Debug)]
pub(super) enum Dialing {
    Book(Dial),
    Asked(Multiaddr, oneshot::Sender<Result<PeerId, DialError>>),
}

/// The state of the network.
pub(super) struct Network {
    pub(super) swarm: Swarm<Behaviour>,
    pub(super) names: Names,
    pub(super) me: PeerId,
    pub(super) private_only: bool,
    target_peers: usize,
    external: Vec<Multiaddr>,
    pub(super) tuning: Tuning,

    events: mpsc::Sender<NetEvent>,
    backlog: VecDeque<NetEvent>,
    commands: mpsc::Receiver<NetCommand>,
    answers: mpsc::Receiver<NetAnswer>,

    pub(super) peers: HashMap<PeerId, Peer>,
    pub(super) listening: BTreeSet<Multiaddr>,
    pub(super) book: AddressBook,
    pub(super) dials: HashMap<ConnectionId, Dialing>,
    pub(super) outbound: Outbound<FlightKey>,
    pub(super) inbound: Inbound<ReplyChannel>,
    /// Answers that libp2p has but has not sent yet.
    pub(super) sending: Sending<(Protocol, InboundRequestId)>,
    pub(super) kept: KeptMessages,
    pub(super) undecided: Undecided,
    pub(super) hearing: Hearing,
    pub(super) metrics: NetMetrics,
    libp2p_metrics: Libp2pMetrics,
    next_probe: Instant,
    next_walk: Instant,
}

/// One thing to handle.
enum Turn {
    Swarm(Box<SwarmEvent<BehaviourEvent>>),
    Command(NetCommand),
    Answer(NetAnswer),
    Tick,
    /// An event of the backlog is out.
    Room,
    /// Nobody is left to speak to.
    Alone,
}

impl Network {
    /// Makes the swarm and listens.
    pub(super) fn new(
        config: NetConfig,
        registry: &mut Registry,
        metrics: NetMetrics,
        events: mpsc::Sender<NetEvent>,
        commands: mpsc::Receiver<NetCommand>,
        answers: mpsc::Receiver<NetAnswer>,
    ) -> Result<Self, NetError> {
        let NetConfig {
            identity,
            network,
            listen: listens,
            external,
            peers,
            mdns,
            private_only,
            target_peers,
            tuning,
        } = config;
        let now = Instant::now();
        let names = Names::new(&network)?;
        let listens: Vec<_> =
            listens.iter().map(|text| parse_listen(text)).collect::<Result<_, _>>()?;
        let external: Vec<_> = external
            .iter()
            .map(|text| parse(text).map(|address| without_peer(&address)))
            .collect::<Result<_, _>>()?;
        let me = identity.peer_id();
        let mut book = AddressBook::new(me, private_only, tuning.back_off, rand::random());
        for text in &peers {
            book.add_seed(parse(text)?, now);
        }
        let settings = BehaviourConfig {
            network,
            mdns,
            ping_interval: tuning.ping_interval,
            max_gossip_frame: tuning.max_gossip_frame,
        };
        let behaviour = Behaviour::new(&identity.keypair(), &settings, &names, registry, &metrics)?;
        let mut swarm = build_swarm(&identity, behaviour)?;
        listen(&mut swarm, &listens)?;
        for address in &external {
            swarm.add_external_address(address.clone());
        }
        Ok(Self {
            swarm,
            names,
            me,
            private_only,
            target_peers,
            external,
            events,
            backlog: VecDeque::new(),
            commands,
            answers,
            peers: HashMap::new(),
            listening: BTreeSet::new(),
            book,
            dials: HashMap::new(),
            outbound: Outbound::new(),
            inbound: Inbound::new(),
            sending: Sending::new(),
            kept: KeptMessages::default(),
            undecided: Undecided::default(),
            hearing: Hearing::new(tuning.hearing),
            metrics,
            libp2p_metrics: Libp2pMetrics::new(registry),
            next_probe: now,
            next_walk: now,
            tuning,
        })
    }

    /// Runs until it is cancelled, or nobody is left who could speak to it.
    pub(super) async fn run(mut self, mut cancel: watch::Receiver<bool>) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let turn = tokio::select! {
                biased;
                _ = cancel.wait_for(|cancelled| *cancelled) => break,
                turn = self.turn(&mut tick) => turn,
            };
            match turn {
                Turn::Swarm(event) => {
                    self.libp2p_metrics.record(&event, |peer| self.swarm.is_connected(peer));
                    self.on_swarm_event(*event);
                }
                Turn::Command(command) => {
                    // What the node answered before it gave the command comes before it.
                    self.take_answers();
                    self.on_command(command);
                }
                Turn::Answer(answer) => self.on_answer(answer),
                Turn::Tick => self.on_tick(Instant::now()),
                Turn::Room => {}
                Turn::Alone => break,
            }
        }
        Box::pin(self.leave()).await;
    }

    /// The next thing to handle. Its order is random, so that none starves.
    async fn turn(&mut self, tick: &mut tokio::time::Interval) -> Turn {
        let Self { swarm, events, backlog, commands, answers, .. } = self;
        tokio::select! {
            event = swarm.select_next_some(), if backlog.is_empty() => Turn::Swarm(Box::new(event)),
            command = commands.recv() => command.map_or(Turn::Alone, Turn::Command),
            Some(answer) = answers.recv() => Turn::Answer(answer),
            room = events.reserve(), if !backlog.is_empty() => match room {
                Ok(slot) => {
                    if let Some(event) = backlog.pop_front() {
                        slot.send(event);
                    }
                    Turn::Room
                }
                Err(_) => Turn::Alone,
            },
            _ = tick.tick() => Turn::Tick,
        }
    }

    /// Does what was asked before the end, and gives it a moment to get out.
    async fn leave(mut self) {
        self.take_answers();
        while let Ok(command) = self.commands.try_recv() {
            self.on_command(command);
        }
        let linger =
            tokio::time::sleep(if self.peers.is_empty() { Duration::ZERO } else { LINGER });
        tokio::pin!(linger);
        loop {
            tokio::select! {
                () = &mut linger => break,
                _ = self.swarm.select_next_some() => {}
            }
        }
        let peers: Vec<_> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let closing = async {
            while self.swarm.network_info().connection_counters().num_established() > 0 {
                self.swarm.select_next_some().await;
            }
        };
        // A connection that does not close in time is dropped with the swarm.
        let _ = tokio::time::timeout(LINGER, closing).await;
    }

    fn take_answers(&mut self) {
        while let Ok(answer) = self.answers.try_recv() {
            self.on_answer(answer);
        }
    }

    /// Tells the node what it must hear; when its queue is full, later.
    pub(super) fn tell(&mut self, event: NetEvent) {
        if !self.backlog.is_empty() {
            self.backlog.push_back(event);
        } else if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
            self.backlog.push_back(event);
        }
    }

    /// Whether the node keeps up: else what can be done without is shed.
    pub(super) fn has_room(&self) -> bool {
        self.backlog.is_empty() && self.events.capacity() > self.events.max_capacity() / 2
    }

    /// Tells the node what it can do without, if it keeps up.
    pub(super) fn tell_if_room(&mut self, event: NetEvent) {
        if self.has_room() {
            self.tell(event);
        }
    }

    fn on_command(&mut self, command: NetCommand) {
        let now = Instant::now();
        match command {
            NetCommand::Dial { address, reply } => self.dial_asked(address, reply),
            NetCommand::Request { ticket, protocol, bytes } => {
                let peer = ticket.peer;
                if self.peers.contains_key(&peer) {
                    self.outbound.push(Job::new(ticket, protocol, bytes, now));
                    self.pump(&peer);
                } else {
                    ticket.end(Err(RequestError::NotConnected(peer)));
                }
            }
            NetCommand::Publish { topic, payload } => self.publish(topic, payload, now),
            NetCommand::Disconnect { peer, no_redial_for } => {
                if !no_redial_for.is_zero() {
                    self.book.shut(&peer, now + no_redial_for);
                }
                self.disconnect(&peer, "closed by this node");
            }
            NetCommand::Ban(peer) => {
                self.swarm.behaviour_mut().gate.ban(peer);
                if let (Some(id), Some(entry)) = (to_libp2p(&peer), self.peers.get_mut(&peer)) {
                    entry.leaving = Some(Leaving::now("banned"));
                    let _ = self.swarm.disconnect_peer_id(id);
                }
            }
            NetCommand::Unban(peer) => self.swarm.behaviour_mut().gate.unban(&peer),
            NetCommand::AddKnown { peer, addresses } => {
                for address in &addresses {
                    self.book.add(peer, address, Source::Vouched, now);
                }
                self.dial_due(now);
            }
            NetCommand::Peers(reply) => {
                let _ = reply.send(self.snapshot(now));
            }
            NetCommand::Addresses(reply) => {
                let own = offered(self.listening.iter().cloned(), &self.external);
                let _ = reply.send(own.iter().map(ToString::to_string).collect());
            }
        }
    }

    fn snapshot(&self, now: Instant) -> Vec<PeerSnapshot> {
        let connection = |connection: &Connection| ConnectionSnapshot {
            address: connection.address.to_string(),
            inbound: connection.inbound,
            round_trip: connection.round_trip,
        };
        self.peers
            .iter()
            .map(|(id, peer)| PeerSnapshot {
                peer: *id,
                connections: peer.connections.iter().map(connection).collect(),
                agent: peer.agent.clone(),
                same_network: peer.same_network,
                topics: peer.topics.iter().copied().collect(),
                connected_for: now.duration_since(peer.since),
            })
            .collect()
    }

    fn on_answer(&mut self, answer: NetAnswer) {
        match answer {
            NetAnswer::Respond { reply, protocol, bytes } => self.respond(&reply, protocol, bytes),
            NetAnswer::Drop(reply) => {
                if let Some((protocol, ..)) = self.inbound.take(&reply) {
                    self.metrics.request_served(protocol.code(), "unanswered");
                }
            }
            NetAnswer::Verdict { message, verdict } => {
                if let Some(topic) = self.undecided.decide(&message) {
                    self.decided(&message, topic, verdict);
                }
            }
        }
    }

    fn respond(&mut self, reply: &ReplyId, protocol: Protocol, bytes: Vec<u8>) {
        let Some((asked_on, channel, peer)) = self.inbound.take(reply) else { return };
        if asked_on == protocol {
            if self.sending.has_room(&peer, bytes.len()) {
                self.metrics.request_served(protocol.code(), "answered");
                self.send_response(peer, protocol, channel, bytes);
            } else {
                self.respond_busy(peer, protocol, channel);
            }
        } else {
            tracing::error!(
                ?asked_on,
                ?protocol,
                "an answer of another protocol than its request's is dropped"
            );
        }
    }

    pub(super) fn send_response(
        &mut self,
        peer: PeerId,
        protocol: Protocol,
        channel: ReplyChannel,
        bytes: Vec<u8>,
    ) {
        let (request, channel) = channel;
        let size = bytes.len();
        let sent = self
            .swarm
            .behaviour_mut()
            .requests(protocol)
            .send_response(channel, Frame::Outgoing(bytes));
        // An error means that the peer no longer waits.
        if sent.is_ok() {
            self.sending.begun((protocol, request), peer, size);
        }
    }

    pub(super) fn respond_busy(&mut self, peer: PeerId, protocol: Protocol, channel: ReplyChannel) {
        let busy = match protocol {
            Protocol::Hello => Response::Hello(HelloResponse::Busy),
            Protocol::Friends => Response::Friends(FriendsResponse::Busy),
            Protocol::Chat => Response::Chat(ChatResponse::Busy),
            Protocol::Sync => Response::Sync(SyncResponse::Busy),
        };
        if let Ok(bytes) = busy.encode() {
            self.metrics.request_served(protocol.code(), "busy");
            self.send_response(peer, protocol, channel, bytes);
        }
    }

    /// Sends what may be sent to a peer now.
    pub(super) fn pump(&mut self, peer: &PeerId) {
        let Some(id) = to_libp2p(peer) else { return };
        while let Some(Job { ticket, protocol, bytes, .. }) = self.outbound.next(peer) {
            let request = self
                .swarm
                .behaviour_mut()
                .requests(protocol)
                .send_request(&id, Frame::Outgoing(bytes));
            self.outbound.sent((protocol, request), ticket, Instant::now());
        }
    }

    pub(super) fn publish(&mut self, topic: Topic, payload: Vec<u8>, now: Instant) {
        let Some(hash) = self.names.hash_of(topic) else { return };
        match self.swarm.behaviour_mut().gossip.publish(hash, payload.clone()) {
            Ok(_) => {}
            Err(gossipsub::PublishError::NoPeersSubscribedToTopic) => {
                self.kept.keep(topic, payload, now)
            }
            // Duplicate: it is out already. The queues to all peers full: its id is offered to them
            // all the same.
            Err(error) => tracing::debug!(?topic, %error, "not published"),
        }
    }

    /// Publishes what waited for somebody to listen to this topic.
    pub(super) fn publish_kept(&mut self, topic: Topic, now: Instant) {
        for kept in self.kept.take(topic, now) {
            let Some(hash) = self.names.hash_of(topic) else { return };
            let sent = self.swarm.behaviour_mut().gossip.publish(hash, kept.payload.clone());
            if let Err(gossipsub::PublishError::NoPeersSubscribedToTopic) = sent {
                self.kept.put_back(kept);
            }
        }
    }

    /// Reports and counts a verdict on what came on one of the node's topics.
    pub(super) fn decided(&mut self, message: &GossipId, topic: Topic, verdict: Verdict) {
        self.metrics.verdict(topic.code(), verdict.code());
        self.report(message, verdict);
    }

    pub(super) fn report(&mut self, message: &GossipId, verdict: Verdict) {
        let acceptance = match verdict {
            Verdict::Accept => gossipsub::MessageAcceptance::Accept,
            Verdict::Ignore => gossipsub::MessageAcceptance::Ignore,
            Verdict::Reject => gossipsub::MessageAcceptance::Reject,
        };
        if let Some(source) = to_libp2p(&message.source) {
            let id = gossipsub::MessageId::from(message.id.to_vec());
            self.swarm
                .behaviour_mut()
                .gossip
                .report_message_validation_result(&id, &source, acceptance);
        }
    }

    /// Closes all connections to a peer, after the answers that are on their way to it.
    pub(super) fn disconnect(&mut self, peer: &PeerId, reason: &'static str) {
        let now = Instant::now();
        let Some(entry) = self.peers.get_mut(peer) else { return };
        entry.leaving.get_or_insert(Leaving { reason, from: now, by: now + LEAVE_TIME });
        self.leave_if_idle(peer, now);
    }

    /// An answer is out, or will not get out.
    pub(super) fn sent(&mut self, protocol: Protocol, request: InboundRequestId) {
        let Some(peer) = self.sending.ended(&(protocol, request)) else { return };
        if let Some(leaving) = self.peers.get_mut(&peer).and_then(|entry| entry.leaving.as_mut()) {
            leaving.from = Instant::now() + READ_TIME;
        }
    }

    /// Goes through with a disconnection when nothing is on its way any more, or its time is up.
    fn leave_if_idle(&mut self, peer: &PeerId, now: Instant) {
        let Some(leaving) = self.peers.get(peer).and_then(|entry| entry.leaving.as_ref()) else {
            return;
        };
        let waits = now < leaving.from || self.sending.is_sending(peer);
        if waits && now < leaving.by {
            return;
        }
        if let Some(id) = to_libp2p(peer) {
            let _ = self.swarm.disconnect_peer_id(id);
        }
    }

    /// Reconnects to a peer whose gossip has gone deaf: nothing else brings it back.
    pub(super) fn cure(&mut self, peer: &PeerId) {
        events::GossipDeaf { peer: *peer }.emit();
        self.disconnect(peer, "its gossip went deaf; connecting anew");
    }

    fn dial_asked(
        &mut self,
        address: Multiaddr,
        reply: oneshot::Sender<Result<PeerId, DialError>>,
    ) {
        let peer = peer_of(&address);
        let outcome = match peer {
            _ if peer == Some(self.me) || self.is_own(&address) => {
                Err(DialError::Oneself(address.to_string()))
            }
            Some(peer) if self.peers.contains_key(&peer) => Ok(peer),
            _ => {
                let options = dial_options(peer, vec![address.clone()]);
                let id = options.connection_id();
                match self.swarm.dial(options) {
                    Ok(()) => {
                        self.dials.insert(id, Dialing::Asked(address, reply));
                        return;
                    }
                    Err(error) => Err(super::swarm_events::dial_error(&address, peer, &error)),
                }
            }
        };
        let _ = reply.send(outcome);
    }

    /// Dials what the address book says is due.
    pub(super) fn dial_due(&mut self, now: Instant) {
        let Self { book, peers, swarm, target_peers, .. } = self;
        let enough = peers.len() >= *target_peers;
        let gate = &swarm.behaviour().gate;
        let due =
            book.due(now, enough, |peer| peers.contains_key(peer), |peer| !gate.is_banned(peer));
        for dial in due {
            if let Dial::Seed(address) = &dial
                && self.is_own(address)
            {
                let reason = DialError::Oneself(address.to_string()).to_string();
                self.book.remove_seed(address);
                self.tell_if_room(NetEvent::DialFailed { address: address.to_string(), reason });
                continue;
            }
            let options = match &dial {
                Dial::Peer(peer, addresses) => dial_options(Some(*peer), addresses.clone()),
                Dial::Seed(address) => dial_options(peer_of(address), vec![address.clone()]),
            };
            let id = options.connection_id();
            match self.swarm.dial(options) {
                Ok(()) => {
                    self.dials.insert(id, Dialing::Book(dial));
                }
                Err(error) => self.dial_failed(&dial, &error, now),
            }
        }
    }

    /// Whether the node listens there. Dialing it would not end well: the system connects the
    /// socket with itself.
    fn is_own(&self, address: &Multiaddr) -> bool {
        self.listening.contains(&without_peer(address))
    }

    fn on_tick(&mut self, now: Instant) {
        self.dial_due(now);
        self.outbound.expire(now, request_timeout(Protocol::Sync) + FLIGHT_GRACE);
        self.inbound.sweep(|(_, channel)| channel.is_open());
        for (message, topic) in self.undecided.expire(now) {
            self.decided(&message, topic, Verdict::Ignore);
        }
        for topic in self.kept.topics() {
            self.publish_kept(topic, now);
        }
        for peer in self.hearing.deaf(now) {
            self.cure(&peer);
        }
        let leaving: Vec<_> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.leaving.is_some())
            .map(|(peer, _)| *peer)
            .collect();
        for peer in leaving {
            self.leave_if_idle(&peer, now);
        }
        if self.next_probe <= now {
            self.next_probe = now + self.tuning.probe_interval;
            self.probe();
        }
        if self.next_walk <= now {
            self.walk(now);
        }
    }

    /// Lets peers hear that this node's gossip reaches them.
    fn probe(&mut self) {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let payload = probe(&self.me, time);
        // An error means that nobody listens.
        let _ = self.swarm.behaviour_mut().gossip.publish(self.names.alive.clone(), payload);
    }

    /// Looks for peers through peers. Not where public addresses must not be dialed: Kademlia
    /// would.
    fn walk(&mut self, now: Instant) {
        let knows_somebody = self.peers.values().any(|peer| peer.same_network);
        if self.private_only || !knows_somebody {
            return;
        }
        self.next_walk = now + self.tuning.walk_interval;
        let target: [u8; 32] = rand::random();
        self.swarm.behaviour_mut().kad.get_closest_peers(target.to_vec());
    }
}

fn dial_options(peer: Option<PeerId>, addresses: Vec<Multiaddr>) -> DialOpts {
    // From a fresh port: two nodes that dial each other at once from the ports that they listen on
    // would share one TCP connection, with nobody to answer.
    if let Some((peer, id)) = peer.and_then(|peer| to_libp2p(&peer).map(|id| (peer, id))) {
        let addresses = addresses.iter().map(|address| with_peer(address, &peer)).collect();
        // A dial that is already under way does not stand in the way of another: it may be to the
        // wrong address.
        let options = DialOpts::peer_id(id).condition(PeerCondition::Disconnected);
        options.addresses(addresses).allocate_new_port().build()
    } else {
        let address = addresses.into_iter().next().unwrap_or_else(Multiaddr::empty);
        DialOpts::unknown_peer_id().address(address).allocate_new_port().build()
    }
}

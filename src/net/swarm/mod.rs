//! The swarm task owns the swarm and all state of the network.
//!
//! Each turn handles one item: an event of the swarm, a command, a response or verdict, or the
//! tick. No turn waits, so turns are short and no source starves another. While the node's queue is
//! full, the task stores events that must not be lost in `backlog`. It does not poll the swarm
//! until they are sent, which bounds the backlog.
//!
//! | file | concern |
//! |---|---|
//! | `events` | the swarm's events, identify, pings and discovery |
//! | `peers` | connections, their ends, snapshots |
//! | `dial` | dials and their failures |
//! | `gossip` | publishing, receiving, verdicts, probes |
//! | `reach` | how others reach this node: relays, confirmed addresses, and the way to each peer |
//! | `relays` | reservations with friends who relay for this node |
//! | `requests` | requests and responses |

mod dial;
mod events;
mod gossip;
mod peers;
mod reach;
mod relays;
mod requests;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

use dial::Dialing;
use futures::{
    StreamExt,
    future::{self, OptionFuture},
};
use libp2p::{
    Multiaddr, Swarm,
    request_response::InboundRequestId,
    swarm::{ConnectionId, SwarmEvent},
};
use peers::{Leaving, Peer};
use prometheus_client::registry::Registry;
use reach::Reach;
use requests::{FlightKey, ReplyChannel};
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval},
};

use super::{
    NetConfig, NetError, Tuning,
    address::{parse, parse_listen, without_peer},
    address_book::{AddressBook, Word},
    behaviour::{Behaviour, BehaviourConfig, BehaviourEvent, Names, request_timeout},
    copies::Copies,
    event::{NetEvent, RequestError},
    gossip::{GossipLiveness, UnheardGossip},
    handle::{NetAnswer, NetCommand, Told},
    inbound::Inbound,
    limits::{LINGER, MAX_KNOWN_ADDRESSES},
    listen::{build_swarm, listen},
    mapping::Mapping,
    metrics::Libp2pMetrics,
    peer::to_libp2p,
    requests::{Job, Outbound, Sending},
    wake::{self, Listening, Wakes},
};
use crate::{
    peers::{Budgets, Trust},
    primitives::PeerId,
    telemetry::metrics::NetMetrics,
    wire::{Protocol, Verdict},
};

/// Interval of the checks of the address book, time-outs and liveness.
const TICK: Duration = Duration::from_millis(250);
/// Time after its time-out at which a request in flight ends, even if libp2p has not reported it.
const FLIGHT_GRACE: Duration = Duration::from_secs(15);

/// The state of the network.
pub(super) struct Network {
    swarm: Swarm<Behaviour>,
    names: Names,
    me: PeerId,
    private_only: bool,
    target_peers: usize,
    trust: Trust,
    reach: Reach,
    tuning: Tuning,

    events: mpsc::Sender<NetEvent>,
    backlog: VecDeque<NetEvent>,
    commands: mpsc::Receiver<NetCommand>,
    answers: mpsc::Receiver<NetAnswer>,

    peers: HashMap<PeerId, Peer>,
    budgets: Budgets,
    /// Peers whose gossip is dropped until their budget has recovered.
    muted: HashSet<PeerId>,
    listening: Listening,
    book: AddressBook,
    copies: Copies,
    dials: HashMap<ConnectionId, Dialing>,
    outbound: Outbound<FlightKey>,
    inbound: Inbound<ReplyChannel>,
    /// Responses that libp2p holds and has not sent yet.
    sending: Sending<(Protocol, InboundRequestId)>,
    unheard: UnheardGossip,
    liveness: GossipLiveness,
    metrics: NetMetrics,
    libp2p_metrics: Libp2pMetrics,
    next_probe: Instant,
    next_walk: Instant,
    /// True if the last walk looked for a friend.
    walks_for_friend: bool,
    wakes: Wakes,
}

/// Parses addresses to listen on.
fn listen_addresses(texts: &[String]) -> Result<Vec<Multiaddr>, NetError> {
    texts.iter().map(|text| Ok(parse_listen(text)?)).collect()
}

/// Adds the addresses that the node dials until they are connected.
fn add_seeds(
    book: &mut AddressBook,
    peers: &[String],
    meeting_place: Option<&str>,
    now: Instant,
) -> Result<(), NetError> {
    for text in peers {
        book.add_seed(parse(text)?, now);
    }
    if let Some(place) = meeting_place {
        book.add_meeting_place(parse(place)?, now);
    }
    Ok(())
}

/// Parses addresses at which others reach this node.
fn parsed(texts: &[String]) -> Result<Vec<Multiaddr>, NetError> {
    let address = |text: &String| Ok(without_peer(&parse(text)?));
    texts.iter().map(address).collect()
}

/// One item to handle.
enum Turn {
    Swarm(Box<SwarmEvent<BehaviourEvent>>),
    Command(NetCommand),
    Answer(NetAnswer),
    Tick,
    /// An event of the backlog was sent.
    Room,
    /// All handles are dropped, or the node reads no more events.
    Alone,
}

impl Network {
    /// Builds the swarm and listens.
    pub(super) fn new(
        config: NetConfig,
        registry: &mut Registry,
        metrics: NetMetrics,
        events: mpsc::Sender<NetEvent>,
        commands: mpsc::Receiver<NetCommand>,
        answers: mpsc::Receiver<NetAnswer>,
    ) -> Result<Self, NetError> {
        let now = Instant::now();
        let names = Names::new(&config.network)?;
        let listens = listen_addresses(&config.listen)?;
        let external = parsed(&config.external)?;
        let (me, back_off) = (config.identity.peer_id(), config.tuning.back_off);
        let (trust, seed, copies) = (config.trust, rand::random(), Copies::default());
        let mut book = AddressBook::new(me, config.private_only, back_off, trust.clone(), seed);
        add_seeds(&mut book, &config.peers, config.meeting_place.as_deref(), now)?;
        let settings = BehaviourConfig {
            network: config.network,
            mdns: config.mdns,
            tuning: config.tuning.clone(),
            trust: trust.clone(),
            external: external.clone(),
            port_mapping: config.port_mapping,
        };
        let keypair = config.identity.keypair();
        let mut swarm = build_swarm(&config.identity, trust.clone(), copies.calls(), |circuits| {
            Behaviour::new(&keypair, &settings, &names, circuits, registry, &metrics)
        })?;
        listen(&mut swarm, &listens)?;
        for address in &external {
            swarm.add_external_address(address.clone());
        }
        let reach = Reach::new(external, config.relays, config.private_only, config.port_mapping);
        Ok(Self {
            swarm,
            names,
            me,
            private_only: config.private_only,
            target_peers: config.target_peers,
            budgets: Budgets::new(trust.clone()),
            muted: HashSet::new(),
            trust,
            reach,
            events,
            backlog: VecDeque::new(),
            commands,
            answers,
            peers: HashMap::new(),
            listening: Listening::default(),
            book,
            copies,
            dials: HashMap::new(),
            outbound: Outbound::new(),
            inbound: Inbound::new(),
            sending: Sending::new(),
            unheard: UnheardGossip::default(),
            liveness: GossipLiveness::new(config.tuning.liveness),
            metrics,
            libp2p_metrics: Libp2pMetrics::new(registry),
            next_probe: now,
            next_walk: now + config.tuning.first_walk,
            walks_for_friend: false,
            wakes: Wakes::new(now, wake::suspended()),
            tuning: config.tuning,
        })
    }

    /// Runs until it is cancelled, all handles are dropped, or the node reads no more events.
    pub(super) async fn run(mut self, mut cancel: watch::Receiver<bool>) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let turn = tokio::select! {
                biased;
                _ = cancel.wait_for(|cancelled| *cancelled) => break,
                turn = self.turn(&mut tick) => turn,
            };
            // This comes first, since a request that timed out during sleep is no fault of the
            // peer.
            let now = Instant::now();
            if let Some(wake) = self.wakes.turn(now, wake::suspended()) {
                self.woke(wake, now);
            }
            match turn {
                Turn::Swarm(event) => {
                    self.libp2p_metrics.record(&event, |peer| self.swarm.is_connected(peer));
                    self.on_swarm_event(*event);
                }
                Turn::Command(command) => {
                    // Responses and verdicts that the node sent before the command come first.
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

    /// Returns the next item to handle. The order among the sources is random, so that none
    /// starves.
    ///
    /// # Cancel safety
    /// Nothing is lost: each branch only receives, or waits for room before it takes an event.
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

    /// Handles the remaining commands, lets their messages leave, and closes all connections.
    async fn leave(mut self) {
        self.take_answers();
        while let Ok(command) = self.commands.try_recv() {
            self.on_command(command);
        }
        let linger =
            tokio::time::sleep(if self.peers.is_empty() { Duration::ZERO } else { LINGER });
        let mapping = self.swarm.behaviour_mut().mapping.as_mut();
        let linger = future::join(linger, OptionFuture::from(mapping.map(Mapping::release)));
        tokio::pin!(linger);
        loop {
            tokio::select! {
                _ = &mut linger => break,
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

    /// Emits an event that must not be lost. The backlog stores it while the node's queue is full.
    fn emit(&mut self, event: NetEvent) {
        if !self.backlog.is_empty() {
            self.backlog.push_back(event);
        } else if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
            self.backlog.push_back(event);
        }
    }

    /// True if the node keeps up. Otherwise events that may be lost are dropped.
    fn has_room(&self) -> bool {
        self.backlog.is_empty() && self.events.capacity() > self.events.max_capacity() / 2
    }

    /// True if the node keeps up with events from this peer. Peers that are no friends may fill
    /// only a quarter of the queue, so that friends find room.
    fn has_room_for(&self, peer: &PeerId) -> bool {
        let most = self.events.max_capacity();
        self.has_room()
            && (self.trust.is_friend(peer)
                || self.events.capacity() > most.saturating_sub(most / 4))
    }

    /// Emits an event that this peer caused and that may be lost, if the node keeps up with it.
    fn emit_if_room_for(&mut self, peer: &PeerId, event: NetEvent) {
        if self.has_room_for(peer) {
            self.emit(event);
        }
    }

    /// Emits an event that may be lost, if the node keeps up.
    fn emit_if_room(&mut self, event: NetEvent) {
        if self.has_room() {
            self.emit(event);
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
            NetCommand::Greeted(peer) => {
                if let Some(entry) = self.peers.get_mut(&peer) {
                    entry.greeted = true;
                }
            }
            NetCommand::Useful(peer) => {
                self.swarm.behaviour_mut().gate.places().useful(&peer, now);
                self.budgets.useful(peer, now);
            }
            NetCommand::Mute { peer, topic, time } => {
                if let Some(topic) = self.names.hash_of(topic) {
                    self.door().mute(peer, topic, now + time);
                }
            }
            NetCommand::AddKnown { peer, addresses, told } => {
                self.add_known(peer, &addresses, told, now);
            }
            NetCommand::Peers(reply) => {
                let _ = reply.send(self.snapshot(now));
            }
            NetCommand::Addresses(reply) => {
                let own = self.own_addresses();
                let _ = reply.send(own.iter().map(ToString::to_string).collect());
            }
        }
    }

    fn add_known(&mut self, peer: PeerId, addresses: &[Multiaddr], told: Told, now: Instant) {
        match told {
            Told::ByUser | Told::Before => {
                for address in addresses {
                    self.book.add_proven(peer, address, told == Told::ByUser, now);
                }
            }
            Told::By(teller) => {
                let connections = self.peers.get(&teller).map_or(&[][..], |it| &it.connections);
                let from = connections.iter().map(|connection| &connection.address);
                let word = Word::of(teller, from, true);
                for address in addresses.iter().take(MAX_KNOWN_ADDRESSES) {
                    self.book.add_hint(peer, address, &word, now);
                }
            }
        }
        self.dial_due(now);
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
                let topic = self.door().pending.decide(&message);
                if let Some(topic) = topic {
                    self.decided(&message, topic, verdict);
                }
            }
        }
    }

    fn on_tick(&mut self, now: Instant) {
        self.dial_due(now);
        self.look_for_copies(now);
        self.outbound.expire(now, request_timeout(Protocol::Sync) + FLIGHT_GRACE);
        for (id, bytes) in self.outbound.growing() {
            self.emit_if_room(NetEvent::ResponseGrows { id, bytes });
        }
        self.inbound.sweep(|(_, channel)| channel.is_open());
        self.door().sweep(now);
        let late = self.door().pending.expire(now);
        for (message, topic) in late {
            self.decided(&message, topic, Verdict::Ignore);
        }
        for topic in self.unheard.topics() {
            self.publish_unheard(topic, now);
        }
        let Self { liveness, swarm, .. } = self;
        let behaviour = swarm.behaviour();
        let is_graylisted =
            |peer: &PeerId| to_libp2p(peer).is_some_and(|id| behaviour.is_graylisted(&id));
        for peer in liveness.silent(now, is_graylisted) {
            self.reconnect(&peer);
        }
        self.check_listening(now);
        self.keep_reachable(now);
        self.leave_those_due(now);
        self.close_spare_connections(now);
        self.unmute(now);
        if self.next_probe <= now {
            self.next_probe = now + self.tuning.probe_interval;
            self.probe();
        }
        if self.next_walk <= now {
            self.walk(now);
        }
    }

    /// Searches for peers through connected peers. A private network does not: its nodes find each
    /// other by mDNS and profiles.
    fn walk(&mut self, now: Instant) {
        let knows_somebody = self.peers.values().any(|peer| peer.same_network);
        if self.private_only || !knows_somebody {
            return;
        }
        self.next_walk = now + self.tuning.walk_interval;
        let kad = &mut self.swarm.behaviour_mut().kad;
        // Every other walk looks for a friend who is away.
        self.walks_for_friend = !self.walks_for_friend;
        let friend = self.book.absent_friend().filter(|_| self.walks_for_friend);
        if let Some(friend) = friend.and_then(|friend| to_libp2p(&friend)) {
            kad.get_closest_peers(friend);
        } else {
            let target: [u8; 32] = rand::random();
            kad.get_closest_peers(target.to_vec());
        }
    }
}

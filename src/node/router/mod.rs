//! The node task: what the network, the chain, the miners and the commands say goes through here,
//! and what the machines of sync and relay answer is carried out.
//!
//! Owned by itself alone; asked through [`RouterHandle`]. It never waits for the chain, the disk or
//! a peer: it spawns a small task for each question, and the answer comes back as a [`Done`]. The
//! number of such tasks is bounded by what the machines keep in flight, by the requests that `net`
//! lets in, and by the queue of commands.

mod actions;
mod chat;
mod handle;
mod hello;
mod serve;
mod shown;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{Semaphore, broadcast, mpsc, oneshot},
    time::{Instant, MissedTickBehavior},
};

use handle::NodeCommand;
pub(in crate::node) use handle::{LiveStatus, RouterHandle};
use hello::log_unsent;
pub(in crate::node) use shown::is_far_off;

use super::{clock::now, keyring::Keyring, service::Ledger};
use crate::{
    chain::api::{ChainEvent, MempoolEntry, Origin},
    consensus::{Network, Work},
    friends::{FriendsEvent, FriendsHandle},
    miner::MiningMode,
    net::{GossipId, Identity, NetEvent, NetHandle},
    peers::{Ban, Offence, Peers},
    primitives::{Address, BlockHash, Header, PeerId, TxId, UnixMillis},
    relay::{Relay, RelayConfig, RelayEvent},
    rpc::{
        EventFeed,
        types::{BanState, ConsoleEvent},
    },
    sync::{Sync, SyncConfig, SyncEvent, SyncReport},
    telemetry::{events, metrics::EventMetrics},
    wire::{MessageId, SignedLine, SignedProfile, Status, limits::MAX_ADDRESSES},
};

/// Answers of spawned tasks that wait for the router.
const DONE_QUEUE: usize = 1_024;

/// Disk reads for peers at once: two keep the disk busy, more would only queue inside it.
const SERVING: usize = 2;

/// Requests of peers on `sync` that are worked on or wait for the disk; one more gets Busy.
const ADMITTED: usize = 64;

/// How often time passes for the machines.
const TICK: Duration = Duration::from_millis(250);

/// Why the friends thread has ended: it says more in the log.
const FRIENDS_FAILED: &str = "friends.redb could not be read or written: check the disk's free \
     space and health, then start again";

/// How often what time has healed is forgotten, and what waits is tried again.
const HOUSEKEEPING: Duration = Duration::from_secs(30);

/// A connected peer.
#[derive(Debug)]
struct Connected {
    address: String,
    inbound: bool,
    since: UnixMillis,
    /// Its last Status: none before its hello.
    status: Option<Status>,
    /// Its clock less ours, when it said hello.
    clock_offset_ms: Option<i64>,
    /// When the minute began that its requests are counted in.
    minute: Instant,
    /// How many there were in it on `hello`.
    hellos: u32,
    /// How many there were in it on `friends`.
    friends_requests: u32,
    /// It is of another network, and about to be left.
    foreign: bool,
}

/// What an own request to a peer was for. Sync's and the relay's go by the ranges of their ids.
#[derive(Debug)]
enum Purpose {
    Hello,
    Explore,
    Introduce,
    /// A direct line; the waiter is told whether it was delivered.
    Line {
        id: MessageId,
        waiter: Option<oneshot::Sender<bool>>,
    },
}

/// What a spawned task brings back.
#[derive(Debug)]
enum Done {
    Sync(SyncEvent),
    Relay(RelayEvent<GossipId>),
    /// A friend's profile is kept.
    Profile(Box<SignedProfile>),
    /// A line of ours is on disk, and goes to its receiver.
    Line {
        line: Box<SignedLine>,
        id: MessageId,
        waiter: Option<oneshot::Sender<bool>>,
    },
    /// More may wait for this friend.
    Outbox(PeerId),
    /// A peer did wrong.
    Offence {
        peer: PeerId,
        offence: Offence,
        reason: String,
    },
    /// Something for the consoles.
    Console(Vec<ConsoleEvent>),
    /// Our own profile, signed anew.
    OwnProfile(Box<SignedProfile>),
}

/// What the router is made of.
pub(in crate::node) struct Parts {
    /// The chain's network.
    pub(in crate::node) network: Arc<Network>,
    /// Who this node is.
    pub(in crate::node) identity: Identity,
    /// What it calls itself.
    pub(in crate::node) name: String,
    /// The network.
    pub(in crate::node) net: NetHandle,
    /// What the network says.
    pub(in crate::node) net_events: mpsc::Receiver<NetEvent>,
    /// The chain and its miners.
    pub(in crate::node) ledger: Ledger,
    /// What the chain says.
    pub(in crate::node) chain_events: mpsc::Receiver<ChainEvent>,
    /// Headers that the miners have solved.
    pub(in crate::node) solved: mpsc::Receiver<Header>,
    /// Friends and messages.
    pub(in crate::node) friends: FriendsHandle,
    /// The wallet, for the payment address of the profile.
    pub(in crate::node) keyring: Keyring,
    /// What consoles show.
    pub(in crate::node) feed: EventFeed,
    /// Scores and bans, with the bans that were kept.
    pub(in crate::node) peers: Peers,
    /// The work of the invite's checkpoint, or zero.
    pub(in crate::node) min_work: Work,
    /// Trades that wait in the mempool already.
    pub(in crate::node) mempool: Vec<MempoolEntry>,
    /// When to mine, once the chain is as far as the friends'.
    pub(in crate::node) mining: MiningMode,
    /// What is counted here.
    pub(in crate::node) metrics: EventMetrics,
}

/// The node task's state.
pub(in crate::node) struct Router {
    network: Arc<Network>,
    identity: Identity,
    name: String,
    net: NetHandle,
    ledger: Ledger,
    friends: FriendsHandle,
    keyring: Keyring,
    feed: EventFeed,
    sync: Sync,
    relay: Relay<GossipId>,
    peers: Peers,
    connected: HashMap<PeerId, Connected>,
    /// Own requests in flight, by id.
    requests: HashMap<u64, (PeerId, Purpose)>,
    next_request: u64,
    /// `sync` commands that wait.
    syncs: HashMap<u64, oneshot::Sender<SyncReport>>,
    next_ticket: u64,
    /// Own trades of which the console is told when they are mined.
    own_trades: HashSet<TxId>,
    /// Lines whose delivery is the answer to a command, and so no news to the consoles.
    awaited: HashSet<MessageId>,
    profile: Option<SignedProfile>,
    listen: Vec<String>,
    done: mpsc::Sender<Done>,
    serving: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
    mining: MiningMode,
    /// The fork that was last told of, while the chain is diverged.
    fork: Option<BlockHash>,
    housekeeping: Instant,
    metrics: EventMetrics,
}

/// The ends of the arrows that come in.
struct Inbox {
    net: mpsc::Receiver<NetEvent>,
    chain: mpsc::Receiver<ChainEvent>,
    solved: mpsc::Receiver<Header>,
    done: mpsc::Receiver<Done>,
    commands: mpsc::Receiver<NodeCommand>,
    friends: broadcast::Receiver<FriendsEvent>,
}

/// Why the router has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::node) enum Ended {
    /// It was asked to.
    Stopped,
    /// Something that the node cannot go on without has failed: a sentence.
    Failed(String),
}

impl Router {
    /// Starts the node task. It ends at `stop`, or when the chain or the network has failed.
    pub(in crate::node) fn spawn(parts: Parts) -> (RouterHandle, tokio::task::JoinHandle<Ended>) {
        let (commands, command_queue) = RouterHandle::new();
        let (done, done_queue) = mpsc::channel(DONE_QUEUE);
        let summary = parts.ledger.chain.summary();
        let config = SyncConfig {
            min_work: parts.min_work,
            tip: summary.tip,
            best_header: summary.best_header,
            diverged: summary.diverged.is_some(),
            now: now(),
        };
        let inbox = Inbox {
            net: parts.net_events,
            chain: parts.chain_events,
            solved: parts.solved,
            done: done_queue,
            commands: command_queue,
            friends: parts.friends.subscribe(),
        };
        let router = Self {
            sync: Sync::new(config),
            relay: Relay::new(RelayConfig {
                spacing_ms: parts.network.params.spacing_ms,
                tip: summary.tip,
            }),
            network: parts.network,
            identity: parts.identity,
            name: parts.name,
            net: parts.net,
            ledger: parts.ledger,
            friends: parts.friends,
            keyring: parts.keyring,
            feed: parts.feed,
            peers: parts.peers,
            connected: HashMap::new(),
            requests: HashMap::new(),
            next_request: 0,
            syncs: HashMap::new(),
            next_ticket: 0,
            own_trades: HashSet::new(),
            awaited: HashSet::new(),
            profile: None,
            listen: Vec::new(),
            done,
            serving: Arc::new(Semaphore::new(SERVING)),
            admitted: Arc::new(Semaphore::new(ADMITTED)),
            mining: parts.mining,
            fork: None,
            housekeeping: Instant::now(),
            metrics: parts.metrics,
        };
        let mempool = parts.mempool;
        let task = tokio::spawn(router.run(inbox, mempool));
        (commands, task)
    }

    async fn run(mut self, mut inbox: Inbox, mempool: Vec<MempoolEntry>) -> Ended {
        for entry in mempool {
            if entry.local {
                self.own_trades.insert(entry.txid);
            }
            self.trade_added(entry);
        }
        self.sign_profile();
        self.show_divergence(self.ledger.chain.summary().diverged);
        let mut summaries = self.ledger.chain.watch();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ended = loop {
            tokio::select! {
                // Ends and answers first: they make room for what follows.
                biased;
                Some(command) = inbox.commands.recv() => {
                    if let NodeCommand::Stop = command {
                        break Ended::Stopped;
                    }
                    self.on_command(command);
                }
                Some(done) = inbox.done.recv() => self.on_done(done),
                event = inbox.chain.recv() => match event {
                    Some(ChainEvent::Failed(fault)) => break Ended::Failed(fault.to_string()),
                    Some(event) => self.on_chain(event),
                    None => break Ended::Failed("the chain thread has ended".to_owned()),
                },
                Some(header) = inbox.solved.recv() => self.relay(RelayEvent::Solved { header: Box::new(header) }),
                Ok(()) = summaries.changed() => {
                    let summary = summaries.borrow_and_update().clone();
                    let diverged = summary.diverged.is_some();
                    self.sync(SyncEvent::Summary { tip: summary.tip, best_header: summary.best_header, diverged });
                    self.show_divergence(summary.diverged);
                }
                event = inbox.friends.recv() => match event {
                    Ok(event) => self.show_friends(event),
                    Err(broadcast::error::RecvError::Lagged(missed)) => {
                        tracing::debug!(missed, "the console's feed missed some of what friends \
                             did");
                    }
                    Err(broadcast::error::RecvError::Closed) => {}
                },
                _ = tick.tick() => {
                    if self.friends.is_closed() {
                        break Ended::Failed(FRIENDS_FAILED.to_owned());
                    }
                    self.sync(SyncEvent::Tick);
                    self.relay(RelayEvent::Tick);
                    if self.housekeeping.elapsed() >= HOUSEKEEPING {
                        self.keep_house();
                    }
                }
                event = inbox.net.recv() => match event {
                    Some(event) => self.on_net(event),
                    None => break Ended::Failed("the network task has ended".to_owned()),
                },
            }
        };
        self.publish_quit().await;
        self.net.shutdown().await;
        ended
    }

    /// Runs work beside the router; what it brings back is a [`Done`].
    fn spawn_work(&self, work: impl Future<Output = Option<Done>> + Send + 'static) {
        let done = self.done.clone();
        tokio::spawn(async move {
            if let Some(brought) = work.await {
                // The router has ended, and nobody needs it.
                let _ = done.send(brought).await;
            }
        });
    }

    fn on_chain(&mut self, event: ChainEvent) {
        match event {
            ChainEvent::TipChanged { tip, disconnected, connected, mined } => {
                self.metrics.tip_changed(disconnected.len(), connected.len());
                if !disconnected.is_empty() {
                    let disconnected = u32::try_from(disconnected.len()).unwrap_or(u32::MAX);
                    self.feed.push(ConsoleEvent::Reorganised {
                        tip: tip.hash,
                        height: tip.height,
                        disconnected,
                    });
                }
                self.show_connected(&connected, &mined);
                let summary = self.ledger.chain.summary();
                // A branch that is not taken is no reason to keep our own to ourselves.
                let best_header =
                    if summary.diverged.is_some() { tip } else { summary.best_header };
                self.relay(RelayEvent::TipChanged { tip, best_header, connected, mined });
            }
            ChainEvent::TradeAccepted { entry, origin } => {
                self.metrics.trade_accepted(entry.local);
                if origin == Origin::Local {
                    self.own_trades.insert(entry.txid);
                }
                self.trade_added(entry);
            }
            ChainEvent::TradeVoid { txid, reason } => {
                self.metrics.trade_dropped("void");
                self.own_trades.remove(&txid);
                self.feed.push(ConsoleEvent::TradeVoid { txid, reason });
                self.relay(RelayEvent::TradeGone { txid });
            }
            ChainEvent::TradeDropped { txid, reason } => {
                self.metrics.trade_dropped(reason.code());
                self.relay(RelayEvent::TradeGone { txid });
            }
            ChainEvent::Failed(_) => {}
        }
    }

    fn trade_added(&mut self, entry: MempoolEntry) {
        self.relay(RelayEvent::TradeAdded {
            txid: entry.txid,
            transaction: entry.transaction,
            added: entry.added,
            local: entry.local,
        });
    }

    fn on_done(&mut self, done: Done) {
        match done {
            Done::Sync(event) => self.sync(event),
            Done::Relay(event) => self.relay(event),
            Done::Profile(profile) => self.profile_kept(&profile),
            Done::Line { line, id, waiter } => self.send_line(*line, id, waiter),
            Done::Outbox(peer) => self.send_outbox(peer),
            Done::Offence { peer, offence, reason } => self.penalise(peer, offence, &reason),
            Done::Console(shown) => shown.into_iter().for_each(|event| self.feed.push(event)),
            Done::OwnProfile(profile) => self.own_profile_signed(&profile),
        }
    }

    fn on_command(&mut self, command: NodeCommand) {
        match command {
            NodeCommand::Status { reply } => {
                let _ = reply.send(LiveStatus {
                    progress: self.sync.progress(),
                    peers: u32::try_from(self.connected.len()).unwrap_or(u32::MAX),
                    listen: self.listen.clone(),
                    clock_offset_ms: self.clock_offset(),
                });
            }
            NodeCommand::Peers { reply } => self.tell_peers(reply),
            NodeCommand::InviteAddresses { reply } => self.tell_addresses(reply),
            NodeCommand::Chat { friend, text, reply } => self.chat(friend, text, reply),
            NodeCommand::Broadcast { text, reply } => self.broadcast(text, reply),
            NodeCommand::Sync { peer, reply } => {
                self.next_ticket = self.next_ticket.wrapping_add(1);
                self.syncs.insert(self.next_ticket, reply);
                self.sync(SyncEvent::SyncNow { ticket: self.next_ticket, peer });
            }
            NodeCommand::Ban { peer, banned, reply } => {
                if banned {
                    let ban = self.peers.ban(peer);
                    self.shut_out(ban);
                } else {
                    self.peers.unban(&peer);
                    self.let_in(peer);
                }
                let _ = reply.send(BanState { peer_id: peer, banned });
            }
            NodeCommand::Stop => {}
        }
    }

    /// Lowers a peer's score; a ban ends its connections.
    fn penalise(&mut self, peer: PeerId, offence: Offence, reason: &str) {
        self.metrics.peer_penalised(offence.code());
        if let Some(ban) = self.peers.penalise(peer, offence, reason, now()).banned {
            self.shut_out(ban);
        }
    }

    /// Carries a ban out, and keeps it: it outlives the node.
    fn shut_out(&self, ban: Ban) {
        log_unsent(self.net.ban(ban.peer));
        let friends = self.friends.clone();
        self.spawn_work(async move {
            if let Err(error) = friends.keep_ban(ban).await {
                tracing::warn!(%error, "a ban could not be kept");
            }
            None
        });
    }

    fn let_in(&self, peer: PeerId) {
        log_unsent(self.net.unban(peer));
        let friends = self.friends.clone();
        self.spawn_work(async move {
            if let Err(error) = friends.forget_ban(peer).await {
                tracing::warn!(%error, "the end of a ban could not be kept");
            }
            None
        });
    }

    fn keep_house(&mut self) {
        self.housekeeping = Instant::now();
        events::emit_suppressed();
        for peer in self.peers.decay(now()) {
            self.let_in(peer);
        }
        // What a full queue or a busy peer may have swallowed.
        self.apply_mining_mode();
        let met = |state: &Connected| state.status.is_some() || state.foreign;
        let strangers: Vec<PeerId> =
            self.connected.iter().filter(|(_, state)| !met(state)).map(|(peer, _)| *peer).collect();
        for peer in strangers {
            self.say_hello(peer);
        }
        for peer in self.connected.keys().filter(|peer| self.peers.is_banned(peer, now())) {
            log_unsent(self.net.ban(*peer));
        }
        // The wallet may have been made since, and lines may have met a friend who was busy.
        self.sign_profile();
        let here: Vec<PeerId> = self.connected.keys().copied().collect();
        let (friends, done) = (self.friends.clone(), self.done.clone());
        self.spawn_work(async move {
            for peer in friends.outbox_peers().await.ok()? {
                if here.contains(&peer) {
                    done.send(Done::Outbox(peer)).await.ok()?;
                }
            }
            None
        });
    }

    fn on_address(&mut self, address: String) {
        events::Listening { address: address.clone() }.emit();
        if !self.listen.contains(&address) {
            self.listen.push(address);
            self.sign_profile();
        }
    }

    /// Signs our profile anew, if anything in it has changed: the name, where we listen, and where
    /// coins for us go.
    fn sign_profile(&self) {
        let (friends, net, keyring) =
            (self.friends.clone(), self.net.clone(), self.keyring.clone());
        let (name, before) = (self.name.clone(), self.profile.clone());
        self.spawn_work(async move {
            let addresses: Vec<String> =
                net.addresses().await.ok()?.into_iter().take(MAX_ADDRESSES).collect();
            let payment = keyring.first_address().await.map(|Address(owner)| owner);
            let unchanged = |before: &SignedProfile| {
                before.name == name && before.addresses == addresses && before.payment == payment
            };
            if before.as_ref().is_some_and(unchanged) {
                return None;
            }
            match friends.set_own_profile(name, addresses, payment, now()).await {
                Ok(profile) => Some(Done::OwnProfile(Box::new(profile))),
                Err(error) => {
                    tracing::warn!(%error, "the profile could not be signed");
                    None
                }
            }
        });
    }

    fn finish_sync(&mut self, ticket: u64, report: SyncReport) {
        if let Some(reply) = self.syncs.remove(&ticket) {
            // Whoever asked has gone.
            let _ = reply.send(report);
        }
    }

    fn sync(&mut self, event: SyncEvent) {
        for action in self.sync.handle(event, now()) {
            self.sync_action(action);
        }
    }

    fn relay(&mut self, event: RelayEvent<GossipId>) {
        for action in self.relay.handle(event, now()) {
            self.relay_action(action);
        }
    }
}

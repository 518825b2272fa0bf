//! The router: the node's task between network, chain, miner, friends and commands.
//!
//! The router owns the state machines of sync and relay, the scores of the peers, and the list of
//! connections. It feeds the machines with events and carries out the actions that they return.
//! The commands of the RPC arrive through [`RouterHandle`].
//!
//! # Invariants
//! - The router never waits for the chain, the disk or a peer. For each such request it spawns a
//!   small task, which sends its result back as a [`Done`].
//! - The number of these tasks is bounded: by what the machines keep in flight, by the requests
//!   that `net` admits, and by the command queue.

mod actions;
mod answers;
mod attempts;
mod back;
mod bans;
mod catch_up;
mod chat;
mod copies;
mod counters;
mod couriers;
mod handle;
mod hello;
mod introductions;
mod leaving;
mod missed;
mod network;
mod news;
mod people;
mod reach;
mod sealed;
pub(crate) mod serve;
mod turns;
mod writers;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use attempts::Attempts;
pub(crate) use attempts::{Attempt, Failure};
use futures::future::BoxFuture;
use tokio::{
    sync::{Semaphore, broadcast, mpsc, oneshot},
    time::{Instant, MissedTickBehavior},
};

use back::Back;
use chat::{NewLine, Written};
use copies::Copy;
pub(crate) use copies::ENDED_AFTER;
pub(crate) use counters::event_metrics;
use couriers::Couriers;
use handle::NodeCommand;
pub(crate) use handle::{
    BroadcastLine, DirectLine, LineEnd, LineError, LiveStatus, NodeStopping, PeerTable,
    RouterHandle,
};
use missed::{Asked, Held};
pub(crate) use news::{News, NewsSink, TradeNews, TradeSink};
use reach::ReachState;
use sealed::{Carried, Carrying, Errand};
use serve::Arrived;
use turns::Turns;

use super::clock::{moment, moment_of, now};
use crate::{
    chain::{
        ChainHandle, ChainReader, ChainSummary,
        api::{ChainEvent, MempoolEntry, Origin},
    },
    consensus::{Network, Work},
    friends::{FriendsEvent, FriendsHandle, Missed, ReceiveError, SentLine},
    miner::MinerHandle,
    net::{GossipId, NetEvent, NetHandle},
    peers::{Offence, Peers, Trust},
    primitives::{
        Address, BlockHash, Header, MiningMode, Moment, PeerId, TransactionKind, TxId, UnixMillis,
    },
    relay::{Relay, RelayConfig, RelayEvent},
    sync::{Sync, SyncEvent, SyncReport},
    telemetry::{events, metrics::EventMetrics},
    wire::{MessageId, Request, SignedProfile, Status, SyncRequest},
};

/// Results of spawned tasks that may queue for the router. A task that finds the queue full waits.
const DONE_QUEUE: usize = 1_024;

/// Disk reads for peers that run at once; friends and all others have this many each. Two keep the
/// disk busy, and more would only queue inside it.
const SERVING: usize = 2;

/// Time without a tick after which the process must have slept. Time-outs from before then mean
/// nothing.
const SLEEP: Duration = Duration::from_secs(10);
/// Interval of the machines' ticks: as short as their shortest time-out.
const TICK: Duration = Duration::from_millis(250);

/// Interval of [`Router::greet_again`]. A peer that never says hello gets three attempts.
const GREETING: Duration = Duration::from_secs(5);

/// Interval of [`Router::keep_house`].
const HOUSEKEEPING: Duration = Duration::from_secs(30);

/// The reason for the node's end once the friends thread has ended. The log has the cause.
const FRIENDS_FAILED: &str = "friends.redb could not be read or written: check the disk's free \
     space and health, then start again";

/// A connected peer.
#[derive(Debug)]
struct Connected {
    address: String,
    /// True if the peer dialed.
    inbound: bool,
    since: UnixMillis,
    /// The peer's last Status. None before its hello.
    status: Option<Status>,
    /// The peer's wall clock less our monotonic one, at its last Status. A jump of our own wall
    /// clock does not change it.
    clock: Option<i64>,
    /// True once the network knows that the peer has said hello.
    greeted: bool,
    /// Requests that arrived before the peer's hello.
    before_hello: Vec<Arrived<Request>>,
    /// The time of the last Explore sent to the peer.
    explored: Option<Instant>,
    /// The pause after that Explore before the next one; `None` if there is no reason for another.
    ask_again: Option<Duration>,
    /// True if the peer is of another network; its connection is about to close.
    foreign: bool,
    /// The requests to the peer for missed lines.
    lines: Asked,
}

/// The purpose of a request of the router's own. Sync and relay recognise theirs by the range of
/// the id.
#[derive(Debug)]
enum Purpose {
    Hello,
    Explore,
    Introduce,
    /// A direct line.
    Line {
        id: MessageId,
    },
    /// A sealed line.
    Carry(Errand),
    /// A page of the ids of lines to all, from this place on.
    LineIds {
        place: u64,
    },
    /// Lines to all with these ids.
    Lines {
        asked: Vec<MessageId>,
    },
}

/// The result of a spawned task.
#[derive(Debug)]
enum Done {
    Sync(SyncEvent),
    Relay(RelayEvent<GossipId>),
    /// A friend's profile is stored.
    Profile(PeerId, Box<SignedProfile>),
    /// A direct line of a command is on disk.
    Written(Written),
    /// More lines may be queued for these friends.
    Waiting(Vec<PeerId>),
    /// The first lines that are queued for a friend.
    Outbox {
        peer: PeerId,
        lines: Vec<SentLine>,
    },
    /// The final state of a direct line is on disk.
    Settled {
        id: MessageId,
        end: LineEnd,
    },
    /// A step in the delivery of sealed lines.
    Carried(Carried),
    /// The missing lines of a page of a peer's list.
    MissedIds {
        peer: PeerId,
        next: u64,
        wanted: Vec<MessageId>,
    },
    /// The missed lines that a peer sent are stored or rejected.
    Missed {
        peer: PeerId,
        is_empty: bool,
        result: Result<Missed, ReceiveError>,
    },
    /// A profile that this peer sent is signed too far ahead of our clock.
    Ahead(PeerId),
    Offence {
        peer: PeerId,
        offence: Offence,
        reason: String,
    },
    News(Vec<News>),
    /// A request on `sync` was served.
    Served {
        peer: PeerId,
        of_friend: bool,
    },
    /// A copy of this folder has signed a profile in our name.
    OfCopy,
    /// Our own profile changed and was signed again.
    OwnProfile(Box<SignedProfile>),
}

/// Looks up the address that receives payments to this node. `None` if the node has no wallet.
pub(crate) type PaymentAddress =
    Arc<dyn Fn() -> BoxFuture<'static, Option<Address>> + Send + std::marker::Sync>;

/// Everything that a router needs at its start.
pub(crate) struct Parts {
    pub(crate) network: Arc<Network>,
    pub(crate) me: PeerId,
    /// The name in our profile.
    pub(crate) name: String,
    pub(crate) net: NetHandle,
    pub(crate) net_events: mpsc::Receiver<NetEvent>,
    pub(crate) chain: ChainHandle,
    pub(crate) reader: ChainReader,
    pub(crate) chain_events: mpsc::Receiver<ChainEvent>,
    pub(crate) miner: MinerHandle,
    /// Headers that our own miner has solved.
    pub(crate) solved: mpsc::Receiver<Header>,
    pub(crate) friends: FriendsHandle,
    /// Supplies the payment address in our profile.
    pub(crate) payment_address: PaymentAddress,
    pub(crate) news: NewsSink,
    pub(crate) trades: TradeSink,
    /// Scores, and the bans of the last run.
    pub(crate) peers: Peers,
    /// The levels of trust, shared with the network.
    pub(crate) trust: Trust,
    /// Peers that the user blocked.
    pub(crate) blocked: HashSet<PeerId>,
    /// The work of the invite's checkpoint, or zero.
    pub(crate) min_work: Work,
    /// The mempool as it is now.
    pub(crate) mempool: Vec<MempoolEntry>,
    /// The mode of the miner once the chain has caught up with the peers.
    pub(crate) mining: MiningMode,
    pub(crate) metrics: EventMetrics,
    /// The user's multiaddrs, which the node tries from its start on.
    pub(crate) tried: Vec<String>,
}

/// The state of the node's task.
pub(crate) struct Router {
    network: Arc<Network>,
    me: PeerId,
    name: String,
    net: NetHandle,
    chain: ChainHandle,
    reader: ChainReader,
    miner: MinerHandle,
    friends: FriendsHandle,
    payment_address: PaymentAddress,
    news: NewsSink,
    trades: TradeSink,
    sync: Sync,
    relay: Relay<GossipId>,
    peers: Peers,
    trust: Trust,
    /// Peers that the user blocked.
    blocked: HashSet<PeerId>,
    connected: HashMap<PeerId, Connected>,
    /// Connected peers that the router has reported to the friends thread as online.
    online: HashSet<PeerId>,
    /// Time since which there was always a peer that tells missed lines, or of the last wake.
    in_company: Instant,
    /// The router's own requests in flight, by id.
    requests: HashMap<u64, (PeerId, Purpose)>,
    next_request: u64,
    /// Callers of the `sync` command, by ticket.
    syncs: HashMap<u64, oneshot::Sender<SyncReport>>,
    next_ticket: u64,
    /// Own trades that are announced when they are mined.
    own_trades: HashMap<TxId, TransactionKind>,
    /// Blocks that joined the chain during a sync.
    catch_up: catch_up::CatchUp,
    couriers: Couriers<SentLine>,
    /// Sealed lines on their way.
    carrying: Carrying,
    /// Commands that wait for their line's delivery or refusal.
    awaited: HashMap<MessageId, oneshot::Sender<LineEnd>>,
    /// The sender to the task that stores new lines.
    new_lines: mpsc::Sender<NewLine>,
    /// Gossiped lines that wait until older ones are here.
    held: Vec<Held>,
    /// A wake from sleep whose notice is not published yet.
    back: Option<Back>,
    writers: writers::Writers,
    profile: Option<SignedProfile>,
    /// The way in which others reach the node, and the way to each peer.
    reach: ReachState,
    done: mpsc::Sender<Done>,
    turns: Turns<Arrived<SyncRequest>>,
    serving: Arc<Semaphore>,
    serving_friends: Arc<Semaphore>,
    mining: MiningMode,
    /// The fork of the last published divergence; `None` while the chain is not diverged.
    fork: Option<BlockHash>,
    /// Time of the last [`Router::keep_house`].
    housekeeping: Instant,
    /// Time of the last tick.
    ticked: Instant,
    /// Time of the last [`Router::greet_again`].
    greeting: Instant,
    /// Another node with our identity, as last seen.
    copy: Option<Copy>,
    /// The two clocks at the last tick.
    clocks: (UnixMillis, Moment),
    metrics: EventMetrics,
    attempts: Attempts,
}

/// The receiving ends of the router's channels.
struct Inbox {
    net: mpsc::Receiver<NetEvent>,
    chain: mpsc::Receiver<ChainEvent>,
    solved: mpsc::Receiver<Header>,
    done: mpsc::Receiver<Done>,
    commands: mpsc::Receiver<NodeCommand>,
    friends: broadcast::Receiver<FriendsEvent>,
}

/// The reason for the router's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// A command asked for it.
    Stopped,
    /// The node cannot work without a part that has failed. Holds a sentence.
    Failed(String),
}

impl Router {
    /// Starts the router's task. It ends at `stop`, or when the chain, the network or the friends
    /// thread fails.
    pub(crate) fn spawn(parts: Parts) -> (RouterHandle, tokio::task::JoinHandle<Ended>) {
        let (commands, command_queue) = RouterHandle::new();
        let (done, done_queue) = mpsc::channel(DONE_QUEUE);
        let summary = parts.chain.summary();
        let sync = actions::new_sync(&parts, &summary);
        let new_lines = chat::spawn_writer(parts.friends.clone(), parts.net.clone(), done.clone());
        let inbox = Inbox {
            net: parts.net_events,
            chain: parts.chain_events,
            solved: parts.solved,
            done: done_queue,
            commands: command_queue,
            friends: parts.friends.subscribe(),
        };
        let router = Self {
            sync,
            relay: Relay::new(RelayConfig {
                spacing_ms: parts.network.params.spacing_ms,
                tip: summary.tip,
                trust: parts.trust.clone(),
                seed: rand::random(),
            }),
            network: parts.network,
            me: parts.me,
            name: parts.name,
            net: parts.net,
            chain: parts.chain,
            reader: parts.reader,
            miner: parts.miner,
            friends: parts.friends,
            payment_address: parts.payment_address,
            news: parts.news,
            trades: parts.trades,
            peers: parts.peers,
            trust: parts.trust,
            blocked: parts.blocked,
            connected: HashMap::new(),
            online: HashSet::new(),
            in_company: Instant::now(),
            requests: HashMap::new(),
            next_request: 0,
            syncs: HashMap::new(),
            next_ticket: 0,
            own_trades: HashMap::new(),
            catch_up: catch_up::CatchUp::default(),
            couriers: Couriers::default(),
            carrying: Carrying::default(),
            awaited: HashMap::new(),
            new_lines,
            held: Vec::new(),
            back: None,
            writers: writers::Writers::default(),
            profile: None,
            reach: ReachState::default(),
            done,
            serving: Arc::new(Semaphore::new(SERVING)),
            serving_friends: Arc::new(Semaphore::new(SERVING)),
            turns: Turns::new(),
            mining: parts.mining,
            fork: None,
            housekeeping: Instant::now(),
            ticked: Instant::now(),
            greeting: Instant::now(),
            copy: None,
            clocks: (now(), moment()),
            metrics: parts.metrics,
            attempts: Attempts::of(&parts.tried),
        };
        (commands, tokio::spawn(router.run(inbox, parts.mempool)))
    }

    async fn run(mut self, mut inbox: Inbox, mempool: Vec<MempoolEntry>) -> Ended {
        for entry in mempool {
            if entry.local {
                self.own_trades.insert(entry.txid, entry.transaction.kind());
            }
            self.trade_added(entry);
        }
        self.sign_profile();
        self.publish_divergence(self.chain.summary().diverged);
        let mut summaries = self.chain.watch();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ended = loop {
            tokio::select! {
                // Commands and results first: they make room for what follows.
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
                Some(header) = inbox.solved.recv() => {
                    self.relay(RelayEvent::Solved { header: Box::new(header) });
                }
                Ok(()) = summaries.changed() => {
                    let summary = summaries.borrow_and_update().clone();
                    self.on_summary(&summary);
                }
                event = inbox.friends.recv() => self.on_friends(event),
                _ = tick.tick() => {
                    if self.friends.is_closed() {
                        break Ended::Failed(FRIENDS_FAILED.to_owned());
                    }
                    self.on_tick();
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

    /// Runs `work` in a separate task. The router handles its result in a later turn.
    fn spawn_work(&self, work: impl Future<Output = Option<Done>> + Send + 'static) {
        let done = self.done.clone();
        tokio::spawn(async move {
            if let Some(result) = work.await {
                // An error means that the router has ended and needs no result.
                let _ = done.send(result).await;
            }
        });
    }

    fn on_chain(&mut self, event: ChainEvent) {
        match event {
            ChainEvent::TipChanged { tip, disconnected, connected, mined } => {
                self.metrics.tip_changed(disconnected.len(), connected.len());
                if !disconnected.is_empty() {
                    let disconnected = u32::try_from(disconnected.len()).unwrap_or(u32::MAX);
                    self.publish_news(News::Reorganised {
                        tip: tip.hash,
                        height: tip.height,
                        disconnected,
                    });
                }
                self.publish_connected(&connected, &mined);
                let summary = self.chain.summary();
                // A diverged node does not take the other branch, so it still announces its own.
                let best_header =
                    if summary.diverged.is_some() { tip } else { summary.best_header };
                self.relay(RelayEvent::TipChanged { tip, best_header, connected, mined });
            }
            ChainEvent::TradeAccepted { entry, origin } => {
                self.metrics.trade_accepted(entry.local);
                (self.trades)(TradeNews::Accepted { entry: &entry, origin });
                if origin == Origin::Local {
                    self.own_trades.insert(entry.txid, entry.transaction.kind());
                }
                self.trade_added(entry);
            }
            ChainEvent::TradeVoid { txid, reason } => {
                self.metrics.trade_dropped("void");
                let kind = self.own_trades.remove(&txid).unwrap_or(TransactionKind::Trade);
                self.publish_news(News::TradeVoid { txid, kind, reason });
                self.relay(RelayEvent::TradeGone { txid });
            }
            ChainEvent::VoidMined { txid, block, height } => {
                let kind = TransactionKind::Trade;
                self.publish_news(News::TradeMined { txid, kind, block, height, was_void: true });
            }
            ChainEvent::TradeDropped { txid, reason } => {
                self.metrics.trade_dropped(reason.code());
                (self.trades)(TradeNews::Dropped { txid, reason });
                self.relay(RelayEvent::TradeGone { txid });
            }
            // The run loop ends at this event.
            ChainEvent::Failed(_) => {}
        }
    }

    fn on_summary(&mut self, summary: &ChainSummary) {
        self.sync(SyncEvent::Summary {
            tip: summary.tip,
            best_header: summary.best_header,
            diverged: summary.diverged.is_some(),
        });
        self.publish_divergence(summary.diverged);
    }

    fn on_tick(&mut self) {
        if self.ticked.elapsed() >= SLEEP {
            // The network notices a sleep too, but its event may come after this tick.
            self.woke(self.ticked.elapsed());
        }
        self.ticked = Instant::now();
        self.sync(SyncEvent::Tick);
        self.relay(RelayEvent::Tick);
        self.publish_synced();
        self.expire_requests();
        self.send_due();
        self.ask_due();
        self.publish_back();
        self.publish_requests();
        if self.greeting.elapsed() >= GREETING {
            self.greet_again();
        }
        self.watch_clock();
        self.explore_again();
        if self.housekeeping.elapsed() >= HOUSEKEEPING {
            self.keep_house();
        }
    }

    fn trade_added(&mut self, entry: MempoolEntry) {
        let (free, added) = (entry.rate().is_free(), moment_of(entry.added));
        let MempoolEntry { txid, transaction, local, .. } = entry;
        self.relay(RelayEvent::TradeAdded { txid, transaction, added, local, free });
    }

    fn on_done(&mut self, done: Done) {
        match done {
            Done::Sync(event) => self.sync(event),
            Done::Relay(event) => self.relay(event),
            Done::Profile(teller, profile) => self.profile_stored(teller, &profile),
            Done::Written(written) => self.on_written(written),
            Done::Waiting(peers) => self.send_waiting(peers),
            Done::Carried(carried) => self.on_carried(carried),
            Done::Outbox { peer, lines } => self.outbox_read(peer, lines),
            Done::Settled { id, end } => self.settled(id, end),
            Done::MissedIds { peer, next, wanted } => self.on_missed_ids(peer, next, wanted),
            Done::Missed { peer, is_empty, result } => self.on_missed(peer, is_empty, result),
            Done::Ahead(peer) => {
                if let Some(state) = self.connected.get_mut(&peer) {
                    state.ask_again = Some(introductions::REPEAT);
                }
            }
            Done::Offence { peer, offence, reason } => self.penalise(peer, offence, &reason),
            Done::Served { peer, of_friend } => self.served(peer, of_friend),
            Done::News(all) => all.into_iter().for_each(|news| self.publish_news(news)),
            Done::OwnProfile(profile) => self.own_profile_signed(&profile),
            Done::OfCopy => self.copy_signed(),
        }
    }

    /// Lifts bans that are over, and repeats commands that a full queue may have dropped.
    fn keep_house(&mut self) {
        self.housekeeping = Instant::now();
        events::emit_suppressed();
        for peer in self.peers.decay(moment()) {
            self.lift_ban(peer);
        }
        self.apply_mining_mode();
        self.chain.peers_on_branch(self.sync.progress().confirmed > 0);
        self.repeat_refusals();
        self.keep_friends();
        self.explore_old();
        self.forget_old_copy();
        self.drop_old_kept();
        // The user may have created a wallet since the profile was signed.
        self.sign_profile();
        let friends = self.friends.clone();
        self.spawn_work(async move { Some(Done::Waiting(friends.outbox_peers().await.ok()?)) });
    }

    fn sync(&mut self, event: SyncEvent) {
        for action in self.sync.handle(event, moment()) {
            self.sync_action(action);
        }
    }

    fn relay(&mut self, event: RelayEvent<GossipId>) {
        for action in self.relay.handle(event, moment()) {
            self.relay_action(action);
        }
    }
}

//! Declares every event that a node logs: its name, level, fields and documentation.
//!
//! Each event is a struct, and [`TABLE`] lists them all. The table of events in `deploy/README.md`
//! has the same texts; a test compares the two. Readers of logs may rely on names, fields and
//! types. A number is logged as a number, and an id as its usual text.
//!
//! # Security
//! No field of an event holds a secret or the text of a chat. An event that a peer can trigger at
//! will is declared `of PEERS`. The log has room for [`PEERS_RATE`] of each such event, so that a
//! peer cannot fill the disk. [`emit_suppressed`] reports how many events were left out.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{Mutex, OnceLock, PoisonError},
    time::Instant,
};

use tracing::level_filters::LevelFilter;

use crate::primitives::{BlockHash, Bucket, PeerId, Rate, TxId};

/// Limit for each event `of PEERS`: more than friends cause, and at most some 35 MB of log a day.
pub const PEERS_RATE: Rate = Rate { burst: 2_000, per_second: 1 };

/// The target of every event, for filters: `--log friendchain::event=info`.
pub const TARGET: &str = "friendchain::event";

static NODE_NAME: OnceLock<String> = OnceLock::new();

/// Sets the field `node` of all events of this process. Only the first call has an effect.
pub fn set_node_name(name: &str) {
    // Only tests run two nodes in one process.
    let _ = NODE_NAME.set(name.to_owned());
}

fn node_name() -> &'static str {
    NODE_NAME.get().map_or("", String::as_str)
}

/// The documentation of one event.
#[derive(Debug, Clone, Copy)]
pub struct EventSpec {
    /// The value of the field `event`.
    pub name: &'static str,
    /// `ERROR`, `WARN`, `INFO` or `DEBUG`.
    pub level: &'static str,
    /// The doc comment of the event's struct.
    pub meaning: &'static str,
    /// Name, Rust type and doc of each field, without `event` and `node`. The doc may be empty.
    pub fields: &'static [(&'static str, &'static str, &'static str)],
    /// True if peers can trigger the event at will; it is then limited to [`PEERS_RATE`].
    pub of_peers: bool,
}

/// The token bucket of each event `of PEERS`, by the event's name.
struct Limits(Mutex<BTreeMap<&'static str, Counted>>);

struct Counted {
    bucket: Bucket,
    /// Number of events left out since the last [`LogSuppressed`].
    suppressed: u64,
}

static LIMITS: Limits = Limits(Mutex::new(BTreeMap::new()));

impl Limits {
    /// Returns true if the event may be logged now; otherwise counts it as suppressed.
    fn allow(&self, name: &'static str, now: u64) -> bool {
        let mut limits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || Counted { bucket: Bucket::new(PEERS_RATE, now), suppressed: 0 };
        let counted = limits.entry(name).or_insert_with(fresh);
        let allowed = counted.bucket.take(1, now);
        counted.suppressed = counted.suppressed.saturating_add(u64::from(!allowed));
        allowed
    }

    /// Returns the events that were left out, and resets their counts.
    fn emit_suppressed(&self) {
        self.take_suppressed().iter().for_each(LogSuppressed::emit);
    }

    fn take_suppressed(&self) -> Vec<LogSuppressed> {
        let mut limits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = limits.iter_mut().map(|(name, counted)| LogSuppressed {
            of: name,
            count: std::mem::take(&mut counted.suppressed),
        });
        taken.filter(|suppressed| suppressed.count > 0).collect()
    }
}

/// Returns the milliseconds since the first call, by the monotonic clock.
fn steady_now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Emits a [`LogSuppressed`] for each event that was left out since the last call.
pub fn emit_suppressed() {
    LIMITS.emit_suppressed();
}

/// A field's value as `tracing` logs it.
trait LogValue {
    fn log_value(&self) -> impl tracing::Value;
}

macro_rules! log_as_text {
    ($($ty:ty),*) => {$(
        impl LogValue for $ty {
            fn log_value(&self) -> impl tracing::Value {
                tracing::field::display(self)
            }
        }
    )*};
}

macro_rules! log_as_number {
    ($($ty:ty),*) => {$(
        impl LogValue for $ty {
            // Rust has no lossless cast from usize to u64, although usize is never longer.
            #[allow(clippy::cast_lossless)]
            fn log_value(&self) -> impl tracing::Value {
                *self as u64
            }
        }
    )*};
}

log_as_text!(BlockHash, TxId, PeerId, String, Cow<'static, str>);
log_as_number!(u32, u64, usize);

impl LogValue for &'static str {
    fn log_value(&self) -> impl tracing::Value {
        *self
    }
}

impl LogValue for bool {
    fn log_value(&self) -> impl tracing::Value {
        *self
    }
}

impl LogValue for i64 {
    fn log_value(&self) -> impl tracing::Value {
        *self
    }
}

impl<T: LogValue> LogValue for Option<T> {
    fn log_value(&self) -> impl tracing::Value {
        self.as_ref().map(LogValue::log_value)
    }
}

macro_rules! is_of_peers {
    () => {
        false
    };
    (PEERS) => {
        true
    };
}

macro_rules! events {
    ($(
        $(#[doc = $doc:literal])+
        $level:ident $name:ident = $text:literal $(of $peers:ident)? {
            $( $(#[doc = $field_doc:literal])* $field:ident: $ty:ty, )*
        }
    )*) => {
        $(
            $(#[doc = $doc])+
            #[derive(Debug, Clone)]
            pub struct $name { $( $(#[doc = $field_doc])* pub $field: $ty, )* }

            impl $name {
                /// The value of the field `event`.
                pub const NAME: &'static str = $text;

                /// Logs the event, unless it is `of PEERS` and over its limit.
                pub fn emit(&self) {
                    let limited = is_of_peers!($($peers)?)
                        && tracing::Level::$level <= LevelFilter::current();
                    if !limited || LIMITS.allow(Self::NAME, steady_now()) {
                        self.emit_always();
                    }
                }

                /// Logs the event in any case, because this node itself caused it.
                pub fn emit_always(&self) {
                    tracing::event!(
                        target: TARGET,
                        tracing::Level::$level,
                        event = Self::NAME,
                        node = node_name(),
                        $( $field = LogValue::log_value(&self.$field), )*
                    );
                }
            }
        )*

        /// Every event that a node logs.
        pub const TABLE: &[EventSpec] = &[$(
            EventSpec {
                name: $text,
                level: stringify!($level),
                meaning: concat!($($doc),+),
                fields: &[$(
                    (stringify!($field), stringify!($ty), concat!($($field_doc),*)),
                )*],
                of_peers: is_of_peers!($($peers)?),
            },
        )*];
    };
}

events! {
    /// The node is up and answers commands.
    INFO NodeStarted = "node_started" {
        peer_id: PeerId,
        /// The genesis hash.
        network: BlockHash,
        /// Height of the tip.
        height: u32,
        version: &'static str,
        /// Address of JSON-RPC.
        rpc: String,
        /// Address of health and metrics.
        metrics: Option<String>,
    }
    /// The node accepts connections at an address.
    INFO Listening = "listening" {
        /// A libp2p multiaddr.
        address: String,
    }
    /// Another node with this node's identity runs on a copy of its data folder. Stop one of them.
    WARN CopyRuns = "copy_runs" {
        /// A libp2p multiaddr; absent if friends reported the copy.
        address: Option<String>,
    }
    /// The copy of the data folder has ended, or was not seen for 10 minutes.
    INFO CopyEnded = "copy_ended" {
        /// The libp2p multiaddr at which a dial found that; absent if it was only not seen.
        address: Option<String>,
    }
    /// The node has ended cleanly.
    INFO NodeStopped = "node_stopped" {
        /// Height of the tip.
        height: u32,
    }
    /// The first connection to a peer is open.
    INFO PeerConnected = "peer_connected" of PEERS {
        peer: PeerId,
        /// Address of the peer, as this node sees it.
        address: String,
        /// True if the peer dialed.
        inbound: bool,
    }
    /// The last connection to a peer has closed.
    INFO PeerDisconnected = "peer_disconnected" of PEERS {
        peer: PeerId,
        /// The cause, as far as it is known.
        reason: String,
    }
    /// A peer belongs to another network, was notified, and has left.
    INFO WrongNetwork = "wrong_network" of PEERS {
        peer: PeerId,
        /// The peer's genesis hash.
        network: BlockHash,
    }
    /// A peer's Status arrived.
    INFO StatusExchanged = "status_exchanged" of PEERS {
        peer: PeerId,
        /// Always `version`, as in the Go original.
        message: &'static str,
        /// Height of the peer's tip.
        height: u32,
        /// The peer's tip.
        tip: BlockHash,
        /// The peer's clock minus ours.
        clock_offset_ms: i64,
    }
    /// This node requested headers from a peer.
    INFO HeadersRequested = "headers_requested" of PEERS {
        peer: PeerId,
        /// Always `getblocks`, as in the Go original.
        message: &'static str,
    }
    /// This node sent headers to a peer that requested them.
    INFO HeadersServed = "headers_served" of PEERS {
        peer: PeerId,
        /// Always `getblocks`, as in the Go original.
        message: &'static str,
        /// Number of headers.
        count: usize,
    }
    /// Headers arrived from a peer.
    INFO HeadersReceived = "headers_received" of PEERS {
        peer: PeerId,
        /// Always `inv`, as in the Go original.
        message: &'static str,
        /// Number of headers.
        count: usize,
        /// Height of the best known header after this.
        best_header_height: u32,
    }
    /// This node requested blocks from a peer.
    INFO BlocksRequested = "blocks_requested" of PEERS {
        peer: PeerId,
        /// Always `getdata`, as in the Go original.
        message: &'static str,
        /// Number of blocks.
        count: usize,
    }
    /// This node sent blocks to a peer that requested them.
    INFO BlocksServed = "blocks_served" of PEERS {
        peer: PeerId,
        /// Always `getdata`, as in the Go original.
        message: &'static str,
        /// Number of blocks.
        count: usize,
    }
    /// A block arrived from a peer, whole or rebuilt from a compact block.
    DEBUG BlockReceived = "block_received" {
        /// Absent if the block was rebuilt from gossip.
        peer: Option<PeerId>,
        /// Always `block`, as in the Go original.
        message: &'static str,
        hash: BlockHash,
        height: u32,
    }
    /// A block joined the best chain.
    INFO BlockConnected = "block_connected" {
        hash: BlockHash,
        /// Hash of the parent block.
        previous: BlockHash,
        height: u32,
        /// Number of transactions, coinbase included.
        transactions: usize,
        /// The miner's time in unix ms.
        time: u64,
    }
    /// A block left the best chain.
    INFO BlockDisconnected = "block_disconnected" {
        hash: BlockHash,
        height: u32,
    }
    /// Another branch became the best chain.
    WARN Reorganised = "reorganised" {
        old_tip: BlockHash,
        new_tip: BlockHash,
        /// Height of the new tip.
        height: u32,
        /// Number of blocks that left the best chain.
        disconnected: usize,
        /// Number of blocks that joined it.
        connected: usize,
    }
    /// A block was refused.
    WARN BlockRefused = "block_refused" of PEERS {
        hash: BlockHash,
        /// The sender, if a peer sent it.
        peer: Option<PeerId>,
        /// Name of the error.
        code: &'static str,
        /// The error as a sentence.
        reason: String,
    }
    /// This node found a block.
    INFO BlockMined = "block_mined" {
        hash: BlockHash,
        /// Hash of the parent block.
        previous: BlockHash,
        height: u32,
        /// Number of transactions, coinbase included.
        transactions: usize,
    }
    /// A trade or note entered the mempool.
    INFO TradeAccepted = "trade_accepted" of PEERS {
        txid: TxId,
        /// True if it was made on this node.
        local: bool,
    }
    /// A peer's trade or note left the mempool without being mined.
    DEBUG TradeDropped = "trade_dropped" of PEERS {
        txid: TxId,
        /// One of `conflict`, `replaced`, `evicted`, `expired` and `reorganised`.
        reason: &'static str,
    }
    /// A trade or note was refused.
    DEBUG TradeRefused = "trade_refused" of PEERS {
        txid: TxId,
        /// The sender, if a peer sent it.
        peer: Option<PeerId>,
        /// Name of the error.
        code: &'static str,
        /// The error as a sentence.
        reason: String,
    }
    /// Sync is running: a report at intervals.
    INFO SyncProgress = "sync_progress" {
        /// Height of the tip.
        height: u32,
        best_header_height: u32,
        /// Rate over the last interval.
        blocks_per_second: u64,
        /// Time to the end at that rate.
        seconds_left: u64,
    }
    /// Sync makes no progress although a peer claims more work.
    WARN SyncStalled = "sync_stalled" {
        /// Height of the tip.
        height: u32,
        best_header_height: u32,
    }
    /// The chain has caught up with the best peer's.
    INFO Synced = "synced" {
        /// Height of the tip.
        height: u32,
        tip: BlockHash,
    }
    /// A branch with more work needs a person's decision. Emitted once for each fork.
    WARN Diverged = "diverged" {
        /// Hash of our tip.
        tip: BlockHash,
        /// Height of our tip.
        height: u32,
        /// Hash of the other branch's tip.
        branch: BlockHash,
        branch_height: u32,
        /// Height of the last common block.
        fork_height: u32,
    }
    /// The chain is no longer diverged.
    INFO Reunited = "reunited" {
        /// Height of the tip.
        height: u32,
        tip: BlockHash,
    }
    /// A peer broke a rule and lost score.
    WARN PeerPenalised = "peer_penalised" of PEERS {
        peer: PeerId,
        /// Name of the offence.
        offence: &'static str,
        /// The error as a sentence.
        reason: String,
        /// Score after the penalty.
        score: i64,
        /// True if this penalty bans the peer.
        banned: bool,
    }
    /// A friend is online, and this node has the friend's signed profile.
    INFO FriendJoined = "friend_joined" of PEERS {
        peer: PeerId,
        /// The friend's name, with its suffix where the plain name is another's.
        name: String,
    }
    /// A friend has said goodbye or vanished.
    INFO FriendLeft = "friend_left" of PEERS {
        peer: PeerId,
        /// The friend's name, with its suffix where the plain name is another's.
        name: String,
        /// `quit` after a goodbye, `lost` without one.
        how: &'static str,
    }
    /// This node sent a chat line.
    INFO ChatSent = "chat_sent" {
        /// Id of the line.
        id: String,
        /// The receiver; absent for a line to all.
        to: Option<PeerId>,
    }
    /// The receiver has stored a direct chat line of this node.
    INFO ChatDelivered = "chat_delivered" {
        /// Id of the line.
        id: String,
        /// The receiver's peer id.
        to: PeerId,
    }
    /// Friends keep a direct chat line of this node for its receiver, who is away.
    INFO LineLeft = "line_left" {
        /// Id of the line.
        id: String,
        /// The receiver's peer id.
        to: PeerId,
        /// Number of friends who keep it.
        friends: u32,
    }
    /// A friend has left a sealed chat line for another friend, who is away.
    INFO LineKept = "line_kept" of PEERS {
        /// Peer id of the friend that left it.
        from: PeerId,
        /// The receiver's peer id.
        to: PeerId,
    }
    /// A chat line arrived.
    INFO ChatReceived = "chat_received" of PEERS {
        /// Id of the line.
        id: String,
        /// The author's peer id.
        from: PeerId,
        /// True if the line was to this node alone.
        direct: bool,
    }
    /// Peers triggered an event so often that some of it was not logged. Emitted at most twice a
    /// minute, and at the end.
    WARN LogSuppressed = "log_suppressed" {
        /// Name of the event.
        of: &'static str,
        /// Number of events that were not logged.
        count: u64,
    }
    /// A peer no longer takes part in gossip, so this node makes a new connection to it.
    WARN GossipDeaf = "gossip_deaf" of PEERS {
        peer: PeerId,
    }
    /// The way in which others reach this node has changed: `public`, `mapped`, `relayed`,
    /// `lan` or `nowhere`.
    INFO ReachChanged = "reach_changed" of PEERS {
        way: &'static str,
    }
    /// The way to a connected peer has changed; `relay` relays it, unless it is direct.
    INFO PeerPath = "peer_path" of PEERS { peer: PeerId, relay: Option<PeerId>, }
    /// A peer asked this node to relay, or a circuit ended; `what` says which.
    INFO Relaying = "relaying" of PEERS { peer: PeerId, what: &'static str, }
    /// An attempt to reach a peer without its relay has ended.
    INFO HolePunched = "hole_punched" of PEERS { peer: PeerId, direct: bool, }
}

#[cfg(test)]
mod tests;

//! The names and fields of everything that is logged: the one place that defines them.
//!
//! Each event is a struct; [`TABLE`] lists them all for documents and tests. Observers may rely on names, fields and
//! types. A number is logged as a number, an id as its usual text. Nothing secret is a field of an event.
//!
//! What a peer can bring about as often as it likes is an event `of peers`: such are logged at [`PEERS_RATE`] at most, each
//! name by itself, and [`LogSuppressed`] says how many were not.

use std::{
    borrow::Cow,
    sync::{Mutex, OnceLock, PoisonError},
    time::Instant,
};

use tracing::level_filters::LevelFilter;

use super::{BlockHash, Bucket, PeerId, Rate, TxId};

/// How often one event `of peers` is logged: far more than friends cause, and no more than a disk can bear for weeks.
pub const PEERS_RATE: Rate = Rate { burst: 2_000, per_second: 20 };

/// The target of every event, for filters: `--log friendchain::event=info`.
pub const TARGET: &str = "friendchain::event";

static NODE_NAME: OnceLock<String> = OnceLock::new();

/// Says once, at start, which name each event of this process bears.
pub fn set_node_name(name: &str) {
    // A second node in one process keeps the first name: only tests run two.
    let _ = NODE_NAME.set(name.to_owned());
}

fn node_name() -> &'static str {
    NODE_NAME.get().map_or("", String::as_str)
}

/// One event as documents describe it.
#[derive(Debug, Clone, Copy)]
pub struct EventSpec {
    /// The value of the field `event`.
    pub name: &'static str,
    /// `ERROR`, `WARN`, `INFO` or `DEBUG`.
    pub level: &'static str,
    /// What happened.
    pub meaning: &'static str,
    /// Names, Rust types and meanings of the fields, beside `event` and `node`.
    pub fields: &'static [(&'static str, &'static str, &'static str)],
    /// Whether peers can bring it about at will, so that it is logged at [`PEERS_RATE`] at most.
    pub of_peers: bool,
}

/// How much of one event `of peers` was logged, and how much was not since that was last said.
struct Limit(Mutex<Option<Counted>>);

struct Counted {
    bucket: Bucket,
    suppressed: u64,
    said: u64,
}

/// How often it is said how many were not logged, at most, in ms.
const SAID_EVERY: u64 = 10_000;

impl Limit {
    const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Whether one more may be logged; and how many were not, when it is time to say so.
    fn take(&self, now: u64) -> (bool, u64) {
        let mut limit = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counted =
            limit.get_or_insert_with(|| Counted { bucket: Bucket::new(PEERS_RATE, now), suppressed: 0, said: now });
        let allowed = counted.bucket.take(1, now);
        counted.suppressed = counted.suppressed.saturating_add(u64::from(!allowed));
        if now.saturating_sub(counted.said) < SAID_EVERY {
            return (allowed, 0);
        }
        counted.said = now;
        (allowed, std::mem::take(&mut counted.suppressed))
    }

    /// The same for now; says how many were not logged.
    fn allows(&self, name: &'static str) -> bool {
        static START: OnceLock<Instant> = OnceLock::new();
        let now = START.get_or_init(Instant::now).elapsed().as_millis();
        let (allowed, suppressed) = self.take(u64::try_from(now).unwrap_or(u64::MAX));
        if suppressed > 0 {
            LogSuppressed { of: name, count: suppressed }.emit();
        }
        allowed
    }
}

/// How a field's value is logged.
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
            #[allow(clippy::cast_lossless)] // of usize there is no lossless cast to u64, though it never is longer
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

macro_rules! events {
    ($(
        $(#[doc = $doc:literal])+
        $level:ident $name:ident = $text:literal $(of $peers:ident)? { $( $(#[doc = $field_doc:literal])+ $field:ident: $ty:ty, )* }
    )*) => {
        $(
            $(#[doc = $doc])+
            #[derive(Debug, Clone)]
            pub struct $name { $( $(#[doc = $field_doc])+ pub $field: $ty, )* }

            impl $name {
                /// The value of the field `event`.
                pub const NAME: &'static str = $text;

                /// Logs it, unless peers brought it about too often.
                pub fn emit(&self) {
                    $(
                        static $peers: Limit = Limit::new();
                        if tracing::Level::$level <= LevelFilter::current() && !$peers.allows(Self::NAME) {
                            return;
                        }
                    )?
                    self.emit_always();
                }

                /// Logs it: for what this node did itself.
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
                fields: &[$( (stringify!($field), stringify!($ty), concat!($($field_doc),+)), )*],
                of_peers: !concat!("" $(, stringify!($peers))?).is_empty(),
            },
        )*];
    };
}

events! {
    /// The node is up: identity, network and where it listens for commands.
    INFO NodeStarted = "node_started" {
        /// Its identity.
        peer_id: PeerId,
        /// The genesis hash.
        network: BlockHash,
        /// Of the tip.
        height: u32,
        /// Of the program.
        version: &'static str,
        /// Where JSON-RPC is.
        rpc: String,
        /// Where health and metrics are shown, if anywhere.
        metrics: Option<String>,
    }
    /// The node accepts connections at an address.
    INFO Listening = "listening" {
        /// A multiaddr.
        address: String,
    }
    /// The node has ended cleanly.
    INFO NodeStopped = "node_stopped" {
        /// Of the tip.
        height: u32,
    }
    /// The first connection to a peer is up.
    INFO PeerConnected = "peer_connected" of PEERS {
        /// Who.
        peer: PeerId,
        /// Its address as this node sees it.
        address: String,
        /// Whether the peer dialed.
        inbound: bool,
    }
    /// The last connection to a peer is down.
    INFO PeerDisconnected = "peer_disconnected" of PEERS {
        /// Who.
        peer: PeerId,
        /// Why, as far as is known.
        reason: String,
    }
    /// A peer of another network was told so and left.
    INFO WrongNetwork = "wrong_network" of PEERS {
        /// Who.
        peer: PeerId,
        /// Its genesis hash.
        network: BlockHash,
    }
    /// A peer's Status came: the seed's `version`.
    INFO StatusExchanged = "status_exchanged" of PEERS {
        /// Who.
        peer: PeerId,
        /// Always `version`.
        message: &'static str,
        /// Of the peer's tip.
        height: u32,
        /// The peer's tip.
        tip: BlockHash,
        /// Its clock less ours, in ms.
        clock_offset_ms: i64,
    }
    /// Headers were asked of a peer: the seed's `getblocks`.
    INFO HeadersRequested = "headers_requested" {
        /// Who.
        peer: PeerId,
        /// Always `getblocks`.
        message: &'static str,
    }
    /// Headers were sent to a peer that asked: the answer to its `getblocks`.
    INFO HeadersServed = "headers_served" of PEERS {
        /// Who.
        peer: PeerId,
        /// Always `getblocks`.
        message: &'static str,
        /// How many.
        count: usize,
    }
    /// Headers came from a peer: the seed's `inv`.
    INFO HeadersReceived = "headers_received" of PEERS {
        /// Who.
        peer: PeerId,
        /// Always `inv`.
        message: &'static str,
        /// How many.
        count: usize,
        /// Of the best header known now.
        best_header_height: u32,
    }
    /// Blocks were asked of a peer: the seed's `getdata`.
    INFO BlocksRequested = "blocks_requested" {
        /// Who.
        peer: PeerId,
        /// Always `getdata`.
        message: &'static str,
        /// How many.
        count: usize,
    }
    /// Blocks were sent to a peer that asked: the answer to its `getdata`.
    INFO BlocksServed = "blocks_served" of PEERS {
        /// Who.
        peer: PeerId,
        /// Always `getdata`.
        message: &'static str,
        /// How many.
        count: usize,
    }
    /// A block came from a peer, whole or rebuilt: the seed's `block`.
    DEBUG BlockReceived = "block_received" {
        /// Who; none when it was rebuilt from gossip.
        peer: Option<PeerId>,
        /// Always `block`.
        message: &'static str,
        /// Its name.
        hash: BlockHash,
        /// Its height.
        height: u32,
    }
    /// A block joined the best chain.
    INFO BlockConnected = "block_connected" {
        /// Its name.
        hash: BlockHash,
        /// The block before it.
        previous: BlockHash,
        /// Its height.
        height: u32,
        /// How many transactions, the coinbase included.
        transactions: usize,
        /// Its time by its miner, unix ms.
        time: u64,
    }
    /// A block left the best chain.
    INFO BlockDisconnected = "block_disconnected" {
        /// Its name.
        hash: BlockHash,
        /// Its height.
        height: u32,
    }
    /// Another branch became the best chain.
    WARN Reorganised = "reorganised" {
        /// The tip before.
        old_tip: BlockHash,
        /// The tip now.
        new_tip: BlockHash,
        /// Of the new tip.
        height: u32,
        /// How many blocks left the best chain.
        disconnected: usize,
        /// How many joined it.
        connected: usize,
    }
    /// A block was refused.
    WARN BlockRefused = "block_refused" of PEERS {
        /// Its name.
        hash: BlockHash,
        /// From whom, if from a peer.
        peer: Option<PeerId>,
        /// The name of the error.
        code: &'static str,
        /// What was wrong.
        reason: String,
    }
    /// This node found a block.
    INFO BlockMined = "block_mined" {
        /// Its name.
        hash: BlockHash,
        /// The block before it.
        previous: BlockHash,
        /// Its height.
        height: u32,
        /// How many transactions, the coinbase included.
        transactions: usize,
    }
    /// A trade or note entered the mempool.
    INFO TradeAccepted = "trade_accepted" of PEERS {
        /// Its id.
        txid: TxId,
        /// Whether it was made on this node.
        local: bool,
    }
    /// A peer's trade or note left the mempool without being mined.
    DEBUG TradeDropped = "trade_dropped" of PEERS {
        /// Its id.
        txid: TxId,
        /// Why: `conflict`, `replaced`, `evicted`, `expired` or `reorganised`.
        reason: &'static str,
    }
    /// A trade or note was refused.
    DEBUG TradeRefused = "trade_refused" of PEERS {
        /// Its id.
        txid: TxId,
        /// From whom, if from a peer.
        peer: Option<PeerId>,
        /// The name of the error.
        code: &'static str,
        /// What was wrong.
        reason: String,
    }
    /// Sync goes on.
    INFO SyncProgress = "sync_progress" {
        /// Of the tip.
        height: u32,
        /// Of the best header.
        best_header_height: u32,
        /// Blocks a second over the last interval.
        blocks_per_second: u64,
        /// Seconds until done at that rate.
        seconds_left: u64,
    }
    /// Sync makes no progress although a peer claims more work.
    WARN SyncStalled = "sync_stalled" {
        /// Of the tip.
        height: u32,
        /// Of the best header.
        best_header_height: u32,
    }
    /// The chain is as far as the best peer's.
    INFO Synced = "synced" {
        /// Of the tip.
        height: u32,
        /// The tip.
        tip: BlockHash,
    }
    /// A branch with more work forks off too deep to be taken without a person's word: once for each fork.
    WARN Diverged = "diverged" {
        /// Ours.
        tip: BlockHash,
        /// Its height.
        height: u32,
        /// The end of the other branch.
        branch: BlockHash,
        /// Its height.
        branch_height: u32,
        /// Of the last block that both have.
        fork_height: u32,
    }
    /// The chain is no longer diverged.
    INFO Reunited = "reunited" {
        /// Of the tip.
        height: u32,
        /// The tip.
        tip: BlockHash,
    }
    /// A peer did something that costs it score.
    WARN PeerPenalised = "peer_penalised" of PEERS {
        /// Who.
        peer: PeerId,
        /// The name of the offence.
        offence: &'static str,
        /// What was wrong.
        reason: String,
        /// Its score after it.
        score: i64,
        /// Whether that bans it.
        banned: bool,
    }
    /// A friend's signed profile is held and the friend is here.
    INFO FriendJoined = "friend_joined" of PEERS {
        /// Who.
        peer: PeerId,
        /// By its profile.
        name: String,
    }
    /// A friend has said goodbye or is gone.
    INFO FriendLeft = "friend_left" of PEERS {
        /// Who.
        peer: PeerId,
        /// By its profile.
        name: String,
        /// `quit` when it said goodbye, `lost` when it vanished.
        how: &'static str,
    }
    /// A chat line was sent from this node.
    INFO ChatSent = "chat_sent" {
        /// Of the line.
        id: String,
        /// To whom; none when to all.
        to: Option<PeerId>,
    }
    /// A direct chat line of this node was kept by its receiver.
    INFO ChatDelivered = "chat_delivered" {
        /// Of the line.
        id: String,
        /// To whom.
        to: PeerId,
    }
    /// A chat line came.
    INFO ChatReceived = "chat_received" of PEERS {
        /// Of the line.
        id: String,
        /// Its author.
        from: PeerId,
        /// Whether it was to this node alone.
        direct: bool,
    }
    /// Peers brought an event about so often that not all of it was logged: said every ten seconds at most.
    WARN LogSuppressed = "log_suppressed" {
        /// The name of the event.
        of: &'static str,
        /// How many were not logged.
        count: u64,
    }
    /// A peer's gossip went deaf, and the connection is made anew.
    WARN GossipDeaf = "gossip_deaf" of PEERS {
        /// Who.
        peer: PeerId,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_names_are_unique_and_snake_case() {
        let mut names: Vec<_> = TABLE.iter().map(|spec| spec.name).collect();
        assert!(names.iter().all(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
    }

    #[test]
    fn what_peers_bring_about_is_logged_at_a_rate_and_the_rest_is_counted() {
        let limit = Limit::new();
        let logged = (0..10_000).filter(|_| limit.take(0).0).count();
        assert_eq!(logged as u64, PEERS_RATE.burst);
        assert_eq!(limit.take(1_000), (true, 0));
        assert_eq!(limit.take(SAID_EVERY), (true, 10_000 - PEERS_RATE.burst));
        assert_eq!(limit.take(2 * SAID_EVERY), (true, 0));
    }

    /// The table in deploy/README.md.
    fn table() -> String {
        let row = |EventSpec { name, level, meaning, fields, of_peers }: &EventSpec| {
            let limited = if *of_peers { " †" } else { "" };
            let fields: Vec<_> = fields.iter().map(|(name, ty, meaning)| field(name, ty, meaning)).collect();
            format!("| `{name}`{limited} | {level} | {} | {} |\n", meaning.trim(), fields.join("<br>"))
        };
        let head = "| event | level | when | fields |\n|---|---|---|---|\n".to_owned();
        head + &TABLE.iter().map(row).collect::<String>()
    }

    /// One field: its name, the type that it has in JSON, and what it says.
    fn field(name: &str, ty: &str, meaning: &str) -> String {
        let (inner, absent) = match ty.strip_prefix("Option<").and_then(|rest| rest.strip_suffix('>')) {
            Some(inner) => (inner, " or absent"),
            None => (ty, ""),
        };
        let json = match inner {
            "u32" | "u64" | "usize" | "i64" => "number",
            "bool" => "boolean",
            "BlockHash" | "TxId" | "PeerId" | "String" | "&'static str" | "Cow<'static, str>" => "text",
            other => panic!("what does {other} look like in JSON?"),
        };
        format!("`{name}` ({json}{absent}): {}", meaning.trim())
    }

    #[test]
    fn the_documents_table_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/README.md");
        let document = std::fs::read_to_string(path).expect("deploy/README.md");
        let table = table();
        assert!(document.contains(&table), "the table of events in deploy/README.md should be:\n{table}");
    }
}

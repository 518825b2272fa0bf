//! The names and fields of everything that is logged: the one place that defines them.
//!
//! Each event is a struct; [`TABLE`] lists them all for documents and tests. Observers may rely on
//! names, fields and types. A number is logged as a number, an id as its usual text. Nothing secret
//! is a field of an event.
//!
//! What a peer can bring about as often as it likes is an event `of peers`: such are logged at
//! [`PEERS_RATE`] at most, each name by itself, and [`say_suppressed`] says how many were not.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{Mutex, OnceLock, PoisonError},
    time::Instant,
};

use tracing::level_filters::LevelFilter;

use crate::primitives::{BlockHash, Bucket, PeerId, Rate, TxId};

/// How often one event `of peers` is logged: more than friends cause, and some 35 MB a day at most,
/// which a disk bears.
pub const PEERS_RATE: Rate = Rate { burst: 2_000, per_second: 1 };

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

/// How much of each event `of peers` was logged, by its name, and how much was not.
struct Limits(Mutex<BTreeMap<&'static str, Counted>>);

struct Counted {
    bucket: Bucket,
    /// Since that was last said.
    suppressed: u64,
}

static LIMITS: Limits = Limits(Mutex::new(BTreeMap::new()));

impl Limits {
    /// Whether one more of that name may be logged; it is counted either way.
    fn allow(&self, name: &'static str, now: u64) -> bool {
        let mut limits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || Counted { bucket: Bucket::new(PEERS_RATE, now), suppressed: 0 };
        let counted = limits.entry(name).or_insert_with(fresh);
        let allowed = counted.bucket.take(1, now);
        counted.suppressed = counted.suppressed.saturating_add(u64::from(!allowed));
        allowed
    }

    /// What was not logged since this was last asked.
    fn take_suppressed(&self) -> Vec<LogSuppressed> {
        let mut limits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = limits.iter_mut().map(|(name, counted)| LogSuppressed {
            of: name,
            count: std::mem::take(&mut counted.suppressed),
        });
        taken.filter(|suppressed| suppressed.count > 0).collect()
    }
}

/// Milliseconds since the first call, on a clock that nobody sets.
fn steady_now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Says of each event `of peers` how many were not logged since this was last said; nothing when
/// all were.
pub fn say_suppressed() {
    LIMITS.take_suppressed().iter().for_each(LogSuppressed::emit);
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
                    let limited = is_of_peers!($($peers)?) && tracing::Level::$level <= LevelFilter::current();
                    if !limited || LIMITS.allow(Self::NAME, steady_now()) {
                        self.emit_always();
                    }
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
                of_peers: is_of_peers!($($peers)?),
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
    INFO HeadersRequested = "headers_requested" of PEERS {
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
    INFO BlocksRequested = "blocks_requested" of PEERS {
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
    /// A branch with more work forks off too deep to be taken without a person's word: once for
    /// each fork.
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
    /// Peers brought an event about so often that not all of it was logged: said twice a minute at
    /// most, and at the end.
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
        let limits = Limits(Mutex::new(BTreeMap::new()));
        let logged = (0..10_000).filter(|_| limits.allow("one", 0)).count();
        assert_eq!(logged as u64, PEERS_RATE.burst);
        assert!(limits.allow("another", 0), "each name by itself");
        let said: Vec<_> =
            limits.take_suppressed().iter().map(|said| (said.of, said.count)).collect();
        assert_eq!(said, [("one", 10_000 - PEERS_RATE.burst)]);
        assert!(limits.take_suppressed().is_empty(), "once");
        let later = 1_000 / PEERS_RATE.per_second;
        assert!(limits.allow("one", later) && !limits.allow("one", later));
    }

    /// An event of these tests alone, since the others' limits are those of the whole process.
    #[allow(dead_code, unreachable_pub)] // as the macro makes it
    mod probe {
        use super::super::*;

        events! {
            /// A test asked for it.
            INFO Probe = "probe" of PEERS {
                /// Which.
                number: u64,
            }
        }
    }

    /// Counts the lines of a log.
    #[derive(Clone, Default)]
    struct Lines(std::sync::Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("alone").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_flood_is_cut_off_and_its_rest_is_said_though_nothing_follows() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber =
            tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
        let began = Instant::now();
        let total = 2 * PEERS_RATE.burst;
        tracing::subscriber::with_default(subscriber, || {
            (0..total).for_each(|number| probe::Probe { number }.emit());
            say_suppressed();
        });
        let gained = PEERS_RATE.per_second * (began.elapsed().as_secs() + 1);
        let log = String::from_utf8(lines.0.lock().expect("alone").clone()).expect("text");
        let logged = log.lines().filter(|line| line.contains(r#""event":"probe""#)).count() as u64;
        assert!(
            (PEERS_RATE.burst..=PEERS_RATE.burst + gained).contains(&logged),
            "{logged} of {total}"
        );
        let rest = format!(r#""of":"probe","count":{}"#, total - logged);
        assert!(log.lines().last().is_some_and(|line| line.contains(&rest)), "{rest}");
    }

    #[test]
    fn what_names_a_peer_is_limited() {
        let names_peer = |spec: &&EventSpec| spec.fields.iter().any(|(name, ..)| *name == "peer");
        for spec in TABLE.iter().filter(names_peer).filter(|spec| spec.level != "DEBUG") {
            assert!(spec.of_peers, "{} can be brought about by that peer at will", spec.name);
        }
    }

    /// The table in deploy/README.md.
    fn table() -> String {
        let row = |EventSpec { name, level, meaning, fields, of_peers }: &EventSpec| {
            let limited = if *of_peers { " †" } else { "" };
            let fields: Vec<_> =
                fields.iter().map(|(name, ty, meaning)| field(name, ty, meaning)).collect();
            format!(
                "| `{name}`{limited} | {level} | {} | {} |\n",
                meaning.trim(),
                fields.join("<br>")
            )
        };
        let head = "| event | level | when | fields |\n|---|---|---|---|\n".to_owned();
        head + &TABLE.iter().map(row).collect::<String>()
    }

    /// One field: its name, the type that it has in JSON, and what it says.
    fn field(name: &str, ty: &str, meaning: &str) -> String {
        let (inner, absent) =
            match ty.strip_prefix("Option<").and_then(|rest| rest.strip_suffix('>')) {
                Some(inner) => (inner, " or absent"),
                None => (ty, ""),
            };
        let json = match inner {
            "u32" | "u64" | "usize" | "i64" => "number",
            "bool" => "boolean",
            "BlockHash" | "TxId" | "PeerId" | "String" | "&'static str" | "Cow<'static, str>" => {
                "text"
            }
            other => panic!("what does {other} look like in JSON?"),
        };
        format!("`{name}` ({json}{absent}): {}", meaning.trim())
    }

    #[test]
    fn the_documents_table_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/README.md");
        let document = std::fs::read_to_string(path).expect("deploy/README.md");
        let table = table();
        assert!(
            document.contains(&table),
            "the table of events in deploy/README.md should be:\n{table}"
        );
    }
}

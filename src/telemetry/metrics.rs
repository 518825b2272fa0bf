//! Declares every metric that a node serves: its name, unit, labels and help text.
//!
//! Each owner of metrics has one struct and counts in it. The node registers all structs, and its
//! HTTP listener serves them. Clones share the numbers. The table of metrics in `deploy/README.md`
//! has the same texts; a test compares the two.
//!
//! # Security
//! A label's value is one of the program's own words, never a word from a peer, so no peer can
//! create another series.

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

/// Prefix of every metric's name.
pub const PREFIX: &str = "friendchain";

/// Upper bounds of the buckets for durations, in seconds. They reach from a request on the same
/// machine to the longest time-out, 30 s.
const DURATIONS: [f64; 12] =
    [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

/// The labels of a series: names and values.
type Labels<const N: usize> = [(&'static str, &'static str); N];

/// A counter for each set of labels.
type Counters<const N: usize> = Family<Labels<N>, Counter>;

/// A gauge for each set of labels.
type Gauges<const N: usize> = Family<Labels<N>, Gauge>;

/// A gauge with a fraction.
type Float = Gauge<f64, AtomicU64>;

/// A histogram of durations for each set of labels.
type Durations<const N: usize> = Family<Labels<N>, Histogram, fn() -> Histogram>;

fn durations() -> Histogram {
    Histogram::new(DURATIONS)
}

macro_rules! initial {
    () => {
        Default::default()
    };
    ($value:expr) => {
        $value
    };
}

macro_rules! unit {
    () => {
        None
    };
    ($unit:ident) => {
        Some(Unit::$unit)
    };
}

macro_rules! metrics {
    ($(
        $(#[doc = $about:literal])+
        $owner:ident {
            $(
                $(#[doc = $help:literal])+
                $name:ident $(in $unit:ident)?: $ty:ty $(= $value:expr)?,
            )*
        }
    )*) => {$(
        $(#[doc = $about])+
        #[derive(Debug, Clone)]
        pub struct $owner { $( $(#[doc = $help])+ pub $name: $ty, )* }

        impl Default for $owner {
            fn default() -> Self {
                Self { $( $name: initial!($($value)?), )* }
            }
        }

        impl $owner {
            /// Registers these metrics, so that the listener serves them.
            pub fn register(&self, registry: &mut Registry) {
                let registry = registry.sub_registry_with_prefix(PREFIX);
                $(
                    let help = concat!($($help),+).trim().trim_end_matches('.');
                    let (name, metric) = (stringify!($name), self.$name.clone());
                    match unit!($($unit)?) {
                        Some(unit) => registry.register_with_unit(name, help, unit, metric),
                        None => registry.register(name, help, metric),
                    }
                )*
            }
        }
    )*};
}

metrics! {
    /// Metrics that the network task counts.
    NetMetrics {
        /// Ended requests of this node; outcome is answered, or the reason for no answer.
        requests: Counters<2>,
        /// Duration of this node's requests, including the wait in the queue.
        request_duration in Seconds: Durations<1> = Family::new_with_constructor(durations),
        /// Requests of peers; outcome is answered, busy, `rate_limited`, malformed or
        /// unanswered.
        requests_served: Counters<2>,
        /// Bytes of requests and answers, without the transport's overhead.
        protocol in Bytes: Counters<2>,
        /// Verdicts on gossip messages that peers forwarded.
        gossip_verdicts: Counters<2>,
    }

    /// Metrics that the chain's store counts.
    StoreMetrics {
        /// Duration of one durable commit to chain.redb.
        commit_duration in Seconds: Histogram = durations(),
    }

    /// Metrics that the router counts as events reach it.
    EventMetrics {
        /// Blocks that joined the best chain since the start.
        blocks_connected: Counter,
        /// Blocks that left the best chain since the start.
        blocks_disconnected: Counter,
        /// Changes to another branch since the start.
        reorganisations: Counter,
        /// Trades and notes that entered the mempool; origin is local or peer.
        trades_accepted: Counters<1>,
        /// Trades and notes that left the mempool without being mined.
        trades_dropped: Counters<1>,
        /// Penalties of peers that broke a rule.
        peer_penalties: Counters<1>,
        /// Reservations and circuits that peers asked of this node; what is reserved, refused,
        /// circuit, `circuit_refused` or `circuit_closed`.
        relay_requests: Counters<1>,
        /// Attempts to reach a peer without its relay; outcome is direct or failed.
        hole_punches: Counters<1>,
        /// 1 for the way in which others reach this node, 0 for the others.
        reach: Gauges<1>,
        /// Connected peers behind relays.
        relayed_peers: Gauge,
    }

    /// State of the node, read each time the metrics are requested.
    NodeMetrics {
        /// Always 1; the label holds the program's version.
        build_info: Family<[(&'static str, String); 1], Gauge>,
        /// Always 1; the labels identify the node and its chain.
        node_info: Family<[(&'static str, String); 3], Gauge>,
        /// 1 if /readyz answers 200, else 0.
        ready: Gauge,
        /// Height of the tip.
        height: Gauge,
        /// Height of the best known header.
        best_header_height: Gauge,
        /// Expected number of hashes to make the best chain.
        work: Float,
        /// Our clock minus the time in the tip's header.
        tip_age in Seconds: Float,
        /// Target interval between two blocks; 0 if the chain's difficulty is fixed.
        spacing in Seconds: Float,
        /// 1 for the node's present phase, 0 for the others.
        sync_phase: Gauges<1>,
        /// Blocks between the tip and the best known header.
        sync_blocks_behind: Gauge,
        /// Recent rate of blocks that joined the chain; 0 when not syncing.
        sync_blocks_per_second: Gauge,
        /// Number of trades and notes in the mempool.
        mempool_trades: Gauge,
        /// Memory of the trades and notes in the mempool.
        mempool in Bytes: Gauge,
        /// Least fee of a peer's trade, in units per 1,000 bytes; 0 unless the mempool is or
        /// recently was full.
        mempool_fee_floor_units: Gauge,
        /// Number of connected peers.
        peers: Gauge,
        /// Sealed chat lines that this node keeps for friends who are away.
        kept_lines: Gauge,
        /// Open connections; direction is inbound or outbound, transport is tcp or quic.
        connections: Gauges<2>,
        /// Our clock minus the median of the friends' clocks at hello; 0 without friends.
        clock_offset in Seconds: Float,
        /// 1 while miner threads search, else 0.
        mining: Gauge,
        /// Hashes that the miner has tried since the start.
        hashes: Counter,
        /// Blocks mined here that joined the best chain since the start.
        blocks_mined: Counter,
        /// Lengths of the database files.
        database in Bytes: Gauges<1>,
        /// Free space on the data folder's disk; NaN if the system does not report it.
        disk_free in Bytes: Float,
    }

    /// Resources that the process uses, where the system reports them.
    ProcessMetrics {
        /// Resident memory of the process.
        process_resident_memory in Bytes: Gauge,
        /// Memory limit of the control group; 0 without a limit, or with control groups v1.
        process_memory_limit in Bytes: Gauge,
        /// Processor time of all threads.
        process_cpu in Seconds: Counter<f64, AtomicU64>,
        /// Open files and sockets.
        process_open_fds: Gauge,
        /// Start of the program, as unix time.
        process_start_time in Seconds: Float,
    }
}

impl NetMetrics {
    /// Counts an ended request of this node.
    pub fn request_ended(&self, protocol: &'static str, outcome: &'static str, took: Duration) {
        self.requests.get_or_create(&[("protocol", protocol), ("outcome", outcome)]).inc();
        self.request_duration.get_or_create(&[("protocol", protocol)]).observe(took.as_secs_f64());
    }

    /// Counts a peer's request, once its outcome is known.
    pub fn request_served(&self, protocol: &'static str, outcome: &'static str) {
        self.requests_served.get_or_create(&[("protocol", protocol), ("outcome", outcome)]).inc();
    }

    /// Counts the bytes of a message in either direction.
    pub fn message(&self, protocol: &'static str, direction: &'static str, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.protocol
            .get_or_create(&[("protocol", protocol), ("direction", direction)])
            .inc_by(bytes);
    }

    /// Counts a verdict on a gossip message.
    pub fn verdict(&self, topic: &'static str, verdict: &'static str) {
        self.gossip_verdicts.get_or_create(&[("topic", topic), ("verdict", verdict)]).inc();
    }
}

impl EventMetrics {
    /// Counts the blocks of a change of the best chain.
    pub fn tip_changed(&self, disconnected: usize, connected: usize) {
        let count = |blocks: usize| u64::try_from(blocks).unwrap_or(u64::MAX);
        self.blocks_connected.inc_by(count(connected));
        self.blocks_disconnected.inc_by(count(disconnected));
        self.reorganisations.inc_by(u64::from(disconnected > 0));
    }

    /// Counts a trade that entered the mempool.
    pub fn trade_accepted(&self, local: bool) {
        self.trades_accepted
            .get_or_create(&[("origin", if local { "local" } else { "peer" })])
            .inc();
    }

    /// Counts a trade that left the mempool without being mined.
    pub fn trade_dropped(&self, reason: &'static str) {
        self.trades_dropped.get_or_create(&[("reason", reason)]).inc();
    }

    /// Counts a penalty of a peer.
    pub fn peer_penalised(&self, offence: &'static str) {
        self.peer_penalties.get_or_create(&[("offence", offence)]).inc();
    }
}

impl NodeMetrics {
    /// Sets the labels that identify the program and the node.
    pub fn describe(&self, version: &str, name: &str, peer_id: String, network_id: String) {
        self.build_info.get_or_create(&[("version", version.to_owned())]).set(1);
        let labels = [("name", name.to_owned()), ("peer_id", peer_id), ("network_id", network_id)];
        self.node_info.get_or_create(&labels).set(1);
    }

    /// Sets the metric of `phase` to 1, and those of the other phases to 0.
    pub fn set_phase(&self, all: impl IntoIterator<Item = &'static str>, phase: &'static str) {
        for name in all {
            self.sync_phase.get_or_create(&[("phase", name)]).set(i64::from(name == phase));
        }
    }

    /// Sets the number of connections of one direction and transport.
    pub fn set_connections(&self, inbound: bool, quic: bool, count: usize) {
        let direction = if inbound { "inbound" } else { "outbound" };
        let transport = if quic { "quic" } else { "tcp" };
        self.connections
            .get_or_create(&[("direction", direction), ("transport", transport)])
            .set(gauge(count));
    }

    /// Sets the length of a database file.
    pub fn set_database(&self, file: &'static str, bytes: u64) {
        self.database.get_or_create(&[("file", file)]).set(gauge(bytes));
    }
}

/// Converts a number to a gauge's type; a number out of range becomes the largest.
#[must_use]
pub fn gauge(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// Raises a counter to the count that its owner keeps. A counter never falls.
pub fn raise(counter: &Counter, to: u64) {
    counter.inc_by(to.saturating_sub(counter.get()));
}

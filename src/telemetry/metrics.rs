//! The names, units and labels of everything that is measured: the one place that defines them.
//!
//! One struct for each owner, who counts in it; the node registers them all, and its HTTP listener
//! shows them. The table in `deploy/README.md` follows: a test compares the two. Clones share the
//! numbers. A label's value is one of the program's own words, never a peer's: nothing that a peer
//! does makes one series more.

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

/// What every name begins with.
pub const PREFIX: &str = "friendchain";

/// Upper ends of the buckets for durations, in seconds: from a question on the same machine to the
/// longest time-out.
const DURATIONS: [f64; 12] =
    [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

/// Names and values of a series' labels.
type Labels<const N: usize> = [(&'static str, &'static str); N];

/// Counters that differ in labels.
type Counters<const N: usize> = Family<Labels<N>, Counter>;

/// Gauges that differ in labels.
type Gauges<const N: usize> = Family<Labels<N>, Gauge>;

/// A number with a fraction.
type Float = Gauge<f64, AtomicU64>;

/// Durations that differ in labels.
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
            $( $(#[doc = $help:literal])+ $name:ident $(in $unit:ident)?: $ty:ty $(= $value:expr)?, )*
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
            /// Adds them to what is shown.
            pub fn register(&self, registry: &mut Registry) {
                let registry = registry.sub_registry_with_prefix(PREFIX);
                $(
                    let help = concat!($($help),+).trim().trim_end_matches('.');
                    match unit!($($unit)?) {
                        Some(unit) => registry.register_with_unit(stringify!($name), help, unit, self.$name.clone()),
                        None => registry.register(stringify!($name), help, self.$name.clone()),
                    }
                )*
            }
        }
    )*};
}

metrics! {
    /// What the network counts.
    NetMetrics {
        /// Requests of this node that have ended; outcome is answered, or why there is no answer.
        requests: Counters<2>,
        /// From a request of this node to its end, the wait for its turn included.
        request_duration in Seconds: Durations<1> = Family::new_with_constructor(durations),
        /// Requests of peers; outcome is answered, busy, malformed or unanswered.
        requests_served: Counters<2>,
        /// Messages of requests and answers, without what the transport adds.
        protocol in Bytes: Counters<2>,
        /// What became of gossip that peers handed on.
        gossip_verdicts: Counters<2>,
    }

    /// What the chain's store counts.
    StoreMetrics {
        /// What one durable commit to chain.redb takes.
        commit_duration in Seconds: Histogram = durations(),
    }

    /// What the node counts as it hears of it.
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
    }

    /// How the node stands: brought up to date when somebody looks.
    NodeMetrics {
        /// Always 1; which program this is.
        build_info: Family<[(&'static str, String); 1], Gauge>,
        /// Always 1; which node this is, on which chain.
        node_info: Family<[(&'static str, String); 3], Gauge>,
        /// Whether /readyz says so.
        ready: Gauge,
        /// Of the tip.
        height: Gauge,
        /// Of the best header known.
        best_header_height: Gauge,
        /// Expected hashes behind the tip.
        work: Float,
        /// Since the time that the tip bears, by our clock.
        tip_age in Seconds: Float,
        /// What the chain wants between two blocks; 0 where its difficulty never changes.
        spacing in Seconds: Float,
        /// 1 for the phase that the node is in, 0 for the others.
        sync_phase: Gauges<1>,
        /// Blocks between the tip and the best header known.
        sync_blocks_behind: Gauge,
        /// Blocks a second that joined the chain lately; 0 when not syncing.
        sync_blocks_per_second: Gauge,
        /// Trades and notes that wait.
        mempool_trades: Gauge,
        /// Memory that they take.
        mempool in Bytes: Gauge,
        /// The fee, in units for each 1,000 bytes, that a peer's trade has to pay; 0 unless the
        /// mempool is full or was a moment ago.
        mempool_fee_floor_units: Gauge,
        /// Connected peers.
        peers: Gauge,
        /// Connections to them; direction is inbound or outbound, transport is tcp or quic.
        connections: Gauges<2>,
        /// Our clock less the median of the connected friends' as they said hello; 0 when nobody
        /// did.
        clock_offset in Seconds: Float,
        /// Whether miner threads are searching.
        mining: Gauge,
        /// Hashes that the miner has tried since the start.
        hashes: Counter,
        /// Blocks mined here that joined the best chain since the start.
        blocks_mined: Counter,
        /// The database files, as long as they are.
        database in Bytes: Gauges<1>,
        /// Room that is left on the disk of the data folder; NaN where the system does not say.
        disk_free in Bytes: Float,
    }

    /// What the process takes, where the system says.
    ProcessMetrics {
        /// Memory that is resident.
        process_resident_memory in Bytes: Gauge,
        /// Memory that the control group allows; 0 when it sets no limit, or is of version 1.
        process_memory_limit in Bytes: Gauge,
        /// Time on processors, of all threads.
        process_cpu in Seconds: Counter<f64, AtomicU64>,
        /// Files and sockets that are open.
        process_open_fds: Gauge,
        /// When the program was started, as unix time.
        process_start_time in Seconds: Float,
    }
}

impl NetMetrics {
    /// A request of this node has ended.
    pub fn request_ended(&self, protocol: &'static str, outcome: &'static str, took: Duration) {
        self.requests.get_or_create(&[("protocol", protocol), ("outcome", outcome)]).inc();
        self.request_duration.get_or_create(&[("protocol", protocol)]).observe(took.as_secs_f64());
    }

    /// A peer's request got its answer, or none.
    pub fn request_served(&self, protocol: &'static str, outcome: &'static str) {
        self.requests_served.get_or_create(&[("protocol", protocol), ("outcome", outcome)]).inc();
    }

    /// A message came in or went out.
    pub fn message(&self, protocol: &'static str, direction: &'static str, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.protocol
            .get_or_create(&[("protocol", protocol), ("direction", direction)])
            .inc_by(bytes);
    }

    /// It was decided what becomes of a gossip message.
    pub fn verdict(&self, topic: &'static str, verdict: &'static str) {
        self.gossip_verdicts.get_or_create(&[("topic", topic), ("verdict", verdict)]).inc();
    }
}

impl EventMetrics {
    /// The best chain changed by so many blocks.
    pub fn tip_changed(&self, disconnected: usize, connected: usize) {
        let count = |blocks: usize| u64::try_from(blocks).unwrap_or(u64::MAX);
        self.blocks_connected.inc_by(count(connected));
        self.blocks_disconnected.inc_by(count(disconnected));
        self.reorganisations.inc_by(u64::from(disconnected > 0));
    }

    /// A trade entered the mempool.
    pub fn trade_accepted(&self, local: bool) {
        self.trades_accepted
            .get_or_create(&[("origin", if local { "local" } else { "peer" })])
            .inc();
    }

    /// A trade left the mempool without being mined.
    pub fn trade_dropped(&self, reason: &'static str) {
        self.trades_dropped.get_or_create(&[("reason", reason)]).inc();
    }

    /// A peer lost score.
    pub fn peer_penalised(&self, offence: &'static str) {
        self.peer_penalties.get_or_create(&[("offence", offence)]).inc();
    }
}

impl NodeMetrics {
    /// Of the program, and of the node.
    pub fn describe(&self, version: &str, name: &str, peer_id: String, network_id: String) {
        self.build_info.get_or_create(&[("version", version.to_owned())]).set(1);
        let labels = [("name", name.to_owned()), ("peer_id", peer_id), ("network_id", network_id)];
        self.node_info.get_or_create(&labels).set(1);
    }

    /// The node is in one of these phases.
    pub fn set_phase(&self, all: impl IntoIterator<Item = &'static str>, phase: &'static str) {
        for name in all {
            self.sync_phase.get_or_create(&[("phase", name)]).set(i64::from(name == phase));
        }
    }

    /// How many connections there are of a kind.
    pub fn set_connections(&self, inbound: bool, quic: bool, count: usize) {
        let direction = if inbound { "inbound" } else { "outbound" };
        let transport = if quic { "quic" } else { "tcp" };
        self.connections
            .get_or_create(&[("direction", direction), ("transport", transport)])
            .set(gauge(count));
    }

    /// How long a database file is.
    pub fn set_database(&self, file: &'static str, bytes: u64) {
        self.database.get_or_create(&[("file", file)]).set(gauge(bytes));
    }
}

/// A number as gauges hold it.
#[must_use]
pub fn gauge(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// Brings a counter up to what its owner has counted.
pub fn raise(counter: &Counter, to: u64) {
    counter.inc_by(to.saturating_sub(counter.get()));
}

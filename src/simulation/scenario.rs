//! Whole runs by their options: a network of miners and users, a sync among faults, and two halves
//! that meet.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom as _};

use super::{
    faults::{Fault, Plan},
    figures::quantile,
    history::History,
    liars::Manner,
    links::Line,
    queue::Event,
    world::World,
};
use crate::{primitives::BlockHash, sync::Phase};

/// The spacing of the simulated network, in ms: the default of a new chain.
pub(crate) const SPACING_MS: u64 = 10_000;
/// The number of blocks that all nodes have at the start. The difficulty has settled by then.
const HISTORY: usize = 250;
/// The number of connections that each honest node makes, and the maximum that it has.
const DEGREE: (usize, usize) = (4, 12);
/// The number of honest nodes that a liar connects to.
const LIAR_LINKS: usize = 8;
/// One in this number of honest nodes starts without any block.
const NEWCOMERS: usize = 10;
/// The longest time that a newcomer's sync may take, in ms.
const SYNC_LIMIT_MS: u64 = 1_800_000;
/// The length from which on a run has ticks once a second and templates every five.
const LONG_MINUTES: u64 = 240;

/// The options of a run.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) nodes: usize,
    pub(crate) seed: u64,
    pub(crate) minutes: u64,
    pub(crate) faults: Plan,
    /// The number of liars in addition to the nodes, one of each kind in turn.
    pub(crate) liars: usize,
    /// The share of the hash power whose miner withholds bodies.
    pub(crate) withhold: f64,
    /// The share of the payments that a node does not take from gossip.
    pub(crate) unheard: f64,
    /// The mean time between two payments, in ms.
    pub(crate) pay_every_ms: u64,
    /// True if the withholding miner's power is missing instead of lying.
    pub(crate) without_liars: bool,
    /// The delay of all links one way, in ms. The nodes are then all connected with each other and
    /// lose no packet, as those of the bench `spread`.
    pub(crate) delay_ms: Option<u64>,
}

impl Options {
    /// Returns the options of one node without users.
    fn alone(seed: u64) -> Self {
        Self {
            nodes: 1,
            seed,
            minutes: 0,
            faults: Plan::default(),
            liars: 0,
            withhold: 0.0,
            unheard: 0.0,
            pay_every_ms: 0,
            without_liars: false,
            delay_ms: None,
        }
    }

    /// Returns the options that repeat the run.
    pub(crate) fn replay(&self) -> String {
        let mut text = format!(
            "cargo run --release --example simulate -- --nodes {} --seed {} --minutes {}",
            self.nodes, self.seed, self.minutes
        );
        for (is_on, flag) in [
            (self.faults == Plan::ALL, " --faults".to_owned()),
            (self.liars > 0, format!(" --liars {}", self.liars)),
            (self.withhold > 0.0, format!(" --withhold {}", self.withhold)),
            (self.unheard > 0.0, format!(" --unheard {}", self.unheard)),
            (self.pay_every_ms > 0, format!(" --pay-every {}", self.pay_every_ms as f64 / 1e3)),
            (self.delay_ms.is_some(), format!(" --delay {}", self.delay_ms.unwrap_or_default())),
        ] {
            if is_on {
                text.push_str(&flag);
            }
        }
        text
    }
}

/// The result of a run.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) violations: Vec<String>,
    /// A hash of all events. Equal seeds give equal hashes.
    pub(crate) course: u64,
    /// The times in ms until a block had reached all honest nodes: median, 90 %, 99 %, maximum.
    pub(crate) spread: [u32; 4],
    /// The times in ms until a block had reached one honest node: median, 90 %, 99 %.
    pub(crate) each: [u32; 3],
    /// The times in ms until a payment was in the mempool of one further honest node, likewise.
    pub(crate) heard: [u32; 3],
    /// The times in ms until a newcomer was synced: median and maximum.
    pub(crate) newcomers: [u32; 2],
    /// Requests of all relays for parts or bodies of announced blocks.
    pub(crate) relay_requests: u64,
    /// The average bytes that an honest node sent in a minute.
    pub(crate) bytes_a_minute: f64,
    /// The share of gossip in these bytes.
    pub(crate) gossip: f64,
    /// The blocks of honest miners: all, and those on the agreed chain.
    pub(crate) honest: (usize, usize),
    pub(crate) payments: (u64, u64),
    pub(crate) crashes: u64,
    pub(crate) bans: usize,
    pub(crate) diverged: u64,
    /// The real time of the run.
    pub(crate) took: Duration,
}

impl Outcome {
    /// Returns the share of the honest blocks that are not on the agreed chain.
    pub(crate) fn stale(&self) -> f64 {
        let (all, kept) = self.honest;
        all.saturating_sub(kept) as f64 / all.max(1) as f64
    }

    pub(crate) fn line(&self) -> String {
        let [median, p90, p99, most] = self.spread;
        let (payments, void) = self.payments;
        format!(
            "{} blocks ({:.1} % stale), to all in {median} ms (p90 {p90}, p99 {p99}, most {most}), \
             {:.0} kB a node and minute ({:.0} % gossip), {payments} payments ({void} void), {} \
             crashes, {} bans, {} diverged, course {:016x}, {:.1} s",
            self.honest.0,
            100.0 * self.stale(),
            self.bytes_a_minute / 1e3,
            100.0 * self.gossip,
            self.crashes,
            self.bans,
            self.diverged,
            self.course,
            self.took.as_secs_f64(),
        )
    }

    /// Returns the times of single nodes as text.
    pub(crate) fn times(&self) -> String {
        let ([block, block_p90, block_p99], [paid, paid_p90, paid_p99]) = (self.each, self.heard);
        let [newcomer, last] = self.newcomers;
        format!(
            "a block to a node in {block} ms (p90 {block_p90}, p99 {block_p99}), a payment in \
             {paid} ms (p90 {paid_p90}, p99 {paid_p99}), a newcomer synced in {newcomer} ms (most \
             {last}), {} requests of relays",
            self.relay_requests
        )
    }
}

/// Draws the properties of a link: a home line to a place on the continent, sometimes lossy.
fn line(rng: &mut StdRng) -> Line {
    Line {
        delay_us: rng.random_range(5_000..60_000),
        bytes_per_ms: rng.random_range(250.0..5_000.0),
        loss: if rng.random_bool(0.2) { rng.random_range(0.0..10.0) } else { 0.0 },
    }
}

/// Connects the honest nodes so that each can reach each other, directly or through others.
fn connect_all(world: &mut World, nodes: usize, rng: &mut StdRng) {
    let mut degree = vec![0; nodes];
    let mut join = |world: &mut World, a: usize, b: usize, rng: &mut StdRng| {
        if a == b || world.links.has(a, b) || degree[a] >= DEGREE.1 || degree[b] >= DEGREE.1 {
            return;
        }
        degree[a] += 1;
        degree[b] += 1;
        world.connect(a, b, line(rng));
        if rng.random_bool(1.0 / 3.0) {
            world.befriend(a, b);
            world.befriend(b, a);
        }
    };
    for node in 1..nodes {
        // A recent node always has room for a connection.
        let other = rng.random_range(node.saturating_sub(5)..node);
        join(world, node, other, rng);
    }
    for node in 0..nodes {
        for _ in 1..DEGREE.0 {
            let other = rng.random_range(0..nodes);
            join(world, node, other, rng);
        }
    }
}

/// Connects each node with each other over links of one delay.
fn mesh(world: &mut World, nodes: usize, delay_ms: u64) {
    for a in 0..nodes {
        for b in 0..a {
            let line = Line { delay_us: 1_000 * delay_ms, bytes_per_ms: 5_000.0, loss: 0.0 };
            world.connect(a, b, line);
            world.befriend(a, b);
            world.befriend(b, a);
        }
    }
}

/// Returns the chain of all nodes at the start, which is mined once.
fn start(wallets: usize) -> History {
    static MADE: Mutex<BTreeMap<usize, History>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    made.entry(wallets).or_insert_with(|| History::new(SPACING_MS, HISTORY, wallets)).clone()
}

fn add_liars(world: &mut World, history: &History, options: &Options, rng: &mut StdRng) {
    let honest = options.nodes;
    let mut kinds: Vec<Manner> =
        Manner::LIARS.into_iter().filter(|manner| *manner != Manner::Selfish).collect();
    kinds.shuffle(rng);
    let mut all: Vec<Manner> = kinds.into_iter().cycle().take(options.liars).collect();
    if options.withhold > 0.0 {
        all.push(Manner::Selfish);
    }
    let cheap = all.contains(&Manner::Cheap).then(|| {
        // The branch has half of the blocks, each with the least work.
        let mut cheap = History::new(SPACING_MS, 0, 1);
        cheap.power /= 4.0;
        cheap.extend(HISTORY / 2, 1, 99);
        cheap
    });
    for manner in all {
        let own = cheap.as_ref().filter(|_| manner == Manner::Cheap).unwrap_or(history);
        let liar = world.add(own, manner);
        let mut others: Vec<usize> = (0..honest).collect();
        others.shuffle(rng);
        for other in others.into_iter().take(LIAR_LINKS) {
            world.connect(liar, other, line(rng));
        }
        if manner == Manner::Invalid {
            world.make_forged(liar, 10);
        }
        if manner == Manner::Selfish {
            world.set_power(liar, options.withhold);
        }
    }
}

/// Runs a network of miners who pay each other.
pub(crate) fn network(options: &Options) -> Outcome {
    let started = Instant::now();
    let history = start(options.nodes);
    let empty = History { file: Vec::new(), ..history.clone() };
    let mut world = World::new(history.clone(), options.seed);
    if options.minutes >= LONG_MINUTES {
        world.delays.tick_us = 1_000_000;
        world.delays.template_us = 5_000_000;
    }
    let mut rng = StdRng::seed_from_u64(options.seed ^ 0x5eed);
    for node in 0..options.nodes {
        let is_new = node % NEWCOMERS == NEWCOMERS - 1;
        world.add(if is_new { &empty } else { &history }, Manner::Honest);
    }
    match options.delay_ms {
        Some(delay) => mesh(&mut world, options.nodes, delay),
        None => connect_all(&mut world, options.nodes, &mut rng),
    }
    let share = (1.0 - options.withhold) / options.nodes as f64;
    for node in 0..options.nodes {
        world.set_power(node, share);
    }
    if !options.without_liars {
        add_liars(&mut world, &history, options, &mut rng);
    }
    world.unheard = options.unheard;
    world.pay_every(options.pay_every_ms);
    world.plan_faults(options.faults, options.minutes);
    world.run_for(options.minutes * 60_000);
    world.finish();
    outcome(&world, options.minutes, started)
}

fn outcome(world: &World, minutes: u64, started: Instant) -> Outcome {
    let honest = world.honest();
    let figures = &world.figures;
    let mined = figures.blocks.values().filter(|born| born.is_honest).count();
    let kept: Vec<BlockHash> = figures
        .chain
        .iter()
        .filter(|hash| figures.blocks.get(hash).is_some_and(|born| born.is_honest))
        .copied()
        .collect();
    let times = figures.spread(&kept, &honest);
    let is_new = |node: &usize| node % NEWCOMERS == NEWCOMERS - 1;
    let newcomers = figures.each_synced(honest.iter().copied().filter(is_new));
    let shares = |times: &[u32]| [0.5, 0.9, 0.99].map(|share| quantile(times, share));
    let sent: Vec<_> = honest.iter().map(|node| world.nodes[*node].sent).collect();
    let all: u64 = sent.iter().map(super::node::Sent::all).sum();
    let gossip: u64 = sent.iter().map(|sent| sent.gossip).sum();
    let nodes = honest.len().max(1) as f64;
    Outcome {
        violations: world.violations.clone(),
        course: world.course,
        spread: [0.5, 0.9, 0.99, 1.0].map(|share| quantile(&times, share)),
        each: shares(&figures.each(&kept, &honest)),
        heard: shares(&figures.each_payment(&honest)),
        newcomers: [0.5, 1.0].map(|share| quantile(&newcomers, share)),
        relay_requests: figures.relay_requests,
        bytes_a_minute: all as f64 / nodes / minutes.max(1) as f64,
        gossip: gossip as f64 / all.max(1) as f64,
        honest: (mined, kept.len()),
        payments: (figures.payments, figures.void),
        crashes: figures.crashes,
        bans: figures.bans.len(),
        diverged: figures.diverged,
        took: started.elapsed(),
    }
}

/// The result of a newcomer's sync.
#[derive(Debug, Clone)]
pub(crate) struct Fetched {
    pub(crate) outcome: Outcome,
    /// The virtual time of the sync in ms, if it finished.
    pub(crate) took: Option<u64>,
    /// The number of bodies that the newcomer handed to its chain.
    pub(crate) bodies: u64,
    /// The bytes of all answers to the newcomer.
    pub(crate) bytes: u64,
}

/// Lets a newcomer fetch a chain from four peers. Unless it is `calm`, they are killed, cut off and
/// slowed meanwhile. The newcomer is also connected to `liars`.
pub(crate) fn sync(seed: u64, history: &History, (liars, calm): (usize, bool)) -> Fetched {
    let started = Instant::now();
    let mut world = World::new(history.clone(), seed);
    let mut rng = StdRng::seed_from_u64(seed ^ 0xfa17);
    let empty = History { file: Vec::new(), ..history.clone() };
    let newcomer = world.add(&empty, Manner::Honest);
    for _ in 0..4 {
        let server = world.add(history, Manner::Honest);
        let rate = if calm { 250.0..5_000.0 } else { 20.0..400.0 };
        let line = Line { bytes_per_ms: rng.random_range(rate), ..line(&mut rng) };
        world.connect(newcomer, server, line);
    }
    // The liars' own choices leave those of the faults as they are.
    let mut of_liars = StdRng::seed_from_u64(seed ^ 0x11a5);
    add_liars(&mut world, history, &Options { liars, ..Options::alone(seed) }, &mut of_liars);
    if !calm {
        plan_sync_faults(&mut world, newcomer, &mut rng);
    }
    let target = world.tip(1);
    let took = world.run_until(SYNC_LIMIT_MS, |world| {
        world.tip(newcomer) == target && world.phase(newcomer) == Some(Phase::Synced)
    });
    Fetched {
        outcome: outcome(&world, SYNC_LIMIT_MS / 60_000, started),
        took,
        bodies: world.nodes[newcomer].bodies,
        bytes: world.nodes.iter().map(|node| node.sent.answers).sum(),
    }
}

/// Kills, cuts off and slows the four peers of a newcomer, and sometimes crashes the newcomer.
fn plan_sync_faults(world: &mut World, newcomer: usize, rng: &mut StdRng) {
    let mut at = 0;
    while at < SYNC_LIMIT_MS * 500 {
        at += rng.random_range(500_000..20_000_000);
        let server = rng.random_range(1..5);
        let fault = match rng.random_range(0..4) {
            // A server writes nothing, so it can be killed at any time.
            0 => Fault::Kill { node: server, for_us: rng.random_range(1_000_000..60_000_000) },
            1 => Fault::Cut { a: newcomer, b: server },
            2 => {
                let for_us = rng.random_range(1_000_000..60_000_000);
                Fault::Stall { a: newcomer, b: server, for_us }
            }
            _ => Fault::Slow { node: server, factor: rng.random_range(2.0..100.0) },
        };
        world.queue.push(at, Event::Fault(fault));
        // The newcomer itself sometimes loses power.
        if rng.random_bool(0.1) {
            world.queue.push(at, Event::Fault(Fault::Crash { node: newcomer }));
        }
    }
}

/// Lets two halves of a network meet that mined apart. Returns the outcome, and the virtual time in
/// ms until they have one tip or report `diverged`.
pub(crate) fn halves(seed: u64, blocks: usize, limit_ms: u64) -> (Outcome, Option<u64>) {
    let started = Instant::now();
    let common = History::new(SPACING_MS, 70, 4);
    let (mut left, mut right) = (common.clone(), common.clone());
    left.extend(blocks, 4, 1);
    right.extend(blocks + blocks / 100 + 1, 4, 2);
    let start = left.start.max(right.start);
    let history = History { start, file: Vec::new(), ..common };
    let mut world = World::new(history, seed);
    let mut rng = StdRng::seed_from_u64(seed);
    for half in [&left, &right] {
        for _ in 0..2 {
            world.add(half, Manner::Honest);
        }
    }
    for (a, b) in [(0, 1), (2, 3), (0, 2), (1, 3)] {
        world.connect(a, b, line(&mut rng));
    }
    let took = world.run_until(limit_ms, |world| {
        let first = world.tip(0);
        (0..4).all(|node| {
            world.phase(node) == Some(Phase::Diverged)
                || world.phase(node) == Some(Phase::Synced) && world.tip(node) == first
        })
    });
    (outcome(&world, 1, started), took)
}

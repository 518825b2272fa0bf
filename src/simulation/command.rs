//! The command line of the example `simulate`.

use std::{
    fmt::Write as _,
    process::ExitCode,
    sync::atomic::{AtomicUsize, Ordering},
};

use clap::Parser;

use super::{
    faults::Plan,
    figures::quantile,
    history::History,
    plot,
    scenario::{self, Fetched, Options, Outcome, SPACING_MS},
};

/// Simulates the whole network in virtual time: cargo run --release --example simulate -- --nodes
/// 200 --seed 7 --minutes 60
#[derive(Debug, Parser)]
#[command(name = "simulate")]
struct Arguments {
    /// Number of honest nodes; all of them mine
    #[arg(long, default_value_t = 100)]
    nodes: usize,
    /// Seed of all random choices
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of runs, with this seed and the following ones
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Virtual minutes of each run
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// Crashes at any write, partitions, cut, stalled and slow links, and wrong clocks
    #[arg(long)]
    faults: bool,
    /// Number of lying nodes in addition, one of each kind in turn
    #[arg(long, default_value_t = 0)]
    liars: usize,
    /// Share of the hash power whose miner withholds bodies, such as 0.25; each run is compared
    /// with one without that miner
    #[arg(long, default_value_t = 0.0)]
    withhold: f64,
    /// Mean seconds between two payments; 0 for none
    #[arg(long, default_value_t = 20.0)]
    pay_every: f64,
    /// Share of the payments that a node does not take from gossip, such as 0.2; it then asks for
    /// them when a block names them
    #[arg(long, default_value_t = 0.0)]
    unheard: f64,
    /// Connect each node with each other over links of this delay one way, in ms, as the bench
    /// `spread` does with real nodes
    #[arg(long, value_name = "MS")]
    delay: Option<u64>,
    /// Let a newcomer fetch this many blocks from peers that are killed, cut off and slowed, beside
    /// the liars of `--liars`
    #[arg(long, value_name = "BLOCKS")]
    sync: Option<usize>,
    /// Leave out the faults of `--sync`, and give its peers the lines of the other runs
    #[arg(long)]
    calm: bool,
    /// Let two halves meet that mined this many blocks apart
    #[arg(long, value_name = "BLOCKS")]
    halves: Option<usize>,
    /// Print a table for these numbers of nodes, such as 10,30,100, and draw it into simulate.svg
    #[arg(long, value_name = "NODES", value_delimiter = ',')]
    table: Vec<usize>,
    /// Number of runs in parallel
    #[arg(long)]
    threads: Option<usize>,
    /// Print a line for the long run with this name
    #[arg(long, value_name = "NAME")]
    bar: Option<String>,
}

/// The minimum share of the honest block rate that must remain beside a miner who withholds.
const LEAST_RATE: f64 = 0.9;
/// The longest virtual time in which two halves must meet, in ms: for each 1,000 of their blocks,
/// and in addition once, as for a sync.
const MEETING_MS: (u64, u64) = (4_000, 120_000);

impl Arguments {
    fn options(&self, seed: u64) -> Options {
        Options {
            nodes: self.nodes.max(2),
            seed,
            minutes: self.minutes,
            faults: if self.faults { Plan::ALL } else { Plan::default() },
            liars: self.liars,
            withhold: self.withhold.clamp(0.0, 0.9),
            unheard: self.unheard.clamp(0.0, 1.0),
            pay_every_ms: (self.pay_every.max(0.0) * 1e3) as u64,
            without_liars: false,
            delay_ms: self.delay,
        }
    }

    fn threads(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.threads.unwrap_or(cores).max(1)
    }
}

/// Runs the simulations that the arguments of the process name.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let is_good = if let Some(blocks) = arguments.sync {
        sync(&arguments, blocks)
    } else if let Some(blocks) = arguments.halves {
        halves(&arguments, blocks)
    } else if !arguments.table.is_empty() {
        table(&arguments)
    } else if arguments.withhold > 0.0 {
        withheld(&arguments)
    } else {
        networks(&arguments)
    };
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one job for each seed, several at once, and prints a line for each.
fn each_seed<T: Send>(arguments: &Arguments, job: impl Fn(u64) -> (T, String) + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let mut found: Vec<(usize, T)> = std::thread::scope(|scope| {
        let work = || {
            let mut mine = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number as u64 >= arguments.seeds {
                    return mine;
                }
                let (result, line) = job(arguments.seed.wrapping_add(number as u64));
                println!("{line}");
                mine.push((number, result));
            }
        };
        let threads: Vec<_> = (0..arguments.threads()).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a run panicked")).collect()
    });
    found.sort_by_key(|(number, _)| *number);
    found.into_iter().map(|(_, result)| result).collect()
}

/// Returns the report lines of one run.
fn lines(seed: u64, outcome: &Outcome, replay: &str) -> String {
    let mut text = format!("seed {seed}: {}", outcome.line());
    for violation in &outcome.violations {
        let _ = write!(text, "\n  VIOLATION {violation}");
    }
    if !outcome.violations.is_empty() {
        let _ = write!(text, "\n  replay: {replay}");
    }
    text
}

fn bar(arguments: &Arguments, text: &str, is_good: bool) -> bool {
    if let Some(name) = &arguments.bar {
        println!("bar {name}: {text} {}", if is_good { "ok" } else { "MISSED" });
    }
    is_good
}

fn networks(arguments: &Arguments) -> bool {
    let outcomes = each_seed(arguments, |seed| {
        let options = arguments.options(seed);
        let outcome = scenario::network(&options);
        let mut text = lines(seed, &outcome, &options.replay());
        let _ = write!(text, "\n  {}", outcome.times());
        (outcome, text)
    });
    let violations: usize = outcomes.iter().map(|outcome| outcome.violations.len()).sum();
    let text = format!(
        "{} seeds of {} nodes and {} minutes, {violations} violations (bar: none)",
        outcomes.len(),
        arguments.nodes,
        arguments.minutes
    );
    bar(arguments, &text, violations == 0)
}

/// Compares the honest block rate beside a miner who withholds with the rate without that miner.
fn withheld(arguments: &Arguments) -> bool {
    let outcomes = each_seed(arguments, |seed| {
        let options = arguments.options(seed);
        let beside = scenario::network(&options);
        let alone = scenario::network(&Options { without_liars: true, ..options.clone() });
        let mut text = lines(seed, &beside, &options.replay());
        let _ =
            write!(text, "\n  {} honest blocks, {} without liars", beside.honest.1, alone.honest.1);
        ((beside, alone), text)
    });
    let sum = |of: &dyn Fn(&(Outcome, Outcome)) -> usize| outcomes.iter().map(of).sum::<usize>();
    let rate = sum(&|(beside, _)| beside.honest.1) as f64
        / sum(&|(_, alone)| alone.honest.1).max(1) as f64;
    let violations = sum(&|(beside, _)| beside.violations.len());
    let text = format!(
        "{} seeds of {} nodes and {} minutes, {} of the power withholds: honest block rate \
         {rate:.3} of that without it (bar ≥ {LEAST_RATE}), {violations} violations",
        outcomes.len(),
        arguments.nodes,
        arguments.minutes,
        arguments.withhold
    );
    bar(arguments, &text, rate >= LEAST_RATE && violations == 0)
}

fn sync(arguments: &Arguments, blocks: usize) -> bool {
    let history = History::new(SPACING_MS, blocks, 8);
    let outcomes = each_seed(arguments, |seed| {
        let fetched = scenario::sync(seed, &history, (arguments.liars, arguments.calm));
        let Fetched { outcome, took, bodies, bytes } = fetched;
        let mut replay =
            format!("cargo run --release --example simulate -- --sync {blocks} --seed {seed}");
        if arguments.liars > 0 {
            let _ = write!(replay, " --liars {}", arguments.liars);
        }
        if arguments.calm {
            replay.push_str(" --calm");
        }
        let mut text = lines(seed, &outcome, &replay);
        match took {
            Some(ms) => {
                let (seconds, megabytes) = (ms as f64 / 1e3, bytes as f64 / 1e6);
                let _ = write!(
                    text,
                    "\n  synced after {seconds:.2} s, {bodies} bodies, {megabytes:.2} MB of answers"
                );
            }
            None => {
                let _ = write!(text, "\n  VIOLATION it does not finish\n  replay: {replay}");
            }
        }
        ((took.filter(|_| outcome.violations.is_empty()), bytes), text)
    });
    let mut times: Vec<u32> =
        outcomes.iter().filter_map(|(took, _)| u32::try_from((*took)?).ok()).collect();
    times.sort_unstable();
    let finished = times.len();
    let [median, p90, most] = [0.5, 0.9, 1.0].map(|share| f64::from(quantile(&times, share)) / 1e3);
    let megabytes = outcomes.iter().map(|(_, bytes)| *bytes as f64).sum::<f64>()
        / (1e6 * outcomes.len().max(1) as f64);
    println!("all: {median:.2} s (p90 {p90:.2}, most {most:.2}), {megabytes:.2} MB of answers");
    let text = format!(
        "{finished} of {} syncs of {blocks} blocks finished{} (bar: all)",
        outcomes.len(),
        if arguments.calm { "" } else { " while peers were killed, cut off and slowed" }
    );
    bar(arguments, &text, finished == outcomes.len())
}

fn halves(arguments: &Arguments, blocks: usize) -> bool {
    let limit = MEETING_MS.1 + MEETING_MS.0 * blocks as u64 / 1_000;
    let outcomes = each_seed(arguments, |seed| {
        let (outcome, took) = scenario::halves(seed, blocks, limit);
        let replay =
            format!("cargo run --release --example simulate -- --halves {blocks} --seed {seed}");
        let mut text = lines(seed, &outcome, &replay);
        let _ = write!(text, "\n  {took:?} ms of at most {limit}");
        ((took, outcome.violations.len()), text)
    });
    let is_good = outcomes.iter().all(|(took, violations)| took.is_some() && *violations == 0);
    let most = outcomes.iter().filter_map(|(took, _)| *took).max().unwrap_or(0) / 1_000;
    let text = format!(
        "two halves {blocks} blocks apart have one tip or say so after {most} s of virtual time \
         (bar ≤ {} s)",
        limit / 1_000
    );
    bar(arguments, &text, is_good)
}

/// Prints a table for several numbers of nodes, and draws it.
fn table(arguments: &Arguments) -> bool {
    println!(
        "| nodes | to all: median | p90 | p99 | kB a node and minute | of it gossip | stale |"
    );
    println!("|---|---|---|---|---|---|---|");
    let mut points = Vec::new();
    let mut is_good = true;
    for nodes in arguments.table.iter().copied() {
        let options = Options { nodes, ..arguments.options(arguments.seed) };
        let outcome = scenario::network(&options);
        let [median, p90, p99, _] = outcome.spread;
        println!(
            "| {nodes} | {median} ms | {p90} ms | {p99} ms | {:.0} | {:.0} % | {:.2} % |",
            outcome.bytes_a_minute / 1e3,
            100.0 * outcome.gossip,
            100.0 * outcome.stale()
        );
        eprintln!("{}", lines(options.seed, &outcome, &options.replay()));
        is_good &= outcome.violations.is_empty();
        points.push(plot::Point {
            nodes,
            median: f64::from(median),
            p99: f64::from(p99),
            kilobytes: outcome.bytes_a_minute / 1e3,
            stale: 100.0 * outcome.stale(),
        });
    }
    if let Err(error) = std::fs::write("simulate.svg", plot::draw(&points)) {
        eprintln!("simulate.svg cannot be written: {error}");
        return false;
    }
    is_good
}

//! Simulations of the difficulty rule: miners that come and go, wrong clocks, and false times.
//!
//! `cargo test --release difficulty_figures -- --ignored --nocapture` prints the table of
//! `proto/difficulty.md`.

use std::{fmt, time::Duration};

use super::{
    Ancestor, ChainParams, HeaderWindow, Target, U256, UnixMillis, WINDOW_BLOCKS, average_target,
    doublings, min_time,
};
use crate::consensus::testing::hash;

/// A pseudorandom generator (xorshift64*) with the same output on every platform.
#[derive(Debug, Clone)]
struct Luck(u64);

impl Luck {
    /// Returns a number above 0 and at most 1.
    fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 + 1.0) / (1u64 << 53) as f64
    }
}

/// The rule by which a miner sets the time of its blocks.
#[derive(Debug, Clone, Copy)]
enum BlockTime {
    /// The miner's clock, which differs from the true time by this many milliseconds.
    Clock(i64),
    /// The latest time that other nodes accept: F ahead.
    Latest,
    /// The earliest valid time: just after the median of 11.
    Earliest,
    /// The latest and the earliest time, alternating.
    ByTurns,
    /// The earliest time for this many blocks, then the latest time once.
    Freeze(u32),
}

/// A miner with a constant hash rate, in hashes per second.
#[derive(Debug, Clone, Copy)]
struct Miner {
    rate: u64,
    time: BlockTime,
}

/// A chain in simulated time.
struct Simulation {
    params: ChainParams,
    window: HeaderWindow,
    now: UnixMillis,
    luck: Luck,
    height: u32,
}

/// A mined block: its solve time in ms, its expected hashes, and its time minus the true time.
#[derive(Debug, Clone, Copy)]
struct Found {
    took: u64,
    work: f64,
    ahead: i64,
}

impl Simulation {
    /// Starts with a target at which `rate` hashes per second keep the spacing.
    fn new(params: ChainParams, rate: u64, seed: u64) -> Self {
        let target = Target::rounded(U256::MAX / U256::from(rate * params.spacing_ms / 1_000));
        let spacing = params.spacing_ms;
        let start = 1_700_000_000_000;
        let count = u32::try_from(WINDOW_BLOCKS).expect("small");
        let times = (0..count)
            .map(|i| (start + u64::from(i) * spacing, target.min(params.floor()).to_compact()));
        let window = HeaderWindow::new(hash(1), count - 1, times).expect("a window");
        let now = window.parent_time();
        Self { params, window, now, luck: Luck(seed * 2 + 1), height: count }
    }

    fn time_of(&self, rule: BlockTime) -> UnixMillis {
        let earliest = min_time(&self.window);
        let latest = self.now + self.params.future_limit_ms();
        let time = match rule {
            // Other nodes hold a block that is too far ahead until its time is due.
            BlockTime::Clock(skew) => self.now.saturating_add_signed(skew).min(latest),
            BlockTime::Latest => latest,
            BlockTime::ByTurns if self.height.is_multiple_of(2) => latest,
            BlockTime::Freeze(blocks) if self.height.is_multiple_of(blocks + 1) => latest,
            BlockTime::Earliest | BlockTime::ByTurns | BlockTime::Freeze(_) => earliest,
        };
        time.max(earliest)
    }

    /// Mines one block. Each miner updates time and target ten times per spacing.
    fn mine(&mut self, miners: &[Miner]) -> Found {
        let start = self.now;
        let floor = self.params.floor();
        let average =
            average_target(self.params.spacing_ms, floor, &self.window).min(floor.number());
        let target_at = |chain: &Self, time| {
            let doublings = doublings(&chain.params, chain.window.parent_time(), time);
            Target::rounded(average.saturating_shl(doublings).min(floor.number()))
        };
        let mut luck = -self.luck.uniform().ln();
        let step = (self.params.spacing_ms / 10).max(1);
        let (time, target) = loop {
            let chances: Vec<_> = miners
                .iter()
                .map(|miner| {
                    let time = self.time_of(miner.time);
                    let target = target_at(self, time);
                    ((miner.rate * step) as f64 / 1_000.0 / target.work().to_f64(), time, target)
                })
                .collect();
            let per_step: f64 = chances.iter().map(|(chance, ..)| chance).sum();
            if luck < per_step {
                let rest = Duration::from_millis(step).mul_f64(luck / per_step);
                self.now += u64::try_from(rest.as_millis()).expect("under a step");
                let mut pick = self.luck.uniform() * per_step;
                let found = chances.iter().find(|(chance, ..)| {
                    pick -= chance;
                    pick <= 0.0
                });
                let (_, time, target) = found.or(chances.last()).expect("a miner");
                break ((*time).max(min_time(&self.window)), *target);
            }
            luck -= per_step;
            self.now += step;
        };
        self.window.advance(Ancestor::new(time, target));
        self.height += 1;
        let ahead = i64::try_from(i128::from(time) - i128::from(self.now)).expect("small");
        Found { took: self.now - start, work: target.work().to_f64(), ahead }
    }

    fn mine_many(&mut self, blocks: usize, miners: &[Miner]) -> Vec<Found> {
        (0..blocks).map(|_| self.mine(miners)).collect()
    }

    /// Mines for `time` milliseconds, but at most `blocks` blocks.
    fn mine_for(&mut self, time: u64, blocks: usize, miners: &[Miner]) -> Vec<Found> {
        let end = self.now + time;
        let mut found = Vec::new();
        while self.now < end && found.len() < blocks {
            found.push(self.mine(miners));
        }
        found
    }
}

/// The results of a run. Times are in spacings.
#[derive(Debug, Clone, Copy, Default)]
struct Figures {
    mean: f64,
    worst: f64,
    /// The time until the mean of 20 blocks is between half and twice the spacing.
    recovery: f64,
    /// The difficulty of the easiest block, relative to the one that fits the honest hash rate.
    easiest: f64,
    /// The largest lead of a block's time over the true time.
    ahead: f64,
    /// The largest lag of a block's time behind the true time.
    behind: f64,
}

impl Figures {
    fn of(found: &[Found], spacing: u64, fair: f64) -> Self {
        let t = spacing as f64;
        let mean = |found: &[Found]| {
            found.iter().map(|block| block.took as f64).sum::<f64>() / found.len() as f64 / t
        };
        let settled = found.windows(20).position(|twenty| (0.5..2.0).contains(&mean(twenty)));
        let before = &found[..settled.unwrap_or(found.len())];
        Self {
            mean: mean(found),
            worst: found.iter().map(|block| block.took).max().unwrap_or_default() as f64 / t,
            recovery: before.iter().map(|block| block.took as f64).sum::<f64>() / t,
            easiest: found.iter().map(|block| block.work).fold(f64::INFINITY, f64::min) / fair,
            ahead: found.iter().map(|block| block.ahead).max().unwrap_or_default().max(0) as f64
                / t,
            behind: found.iter().map(|block| -block.ahead).max().unwrap_or_default().max(0) as f64
                / t,
        }
    }

    /// Summarizes several runs: the mean of the means, and the worst of each other figure.
    fn worst_of(runs: &[Self]) -> Self {
        let worst = |of: fn(&Self) -> f64| runs.iter().map(of).fold(0.0, f64::max);
        Self {
            mean: runs.iter().map(|run| run.mean).sum::<f64>() / runs.len() as f64,
            worst: worst(|run| run.worst),
            recovery: worst(|run| run.recovery),
            easiest: runs.iter().map(|run| run.easiest).fold(f64::INFINITY, f64::min),
            ahead: worst(|run| run.ahead),
            behind: worst(|run| run.behind),
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mean, worst, recovery, easiest, ahead, behind } = self;
        write!(
            f,
            "{mean:.2} | {worst:.0} | {recovery:.0} | {easiest:.2e} | {ahead:.0} | {behind:.0}"
        )
    }
}

/// Hash rate of the miners that stay, in hashes per second.
const FAIR: u64 = 1_000_000;

/// Hash rate of the strong miner, in hashes per second: 1,000 times as many.
const STRONG: u64 = 1_000_000_000;

const HONEST: Miner = Miner { rate: FAIR, time: BlockTime::Clock(0) };

fn params(spacing_ms: u64) -> ChainParams {
    ChainParams::new("test", spacing_ms, 16).expect("params")
}

/// One run of a scenario with a spacing in ms and a seed.
type Scenario = fn(u64, u64) -> Figures;

fn figures(found: &[Found], spacing: u64, rate: u64) -> Figures {
    Figures::of(found, spacing, (rate * spacing / 1_000) as f64)
}

fn share(percent: u64, time: BlockTime) -> [Miner; 2] {
    [
        Miner { rate: FAIR / 100 * (100 - percent), ..HONEST },
        Miner { rate: FAIR / 100 * percent, time },
    ]
}

fn steady(spacing: u64, seed: u64, miners: &[Miner]) -> Figures {
    let mut chain = Simulation::new(params(spacing), FAIR, seed);
    chain.mine_many(200, miners);
    figures(&chain.mine_many(1_000, miners), spacing, FAIR)
}

const SCENARIOS: &[(&str, Scenario)] = &[
    ("one honest miner", |spacing, seed| steady(spacing, seed, &[HONEST])),
    ("×1000 comes: its first 200 blocks", |spacing, seed| {
        let mut chain = Simulation::new(params(spacing), FAIR, seed);
        figures(&chain.mine_many(200, &[Miner { rate: STRONG, ..HONEST }]), spacing, STRONG)
    }),
    ("×1000 leaves after a long stay: the next 200 blocks", |spacing, seed| {
        let mut chain = Simulation::new(params(spacing), STRONG, seed);
        chain.mine_many(100, &[Miner { rate: STRONG, ..HONEST }]);
        figures(&chain.mine_many(200, &[HONEST]), spacing, FAIR)
    }),
    ("×1000 comes for 30T of every 360T, 20 times", |spacing, seed| {
        let mut chain = Simulation::new(params(spacing), FAIR, seed);
        let mut found = Vec::new();
        for _ in 0..20 {
            found.extend(chain.mine_for(30 * spacing, 2_000, &[Miner { rate: STRONG, ..HONEST }]));
            found.extend(chain.mine_for(330 * spacing, 2_000, &[HONEST]));
        }
        figures(&found, spacing, FAIR)
    }),
    ("nobody for two weeks, then the same miner: its first 200 blocks", |spacing, seed| {
        let mut chain = Simulation::new(params(spacing), FAIR, seed);
        chain.mine_many(100, &[HONEST]);
        chain.now += 14 * 24 * 3_600_000;
        figures(&chain.mine_many(200, &[HONEST]), spacing, FAIR)
    }),
    ("five clocks wrong by −F, −F/2, 0, F/2 and F", |spacing, seed| {
        let limit = i64::try_from(params(spacing).future_limit_ms()).expect("small");
        let miners = [-limit, -limit / 2, 0, limit / 2, limit]
            .map(|skew| Miner { rate: FAIR / 5, time: BlockTime::Clock(skew) });
        steady(spacing, seed, &miners)
    }),
    ("30 % say the latest time", |spacing, seed| {
        steady(spacing, seed, &share(30, BlockTime::Latest))
    }),
    ("70 % say the latest time", |spacing, seed| {
        steady(spacing, seed, &share(70, BlockTime::Latest))
    }),
    ("30 % say the earliest time", |spacing, seed| {
        steady(spacing, seed, &share(30, BlockTime::Earliest))
    }),
    ("70 % say the earliest time", |spacing, seed| {
        steady(spacing, seed, &share(70, BlockTime::Earliest))
    }),
    ("30 % say latest and earliest by turns", |spacing, seed| {
        steady(spacing, seed, &share(30, BlockTime::ByTurns))
    }),
    ("70 % say latest and earliest by turns", |spacing, seed| {
        steady(spacing, seed, &share(70, BlockTime::ByTurns))
    }),
    ("30 % freeze the time for 30 blocks, then let go", |spacing, seed| {
        steady(spacing, seed, &share(30, BlockTime::Freeze(30)))
    }),
    ("70 % freeze the time for 30 blocks, then let go", |spacing, seed| {
        steady(spacing, seed, &share(70, BlockTime::Freeze(30)))
    }),
    ("all freeze the time for 30 blocks, then let go", |spacing, seed| {
        steady(spacing, seed, &[Miner { time: BlockTime::Freeze(30), ..HONEST }])
    }),
];

fn run(name: &str, spacing: u64, seeds: u64) -> Figures {
    let (_, scenario) =
        SCENARIOS.iter().find(|(scenario, _)| scenario.starts_with(name)).expect("a scenario");
    Figures::worst_of(&(1..=seeds).map(|seed| scenario(spacing, seed)).collect::<Vec<_>>())
}

#[test]
fn miners_that_come_and_go_do_not_stop_the_chain() {
    let comes = run("×1000 comes: its", 10_000, 3);
    assert!(comes.recovery < 60.0, "{comes}");
    let leaves = run("×1000 leaves", 10_000, 3);
    assert!(leaves.worst < 240.0 && leaves.recovery < 1_440.0, "{leaves}");
    let hops = run("×1000 comes for 30T", 10_000, 1);
    assert!(hops.worst < 240.0, "{hops}");
    let idle = run("nobody for two weeks", 10_000, 3);
    assert!(idle.recovery < 60.0 && idle.worst < 30.0, "{idle}");
}

#[test]
fn wrong_and_false_clocks_move_the_spacing_only_a_little() {
    for (name, _) in
        SCENARIOS.iter().filter(|(name, _)| name.contains("say") || name.contains("wrong"))
    {
        let figures = run(name, 10_000, 2);
        // A minority cannot speed up the chain. A majority can, by less than a third.
        assert!(
            (if name.starts_with("70") { 0.7 } else { 0.95 }..1.7).contains(&figures.mean),
            "{name}: {figures}"
        );
        assert!(figures.worst < 60.0 && figures.ahead <= 12.1, "{name}: {figures}");
    }
}

#[test]
#[ignore = "prints a table, some seconds in release"]
fn difficulty_figures() {
    for spacing in [10_000, 600_000] {
        println!(
            "\nT = {} s, F = {} s\n",
            spacing / 1_000,
            params(spacing).future_limit_ms() / 1_000
        );
        println!(
            "| scenario | mean block | worst block | recovery | easiest block | ahead | behind |"
        );
        println!("|---|---|---|---|---|---|---|");
        for (name, scenario) in SCENARIOS {
            let runs: Vec<_> = (1..=20).map(|seed| scenario(spacing, seed)).collect();
            println!("| {name} | {} |", Figures::worst_of(&runs));
        }
    }
    let left = run("×1000 leaves", 10_000, 20);
    let verdict = if left.worst <= 240.0 { "ok" } else { "MISSED" };
    println!(
        "\nbar difficulty-strong-miner-leaves: worst block {:.0} spacings (bar ≤ 240) {verdict}",
        left.worst
    );
}

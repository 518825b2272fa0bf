//! Compares the chain with the model, a slow and obvious ledger, over random histories.
//!
//! `FRIENDCHAIN_HISTORIES=5000` lengthens the run. A failing history is shortened and printed. Set
//! `FRIENDCHAIN_HISTORY` to that text to play it again.

mod errors;
mod forge;
mod ledger;
mod play;
mod pool;
mod properties;
mod rules;

use std::{
    cell::Cell,
    collections::BTreeMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    str::FromStr,
};

use forge::Luck;
use play::{Difference, Keeping, Report, play};

use crate::consensus::{Network, testing};

/// Number of histories that `cargo test` plays.
const HISTORIES: u64 = 100;

/// The longest history, in steps.
const MAX_STEPS: u64 = 60;

/// A history: the number that seeds it, and the steps to play.
#[derive(Debug, Clone, PartialEq, Eq)]
struct History {
    number: u64,
    steps: Vec<u64>,
}

impl History {
    /// Returns all steps of the history of that number.
    fn new(number: u64) -> Self {
        let length = 10 + Luck(number).below(MAX_STEPS - 10);
        Self { number, steps: (0..length).collect() }
    }

    /// Returns a seed for each step, so that any step can be left out.
    fn luck(&self) -> Vec<u64> {
        self.steps
            .iter()
            .map(|step| Luck(self.number.wrapping_mul(1_000_003).wrapping_add(*step)).number())
            .collect()
    }

    /// Returns the network of the history: without a spacing, or with one, so that a short branch
    /// can outweigh a long one.
    fn network(&self) -> Network {
        testing::network([0, 10_000, 1_000][usize::try_from(self.number % 3).expect("small")])
    }

    fn keeping(&self) -> Keeping {
        Keeping {
            threads: if self.number.is_multiple_of(2) { 1 } else { 2 },
            cache_mib: if self.number.is_multiple_of(5) { 1 } else { 16 },
            commit_always: self.number.is_multiple_of(4),
            crashes: true,
        }
    }

    fn play(&self, keeping: Keeping) -> Result<Report, (usize, Difference)> {
        let at = Cell::new(0);
        let outcome =
            catch_unwind(AssertUnwindSafe(|| play(&self.network(), keeping, &self.luck(), &at)));
        let panicked = |cause: Box<dyn std::any::Any + Send>| {
            let text = cause.downcast_ref::<String>().cloned();
            format!("a panic: {}", text.unwrap_or_else(|| "without a text".to_owned()))
        };
        outcome
            .unwrap_or_else(|cause| Err(panicked(cause)))
            .map_err(|difference| (at.get(), difference))
    }

    /// Leaves out the steps that a failure does not need.
    fn shortened(
        mut self,
        keeping: Keeping,
        (at, mut difference): (usize, Difference),
    ) -> (Self, Difference) {
        self.steps.truncate(at + 1);
        let mut index = self.steps.len();
        while index > 0 {
            index -= 1;
            let mut shorter = self.clone();
            shorter.steps.remove(index);
            if let Err((at, other)) = shorter.play(keeping) {
                shorter.steps.truncate(at + 1);
                (self, difference) = (shorter, other);
                index = index.min(self.steps.len());
            }
        }
        (self, difference)
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps: Vec<_> = self.steps.iter().map(u64::to_string).collect();
        write!(f, "{}/{}", self.number, steps.join(","))
    }
}

impl FromStr for History {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((number, steps)) = text.split_once('/') else {
            return Ok(Self::new(text.parse()?));
        };
        let steps = steps.split(',').map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self { number: number.parse()?, steps })
    }
}

fn histories() -> Vec<History> {
    if let Ok(text) = std::env::var("FRIENDCHAIN_HISTORY") {
        return vec![text.parse().expect("FRIENDCHAIN_HISTORY is a number, or number/step,step…")];
    }
    let count = std::env::var("FRIENDCHAIN_HISTORIES")
        .ok()
        .map_or(HISTORIES, |text| text.parse().expect("a number"));
    (0..count).map(History::new).collect()
}

#[test]
fn engine_and_model_agree_after_every_step_of_random_histories() {
    let histories = histories();
    let (mut steps, mut deepest, mut verdicts) = (0, 0, BTreeMap::<_, u64>::new());
    for history in &histories {
        let keeping = history.keeping();
        match history.play(keeping) {
            Ok(report) => {
                steps += report.steps;
                deepest = deepest.max(report.deepest_reorganisation);
                for (verdict, times) in report.verdicts {
                    *verdicts.entry(verdict).or_default() += times;
                }
            }
            Err(failure) => {
                let (shortest, difference) = history.clone().shortened(keeping, failure);
                println!(
                    "bar model-histories: FRIENDCHAIN_HISTORY={shortest}, 1 difference MISSED"
                );
                panic!("history {shortest}: {difference}");
            }
        }
    }
    println!("bar model-histories: {} histories, {steps} steps, 0 differences ok", histories.len());
    println!("deepest reorganisation: {deepest}; verdicts: {verdicts:?}");
    if histories.len() >= 100 {
        assert!(deepest >= 6, "the histories have no deep reorganisations");
        for verdict in errors::MET_IN_HISTORIES {
            assert!(verdicts.contains_key(verdict), "no history ever met {verdict}");
        }
    }
}

#[test]
fn a_history_is_read_back_from_its_name() {
    let history = History { steps: vec![1, 5, 7], ..History::new(9) };
    assert_eq!(history.to_string().parse(), Ok(history));
    assert_eq!("9".parse(), Ok(History::new(9)));
}

//! Faults of machines and links: crashes, partitions, cut, stalled and slow links, wrong clocks.

use rand::{RngExt, seq::SliceRandom as _};

use super::{queue::Event, world::World};
use crate::{storage::crash::CrashDisk, storage::crash::Unsynced, sync::SyncEvent};

/// The kinds of faults in a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) crashes: bool,
    pub(crate) splits: bool,
    pub(crate) cuts: bool,
    pub(crate) slow: bool,
    pub(crate) clocks: bool,
}

impl Plan {
    pub(crate) const ALL: Self =
        Self { crashes: true, splits: true, cuts: true, slow: true, clocks: true };

    const fn is_empty(self) -> bool {
        !(self.crashes || self.splits || self.cuts || self.slow || self.clocks)
    }
}

/// One fault, or its end.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    /// The next commit of the node is its last: the power or the process ends during it.
    Crash {
        node: usize,
    },
    /// The process is killed while it writes nothing.
    Kill {
        node: usize,
        for_us: u64,
    },
    /// The network splits into two parts.
    Split {
        part: Vec<usize>,
    },
    Heal,
    Cut {
        a: usize,
        b: usize,
    },
    /// Nothing arrives for some time, and then all messages at once.
    Stall {
        a: usize,
        b: usize,
        for_us: u64,
    },
    /// All links of a node get slower. A factor of 1 ends the fault.
    Slow {
        node: usize,
        factor: f64,
    },
    /// The wall clock of a node is set.
    Clock {
        node: usize,
        skew_ms: i64,
    },
    /// The node sleeps: it receives nothing for some time, and then knows that it slept.
    Sleep {
        node: usize,
        for_us: u64,
    },
    Wake {
        node: usize,
    },
}

impl World {
    /// Puts faults into the queue, one in two minutes on average for each ten nodes, at random
    /// times. All of them end before the last quarter of the run.
    pub(crate) fn plan_faults(&mut self, plan: Plan, minutes: u64) {
        self.plan = plan;
        if plan.is_empty() {
            return;
        }
        let end = minutes * 45_000_000;
        let count = (minutes * self.nodes.len() as u64 / 20).clamp(3, 2_000);
        for _ in 0..count {
            let at = self.rng.random_range(0..end.max(1));
            let fault = self.random_fault(plan, end.saturating_sub(at));
            self.push(at, Event::Fault(fault));
        }
        for node in 0..self.nodes.len() {
            self.push(end, Event::Fault(Fault::Clock { node, skew_ms: 0 }));
            self.push(end, Event::Fault(Fault::Slow { node, factor: 1.0 }));
        }
        self.push(end, Event::Fault(Fault::Heal));
    }

    fn random_fault(&mut self, plan: Plan, left_us: u64) -> Fault {
        let nodes = self.nodes.len();
        let node = self.rng.random_range(0..nodes);
        let pairs = self.links.pairs();
        let (a, b) = pairs[self.rng.random_range(0..pairs.len())];
        loop {
            match self.rng.random_range(0..8) {
                0 if plan.crashes => return Fault::Crash { node },
                1 if plan.splits => {
                    let mut all: Vec<usize> = (0..nodes).collect();
                    all.shuffle(&mut self.rng);
                    all.truncate(self.rng.random_range(1..nodes.max(2)));
                    return Fault::Split { part: all };
                }
                2 if plan.splits => return Fault::Heal,
                3 if plan.cuts => return Fault::Cut { a, b },
                4 if plan.slow => {
                    let for_us = self.rng.random_range(1_000_000..40_000_000).min(left_us);
                    return Fault::Stall { a, b, for_us };
                }
                5 if plan.slow => {
                    let factor = self.rng.random_range(2.0..200.0);
                    return Fault::Slow { node, factor };
                }
                6 if plan.clocks => {
                    let far = [5_000, 100_000, 3_600_000, 3 * 86_400_000];
                    let most: i64 = far[self.rng.random_range(0..far.len())];
                    return Fault::Clock { node, skew_ms: self.rng.random_range(-most..most) };
                }
                7 if plan.cuts => {
                    let for_us = self.rng.random_range(10_000_000..300_000_000).min(left_us);
                    return Fault::Sleep { node, for_us };
                }
                _ => {}
            }
        }
    }

    pub(super) fn play_fault(&mut self, fault: Fault) {
        match fault {
            Fault::Crash { node } => self.nodes[node].crashes = true,
            Fault::Kill { node, for_us } => {
                self.stop(node);
                self.push(for_us, Event::Start { node });
            }
            Fault::Split { part } => {
                self.sides = part.into_iter().map(|node| (node, 1)).collect();
                for (a, b) in self.links.pairs() {
                    if self.sides.get(&a) != self.sides.get(&b) {
                        self.cut(a, b);
                    }
                }
            }
            Fault::Heal => self.sides.clear(),
            Fault::Cut { a, b } => self.cut(a, b),
            Fault::Stall { a, b, for_us } => self.links.stall(a, b, self.now + for_us),
            Fault::Slow { node, factor } => {
                for (a, b) in self.links.pairs() {
                    if a == node || b == node {
                        self.links.slow(a, b, factor);
                    }
                }
                if factor > 1.0 {
                    let end = Event::Fault(Fault::Slow { node, factor: 1.0 });
                    let wait = self.rng.random_range(10_000_000..120_000_000);
                    self.push(wait, end);
                }
            }
            Fault::Clock { node, skew_ms } => self.set_clock(node, skew_ms),
            Fault::Sleep { node, for_us } => {
                for other in self.links.neighbours(node) {
                    self.links.stall(node, other, self.now + for_us);
                }
                self.push(for_us, Event::Fault(Fault::Wake { node }));
            }
            Fault::Wake { node } => {
                for other in self.links.neighbours(node) {
                    self.cut(node, other);
                }
                self.sync(node, SyncEvent::Woke);
            }
        }
    }

    fn set_clock(&mut self, node: usize, skew_ms: i64) {
        let jump = skew_ms - self.nodes[node].skew_ms;
        self.nodes[node].skew_ms = skew_ms;
        if jump != 0
            && let Some(run) = self.run(node)
        {
            run.chain.clock_moved(jump);
            self.steer(node);
        }
    }

    /// Ends a run within a commit. Which of the writes since the last sync survive is random, as
    /// after a power cut.
    pub(super) fn crash(&mut self, node: usize) {
        self.nodes[node].crashes = false;
        let disk = self.nodes[node].disk.clone();
        disk.watch();
        if let Some(run) = self.run(node)
            && let Err(fault) = run.chain.commit()
        {
            return self.fault(node, &fault);
        }
        let operations = self.rng.random_range(0..=disk.operations());
        let unsynced = match self.rng.random_range(0..3) {
            0 => Unsynced::All,
            1 => Unsynced::None,
            _ => Unsynced::Some(self.rng.random_range(0..u64::MAX)),
        };
        let left = disk.after_crash(operations, unsynced);
        self.stop(node);
        self.nodes[node].disk = CrashDisk::quiet(left.bytes());
        self.figures.crashes += 1;
        let pause = self.rng.random_range(1_000_000..60_000_000);
        self.push(pause, Event::Start { node });
    }
}

//! Tests of the whole network in virtual time, and of sync and relay in small parts of it.

mod catching_up;
mod diverged;
mod doubt;
mod networks;
mod out_of_place;

use std::sync::OnceLock;

use super::{history::History, liars::Manner, links::Line, node::peer, world::World};
use crate::{peers::Offence, sync::Phase};

/// A good connection between two homes.
const HOME: Line = Line { delay_us: 20_000, bytes_per_ms: 1_000.0, loss: 0.0 };
/// The time without a byte after which the simulated network fails a request, in ms.
const REQUEST_TIMEOUT_MS: u64 = 20_000;
/// The time without progress after which sync is stalled, in ms.
const STALL_MS: u64 = 30_000;

/// Returns the chain that all nodes of a test have.
fn history() -> &'static History {
    static HISTORY: OnceLock<History> = OnceLock::new();
    HISTORY.get_or_init(|| History::new(10_000, 70, 8))
}

/// Returns the network without any block.
fn nothing() -> History {
    History { file: Vec::new(), ..history().clone() }
}

/// Returns a longer chain, whose blocks have the least difficulty.
fn long() -> &'static History {
    static HISTORY: OnceLock<History> = OnceLock::new();
    HISTORY.get_or_init(|| longer(&nothing(), 600, 1))
}

/// Returns a chain with more blocks of the least difficulty. Each `branch` has blocks of its own.
fn longer(history: &History, blocks: usize, branch: u64) -> History {
    let mut longer = history.clone();
    longer.power /= 4.0;
    longer.extend(blocks, 8, branch);
    longer
}

/// Returns a world that starts at the time when this chain was made.
fn world_at(history: &History, seed: u64) -> World {
    World::new(history.clone(), seed)
}

impl World {
    /// Adds a node that is connected to another one.
    fn join(&mut self, to: usize, history: &History, manner: Manner) -> usize {
        let node = self.add(history, manner);
        self.connect(node, to, HOME);
        node
    }

    /// Runs until a condition holds, and panics if that takes too long.
    fn until(&mut self, limit_ms: u64, holds: impl Fn(&Self) -> bool) -> u64 {
        let took = self.run_until(limit_ms, holds);
        let nodes: Vec<_> = (0..self.nodes.len())
            .map(|node| {
                (
                    node,
                    self.nodes[node].manner,
                    self.tip(node).map(|tip| tip.height),
                    self.phase(node),
                )
            })
            .collect();
        took.unwrap_or_else(|| {
            panic!("not within {limit_ms} ms: {nodes:?} {:?}", self.figures.charges)
        })
    }

    fn has_tip_of(&self, node: usize, other: usize) -> bool {
        self.tip(node).is_some() && self.tip(node) == self.tip(other)
    }

    fn is_synced(&self, node: usize) -> bool {
        self.phase(node) == Some(Phase::Synced)
    }

    fn is_charged(&self, by: usize, of: usize, offence: Offence) -> bool {
        self.figures.charges.contains(&(by, of, offence))
    }

    fn is_ever_charged(&self, by: usize, of: usize) -> bool {
        self.figures.charges.iter().any(|charge| (charge.0, charge.1) == (by, of))
    }

    /// Asserts that a node's machines have no open work.
    fn assert_at_rest(&mut self, node: usize) {
        let run = self.run(node).expect("a node that is up");
        assert!(run.asked.is_empty(), "{:?}", run.asked);
        run.sync.assert_at_rest();
    }

    /// Mines a block at a node at once.
    fn mine_at(&mut self, node: usize) {
        let (wall, owner) = (self.wall(node), self.nodes[node].owner);
        let run = self.run(node).expect("a node that is up");
        let mut block = run.chain.template(owner, wall).expect("a template").block;
        super::history::solve(&mut block);
        let origin = crate::chain::api::Origin::Local;
        run.chain.accept_block(block, origin, wall).expect("a valid block");
        self.settle_soon(node);
        self.run_for(20);
    }
}

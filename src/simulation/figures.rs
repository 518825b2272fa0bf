//! Figures of a run: blocks and their spread, charges, and counters.

use std::collections::BTreeMap;

use crate::{
    peers::Offence,
    primitives::{BlockHash, Height},
};

/// The mark of a node that a block has not reached.
const NEVER: u32 = u32::MAX;

/// A block that was mined during the run.
#[derive(Debug)]
pub(super) struct Born {
    /// The time in µs.
    pub(super) at: u64,
    pub(super) is_honest: bool,
    /// The time in ms until each node connected it.
    reached: Vec<u32>,
}

/// The figures of a run.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(super) blocks: BTreeMap<BlockHash, Born>,
    /// Offences: the node that charged, the node that it charged, and the offence.
    pub(crate) charges: Vec<(usize, usize, Offence)>,
    /// Bans: the node that banned, the node that it banned, and the reason.
    pub(crate) bans: Vec<(usize, usize, String)>,
    /// Headers that were withheld since no body came.
    pub(crate) withheld: u64,
    /// Headers that were handed to chains, and those that were checked without storing them.
    pub(crate) headers: (usize, usize),
    /// Pauses of miners for a better branch.
    pub(crate) rests: u64,
    /// The hashes of all miners.
    pub(super) hashes: f64,
    pub(crate) refused_payments: u64,
    pub(crate) crashes: u64,
    /// Acknowledged payments. The next field counts those of them that became void.
    pub(crate) payments: u64,
    pub(crate) void: u64,
    /// Nodes that are diverged at the end.
    pub(crate) diverged: u64,
    /// The agreed chain.
    pub(super) chain: Vec<BlockHash>,
}

impl Figures {
    /// Records a block that was just mined.
    pub(super) fn created(&mut self, hash: BlockHash, is_honest: bool, now: u64) {
        self.blocks.insert(hash, Born { at: now, is_honest, reached: Vec::new() });
    }

    /// Records that a node connected blocks.
    pub(super) fn connected(&mut self, node: usize, blocks: &[(BlockHash, Height)], now: u64) {
        for (hash, _) in blocks {
            let Some(born) = self.blocks.get_mut(hash) else { continue };
            if born.reached.len() <= node {
                born.reached.resize(node + 1, NEVER);
            }
            if born.reached[node] == NEVER {
                let took = now.saturating_sub(born.at) / 1_000;
                born.reached[node] = u32::try_from(took).unwrap_or(NEVER - 1);
            }
        }
    }

    /// Returns the times in ms until these nodes had each of these blocks, sorted. A block that did
    /// not reach all of them is left out.
    pub(super) fn spread(&self, blocks: &[BlockHash], nodes: &[usize]) -> Vec<u32> {
        let mut times: Vec<u32> = blocks
            .iter()
            .filter_map(|hash| self.blocks.get(hash))
            .filter_map(|born| {
                nodes
                    .iter()
                    .map(|node| born.reached.get(*node).copied().filter(|took| *took != NEVER))
                    .try_fold(0, |most: u32, took| Some(most.max(took?)))
            })
            .collect();
        times.sort_unstable();
        times
    }
}

/// Returns the value at a share of a sorted list; 0 for an empty one.
pub(crate) fn quantile(sorted: &[u32], share: f64) -> u32 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).round() as usize).copied().unwrap_or(0)
}

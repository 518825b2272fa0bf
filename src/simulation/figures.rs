//! Figures of a run: blocks and their spread, charges, and counters.

use std::collections::BTreeMap;

use crate::{
    peers::Offence,
    primitives::{BlockHash, Height, TxId},
};

/// The mark of a node that a block has not reached.
const NEVER: u32 = u32::MAX;

/// A block that was mined during the run, or a payment.
#[derive(Debug)]
pub(super) struct Born {
    /// The time in µs.
    pub(super) at: u64,
    pub(super) is_honest: bool,
    /// The time in ms until each node connected the block, or had the payment in its mempool.
    reached: Vec<u32>,
}

impl Born {
    const fn new(is_honest: bool, now: u64) -> Self {
        Self { at: now, is_honest, reached: Vec::new() }
    }

    /// Records that a node has it.
    fn reach(&mut self, node: usize, now: u64) {
        if self.reached.len() <= node {
            self.reached.resize(node + 1, NEVER);
        }
        if self.reached[node] == NEVER {
            self.reached[node] = ms(now.saturating_sub(self.at));
        }
    }

    /// Returns the times in ms until those of these nodes had it that have it.
    fn times<'a>(&'a self, nodes: &'a [usize]) -> impl Iterator<Item = u32> + 'a {
        let times = nodes.iter().filter_map(|node| self.reached.get(*node));
        times.copied().filter(|took| *took != NEVER)
    }
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
    /// Requests of all relays for parts or bodies of announced blocks.
    pub(crate) relay_requests: u64,
    pub(crate) crashes: u64,
    /// Acknowledged payments. The next field counts those of them that became void.
    pub(crate) payments: u64,
    pub(crate) void: u64,
    /// Nodes that are diverged at the end.
    pub(crate) diverged: u64,
    /// The agreed chain.
    pub(super) chain: Vec<BlockHash>,
    /// The payments that a node's user made.
    paid: BTreeMap<TxId, Born>,
    /// The first time at which each node was synced, in ms.
    synced: BTreeMap<usize, u32>,
}

impl Figures {
    /// Records a block that was just mined.
    pub(super) fn created(&mut self, hash: BlockHash, is_honest: bool, now: u64) {
        self.blocks.insert(hash, Born::new(is_honest, now));
    }

    /// Records that a node connected blocks.
    pub(super) fn connected(&mut self, node: usize, blocks: &[(BlockHash, Height)], now: u64) {
        for (hash, _) in blocks {
            if let Some(born) = self.blocks.get_mut(hash) {
                born.reach(node, now);
            }
        }
    }

    /// Records a payment that a node's user just made.
    pub(super) fn paid(&mut self, txid: TxId, now: u64) {
        self.paid.insert(txid, Born::new(true, now));
    }

    /// Records that a payment of another node entered a node's mempool.
    pub(super) fn heard(&mut self, txid: &TxId, node: usize, now: u64) {
        if let Some(payment) = self.paid.get_mut(txid) {
            payment.reach(node, now);
        }
    }

    /// Records that a node is synced.
    pub(super) fn synced(&mut self, node: usize, now: u64) {
        self.synced.entry(node).or_insert_with(|| ms(now));
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

    /// Returns the times in ms until one of these nodes had one of these blocks, sorted.
    pub(super) fn each(&self, blocks: &[BlockHash], nodes: &[usize]) -> Vec<u32> {
        let born = blocks.iter().filter_map(|hash| self.blocks.get(hash));
        sorted(born.flat_map(|born| born.times(nodes)))
    }

    /// Returns the times in ms until one of these nodes had a payment of another, sorted.
    pub(super) fn each_payment(&self, nodes: &[usize]) -> Vec<u32> {
        sorted(self.paid.values().flat_map(|payment| payment.times(nodes)))
    }

    /// Returns the times in ms until those of these nodes were synced that ever were, sorted.
    pub(super) fn each_synced(&self, nodes: impl Iterator<Item = usize>) -> Vec<u32> {
        sorted(nodes.filter_map(|node| self.synced.get(&node).copied()))
    }
}

fn sorted(times: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut times: Vec<u32> = times.collect();
    times.sort_unstable();
    times
}

/// Returns a time in µs as ms.
fn ms(us: u64) -> u32 {
    u32::try_from(us / 1_000).unwrap_or(NEVER - 1)
}

/// Returns the value at a share of a sorted list; 0 for an empty one.
pub(crate) fn quantile(sorted: &[u32], share: f64) -> u32 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).round() as usize).copied().unwrap_or(0)
}

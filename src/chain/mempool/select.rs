//! Selects the mempool entries for a block.
//!
//! Packages are taken by fee rate. A package is a trade with those of its ancestors that are not
//! yet chosen. When some ancestors are chosen, the rate of the remaining package changes, so it is
//! ranked again. The order is that of Bitcoin Core's block assembler.

use std::collections::{BinaryHeap, HashMap, HashSet};

use super::{Entry, FREE_BYTES_PER_BLOCK, Mempool, Rank, fees::Package};
use crate::primitives::TxId;

/// Number of packages that may fail to fit before the selection stops; bounds the time for one
/// template.
const MAX_MISFITS: usize = 1_000;

impl Mempool {
    /// Returns the entries for the next block, parents first: by fee rate, at most `bytes` long.
    /// Free packages take at most [`FREE_BYTES_PER_BLOCK`] of it.
    pub(crate) fn select(&self, bytes: usize) -> Vec<&Entry> {
        let mut selection = Selection {
            pool: self,
            room: bytes,
            free_room: FREE_BYTES_PER_BLOCK,
            chosen: Vec::new(),
            settled: HashSet::new(),
            rest: HashMap::new(),
            reranked: BinaryHeap::new(),
        };
        selection.run();
        selection.chosen
    }
}

struct Selection<'a> {
    pool: &'a Mempool,
    room: usize,
    free_room: usize,
    chosen: Vec<&'a Entry>,
    settled: HashSet<TxId>,
    /// The remaining packages of entries with a chosen ancestor.
    rest: HashMap<TxId, Package>,
    /// The entries of `rest` by rank; outdated ranks are skipped.
    reranked: BinaryHeap<(Rank, TxId)>,
}

impl Selection<'_> {
    fn run(&mut self) {
        let mut misfits = 0usize;
        let pool = self.pool;
        let mut ranks =
            pool.ranks.iter().rev().filter_map(|rank| Some((*rank, pool.at(rank)?))).peekable();
        loop {
            while ranks
                .next_if(|(_, txid)| self.settled.contains(txid) || self.rest.contains_key(txid))
                .is_some()
            {}
            while self.reranked.peek().is_some_and(|place| self.is_outdated(place)) {
                self.reranked.pop();
            }
            let next = match (ranks.peek(), self.reranked.peek()) {
                (Some(ranked), Some(reranked)) if reranked > ranked => self.reranked.pop(),
                (None, _) => self.reranked.pop(),
                (Some(_), _) => ranks.next(),
            };
            let Some((_, txid)) = next else { return };
            if !self.choose(&txid) {
                misfits = misfits.saturating_add(1);
                if misfits > MAX_MISFITS {
                    return;
                }
            }
        }
    }

    fn is_outdated(&self, (rank, txid): &(Rank, TxId)) -> bool {
        let now = self.rest.get(txid).and_then(|rest| Some(self.pool.get(txid)?.rank_in(rest)));
        self.settled.contains(txid) || now != Some(*rank)
    }

    /// Chooses a trade and its remaining ancestors; returns false if they do not fit.
    fn choose(&mut self, txid: &TxId) -> bool {
        let Some(waiting) = self.pool.get(txid) else { return false };
        let rest = *self.rest.get(txid).unwrap_or(&waiting.package);
        let is_free = rest.rate().is_free();
        if rest.bytes > self.room || (is_free && rest.bytes > self.free_room) {
            return false;
        }
        self.room = self.room.saturating_sub(rest.bytes);
        if is_free {
            self.free_room = self.free_room.saturating_sub(rest.bytes);
        }
        let first = self.chosen.len();
        let mut open = vec![*txid];
        while let Some(txid) = open.pop() {
            if let Some(waiting) = self.pool.get(&txid)
                && self.settled.insert(txid)
            {
                self.chosen.push(waiting);
                open.extend(waiting.parents.iter().filter(|parent| !self.settled.contains(parent)));
            }
        }
        let package = self.chosen.get_mut(first..).unwrap_or_default();
        package.sort_unstable_by_key(|waiting| waiting.sequence);
        for waiting in self.chosen.get(first..).unwrap_or_default().to_vec() {
            self.rerank_descendants(waiting);
        }
        true
    }

    /// Subtracts a chosen trade from the packages of its descendants, and ranks them again.
    fn rerank_descendants(&mut self, chosen: &Entry) {
        if chosen.children.is_empty() {
            return;
        }
        for txid in self.pool.descendants(chosen.children.iter().copied(), usize::MAX) {
            let Some(waiting) = self.pool.get(&txid).filter(|_| !self.settled.contains(&txid))
            else {
                continue;
            };
            let rest = self.rest.entry(txid).or_insert(waiting.package);
            rest.subtract(chosen.alone());
            self.reranked.push((waiting.rank_in(rest), txid));
        }
    }
}

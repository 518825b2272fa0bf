//! The queue of trades to publish.
//!
//! Each trade is queued at most once. New trades come before repeated ones, and a trade that left
//! the mempool is not published.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use super::MAX_OUTGOING;
use crate::primitives::{Transaction, TxId};

/// The queue of trades to publish. Each trade in `queued` is also in one of the two lists. An id in
/// a list without a queued trade is skipped.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    queued: HashMap<TxId, Arc<Transaction>>,
    /// Trades that were not published before.
    first: VecDeque<TxId>,
    /// Trades that are published again.
    again: VecDeque<TxId>,
}

impl Outgoing {
    /// Queues a trade, unless it is already queued or the queue is full. `again` is true if the
    /// trade was published before.
    pub(super) fn push(&mut self, txid: TxId, transaction: Arc<Transaction>, again: bool) {
        if self.queued.len() >= MAX_OUTGOING {
            return;
        }
        // Rare, since each pass drops at least half of the lists.
        if self.first.len().saturating_add(self.again.len()) >= 2 * MAX_OUTGOING {
            let (queued, mut seen) = (&self.queued, HashSet::new());
            let mut keep = |txid: &TxId| queued.contains_key(txid) && seen.insert(*txid);
            self.first.retain(&mut keep);
            self.again.retain(&mut keep);
        }
        if self.queued.insert(txid, transaction).is_none() {
            if again { &mut self.again } else { &mut self.first }.push_back(txid);
        }
    }

    /// Removes and returns the next trade that was not published before.
    pub(super) fn pop_first(&mut self) -> Option<Arc<Transaction>> {
        Self::pop(&mut self.queued, &mut self.first)
    }

    /// Removes and returns the next trade that is published again.
    pub(super) fn pop_again(&mut self) -> Option<Arc<Transaction>> {
        Self::pop(&mut self.queued, &mut self.again)
    }

    fn pop(
        queued: &mut HashMap<TxId, Arc<Transaction>>,
        list: &mut VecDeque<TxId>,
    ) -> Option<Arc<Transaction>> {
        std::iter::from_fn(|| list.pop_front()).find_map(|txid| queued.remove(&txid))
    }

    /// Removes a trade that left the mempool.
    pub(super) fn remove(&mut self, txid: &TxId) {
        self.queued.remove(txid);
    }

    /// True if a trade may wait that was not published before.
    pub(super) fn has_first(&self) -> bool {
        !self.first.is_empty()
    }

    /// True if a trade may wait that is published again.
    pub(super) fn has_again(&self) -> bool {
        !self.again.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publication(number: u64) -> Arc<Transaction> {
        let memo = number.to_le_bytes().to_vec();
        Arc::new(Transaction { inputs: Vec::new(), outputs: Vec::new(), memo })
    }

    fn id(number: u64) -> TxId {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&number.to_le_bytes());
        TxId(id)
    }

    fn drain(outgoing: &mut Outgoing) -> Vec<u64> {
        let number = |transaction: Arc<Transaction>| {
            u64::from_le_bytes(transaction.memo.clone().try_into().expect("a number"))
        };
        std::iter::from_fn(|| outgoing.pop_first().or_else(|| outgoing.pop_again()))
            .map(number)
            .collect()
    }

    #[test]
    fn each_is_published_once_new_ones_first_and_those_that_left_never() {
        let mut outgoing = Outgoing::default();
        for number in 0..4 {
            outgoing.push(id(number), publication(number), true);
            outgoing.push(id(number), publication(number), true);
        }
        outgoing.push(id(9), publication(9), false);
        outgoing.remove(&id(2));
        outgoing.remove(&id(0));
        // A reorg can bring a trade back.
        outgoing.push(id(0), publication(0), true);
        assert_eq!(drain(&mut outgoing), [9, 0, 1, 3]);
        assert!(outgoing.queued.is_empty());
    }

    #[test]
    fn the_queue_is_bounded_and_what_left_makes_room() {
        let mut outgoing = Outgoing::default();
        let most = u64::try_from(MAX_OUTGOING).expect("small");
        for number in 0..=most {
            outgoing.push(id(number), publication(number), true);
        }
        assert_eq!(outgoing.queued.len(), MAX_OUTGOING);
        for round in 0..3 {
            for number in 0..most {
                outgoing.remove(&id(number));
                outgoing.push(id(number), publication(round), true);
                assert!(outgoing.again.len() <= 2 * MAX_OUTGOING);
            }
        }
        assert_eq!(drain(&mut outgoing).len(), MAX_OUTGOING);
    }
}

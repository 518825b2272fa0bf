//! The queue of trades to publish.
//!
//! Each trade is queued at most once. New trades come before repeated ones, and a trade that left
//! the mempool is not published. New trades leave in batches, within the rates that peers grant to
//! each class.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use super::{MAX_BATCH_BYTES, MAX_OUTGOING, PUBLISH_FREE_RATE, PUBLISH_NOTE_RATE, PUBLISH_RATE};
use crate::{
    primitives::{Bucket, Moment, Transaction, TransactionKind, TxId},
    wire::limits::MAX_GOSSIP_TRADES,
};

/// The class of a trade to publish, by which peers bound it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// A new trade that pays a fee.
    Paying,
    /// A new trade without a fee.
    Free,
    /// A new note.
    Note,
    /// A trade or note that was published before.
    Again,
}

impl Class {
    /// The classes of new trades, in the order in which they leave.
    const NEW: [Self; 3] = [Self::Paying, Self::Free, Self::Note];

    /// Returns the class of a transaction while it is new.
    pub(super) fn of(transaction: &Transaction, free: bool) -> Self {
        match transaction.kind() {
            TransactionKind::Note => Self::Note,
            _ if free => Self::Free,
            _ => Self::Paying,
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::Paying => 0,
            Self::Free => 1,
            Self::Note => 2,
            Self::Again => 3,
        }
    }
}

/// Returns the tokens that a transaction takes from a rate: one for each 1,000 bytes or part.
pub(super) fn weight(transaction: &Transaction) -> u64 {
    u64::try_from(transaction.encoded_len().div_ceil(1_000)).unwrap_or(u64::MAX)
}

/// The rates at which this node publishes new trades, one for each class.
#[derive(Debug)]
pub(super) struct Publishing {
    buckets: [Bucket; 3],
}

impl Publishing {
    pub(super) fn new(now: Moment) -> Self {
        let rates = [PUBLISH_RATE, PUBLISH_FREE_RATE, PUBLISH_NOTE_RATE];
        Self { buckets: rates.map(|rate| Bucket::new(rate, now)) }
    }

    /// Takes a transaction's tokens. Returns false if there are too few.
    fn allow(&mut self, class: Class, transaction: &Transaction, now: Moment) -> bool {
        let bucket = self.buckets.get_mut(class.index());
        bucket.is_some_and(|bucket| bucket.take(weight(transaction), now))
    }
}

/// The queue of trades to publish. Each trade in `queued` is also in one of the lists. An id in a
/// list without a queued trade is skipped.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    queued: HashMap<TxId, Arc<Transaction>>,
    /// The trades of each class, by its index.
    lists: [VecDeque<TxId>; 4],
}

impl Outgoing {
    /// Queues a trade, unless it is already queued or the queue is full.
    pub(super) fn push(&mut self, txid: TxId, transaction: Arc<Transaction>, class: Class) {
        if self.queued.len() >= MAX_OUTGOING {
            return;
        }
        // This is rare, since each pass drops at least half of the lists.
        let listed = self.lists.iter().map(VecDeque::len).fold(0, usize::saturating_add);
        if listed >= 2 * MAX_OUTGOING {
            let (queued, mut seen) = (&self.queued, HashSet::new());
            let mut keep = |txid: &TxId| queued.contains_key(txid) && seen.insert(*txid);
            self.lists.iter_mut().for_each(|list| list.retain(&mut keep));
        }
        if self.queued.insert(txid, transaction).is_none()
            && let Some(list) = self.lists.get_mut(class.index())
        {
            list.push_back(txid);
        }
    }

    /// Removes and returns the next new trades: as many as the rates allow and one message holds.
    pub(super) fn pop_first(
        &mut self,
        publishing: &mut Publishing,
        now: Moment,
    ) -> Vec<Arc<Transaction>> {
        let (mut batch, mut bytes) = (Vec::new(), 0_usize);
        for class in Class::NEW {
            while let Some(transaction) = self.first(class) {
                bytes = bytes.saturating_add(transaction.encoded_len());
                let is_full = batch.len() >= MAX_GOSSIP_TRADES || bytes > MAX_BATCH_BYTES;
                if is_full && !batch.is_empty() {
                    return batch;
                }
                if !publishing.allow(class, &transaction, now) {
                    bytes = bytes.saturating_sub(transaction.encoded_len());
                    break;
                }
                batch.extend(self.pop(class));
            }
        }
        batch
    }

    /// Removes and returns the next trade that is published again.
    pub(super) fn pop_again(&mut self) -> Option<Arc<Transaction>> {
        self.pop(Class::Again)
    }

    /// Returns the next trade of a class, which stays in the queue.
    fn first(&mut self, class: Class) -> Option<Arc<Transaction>> {
        let list = self.lists.get_mut(class.index())?;
        while let Some(txid) = list.front() {
            if let Some(transaction) = self.queued.get(txid) {
                return Some(Arc::clone(transaction));
            }
            list.pop_front();
        }
        None
    }

    fn pop(&mut self, class: Class) -> Option<Arc<Transaction>> {
        let list = self.lists.get_mut(class.index())?;
        std::iter::from_fn(|| list.pop_front()).find_map(|txid| self.queued.remove(&txid))
    }

    /// Removes a trade that left the mempool.
    pub(super) fn remove(&mut self, txid: &TxId) {
        self.queued.remove(txid);
    }

    /// True if a repeated trade may be in the queue.
    pub(super) fn has_again(&self) -> bool {
        self.lists.get(Class::Again.index()).is_some_and(|list| !list.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publication(number: u64) -> Arc<Transaction> {
        sized(number, 8)
    }

    /// Returns a transaction of some more than `bytes` bytes, which begins with a number.
    fn sized(number: u64, bytes: usize) -> Arc<Transaction> {
        let mut memo = number.to_le_bytes().to_vec();
        memo.resize(bytes.max(8), 0);
        Arc::new(Transaction { inputs: Vec::new(), outputs: Vec::new(), memo })
    }

    fn id(number: u64) -> TxId {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&number.to_le_bytes());
        TxId(id)
    }

    fn numbers(transactions: &[Arc<Transaction>]) -> Vec<u64> {
        let number = |transaction: &Arc<Transaction>| {
            u64::from_le_bytes(transaction.memo[..8].try_into().expect("a number"))
        };
        transactions.iter().map(number).collect()
    }

    fn drain(outgoing: &mut Outgoing) -> Vec<u64> {
        let mut all = outgoing.pop_first(&mut Publishing::new(0), 0);
        all.extend(std::iter::from_fn(|| outgoing.pop_again()));
        numbers(&all)
    }

    #[test]
    fn each_is_published_once_new_ones_first_and_those_that_left_never() {
        let mut outgoing = Outgoing::default();
        for number in 0..4 {
            outgoing.push(id(number), publication(number), Class::Again);
            outgoing.push(id(number), publication(number), Class::Again);
        }
        outgoing.push(id(9), publication(9), Class::Note);
        outgoing.push(id(8), publication(8), Class::Free);
        outgoing.push(id(7), publication(7), Class::Paying);
        outgoing.remove(&id(2));
        outgoing.remove(&id(0));
        // A reorg can bring a trade back.
        outgoing.push(id(0), publication(0), Class::Again);
        assert_eq!(drain(&mut outgoing), [7, 8, 9, 0, 1, 3]);
        assert!(outgoing.queued.is_empty());
    }

    #[test]
    fn a_batch_is_bounded_in_count_and_bytes_and_one_long_trade_goes_alone() {
        let mut outgoing = Outgoing::default();
        let mut publishing = Publishing::new(0);
        let mut sizes = |outgoing: &mut Outgoing| {
            let batches = std::iter::from_fn(|| {
                let batch = outgoing.pop_first(&mut publishing, 0);
                (!batch.is_empty()).then_some(batch.len())
            });
            batches.collect::<Vec<_>>()
        };
        for number in 0..300 {
            outgoing.push(id(number), publication(number), Class::Free);
        }
        assert_eq!(sizes(&mut outgoing), [MAX_GOSSIP_TRADES, 300 - MAX_GOSSIP_TRADES]);
        for (number, bytes) in [(1, MAX_BATCH_BYTES + 1), (2, MAX_BATCH_BYTES / 2), (3, 900)] {
            outgoing.push(id(number), sized(number, bytes), Class::Paying);
        }
        assert_eq!(sizes(&mut outgoing), [1, 2]);
    }

    #[test]
    fn what_is_free_leaves_at_its_own_rate_and_delays_nothing_that_pays() {
        let mut outgoing = Outgoing::default();
        let mut publishing = Publishing::new(0);
        let mut all = |outgoing: &mut Outgoing, now| {
            let batches = std::iter::from_fn(|| {
                let batch = outgoing.pop_first(&mut publishing, now);
                (!batch.is_empty()).then_some(batch)
            });
            numbers(&batches.flatten().collect::<Vec<_>>())
        };
        let free = PUBLISH_FREE_RATE.burst + 100;
        for number in 0..free {
            outgoing.push(id(number), publication(number), Class::Free);
        }
        assert_eq!(all(&mut outgoing, 0).len() as u64, PUBLISH_FREE_RATE.burst);
        outgoing.push(id(free), publication(free), Class::Paying);
        assert_eq!(all(&mut outgoing, 0), [free]);
        assert_eq!(all(&mut outgoing, 1_000).len() as u64, PUBLISH_FREE_RATE.per_second);
    }

    #[test]
    fn the_queue_is_bounded_and_what_left_makes_room() {
        let mut outgoing = Outgoing::default();
        let most = u64::try_from(MAX_OUTGOING).expect("small");
        for number in 0..=most {
            outgoing.push(id(number), publication(number), Class::Again);
        }
        assert_eq!(outgoing.queued.len(), MAX_OUTGOING);
        for round in 0..3 {
            for number in 0..most {
                outgoing.remove(&id(number));
                outgoing.push(id(number), publication(round), Class::Again);
                assert!(
                    outgoing.lists.iter().map(VecDeque::len).sum::<usize>() <= 2 * MAX_OUTGOING
                );
            }
        }
        assert_eq!(drain(&mut outgoing).len(), MAX_OUTGOING);
    }
}

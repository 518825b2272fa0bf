//! `own` indexes the transactions made on this node, and which are void, for
//! [`Chain`](super::Chain).
//!
//! It is the in-memory index of the table of own transactions. Records of that table are never
//! deleted.

use std::collections::HashMap;

use crate::primitives::TxId;

/// Ids of all own transactions, with the position of the retry rotation.
#[derive(Debug, Default)]
pub(super) struct OwnTransactions {
    is_void: HashMap<TxId, bool>,
    /// The last void transaction that [`Self::void_in_turn`] returned.
    last_retried: Option<TxId>,
}

impl OwnTransactions {
    pub(super) fn contains(&self, txid: &TxId) -> bool {
        self.is_void.contains_key(txid)
    }

    /// True for an own transaction that is void.
    pub(super) fn is_void(&self, txid: &TxId) -> bool {
        self.is_void.get(txid) == Some(&true)
    }

    /// True for an own transaction that is not void: in the mempool, or mined.
    pub(super) fn is_alive(&self, txid: &TxId) -> bool {
        self.is_void.get(txid) == Some(&false)
    }

    /// Adds a transaction or updates its void flag.
    pub(super) fn set(&mut self, txid: TxId, is_void: bool) {
        self.is_void.insert(txid, is_void);
    }

    /// Adds a transaction that is not void, unless it is known.
    pub(super) fn add(&mut self, txid: TxId) {
        self.is_void.entry(txid).or_insert(false);
    }

    #[cfg(test)]
    pub(super) fn ids(&self) -> impl Iterator<Item = TxId> {
        self.is_void.keys().copied()
    }

    pub(super) fn remove(&mut self, txid: &TxId) {
        self.is_void.remove(txid);
    }

    /// Returns at most `limit` void transactions. Repeated calls rotate through all of them.
    pub(super) fn void_in_turn(&mut self, limit: usize) -> Vec<TxId> {
        let void = self.is_void.iter().filter(|(_, is_void)| **is_void).map(|(txid, _)| *txid);
        let mut void: Vec<_> = void.collect();
        void.sort_unstable();
        if void.len() > limit {
            let had_turn = void.partition_point(|txid| Some(*txid) <= self.last_retried);
            void.rotate_left(had_turn);
            void.truncate(limit);
            self.last_retried = void.last().copied().or(self.last_retried);
        }
        void
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_void_transactions_get_their_turn() {
        let mut own = OwnTransactions::default();
        for number in 0..5 {
            own.set(TxId([number; 32]), number != 2);
        }
        let mut turns = || own.void_in_turn(3).iter().map(|txid| txid.0[0]).collect::<Vec<_>>();
        assert_eq!([turns(), turns(), turns()], [[0, 1, 3], [4, 0, 1], [3, 4, 0]]);
        assert_eq!(own.void_in_turn(4).len(), 4);
    }
}

//! `own` indexes the transactions made on this node and their states, for [`Chain`](super::Chain).
//!
//! The index is in memory. Records of the table behind it are never deleted.
//!
//! ```text
//! sent here ─► Alive ─► Void
//!                ▲        │ sent here once more, and by nothing else
//!                └────────┘
//! ```
//! An alive transaction waits in the mempool or is mined. A void one will not be sent again, and
//! its user was notified. A block of somebody else may still contain it. It stays marked as void
//! here, so that a reorg does not return it to the mempool.

use std::collections::HashMap;

use crate::primitives::TxId;

/// The state of an own transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OwnState {
    /// In the mempool, or mined.
    Alive,
    /// Void for good, unless its user sends it again.
    Void,
}

/// Ids of all own transactions with their states.
#[derive(Debug, Default)]
pub(super) struct OwnTransactions {
    states: HashMap<TxId, OwnState>,
}

impl OwnTransactions {
    pub(super) fn contains(&self, txid: &TxId) -> bool {
        self.states.contains_key(txid)
    }

    /// True for an own transaction that is void.
    pub(super) fn is_void(&self, txid: &TxId) -> bool {
        self.states.get(txid) == Some(&OwnState::Void)
    }

    /// True for an own transaction that is not void: in the mempool, or mined.
    pub(super) fn is_alive(&self, txid: &TxId) -> bool {
        self.states.get(txid) == Some(&OwnState::Alive)
    }

    /// Adds a transaction that was sent here, or sent here once more.
    pub(super) fn set_alive(&mut self, txid: TxId) {
        self.states.insert(txid, OwnState::Alive);
    }

    /// Marks a transaction as void.
    pub(super) fn set_void(&mut self, txid: TxId) {
        self.states.insert(txid, OwnState::Void);
    }

    /// Adds a transaction in the state that its record has.
    pub(super) fn load(&mut self, txid: TxId, is_void: bool) {
        self.states.insert(txid, if is_void { OwnState::Void } else { OwnState::Alive });
    }

    /// Adds a transaction that is not void, unless it is known.
    pub(super) fn add(&mut self, txid: TxId) {
        self.states.entry(txid).or_insert(OwnState::Alive);
    }

    #[cfg(test)]
    pub(super) fn ids(&self) -> impl Iterator<Item = TxId> {
        self.states.keys().copied()
    }

    pub(super) fn remove(&mut self, txid: &TxId) {
        self.states.remove(txid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_void_transaction_stays_void_until_it_is_sent_again() {
        let (mut own, txid) = (OwnTransactions::default(), TxId([1; 32]));
        own.set_alive(txid);
        own.set_void(txid);
        own.add(txid);
        assert!(own.is_void(&txid) && own.contains(&txid));
        own.set_alive(txid);
        assert!(own.is_alive(&txid) && !own.is_void(&txid));
    }
}

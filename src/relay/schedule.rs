//! The times at which mempool entries are announced.
//!
//! Everybody who has a trade announces it, at random times: its maker does what all others do.
//! Otherwise a trade that only one node repeats would tell whose it is.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::MAX_SCHEDULED;
use crate::primitives::{Moment, Transaction, TxId};

#[derive(Debug)]
struct Entry {
    transaction: Arc<Transaction>,
    next: Moment,
    /// True until its first announcement by this node, if one is due at all.
    is_first: bool,
    is_own: bool,
}

/// Mempool entries in the order of their next announcement. If it is full, an own trade takes the
/// place of another one, and others find none.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    entries: HashMap<TxId, Entry>,
    times: BTreeSet<(Moment, TxId)>,
    own: usize,
}

impl Schedule {
    pub(super) fn contains(&self, txid: &TxId) -> bool {
        self.entries.contains_key(txid)
    }

    /// Adds a trade, unless it is there already or there is no room.
    pub(super) fn add(
        &mut self,
        txid: TxId,
        transaction: Arc<Transaction>,
        next: Moment,
        is_first: bool,
        is_own: bool,
    ) {
        if self.contains(&txid) {
            return;
        }
        if self.entries.len() >= MAX_SCHEDULED {
            let last = self.times.iter().rev().map(|(_, txid)| *txid);
            let other = is_own && self.own < MAX_SCHEDULED;
            let place = other.then(|| last.into_iter().find(|txid| !self.is_own(txid))).flatten();
            let Some(place) = place else { return };
            self.remove(&place);
        }
        self.own = self.own.saturating_add(usize::from(is_own));
        self.times.insert((next, txid));
        self.entries.insert(txid, Entry { transaction, next, is_first, is_own });
    }

    fn is_own(&self, txid: &TxId) -> bool {
        self.entries.get(txid).is_some_and(|entry| entry.is_own)
    }

    /// Moves the next announcement of a trade.
    pub(super) fn postpone(&mut self, txid: &TxId, next: Moment) {
        if let Some(entry) = self.entries.get_mut(txid) {
            self.times.remove(&(entry.next, *txid));
            entry.next = next;
            entry.is_first = false;
            self.times.insert((next, *txid));
        }
    }

    /// Removes a trade that left the mempool.
    pub(super) fn remove(&mut self, txid: &TxId) {
        if let Some(entry) = self.entries.remove(txid) {
            self.times.remove(&(entry.next, *txid));
            self.own = self.own.saturating_sub(usize::from(entry.is_own));
        }
    }

    /// Returns a trade whose announcement is due, and whether it is the first. The caller moves its
    /// next announcement.
    pub(super) fn due(&self, now: Moment) -> Option<(TxId, Arc<Transaction>, bool)> {
        let (_, txid) = self.times.first().filter(|(next, _)| *next <= now)?;
        let entry = self.entries.get(txid)?;
        Some((*txid, Arc::clone(&entry.transaction), entry.is_first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> TxId {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&number.to_le_bytes());
        TxId(id)
    }

    fn transaction() -> Arc<Transaction> {
        Arc::new(Transaction { inputs: Vec::new(), outputs: Vec::new(), memo: Vec::new() })
    }

    #[test]
    fn the_earliest_comes_first_and_what_left_never() {
        let mut schedule = Schedule::default();
        for number in 0..4 {
            let next = 100 - Moment::try_from(number).unwrap();
            schedule.add(id(number), transaction(), next, true, false);
        }
        assert!(schedule.due(96).is_none());
        assert_eq!(schedule.due(97).map(|(txid, _, first)| (txid, first)), Some((id(3), true)));
        schedule.postpone(&id(3), 500);
        schedule.remove(&id(2));
        assert_eq!(schedule.due(100).map(|(txid, ..)| txid), Some(id(1)));
        schedule.remove(&id(1));
        schedule.remove(&id(0));
        assert!(schedule.due(499).is_none());
        assert_eq!(schedule.due(500).map(|(_, _, first)| first), Some(false));
    }

    #[test]
    fn own_trades_find_room_among_others_and_not_the_other_way_round() {
        let mut schedule = Schedule::default();
        for number in 0..MAX_SCHEDULED {
            schedule.add(id(number), transaction(), 1, false, false);
        }
        schedule.add(id(MAX_SCHEDULED), transaction(), 1, false, false);
        assert!(!schedule.contains(&id(MAX_SCHEDULED)));
        schedule.add(id(MAX_SCHEDULED), transaction(), 1, true, true);
        assert!(schedule.contains(&id(MAX_SCHEDULED)));
        assert_eq!(schedule.entries.len(), MAX_SCHEDULED);
        assert_eq!(schedule.times.len(), MAX_SCHEDULED);
    }
}

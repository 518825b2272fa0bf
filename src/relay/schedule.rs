//! The times at which mempool entries are announced.
//!
//! Every node that has a trade announces it at random times, its maker like all others. A trade
//! that only one node repeats would reveal its maker.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::{MAX_SCHEDULED, outgoing::Class};
use crate::primitives::{Moment, Transaction, TxId};

/// A mempool entry, and its next announcement.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) transaction: Arc<Transaction>,
    pub(super) next: Moment,
    /// True until its first announcement by this node, if one is due at all.
    pub(super) is_first: bool,
    pub(super) is_own: bool,
    /// The class in which it is announced first.
    pub(super) class: Class,
}

/// Mempool entries in the order of their next announcement. If it is full, an own trade takes the
/// place of another's, and other trades are dropped.
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
    pub(super) fn add(&mut self, txid: TxId, entry: Entry) {
        if self.contains(&txid) {
            return;
        }
        if self.entries.len() >= MAX_SCHEDULED {
            let last = self.times.iter().rev().map(|(_, txid)| *txid);
            let other = entry.is_own && self.own < MAX_SCHEDULED;
            let place = other.then(|| last.into_iter().find(|txid| !self.is_own(txid))).flatten();
            let Some(place) = place else { return };
            self.remove(&place);
        }
        self.own = self.own.saturating_add(usize::from(entry.is_own));
        self.times.insert((entry.next, txid));
        self.entries.insert(txid, entry);
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

    /// Moves the next announcement of a trade, which is then treated as its first.
    pub(super) fn hasten(&mut self, txid: &TxId, next: Moment) {
        self.postpone(txid, next);
        if let Some(entry) = self.entries.get_mut(txid) {
            entry.is_first = true;
        }
    }

    /// Removes a trade that left the mempool.
    pub(super) fn remove(&mut self, txid: &TxId) {
        if let Some(entry) = self.entries.remove(txid) {
            self.times.remove(&(entry.next, *txid));
            self.own = self.own.saturating_sub(usize::from(entry.is_own));
        }
    }

    /// Returns a trade whose announcement is due, and the announcement's class. The caller must
    /// postpone the trade.
    pub(super) fn due(&self, now: Moment) -> Option<(TxId, Arc<Transaction>, Class)> {
        let (_, txid) = self.times.first().filter(|(next, _)| *next <= now)?;
        let entry = self.entries.get(txid)?;
        let class = if entry.is_first { entry.class } else { Class::Again };
        Some((*txid, Arc::clone(&entry.transaction), class))
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

    fn entry(next: Moment, is_first: bool, is_own: bool) -> Entry {
        let memo = Vec::new();
        let transaction = Arc::new(Transaction { inputs: Vec::new(), outputs: Vec::new(), memo });
        Entry { transaction, next, is_first, is_own, class: Class::Free }
    }

    #[test]
    fn the_earliest_comes_first_and_what_left_never() {
        let mut schedule = Schedule::default();
        for number in 0..4 {
            let next = 100 - Moment::try_from(number).unwrap();
            schedule.add(id(number), entry(next, true, false));
        }
        assert!(schedule.due(96).is_none());
        assert_eq!(
            schedule.due(97).map(|(txid, _, class)| (txid, class)),
            Some((id(3), Class::Free))
        );
        schedule.postpone(&id(3), 500);
        schedule.remove(&id(2));
        assert_eq!(schedule.due(100).map(|(txid, ..)| txid), Some(id(1)));
        schedule.remove(&id(1));
        schedule.remove(&id(0));
        assert!(schedule.due(499).is_none());
        assert_eq!(schedule.due(500).map(|(_, _, class)| class), Some(Class::Again));
        schedule.hasten(&id(3), 400);
        assert_eq!(schedule.due(400).map(|(_, _, class)| class), Some(Class::Free));
    }

    #[test]
    fn own_trades_find_room_among_others_and_not_the_other_way_round() {
        let mut schedule = Schedule::default();
        for number in 0..MAX_SCHEDULED {
            schedule.add(id(number), entry(1, false, false));
        }
        schedule.add(id(MAX_SCHEDULED), entry(1, false, false));
        assert!(!schedule.contains(&id(MAX_SCHEDULED)));
        schedule.add(id(MAX_SCHEDULED), entry(1, true, true));
        assert!(schedule.contains(&id(MAX_SCHEDULED)));
        assert_eq!(schedule.entries.len(), MAX_SCHEDULED);
        assert_eq!(schedule.times.len(), MAX_SCHEDULED);
    }
}

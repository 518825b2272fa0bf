//! Mempool access for tests of the chain.

use std::collections::{BTreeSet, HashMap};

use super::{Coin, CoinKey, Entry, KeyMap, Mempool, Package, memory_of};
use crate::primitives::leaf_hash;

impl Mempool {
    /// Lowers the memory limit.
    #[cfg(test)]
    pub(crate) fn shrink(&mut self, max_memory: usize) {
        self.max_memory = max_memory;
    }

    /// Returns the chain coins that the entries spend.
    pub(crate) fn spent_coins(&self) -> Vec<(CoinKey, Coin)> {
        self.spends.iter().filter_map(|(key, spend)| Some((*key, spend.coin?))).collect()
    }

    /// Panics unless every index and total matches the entries.
    pub(crate) fn assert_consistent(&self) {
        let mut spends = KeyMap::default();
        let mut last = None;
        for waiting in self.entries() {
            let txid = waiting.entry.txid;
            assert_eq!(txid, waiting.entry.transaction.txid());
            assert!(last < Some(waiting.sequence) && waiting.sequence < self.next_sequence);
            last = Some(waiting.sequence);
            assert_eq!(waiting.leaf, leaf_hash(&waiting.entry.transaction));
            assert_eq!(waiting.rank, waiting.rank_in(&waiting.package));
            let keys: Vec<_> =
                waiting.entry.transaction.inputs.iter().map(CoinKey::of_input).collect();
            assert_eq!(keys, waiting.keys);
            for key in keys {
                assert_eq!(spends.insert(key, txid), None, "two entries spend one coin");
            }
            let inputs = waiting.entry.transaction.inputs.iter().map(|input| input.outpoint.txid);
            let parents: BTreeSet<_> =
                inputs.filter(|txid| self.entries.contains_key(txid)).collect();
            assert_eq!(
                parents,
                waiting.parents.iter().copied().collect(),
                "parents are entries whose outputs it spends"
            );
            assert_eq!(parents.len(), waiting.parents.len());
            for parent in parents {
                assert!(self.entries[&parent].sequence < waiting.sequence, "parents come first");
            }
            let children = self
                .entries()
                .filter(|other| other.parents.contains(&txid))
                .map(|other| other.entry.txid);
            assert_eq!(
                children.collect::<BTreeSet<_>>(),
                waiting.children.iter().copied().collect(),
                "children are the entries that spend its outputs"
            );
            let mut package = Package::default();
            for ancestor in self.ancestors(&[txid], usize::MAX) {
                package.add(self.entries[&ancestor].alone());
            }
            assert_eq!(package, waiting.package);
            assert_eq!(waiting.entry.expires.is_none(), waiting.entry.local);
        }
        assert_eq!(spends, self.spends.iter().map(|(key, spend)| (*key, spend.by)).collect());
        let places = |wanted: &dyn Fn(&Entry) -> bool| -> BTreeSet<_> {
            let wanted = self.entries().filter(|waiting| wanted(waiting));
            wanted.map(|waiting| waiting.rank).collect()
        };
        assert_eq!(places(&|_| true), self.ranks);
        assert_eq!(places(&Entry::is_evictable), self.evictable);
        let expiries =
            self.entries().filter_map(|waiting| Some((waiting.entry.expires?, waiting.sequence)));
        assert_eq!(expiries.collect::<BTreeSet<_>>(), self.expiries);
        assert_eq!(self.order.len(), self.entries.len());
        let mut charged = HashMap::new();
        for (payer, waiting) in
            self.entries().filter_map(|waiting| Some((waiting.charged?, waiting)))
        {
            *charged.entry(payer).or_insert(0) += memory_of(&waiting.entry.transaction);
        }
        assert_eq!(self.free.waiting(), &charged);
        let memory: usize =
            self.entries().map(|waiting| memory_of(&waiting.entry.transaction)).sum();
        assert_eq!(memory, self.memory);
        assert!(
            self.memory <= self.max_memory || self.evictable.is_empty(),
            "above the limit, only this node's own entries and their ancestors stay"
        );
    }
}

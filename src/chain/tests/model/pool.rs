//! The model's mempool: a list in the order of admission. Each check starts again from the coins of
//! the best chain.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    ledger::Model,
    rules::{self, Purse},
};
use crate::primitives::{Block, Encode, Transaction, TxId};

/// A trade or note that waits.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) transaction: Arc<Transaction>,
    pub(super) txid: TxId,
    pub(super) fee: u64,
    pub(super) local: bool,
}

/// A trade of this node's own, in any state.
#[derive(Debug, Clone)]
pub(super) struct Own {
    pub(super) void: bool,
}

/// The waiting trades, and all own trades ever made.
#[derive(Debug, Clone, Default)]
pub(super) struct Pool {
    pub(super) entries: Vec<Entry>,
    pub(super) own: BTreeMap<TxId, Own>,
}

impl Pool {
    fn get(&self, txid: &TxId) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.txid == *txid)
    }

    /// Returns the entries that spend a coin or use a stamp of this transaction, in the order of
    /// its inputs.
    fn rivals(&self, transaction: &Transaction) -> Vec<&Entry> {
        let spender = |place| {
            self.entries.iter().find(|entry| rules::places(&entry.transaction).contains(place))
        };
        rules::places(transaction).iter().filter_map(spender).collect()
    }

    /// Records an own trade. An existing record stays unchanged, unless the trade was void.
    fn keep_own(&mut self, transaction: &Arc<Transaction>) {
        let txid = transaction.txid();
        if self.own.get(&txid).is_none_or(|own| own.void) {
            self.own.insert(txid, Own { void: false });
        }
    }

    fn is_parent(parent: TxId, child: &Transaction) -> bool {
        child.inputs.iter().any(|input| input.outpoint.txid == parent)
    }

    /// Returns the entries that a transaction depends on, without itself.
    fn ancestors(&self, transaction: &Transaction) -> Vec<&Entry> {
        let mut found: Vec<&Entry> = Vec::new();
        for entry in self.entries.iter().rev() {
            let mut below = found.iter().map(|entry| &*entry.transaction).chain([transaction]);
            if below.any(|child| Self::is_parent(entry.txid, child)) {
                found.push(entry);
            }
        }
        found
    }

    /// Returns an entry and its descendants, in the order of admission.
    fn with_descendants(&self, txid: TxId) -> Vec<TxId> {
        let mut found = vec![txid];
        for entry in &self.entries {
            if found.iter().any(|parent| Self::is_parent(*parent, &entry.transaction)) {
                found.push(entry.txid);
            }
        }
        found
    }
}

impl Model {
    /// Returns the coins of the best chain after all waiting trades.
    pub(super) fn coins_after_pool(&self) -> Purse {
        let mut purse = Purse::clone(&self.coins());
        for entry in &self.pool.entries {
            rules::spend(&mut purse, &entry.transaction, 0)
                .expect("what waits is valid in its order");
        }
        purse
    }

    /// Checks everything about a trade except its signatures. Returns its fee and the entries that
    /// it would replace. Only a trade that arrives for the first time may replace others, and has a
    /// limit on ancestors.
    fn try_trade(
        &self,
        transaction: &Transaction,
        new: Option<usize>,
    ) -> Result<(u64, Vec<TxId>), &'static str> {
        if let Some(code) = rules::form_fault(transaction) {
            return Err(code);
        }
        let rivals = self.pool.rivals(transaction);
        if !rivals.is_empty() && (new.is_none() || rules::is_note(transaction)) {
            return Err("conflict");
        }
        // The coins as if no waiting trade had spent any.
        let mut purse = Purse::clone(&self.coins());
        purse.extend(self.pool.entries.iter().flat_map(|entry| rules::made(&entry.transaction, 0)));
        let fee = rules::spend(&mut purse, transaction, 0)?;
        let mut leaving = Vec::new();
        for txid in rivals.iter().flat_map(|rival| self.pool.with_descendants(rival.txid)) {
            if !leaving.contains(&txid) {
                leaving.push(txid);
            }
        }
        if leaving.len() > 100 {
            return Err("too_many_replaced");
        }
        let ancestors = self.pool.ancestors(transaction);
        if ancestors.iter().any(|entry| leaving.contains(&entry.txid)) {
            return Err("replaces_parent");
        }
        let rate = |fee: u128, bytes: u128| fee * 1_000 / bytes;
        let (fees, bytes) = package(&ancestors);
        let (own_fee, own_bytes) = (u128::from(fee), length(transaction));
        let (fees, bytes) = (fees + own_fee, bytes + own_bytes);
        if let Some(limit) = new {
            self.check_limits(&ancestors, &leaving, limit, own_bytes)?;
        }
        if rivals.is_empty() {
            return Ok((fee, leaving));
        }
        let lost: u128 = leaving
            .iter()
            .filter_map(|txid| self.pool.get(txid))
            .map(|entry| u128::from(entry.fee))
            .sum();
        // The fees of all that leaves, and one unit for each of its own bytes.
        let pays_for_them = own_fee >= lost + own_bytes;
        let is_better = rivals.iter().all(|rival| {
            let (rival_fee, rival_bytes) = (u128::from(rival.fee), length(&rival.transaction));
            let (rest_fees, rest_bytes) = package(&self.pool.ancestors(&rival.transaction));
            let alone = rate(rival_fee, rival_bytes);
            let rank = alone.min(rate(rest_fees + rival_fee, rest_bytes + rival_bytes));
            rate(own_fee, own_bytes) > alone && rate(fees, bytes) > rank
        });
        if pays_for_them && is_better { Ok((fee, leaving)) } else { Err("conflict") }
    }

    /// Checks the limits on packages, in number and in bytes.
    fn check_limits(
        &self,
        ancestors: &[&Entry],
        leaving: &[TxId],
        limit: usize,
        own_bytes: u128,
    ) -> Result<(), &'static str> {
        let most_bytes = if limit > 25 { 404_000 } else { 101_000 };
        if ancestors.len() + 1 > limit {
            return Err("too_long_chain");
        }
        if !ancestors.is_empty() && package(ancestors).1 + own_bytes > most_bytes {
            return Err("too_large_package");
        }
        for ancestor in ancestors {
            let below = self.pool.with_descendants(ancestor.txid);
            let below: Vec<_> = below
                .iter()
                .filter(|txid| !leaving.contains(txid))
                .filter_map(|txid| self.pool.get(txid))
                .collect();
            if below.len() + 1 > limit {
                return Err("too_many_descendants");
            }
            if package(&below).1 + own_bytes > most_bytes {
                return Err("too_large_package");
            }
        }
        Ok(())
    }

    /// Receives a trade or note. Returns the verdict.
    pub(super) fn accept_trade(
        &mut self,
        transaction: &Arc<Transaction>,
        local: bool,
    ) -> &'static str {
        let txid = transaction.txid();
        let is_sent_here = local;
        // An own trade that a peer sends back stays an own trade.
        let local = local || self.pool.own.contains_key(&txid);
        if let Some(entry) = self.pool.entries.iter_mut().find(|entry| entry.txid == txid) {
            if !is_sent_here {
                return "known";
            }
            entry.local = true;
            self.pool.keep_own(transaction);
            return "accepted";
        }
        if self.place(&txid).is_some() {
            return "mined";
        }
        if !is_sent_here && self.pool.own.get(&txid).is_some_and(|own| own.void) {
            return "void";
        }
        match self.try_trade(transaction, Some(if local { 100 } else { 25 })) {
            Err(code) => code,
            Ok(_) if !self.are_good(transaction) => "bad_signature",
            Ok((fee, leaving)) => {
                for txid in &leaving {
                    self.make_void(txid);
                }
                self.pool.entries.retain(|entry| !leaving.contains(&entry.txid));
                self.admit(transaction, fee, local);
                "accepted"
            }
        }
    }

    fn admit(&mut self, transaction: &Arc<Transaction>, fee: u64, local: bool) {
        let txid = transaction.txid();
        if local {
            self.pool.keep_own(transaction);
        }
        self.pool.entries.push(Entry { transaction: Arc::clone(transaction), txid, fee, local });
    }

    /// Admits a trade that was valid before. Returns true if it still is.
    fn readmit(&mut self, transaction: &Arc<Transaction>) -> bool {
        let tried = self.try_trade(transaction, None);
        if let Ok((fee, _)) = tried {
            let local = self.pool.own.contains_key(&transaction.txid());
            self.admit(transaction, fee, local);
        }
        tried.is_ok()
    }

    fn make_void(&mut self, txid: &TxId) {
        if let Some(own) = self.pool.own.get_mut(txid) {
            own.void = true;
        }
    }

    /// Updates the mempool after blocks left and joined the best chain, both in the order of
    /// height.
    pub(super) fn pool_after(&mut self, left: &[Arc<Block>], joined: &[Arc<Block>]) {
        if left.is_empty() {
            for transaction in joined.iter().flat_map(|block| block.transactions.iter().skip(1)) {
                let txid = transaction.txid();
                self.pool.entries.retain(|entry| entry.txid != txid);
                let rivals: Vec<_> =
                    self.pool.rivals(transaction).iter().map(|entry| entry.txid).collect();
                let lost: Vec<_> = rivals
                    .into_iter()
                    .flat_map(|rival| self.pool.with_descendants(rival))
                    .collect();
                for lost in lost {
                    self.pool.entries.retain(|entry| entry.txid != lost);
                    self.make_void(&lost);
                }
            }
        } else {
            let left = left
                .iter()
                .flat_map(|block| block.transactions.iter().skip(1).cloned().map(Arc::new));
            let waited = std::mem::take(&mut self.pool.entries).into_iter();
            let waited = waited.map(|entry| entry.transaction);
            for transaction in left.chain(waited).collect::<Vec<_>>() {
                let txid = transaction.txid();
                let is_there = self.place(&txid).is_some() || self.pool.get(&txid).is_some();
                // Void is final.
                let is_void = self.pool.own.get(&txid).is_some_and(|own| own.void);
                if !is_there && !is_void && !self.readmit(&transaction) {
                    self.make_void(&txid);
                }
            }
        }
    }
}

fn length(transaction: &Transaction) -> u128 {
    u128::try_from(transaction.to_bytes().len()).expect("short")
}

/// Returns the fees and the bytes of entries together.
fn package(entries: &[&Entry]) -> (u128, u128) {
    let fees = entries.iter().map(|entry| u128::from(entry.fee)).sum();
    (fees, entries.iter().map(|entry| length(&entry.transaction)).sum())
}

//! The mempool as the slow and obvious ledger sees it: a list in the order of coming, tried anew against the coins of the
//! best chain.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    ledger::Model,
    rules::{self, Purse},
};
use crate::primitives::{Block, Transaction, TxId};

/// A trade or note that waits.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) transaction: Arc<Transaction>,
    pub(super) txid: TxId,
    pub(super) fee: u64,
    pub(super) local: bool,
}

/// What waits, and this node's own trades for ever.
#[derive(Debug, Clone, Default)]
pub(super) struct Pool {
    pub(super) entries: Vec<Entry>,
    /// Whether each is void.
    pub(super) own: BTreeMap<TxId, (Arc<Transaction>, bool)>,
}

impl Pool {
    fn get(&self, txid: &TxId) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.txid == *txid)
    }

    /// Who spends a coin or uses a stamp that this wants too.
    fn rivals<'a>(&'a self, transaction: &Transaction) -> impl Iterator<Item = &'a Entry> {
        let wanted = rules::places(transaction);
        self.entries.iter().filter(move |entry| rules::places(&entry.transaction).iter().any(|place| wanted.contains(place)))
    }

    fn is_parent(parent: TxId, child: &Transaction) -> bool {
        child.inputs.iter().any(|input| input.outpoint.txid == parent)
    }

    /// How many waiting trades this rests on, itself included.
    fn ancestors(&self, transaction: &Transaction) -> usize {
        let mut found: Vec<&Entry> = Vec::new();
        for entry in self.entries.iter().rev() {
            let mut below = found.iter().map(|entry| &*entry.transaction).chain([transaction]);
            if below.any(|child| Self::is_parent(entry.txid, child)) {
                found.push(entry);
            }
        }
        found.len() + 1
    }

    /// An entry and all that rest on it, in the order of coming.
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
    /// The coins of the best chain after all that waits.
    pub(super) fn coins_after_pool(&self) -> Purse {
        let mut purse = Purse::clone(&self.coins());
        for entry in &self.pool.entries {
            rules::spend(&mut purse, &entry.transaction, 0).expect("what waits is valid in its order");
        }
        purse
    }

    /// What is wrong with a trade beside what waits, but for its signatures; its fee.
    fn try_trade(&self, transaction: &Transaction, limit: usize) -> Result<u64, &'static str> {
        if let Some(code) = rules::form_fault(transaction) {
            return Err(code);
        }
        let mut purse = self.coins_after_pool();
        for place in rules::places(transaction) {
            if self.pool.entries.iter().any(|entry| rules::places(&entry.transaction).contains(&place)) {
                return Err("conflict");
            }
            if !rules::is_note(transaction) && !purse.contains_key(&place) {
                return Err("missing_coin");
            }
        }
        let fee = rules::spend(&mut purse, transaction, 0)?;
        if self.pool.ancestors(transaction) > limit { Err("too_long_chain") } else { Ok(fee) }
    }

    /// A trade or note comes: what becomes of it.
    pub(super) fn accept_trade(&mut self, transaction: &Arc<Transaction>, local: bool) -> &'static str {
        let txid = transaction.txid();
        if let Some(entry) = self.pool.entries.iter_mut().find(|entry| entry.txid == txid) {
            if !local {
                return "known";
            }
            entry.local = true;
            self.pool.own.insert(txid, (Arc::clone(transaction), false));
            return "accepted";
        }
        if self.place(&txid).is_some() {
            return "mined";
        }
        match self.try_trade(transaction, if local { 100 } else { 25 }) {
            Err(code) => code,
            Ok(_) if !self.are_good(transaction) => "bad_signature",
            Ok(fee) => {
                self.admit(transaction, fee, local);
                "accepted"
            }
        }
    }

    fn admit(&mut self, transaction: &Arc<Transaction>, fee: u64, local: bool) {
        let txid = transaction.txid();
        if local {
            self.pool.own.insert(txid, (Arc::clone(transaction), false));
        }
        self.pool.entries.push(Entry { transaction: Arc::clone(transaction), txid, fee, local });
    }

    /// Takes a trade up that was good before; whether it still is.
    fn readmit(&mut self, transaction: &Arc<Transaction>) -> bool {
        let fee = self.try_trade(transaction, usize::MAX);
        if let Ok(fee) = fee {
            let local = self.pool.own.contains_key(&transaction.txid());
            self.admit(transaction, fee, local);
        }
        fee.is_ok()
    }

    fn make_void(&mut self, txid: &TxId) {
        if let Some((_, void)) = self.pool.own.get_mut(txid) {
            *void = true;
        }
    }

    /// The best chain has changed: blocks left and joined it, both in the order of height.
    pub(super) fn pool_after(&mut self, left: &[Arc<Block>], joined: &[Arc<Block>]) {
        if left.is_empty() {
            for transaction in joined.iter().flat_map(|block| block.transactions.iter().skip(1)) {
                let txid = transaction.txid();
                self.pool.entries.retain(|entry| entry.txid != txid);
                let rivals: Vec<_> = self.pool.rivals(transaction).map(|entry| entry.txid).collect();
                let lost: Vec<_> = rivals.into_iter().flat_map(|rival| self.pool.with_descendants(rival)).collect();
                for lost in lost {
                    self.pool.entries.retain(|entry| entry.txid != lost);
                    self.make_void(&lost);
                }
            }
        } else {
            let left = left.iter().flat_map(|block| block.transactions.iter().skip(1).cloned().map(Arc::new));
            let waited = std::mem::take(&mut self.pool.entries).into_iter().map(|entry| entry.transaction);
            for transaction in left.chain(waited).collect::<Vec<_>>() {
                let txid = transaction.txid();
                let is_there = self.place(&txid).is_some() || self.pool.get(&txid).is_some();
                if !is_there && !self.readmit(&transaction) {
                    self.make_void(&txid);
                }
            }
        }
        // What is void is tried again, as often as that helps: one may rest on another.
        loop {
            let void = self.pool.own.iter().filter(|(_, (_, void))| *void);
            let void: Vec<_> = void.map(|(txid, (transaction, _))| (*txid, Arc::clone(transaction))).collect();
            let mut helped = false;
            for (txid, transaction) in void {
                let is_mined = self.place(&txid).is_some();
                if is_mined || self.readmit(&transaction) {
                    self.pool.own.insert(txid, (transaction, false));
                    helped = true;
                }
            }
            if !helped {
                return;
            }
        }
    }
}

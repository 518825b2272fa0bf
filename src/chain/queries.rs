//! `queries` answers reads that need the mempool or uncommitted changes: trades and their states.
//!
//! All other reads go through a [`ChainReader`](super::ChainReader), without the chain thread. A
//! node also reads balances and spendable coins there; the methods here are for callers that own a
//! [`Chain`].

use std::sync::Arc;

use super::{
    api::{Balance, MempoolEntry, SpendQuery, Spendable, TxInfo, TxState},
    errors::ChainFault,
    purse,
    state::Chain,
    store::tables::TxLocation,
};
use crate::primitives::{Amount, BlockHash, Height, Owner, Transaction, TxId};

impl Chain {
    /// Returns the coins that one owner can spend in the next block.
    ///
    /// # Errors
    /// Fails if the disk fails.
    pub fn spendable(&mut self, owner: Owner) -> Result<Spendable, ChainFault> {
        self.commit()?;
        let query = SpendQuery { wallet: vec![owner], ..SpendQuery::default() };
        purse::spendable(&self.overlay.store().read()?, &query, &self.mempool())
    }

    /// Returns an owner's balance with pending changes.
    ///
    /// # Errors
    /// Fails if the disk fails.
    pub fn balance(&mut self, owner: Owner) -> Result<Balance, ChainFault> {
        self.commit()?;
        let tables = self.overlay.store().read()?;
        Ok(purse::funds(&tables, &[owner], &self.mempool())?.whole)
    }

    /// Lists blocks of the best header chain that have no body, lowest first, at most `limit`. If
    /// the tip is on another branch, the blocks above the tip follow.
    #[must_use]
    pub fn missing_bodies(&self, limit: usize) -> Vec<(BlockHash, Height)> {
        self.tree.missing_bodies(limit)
    }

    /// Returns all mempool entries, parents first.
    #[must_use]
    pub fn mempool(&self) -> Vec<MempoolEntry> {
        self.mempool.entries().map(|waiting| waiting.entry.clone()).collect()
    }

    /// Returns the ids of at most `limit` mempool entries, parents first.
    ///
    /// # Security
    /// Strangers may ask for these at any time, so the chain thread copies no entries for them.
    #[must_use]
    pub fn mempool_ids(&self, limit: usize) -> Vec<TxId> {
        self.mempool.ids().take(limit).collect()
    }

    /// Returns trades from the mempool, one element for each id, in the order of `ids`.
    #[must_use]
    pub fn waiting_trades(&self, ids: &[TxId]) -> Vec<Option<Arc<Transaction>>> {
        ids.iter()
            .map(|txid| {
                self.mempool.get(txid).map(|waiting| Arc::clone(&waiting.entry.transaction))
            })
            .collect()
    }

    /// Returns the ids that are in neither the mempool nor the best chain, in the order of `ids`.
    /// Void trades of our own count as known, so that nobody requests them.
    ///
    /// # Errors
    /// Fails if the disk fails.
    pub fn unknown_trades(&mut self, mut ids: Vec<TxId>) -> Result<Vec<TxId>, ChainFault> {
        let mut fault = None;
        ids.retain(|txid| {
            fault.is_none()
                && self.mempool.get(txid).is_none()
                && !self.own.is_void(txid)
                && match self.overlay.location(txid) {
                    Ok(location) => location.is_none(),
                    Err(error) => {
                        fault = Some(error);
                        false
                    }
                }
        });
        fault.map_or(Ok(ids), Err)
    }

    /// Returns a transaction and its state; `None` if unknown.
    ///
    /// # Errors
    /// Fails if the disk fails.
    pub fn transaction(&mut self, txid: TxId) -> Result<Option<TxInfo>, ChainFault> {
        if let Some(waiting) = self.mempool.get(&txid) {
            let transaction = Arc::clone(&waiting.entry.transaction);
            return Ok(Some(TxInfo {
                transaction,
                txid,
                fee: waiting.entry.fee,
                state: TxState::Mempool,
            }));
        }
        if let Some(location) = self.overlay.location(&txid)? {
            return self.mined_transaction(txid, location).map(Some);
        }
        if self.own.is_void(&txid)
            && let Some(record) = self.overlay.own(&txid)?
        {
            let state = TxState::Void { reason: record.void };
            return Ok(Some(TxInfo {
                transaction: Arc::new(record.transaction),
                txid,
                fee: Amount::ZERO,
                state,
            }));
        }
        Ok(None)
    }

    pub(super) fn mined_transaction(
        &mut self,
        txid: TxId,
        TxLocation { height, position }: TxLocation,
    ) -> Result<TxInfo, ChainFault> {
        let corrupt = || {
            let reason = format!("the index has a wrong location of transaction {txid}");
            ChainFault::Corrupt(reason)
        };
        let node = *self.tree.node(self.tree.connected_at(height).ok_or_else(corrupt)?);
        let mut block = self.overlay.block(&node.key())?;
        let fees = self.overlay.undo(&node.key())?.fees(&block.transactions);
        let position = usize::try_from(position).unwrap_or(usize::MAX);
        if position >= block.transactions.len() {
            return Err(corrupt());
        }
        let transaction = Arc::new(block.transactions.swap_remove(position));
        let fee = fees.get(position).copied().unwrap_or_default();
        Ok(TxInfo { transaction, txid, fee, state: TxState::Mined { block: node.hash, height } })
    }
}

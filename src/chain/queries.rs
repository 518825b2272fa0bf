//! `queries` answers reads that need the mempool or uncommitted changes: balances, coins, trades.
//!
//! All other reads go through a [`ChainReader`](super::ChainReader), without the chain thread.

use std::sync::Arc;

use super::{
    api::{Balance, MempoolEntry, OwnedCoin, Spendable, TxInfo, TxState},
    coins::Coins,
    errors::ChainFault,
    state::Chain,
    store::tables::coin_from_bytes,
};
use crate::{
    consensus::{CoinKey, created_coins, spent_coins},
    primitives::{Amount, Height, Owner, Transaction, TxId},
};

impl Chain {
    /// Returns an owner's coins on the best chain, without stamps.
    fn coins_of(&mut self, owner: Owner) -> Result<Vec<OwnedCoin>, ChainFault> {
        self.commit()?;
        let tables = self.overlay.store().read()?;
        let (first, last) = CoinKey::range(owner);
        let mut coins = Vec::new();
        for entry in tables.coins.range::<&[u8; 56]>(&first.to_bytes()..=&last.to_bytes())? {
            let (key, value) = entry?;
            let coin = coin_from_bytes(value.value())?;
            if !coin.is_stamp() {
                coins.push(OwnedCoin { outpoint: CoinKey::from_bytes(key.value()).outpoint, coin });
            }
        }
        Ok(coins)
    }

    /// Returns the coins that an owner can spend in the next block: mined coins that no mempool
    /// entry spends, and outputs of mempool entries.
    ///
    /// # Errors
    /// Fails if the disk fails.
    pub fn spendable(&mut self, owner: Owner) -> Result<Spendable, ChainFault> {
        let mut confirmed = self.coins_of(owner)?;
        let is_free = |coin: &OwnedCoin| {
            self.mempool.spender(&CoinKey { owner, outpoint: coin.outpoint }).is_none()
        };
        confirmed.retain(is_free);
        let height = self.tip().height;
        let pending = self.mempool.entries().flat_map(|waiting| {
            let txid = waiting.entry.txid;
            created_coins(&waiting.entry.transaction, txid, height.saturating_add(1))
        });
        let pending = pending
            .filter(|(key, coin)| {
                key.owner == owner && !coin.is_stamp() && self.mempool.spender(key).is_none()
            })
            .map(|(key, coin)| OwnedCoin { outpoint: key.outpoint, coin })
            .collect();
        Ok(Spendable { confirmed, pending, height })
    }

    /// Returns an owner's balance with pending changes. Each mempool entry counts with its net gain
    /// or loss, so that change outputs do not appear as income.
    ///
    /// # Errors
    /// Fails if the disk fails.
    pub fn balance(&mut self, owner: Owner) -> Result<Balance, ChainFault> {
        let confirmed = self.coins_of(owner)?.iter().map(|coin| coin.coin.value).sum();
        let height = self.tip().height;
        let (mut pending_in, mut pending_out) = (Amount::ZERO, Amount::ZERO);
        let waiting: Vec<_> =
            self.mempool.entries().map(|waiting| Arc::clone(&waiting.entry.transaction)).collect();
        for transaction in waiting {
            let outputs = transaction.outputs.iter().filter(|output| output.owner == owner);
            let gained: Amount = outputs.map(|output| output.value).sum();
            let mut lost = Amount::ZERO;
            for key in spent_coins(&transaction).filter(|key| key.owner == owner) {
                let coin = match self.mempool.output(&key, height) {
                    Some(coin) => Some(coin),
                    None => self.overlay.coin(&key)?,
                };
                lost = lost.saturating_add(coin.map_or(Amount::ZERO, |coin| coin.value));
            }
            pending_in = pending_in.saturating_add(gained.checked_sub(lost).unwrap_or_default());
            pending_out = pending_out.saturating_add(lost.checked_sub(gained).unwrap_or_default());
        }
        Ok(Balance { confirmed, pending_in, pending_out, height })
    }

    /// Returns all mempool entries, parents first.
    #[must_use]
    pub fn mempool(&self) -> Vec<MempoolEntry> {
        self.mempool.entries().map(|waiting| waiting.entry.clone()).collect()
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
    ///
    /// # Errors
    /// Fails if the disk fails.
    pub fn unknown_trades(&mut self, mut ids: Vec<TxId>) -> Result<Vec<TxId>, ChainFault> {
        let mut fault = None;
        ids.retain(|txid| {
            fault.is_none()
                && self.mempool.get(txid).is_none()
                && match self.overlay.place(txid) {
                    Ok(place) => place.is_none(),
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
        if let Some((height, position)) = self.overlay.place(&txid)? {
            return self.mined_transaction(txid, height, position).map(Some);
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
        height: Height,
        position: u32,
    ) -> Result<TxInfo, ChainFault> {
        let corrupt =
            || ChainFault::Corrupt(format!("the index says a wrong place for transaction {txid}"));
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

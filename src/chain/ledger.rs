//! What a block does to the coins, and how that is undone: the same code for the store, the audit and the tests.
//!
//! A block is connected in a child layer or a map of its own: when [`connect`] fails, what it changed so far is to be
//! thrown away.

use std::{collections::HashMap, hash::BuildHasher, sync::Arc};

use super::{
    errors::{ChainFault, ConnectError},
    store::tables::Undo,
};
use crate::{
    consensus::{self, Coin, CoinKey, Network},
    primitives::{Amount, Block, Height, LeafHash, OutPoint, Transaction, TransactionKind, TxId},
};

/// The unspent coins and used stamps, by place.
pub(crate) trait Coins {
    /// The coin or stamp at a place.
    fn coin(&mut self, key: &CoinKey) -> Result<Option<Coin>, ChainFault>;

    /// Puts a coin or stamp at a place, or removes it.
    fn set_coin(&mut self, key: CoinKey, coin: Option<Coin>);
}

impl<S: BuildHasher> Coins for HashMap<CoinKey, Coin, S> {
    fn coin(&mut self, key: &CoinKey) -> Result<Option<Coin>, ChainFault> {
        Ok(self.get(key).copied())
    }

    fn set_coin(&mut self, key: CoinKey, coin: Option<Coin>) {
        match coin {
            Some(coin) => self.insert(key, coin),
            None => self.remove(&key),
        };
    }
}

/// A block whose form was checked, when it came or before it was stored.
#[derive(Debug, Clone)]
pub(crate) struct Body {
    pub(crate) block: Arc<Block>,
    pub(crate) txids: Vec<TxId>,
    pub(crate) leaves: Vec<LeafHash>,
}

impl Body {
    /// Of a block from our own store, whose form was checked before it was stored.
    pub(crate) fn from_store(block: Block) -> Self {
        let txids = block.transactions.iter().map(Transaction::txid).collect();
        let leaves = block.leaves();
        Self { block: Arc::new(block), txids, leaves }
    }

    /// The transactions after the coinbase, with their ids and leaves.
    pub(crate) fn trades(&self) -> impl Iterator<Item = (&Transaction, TxId, LeafHash)> {
        let named = self.txids.iter().copied().zip(self.leaves.iter().copied());
        self.block.transactions.iter().zip(named).skip(1).map(|(transaction, (txid, leaf))| (transaction, txid, leaf))
    }
}

/// Why a block was not connected.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It breaks a rule.
    Rule(ConnectError),
    /// The disk failed: nothing is known of the block.
    Fault(ChainFault),
}

impl From<ChainFault> for Refusal {
    fn from(fault: ChainFault) -> Self {
        Self::Fault(fault)
    }
}

impl From<ConnectError> for Refusal {
    fn from(error: ConnectError) -> Self {
        Self::Rule(error)
    }
}

/// The places that the inputs of a transaction name.
pub(crate) fn input_keys(transaction: &Transaction) -> impl Iterator<Item = CoinKey> {
    transaction.inputs.iter().map(|input| CoinKey { owner: input.public_key.owner(), outpoint: input.outpoint })
}

/// The places and coins that a transaction makes in a block at `height`.
pub(crate) fn outputs(
    transaction: &Transaction,
    txid: TxId,
    height: Height,
    coinbase: bool,
) -> impl Iterator<Item = (CoinKey, Coin)> {
    (0u32..).zip(&transaction.outputs).map(move |(index, output)| {
        let key = CoinKey { owner: output.owner, outpoint: OutPoint { txid, index } };
        (key, Coin { value: output.value, height, coinbase })
    })
}

/// Spends and makes the coins of a block, and checks every rule that needs them; signatures that `verified` knows are not
/// checked again.
pub(crate) fn connect(
    coins: &mut impl Coins,
    network: &Network,
    body: &Body,
    verified: impl Fn(&LeafHash) -> bool,
) -> Result<Undo, Refusal> {
    let height = body.block.header.height;
    let mut undo = Undo { spent: vec![Vec::new()] };
    let mut fees = Amount::ZERO;
    for (transaction, txid, _) in body.trades() {
        let (spent, fee) = spend(coins, transaction, txid, height)?;
        undo.spent.push(spent);
        fees = fees
            .checked_add(fee)
            .ok_or_else(|| consensus::BlockError::FeesOverflow)
            .map_err(ConnectError::from)?;
    }
    if let (Some(coinbase), Some(txid)) = (body.block.transactions.first(), body.txids.first()) {
        consensus::check_coinbase_value(coinbase, fees).map_err(ConnectError::from)?;
        for (key, coin) in outputs(coinbase, *txid, height, true) {
            coins.set_coin(key, Some(coin));
        }
    }
    let unseen: Vec<_> =
        body.trades().filter(|(_, _, leaf)| !verified(leaf)).map(|(transaction, txid, _)| (transaction, txid)).collect();
    consensus::verify_signatures(&network.id, &unseen).map_err(|(position, error)| {
        let txid = unseen.get(position).map(|(_, txid)| *txid).unwrap_or_default();
        ConnectError::Transaction { txid, error }
    })?;
    Ok(undo)
}

/// Spends and makes the coins of one trade or note; what it spent, and its fee.
fn spend(
    coins: &mut impl Coins,
    transaction: &Transaction,
    txid: TxId,
    height: Height,
) -> Result<(Vec<Coin>, Amount), Refusal> {
    if transaction.kind() == TransactionKind::Note {
        for key in input_keys(transaction) {
            if coins.coin(&key)?.is_some() {
                return Err(ConnectError::StampUsed { txid, index: key.outpoint.index }.into());
            }
            coins.set_coin(key, Some(Coin { value: Amount::ZERO, height, coinbase: false }));
        }
        return Ok((Vec::new(), Amount::ZERO));
    }
    let mut spent = Vec::with_capacity(transaction.inputs.len());
    for key in input_keys(transaction) {
        let coin = coins.coin(&key)?.ok_or(ConnectError::MissingCoin { txid, outpoint: key.outpoint })?;
        coins.set_coin(key, None);
        spent.push(coin);
    }
    let fee = consensus::check_coins(transaction, &spent, height)
        .map_err(|error| ConnectError::Transaction { txid, error })?;
    for (key, coin) in outputs(transaction, txid, height, false) {
        coins.set_coin(key, Some(coin));
    }
    Ok((spent, fee))
}

/// Undoes [`connect`] exactly; the block must be the last one connected.
pub(crate) fn disconnect(coins: &mut impl Coins, body: &Body, undo: &Undo) -> Result<(), ChainFault> {
    let transactions = &body.block.transactions;
    if undo.spent.len() != transactions.len() {
        return Err(ChainFault::Corrupt("an undo record does not belong to its block".into()));
    }
    let named = transactions.iter().zip(&body.txids).zip(&undo.spent);
    for ((transaction, txid), spent) in named.rev() {
        for (key, _) in outputs(transaction, *txid, 0, false) {
            coins.set_coin(key, None);
        }
        if transaction.kind() == TransactionKind::Note {
            for key in input_keys(transaction) {
                coins.set_coin(key, None);
            }
            continue;
        }
        if spent.len() != transaction.inputs.len() {
            return Err(ChainFault::Corrupt("an undo record does not belong to its block".into()));
        }
        for (key, coin) in input_keys(transaction).zip(spent) {
            coins.set_coin(key, Some(*coin));
        }
    }
    Ok(())
}

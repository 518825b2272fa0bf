//! `coins` applies a block to the coins and undoes it, for the store, the audit and the tests.
//!
//! Callers connect a block in a child layer or in a separate map. If [`connect`] fails, they must
//! discard its partial changes.

use std::{collections::HashMap, hash::BuildHasher, sync::Arc};

use super::{errors::ChainFault, store::tables::Undo};
use crate::{
    consensus::{
        self, BlockError, CheckedBlock, Coin, CoinKey, Network, TransactionError, created_coins,
        spent_coins,
    },
    primitives::{Amount, Block, BlockHash, Height, LeafHash, Transaction, TxId, merkle_root},
};

/// A coins view: unspent coins and used stamps by key.
pub(crate) trait Coins {
    /// Returns the coin or stamp of a key.
    fn coin(&mut self, key: &CoinKey) -> Result<Option<Coin>, ChainFault>;

    /// Sets the coin or stamp of a key, or removes it.
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

/// A block whose form was checked, on arrival or before it was stored.
#[derive(Debug, Clone)]
pub(crate) struct Body {
    pub(crate) block: Arc<Block>,
    pub(crate) txids: Vec<TxId>,
    pub(crate) leaves: Vec<LeafHash>,
    /// The result of the signature check; `None` if no worker has checked the signatures yet.
    pub(crate) signatures: Option<Result<(), BlockError>>,
}

impl Body {
    /// Wraps a block from our own store, whose form was checked before it was stored.
    pub(crate) fn from_store(block: Block) -> Self {
        let txids = block.transactions.iter().map(Transaction::txid).collect();
        let leaves = block.leaves();
        Self { block: Arc::new(block), txids, leaves, signatures: None }
    }

    /// Wraps a block whose form has just been checked.
    pub(crate) fn from_checked(checked: CheckedBlock) -> Self {
        let (block, txids, leaves) = checked.into_parts();
        Self { block, txids, leaves, signatures: None }
    }

    /// True if both the header and the transactions belong to `hash`.
    pub(crate) fn is_of(&self, hash: &BlockHash) -> bool {
        self.block.hash() == *hash && merkle_root(&self.leaves) == self.block.header.merkle_root
    }

    pub(crate) fn height(&self) -> Height {
        self.block.header.height
    }

    /// Iterates over the transactions after the coinbase, with position, id and leaf.
    pub(crate) fn trades(&self) -> impl Iterator<Item = (usize, &Transaction, TxId, LeafHash)> {
        let names = self.txids.iter().zip(&self.leaves);
        let all = self.block.transactions.iter().zip(names).enumerate();
        all.skip(1).map(|(index, (transaction, (txid, leaf)))| (index, transaction, *txid, *leaf))
    }
}

/// The reason why a block was not connected.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The block breaks a rule.
    Rule(BlockError),
    /// The disk failed, so the validity of the block is unknown.
    Fault(ChainFault),
}

impl From<ChainFault> for Refusal {
    fn from(fault: ChainFault) -> Self {
        Self::Fault(fault)
    }
}

impl From<BlockError> for Refusal {
    fn from(error: BlockError) -> Self {
        Self::Rule(error)
    }
}

/// Applies a block to the coins and checks every rule that depends on them.
///
/// Signatures for which `verified` is true are not checked again.
pub(crate) fn connect(
    coins: &mut impl Coins,
    network: &Network,
    body: &Body,
    threads: usize,
    verified: impl Fn(&LeafHash) -> bool,
) -> Result<Undo, Refusal> {
    let height = body.height();
    let mut undo = Undo { spent: vec![Vec::new()] };
    let mut fees = Amount::ZERO;
    for (index, transaction, txid, _) in body.trades() {
        let broken = |error| Refusal::Rule(BlockError::Transaction { index, error });
        let mut spent = Vec::new();
        for (input, key) in spent_coins(transaction).enumerate() {
            let missing = TransactionError::MissingCoin { input, outpoint: key.outpoint };
            spent.push(coins.coin(&key)?.ok_or_else(|| broken(missing))?);
            coins.set_coin(key, None);
        }
        let fee = consensus::check_coins(transaction, &spent, height).map_err(broken)?;
        for (key, coin) in created_coins(transaction, txid, height) {
            if coin.is_stamp() && coins.coin(&key)?.is_some() {
                return Err(broken(TransactionError::StampUsed { index: key.outpoint.index }));
            }
            coins.set_coin(key, Some(coin));
        }
        undo.spent.push(spent);
        fees = fees.checked_add(fee).ok_or(BlockError::FeesOverflow)?;
    }
    // The coinbase comes after the trades: a trade must not spend coins minted by its own block.
    if let (Some(coinbase), Some(txid)) = (body.block.transactions.first(), body.txids.first()) {
        consensus::check_coinbase_value(coinbase, fees)?;
        for (key, coin) in created_coins(coinbase, *txid, height) {
            coins.set_coin(key, Some(coin));
        }
    }
    // Signatures come last, so that the reported error does not depend on whether a worker has
    // already checked them.
    match &body.signatures {
        Some(found) => (*found)?,
        None => check_signatures(network, body, threads, verified)?,
    }
    Ok(undo)
}

/// Checks the signatures of a block's trades, except those for which `verified` is true.
pub(crate) fn check_signatures(
    network: &Network,
    body: &Body,
    threads: usize,
    verified: impl Fn(&LeafHash) -> bool,
) -> Result<(), BlockError> {
    let unseen: Vec<_> = body.trades().filter(|(_, _, _, leaf)| !verified(leaf)).collect();
    let claims: Vec<_> =
        unseen.iter().map(|(_, transaction, txid, _)| (*transaction, *txid)).collect();
    consensus::verify_signatures(&network.id, &claims, threads).map_err(|(claim, error)| {
        let index = unseen.get(claim).map_or(0, |(index, ..)| *index);
        BlockError::Transaction { index, error }
    })
}

/// Reverts [`connect`] exactly. The block must be the last one connected.
pub(crate) fn disconnect(
    coins: &mut impl Coins,
    body: &Body,
    undo: &Undo,
) -> Result<(), ChainFault> {
    let foreign = || ChainFault::Corrupt("an undo record does not belong to its block".into());
    let transactions = &body.block.transactions;
    if undo.spent.len() != transactions.len() {
        return Err(foreign());
    }
    let named = transactions.iter().zip(&body.txids).zip(&undo.spent);
    for ((transaction, txid), spent) in named.rev() {
        for (key, _) in created_coins(transaction, *txid, 0) {
            coins.set_coin(key, None);
        }
        let keys: Vec<_> = spent_coins(transaction).collect();
        if spent.len() != keys.len() {
            return Err(foreign());
        }
        for (key, coin) in keys.into_iter().zip(spent) {
            coins.set_coin(key, Some(*coin));
        }
    }
    Ok(())
}

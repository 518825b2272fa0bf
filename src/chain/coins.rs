//! What a block does to the coins, and how that is undone: the same code for the store, the audit
//! and the tests.
//!
//! A block is connected in a child layer or a map of its own: when [`connect`] fails, what it
//! changed so far is to be thrown away.

use std::{collections::HashMap, hash::BuildHasher, sync::Arc};

use super::{errors::ChainFault, store::tables::Undo};
use crate::{
    consensus::{
        self, BlockError, CheckedBlock, Coin, CoinKey, Network, TransactionError, created_coins,
        spent_coins,
    },
    primitives::{Amount, Block, BlockHash, Height, LeafHash, Transaction, TxId, merkle_root},
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
    /// What was found of its signatures, when they were checked ahead of its turn.
    pub(crate) signatures: Option<Result<(), BlockError>>,
}

impl Body {
    /// Of a block from our own store, whose form was checked before it was stored.
    pub(crate) fn from_store(block: Block) -> Self {
        let txids = block.transactions.iter().map(Transaction::txid).collect();
        let leaves = block.leaves();
        Self { block: Arc::new(block), txids, leaves, signatures: None }
    }

    /// Of a block whose form has just been checked.
    pub(crate) fn from_checked(checked: CheckedBlock) -> Self {
        let (block, txids, leaves) = checked.into_parts();
        Self { block, txids, leaves, signatures: None }
    }

    /// Whether it is the block of that name, body and all.
    pub(crate) fn is_of(&self, hash: &BlockHash) -> bool {
        self.block.hash() == *hash && merkle_root(&self.leaves) == self.block.header.merkle_root
    }

    pub(crate) fn height(&self) -> Height {
        self.block.header.height
    }

    /// The transactions after the coinbase with position, id and leaf.
    pub(crate) fn trades(&self) -> impl Iterator<Item = (usize, &Transaction, TxId, LeafHash)> {
        let names = self.txids.iter().zip(&self.leaves);
        let all = self.block.transactions.iter().zip(names).enumerate();
        all.skip(1).map(|(index, (transaction, (txid, leaf)))| (index, transaction, *txid, *leaf))
    }
}

/// Why a block was not connected.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It breaks a rule.
    Rule(BlockError),
    /// The disk failed: nothing is known of the block.
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

/// Spends and makes the coins of a block, and checks every rule that needs them; signatures that
/// `verified` knows are not checked again.
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
    // After the trades, which cannot spend what only their own block mints.
    if let (Some(coinbase), Some(txid)) = (body.block.transactions.first(), body.txids.first()) {
        consensus::check_coinbase_value(coinbase, fees)?;
        for (key, coin) in created_coins(coinbase, *txid, height) {
            coins.set_coin(key, Some(coin));
        }
    }
    // Last, so that the first thing wrong with a block does not depend on whether they were checked
    // ahead.
    match &body.signatures {
        Some(found) => (*found)?,
        None => check_signatures(network, body, threads, verified)?,
    }
    Ok(undo)
}

/// Checks the signatures of a block's trades, but for those that `verified` knows.
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

/// Undoes [`connect`] exactly; the block must be the last one connected.
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

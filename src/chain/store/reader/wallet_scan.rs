//! `wallet_scan` reads own transactions and coins for a wallet, block by block.
//!
//! All of these run without the chain thread. A scan goes page by page, so that neither its memory
//! nor its read transaction grows with the chain.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashSet},
};

use redb::ReadableTable as _;

use super::{ChainReader, stored_block};
use crate::{
    chain::{
        errors::ChainFault,
        store::tables::{
            HeaderRecord, META_TIP, OwnRecord, ReadTables, Status, Undo, block_key,
            coin_from_bytes, split_block_key, stored,
        },
    },
    consensus::{Coin, CoinKey},
    primitives::{BlockHash, Height, Owner, Transaction, TransactionKind, TxId, UnixMillis},
};

/// Headers that one page of a scan reads: some milliseconds of work for blocks without trades.
const PAGE_HEADERS: usize = 512;

/// Number of own transactions after which a page ends: at most 25 MB of them.
const PAGE_FOUND: usize = 256;

/// A transaction of the best chain that touches an own coin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MinedTransaction {
    pub(crate) txid: TxId,
    pub(crate) transaction: Transaction,
    /// The coins that the inputs spent, in order; none for a coinbase.
    pub(crate) spent: Vec<Coin>,
    pub(crate) block: BlockHash,
    pub(crate) height: Height,
    /// The block's time.
    pub(crate) time: UnixMillis,
    /// The position in the block.
    pub(crate) position: u32,
}

/// One page of a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WalletScan {
    Page {
        /// In the order of the chain.
        found: Vec<MinedTransaction>,
        /// The last block that the page covers; `None` if there is no new block.
        upto: Option<(Height, BlockHash)>,
        /// The height of the tip.
        tip: Height,
    },
    /// A reorg removed the block after which the page should begin.
    Left {
        /// The last block below it that is still on the best chain.
        fork: (Height, BlockHash),
    },
}

/// A transaction of this node that can no longer be mined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VoidTransaction {
    pub(crate) txid: TxId,
    pub(crate) transaction: Transaction,
    /// The time at which it was made.
    pub(crate) added: UnixMillis,
    /// The cause, as a sentence.
    pub(crate) reason: String,
}

/// Returns true if a transaction spends or creates a coin of one of `owners`.
pub(crate) fn touches(transaction: &Transaction, owners: &HashSet<Owner>) -> bool {
    transaction.kind() != TransactionKind::Note
        && (transaction.outputs.iter().any(|output| owners.contains(&output.owner))
            || transaction.inputs.iter().any(|input| owners.contains(&input.public_key.owner())))
}

impl ChainReader {
    /// Returns the transactions that touch coins of `owners`, in the next blocks of the best chain
    /// after the block `after`, or from genesis. `None` if the chain cannot be read.
    pub(crate) fn wallet_scan(
        &self,
        after: Option<(Height, BlockHash)>,
        owners: &HashSet<Owner>,
    ) -> Option<WalletScan> {
        self.read(|tables| {
            if let Some((height, hash)) = after {
                let record = tables.header(&block_key(height, &hash))?;
                if record.is_none_or(|record| record.status != Status::Connected) {
                    return Ok(WalletScan::Left {
                        fork: fork_below(tables, self.genesis, record)?,
                    });
                }
            }
            let (tip, _) = split_block_key(&tables.meta_key(META_TIP)?);
            let first = after.map_or(0, |(height, _)| height.saturating_add(1));
            let first = block_key(first, &BlockHash::ZERO);
            let (mut found, mut upto) = (Vec::new(), None);
            for entry in tables.headers.range::<&[u8; 36]>(&first..)?.take(PAGE_HEADERS) {
                let (key, value) = entry?;
                let (height, hash) = split_block_key(key.value());
                if height > tip || found.len() >= PAGE_FOUND {
                    break;
                }
                let record = HeaderRecord::from_bytes(value.value())?;
                if record.status == Status::Connected {
                    find_own(tables, &record, hash, owners, &mut found)?;
                    upto = Some((height, hash));
                }
            }
            Ok(WalletScan::Page { found, upto, tip })
        })
    }

    /// Returns a coin of the best chain.
    pub(crate) fn coin(&self, key: &CoinKey) -> Option<Coin> {
        let coin = self.read(|tables| {
            let coin = tables.coins.get(&key.to_bytes())?;
            Ok(coin.map(|coin| coin_from_bytes(coin.value())).transpose()?)
        });
        coin.flatten()
    }

    /// Returns the newest void transactions that this node made, newest first, at most `limit`.
    pub(crate) fn void_transactions(&self, limit: usize) -> Vec<VoidTransaction> {
        let void = self.read(|tables| {
            let mut newest = BinaryHeap::new();
            for entry in tables.own.iter()? {
                let (key, value) = entry?;
                let record: OwnRecord = stored("an own transaction", value.value())?;
                if record.void.is_empty() {
                    continue;
                }
                newest.push(Reverse((record.added, *key.value())));
                if newest.len() > limit {
                    newest.pop();
                }
            }
            let mut void = Vec::new();
            for Reverse((added, txid)) in newest.into_sorted_vec() {
                let Some(value) = tables.own.get(&txid)? else { continue };
                let record: OwnRecord = stored("an own transaction", value.value())?;
                let OwnRecord { void: reason, transaction, .. } = record;
                void.push(VoidTransaction { txid: TxId(txid), transaction, added, reason });
            }
            Ok(void)
        });
        void.unwrap_or_default()
    }
}

/// Returns the highest block below a header that is on the best chain; genesis if the header is
/// gone.
fn fork_below(
    tables: &ReadTables,
    genesis: BlockHash,
    mut record: Option<HeaderRecord>,
) -> Result<(Height, BlockHash), ChainFault> {
    while let Some(left) = record
        && let Some(height) = left.header.height.checked_sub(1)
    {
        let hash = left.header.previous;
        record = tables.header(&block_key(height, &hash))?;
        if record.is_some_and(|below| below.status == Status::Connected) {
            return Ok((height, hash));
        }
    }
    Ok((0, genesis))
}

/// Adds the transactions of one block that touch coins of `owners`.
fn find_own(
    tables: &ReadTables,
    record: &HeaderRecord,
    block: BlockHash,
    owners: &HashSet<Owner>,
    found: &mut Vec<MinedTransaction>,
) -> Result<(), ChainFault> {
    let (height, time) = (record.header.height, record.header.time);
    let key = block_key(height, &block);
    let Some(bytes) = tables.blocks.get(&key)? else {
        return Err(ChainFault::Corrupt(format!("block {block} at height {height} is missing")));
    };
    let transactions = stored_block(bytes.value(), &block)?.transactions;
    let own: Vec<_> =
        (0_u32..).zip(transactions).filter(|(_, found)| touches(found, owners)).collect();
    if own.is_empty() {
        return Ok(());
    }
    let undo = match tables.undo.get(&key)? {
        Some(undo) => stored::<Undo>("an undo record", undo.value())?,
        None => Undo::default(),
    };
    for (position, transaction) in own {
        let spent = usize::try_from(position).ok().and_then(|at| undo.spent.get(at));
        found.push(MinedTransaction {
            txid: transaction.txid(),
            spent: spent.cloned().unwrap_or_default(),
            transaction,
            block,
            height,
            time,
            position,
        });
    }
    Ok(())
}

//! The chain reader answers queries from the last committed state, without the chain thread.

pub(crate) mod wallet_scan;

use std::{
    collections::HashSet,
    sync::{Arc, PoisonError, Weak},
};

use redb::Database;

use super::{
    Store, read_tables,
    tables::{
        HeaderRecord, META_BEST_HEADER, META_MIN_WORK, META_TIP, ReadTables, Status, Undo,
        block_key, split_block_key, stored,
    },
};
use crate::{
    chain::{
        api::{BlockInfo, Funds, InputFate, MempoolEntry, SpendQuery, Spendable},
        errors::ChainFault,
        fates,
        header_tree::HashIndex,
        purse,
    },
    consensus::{Checkpoint, Work},
    primitives::{Block, BlockHash, Header, Height, Owner, Transaction, TxId, TxOutput},
    storage::contain,
};

/// Number of consecutive blocks at the start of a locator, before its steps double.
const LOCATOR_SINGLE_STEPS: usize = 10;

/// Depth of the checkpoint in an invite, in blocks: no ordinary reorg is as deep.
const CHECKPOINT_DEPTH: Height = 100;

/// A handle that reads the last committed state.
///
/// Each call blocks for a short disk read, so async code calls it through `spawn_blocking`. One
/// call reads one snapshot; two calls may see two.
///
/// A reader does not keep the file open. After the chain closes, every call returns nothing. The
/// same holds after a disk failure, which the chain thread detects and reports itself.
#[derive(Debug, Clone)]
pub struct ChainReader {
    database: Weak<Database>,
    genesis: BlockHash,
    index: HashIndex,
}

impl ChainReader {
    pub(in crate::chain) fn new(store: &Store, index: HashIndex) -> Self {
        Self { database: Arc::downgrade(store.database()), genesis: store.network().id, index }
    }

    /// Returns the shared map from hashes to heights.
    pub(super) const fn index(&self) -> &HashIndex {
        &self.index
    }

    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&ReadTables) -> Result<T, ChainFault>,
    ) -> Option<T> {
        match self.try_read(read) {
            Ok(value) => Some(value),
            Err(ChainFault::Closed) => None,
            Err(fault) => {
                tracing::error!(%fault, "reading the chain failed");
                None
            }
        }
    }

    /// Does the same as [`ChainReader::read`] for a caller that needs the fault.
    pub(in crate::chain) fn try_read<T>(
        &self,
        read: impl FnOnce(&ReadTables) -> Result<T, ChainFault>,
    ) -> Result<T, ChainFault> {
        let database = self.database.upgrade().ok_or(ChainFault::Closed)?;
        let result = contain(|| read_tables(&database).and_then(|tables| read(&tables)));
        result.unwrap_or_else(|reason| Err(ChainFault::Corrupt(reason)))
    }

    /// Returns the balance of several owners together, beside the mempool's entries.
    pub(in crate::chain) fn funds(
        &self,
        owners: &[Owner],
        waiting: &[MempoolEntry],
    ) -> Result<Funds, ChainFault> {
        self.try_read(|tables| purse::funds(tables, owners, waiting))
    }

    /// Returns the states of a void transaction's inputs, in their order.
    ///
    /// To find the spender of a coin, this reads the blocks since the coin was made.
    ///
    /// # Errors
    /// Fails if the chain is closed or its file cannot be read.
    pub fn input_fates(
        &self,
        transaction: &Transaction,
        waiting: &[MempoolEntry],
    ) -> Result<Vec<InputFate>, ChainFault> {
        self.try_read(|tables| fates::input_fates(tables, transaction, waiting))
    }

    /// Returns a transaction that was made here since the own transaction `txid`, is not void, and
    /// makes these payments with the same memo.
    ///
    /// # Errors
    /// Fails if the chain is closed or its file cannot be read.
    pub fn paid_since(
        &self,
        txid: &TxId,
        payments: &[TxOutput],
        memo: &[u8],
    ) -> Result<Option<TxId>, ChainFault> {
        self.try_read(|tables| fates::paid_since(tables, txid, payments, memo))
    }

    /// Returns the coins that a wallet can spend next, beside the mempool's entries.
    pub(in crate::chain) fn spendable(
        &self,
        query: &SpendQuery,
        waiting: &[MempoolEntry],
    ) -> Result<Spendable, ChainFault> {
        self.try_read(|tables| purse::spendable(tables, query, waiting))
    }

    /// Returns the record of a hash, at the height that the shared index gives.
    fn record(
        &self,
        tables: &ReadTables,
        hash: &BlockHash,
    ) -> Result<Option<HeaderRecord>, ChainFault> {
        let height = self
            .index
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(hash)
            .map(|(_, height)| *height);
        match height {
            Some(height) => Ok(tables.header(&block_key(height, hash))?),
            None => Ok(None),
        }
    }

    /// Lists blocks of the best header chain, newest first: 10 consecutive ones, then at doubling
    /// distances, genesis last.
    #[must_use]
    pub fn locator(&self) -> Vec<BlockHash> {
        let locator = self.read(|tables| {
            let (mut height, hash) = split_block_key(&tables.meta_key(META_BEST_HEADER)?);
            let (mut locator, mut step): (_, Height) = (vec![hash], 1);
            while height > 0 {
                height = height.saturating_sub(step);
                if locator.len() >= LOCATOR_SINGLE_STEPS {
                    step = step.saturating_mul(2);
                }
                locator.extend(
                    tables
                        .header_at(height, |record| record.on_best_headers)?
                        .map(|(hash, _)| hash),
                );
            }
            Ok(locator)
        });
        locator.unwrap_or_else(|| vec![self.genesis])
    }

    /// Returns headers of the best connected chain, ascending, at most `limit`. They start after
    /// the first block of `locator` that is on this chain, or after genesis if none is. The first
    /// `skip` of them are left out.
    #[must_use]
    pub fn headers_after(&self, locator: &[BlockHash], skip: u32, limit: usize) -> Vec<Header> {
        let headers = self.read(|tables| {
            let mut start = 0;
            for hash in locator {
                if let Some(record) =
                    self.record(tables, hash)?.filter(|record| record.status == Status::Connected)
                {
                    start = record.header.height;
                    break;
                }
            }
            let first = start.saturating_add(1).saturating_add(skip);
            let first = block_key(first, &BlockHash::ZERO);
            let mut headers = Vec::new();
            for entry in tables.headers.range::<&[u8; 36]>(&first..)? {
                if headers.len() >= limit {
                    break;
                }
                let record = HeaderRecord::from_bytes(entry?.1.value())?;
                if record.status == Status::Connected {
                    headers.push(record.header);
                }
            }
            Ok(headers)
        });
        headers.unwrap_or_default()
    }

    /// Returns the canonical bytes of a stored block of any branch. Returns `None` for a damaged
    /// block, because a peer would penalise this node for it.
    #[must_use]
    pub fn block_bytes(&self, hash: &BlockHash) -> Option<Vec<u8>> {
        self.read(|tables| {
            let Some(record) = self.record(tables, hash)? else { return Ok(None) };
            let Some(bytes) = tables.blocks.get(&block_key(record.header.height, hash))? else {
                return Ok(None);
            };
            stored_block(bytes.value(), hash)?;
            Ok(Some(bytes.value().to_vec()))
        })
        .flatten()
    }

    /// Returns the canonical bytes of blocks, one block after the other: the block `first`, and
    /// those above it if it is on the best chain. There are at most `count` blocks in at most
    /// `limit` bytes, but at least the first one. Empty if this node has no sound body of it.
    #[must_use]
    pub fn blocks_from(&self, first: &BlockHash, count: usize, limit: usize) -> (Vec<u8>, usize) {
        let read = self.read(|tables| {
            let (mut bytes, mut blocks) = (Vec::new(), 0_usize);
            let Some(record) = self.record(tables, first)? else { return Ok((bytes, blocks)) };
            let start = block_key(record.header.height, first);
            let above = block_key(record.header.height.saturating_add(1), &BlockHash::ZERO);
            let is_connected = record.status == Status::Connected;
            let mut rest =
                is_connected.then(|| tables.headers.range::<&[u8; 36]>(&above..)).transpose()?;
            let mut next = Some(start);
            while let Some(key) = next.filter(|_| blocks < count) {
                let Some(block) = tables.blocks.get(&key)? else { break };
                let block = block.value();
                let is_over = bytes.len().saturating_add(block.len()) > limit;
                // A damaged block ends the answer: a peer would penalise this node for it.
                if (blocks > 0 && is_over) || stored_block(block, &split_block_key(&key).1).is_err()
                {
                    break;
                }
                bytes.extend_from_slice(block);
                blocks = blocks.saturating_add(1);
                next = None;
                for entry in rest.iter_mut().flatten() {
                    let (key, value) = entry?;
                    if HeaderRecord::from_bytes(value.value())?.status == Status::Connected {
                        next = Some(*key.value());
                        break;
                    }
                }
            }
            Ok((bytes, blocks))
        });
        read.unwrap_or_default()
    }

    /// Returns a block of the best chain with its fees.
    #[must_use]
    pub fn block(&self, hash: &BlockHash) -> Option<BlockInfo> {
        self.read(|tables| match self.record(tables, hash)? {
            Some(record) if record.status == Status::Connected => {
                block_info(tables, *hash, &record)
            }
            _ => Ok(None),
        })
        .flatten()
    }

    /// Returns the block of the best chain at a height, with its fees.
    #[must_use]
    pub fn block_at(&self, height: Height) -> Option<BlockInfo> {
        self.read(|tables| {
            match tables.header_at(height, |record| record.status == Status::Connected)? {
                Some((hash, record)) => block_info(tables, hash, &record),
                None => Ok(None),
            }
        })
        .flatten()
    }

    /// Returns a stored block of any branch.
    #[must_use]
    pub fn stored_block(&self, hash: &BlockHash) -> Option<Block> {
        self.read(|tables| {
            let Some(record) = self.record(tables, hash)? else { return Ok(None) };
            let bytes = tables.blocks.get(&block_key(record.header.height, hash))?;
            bytes.map(|bytes| stored_block(bytes.value(), hash)).transpose()
        })
        .flatten()
    }

    /// Calls `see` with at most `limit` blocks of the best chain, from the height `from` upward.
    /// Returns the height of the tip.
    ///
    /// # Errors
    /// Fails if the chain is closed or its file cannot be read.
    pub fn each_block(
        &self,
        from: Height,
        limit: usize,
        see: &mut dyn FnMut(Height, BlockHash, &Block),
    ) -> Result<Height, ChainFault> {
        self.try_read(|tables| {
            let first = block_key(from, &BlockHash::ZERO);
            let mut seen = 0_usize;
            for entry in tables.headers.range::<&[u8; 36]>(&first..)? {
                if seen >= limit {
                    break;
                }
                let (key, value) = entry?;
                if HeaderRecord::from_bytes(value.value())?.status != Status::Connected {
                    continue;
                }
                let (height, hash) = split_block_key(key.value());
                let bytes = tables.blocks.get(key.value())?;
                let bytes = bytes.ok_or_else(|| {
                    ChainFault::Corrupt(format!("block {hash} at height {height} is missing"))
                })?;
                see(height, hash, &stored_block(bytes.value(), &hash)?);
                seen = seen.saturating_add(1);
            }
            Ok(split_block_key(&tables.meta_key(META_TIP)?).0)
        })
    }

    /// The minimum work of this chain according to its invite; zero without an invite.
    #[must_use]
    pub fn min_work(&self) -> Work {
        let work = self.read(|tables| {
            let work = tables.meta.get(META_MIN_WORK)?;
            Ok(work.and_then(|bytes| bytes.value().try_into().ok()).map(Work::from_be_bytes))
        });
        work.flatten().unwrap_or(Work::ZERO)
    }

    /// Returns a header of any branch, and true if its block is on the best chain.
    #[must_use]
    pub fn header(&self, hash: &BlockHash) -> Option<(Header, bool)> {
        let record = self.read(|tables| self.record(tables, hash)).flatten()?;
        Some((record.header, record.status == Status::Connected))
    }

    /// Returns the subset of these blocks that are stored, on any branch.
    #[must_use]
    pub fn stored(&self, hashes: &[BlockHash]) -> HashSet<BlockHash> {
        let stored = self.read(|tables| {
            let mut stored = HashSet::new();
            for hash in hashes {
                if self.record(tables, hash)?.is_some_and(|record| record.status.has_body()) {
                    stored.insert(*hash);
                }
            }
            Ok(stored)
        });
        stored.unwrap_or_default()
    }

    /// Returns the checkpoint for an invite: the best chain's block 100 below the tip, or the
    /// genesis of a young chain.
    #[must_use]
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        self.read(|tables| {
            let (tip, _) = split_block_key(&tables.meta_key(META_TIP)?);
            let height = tip.saturating_sub(CHECKPOINT_DEPTH);
            let found = tables.header_at(height, |record| record.status == Status::Connected)?;
            Ok(found.map(|(hash, record)| Checkpoint { height, hash, work: record.work }))
        })
        .flatten()
    }
}

/// Decodes a stored block. A hash or merkle root that differs from the expected one is corruption.
pub(in crate::chain) fn stored_block(bytes: &[u8], hash: &BlockHash) -> Result<Block, ChainFault> {
    let block: Block = stored("a block", bytes)?;
    if block.hash() != *hash || block.computed_merkle_root() != block.header.merkle_root {
        return Err(ChainFault::Corrupt(format!(
            "block {hash} at height {} is damaged",
            block.header.height
        )));
    }
    Ok(block)
}

fn block_info(
    tables: &ReadTables,
    hash: BlockHash,
    record: &HeaderRecord,
) -> Result<Option<BlockInfo>, ChainFault> {
    let key = block_key(record.header.height, &hash);
    let (Some(bytes), Some(undo)) = (tables.blocks.get(&key)?, tables.undo.get(&key)?) else {
        return Ok(None);
    };
    let block = stored_block(bytes.value(), &hash)?;
    let undo: Undo = stored("an undo record", undo.value())?;
    let (tip_height, _) = split_block_key(&tables.meta_key(META_TIP)?);
    let fees = undo.fees(&block.transactions);
    Ok(Some(BlockInfo { hash, block: Arc::new(block), fees, tip_height }))
}

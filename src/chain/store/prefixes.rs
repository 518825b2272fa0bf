//! Lookups by the first digits of an id, for [`ChainReader`].

use std::sync::PoisonError;

use redb::{ReadOnlyTable, Value};

use super::{
    reader::ChainReader,
    tables::{Status, block_key},
};
use crate::{
    chain::errors::ChainFault,
    primitives::{BlockHash, Height, IdPrefix, TxId},
};

/// The most headers that are looked up for one prefix. A prefix that fits more is ambiguous anyway:
/// all block hashes begin with zeros, so a short prefix fits every block.
const MAX_LOOKED_UP: usize = 1_024;

impl ChainReader {
    /// Lists transactions that were mined, wait, or were made here, and whose ids begin with these
    /// digits: at most `limit`, in order.
    #[must_use]
    pub(crate) fn transactions_beginning(&self, prefix: &IdPrefix, limit: usize) -> Vec<TxId> {
        let found = self.read(|tables| {
            let mut found = Vec::new();
            collect(&tables.tx_index, prefix, limit, &mut found)?;
            collect(&tables.mempool, prefix, limit, &mut found)?;
            collect(&tables.own, prefix, limit, &mut found)?;
            found.sort_unstable();
            found.dedup();
            found.truncate(limit);
            Ok(found)
        });
        found.unwrap_or_default()
    }

    /// Lists blocks whose hashes begin with these digits: at most `limit`, lowest first. If
    /// `on_best_chain` is false, blocks of other branches count too.
    ///
    /// The tables are sorted by height, so this reads the map in memory instead.
    #[must_use]
    pub(crate) fn blocks_beginning(
        &self,
        prefix: &IdPrefix,
        on_best_chain: bool,
        limit: usize,
    ) -> Vec<(Height, BlockHash)> {
        let fitting: Vec<_> = {
            let index = self.index().read().unwrap_or_else(PoisonError::into_inner);
            let fitting = index.iter().filter(|(hash, _)| prefix.begins(&hash.0));
            fitting.map(|(hash, (_, height))| (*height, *hash)).take(MAX_LOOKED_UP).collect()
        };
        let found = self.read(|tables| {
            let mut found = Vec::new();
            for (height, hash) in fitting {
                let record = tables.header(&block_key(height, &hash))?;
                let is_wanted = record
                    .is_some_and(|record| !on_best_chain || record.status == Status::Connected);
                if is_wanted && found.len() < limit {
                    found.push((height, hash));
                }
            }
            found.sort_unstable();
            Ok(found)
        });
        found.unwrap_or_default()
    }
}

/// Adds the ids of a table that begin with these digits, at most `limit` of them.
fn collect<V: Value + 'static>(
    table: &ReadOnlyTable<&'static [u8; 32], V>,
    prefix: &IdPrefix,
    limit: usize,
    found: &mut Vec<TxId>,
) -> Result<(), ChainFault> {
    for entry in table.range::<&[u8; 32]>(prefix.range())?.take(limit) {
        let (key, _) = entry?;
        found.push(TxId(*key.value()));
    }
    Ok(())
}

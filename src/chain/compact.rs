//! `compact` rebuilds compact blocks from the mempool for the relay.

use std::{collections::HashMap, sync::Arc};

use super::{api::Rebuilt, state::Chain};
use crate::primitives::{Block, Header, SHORT_ID_BYTES, Transaction, short_id};

impl Chain {
    /// Rebuilds a compact block from mempool entries. A short id that matches two entries counts as
    /// missing.
    #[must_use]
    pub fn rebuild(
        &self,
        header: Header,
        coinbase: Transaction,
        short_ids: &[[u8; SHORT_ID_BYTES]],
    ) -> Rebuilt {
        let hash = header.hash();
        let mut names: HashMap<[u8; SHORT_ID_BYTES], Option<&Arc<Transaction>>> =
            HashMap::with_capacity(self.mempool.len());
        for (leaf, transaction) in self.mempool.leaves() {
            let same = names.entry(short_id(&hash, leaf));
            same.and_modify(|known| *known = None).or_insert(Some(transaction));
        }
        let found = short_ids.iter().map(|id| names.get(id).copied().flatten().map(Arc::clone));
        let coinbase = Arc::new(coinbase);
        let found: Vec<_> = std::iter::once(Some(Arc::clone(&coinbase))).chain(found).collect();
        let whole: Option<Vec<_>> = found.iter().map(|found| found.as_deref().cloned()).collect();
        let Some(transactions) = whole else {
            let missing = (0u32..).zip(&found).filter(|(_, found)| found.is_none());
            let positions = missing.map(|(position, _)| position).collect();
            return Rebuilt::Missing { found, positions };
        };
        let block = Block { header, transactions };
        if block.computed_merkle_root() == header.merkle_root {
            return Rebuilt::Block(Box::new(block));
        }
        // A short id matched a wrong trade. At most the coinbase can be trusted, so all other
        // transactions are requested.
        let positions = (1u32..).zip(short_ids).map(|(position, _)| position).collect();
        let found = std::iter::once(Some(coinbase)).chain(short_ids.iter().map(|_| None)).collect();
        Rebuilt::Missing { found, positions }
    }
}

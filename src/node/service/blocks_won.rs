//! Counts the blocks of the best chain that pay this wallet, each block once.

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::{
    chain::ChainReader,
    node::blocking::blocking,
    primitives::{BlockHash, Height, Owner},
    rpc::RpcError,
};

/// The count up to the last call. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct BlocksWon {
    counted: Arc<Mutex<Counted>>,
}

#[derive(Debug, Clone, Default)]
struct Counted {
    owners: Vec<Owner>,
    /// The last block that was counted. If a reorg removes it, the count starts again.
    upto: Option<(Height, BlockHash)>,
    won: u64,
}

impl BlocksWon {
    /// Returns the number of blocks that pay one of `owners`.
    pub(super) async fn count(
        &self,
        reader: ChainReader,
        owners: Vec<Owner>,
    ) -> Result<u64, RpcError> {
        let mut counted = self.counted.lock().await;
        let before = std::mem::take(&mut *counted);
        *counted = blocking(move || before.go_on(&reader, owners)).await?;
        Ok(counted.won)
    }
}

impl Counted {
    /// Counts the blocks since the last call.
    fn go_on(mut self, reader: &ChainReader, owners: Vec<Owner>) -> Self {
        let still_there = match self.upto {
            Some((_, hash)) => reader.header(&hash).is_some_and(|(_, on_best_chain)| on_best_chain),
            None => false,
        };
        if self.owners != owners || !still_there {
            self = Self { owners, upto: None, won: 0 };
        }
        // The genesis is created, not mined for a reward.
        let mut height = self.upto.map_or(1, |(height, _)| height.saturating_add(1));
        while let Some(info) = reader.block_at(height) {
            let paid = info.block.transactions.first().is_some_and(|coinbase| {
                coinbase.outputs.iter().any(|output| self.owners.contains(&output.owner))
            });
            self.won = self.won.saturating_add(u64::from(paid));
            self.upto = Some((height, info.hash));
            height = height.saturating_add(1);
        }
        self
    }
}

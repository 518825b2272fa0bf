//! Notices about blocks: one for a sync, and one for each later block.

use tokio::task::spawn_blocking;

use super::{Done, News, Router, news::notes_of};
use crate::{
    primitives::{BlockHash, Height, TxId},
    sync::Phase,
};

/// The most blocks of a sync that are still shown one by one.
const FEW: usize = 3;

/// The blocks that joined the chain while the node was catching up.
#[derive(Debug, Default)]
pub(super) struct CatchUp {
    /// The newest blocks, at most [`FEW`], oldest first.
    newest: Vec<(BlockHash, Height)>,
    blocks: u32,
    /// True if a block has connected since the last tick.
    is_fresh: bool,
}

impl CatchUp {
    /// Counts blocks that joined the chain.
    fn add(&mut self, connected: &[(BlockHash, Height)]) {
        let count = u32::try_from(connected.len()).unwrap_or(u32::MAX);
        self.blocks = self.blocks.saturating_add(count);
        let from = connected.len().saturating_sub(FEW);
        self.newest.extend(connected.get(from..).unwrap_or_default());
        let old = self.newest.len().saturating_sub(FEW);
        self.newest.drain(..old);
        self.is_fresh = true;
    }

    /// Returns the blocks one by one if they are few; otherwise the newest height and their number.
    fn finish(&mut self) -> Result<Vec<(BlockHash, Height)>, (Height, u32)> {
        let Self { newest, blocks, .. } = std::mem::take(self);
        let few = usize::try_from(blocks).is_ok_and(|blocks| blocks <= FEW);
        match newest.last() {
            Some(&(_, height)) if !few => Err((height, blocks)),
            _ => Ok(newest),
        }
    }
}

impl Router {
    /// Publishes connected blocks, or counts them while the node catches up. Own trades in them are
    /// announced at once.
    pub(super) fn publish_connected(&mut self, connected: &[(BlockHash, Height)], mined: &[TxId]) {
        let Some(&(hash, height)) = connected.last() else { return };
        let own = mined.iter().filter_map(|&txid| {
            let kind = self.own_trades.remove(&txid)?;
            Some(News::TradeMined { txid, kind, block: hash, height, was_void: false })
        });
        let own = own.collect();
        let syncs = matches!(self.sync.progress().phase, Phase::Syncing | Phase::Starting);
        if syncs || connected.len() > FEW || self.catch_up.blocks > 0 {
            self.catch_up.add(connected);
            self.publish_blocks(Vec::new(), own);
        } else {
            self.publish_blocks(connected.to_vec(), own);
        }
    }

    /// Publishes the end of a sync, once no block has connected for a tick.
    pub(super) fn publish_synced(&mut self) {
        let is_fresh = std::mem::take(&mut self.catch_up.is_fresh);
        let syncs = matches!(self.sync.progress().phase, Phase::Syncing | Phase::Starting);
        if is_fresh || syncs || self.catch_up.blocks == 0 {
            return;
        }
        match self.catch_up.finish() {
            Ok(blocks) => self.publish_blocks(blocks, Vec::new()),
            Err((height, blocks)) => self.publish_news(News::Synced { height, blocks }),
        }
    }

    /// Publishes blocks with their notes, and then other notices.
    fn publish_blocks(&self, blocks: Vec<(BlockHash, Height)>, others: Vec<News>) {
        let reader = self.reader.clone();
        self.spawn_work(async move {
            let mut all = Vec::new();
            for (hash, height) in blocks {
                let reader = reader.clone();
                let notes = spawn_blocking(move || notes_of(&reader, &hash)).await;
                let notes = notes.unwrap_or_default();
                all.push(News::BlocksConnected { hash, height, count: 1, notes });
            }
            all.extend(others);
            Some(Done::News(all))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(heights: std::ops::Range<Height>) -> Vec<(BlockHash, Height)> {
        heights.map(|height| (BlockHash([1; 32]), height)).collect()
    }

    #[test]
    fn a_sync_is_one_line_and_a_few_blocks_are_themselves() {
        let mut sync = CatchUp::default();
        sync.add(&blocks(1..129));
        sync.add(&blocks(129..200));
        assert_eq!(sync.finish(), Err((199, 199)));
        assert_eq!(sync.finish(), Ok(Vec::new()));
        sync.add(&blocks(200..201));
        sync.add(&blocks(201..202));
        assert_eq!(sync.finish(), Ok(blocks(200..202)));
    }
}

//! `orphans` holds orphan blocks and early headers for [`Chain`](super::Chain), in memory only and
//! within limits.
//!
//! An orphan block lacks its parent's body; an early header is ahead of our clock.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::{api::Origin, coins::Body};
use crate::primitives::{Block, BlockHash, Header, Height, UnixMillis};

/// Maximum size of all orphan blocks, in bytes: about as much as may accumulate before a commit.
const MAX_WAITING_BYTES: usize = 64 * 1024 * 1024;

/// Maximum number of orphan blocks. It bounds the overhead per block when blocks are small.
const MAX_WAITING_BLOCKS: usize = 4_096;

/// Maximum number of early headers that are held until they are due.
pub(super) const MAX_EARLY_HEADERS: usize = 64;

/// A header ahead of our clock, with its block if this node made it.
#[derive(Debug)]
pub(super) struct EarlyHeader {
    pub(super) header: Header,
    pub(super) block: Option<Arc<Block>>,
    pub(super) hash: BlockHash,
    pub(super) origin: Origin,
    pub(super) due: UnixMillis,
}

/// Headers ahead of our clock, the earliest due first.
#[derive(Debug, Default)]
pub(super) struct EarlyHeaders(Vec<EarlyHeader>);

impl EarlyHeaders {
    /// True if the block of this header is held too.
    pub(super) fn holds_block(&self, hash: &BlockHash) -> bool {
        self.0.iter().any(|held| held.hash == *hash && held.block.is_some())
    }

    /// Holds a header until it is due. Beyond [`MAX_EARLY_HEADERS`], the one due last is dropped.
    pub(super) fn hold(&mut self, new: EarlyHeader) {
        if let Some(known) = self.0.iter_mut().find(|known| known.hash == new.hash) {
            if known.block.is_none() {
                *known = new;
            }
            return;
        }
        tracing::debug!(hash = %new.hash, due = new.due, "a header is ahead of our clock: held");
        self.0.push(new);
        self.0.sort_by_key(|held| held.due);
        self.0.truncate(MAX_EARLY_HEADERS);
    }

    /// Returns the time at which the first held header is due.
    pub(super) fn next_due(&self) -> Option<UnixMillis> {
        self.0.first().map(|held| held.due)
    }

    /// Takes the headers that are due, the earliest first.
    pub(super) fn take_due(&mut self, now: UnixMillis) -> Vec<EarlyHeader> {
        let count = self.0.iter().take_while(|held| held.due <= now).count();
        self.0.drain(..count).collect()
    }
}

/// A checked block whose parent's body is missing.
#[derive(Debug)]
pub(super) struct OrphanBlock {
    pub(super) body: Body,
    pub(super) hash: BlockHash,
    pub(super) origin: Origin,
    pub(super) bytes: usize,
}

impl OrphanBlock {
    fn place(&self) -> (Height, BlockHash) {
        (self.body.height(), self.hash)
    }
}

/// The orphan blocks, by hash, parent and height.
///
/// At the limit, blocks off the best header chain are dropped first (see
/// [`OrphanBlocks::retain`]), then the highest blocks, which are needed last.
#[derive(Debug, Default)]
pub(super) struct OrphanBlocks {
    by_hash: HashMap<BlockHash, OrphanBlock>,
    by_parent: HashMap<BlockHash, Vec<BlockHash>>,
    by_height: BTreeSet<(Height, BlockHash)>,
    bytes: usize,
}

impl OrphanBlocks {
    pub(super) fn contains(&self, hash: &BlockHash) -> bool {
        self.by_hash.contains_key(hash)
    }

    /// Inserts a block and drops the highest blocks beyond the limit. Returns false if the new
    /// block was dropped itself.
    pub(super) fn insert(&mut self, waiter: OrphanBlock) -> bool {
        let hash = waiter.hash;
        self.remove(&hash);
        self.bytes = self.bytes.saturating_add(waiter.bytes);
        self.by_height.insert(waiter.place());
        self.by_parent.entry(waiter.body.block.header.previous).or_default().push(hash);
        self.by_hash.insert(hash, waiter);
        while self.bytes > MAX_WAITING_BYTES || self.by_hash.len() > MAX_WAITING_BLOCKS {
            let Some((_, highest)) = self.by_height.last().copied() else { break };
            self.remove(&highest);
        }
        self.contains(&hash)
    }

    /// True if a block of `bytes` fits without dropping another one.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.bytes.saturating_add(bytes) <= MAX_WAITING_BYTES
            && self.by_hash.len() < MAX_WAITING_BLOCKS
    }

    /// Drops all blocks for which `keep` is false.
    pub(super) fn retain(&mut self, keep: impl Fn(&BlockHash) -> bool) {
        let leaving: Vec<_> = self.by_hash.keys().filter(|hash| !keep(hash)).copied().collect();
        for hash in leaving {
            self.remove(&hash);
        }
    }

    pub(super) fn remove(&mut self, hash: &BlockHash) -> Option<OrphanBlock> {
        let waiter = self.by_hash.remove(hash)?;
        self.bytes = self.bytes.saturating_sub(waiter.bytes);
        self.by_height.remove(&waiter.place());
        let parent = waiter.body.block.header.previous;
        if let Some(siblings) = self.by_parent.get_mut(&parent) {
            siblings.retain(|sibling| sibling != hash);
            if siblings.is_empty() {
                self.by_parent.remove(&parent);
            }
        }
        Some(waiter)
    }

    /// Removes and returns the blocks that waited for `parent`.
    pub(super) fn take_children(&mut self, parent: &BlockHash) -> Vec<OrphanBlock> {
        let children = self.by_parent.get(parent).cloned().unwrap_or_default();
        children.iter().filter_map(|child| self.remove(child)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::testing::{Branch, PEER, network};

    #[test]
    fn of_too_many_waiting_blocks_the_highest_give_way() {
        let block = Branch::new(&network(), 0).next(&[]);
        let mut waiting = OrphanBlocks::default();
        let waiter = |height: u32, bytes| {
            let mut block = block.clone();
            block.header.height = height;
            let hash = block.hash();
            OrphanBlock { body: Body::from_store(block), hash, origin: PEER, bytes }
        };
        let most = u32::try_from(MAX_WAITING_BLOCKS).expect("small");
        for height in 1..=most {
            assert!(waiting.insert(waiter(height, 1)));
        }
        assert!(!waiting.insert(waiter(most + 1, 1)));
        assert!(waiting.insert(waiter(0, 1)));
        assert!(!waiting.contains(&waiter(most, 1).hash));
        assert!(!waiting.has_room(1));
        waiting.retain(|hash| *hash == waiter(0, 1).hash);
        assert!(waiting.has_room(MAX_WAITING_BYTES - 1) && waiting.by_hash.len() == 1);
        assert!(waiting.insert(waiter(0, MAX_WAITING_BYTES)) && waiting.by_hash.len() == 1);
        let parent = block.header.previous;
        assert_eq!(waiting.take_children(&parent).len(), 1);
        assert!(waiting.by_parent.is_empty() && waiting.by_height.is_empty());
    }
}

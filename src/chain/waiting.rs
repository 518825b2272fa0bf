//! Blocks that came too early: before their parent's body, or ahead of our clock. Both bounded, both in memory alone.

use std::collections::{BTreeSet, HashMap};

use super::{api::Origin, ledger::Body};
use crate::primitives::{Block, BlockHash, Height, UnixMillis};

/// Bodies that wait for their parents, in bytes: the same as what may gather before a commit.
const MAX_WAITING_BYTES: usize = 64 * 1024 * 1024;

/// And how many, so that small ones do not cost more than their bytes.
const MAX_WAITING_BLOCKS: usize = 4_096;

/// Blocks ahead of our clock that are kept until they are due.
pub(super) const MAX_HELD: usize = 64;

/// A block ahead of our clock.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) block: Block,
    pub(super) hash: BlockHash,
    pub(super) origin: Origin,
    pub(super) due: UnixMillis,
}

/// A checked block whose parent's body is not here.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) body: Body,
    pub(super) hash: BlockHash,
    pub(super) origin: Origin,
    pub(super) bytes: usize,
}

impl Waiter {
    fn place(&self) -> (Height, BlockHash) {
        (self.body.height(), self.hash)
    }
}

/// Blocks that wait for their parents' bodies. When there are too many, the highest give way: they are needed last.
#[derive(Debug, Default)]
pub(super) struct WaitingBlocks {
    by_hash: HashMap<BlockHash, Waiter>,
    by_parent: HashMap<BlockHash, Vec<BlockHash>>,
    by_height: BTreeSet<(Height, BlockHash)>,
    bytes: usize,
}

impl WaitingBlocks {
    pub(super) fn contains(&self, hash: &BlockHash) -> bool {
        self.by_hash.contains_key(hash)
    }

    /// Keeps a block; whether it is still here after the highest have given way.
    pub(super) fn insert(&mut self, waiter: Waiter) -> bool {
        let hash = waiter.hash;
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

    fn remove(&mut self, hash: &BlockHash) -> Option<Waiter> {
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

    /// Takes out those that waited for this block.
    pub(super) fn take_children(&mut self, parent: &BlockHash) -> Vec<Waiter> {
        let children = self.by_parent.get(parent).cloned().unwrap_or_default();
        children.iter().filter_map(|child| self.remove(child)).collect()
    }
}

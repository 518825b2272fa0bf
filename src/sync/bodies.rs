//! The window of bodies that are wanted, requested or buffered, and those handed to the chain.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{MAX_BUFFERED_BYTES, MAX_HANDED, MAX_HANDED_BYTES, MAX_HANDOVER, WINDOW};
use crate::{
    primitives::{Block, BlockHash, Height, Moment, PeerId},
    wire::limits::MAX_RANGE_BLOCKS,
};

/// The expected size of a body before the first one has arrived, in bytes.
const FIRST_AVERAGE: usize = 1_024;

/// The height and hash of a wanted block. Parents sort first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct BlockRef {
    pub(super) height: Height,
    pub(super) hash: BlockHash,
}

/// The state of a wanted block.
#[derive(Debug)]
enum Wanted {
    /// No request for it is in flight.
    Free,
    /// The block is part of this many requests.
    Asked { requests: usize },
    /// The body has arrived, and waits until all its parents are handed over.
    Buffered { peer: PeerId, block: Box<Block>, bytes: usize },
}

/// A block that was handed to the chain, which has not replied yet.
#[derive(Debug)]
struct Handed {
    height: Height,
    peer: PeerId,
    bytes: usize,
    since: Moment,
}

/// The blocks of one request, and their expected size in bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) blocks: Vec<BlockRef>,
    pub(super) bytes: usize,
}

/// The window of wanted bodies, owned by `Sync`. It knows only the ids of peers.
///
/// # Invariants
/// - `heights` and `wanted` hold the same blocks, and `handed` holds others.
/// - `buffered_bytes` and `handed_bytes` are the sums over `wanted` and `handed`.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    wanted: BTreeMap<BlockRef, Wanted>,
    heights: HashMap<BlockHash, Height>,
    handed: HashMap<BlockHash, Handed>,
    buffered_bytes: usize,
    handed_bytes: usize,
    /// Blocks that the chain accepted since the last list of missing bodies was asked for, which
    /// may still name them.
    accepted: HashSet<BlockHash>,
    /// The moving average of body sizes.
    average_bytes: usize,
}

impl Bodies {
    pub(super) fn is_empty(&self) -> bool {
        self.wanted.is_empty() && self.handed.is_empty()
    }

    /// Returns the number of blocks that are not handed to the chain yet.
    pub(super) fn outstanding(&self) -> usize {
        self.wanted.len()
    }

    /// Begins a list of missing bodies. Returns how many blocks it may name beyond the window.
    pub(super) fn begin_list(&mut self) -> usize {
        self.accepted.clear();
        self.handed.len()
    }

    /// Adds the blocks that the chain lists as missing, and drops those that it no longer lists.
    ///
    /// `complete` is true if the list holds all missing blocks, not only the lowest of them.
    pub(super) fn merge(&mut self, listed: &[(BlockHash, Height)], complete: bool) {
        let listed_blocks: HashSet<BlockRef> =
            listed.iter().map(|&(hash, height)| BlockRef { height, hash }).collect();
        let end = if complete {
            Height::MAX
        } else {
            listed.iter().map(|&(_, height)| height).max().unwrap_or(0)
        };
        let gone: Vec<BlockRef> = self
            .wanted
            .keys()
            .take_while(|block| block.height <= end)
            .filter(|block| !listed_blocks.contains(block))
            .copied()
            .collect();
        for block in gone {
            self.remove(block);
        }
        for &(hash, height) in listed {
            if self.outstanding() >= WINDOW {
                break;
            }
            let known = self.heights.contains_key(&hash) || self.handed.contains_key(&hash);
            if !known && !self.accepted.contains(&hash) {
                self.heights.insert(hash, height);
                self.wanted.insert(BlockRef { height, hash }, Wanted::Free);
            }
        }
    }

    /// Drops all blocks that are not handed over, since the best header chain lacks none.
    pub(super) fn clear(&mut self) {
        self.merge(&[], true);
    }

    /// Returns the lowest unrequested blocks that a peer may have and that follow each other: at
    /// most `most`, and about `bytes`, but one at least. `in_flight` is the expected size of all
    /// answers. If the buffer is full, the batch is empty unless it starts with the lowest block
    /// that is not handed over.
    pub(super) fn next_batch(
        &self,
        in_flight: usize,
        most: usize,
        bytes: usize,
        may_have: impl Fn(&BlockRef) -> bool,
    ) -> Batch {
        let average = self.average();
        let full = self.buffered_bytes.saturating_add(in_flight) > MAX_BUFFERED_BYTES;
        let size = (bytes / average).clamp(1, MAX_RANGE_BLOCKS).min(most);
        let mut blocks: Vec<BlockRef> = Vec::new();
        for (block, wanted) in &self.wanted {
            let free = matches!(wanted, Wanted::Free);
            let follows =
                blocks.last().is_none_or(|last| last.height.checked_add(1) == Some(block.height));
            if free && follows && may_have(block) {
                blocks.push(*block);
                if blocks.len() >= size {
                    break;
                }
            } else if full || !blocks.is_empty() {
                break;
            }
        }
        if full && blocks.first() != self.wanted.keys().next() {
            blocks.clear();
        }
        let bytes = average.saturating_mul(blocks.len());
        Batch { blocks, bytes }
    }

    /// Cuts a batch that another peer was asked for, so that it starts with `first`. It keeps at
    /// most `most` blocks and about `bytes`, but at least one block.
    pub(super) fn cut(
        &self,
        batch: &[BlockRef],
        first: BlockRef,
        most: usize,
        bytes: usize,
    ) -> Batch {
        let average = self.average();
        let size = (bytes / average).clamp(1, MAX_RANGE_BLOCKS).min(most);
        let mut blocks = vec![first];
        for block in batch.iter().skip_while(|block| **block != first).skip(1) {
            let follows = blocks.last().and_then(|last| last.height.checked_add(1));
            if blocks.len() >= size || follows != Some(block.height) {
                break;
            }
            blocks.push(*block);
        }
        let bytes = average.saturating_mul(blocks.len());
        Batch { blocks, bytes }
    }

    pub(super) fn mark_asked(&mut self, blocks: &[BlockRef]) {
        for block in blocks {
            match self.wanted.get_mut(block) {
                Some(wanted @ Wanted::Free) => *wanted = Wanted::Asked { requests: 1 },
                Some(Wanted::Asked { requests }) => *requests = requests.saturating_add(1),
                _ => {}
            }
        }
    }

    /// Ends a request for these blocks. Those that did not arrive may be requested again.
    pub(super) fn release(&mut self, blocks: &[BlockRef]) {
        for block in blocks {
            match self.wanted.get_mut(block) {
                Some(Wanted::Asked { requests }) if *requests > 1 => {
                    *requests = requests.saturating_sub(1);
                }
                Some(wanted @ Wanted::Asked { .. }) => *wanted = Wanted::Free,
                _ => {}
            }
        }
    }

    /// Returns the block that holds up the window, if it was requested.
    pub(super) fn held_up(&self) -> Option<BlockRef> {
        self.lowest_missing().filter(|block| self.is_asked(block))
    }

    /// Returns the lowest block whose body has not arrived, unless a lower one is about to be
    /// handed over.
    pub(super) fn lowest_missing(&self) -> Option<BlockRef> {
        let (block, wanted) = self.wanted.first_key_value()?;
        matches!(wanted, Wanted::Free | Wanted::Asked { .. }).then_some(*block)
    }

    /// Returns true if a request for the block is in flight.
    pub(super) fn is_asked(&self, block: &BlockRef) -> bool {
        matches!(self.wanted.get(block), Some(Wanted::Asked { .. }))
    }

    /// Buffers a body. Returns false if it has already arrived or is no longer wanted.
    pub(super) fn receive(
        &mut self,
        wanted: BlockRef,
        peer: PeerId,
        block: Box<Block>,
        bytes: usize,
    ) -> bool {
        let Some(state @ (Wanted::Asked { .. } | Wanted::Free)) = self.wanted.get_mut(&wanted)
        else {
            return false;
        };
        *state = Wanted::Buffered { peer, block, bytes };
        self.buffered_bytes = self.buffered_bytes.saturating_add(bytes);
        self.average_bytes = match self.average_bytes {
            0 => bytes,
            old => old.saturating_mul(15).saturating_add(bytes).div_ceil(16),
        };
        true
    }

    /// Returns the next bodies to hand to the chain, parents first, at most [`MAX_HANDOVER`]. Empty
    /// if a parent has not arrived, or if the chain still has too many blocks to reply to.
    pub(super) fn hand_over(&mut self, now: Moment) -> Vec<(PeerId, Box<Block>)> {
        let mut next = Vec::new();
        while self.handed.len() < MAX_HANDED
            && self.handed_bytes < MAX_HANDED_BYTES
            && next.len() < MAX_HANDOVER
        {
            let Some(lowest) = self.wanted.first_entry() else { break };
            let Wanted::Buffered { .. } = lowest.get() else { break };
            let (BlockRef { height, hash }, Wanted::Buffered { peer, block, bytes }) =
                lowest.remove_entry()
            else {
                break;
            };
            self.heights.remove(&hash);
            self.buffered_bytes = self.buffered_bytes.saturating_sub(bytes);
            self.handed_bytes = self.handed_bytes.saturating_add(bytes);
            self.handed.insert(hash, Handed { height, peer, bytes, since: now });
            next.push((peer, block));
        }
        next
    }

    /// Removes a block that the chain accepted. Returns the peer that sent it if it came from this
    /// window.
    pub(super) fn accepted(&mut self, hash: BlockHash) -> Option<PeerId> {
        let Handed { peer, .. } = self.take_handed(&hash)?;
        self.accepted.insert(hash);
        Some(peer)
    }

    /// Makes a block that the chain refused wanted again. Returns the peer that sent it.
    pub(super) fn refused(&mut self, hash: BlockHash) -> Option<PeerId> {
        let Handed { height, peer, .. } = self.take_handed(&hash)?;
        self.heights.insert(hash, height);
        self.wanted.insert(BlockRef { height, hash }, Wanted::Free);
        Some(peer)
    }

    /// Returns the blocks that were handed over before `before` and got no reply.
    pub(super) fn unanswered(&self, before: Moment) -> Vec<BlockHash> {
        self.handed
            .iter()
            .filter(|(_, handed)| handed.since < before)
            .map(|(hash, _)| *hash)
            .collect()
    }

    /// Returns each requested block with the number of requests that it is part of.
    #[cfg(test)]
    pub(super) fn asked(&self) -> impl Iterator<Item = (BlockRef, usize)> {
        self.wanted.iter().filter_map(|(block, wanted)| match wanted {
            Wanted::Asked { requests } => Some((*block, *requests)),
            _ => None,
        })
    }

    /// Returns the expected size of a body in bytes.
    const fn average(&self) -> usize {
        if self.average_bytes == 0 { FIRST_AVERAGE } else { self.average_bytes }
    }

    fn take_handed(&mut self, hash: &BlockHash) -> Option<Handed> {
        let handed = self.handed.remove(hash)?;
        self.handed_bytes = self.handed_bytes.saturating_sub(handed.bytes);
        Some(handed)
    }

    fn remove(&mut self, block: BlockRef) {
        self.heights.remove(&block.hash);
        if let Some(Wanted::Buffered { bytes, .. }) = self.wanted.remove(&block) {
            self.buffered_bytes = self.buffered_bytes.saturating_sub(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::primitives::{Header, MerkleRoot, PublicKey};

    const PEER: PeerId = PeerId(PublicKey([7; 32]));

    fn hash(number: u32) -> BlockHash {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        BlockHash(bytes)
    }

    fn at(height: u32) -> BlockRef {
        BlockRef { height, hash: hash(height) }
    }

    fn listed(heights: impl IntoIterator<Item = u32>) -> Vec<(BlockHash, Height)> {
        heights.into_iter().map(|height| (hash(height), height)).collect()
    }

    fn body(height: u32) -> Block {
        let header = Header {
            previous: BlockHash::ZERO,
            merkle_root: MerkleRoot::ZERO,
            height,
            time: 0,
            bits: 0,
            nonce: 0,
        };
        Block { header, transactions: Vec::new() }
    }

    #[test]
    fn bodies_are_handed_over_parents_first_however_they_come() {
        let mut bodies = Bodies::default();
        bodies.merge(&listed(1..=4), true);
        let batch = bodies.next_batch(0, usize::MAX, 100_000, |_| true);
        bodies.mark_asked(&batch.blocks);
        for height in [3, 4, 2] {
            assert!(bodies.receive(at(height), PEER, Box::new(body(height)), 100));
            assert!(bodies.hand_over(0).is_empty());
        }
        assert!(bodies.receive(at(1), PEER, Box::new(body(1)), 100));
        let order: Vec<u32> =
            bodies.hand_over(0).iter().map(|(_, block)| block.header.height).collect();
        assert_eq!(order, [1, 2, 3, 4]);
    }

    fn heights(batch: &Batch) -> Vec<Height> {
        batch.blocks.iter().map(|block| block.height).collect()
    }

    #[test]
    fn what_the_chain_lists_no_more_is_dropped_but_not_beyond_its_list() {
        let mut bodies = Bodies::default();
        bodies.merge(&listed(1..=10), true);
        bodies.merge(&listed(4..=6), false);
        let batch = bodies.next_batch(0, usize::MAX, 100_000, |_| true);
        assert_eq!(heights(&batch), [4, 5, 6, 7, 8, 9, 10]);
        bodies.clear();
        assert!(bodies.is_empty());
    }

    #[test]
    fn a_request_is_sized_in_bytes_and_its_blocks_follow_each_other() {
        let mut bodies = Bodies::default();
        bodies.merge(&listed(1..=20), true);
        assert!(bodies.receive(at(1), PEER, Box::new(body(1)), 100));
        assert!(bodies.receive(at(9), PEER, Box::new(body(9)), 100));
        let batch = bodies.next_batch(0, usize::MAX, 450, |_| true);
        assert_eq!((heights(&batch), batch.bytes), (vec![2, 3, 4, 5], 400));
        bodies.mark_asked(&batch.blocks);
        let batch = bodies.next_batch(0, usize::MAX, 5_000, |_| true);
        assert_eq!(heights(&batch), [6, 7, 8], "the ninth is here");
        let one = bodies.next_batch(0, usize::MAX, 1, |_| true);
        assert_eq!(one.blocks.len(), 1, "however little may be on its way");
    }

    #[test]
    fn a_list_from_before_an_accepted_block_does_not_bring_it_back() {
        let mut bodies = Bodies::default();
        bodies.merge(&listed([1]), true);
        assert!(bodies.receive(at(1), PEER, Box::new(body(1)), 10));
        bodies.begin_list();
        bodies.hand_over(0);
        assert_eq!(bodies.accepted(hash(1)), Some(PEER));
        bodies.merge(&listed([1]), true);
        assert!(bodies.is_empty());
        bodies.begin_list();
        bodies.merge(&listed([1]), true);
        assert!(!bodies.is_empty(), "a later list names what is missing again");
    }

    #[test]
    fn when_memory_is_full_only_the_very_next_block_is_asked_for() {
        let mut bodies = Bodies::default();
        bodies.merge(&listed(1..=3), true);
        assert!(bodies.receive(at(2), PEER, Box::new(body(2)), MAX_BUFFERED_BYTES + 1));
        assert!(bodies.next_batch(0, 9, 9, |block| block.height > 1).blocks.is_empty());
        assert_eq!(bodies.next_batch(0, 9, 9, |_| true).blocks, [at(1)]);
    }

    proptest! {
        #[test]
        fn the_sums_hold_whatever_happens(
            steps in prop::collection::vec((0u8..7, 0u32..40), 0..200),
        ) {
            let mut bodies = Bodies::default();
            for (step, height) in steps {
                let block = at(height);
                match step {
                    0 => bodies.merge(&listed(height..height + 20), height % 2 == 0),
                    1 => bodies.mark_asked(&[block]),
                    2 => bodies.release(&[block]),
                    3 => { bodies.receive(block, PEER, Box::new(body(height)), 10); }
                    4 => { bodies.hand_over(0); }
                    5 => { bodies.accepted(block.hash); }
                    _ => { bodies.refused(block.hash); }
                }
                let is_buffered = |wanted: &&Wanted| matches!(wanted, Wanted::Buffered { .. });
                let buffered = bodies.wanted.values().filter(is_buffered).count();
                prop_assert_eq!(bodies.buffered_bytes, buffered * 10);
                prop_assert_eq!(bodies.handed_bytes, bodies.handed.len() * 10);
                prop_assert_eq!(bodies.heights.len(), bodies.wanted.len());
            }
        }
    }
}

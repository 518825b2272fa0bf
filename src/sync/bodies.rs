//! The window of bodies that are wanted, requested, buffered, or handed to the chain.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use super::{
    MAX_BATCH, MAX_BUFFERED_BYTES, MAX_HANDED, MAX_HANDED_BYTES, MAX_SETTLING, SETTLE_MS, WINDOW,
};
use crate::{
    primitives::{Block, BlockHash, Height, Moment, PeerId},
    wire::limits::GET_DATA_BUDGET,
};

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
    /// It is part of this many requests.
    Asked { requests: usize },
    /// It has arrived, and waits until all its parents are handed over.
    Buffered { peer: PeerId, block: Box<Block>, bytes: usize },
    /// It was handed to the chain, which has not replied yet.
    Handed { peer: PeerId, bytes: usize, since: Moment },
}

/// The window of wanted bodies, owned by `Sync`. It knows only the ids of peers.
///
/// # Invariants
/// - `heights` and `wanted` hold the same blocks.
/// - `buffered_bytes`, `handed` and `handed_bytes` are the sums over `wanted`.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    wanted: BTreeMap<BlockRef, Wanted>,
    heights: HashMap<BlockHash, Height>,
    buffered_bytes: usize,
    handed: usize,
    handed_bytes: usize,
    /// Recently accepted blocks, oldest first. The store may list them as missing until its next
    /// commit.
    settling: VecDeque<(Moment, BlockHash)>,
    settled: HashSet<BlockHash>,
    /// The moving average of body sizes.
    average_bytes: usize,
}

impl Bodies {
    pub(super) fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Returns the number of blocks that are not handed to the chain yet.
    pub(super) fn outstanding(&self) -> usize {
        self.wanted.len().saturating_sub(self.handed)
    }

    /// Returns how many blocks the store may list as missing although they need no request.
    pub(super) fn unsettled(&self) -> usize {
        self.handed.saturating_add(self.settling.len())
    }

    /// Adds the blocks that the store lists as missing, and drops those that it no longer lists.
    ///
    /// `complete` is true if the list holds all missing blocks, not only the lowest of them.
    pub(super) fn merge(&mut self, listed: &[(BlockHash, Height)], complete: bool, now: Moment) {
        self.forget_settled(now);
        let listed_blocks: HashSet<BlockRef> =
            listed.iter().map(|&(hash, height)| BlockRef { height, hash }).collect();
        let end = if complete {
            Height::MAX
        } else {
            listed.iter().map(|&(_, height)| height).max().unwrap_or(0)
        };
        let gone: Vec<BlockRef> = self
            .wanted
            .iter()
            .take_while(|(block, _)| block.height <= end)
            .filter(|(block, wanted)| {
                !matches!(wanted, Wanted::Handed { .. }) && !listed_blocks.contains(block)
            })
            .map(|(block, _)| *block)
            .collect();
        for block in gone {
            self.remove(block);
        }
        for &(hash, height) in listed {
            if self.outstanding() >= WINDOW {
                break;
            }
            if !self.heights.contains_key(&hash) && !self.settled.contains(&hash) {
                self.heights.insert(hash, height);
                self.wanted.insert(BlockRef { height, hash }, Wanted::Free);
            }
        }
    }

    /// Drops all blocks that are not handed over, since the best header chain lacks none.
    pub(super) fn clear(&mut self) {
        self.merge(&[], true, 0);
    }

    /// Returns at most `most` of the lowest unrequested blocks that a peer may have. If the buffer
    /// is full, returns them only if they start with the lowest block that is not handed over.
    pub(super) fn next_batch(
        &self,
        requests_in_flight: usize,
        most: usize,
        may_have: impl Fn(&BlockRef) -> bool,
    ) -> Vec<BlockRef> {
        let expected = requests_in_flight.saturating_add(1).saturating_mul(GET_DATA_BUDGET);
        let full = self.buffered_bytes.saturating_add(expected) > MAX_BUFFERED_BYTES;
        let size = (GET_DATA_BUDGET / self.average_bytes.max(1)).clamp(1, MAX_BATCH).min(most);
        let mut batch: Vec<BlockRef> = Vec::new();
        for (block, wanted) in &self.wanted {
            if matches!(wanted, Wanted::Free) && may_have(block) {
                batch.push(*block);
                if batch.len() >= size {
                    break;
                }
            }
        }
        if full && batch.first() != self.first_outstanding().as_ref() {
            batch.clear();
        }
        batch
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
        self.first_outstanding().filter(|block| self.is_asked(block))
    }

    /// Returns the lowest block whose body has not arrived, unless a lower one is about to be
    /// handed over.
    pub(super) fn lowest_missing(&self) -> Option<BlockRef> {
        let block = self.first_outstanding()?;
        let waits = matches!(self.wanted.get(&block)?, Wanted::Free | Wanted::Asked { .. });
        waits.then_some(block)
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
            old => old.saturating_mul(15).saturating_add(bytes) / 16,
        };
        true
    }

    /// Returns the next body to hand to the chain. Returns `None` if a parent has not arrived, or
    /// if the chain still has too many blocks to reply to.
    pub(super) fn hand_over(&mut self, now: Moment) -> Option<(PeerId, Box<Block>)> {
        if self.handed >= MAX_HANDED || self.handed_bytes >= MAX_HANDED_BYTES {
            return None;
        }
        let next = self.first_outstanding()?;
        let wanted = self.wanted.get_mut(&next)?;
        let Wanted::Buffered { peer, bytes, .. } = *wanted else {
            return None;
        };
        let before = std::mem::replace(wanted, Wanted::Handed { peer, bytes, since: now });
        self.buffered_bytes = self.buffered_bytes.saturating_sub(bytes);
        self.handed = self.handed.saturating_add(1);
        self.handed_bytes = self.handed_bytes.saturating_add(bytes);
        match before {
            Wanted::Buffered { block, .. } => Some((peer, block)),
            _ => None,
        }
    }

    /// Removes a block that the chain accepted. Returns the peer that sent it if it came from this
    /// window.
    pub(super) fn accepted(&mut self, hash: BlockHash, now: Moment) -> Option<PeerId> {
        let (_, peer) = self.take_handed(hash)?;
        if self.settled.insert(hash) {
            self.settling.push_back((now, hash));
        }
        self.forget_settled(now);
        Some(peer)
    }

    /// Marks a block that the chain refused as to be fetched again. Returns the peer that sent it.
    pub(super) fn refused(&mut self, hash: BlockHash) -> Option<PeerId> {
        let (height, peer) = self.take_handed(hash)?;
        self.heights.insert(hash, height);
        self.wanted.insert(BlockRef { height, hash }, Wanted::Free);
        Some(peer)
    }

    /// Returns the blocks that were handed over before `before` and got no reply.
    pub(super) fn unanswered(&self, before: Moment) -> Vec<BlockHash> {
        let late =
            |wanted: &Wanted| matches!(wanted, Wanted::Handed { since, .. } if *since < before);
        self.wanted.iter().filter(|(_, wanted)| late(wanted)).map(|(block, _)| block.hash).collect()
    }

    /// Returns each requested block with the number of requests that it is part of.
    #[cfg(test)]
    pub(super) fn asked(&self) -> impl Iterator<Item = (BlockRef, usize)> {
        self.wanted.iter().filter_map(|(block, wanted)| match wanted {
            Wanted::Asked { requests } => Some((*block, *requests)),
            _ => None,
        })
    }

    /// Returns the lowest block that is not handed to the chain.
    fn first_outstanding(&self) -> Option<BlockRef> {
        let handed = |wanted: &Wanted| matches!(wanted, Wanted::Handed { .. });
        self.wanted.iter().find(|(_, wanted)| !handed(wanted)).map(|(block, _)| *block)
    }

    fn take_handed(&mut self, hash: BlockHash) -> Option<(Height, PeerId)> {
        let height = *self.heights.get(&hash)?;
        let block = BlockRef { height, hash };
        let &Wanted::Handed { peer, .. } = self.wanted.get(&block)? else {
            return None;
        };
        self.remove(block);
        Some((height, peer))
    }

    fn remove(&mut self, block: BlockRef) {
        self.heights.remove(&block.hash);
        match self.wanted.remove(&block) {
            Some(Wanted::Buffered { bytes, .. }) => {
                self.buffered_bytes = self.buffered_bytes.saturating_sub(bytes);
            }
            Some(Wanted::Handed { bytes, .. }) => {
                self.handed = self.handed.saturating_sub(1);
                self.handed_bytes = self.handed_bytes.saturating_sub(bytes);
            }
            _ => {}
        }
    }

    fn forget_settled(&mut self, now: Moment) {
        while let Some(&(at, hash)) = self.settling.front() {
            if now.saturating_sub(at) < SETTLE_MS && self.settling.len() <= MAX_SETTLING {
                break;
            }
            self.settling.pop_front();
            self.settled.remove(&hash);
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
        bodies.merge(&listed(1..=4), true, 0);
        let batch = bodies.next_batch(0, MAX_BATCH, |_| true);
        bodies.mark_asked(&batch);
        for height in [3, 4, 2] {
            assert!(bodies.receive(at(height), PEER, Box::new(body(height)), 100));
            assert!(bodies.hand_over(0).is_none());
        }
        assert!(bodies.receive(at(1), PEER, Box::new(body(1)), 100));
        let order: Vec<u32> = std::iter::from_fn(|| bodies.hand_over(0))
            .map(|(_, block)| block.header.height)
            .collect();
        assert_eq!(order, [1, 2, 3, 4]);
    }

    #[test]
    fn what_the_store_lists_no_more_is_dropped_but_not_beyond_its_list() {
        let mut bodies = Bodies::default();
        bodies.merge(&listed(1..=10), true, 0);
        bodies.merge(&listed(4..=6), false, 0);
        let left: Vec<u32> =
            bodies.next_batch(0, MAX_BATCH, |_| true).iter().map(|block| block.height).collect();
        assert_eq!(left, [4, 5, 6, 7, 8, 9, 10]);
        bodies.clear();
        assert!(bodies.is_empty());
    }

    #[test]
    fn an_accepted_block_is_not_wanted_again_until_it_had_time_to_settle() {
        let mut bodies = Bodies::default();
        bodies.merge(&listed([1]), true, 0);
        assert!(bodies.receive(at(1), PEER, Box::new(body(1)), 10));
        bodies.hand_over(0);
        assert_eq!(bodies.accepted(hash(1), 0), Some(PEER));
        bodies.merge(&listed([1]), true, SETTLE_MS - 1);
        assert!(bodies.is_empty());
        bodies.merge(&listed([1]), true, SETTLE_MS);
        assert!(!bodies.is_empty());
    }

    #[test]
    fn when_memory_is_full_only_the_very_next_block_is_asked_for() {
        let mut bodies = Bodies::default();
        bodies.merge(&listed(1..=3), true, 0);
        assert!(bodies.receive(at(2), PEER, Box::new(body(2)), MAX_BUFFERED_BYTES));
        assert!(bodies.next_batch(0, MAX_BATCH, |block| block.height > 1).is_empty());
        assert_eq!(bodies.next_batch(0, MAX_BATCH, |_| true), [at(1)]);
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
                    0 => bodies.merge(&listed(height..height + 20), height % 2 == 0, 0),
                    1 => bodies.mark_asked(&[block]),
                    2 => bodies.release(&[block]),
                    3 => { bodies.receive(block, PEER, Box::new(body(height)), 10); }
                    4 => { bodies.hand_over(0); }
                    5 => { bodies.accepted(block.hash, 0); }
                    _ => { bodies.refused(block.hash); }
                }
                let count = |is: fn(&Wanted) -> bool| {
                    bodies.wanted.values().filter(|wanted| is(wanted)).count()
                };
                let buffered = count(|wanted| matches!(wanted, Wanted::Buffered { .. }));
                let handed = count(|wanted| matches!(wanted, Wanted::Handed { .. }));
                prop_assert_eq!(bodies.buffered_bytes, buffered * 10);
                prop_assert_eq!((bodies.handed, bodies.handed_bytes), (handed, handed * 10));
                prop_assert_eq!(bodies.heights.len(), bodies.wanted.len());
            }
        }
    }
}

//! `attended` measures for [`Chain`](super::Chain) how long peers have shared its branch.
//!
//! A block is settled once this node had it for [`SETTLED_AFTER`] of *attended* time: time in which
//! the node ran and peers on its branch were connected. After each hour of attended time, the tip
//! becomes a mark. Once the row of marks is full, everything up to the oldest mark is settled. The
//! wall clock does not matter, and no block becomes settled while the node is off.

use std::collections::VecDeque;

use super::store::tables::{BlockKey, split_block_key};
use crate::primitives::Height;

/// Attended time after which a block is settled, in milliseconds: 72 h.
///
/// # Security
/// Without this limit, an attacker with more hash power than all friends together could rewrite
/// trades that were settled days ago.
pub(crate) const SETTLED_AFTER: u64 = 72 * MARK_EVERY;

/// Attended time between two marks, in milliseconds: 1 h.
const MARK_EVERY: u64 = 3_600 * 1_000;

/// Number of marks in a full row: the oldest is then 72 h old, and the next one is due within 1 h.
const MARKS: usize = 73;

/// Attended time between two writes to the disk, in milliseconds: a crash loses at most this much.
const SAVE_EVERY: u64 = 10 * 60 * 1_000;

const _: () = assert!(SETTLED_AFTER == (MARKS as u64 - 1) * MARK_EVERY);

/// The marks, the oldest first, and the attended time since the latest.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Attended {
    since_mark: u64,
    marks: VecDeque<BlockKey>,
}

impl Attended {
    /// Reads the stored form. Malformed bytes count as no attended time.
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let Some((since_mark, marks)) = bytes.split_first_chunk() else { return Self::default() };
        let since_mark = u64::from(u32::from_le_bytes(*since_mark)).min(MARK_EVERY);
        let (marks, rest) = marks.as_chunks();
        if !rest.is_empty() || marks.len() > MARKS {
            return Self::default();
        }
        Self { since_mark, marks: marks.iter().copied().collect() }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let since_mark = u32::try_from(self.since_mark).unwrap_or(u32::MAX);
        let mut bytes = since_mark.to_le_bytes().to_vec();
        self.marks.iter().for_each(|mark| bytes.extend(mark));
        bytes
    }

    /// Adds attended time in milliseconds, up to now, when `tip` is the tip. Returns true if it
    /// should be saved.
    pub(super) fn pass(&mut self, ms: u64, tip: BlockKey) -> bool {
        let saves = |ms: u64| ms.checked_div(SAVE_EVERY);
        let (saved, mut marked) = (saves(self.since_mark), false);
        if self.marks.is_empty() {
            self.marks.push_back(tip);
            marked = true;
        }
        // More than a full row has no further effect.
        self.since_mark = self.since_mark.saturating_add(ms.min(SETTLED_AFTER));
        while let Some(rest) = self.since_mark.checked_sub(MARK_EVERY) {
            self.since_mark = rest;
            self.marks.push_back(tip);
            if self.marks.len() > MARKS {
                self.marks.pop_front();
            }
            marked = true;
        }
        marked || saves(self.since_mark) != saved
    }

    /// Notes that all blocks above `fork` left the chain. Returns true if a mark changed.
    pub(super) fn leave(&mut self, fork: BlockKey) -> bool {
        let (height, _) = split_block_key(&fork);
        let mut changed = false;
        for mark in self.marks.iter_mut().filter(|mark| split_block_key(mark).0 > height) {
            *mark = fork;
            changed = true;
        }
        changed
    }

    /// Returns the height up to which blocks are settled.
    pub(super) fn settled(&self) -> Option<Height> {
        let is_full = self.marks.len() >= MARKS;
        self.marks.front().filter(|_| is_full).map(|mark| split_block_key(mark).0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{chain::store::tables::block_key, primitives::BlockHash};

    fn key(height: Height) -> BlockKey {
        block_key(height, &BlockHash([7; 32]))
    }

    #[test]
    fn a_block_is_settled_after_72_attended_hours_and_not_before() {
        let mut attended = Attended::default();
        assert_eq!(attended.settled(), None);
        assert!(attended.pass(0, key(5)));
        for minute in 1..72 * 60 {
            let saved = attended.pass(60_000, key(5 + minute));
            assert_eq!(saved, minute % 10 == 0, "saved every ten minutes");
        }
        assert_eq!(attended.settled(), None);
        assert!(attended.pass(60_000, key(9_999)));
        assert_eq!(attended.settled(), Some(5));
        attended.pass(MARK_EVERY, key(9_999));
        assert_eq!(attended.settled(), Some(5 + 60), "the tip of 72 hours ago");
        assert_eq!(Attended::from_bytes(&attended.to_bytes()), attended);
    }

    #[test]
    fn what_left_the_chain_no_longer_counts() {
        let mut attended = Attended::default();
        attended.pass(SETTLED_AFTER, key(50));
        assert_eq!(attended.settled(), Some(50));
        assert!(attended.leave(key(20)));
        assert!(!attended.leave(key(30)));
        assert_eq!(attended.settled(), Some(20));
        attended.pass(SETTLED_AFTER, key(60));
        assert_eq!(attended.settled(), Some(20), "the new block's first mark is not yet 72 h old");
        attended.pass(MARK_EVERY, key(60));
        assert_eq!(attended.settled(), Some(60));
    }

    #[test]
    fn a_damaged_record_counts_as_no_time() {
        for bytes in [&[][..], &[1, 2, 3], &[0; 41], &[0; 4 + 36 * 74]] {
            assert_eq!(Attended::from_bytes(bytes), Attended::default());
        }
    }
}

//! Types of the floors below that are not merged yet.

use crate::primitives::{Block, BlockHash, Height, Transaction, UnixMillis};
use std::sync::Arc;

/// Whose fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The peer's.
    Peer,
    /// Ours.
    Ours,
    /// Nobody's.
    Nobody,
}

/// Work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Work([u8; 32]);

impl Work {
    /// None.
    pub const ZERO: Self = Self([0; 32]);
    /// From 32 bytes.
    #[must_use]
    pub const fn from_be_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
    /// To 32 bytes.
    #[must_use]
    pub const fn to_be_bytes(self) -> [u8; 32] {
        self.0
    }
}

/// The tip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tip {
    /// Of the block.
    pub hash: BlockHash,
    /// Of the block.
    pub height: Height,
    /// Cumulative, genesis included.
    pub work: Work,
    /// The block's own time.
    pub time: UnixMillis,
}

/// What accepting headers changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadersAccepted {
    /// How many were new.
    pub new: usize,
    /// The last header of the batch.
    pub last: BlockHash,
    /// The header with the most work that is known and not invalid.
    pub best_header: Tip,
}

/// What accepting a block changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockAccepted {
    /// Connected.
    Connected,
    /// Side.
    SideBranch,
    /// Waiting.
    Waiting,
    /// Known.
    Known,
}

/// Rebuilt.
#[derive(Debug, Clone)]
pub enum Rebuilt {
    /// Whole.
    Block(Box<Block>),
    /// Missing.
    Missing {
        /// What the mempool had.
        found: Vec<Option<Arc<Transaction>>>,
        /// Positions to ask for, ascending.
        positions: Vec<u32>,
    },
}

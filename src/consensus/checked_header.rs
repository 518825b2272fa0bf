//! The type of a header whose work, time and difficulty are right.

use super::{HeaderError, Target, Work};
use crate::primitives::{BlockHash, Header};

/// A header that meets its target and follows from its ancestors. The body is not known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckedHeader {
    header: Header,
    hash: BlockHash,
    target: Target,
}

impl CheckedHeader {
    /// Wraps a header that [`check_header`](super::check_header) has just checked. Nothing else may
    /// call it.
    pub(super) const fn new(header: Header, hash: BlockHash, target: Target) -> Self {
        Self { header, hash, target }
    }

    /// Restores a header that this node checked before and has read from its own database.
    ///
    /// # Security
    ///
    /// Only the form of the bits is checked. Never call this with a header from outside: it would
    /// count as checked without any work.
    pub fn from_store(header: Header) -> Result<Self, HeaderError> {
        let target = Target::from_compact(header.bits).map_err(HeaderError::Bits)?;
        Ok(Self { header, hash: header.hash(), target })
    }

    #[must_use]
    pub(crate) const fn header(&self) -> &Header {
        &self.header
    }

    #[must_use]
    pub(crate) const fn hash(&self) -> BlockHash {
        self.hash
    }

    /// Returns the target that the hash meets.
    #[must_use]
    pub(crate) const fn target(&self) -> Target {
        self.target
    }

    /// Returns the work of this block alone.
    #[must_use]
    pub(crate) fn work(&self) -> Work {
        self.target.work()
    }
}

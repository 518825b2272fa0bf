//! Headers: the checks that need ancestors and a clock, but no body.

use super::{HeaderError, HeaderWindow, Network, Target, Work, difficulty, min_time};
use crate::primitives::{BlockHash, Header, UnixMillis};

/// A header that has done its work and follows from its ancestors; its body is not known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckedHeader {
    header: Header,
    hash: BlockHash,
    target: Target,
}

impl CheckedHeader {
    /// A header that this node checked before and has read back from its own database.
    ///
    /// Nothing is checked but that its bits are a target. Never for what came from outside.
    pub fn from_store(header: Header) -> Result<Self, HeaderError> {
        let target = Target::from_compact(header.bits).map_err(HeaderError::Bits)?;
        Ok(Self { header, hash: header.hash(), target })
    }

    /// It.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Its name.
    #[must_use]
    pub const fn hash(&self) -> BlockHash {
        self.hash
    }

    /// What its hash had to meet.
    #[must_use]
    pub const fn target(&self) -> Target {
        self.target
    }

    /// The work of this block alone.
    #[must_use]
    pub fn work(&self) -> Work {
        self.target.work()
    }
}

/// Checks that `header` is the next one after the window's last, at the clock's `now`.
///
/// What depends on the clock is checked last: [`HeaderError::TooFarAhead`] means that only time is missing, and that
/// the work was done.
pub fn check_header(
    header: &Header,
    network: &Network,
    window: &HeaderWindow,
    now: UnixMillis,
) -> Result<CheckedHeader, HeaderError> {
    if header.previous != window.parent() {
        return Err(HeaderError::WrongParent { expected: window.parent(), found: header.previous });
    }
    if window.parent_height().checked_add(1) != Some(header.height) {
        return Err(HeaderError::WrongHeight { parent: window.parent_height(), found: header.height });
    }
    let earliest = min_time(window);
    if header.time < earliest {
        return Err(HeaderError::TimeTooOld { time: header.time, earliest });
    }
    let target = difficulty::next_target(&network.params, network.floor(), window, header.time);
    let expected = target.to_compact();
    if header.bits != expected {
        return Err(HeaderError::WrongBits { expected, found: header.bits });
    }
    let hash = header.hash();
    if !target.is_met_by(&hash) {
        return Err(HeaderError::NotEnoughWork { hash, target });
    }
    let due = header.time.saturating_sub(network.params.future_limit_ms());
    if due > now {
        return Err(HeaderError::TooFarAhead { time: header.time, now, due });
    }
    Ok(CheckedHeader { header: *header, hash, target })
}

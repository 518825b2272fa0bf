//! The state of bodies that no peer delivers.

use std::collections::BTreeSet;

use super::bodies::BlockRef;
use crate::primitives::{Moment, PeerId};

/// The wait for the lowest missing body.
#[derive(Debug)]
pub(super) struct Wait {
    pub(super) block: BlockRef,
    /// The time during which peers were asked for it, in ms.
    pub(super) waited_ms: u64,
    pub(super) last: Moment,
    /// True once a peer was asked for it.
    pub(super) asked: bool,
    /// The peers that said that they do not have it.
    pub(super) denied: BTreeSet<PeerId>,
}

/// A header that is withheld until its body comes.
#[derive(Debug)]
pub(super) struct Withheld {
    pub(super) block: BlockRef,
    /// The next time that a peer is asked for the body.
    pub(super) next: Moment,
    pub(super) tries: u32,
    /// The peer that sent the body that the chain is checking.
    pub(super) sender: Option<PeerId>,
}

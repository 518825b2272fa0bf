//! The state of a user's `sync` command.

use std::collections::BTreeSet;

use crate::primitives::{Moment, PeerId};

/// A user's `sync` command in progress.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) number: u64,
    /// The peers that have not replied to our Status yet.
    pub(super) waiting: BTreeSet<PeerId>,
    pub(super) asked: usize,
    pub(super) answered: usize,
    pub(super) since: Moment,
    /// The number of blocks that sync had accepted when the command started.
    pub(super) blocks: u64,
    /// The number of trades that sync had accepted when the command started.
    pub(super) trades: u64,
}

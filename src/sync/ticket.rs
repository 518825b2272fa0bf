//! A user's `sync` command under way.

use std::collections::BTreeSet;

use crate::primitives::{PeerId, UnixMillis};

/// A user's `sync` that is not answered yet.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) number: u64,
    /// Who has not answered our Status yet.
    pub(super) waiting: BTreeSet<PeerId>,
    pub(super) asked: usize,
    pub(super) answered: usize,
    pub(super) since: UnixMillis,
    /// The counters at its start.
    pub(super) blocks: u64,
    pub(super) trades: u64,
}

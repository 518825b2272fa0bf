//! The visit to a peer's mempool.

use std::collections::{HashMap, VecDeque};

use crate::primitives::{PeerId, TxId, UnixMillis};

/// Where the visit to a peer's mempool stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Ids or trades were asked of the peer.
    Asking,
    /// The chain says which are new.
    Filtering,
    /// The next trades can be asked for once the chain has answered for the last.
    Ready,
}

/// The visit under way, if any.
#[derive(Debug, Default)]
pub(super) struct Trades {
    pub(super) visit: Option<(PeerId, Stage, UnixMillis)>,
    /// Still to be asked for, parents first.
    pub(super) queue: VecDeque<TxId>,
    /// Handed to the chain: from whom, and when. At most a batch.
    pub(super) unanswered: HashMap<TxId, (PeerId, UnixMillis)>,
    /// Accepted so far, for the users' `sync`.
    pub(super) accepted: u64,
}

impl Trades {
    pub(super) fn is_idle(&self) -> bool {
        self.visit.is_none() && self.unanswered.is_empty()
    }

    /// The visit is over, well or not.
    pub(super) fn finish(&mut self) {
        self.visit = None;
        self.queue.clear();
    }

    pub(super) fn peer_gone(&mut self, id: PeerId) {
        if self.visit.is_some_and(|(peer, ..)| peer == id) {
            self.finish();
        }
    }

    /// Stops waiting for answers of this node that never came.
    pub(super) fn end_lost(&mut self, before: UnixMillis) {
        self.unanswered.retain(|_, (_, since)| *since >= before);
        if self.visit.is_some_and(|(_, stage, since)| stage == Stage::Filtering && since < before) {
            self.finish();
        }
    }
}

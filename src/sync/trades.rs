//! The state of mempool visits: one peer at a time, and the trades fetched from it.

use std::collections::{HashMap, VecDeque};

use crate::primitives::{Moment, PeerId, TxId};

/// The stage of the visit to a peer's mempool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// A request for ids or trades is in flight.
    Asking,
    /// The chain is checking which ids are new.
    Filtering,
    /// The next batch may be requested once the chain has replied for the last one.
    Ready,
}

/// The current visit, and the trades that it still has to fetch.
#[derive(Debug, Default)]
pub(super) struct Trades {
    pub(super) visit: Option<(PeerId, Stage, Moment)>,
    /// The start of the current visit.
    pub(super) began: Moment,
    /// The ids still to be requested, parents first.
    pub(super) queue: VecDeque<TxId>,
    /// Trades handed to the chain, with the sender and the time. At most one batch.
    pub(super) unanswered: HashMap<TxId, (PeerId, Moment)>,
    /// The number of trades accepted so far, for `sync` reports.
    pub(super) accepted: u64,
}

impl Trades {
    /// True if there is neither a visit nor a trade at the chain of a peer that matters.
    pub(super) fn is_idle(&self, matters: impl Fn(&PeerId) -> bool) -> bool {
        !self.visit.is_some_and(|(id, ..)| matters(&id))
            && !self.unanswered.values().any(|(id, _)| matters(id))
    }

    /// True if a request of the current visit to this peer is in flight.
    pub(super) fn is_asking(&self, id: PeerId) -> bool {
        self.visit.is_some_and(|(peer, stage, _)| peer == id && stage == Stage::Asking)
    }

    /// Ends the visit, successful or not.
    pub(super) fn finish(&mut self) {
        self.visit = None;
        self.queue.clear();
    }

    pub(super) fn peer_gone(&mut self, id: PeerId) {
        if self.visit.is_some_and(|(peer, ..)| peer == id) {
            self.finish();
        }
    }

    /// Stops waiting for replies of this node that never came.
    pub(super) fn end_lost(&mut self, before: Moment) {
        self.unanswered.retain(|_, (_, since)| *since >= before);
        if self.visit.is_some_and(|(_, stage, since)| stage == Stage::Filtering && since < before) {
            self.finish();
        }
    }
}

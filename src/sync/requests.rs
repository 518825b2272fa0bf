//! Requests in flight, and the purpose of each.

use super::bodies::BlockRef;
use crate::primitives::{Moment, PeerId, TxId};

/// The purpose of a request.
#[derive(Debug, Clone)]
pub(super) enum Purpose {
    /// Headers of the peer's walk. The number matches the answer to its request.
    Headers(u64),
    /// The bodies of these blocks, in this order.
    Bodies(Vec<BlockRef>),
    /// The body of this block, whose header is withheld.
    Probe(BlockRef),
    /// The ids of the trades in the peer's mempool.
    MempoolIds,
    /// The trades with these ids, in this order.
    Trades(Vec<TxId>),
}

/// A request in flight.
#[derive(Debug, Clone)]
pub(super) struct InFlight {
    pub(super) peer: PeerId,
    pub(super) purpose: Purpose,
    pub(super) since: Moment,
    /// The age at which it is late, in ms.
    pub(super) patience_ms: u64,
    /// The expected size of the bodies in bytes; 0 for other requests.
    pub(super) expected: usize,
    /// The bytes of the response that have arrived so far.
    pub(super) grown: usize,
    /// The time of the request, or of the last known byte of its response.
    pub(super) moved: Moment,
}

impl InFlight {
    pub(super) const fn is_for_bodies(&self) -> bool {
        matches!(self.purpose, Purpose::Bodies(_))
    }

    /// True once the request is so old that a second peer is asked.
    pub(super) const fn is_late(&self, now: Moment) -> bool {
        now.saturating_sub(self.since) >= self.patience_ms
    }
}

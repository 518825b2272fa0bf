//! Requests in flight, and the purpose of each.

use super::{PATIENCE_MS, bodies::BlockRef};
use crate::primitives::{PeerId, TxId, UnixMillis};

/// What a request was for.
#[derive(Debug, Clone)]
pub(super) enum Purpose {
    /// The next step of the peer's walk.
    Headers,
    /// These bodies, in this order.
    Bodies(Vec<BlockRef>),
    /// Which trades wait.
    MempoolIds,
    /// These trades, in this order.
    Trades(Vec<TxId>),
}

/// A request that has not ended.
#[derive(Debug, Clone)]
pub(super) struct InFlight {
    pub(super) peer: PeerId,
    pub(super) purpose: Purpose,
    pub(super) since: UnixMillis,
}

impl InFlight {
    pub(super) const fn is_for_bodies(&self) -> bool {
        matches!(self.purpose, Purpose::Bodies(_))
    }

    /// Whether it has kept us waiting.
    pub(super) const fn is_late(&self, now: UnixMillis) -> bool {
        now.saturating_sub(self.since) >= PATIENCE_MS
    }
}

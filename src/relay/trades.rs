//! The state of trades and notes.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{MAX_RECENT_TRADES, PUBLISH_RATE, bounded::Recent, outgoing::Outgoing};
use crate::primitives::{Bucket, Moment, PeerId, Transaction, TxId};

/// A trade from gossip that the chain is checking, or that waits for its parent.
#[derive(Debug)]
pub(super) struct Pending<M> {
    pub(super) peer: PeerId,
    /// The gossip message; `None` once it has its verdict.
    pub(super) message: Option<M>,
    pub(super) transaction: Box<Transaction>,
    pub(super) since: Moment,
}

/// A trade of this node, which is announced until it is mined.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) transaction: Arc<Transaction>,
    pub(super) added: Moment,
    /// The time of the next announcement.
    pub(super) next: Moment,
}

/// The relay's state of trades.
#[derive(Debug)]
pub(super) struct Trades<M> {
    /// The time between two announcements of an own trade, in ms.
    pub(super) interval_ms: u64,
    /// Trades that the chain is checking.
    pub(super) pending: HashMap<TxId, Pending<M>>,
    pub(super) pending_bytes: usize,
    /// Trades that arrived before their parents.
    pub(super) orphans: BTreeMap<TxId, Pending<M>>,
    /// Mempool entries, each with the time at which its gossip was last forwarded.
    pub(super) pool: Recent<TxId, Moment>,
    pub(super) mined: Recent<TxId>,
    /// Trades that came by gossip. This node does not publish them, since gossip spreads them.
    pub(super) gossiped: Recent<TxId>,
    pub(super) own: BTreeMap<TxId, Own>,
    pub(super) outgoing: Outgoing,
    pub(super) publishing: Bucket,
}

impl<M> Trades<M> {
    pub(super) fn new(interval_ms: u64) -> Self {
        Self {
            interval_ms,
            pending: HashMap::new(),
            pending_bytes: 0,
            orphans: BTreeMap::new(),
            pool: Recent::new(MAX_RECENT_TRADES),
            mined: Recent::new(MAX_RECENT_TRADES),
            gossiped: Recent::new(MAX_RECENT_TRADES),
            own: BTreeMap::new(),
            outgoing: Outgoing::default(),
            publishing: Bucket::new(PUBLISH_RATE, 0),
        }
    }

    /// Removes a trade that left the mempool.
    pub(super) fn forget(&mut self, txid: &TxId) {
        self.pool.remove(txid);
        self.own.remove(txid);
        self.outgoing.remove(txid);
    }

    /// Returns the number of the announcement that is due: the intervals since the trade was made.
    pub(super) fn round(&self, added: Moment, now: Moment) -> u32 {
        let rounds = now.saturating_sub(added).checked_div(self.interval_ms).unwrap_or(0);
        u32::try_from(rounds).unwrap_or(u32::MAX)
    }

    /// Returns the time of the first announcement after `now`. It lies in the first fifth of an
    /// interval and depends on the id, so that trades of one moment are not announced in a burst.
    pub(super) fn next_announcement(&self, txid: &TxId, added: Moment, now: Moment) -> Moment {
        let [a, b, ..] = *txid.as_bytes();
        let spread =
            (self.interval_ms / 5).saturating_mul(u64::from(u16::from_be_bytes([a, b]))) >> 16;
        let rounds = u64::from(self.round(added, now)).saturating_add(1);
        added.saturating_add(rounds.saturating_mul(self.interval_ms)).saturating_add(spread)
    }

    pub(super) fn take_pending(&mut self, txid: &TxId) -> Option<Pending<M>> {
        let pending = self.pending.remove(txid)?;
        self.pending_bytes = self.pending_bytes.saturating_sub(pending.transaction.encoded_len());
        Some(pending)
    }
}

//! The state of trades and notes.

use std::collections::{BTreeMap, HashMap};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    FIRST_DELAY_MS, MAX_RECENT_TRADES, PUBLISH_RATE, REPEAT_RATE, bounded::Recent,
    outgoing::Outgoing, schedule::Schedule,
};
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

/// The relay's state of trades.
#[derive(Debug)]
pub(super) struct Trades<M> {
    /// The unit of the time between two announcements of a trade, in ms.
    pub(super) interval_ms: u64,
    /// Trades that the chain is checking.
    pub(super) pending: HashMap<TxId, Pending<M>>,
    pub(super) pending_bytes: usize,
    /// Trades that arrived before their parents.
    pub(super) orphans: BTreeMap<TxId, Pending<M>>,
    /// Mempool entries, each with the time at which its gossip was last forwarded.
    pub(super) pool: Recent<TxId, Moment>,
    pub(super) mined: Recent<TxId>,
    /// Trades that came by gossip. This node does not announce them at once, since gossip spreads
    /// them.
    pub(super) gossiped: Recent<TxId>,
    /// Mempool entries, own ones and others, each with the time of its next announcement.
    pub(super) schedule: Schedule,
    pub(super) outgoing: Outgoing,
    pub(super) publishing: Bucket,
    pub(super) repeating: Bucket,
    random: StdRng,
}

impl<M> Trades<M> {
    pub(super) fn new(interval_ms: u64, seed: u64) -> Self {
        Self {
            interval_ms,
            pending: HashMap::new(),
            pending_bytes: 0,
            orphans: BTreeMap::new(),
            pool: Recent::new(MAX_RECENT_TRADES),
            mined: Recent::new(MAX_RECENT_TRADES),
            gossiped: Recent::new(MAX_RECENT_TRADES),
            schedule: Schedule::default(),
            outgoing: Outgoing::default(),
            publishing: Bucket::new(PUBLISH_RATE, 0),
            repeating: Bucket::new(REPEAT_RATE, 0),
            random: StdRng::seed_from_u64(seed),
        }
    }

    /// Removes a trade that left the mempool.
    pub(super) fn forget(&mut self, txid: &TxId) {
        self.pool.remove(txid);
        self.schedule.remove(txid);
        self.outgoing.remove(txid);
    }

    /// Returns the time of a first announcement. It is soon, and random, so that it does not tell
    /// when the trade was made.
    pub(super) fn soon(&mut self, now: Moment) -> Moment {
        now.saturating_add(self.random.random_range(0..=FIRST_DELAY_MS))
    }

    /// Returns the time of the next announcement after one that was made or heard now: 0.75 to 2.25
    /// intervals later.
    pub(super) fn later(&mut self, now: Moment) -> Moment {
        let spread = self.interval_ms.saturating_add(self.interval_ms / 2);
        let least = self.interval_ms.saturating_sub(self.interval_ms / 4);
        now.saturating_add(least).saturating_add(self.random.random_range(0..=spread))
    }

    /// Returns a time within the next interval.
    pub(super) fn within_interval(&mut self, now: Moment) -> Moment {
        now.saturating_add(self.random.random_range(0..=self.interval_ms))
    }

    /// Returns the number of an announcement that repeats another. It is random, so that it tells
    /// neither who announced before nor how often.
    pub(super) fn round(&mut self) -> u32 {
        self.random.random_range(1..=u32::MAX)
    }

    pub(super) fn take_pending(&mut self, txid: &TxId) -> Option<Pending<M>> {
        let pending = self.pending.remove(txid)?;
        self.pending_bytes = self.pending_bytes.saturating_sub(pending.transaction.encoded_len());
        Some(pending)
    }
}

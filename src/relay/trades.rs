//! The state of trades and notes.

use std::collections::{BTreeMap, HashMap, HashSet};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    FIRST_DELAY_MS, MAX_RECENT_TRADES, REPEAT_RATE,
    bounded::Recent,
    outgoing::{Outgoing, Publishing},
    schedule::Schedule,
};
use crate::primitives::{Bucket, LeafHash, Moment, PeerId, Transaction, TxId};

/// Trades of one gossip message that the chain is checking.
#[derive(Debug)]
pub(super) struct Check<M> {
    pub(super) peer: PeerId,
    /// The gossip message; `None` once it has its verdict.
    pub(super) message: Option<M>,
    /// The ids and bytes of the trades, in the order in which the chain got them.
    pub(super) transactions: Vec<Transaction>,
    pub(super) ids: Vec<TxId>,
    /// The message's other trades, which are in the mempool already.
    pub(super) known: Vec<TxId>,
    /// True if a trade of the message would not be forwarded alone.
    pub(super) stays: bool,
    pub(super) since: Moment,
}

/// A trade that arrived before its parents.
#[derive(Debug)]
pub(super) struct Orphan<M> {
    pub(super) peer: PeerId,
    /// The gossip message, if the trade came alone in it and it has no verdict yet.
    pub(super) message: Option<M>,
    pub(super) transaction: Transaction,
    pub(super) since: Moment,
}

/// A mempool entry, as gossip knows it.
#[derive(Debug)]
pub(super) struct Pooled {
    /// The hash of the whole entry. The txid leaves out the signatures.
    pub(super) leaf: LeafHash,
    /// The time at which its gossip was last forwarded.
    pub(super) forwarded: Moment,
}

/// The relay's state of trades.
#[derive(Debug)]
pub(super) struct Trades<M> {
    /// The unit of the time between two announcements of a trade, in ms.
    pub(super) interval_ms: u64,
    /// Trades that the chain is checking, by the id of the check.
    pub(super) checks: HashMap<u64, Check<M>>,
    next_check: u64,
    /// The trades of all checks, and their bytes.
    pub(super) checking: HashSet<TxId>,
    pub(super) checking_bytes: usize,
    /// Trades that arrived before their parents.
    pub(super) orphans: BTreeMap<TxId, Orphan<M>>,
    /// Mempool entries.
    pub(super) pool: Recent<TxId, Pooled>,
    pub(super) mined: Recent<TxId>,
    /// Trades that came by gossip. This node does not announce them at once, since gossip spreads
    /// them.
    pub(super) gossiped: Recent<TxId>,
    /// Mempool entries, own ones and others, each with the time of its next announcement.
    pub(super) schedule: Schedule,
    pub(super) outgoing: Outgoing,
    pub(super) publishing: Publishing,
    pub(super) repeating: Bucket,
    random: StdRng,
}

impl<M> Trades<M> {
    pub(super) fn new(interval_ms: u64, seed: u64) -> Self {
        Self {
            interval_ms,
            checks: HashMap::new(),
            next_check: 0,
            checking: HashSet::new(),
            checking_bytes: 0,
            orphans: BTreeMap::new(),
            pool: Recent::new(MAX_RECENT_TRADES),
            mined: Recent::new(MAX_RECENT_TRADES),
            gossiped: Recent::new(MAX_RECENT_TRADES),
            schedule: Schedule::default(),
            outgoing: Outgoing::default(),
            publishing: Publishing::new(0),
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

    /// Returns the time of a first announcement. It is soon, and random, so that it does not reveal
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

    /// Returns the number of an announcement that repeats another. It is random, so that it reveals
    /// neither its node nor the count of repetitions.
    pub(super) fn round(&mut self) -> u32 {
        self.random.random_range(1..=u32::MAX)
    }

    /// True if each of these mempool entries was last forwarded at least half an interval ago.
    pub(super) fn are_due(&self, known: &[TxId], now: Moment) -> bool {
        let half = self.interval_ms / 2;
        known.iter().all(|txid| {
            self.pool.get(txid).is_some_and(|it| now.saturating_sub(it.forwarded) >= half)
        })
    }

    /// Records that mempool entries are forwarded now, and postpones our own announcements of them.
    pub(super) fn forward(&mut self, known: &[TxId], now: Moment) {
        for txid in known {
            if let Some(pooled) = self.pool.get_mut(txid) {
                pooled.forwarded = now;
            }
            let next = self.later(now);
            self.schedule.postpone(txid, next);
        }
    }

    /// Announces mempool entries soon whose gossip was not forwarded, as if they had come by sync.
    pub(super) fn announce_soon(&mut self, taken: &[TxId], now: Moment) {
        for txid in taken {
            self.gossiped.remove(txid);
            let next = self.soon(now);
            self.schedule.hasten(txid, next);
        }
    }

    /// Stores a check, and returns its id.
    pub(super) fn add_check(&mut self, check: Check<M>) -> u64 {
        self.checking_bytes = self.checking_bytes.saturating_add(bytes_of(&check.transactions));
        self.checking.extend(&check.ids);
        self.next_check = self.next_check.saturating_add(1);
        self.checks.insert(self.next_check, check);
        self.next_check
    }

    /// Removes a check that has ended.
    pub(super) fn take_check(&mut self, id: u64) -> Option<Check<M>> {
        let check = self.checks.remove(&id)?;
        for txid in &check.ids {
            self.checking.remove(txid);
        }
        self.checking_bytes = self.checking_bytes.saturating_sub(bytes_of(&check.transactions));
        Some(check)
    }
}

/// Returns the bytes of transactions.
pub(super) fn bytes_of(transactions: &[Transaction]) -> usize {
    transactions.iter().map(Transaction::encoded_len).fold(0, usize::saturating_add)
}

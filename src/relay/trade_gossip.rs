//! Gossip of trades and notes, received and published.

use std::sync::Arc;

use serde_bytes::ByteBuf;
use tracing::debug;

use super::{
    Announcement, MAX_ORPHANS, MAX_PENDING_TRADE_BYTES, MAX_PENDING_TRADES, ORPHAN_MS, Relay,
    RelayAction, VERDICT_MS, trades::Pending,
};
use crate::{
    chain::api::{RefusalCause, Refused},
    consensus::Blame,
    peers::Offence,
    primitives::{Encode, Moment, PeerId, Transaction, TransactionKind, TxId, encoding},
    wire::{TradeAnnouncement, TradeGossip, Verdict},
};

/// Decodes the trade in an announcement. Returns the offence if there is none.
fn read_announcement(bytes: &[u8]) -> Result<Transaction, (Offence, String)> {
    let transaction: Transaction = encoding::from_bytes(bytes).map_err(|error| {
        (Offence::Malformed, format!("an announced trade cannot be read: {error}"))
    })?;
    match transaction.kind() {
        TransactionKind::Coinbase => {
            Err((Offence::InvalidTrade, "a coinbase is announced as a trade".into()))
        }
        TransactionKind::Trade | TransactionKind::Note => Ok(transaction),
    }
}

impl<M: Copy> Relay<M> {
    pub(super) fn on_trade_gossip(
        &mut self,
        peer: PeerId,
        message: M,
        gossip: &TradeGossip,
        now: Moment,
    ) {
        let TradeGossip::Trade(TradeAnnouncement { transaction: bytes, .. }) = gossip;
        let transaction = match read_announcement(bytes) {
            Ok(transaction) => transaction,
            Err((offence, reason)) => {
                self.verdict(message, Verdict::Reject);
                return self.penalise(peer, offence, reason);
            }
        };
        let verdict = self.admit(peer, message, transaction, now);
        if let Some(verdict) = verdict {
            self.verdict(message, verdict);
        }
    }

    /// Returns the verdict on a trade if it needs no check by the chain. Otherwise hands the trade
    /// to the chain.
    fn admit(
        &mut self,
        peer: PeerId,
        message: M,
        transaction: Transaction,
        now: Moment,
    ) -> Option<Verdict> {
        let is_note = transaction.kind() == TransactionKind::Note;
        let Some(allowance) = self.allowance(peer, now) else {
            return Some(Verdict::Ignore);
        };
        let bucket = if is_note { &mut allowance.notes } else { &mut allowance.trades };
        let weight = u64::try_from(transaction.encoded_len().div_ceil(1_000)).unwrap_or(u64::MAX);
        if !bucket.take(weight, now) {
            debug!(%peer, "a peer sends too many trades");
            return Some(Verdict::Ignore);
        }
        let txid = transaction.txid();
        let half = self.trades.interval_ms / 2;
        if let Some(forwarded) = self.trades.pool.get_mut(&txid) {
            // A trade is announced repeatedly, since some peers may lack it. The interval keeps a
            // peer from making us forward it at will. Our own announcement can then wait.
            let due = now.saturating_sub(*forwarded) >= half;
            if due {
                *forwarded = now;
                let next = self.trades.later(now);
                self.trades.schedule.postpone(&txid, next);
            }
            return Some(if due { Verdict::Accept } else { Verdict::Ignore });
        }
        let trades = &self.trades;
        let bytes = trades.pending_bytes.saturating_add(transaction.encoded_len());
        let known = trades.mined.contains(&txid)
            || trades.pending.contains_key(&txid)
            || trades.orphans.contains_key(&txid);
        if known || trades.pending.len() >= MAX_PENDING_TRADES || bytes > MAX_PENDING_TRADE_BYTES {
            return Some(Verdict::Ignore);
        }
        self.trades.gossiped.insert(txid, ());
        let transaction = Box::new(transaction);
        self.ask_chain(txid, Pending { peer, message: Some(message), transaction, since: now });
        None
    }

    fn ask_chain(&mut self, txid: TxId, pending: Pending<M>) {
        let (peer, transaction) = (pending.peer, pending.transaction.clone());
        self.trades.pending_bytes =
            self.trades.pending_bytes.saturating_add(transaction.encoded_len());
        self.trades.pending.insert(txid, pending);
        self.out.push(RelayAction::AcceptTrade { peer, transaction });
    }

    pub(super) fn on_trade_done(&mut self, txid: TxId, result: Result<(), Refused>, now: Moment) {
        let Some(pending) = self.trades.take_pending(&txid) else {
            return;
        };
        let verdict = match result {
            Ok(()) => {
                self.trades.pool.insert(txid, now);
                self.delivered(pending.peer, now);
                Verdict::Accept
            }
            Err(refused) if refused.blame == Blame::Peer => {
                self.penalise(pending.peer, Offence::InvalidTrade, refused.to_string());
                Verdict::Reject
            }
            Err(refused)
                if refused.cause == RefusalCause::MissingCoin
                    && self.trades.orphans.len() < MAX_ORPHANS =>
            {
                // The parent may still arrive, so the verdict is postponed.
                self.trades.orphans.insert(txid, pending);
                return;
            }
            Err(_) => Verdict::Ignore,
        };
        if let Some(message) = pending.message {
            self.verdict(message, verdict);
        }
    }

    pub(super) fn on_trade_added(
        &mut self,
        txid: TxId,
        transaction: Arc<Transaction>,
        added: Moment,
        local: bool,
        now: Moment,
    ) {
        if !self.trades.pool.contains(&txid) {
            self.trades.pool.insert(txid, now);
        }
        if !self.trades.schedule.contains(&txid) {
            // A trade that came by gossip is spread already, and one of an earlier run was. One
            // from a peer's mempool may be news to others, as our own are.
            let gossiped = self.trades.gossiped.contains(&txid);
            let is_new = now.saturating_sub(added) < self.trades.interval_ms;
            let is_first = is_new && (local || !gossiped);
            let next = if is_first {
                self.trades.soon(now)
            } else if gossiped {
                self.trades.later(now)
            } else {
                self.trades.within_interval(now)
            };
            self.trades.schedule.add(txid, transaction, next, is_first, local);
        }
        self.retry_orphans_of(&[txid]);
    }

    pub(super) fn on_mined(&mut self, mined: &[TxId]) {
        for txid in mined {
            self.trades.forget(txid);
            self.trades.mined.insert(*txid, ());
            if let Some(orphan) = self.trades.orphans.remove(txid)
                && let Some(message) = orphan.message
            {
                self.verdict(message, Verdict::Ignore);
            }
        }
        self.retry_orphans_of(mined);
    }

    /// Hands the orphans that spend an output of one of these trades to the chain again.
    fn retry_orphans_of(&mut self, parents: &[TxId]) {
        if self.trades.orphans.is_empty() {
            return;
        }
        let spends = |orphan: &Pending<M>| {
            orphan.transaction.inputs.iter().any(|input| parents.contains(&input.outpoint.txid))
        };
        let ready: Vec<TxId> = self
            .trades
            .orphans
            .iter()
            .filter(|(_, orphan)| spends(orphan))
            .map(|(txid, _)| *txid)
            .collect();
        for txid in ready {
            if self.trades.pending.len() < MAX_PENDING_TRADES
                && let Some(orphan) = self.trades.orphans.remove(&txid)
            {
                self.ask_chain(txid, orphan);
            }
        }
    }

    pub(super) fn tick_trades(&mut self, now: Moment) {
        let late = |pending: &Pending<M>| now.saturating_sub(pending.since) >= VERDICT_MS;
        let trades = &mut self.trades;
        let overdue: Vec<M> = trades
            .pending
            .values_mut()
            .chain(trades.orphans.values_mut())
            .filter(|pending| late(pending))
            .filter_map(|pending| pending.message.take())
            .collect();
        trades.orphans.retain(|_, orphan| now.saturating_sub(orphan.since) < ORPHAN_MS);
        let lost = |pending: &Pending<M>| now.saturating_sub(pending.since) >= ORPHAN_MS;
        let lost: Vec<TxId> = trades
            .pending
            .iter()
            .filter(|(_, pending)| lost(pending))
            .map(|(txid, _)| *txid)
            .collect();
        for txid in lost {
            trades.take_pending(&txid);
        }
        for message in overdue {
            self.verdict(message, Verdict::Ignore);
        }
        self.announce(now);
    }

    /// Queues the trades whose next announcement is due.
    fn announce(&mut self, now: Moment) {
        while let Some((txid, transaction, is_first)) = self.trades.schedule.due(now) {
            let next = self.trades.later(now);
            self.trades.schedule.postpone(&txid, next);
            self.trades.outgoing.push(txid, transaction, !is_first);
        }
    }

    /// Publishes queued trades, as fast as the rates allow.
    pub(super) fn publish_trades(&mut self, now: Moment) {
        while self.trades.outgoing.has_first() && self.trades.publishing.take(1, now) {
            if let Some(transaction) = self.trades.outgoing.pop_first() {
                self.publish_trade(&transaction, 0);
            }
        }
        while self.trades.outgoing.has_again() && self.trades.repeating.take(1, now) {
            if let Some(transaction) = self.trades.outgoing.pop_again() {
                let round = self.trades.round();
                self.publish_trade(&transaction, round);
            }
        }
    }

    fn publish_trade(&mut self, transaction: &Transaction, round: u32) {
        let transaction = ByteBuf::from(transaction.to_bytes());
        let gossip = TradeGossip::Trade(TradeAnnouncement { transaction, round });
        self.out.push(RelayAction::Publish { announcement: Announcement::Trade(gossip) });
    }
}

//! Gossip of trades and notes, received and published.
//!
//! A message has one trade or many. It is forwarded only if each of its trades would be forwarded
//! alone. Otherwise this node announces those that its mempool accepted. A valid trade thus cannot
//! carry refused ones through the network.

use std::sync::Arc;

use serde_bytes::ByteBuf;
use tracing::debug;

use super::{
    Announcement, DOUBTFUL_PART, MAX_ORPHANS, MAX_PENDING_TRADE_BYTES, MAX_PENDING_TRADES, MUTE_MS,
    ORPHAN_MS, Relay, RelayAction, VERDICT_MS,
    outgoing::{Class, weight},
    schedule::Entry,
    trades::{Check, Orphan, Pooled, bytes_of},
};
use crate::{
    chain::api::{RefusalCause, Refused},
    consensus::Blame,
    peers::Offence,
    primitives::{
        Bucket, Encode, Moment, PeerId, Transaction, TransactionKind, TxId, encoding, leaf_hash,
    },
    wire::{Topic, TradeAnnouncement, TradeGossip, Verdict},
};

/// Decodes a trade of an announcement. Returns the offence if there is none.
fn read_trade(bytes: &ByteBuf) -> Result<Transaction, (Offence, String)> {
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
        let TradeGossip::Trades(TradeAnnouncement { transactions, .. }) = gossip;
        let read: Result<Vec<Transaction>, _> = transactions.iter().map(read_trade).collect();
        let transactions = match read {
            Ok(transactions) => transactions,
            Err((offence, reason)) => {
                self.verdict(message, Verdict::Reject);
                return self.penalise(peer, offence, reason);
            }
        };
        if !self.within_rates(peer, &transactions, now) {
            debug!(%peer, "a peer sends too many trades");
            return self.verdict(message, Verdict::Ignore);
        }
        let check = self.sort(peer, message, transactions, now);
        let trusted = self.is_trusted(&peer);
        let trades = &mut self.trades;
        if check.transactions.is_empty() {
            // A trade is announced repeatedly, since some peers may lack it. The interval keeps a
            // peer from making us forward it at will.
            let forwards = !check.stays && trades.are_due(&check.known, now);
            if forwards {
                trades.forward(&check.known, now);
            }
            let verdict = if forwards { Verdict::Accept } else { Verdict::Ignore };
            return self.verdict(message, verdict);
        }
        let count = trades.checking.len().saturating_add(check.transactions.len());
        let bytes = trades.checking_bytes.saturating_add(bytes_of(&check.transactions));
        let (most, most_bytes) = if trusted {
            (MAX_PENDING_TRADES, MAX_PENDING_TRADE_BYTES)
        } else {
            (MAX_PENDING_TRADES / DOUBTFUL_PART, MAX_PENDING_TRADE_BYTES / DOUBTFUL_PART)
        };
        if count > most || bytes > most_bytes {
            self.mute(peer, Topic::Trades, MUTE_MS);
            return self.verdict(message, Verdict::Ignore);
        }
        for txid in &check.ids {
            trades.gossiped.insert(*txid, ());
        }
        self.ask_chain(check);
    }

    /// Takes trades from the peer's token buckets, and from those that peers share which are not
    /// trusted. Returns false if one of them has too few tokens.
    ///
    /// Mutes the peer while few tokens for trades are left. Notes mute no peer: they are free, so
    /// anyone could make honest peers forward too many of them.
    fn within_rates(&mut self, peer: PeerId, transactions: &[Transaction], now: Moment) -> bool {
        let is_shared = !self.is_trusted(&peer);
        let Some(allowance) = self.allowance(peer, now) else { return false };
        let (mut trades, mut notes) = (0_u64, 0_u64);
        for transaction in transactions {
            let is_note = transaction.kind() == TransactionKind::Note;
            let sum = if is_note { &mut notes } else { &mut trades };
            *sum = sum.saturating_add(weight(transaction));
        }
        let mut pause = None;
        let mut take = |of_trades: &mut Bucket, of_notes: &mut Bucket| {
            let (mut allowed, mut low) = (true, None);
            if trades > 0 {
                (allowed, low) = of_trades.take_early(trades, now);
            }
            pause = pause.max(low);
            allowed && (notes == 0 || of_notes.take(notes, now))
        };
        let allowed = take(&mut allowance.trades, &mut allowance.notes)
            && (!is_shared || take(&mut self.shared.trades, &mut self.shared.notes));
        if let Some(ms) = pause {
            self.mute(peer, Topic::Trades, ms);
        }
        allowed
    }

    /// Separates the trades that the chain has to check from those that are known.
    ///
    /// # Security
    /// A txid leaves out the signatures. A known trade with other signatures is never forwarded:
    /// they may be invalid, and nodes without the trade would charge us for them.
    fn sort(
        &self,
        peer: PeerId,
        message: M,
        transactions: Vec<Transaction>,
        now: Moment,
    ) -> Check<M> {
        let mut check = Check {
            peer,
            message: Some(message),
            transactions: Vec::new(),
            ids: Vec::new(),
            known: Vec::new(),
            stays: false,
            since: now,
        };
        let trades = &self.trades;
        for transaction in transactions {
            let txid = transaction.txid();
            if let Some(pooled) = trades.pool.get(&txid) {
                if pooled.leaf == leaf_hash(&transaction) {
                    check.known.push(txid);
                } else {
                    check.stays = true;
                }
            } else if trades.mined.contains(&txid)
                || trades.checking.contains(&txid)
                || trades.orphans.contains_key(&txid)
                || check.ids.contains(&txid)
            {
                check.stays = true;
            } else {
                check.ids.push(txid);
                check.transactions.push(transaction);
            }
        }
        check
    }

    fn ask_chain(&mut self, check: Check<M>) {
        let (peer, transactions) = (check.peer, check.transactions.clone());
        let id = self.trades.add_check(check);
        self.out.push(RelayAction::AcceptTrades { id, peer, transactions });
    }

    pub(super) fn on_trades_done(
        &mut self,
        id: u64,
        results: Vec<Result<(), Refused>>,
        now: Moment,
    ) {
        let Some(mut check) = self.trades.take_check(id) else {
            return;
        };
        let message = check.message.take();
        let is_alone = check.ids.len() == 1 && check.known.is_empty() && !check.stays;
        let mut taken = Vec::new();
        let mut stays = check.stays || results.len() < check.ids.len();
        let mut offence = None;
        for ((txid, transaction), result) in check.ids.iter().zip(check.transactions).zip(results) {
            match result {
                Ok(()) => {
                    taken.push(*txid);
                    let leaf = leaf_hash(&transaction);
                    self.trades.pool.insert(*txid, Pooled { leaf, forwarded: now });
                }
                Err(refused) if refused.blame == Blame::Peer => {
                    offence.get_or_insert(refused.to_string());
                }
                Err(refused) if refused.cause == RefusalCause::MissingCoin => {
                    stays = true;
                    if self.make_room_for_orphan(&check.peer) {
                        // The parent may still arrive. The verdict on the orphan's own message
                        // waits.
                        let (peer, since) = (check.peer, check.since);
                        let message = message.filter(|_| is_alone);
                        let orphan = Orphan { peer, message, transaction, since };
                        self.trades.orphans.insert(*txid, orphan);
                        if is_alone {
                            return;
                        }
                    }
                }
                Err(_) => stays = true,
            }
        }
        let verdict = if offence.is_some() {
            Verdict::Reject
        } else if stays || message.is_none() || !self.trades.are_due(&check.known, now) {
            Verdict::Ignore
        } else {
            self.trades.forward(&check.known, now);
            Verdict::Accept
        };
        if verdict != Verdict::Accept {
            self.trades.announce_soon(&taken, now);
        }
        if let Some(reason) = offence {
            self.penalise(check.peer, Offence::InvalidTrade, reason);
        }
        if let Some(message) = message {
            self.verdict(message, verdict);
        }
    }

    /// Makes room for an orphan of this peer. Returns false if there is none for it.
    ///
    /// If there are too many orphans, the peer with the most loses its oldest one. Peers that are
    /// not trusted lose theirs before others.
    fn make_room_for_orphan(&mut self, peer: &PeerId) -> bool {
        let orphans = &self.trades.orphans;
        if orphans.len() < MAX_ORPHANS {
            return true;
        }
        let weight = |peer: &PeerId, more: usize| {
            let own = orphans.values().filter(|orphan| orphan.peer == *peer).count();
            (!self.is_trusted(peer), own.saturating_add(more))
        };
        let most = orphans.values().map(|orphan| (weight(&orphan.peer, 0), orphan.peer)).max();
        let Some((_, most)) = most.filter(|(heaviest, _)| *heaviest > weight(peer, 1)) else {
            return false;
        };
        let theirs = orphans.iter().filter(|(_, orphan)| orphan.peer == most);
        let oldest = theirs.min_by_key(|(txid, orphan)| (orphan.since, **txid));
        let oldest = oldest.map(|(txid, _)| *txid);
        if let Some(orphan) = oldest.and_then(|txid| self.trades.orphans.remove(&txid))
            && let Some(message) = orphan.message
        {
            self.verdict(message, Verdict::Ignore);
        }
        true
    }

    /// Records a mempool entry. `local` is true if it was made on this node, and `free` if it pays
    /// less than the paying rate.
    pub(super) fn on_trade_added(
        &mut self,
        txid: TxId,
        transaction: Arc<Transaction>,
        added: Moment,
        (local, free): (bool, bool),
        now: Moment,
    ) {
        if !self.trades.pool.contains(&txid) {
            let leaf = leaf_hash(&transaction);
            self.trades.pool.insert(txid, Pooled { leaf, forwarded: now });
        }
        if !self.trades.schedule.contains(&txid) {
            // A trade that came by gossip, or from an earlier run, has spread already. One from a
            // peer's mempool may be new to others, like our own.
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
            let class = Class::of(&transaction, free);
            let entry = Entry { transaction, next, is_first, is_own: local, class };
            self.trades.schedule.add(txid, entry);
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
        let spends = |orphan: &Orphan<M>| {
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
            if self.trades.checking.len() < MAX_PENDING_TRADES
                && let Some(orphan) = self.trades.orphans.remove(&txid)
            {
                let Orphan { peer, message, transaction, since } = orphan;
                let (transactions, ids, known) = (vec![transaction], vec![txid], Vec::new());
                let stays = false;
                self.ask_chain(Check { peer, message, transactions, ids, known, stays, since });
            }
        }
    }

    pub(super) fn tick_trades(&mut self, now: Moment) {
        let late = |since: Moment| now.saturating_sub(since) >= VERDICT_MS;
        let trades = &mut self.trades;
        let checks = trades.checks.values_mut().filter(|check| late(check.since));
        let mut overdue: Vec<M> = checks.filter_map(|check| check.message.take()).collect();
        let orphans = trades.orphans.values_mut().filter(|orphan| late(orphan.since));
        overdue.extend(orphans.filter_map(|orphan| orphan.message.take()));
        let lost = |since: Moment| now.saturating_sub(since) >= ORPHAN_MS;
        trades.orphans.retain(|_, orphan| !lost(orphan.since));
        let checks = trades.checks.iter().filter(|(_, check)| lost(check.since));
        let checks: Vec<u64> = checks.map(|(id, _)| *id).collect();
        for id in checks {
            trades.take_check(id);
        }
        for message in overdue {
            self.verdict(message, Verdict::Ignore);
        }
        self.announce(now);
    }

    /// Queues the trades whose next announcement is due.
    fn announce(&mut self, now: Moment) {
        while let Some((txid, transaction, class)) = self.trades.schedule.due(now) {
            let next = self.trades.later(now);
            self.trades.schedule.postpone(&txid, next);
            self.trades.outgoing.push(txid, transaction, class);
        }
    }

    /// Publishes queued trades, as fast as the rates allow: new trades together, and repeated ones
    /// alone, since each has its own times.
    pub(super) fn publish_trades(&mut self, now: Moment) {
        loop {
            let batch = self.trades.outgoing.pop_first(&mut self.trades.publishing, now);
            if batch.is_empty() {
                break;
            }
            self.publish(&batch, 0);
        }
        while self.trades.outgoing.has_again() && self.trades.repeating.take(1, now) {
            if let Some(transaction) = self.trades.outgoing.pop_again() {
                let round = self.trades.round();
                self.publish(&[transaction], round);
            }
        }
    }

    fn publish(&mut self, transactions: &[Arc<Transaction>], round: u32) {
        let bytes = |transaction: &Arc<Transaction>| ByteBuf::from(transaction.to_bytes());
        let transactions = transactions.iter().map(bytes).collect();
        let gossip = TradeGossip::Trades(TradeAnnouncement { transactions, round });
        self.out.push(RelayAction::Publish { announcement: Announcement::Trade(gossip) });
    }
}

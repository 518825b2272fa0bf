//! Mempool visits: fetching the trades in a peer's mempool.
//!
//! Sync visits one peer at a time, so that it requests only those trades from the second peer that
//! the first did not have.
//!
//! # Security
//! A peer may name ids that nobody has, and answer as slowly as it likes. A trusted peer therefore
//! waits for no other one, and no visit that others wait for is longer than [`MAX_DOUBT_MS`].

use tracing::debug;

use super::{
    MAX_DOUBT_MS, MAX_TRADE_BATCH, Phase, Sync, SyncAction, peer::MempoolVisit, requests::Purpose,
    trades::Stage,
};
use crate::{
    chain::api::Refused,
    consensus::Blame,
    peers::Offence,
    primitives::{Moment, PeerId, Transaction, TxId, encoding},
    wire::{Item, ItemId, SyncRequest, limits::MAX_MEMPOOL_IDS},
};

/// Decodes the trade in an item, and checks that it is the requested one.
fn read_trade(item: &Item, asked: &TxId) -> Result<Option<Box<Transaction>>, (Offence, String)> {
    match item {
        Item::NotFound => Ok(None),
        Item::Block(_) => {
            Err((Offence::WrongAnswer, format!("a block instead of the trade {asked}")))
        }
        Item::Trade(bytes) => {
            let transaction: Transaction = encoding::from_bytes(bytes).map_err(|error| {
                (Offence::Malformed, format!("instead of the trade {asked}: {error}"))
            })?;
            match transaction.txid() {
                txid if txid == *asked => Ok(Some(Box::new(transaction))),
                other => {
                    Err((Offence::WrongAnswer, format!("the trade {other} instead of {asked}")))
                }
            }
        }
    }
}

impl Sync {
    pub(super) fn drive_trades(&mut self, now: Moment) {
        self.cut_visit(now);
        match self.trades.visit {
            None => self.begin_visit(now),
            Some((peer, Stage::Ready, _)) if self.trades.unanswered.is_empty() => {
                let count = self.trades.queue.len().min(MAX_TRADE_BATCH);
                let ids: Vec<TxId> = self.trades.queue.drain(..count).collect();
                if ids.is_empty() {
                    return self.trades.finish();
                }
                self.trades.visit = Some((peer, Stage::Asking, now));
                let request =
                    SyncRequest::GetData(ids.iter().map(|id| ItemId::Trade(*id)).collect());
                self.request(peer, Purpose::Trades(ids), request, now);
            }
            Some(_) => {}
        }
    }

    /// Ends a visit that keeps a trusted peer waiting, or that has kept another one waiting for too
    /// long.
    fn cut_visit(&mut self, now: Moment) {
        let Some((id, ..)) = self.trades.visit else {
            return;
        };
        let Some(next) = self.next_visit(now) else {
            return;
        };
        let gives_way = self.trusts(&next) && !self.trusts(&id);
        if gives_way && let Some(peer) = self.peers.get_mut(&id) {
            peer.mempool = MempoolVisit::Due;
        }
        if gives_way || now.saturating_sub(self.trades.began) >= MAX_DOUBT_MS {
            debug!(peer = %id, next = %next, "a mempool visit is cut short");
            self.trades.finish();
        }
    }

    /// Starts a visit to the next peer. Waits until our chain has caught up with the peers, since
    /// many trades would be invalid before.
    fn begin_visit(&mut self, now: Moment) {
        if self.is_behind() && self.phase != Phase::Stalled {
            return;
        }
        let Some(id) = self.next_visit(now) else {
            return;
        };
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.mempool = MempoolVisit::Done;
        }
        self.trades.visit = Some((id, Stage::Asking, now));
        self.trades.began = now;
        self.request(id, Purpose::MempoolIds, SyncRequest::GetMempool, now);
    }

    /// Returns a peer whose mempool visit is due and that may be asked now, trusted ones first.
    pub(super) fn next_visit(&self, now: Moment) -> Option<PeerId> {
        self.peers
            .iter()
            .filter(|(_, peer)| {
                peer.mempool == MempoolVisit::Due && peer.claim.is_some() && now >= peer.data_from
            })
            .min_by_key(|(id, peer)| (!self.is_trusted(id, peer), **id))
            .map(|(id, _)| *id)
    }

    /// Ends a visit after a failed request. It is due again unless the peer fails repeatedly.
    pub(super) fn abandon_visit(&mut self, id: PeerId) {
        if self.trades.is_asking(id) {
            self.trades.finish();
        }
        if let Some(peer) = self.peers.get_mut(&id)
            && peer.is_worth_a_visit()
        {
            peer.mempool = MempoolVisit::Due;
        }
    }

    pub(super) fn on_mempool_ids(&mut self, id: PeerId, ids: Vec<TxId>, now: Moment) {
        if !self.trades.is_asking(id) {
            return debug!(peer = %id, "an answer came for a visit that was cut short");
        }
        if ids.len() > MAX_MEMPOOL_IDS {
            self.trades.finish();
            return self.distrust(
                id,
                Offence::WrongAnswer,
                format!("{} ids of waiting trades", ids.len()),
                now,
            );
        }
        if ids.is_empty() {
            return self.trades.finish();
        }
        self.trades.visit = Some((id, Stage::Filtering, now));
        self.out.push(SyncAction::FilterTrades { peer: id, ids });
    }

    pub(super) fn on_unknown_trades(&mut self, id: PeerId, ids: Vec<TxId>) {
        if let Some((peer, stage @ Stage::Filtering, _)) = &mut self.trades.visit
            && *peer == id
        {
            *stage = Stage::Ready;
            self.trades.queue = ids.into_iter().take(MAX_MEMPOOL_IDS).collect();
        }
    }

    pub(super) fn on_trades(&mut self, id: PeerId, asked: &[TxId], items: &[Item], now: Moment) {
        if !self.trades.is_asking(id) {
            return debug!(peer = %id, "an answer came for a visit that was cut short");
        }
        if items.is_empty() || items.len() > asked.len() {
            self.trades.finish();
            let reason = format!("{} items when {} were asked", items.len(), asked.len());
            return self.distrust(id, Offence::WrongAnswer, reason, now);
        }
        for (txid, item) in asked.iter().zip(items) {
            match read_trade(item, txid) {
                Ok(Some(transaction)) => {
                    self.trades.unanswered.insert(*txid, (id, now));
                    self.out.push(SyncAction::AcceptTrade { peer: id, transaction });
                }
                Ok(None) => {}
                Err((offence, reason)) => {
                    self.trades.finish();
                    return self.distrust(id, offence, reason, now);
                }
            }
        }
        for txid in asked.iter().skip(items.len()).rev() {
            self.trades.queue.push_front(*txid);
        }
        self.trades.visit = Some((id, Stage::Ready, now));
    }

    pub(super) fn on_trade_done(&mut self, txid: TxId, result: Result<(), Refused>) {
        let Some((peer, _)) = self.trades.unanswered.remove(&txid) else {
            return;
        };
        match result {
            Ok(()) => self.trades.accepted = self.trades.accepted.saturating_add(1),
            Err(refused) if refused.blame == Blame::Peer => {
                self.penalise(peer, Offence::InvalidTrade, refused.to_string());
            }
            Err(refused) => debug!(%txid, code = refused.code, "the chain refused a trade"),
        }
    }
}

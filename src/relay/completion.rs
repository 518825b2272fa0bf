//! Completion of announced blocks, from the checked header to the whole block.

use std::sync::Arc;

use serde_bytes::ByteBuf;
use tracing::debug;

use super::{
    BLOCK_MS, MAX_ASKED, MAX_TRIES, REQUEST_MS, RETRY_MS, Relay, RelayAction, SOLVED_MS,
    VERDICT_MS,
    blocks::{Asked, ClaimKey, Parts, Pending, Stage},
    compact::assemble,
};
use crate::{
    chain::api::{BlockAccepted, Rebuilt, Refused},
    consensus::Blame,
    peers::Offence,
    primitives::{Block, BlockHash, Moment, PeerId, Transaction, encoding},
    telemetry::events,
    wire::{GetBlockTrades, Item, ItemId, RequestFailure, SyncRequest, SyncResponse, Verdict},
};

impl<M: Copy> Relay<M> {
    pub(super) fn on_rebuilt(&mut self, hash: BlockHash, rebuilt: Rebuilt, now: Moment) {
        let rebuilding = self.blocks.claim_at(&hash, |stage| matches!(stage, Stage::Rebuilding));
        if let Some(key) = rebuilding {
            self.on_claim_rebuilt(key, rebuilt, now);
            self.rebuild_next(&hash);
        }
    }

    /// Has the chain rebuild a block by its next claim, unless it is doing so by another.
    pub(super) fn rebuild_next(&mut self, hash: &BlockHash) {
        let is_taken = |stage: &Stage| matches!(stage, Stage::Rebuilding | Stage::Accepting { .. });
        let is_next = |stage: &Stage| matches!(stage, Stage::Queued);
        if self.blocks.claim_at(hash, is_taken).is_none()
            && let Some(key) = self.blocks.claim_at(hash, is_next)
            && let Some(pending) = self.blocks.pending.get_mut(&key)
        {
            pending.stage = Stage::Rebuilding;
            self.out.push(RelayAction::Rebuild {
                hash: *hash,
                header: Box::new(pending.header),
                coinbase: pending.coinbase.clone(),
                short_ids: pending.short_ids.clone(),
            });
        }
    }

    fn on_claim_rebuilt(&mut self, key: ClaimKey, rebuilt: Rebuilt, now: Moment) {
        let Some(pending) = self.blocks.pending.get_mut(&key) else {
            return;
        };
        match rebuilt {
            Rebuilt::Block(block)
                if block.hash() == key.0
                    && block.computed_merkle_root() == block.header.merkle_root =>
            {
                return self.accept(key, block, None);
            }
            // Another transaction in the mempool has the same short id.
            Rebuilt::Block(_) => {}
            Rebuilt::Missing { mut found, positions } => {
                if found.len() == pending.short_ids.len() {
                    found.insert(0, None);
                }
                if let Some(first) = found.first_mut() {
                    *first = Some(Arc::new((*pending.coinbase).clone()));
                }
                let whole = pending.short_ids.len().saturating_add(1);
                let positions: Vec<u32> =
                    positions.into_iter().filter(|position| *position > 0).collect();
                if found.len() == whole && !positions.is_empty() {
                    pending.parts = Some(Parts { found, missing: positions });
                }
            }
        }
        self.ask_next(key, now);
    }

    /// Requests the missing parts anew, from the next announcers. Leaves the block to sync after
    /// [`MAX_TRIES`] requests.
    fn ask_next(&mut self, key: ClaimKey, now: Moment) {
        let Some(pending) = self.blocks.pending.get_mut(&key) else {
            return;
        };
        if pending.sources.is_empty() || pending.tried.len() >= MAX_TRIES {
            return self.leave_to_sync(key, now);
        }
        pending.stage = Stage::Asking { asked: Vec::new() };
        self.ask_one(key, now);
        self.ask_more(key, now);
    }

    /// Requests the missing parts from further announcers that were not asked yet, as long as
    /// requests are in flight and there are fewer than [`MAX_ASKED`].
    pub(super) fn ask_more(&mut self, key: ClaimKey, now: Moment) {
        while let Some(pending) = self.blocks.pending.get(&key) {
            let more = (1..MAX_ASKED).contains(&pending.asked().len());
            if !more || pending.untried().is_none() || pending.tried.len() >= MAX_TRIES {
                return;
            }
            self.ask_one(key, now);
        }
    }

    /// Requests the missing parts from the first announcer that was not asked yet. If all have been
    /// asked, they get their turns again.
    fn ask_one(&mut self, key: ClaimKey, now: Moment) {
        let Some(pending) = self.blocks.pending.get_mut(&key) else {
            return;
        };
        let turn = pending.tried.len().checked_rem(pending.sources.len());
        let again = turn.and_then(|turn| pending.sources.get(turn)).copied();
        let Some(peer) = pending.untried().or(again) else {
            return;
        };
        pending.tried.push(peer);
        let request = match &pending.parts {
            Some(Parts { missing, .. }) => SyncRequest::GetBlockTrades(GetBlockTrades {
                block: key.0,
                positions: missing.clone(),
            }),
            None => SyncRequest::GetData(vec![ItemId::Block(key.0)]),
        };
        events::BlocksRequested { peer, message: "getdata", count: 1 }.emit();
        let id = self.request(peer, request);
        if let Some(Pending { stage: Stage::Asking { asked }, .. }) =
            self.blocks.pending.get_mut(&key)
        {
            asked.push(Asked { id, peer, since: now });
        }
    }

    /// Handles a failed request. Unless others are in flight, asks the next announcer at once, or
    /// after a pause if all have been asked.
    fn ask_later(&mut self, key: ClaimKey, now: Moment) {
        let Some(pending) = self.blocks.pending.get_mut(&key) else {
            return;
        };
        if !pending.asked().is_empty() {
            return self.ask_more(key, now);
        }
        if pending.untried().is_some() {
            return self.ask_next(key, now);
        }
        let pause = RETRY_MS.saturating_mul(1 << pending.tried.len().min(MAX_TRIES));
        pending.stage = Stage::Waiting { until: now.saturating_add(pause) };
    }

    /// Drops an incomplete claim, and asks its announcers for their Status so that sync fetches the
    /// block.
    pub(super) fn leave_to_sync(&mut self, key: ClaimKey, now: Moment) {
        if let Some(pending) = self.blocks.pending.remove(&key) {
            debug!(hash = %key.0, "an incomplete announced block is left to sync");
            if let Some(message) = pending.message {
                self.verdict(message, Verdict::Ignore);
            }
            for peer in pending.sources {
                self.ask_status(peer, now);
            }
        }
    }

    pub(super) fn on_response(
        &mut self,
        id: u64,
        result: Result<SyncResponse, RequestFailure>,
        now: Moment,
    ) {
        let Some((key, Asked { peer, .. })) = self.blocks.asked(id) else {
            return debug!(id, "a response came for a request that has ended");
        };
        let Some(pending) = self.blocks.pending.get_mut(&key) else {
            return;
        };
        if let Stage::Asking { asked } = &mut pending.stage {
            asked.retain(|asked| asked.id != id);
        }
        let is_last = pending.asked().is_empty();
        match (result, pending.parts.is_some()) {
            (Ok(SyncResponse::BlockTrades(parts)), true) => self.on_parts(key, peer, &parts, now),
            (Ok(SyncResponse::Data(items)), false) => self.on_whole(key, peer, &items, now),
            (Ok(SyncResponse::NotYet | SyncResponse::NotFound | SyncResponse::Busy), _) => {
                self.ask_later(key, now);
            }
            (Ok(SyncResponse::Refused(_)), _) => {
                // The peer may still send the whole block. Others may still send the parts.
                if is_last {
                    pending.parts = None;
                }
                self.ask_later(key, now);
            }
            (Ok(_), _) => {
                let reason = "an answer of another kind than the question".into();
                self.penalise(peer, Offence::WrongAnswer, reason);
                self.drop_source(key, peer, now);
            }
            (Err(failure), _) => {
                debug!(%peer, %failure, "a request failed");
                self.ask_later(key, now);
            }
        }
    }

    fn on_parts(&mut self, key: ClaimKey, peer: PeerId, parts: &[ByteBuf], now: Moment) {
        let Some((header, Parts { mut found, missing: positions })) = self
            .blocks
            .pending
            .get_mut(&key)
            .and_then(|pending| Some((pending.header, pending.parts.clone()?)))
        else {
            return;
        };
        if parts.len() != positions.len() {
            let reason =
                format!("{} transactions when {} were asked", parts.len(), positions.len());
            self.penalise(peer, Offence::WrongAnswer, reason);
            return self.drop_source(key, peer, now);
        }
        for (position, bytes) in positions.iter().zip(parts) {
            let transaction = match encoding::from_bytes::<Transaction>(bytes) {
                Ok(transaction) => transaction,
                Err(error) => {
                    self.penalise(
                        peer,
                        Offence::Malformed,
                        format!("a part of the block {}: {error}", key.0),
                    );
                    return self.drop_source(key, peer, now);
                }
            };
            if let Some(slot) =
                usize::try_from(*position).ok().and_then(|position| found.get_mut(position))
            {
                *slot = Some(Arc::new(transaction));
            }
        }
        if let Some(block) = assemble(header, found) {
            return self.accept(key, block, Some(peer));
        }
        // A short id matched another transaction, so the whole block is needed.
        if let Some(pending) = self.blocks.pending.get_mut(&key) {
            pending.parts = None;
        }
        self.ask_next(key, now);
    }

    fn on_whole(&mut self, key: ClaimKey, peer: PeerId, items: &[Item], now: Moment) {
        let (hash, _) = key;
        let fault = match items {
            [Item::NotFound] => return self.ask_later(key, now),
            [Item::Block(bytes)] => match encoding::from_bytes::<Block>(bytes) {
                Ok(block) if block.hash() != hash => {
                    (Offence::WrongAnswer, "another block than asked".to_owned())
                }
                Ok(block) if block.computed_merkle_root() != block.header.merkle_root => {
                    (Offence::WrongAnswer, format!("a body that is not that of the block {hash}"))
                }
                Ok(block) => return self.accept(key, Box::new(block), Some(peer)),
                Err(error) => (Offence::Malformed, format!("instead of the block {hash}: {error}")),
            },
            _ => (
                Offence::WrongAnswer,
                format!("{} items, or none that fits, for one block", items.len()),
            ),
        };
        self.penalise(peer, fault.0, fault.1);
        self.drop_source(key, peer, now);
    }

    /// Removes a peer that sent wrong data from the announcers of a block. Unless others are asked
    /// already, asks the next one.
    fn drop_source(&mut self, key: ClaimKey, peer: PeerId, now: Moment) {
        if let Some(pending) = self.blocks.pending.get_mut(&key) {
            pending.sources.retain(|source| *source != peer);
            if pending.asked().is_empty() {
                self.ask_next(key, now);
            } else {
                self.ask_more(key, now);
            }
        }
    }

    fn accept(&mut self, key: ClaimKey, block: Box<Block>, from: Option<PeerId>) {
        let Some(pending) = self.blocks.pending.get_mut(&key) else {
            return;
        };
        let Some(peer) = from.or_else(|| pending.sources.first().copied()) else {
            return self.drop_claim(key, Verdict::Ignore);
        };
        let is_true = pending.describes(&block);
        pending.stage = Stage::Accepting { from };
        pending.parts = None;
        let message = pending.message.take();
        let (hash, height) = (key.0, block.header.height);
        events::BlockReceived { peer: from, message: "block", hash, height }.emit();
        self.out.push(RelayAction::AcceptBlock { peer, block });
        if is_true {
            self.blocks.announced.insert(hash, ());
        }
        if let Some(message) = message {
            let verdict = if is_true { Verdict::Accept } else { Verdict::Ignore };
            self.verdict(message, verdict);
        }
        let others = self.blocks.claims(&hash).map(|(other, _)| other);
        let others: Vec<ClaimKey> = others.filter(|other| *other != key).collect();
        for other in others {
            self.drop_claim(other, Verdict::Ignore);
        }
    }

    /// Drops a claim. `verdict` is for its message, if it has none yet.
    pub(super) fn drop_claim(&mut self, key: ClaimKey, verdict: Verdict) {
        if let Some(message) = self.blocks.pending.remove(&key).and_then(|claim| claim.message) {
            self.verdict(message, verdict);
        }
    }

    pub(super) fn on_block_done(
        &mut self,
        hash: BlockHash,
        result: Result<BlockAccepted, Refused>,
        now: Moment,
    ) {
        let ours = self.blocks.claim_at(&hash, |stage| matches!(stage, Stage::Accepting { .. }));
        let Some(pending) = ours.and_then(|key| self.blocks.pending.remove(&key)) else {
            return;
        };
        let refused = match result {
            Ok(accepted) => return self.on_block_taken(&pending, &accepted, now),
            Err(refused) => refused,
        };
        // The body has its merkle root. An honest announcer may have checked only the header, as we
        // did. It may also have stored the body on a side branch, without a check of its coins and
        // signatures.
        if refused.blame == Blame::Peer
            && let Some(peer) = pending.sender()
        {
            self.penalise(peer, Offence::EmptyPromise, refused.to_string());
        }
    }

    /// Records the peer that delivered a block that the chain accepted. Pauses mining if bodies of
    /// a better branch are still to be connected.
    fn on_block_taken(&mut self, pending: &Pending<M>, accepted: &BlockAccepted, now: Moment) {
        if *accepted == BlockAccepted::Known {
            return;
        }
        let connected = *accepted == BlockAccepted::Connected;
        let more_to_come = self.best_header.hash != self.tip.hash;
        if (connected && more_to_come) || (!connected && pending.leads) {
            self.out.push(RelayAction::SuspendMining);
        }
        if let Some(peer) = pending.sender() {
            self.delivered(peer, now);
        }
    }

    pub(super) fn on_peer_gone(&mut self, peer: PeerId, now: Moment) {
        let touched: Vec<ClaimKey> = self
            .blocks
            .pending
            .iter()
            .filter(|(_, pending)| pending.sources.contains(&peer))
            .map(|(key, _)| *key)
            .collect();
        for key in touched {
            let Some(pending) = self.blocks.pending.get_mut(&key) else {
                continue;
            };
            pending.sources.retain(|source| *source != peer);
            if let Stage::Asking { asked } = &mut pending.stage {
                asked.retain(|asked| asked.peer != peer);
                if asked.is_empty() {
                    self.ask_next(key, now);
                }
            }
        }
    }

    pub(super) fn tick_blocks(&mut self, now: Moment) {
        self.tick_verdicts(now);
        let keys: Vec<ClaimKey> = self.blocks.pending.keys().copied().collect();
        for key in keys {
            let Some(pending) = self.blocks.pending.get_mut(&key) else {
                continue;
            };
            if now.saturating_sub(pending.since) >= BLOCK_MS {
                self.leave_to_sync(key, now);
                continue;
            }
            match &mut pending.stage {
                Stage::Waiting { until } if now >= *until => self.ask_next(key, now),
                Stage::Asking { asked } => {
                    let before = asked.len();
                    asked.retain(|asked| now.saturating_sub(asked.since) < REQUEST_MS);
                    if asked.len() < before {
                        self.ask_later(key, now);
                    }
                }
                _ => {}
            }
        }
        let late: Vec<(BlockHash, PeerId)> = self
            .blocks
            .awaited
            .iter()
            .filter(|(_, (_, since))| now.saturating_sub(*since) >= SOLVED_MS)
            .map(|(hash, (peer, _))| (*hash, *peer))
            .collect();
        for (hash, peer) in late {
            self.blocks.awaited.remove(&hash);
            self.ask_status(peer, now);
        }
    }

    /// Gives the verdict on messages whose check takes too long because the chain is busy.
    fn tick_verdicts(&mut self, now: Moment) {
        let late = |since: Moment| now.saturating_sub(since) >= VERDICT_MS;
        let mut overdue: Vec<M> = Vec::new();
        self.blocks.checks.retain(|_, check| {
            if late(check.since) {
                overdue.extend(check.message.take());
            }
            !late(check.since)
        });
        for pending in self.blocks.pending.values_mut().filter(|pending| late(pending.since)) {
            overdue.extend(pending.message.take());
        }
        for message in overdue {
            self.verdict(message, Verdict::Ignore);
        }
    }
}

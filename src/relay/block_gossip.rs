//! Gossip of solved headers and compact blocks, received and published.

use serde_bytes::ByteBuf;
use tracing::debug;

use super::{
    Announcement, MAX_PENDING_BLOCKS, MAX_PENDING_PROVEN, MAX_PENDING_UNPROVEN, MAX_SOLVED,
    MAX_SOURCES, Relay, RelayAction,
    blocks::{Check, Pending, Stage},
    compact::{Compact, compact, read_compact, read_header},
};
use crate::{
    chain::api::{HeadersAccepted, RefusalCause, Refused},
    consensus::Blame,
    peers::Offence,
    primitives::{Block, BlockHash, Encode, Header, Height, Moment, PeerId},
    wire::{BlockGossip, Verdict},
};

impl<M: Copy> Relay<M> {
    pub(super) fn on_own_solved(&mut self, header: &Header) {
        self.blocks.own.insert(header.hash(), ());
        let solved = BlockGossip::Solved(ByteBuf::from(header.to_bytes()));
        self.out.push(RelayAction::Publish { announcement: Announcement::Block(solved) });
    }

    pub(super) fn on_connected(&mut self, connected: &[(BlockHash, Height)], is_best: bool) {
        for (hash, _) in connected {
            self.blocks.connected.insert(*hash, ());
            self.blocks.awaited.remove(hash);
            let news = is_best && *hash == self.tip.hash && !self.blocks.announced.contains(hash);
            if self.blocks.own.contains(hash) || news {
                self.loading.insert(*hash, ());
                self.out.push(RelayAction::FetchBlock { hash: *hash });
            }
        }
    }

    pub(super) fn on_block_loaded(&mut self, hash: BlockHash, block: Option<&Block>) {
        let (Some(()), Some(block)) = (self.loading.remove(&hash), block) else {
            return;
        };
        let gossip = match compact(block) {
            Some(compact) => BlockGossip::Compact(compact),
            // The block does not fit into a message. Peers get its header and fetch it by sync.
            None if self.blocks.own.contains(&hash) => return,
            None => BlockGossip::Solved(ByteBuf::from(block.header.to_bytes())),
        };
        self.blocks.announced.insert(hash, ());
        self.out.push(RelayAction::Publish { announcement: Announcement::Block(gossip) });
    }

    pub(super) fn on_block_gossip(
        &mut self,
        peer: PeerId,
        message: M,
        gossip: &BlockGossip,
        now: Moment,
    ) {
        let allowed =
            self.allowance(peer, now).is_some_and(|allowance| allowance.blocks.take(1, now));
        if !allowed {
            debug!(%peer, "a peer sends too many blocks");
            return self.verdict(message, Verdict::Ignore);
        }
        let read = match gossip {
            BlockGossip::Solved(bytes) => {
                read_header(bytes).map(|header| self.on_solved(peer, message, header, now))
            }
            BlockGossip::Compact(compact) => {
                read_compact(compact).map(|compact| self.on_compact(peer, message, compact, now))
            }
        };
        if let Err(reason) = read {
            self.verdict(message, Verdict::Reject);
            self.penalise(peer, Offence::Malformed, reason);
        }
    }

    fn is_news(&self, hash: &BlockHash) -> bool {
        let blocks = &self.blocks;
        *hash != self.tip.hash
            && !blocks.own.contains(hash)
            && !blocks.announced.contains(hash)
            && !blocks.connected.contains(hash)
    }

    fn on_solved(&mut self, peer: PeerId, message: M, header: Header, now: Moment) {
        let hash = header.hash();
        if header.previous != self.tip.hash {
            // The header is old, or the peer is ahead of us and sync has to catch up.
            if header.height > self.tip.height && self.is_news(&hash) {
                self.ask_status(peer, now);
            }
            return self.verdict(message, Verdict::Ignore);
        }
        let blocks = &self.blocks;
        let busy = blocks.checks.len() >= MAX_SOLVED || blocks.checks.contains_key(&hash);
        if busy
            || blocks.pending.contains_key(&hash)
            || blocks.awaited.contains_key(&hash)
            || !self.is_news(&hash)
        {
            return self.verdict(message, Verdict::Ignore);
        }
        self.blocks.checks.insert(hash, Check { peer, message: Some(message), header, since: now });
        self.out.push(RelayAction::CheckSolved { header: Box::new(header) });
    }

    pub(super) fn on_solved_checked(&mut self, hash: BlockHash, result: Result<(), Refused>) {
        let Some(check) = self.blocks.checks.remove(&hash) else {
            return;
        };
        let verdict = match result {
            Ok(()) => {
                self.await_block(hash, &check);
                Verdict::Accept
            }
            Err(refused) if refused.blame == Blame::Peer => {
                self.penalise(check.peer, Offence::InvalidHeader, refused.to_string());
                Verdict::Reject
            }
            Err(_) => Verdict::Ignore,
        };
        if let Some(message) = check.message {
            self.verdict(message, verdict);
        }
    }

    /// Waits for the block of a solved child of the tip.
    fn await_block(&mut self, hash: BlockHash, check: &Check<M>) {
        if check.header.previous == self.tip.hash && self.blocks.awaited.len() < MAX_SOLVED {
            self.blocks.awaited.insert(hash, (check.peer, check.since));
        }
    }

    /// Makes room for a block that a peer announces. Returns false if there is none for it.
    ///
    /// A peer may announce a share of the incomplete blocks. If all places are taken, a friend or
    /// proven peer gets the place of a block that no such peer announced. Sync fetches that block.
    fn make_room(&mut self, peer: &PeerId, now: Moment) -> bool {
        let trusted = self.is_trusted(peer);
        let share = if trusted { MAX_PENDING_PROVEN } else { MAX_PENDING_UNPROVEN };
        let pending = &self.blocks.pending;
        if pending.values().filter(|pending| pending.sources.first() == Some(peer)).count() >= share
        {
            return false;
        }
        if pending.len() < MAX_PENDING_BLOCKS {
            return true;
        }
        let doubtful = pending
            .iter()
            .filter(|(_, pending)| !pending.sources.iter().any(|source| self.is_trusted(source)))
            .filter(|(_, pending)| !matches!(pending.stage, Stage::Accepting { .. }))
            .min_by_key(|(hash, pending)| (pending.since, **hash))
            .map(|(hash, _)| *hash);
        match doubtful {
            Some(hash) if trusted => {
                self.leave_to_sync(hash, now);
                true
            }
            _ => false,
        }
    }

    fn on_compact(&mut self, peer: PeerId, message: M, compact: Compact, now: Moment) {
        let Compact { header, coinbase, short_ids } = compact;
        let hash = header.hash();
        if let Some(pending) = self.blocks.pending.get_mut(&hash) {
            if pending.sources.len() < MAX_SOURCES && !pending.sources.contains(&peer) {
                pending.sources.push(peer);
                self.ask_more(hash, now);
            }
            return self.verdict(message, Verdict::Ignore);
        }
        if !self.is_news(&hash) {
            return self.verdict(message, Verdict::Ignore);
        }
        if !self.make_room(&peer, now) {
            self.ask_status(peer, now);
            return self.verdict(message, Verdict::Ignore);
        }
        let pending = Pending {
            header,
            coinbase: Box::new(coinbase),
            short_ids,
            sources: vec![peer],
            message: Some(message),
            since: now,
            stage: Stage::Checking,
            parts: None,
            tried: Vec::new(),
            leads: false,
        };
        self.blocks.pending.insert(hash, pending);
        self.out.push(RelayAction::AcceptHeader { peer, header: Box::new(header) });
    }

    pub(super) fn on_header_done(
        &mut self,
        hash: BlockHash,
        result: Result<HeadersAccepted, Refused>,
        now: Moment,
    ) {
        let Some(pending) = self.blocks.pending.get_mut(&hash) else {
            return;
        };
        if !matches!(pending.stage, Stage::Checking) {
            return;
        }
        let message = pending.message.take();
        let peer = pending.sources.first().copied();
        let verdict = match result {
            // The message announces an old block, whose sender did no work for it now.
            Ok(accepted) if !accepted.wants_body => {
                self.blocks.pending.remove(&hash);
                Verdict::Ignore
            }
            Ok(accepted) => {
                pending.leads = accepted.best_header.hash == hash;
                pending.stage = Stage::Rebuilding;
                self.blocks.announced.insert(hash, ());
                self.out.push(RelayAction::Rebuild {
                    hash,
                    header: Box::new(pending.header),
                    coinbase: pending.coinbase.clone(),
                    short_ids: pending.short_ids.clone(),
                });
                Verdict::Accept
            }
            Err(refused) => {
                self.blocks.pending.remove(&hash);
                match (refused.blame, peer) {
                    // The announcer may not have seen the invalid block below this one.
                    _ if refused.cause == RefusalCause::InvalidBranch => Verdict::Ignore,
                    // The branch cannot win, or has to wait for bodies. Sync handles both cases.
                    _ if matches!(
                        refused.cause,
                        RefusalCause::TooLittleWork | RefusalCause::TooFarBeyondTip
                    ) =>
                    {
                        Verdict::Ignore
                    }
                    (Blame::Peer, Some(peer)) => {
                        self.penalise(peer, Offence::InvalidHeader, refused.to_string());
                        Verdict::Reject
                    }
                    (Blame::Nobody, Some(peer)) => {
                        // The parent is probably unknown here, so the peer is ahead.
                        self.ask_status(peer, now);
                        Verdict::Ignore
                    }
                    _ => Verdict::Ignore,
                }
            }
        };
        if let Some(message) = message {
            self.verdict(message, verdict);
        }
    }
}

//! Gossip of solved headers and compact blocks, received and published.

use serde_bytes::ByteBuf;
use tracing::debug;

use super::{
    Announcement, MAX_BLOCK_CLAIMS, MAX_PENDING_BLOCKS, MAX_PENDING_PROVEN, MAX_PENDING_UNPROVEN,
    MAX_SOLVED, MAX_SOURCES, MUTE_MS, Relay, RelayAction,
    blocks::{Check, ClaimKey, Pending, Stage},
    compact::{Compact, compact, read_compact, read_header},
};
use crate::{
    chain::api::{HeadersAccepted, RefusalCause, Refused},
    consensus::Blame,
    peers::Offence,
    primitives::{Block, BlockHash, Encode, Header, Height, Moment, PeerId},
    wire::{BlockGossip, Topic, Verdict},
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
        let taken = self.allowance(peer, now).map(|it| it.blocks.take_early(1, now));
        let (allowed, pause) = taken.unwrap_or_default();
        if let Some(ms) = pause {
            self.mute(peer, Topic::Blocks, ms);
        }
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
            || blocks.claims(&hash).next().is_some()
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

    /// Makes room for a claim of a peer about a block. Returns false if there is none for it.
    ///
    /// A peer may announce a share of the incomplete claims. If all places are taken, a friend or
    /// proven peer gets the place of a claim that no such peer announced. Sync fetches that block.
    fn make_room(&mut self, peer: &PeerId, hash: &BlockHash, now: Moment) -> bool {
        let trusted = self.is_trusted(peer);
        let share = if trusted { MAX_PENDING_PROVEN } else { MAX_PENDING_UNPROVEN };
        if self.claims_of(peer) >= share {
            return false;
        }
        let pending = &self.blocks.pending;
        let is_contested = self.blocks.claims(hash).count() >= MAX_BLOCK_CLAIMS;
        if pending.len() < MAX_PENDING_BLOCKS && !is_contested {
            return true;
        }
        let doubtful = pending
            .iter()
            .filter(|(key, _)| !is_contested || key.0 == *hash)
            .filter(|(_, pending)| !pending.sources.iter().any(|source| self.is_trusted(source)))
            // The chain's reply to a rebuild does not name its claim.
            .filter(|(_, pending)| {
                !matches!(pending.stage, Stage::Rebuilding | Stage::Accepting { .. })
            })
            .min_by_key(|(key, pending)| (pending.since, **key))
            .map(|(key, _)| *key);
        match doubtful {
            Some(key) if trusted => {
                self.leave_to_sync(key, now);
                true
            }
            _ => false,
        }
    }

    /// Returns the number of incomplete claims that a peer announced first.
    fn claims_of(&self, peer: &PeerId) -> usize {
        let claims = self.blocks.pending.values();
        claims.filter(|claim| claim.sources.first() == Some(peer)).count()
    }

    fn on_compact(&mut self, peer: PeerId, message: M, compact: Compact, now: Moment) {
        let Compact { header, coinbase, short_ids } = compact;
        let hash = header.hash();
        let is_same =
            |claim: &Pending<M>| *claim.coinbase == coinbase && claim.short_ids == short_ids;
        let same = self.blocks.claims(&hash).find(|(_, claim)| is_same(claim)).map(|(key, _)| key);
        if let Some(key) = same
            && let Some(pending) = self.blocks.pending.get_mut(&key)
        {
            if pending.sources.len() < MAX_SOURCES && !pending.sources.contains(&peer) {
                pending.sources.push(peer);
                self.ask_more(key, now);
            }
            return self.verdict(message, Verdict::Ignore);
        }
        let is_complete = |stage: &Stage| matches!(stage, Stage::Accepting { .. });
        if !self.is_news(&hash) || self.blocks.claim_at(&hash, is_complete).is_some() {
            return self.verdict(message, Verdict::Ignore);
        }
        if !self.make_room(&peer, &hash, now) {
            self.mute(peer, Topic::Blocks, MUTE_MS);
            self.ask_status(peer, now);
            return self.verdict(message, Verdict::Ignore);
        }
        let is_checked = |stage: &Stage| !matches!(stage, Stage::Checking);
        let checked = self.blocks.claim_at(&hash, is_checked);
        let checking = self.blocks.claim_at(&hash, |stage| matches!(stage, Stage::Checking));
        let last = self.blocks.claims(&hash).last().map(|((_, number), _)| number);
        let key = (hash, last.map_or(0, |number| number.saturating_add(1)));
        let claim = Pending {
            header,
            coinbase: Box::new(coinbase),
            short_ids,
            sources: vec![peer],
            message: Some(message),
            is_forwarded: false,
            since: now,
            stage: Stage::Checking,
            parts: None,
            tried: Vec::new(),
            leads: false,
        };
        self.blocks.pending.insert(key, claim);
        if !self.is_trusted(&peer) && self.claims_of(&peer) >= MAX_PENDING_UNPROVEN {
            self.mute(peer, Topic::Blocks, MUTE_MS);
        }
        match (checked, checking) {
            (Some(other), _) => {
                let leads = self.blocks.pending.get(&other).is_some_and(|claim| claim.leads);
                self.begin_claim(key, leads);
            }
            // The chain's reply counts for both claims.
            (None, Some(_)) => {}
            (None, None) => {
                self.out.push(RelayAction::AcceptHeader { peer, header: Box::new(header) });
            }
        }
    }

    /// Queues a claim whose header is valid for a rebuild. A trusted peer's message is forwarded
    /// now, unless another one about the block was. Otherwise it waits for the block's merkle root.
    fn begin_claim(&mut self, key: ClaimKey, leads: bool) {
        let is_forwarded = self.blocks.claims(&key.0).any(|(_, claim)| claim.is_forwarded);
        // Without its message, the time for a verdict is over.
        let waiting = self.blocks.pending.get(&key).filter(|claim| claim.message.is_some());
        let announcer = waiting.and_then(|claim| claim.sources.first());
        let forwards = !is_forwarded && announcer.is_some_and(|peer| self.is_trusted(peer));
        let Some(claim) = self.blocks.pending.get_mut(&key) else {
            return;
        };
        (claim.leads, claim.stage, claim.is_forwarded) = (leads, Stage::Queued, forwards);
        let message = claim.message.take_if(|_| forwards);
        self.rebuild_next(&key.0);
        if let Some(message) = message {
            self.verdict(message, Verdict::Accept);
        }
    }

    pub(super) fn on_header_done(
        &mut self,
        hash: BlockHash,
        result: &Result<HeadersAccepted, Refused>,
        now: Moment,
    ) {
        let claims = self.blocks.claims(&hash);
        let checking = claims.filter(|(_, claim)| matches!(claim.stage, Stage::Checking));
        let checking: Vec<ClaimKey> = checking.map(|(key, _)| key).collect();
        for key in checking {
            match result {
                // The message announces an old block, whose sender did no work for it now.
                Ok(accepted) if !accepted.wants_body => self.drop_claim(key, Verdict::Ignore),
                Ok(accepted) => self.begin_claim(key, accepted.best_header.hash == hash),
                Err(refused) => self.refuse_claim(key, refused, now),
            }
        }
    }

    /// Drops a claim whose header the chain refused.
    fn refuse_claim(&mut self, key: ClaimKey, refused: &Refused, now: Moment) {
        let claim = self.blocks.pending.get(&key);
        let peer = claim.and_then(|claim| claim.sources.first()).copied();
        let verdict = match (refused.blame, peer) {
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
        };
        self.drop_claim(key, verdict);
    }
}

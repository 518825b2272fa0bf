//! Fetching of bodies: requests to peers, their responses, and the replies of the chain.

use std::collections::HashSet;

use tracing::debug;

use super::{
    BUSY_MS, ELSEWHERE_MS, MAX_BATCH, MAX_BODY_REQUESTS, MAX_DOUBTFUL_REQUESTS, MAX_OPEN_REQUESTS,
    MAX_REQUESTS_PER_PEER, MISSING_INTERVAL_MS, RELAY_GRACE_MS, STALL_MS, Sync, SyncAction, WINDOW,
    bodies::BlockRef, items::read_block, peer::Claim, requests::Purpose,
};
use crate::{
    chain::api::{BlockAccepted, RefusalCause, Refused},
    consensus::Blame,
    peers::Offence,
    primitives::{BlockHash, Height, Moment, PeerId},
    telemetry::events,
    wire::{Item, ItemId, SyncRequest},
};

/// Returns the maximum number of body requests in flight to one peer.
const fn most_requests(doubtful: bool) -> usize {
    if doubtful { 1 } else { MAX_REQUESTS_PER_PEER }
}

impl Sync {
    /// Returns true if bodies are missing and the relay has had its time to complete them.
    fn is_fetching(&self, now: Moment) -> bool {
        self.best_header.hash != self.tip.hash
            && (self.eager
                || self.lag_since.is_some_and(|since| now.saturating_sub(since) >= RELAY_GRACE_MS))
            && self.peers.values().any(|peer| peer.claim.is_some())
    }

    /// Fills the window, hands bodies to the chain, and sends requests for further ones.
    pub(super) fn drive_bodies(&mut self, now: Moment) {
        if !self.is_fetching(now) {
            return;
        }
        self.eager = true;
        self.read_missing(now);
        if self.missing.stale || now < self.bodies_from {
            return;
        }
        while let Some((peer, block)) = self.bodies.hand_over(now) {
            self.out.push(SyncAction::AcceptBlock { peer, block });
        }
        // What holds up the window comes before what lies above it.
        self.retry_held_up_batch(now);
        while self.ask_each_peer_once(now) {}
    }

    fn read_missing(&mut self, now: Moment) {
        let idle = now.saturating_sub(self.missing.last);
        let known = self.missing.complete_for == Some(self.best_header.hash);
        let low = self.bodies.outstanding() < WINDOW / 4 && !known;
        // The window is empty although the tip is not the best header. The store is read again, but
        // only at this interval.
        let patience = if self.has_other_branch() { STALL_MS } else { RELAY_GRACE_MS };
        let puzzled = self.bodies.is_empty() && idle >= patience;
        let wanted = (low && idle >= MISSING_INTERVAL_MS) || puzzled || self.missing.stale;
        if wanted && self.missing.reading.is_none() {
            let read = self.missing.reads.saturating_add(1);
            self.missing.reads = read;
            self.missing.reading = Some((read, now, self.best_header));
            self.missing.last = now;
            self.out.push(SyncAction::FetchMissing {
                read,
                limit: WINDOW.saturating_add(self.bodies.unsettled()),
            });
        }
    }

    pub(super) fn on_missing(&mut self, read: u64, blocks: &[(BlockHash, Height)], now: Moment) {
        let Some((_, _, best_header)) =
            self.missing.reading.take_if(|(number, ..)| *number == read)
        else {
            return;
        };
        let complete = blocks.len() < WINDOW;
        self.bodies.merge(blocks, complete, now);
        self.missing.stale = false;
        self.missing.chain = Some(best_header);
        self.missing.complete_for = complete.then_some(best_header.hash);
    }

    /// Sends one batch to each peer that can take one: trusted ones first, then fast and reliable
    /// ones. Returns false if no request was sent or the limit of requests is reached.
    fn ask_each_peer_once(&mut self, now: Moment) -> bool {
        let slow = self.late_peers(now);
        let trusted = self.has_trusted();
        let mut order: Vec<(bool, usize, u32, u64, PeerId)> = self
            .peers
            .iter()
            .filter(|(id, peer)| now >= peer.data_from && !slow.contains(id))
            .map(|(id, peer)| {
                let doubtful = !self.is_trusted(id, peer);
                (doubtful, peer.requests, peer.failures, peer.latency_ms, *id)
            })
            .filter(|(doubtful, requests, ..)| *requests < most_requests(*doubtful))
            .collect();
        order.sort_unstable();
        let mut asked = false;
        for (doubtful, .., id) in order {
            let in_flight = self.body_requests(now);
            let Some(peer) = self.peers.get(&id) else {
                continue;
            };
            if in_flight >= MAX_BODY_REQUESTS {
                return false;
            }
            if doubtful && !self.has_slot_for_doubtful(trusted, now) {
                continue;
            }
            let most = if doubtful { 1 } else { MAX_BATCH };
            let batch = self.bodies.next_batch(in_flight, most, |block| peer.may_have(block));
            if !batch.is_empty() {
                self.ask_for_bodies(id, batch, now);
                asked = true;
            }
        }
        asked
    }

    /// Returns true if a peer that is not trusted may get one more request for a body.
    fn has_slot_for_doubtful(&self, has_trusted: bool, now: Moment) -> bool {
        let requests = || self.requests.values().filter(|request| request.is_for_bodies());
        let share = if has_trusted { MAX_DOUBTFUL_REQUESTS } else { MAX_BODY_REQUESTS };
        let doubtful =
            requests().filter(|request| !request.is_late(now) && !self.trusts(&request.peer));
        doubtful.count() < share && requests().count() < MAX_OPEN_REQUESTS
    }

    /// Asks one more peer for the batch that holds up the window.
    fn retry_held_up_batch(&mut self, now: Moment) {
        let Some(block) = self.bodies.held_up() else {
            return;
        };
        let slow = self.late_peers(now);
        let mut asked: HashSet<PeerId> = HashSet::new();
        let mut batch: Vec<BlockRef> = Vec::new();
        for request in self.requests.values() {
            if let Purpose::Bodies(blocks) = &request.purpose
                && blocks.contains(&block)
            {
                if !request.is_late(now) {
                    return;
                }
                asked.insert(request.peer);
                batch.clone_from(blocks);
            }
        }
        let slot = self.has_slot_for_doubtful(self.has_trusted(), now);
        let other = self
            .peers
            .iter()
            .filter(|(id, peer)| !asked.contains(id) && !slow.contains(id) && now >= peer.data_from)
            .filter(|(_, peer)| peer.may_have(&block))
            .map(|(id, peer)| {
                (!self.is_trusted(id, peer), peer.failures, peer.latency_ms, *id, peer.requests)
            })
            .filter(|(doubtful, .., requests)| {
                *requests < most_requests(*doubtful) && (slot || !doubtful)
            })
            .min();
        if let Some((doubtful, _, _, other, _)) = other {
            batch.retain(|wanted| self.bodies.is_asked(wanted) && (*wanted == block || !doubtful));
            debug!(
                peer = %other,
                asked = asked.len(),
                height = block.height,
                "another peer is asked for a batch that holds up the window"
            );
            self.ask_for_bodies(other, batch, now);
        }
    }

    fn ask_for_bodies(&mut self, id: PeerId, batch: Vec<BlockRef>, now: Moment) {
        self.bodies.mark_asked(&batch);
        if let Some(wait) = &mut self.wait {
            wait.asked |= batch.contains(&wait.block);
        }
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.requests = peer.requests.saturating_add(1);
        }
        events::BlocksRequested { peer: id, message: "getdata", count: batch.len() }.emit();
        let ids = batch.iter().map(|block| ItemId::Block(block.hash)).collect();
        self.request(id, Purpose::Bodies(batch), SyncRequest::GetData(ids), now);
    }

    /// Returns the number of body requests in flight. Late ones do not count, since a few silent
    /// peers would otherwise exhaust the limit.
    fn body_requests(&self, now: Moment) -> usize {
        self.requests
            .values()
            .filter(|request| request.is_for_bodies() && !request.is_late(now))
            .count()
    }

    /// Returns the peers with a late body request. They get no further one until they respond.
    fn late_peers(&self, now: Moment) -> HashSet<PeerId> {
        let late = self
            .requests
            .values()
            .filter(|request| request.is_for_bodies() && request.is_late(now));
        late.map(|request| request.peer).collect()
    }

    pub(super) fn on_bodies(
        &mut self,
        id: PeerId,
        asked: &[BlockRef],
        items: Vec<Item>,
        took: u64,
        now: Moment,
    ) {
        let received = self.receive_items(id, asked, items);
        self.bodies.release(asked);
        match received {
            Err((offence, reason)) => self.distrust(id, offence, reason, now),
            Ok(received) => {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.unanswered = false;
                    if received > 0 {
                        peer.gave_body = true;
                        peer.answered(took);
                    } else {
                        peer.data_from = now.saturating_add(ELSEWHERE_MS);
                    }
                }
            }
        }
    }

    /// Buffers the bodies of a response, up to the first faulty one. Returns their number.
    fn receive_items(
        &mut self,
        id: PeerId,
        asked: &[BlockRef],
        items: Vec<Item>,
    ) -> Result<usize, (Offence, String)> {
        if items.is_empty() || items.len() > asked.len() {
            let reason = format!("{} items when {} were asked", items.len(), asked.len());
            return Err((Offence::WrongAnswer, reason));
        }
        let mut received = 0usize;
        for (wanted, item) in asked.iter().zip(items) {
            let BlockRef { height, hash } = *wanted;
            if let Some(block) = read_block(&item, &hash)? {
                received = received.saturating_add(1);
                let bytes = block.encoded_len();
                events::BlockReceived { peer: Some(id), message: "block", hash, height }.emit();
                if !self.bodies.receive(*wanted, id, block, bytes) {
                    debug!(peer = %id, %hash, "a body has already arrived or is no longer wanted");
                }
            } else {
                self.denies(id, hash);
            }
        }
        Ok(received)
    }

    pub(super) fn on_block_done(
        &mut self,
        hash: BlockHash,
        result: Result<BlockAccepted, Refused>,
        now: Moment,
    ) {
        if self.on_withheld_done(hash, &result, now) {
            return;
        }
        let refused = match result {
            Ok(accepted) => return self.on_block_taken(hash, &accepted, now),
            Err(refused) => refused,
        };
        let Some(id) = self.bodies.refused(hash) else {
            return;
        };
        // The chain may have marked this header and its descendants as invalid. Sync fetches and
        // hands over nothing until it has read the missing bodies again.
        self.missing.stale = true;
        self.missing.complete_for = None;
        // A read in progress may have started before the refusal.
        self.missing.reading = None;
        match (refused.blame, self.peers.get_mut(&id)) {
            (Blame::Peer, Some(peer)) => peer.lacks_block(hash),
            _ => self.bodies_from = now.saturating_add(BUSY_MS),
        }
        debug!(peer = %id, %hash, code = refused.code, "the chain refused a block");
        if refused.blame == Blame::Peer {
            self.blame_for_block(id, &refused, now);
        }
    }

    /// Handles a block that the chain accepted. The miners rest while a better branch arrives.
    fn on_block_taken(&mut self, hash: BlockHash, accepted: &BlockAccepted, now: Moment) {
        let Some(sender) = self.bodies.accepted(hash, now) else {
            return;
        };
        self.blocks = self.blocks.saturating_add(1);
        self.moved = now;
        if *accepted != BlockAccepted::Known {
            self.prove(sender, now);
        }
        if !self.diverged && self.best_header.hash != self.tip.hash {
            self.out.push(SyncAction::SuspendMining);
        }
    }

    /// Penalises the peers that are to blame for an invalid body.
    ///
    /// If the body is not the one that its header commits to, its sender is to blame. Otherwise the
    /// whole branch is invalid, and the peers that claim to have connected it are to blame. A peer
    /// that has stored the block on a side branch is not.
    fn blame_for_block(&mut self, sender: PeerId, refused: &Refused, now: Moment) {
        let reason = refused.to_string();
        match (refused.cause, self.missing.chain) {
            // A block below it was refused before, and its peers were penalised then.
            (RefusalCause::InvalidBranch, _) => {}
            (RefusalCause::WrongMerkleRoot, _) | (_, None) => {
                self.distrust(sender, Offence::InvalidBlock, reason, now);
            }
            (_, Some(chain)) => {
                let claims_it = |id: PeerId, claim: Claim| {
                    claim.tip == chain.hash || (id == sender && claim.work >= chain.work)
                };
                let guilty: Vec<PeerId> = self
                    .peers
                    .iter()
                    .filter(|(id, peer)| {
                        peer.leads.contains(&chain.hash)
                            || peer.claim.is_some_and(|claim| claims_it(**id, claim))
                    })
                    .map(|(id, _)| *id)
                    .collect();
                for id in guilty {
                    self.distrust(id, Offence::InvalidBlock, reason.clone(), now);
                }
            }
        }
    }

    /// Releases blocks that the chain never replied for, and a read that never returned. Both mean
    /// a fault of this node.
    pub(super) fn end_lost_bodies(&mut self, before: Moment) {
        for hash in self.bodies.unanswered(before) {
            debug!(%hash, "the chain did not reply for a block");
            self.bodies.refused(hash);
        }
        if self.missing.reading.is_some_and(|(_, since, _)| since < before) {
            self.missing.reading = None;
        }
    }
}

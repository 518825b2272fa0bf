//! Fetching of bodies: requests to peers, their responses, and the replies of the chain.

use std::collections::HashSet;

use tracing::debug;

use super::{
    BUSY_MS, MAX_BODY_REQUESTS, MAX_DOUBTFUL_REQUESTS, MAX_OPEN_REQUESTS, MAX_REQUESTS_PER_PEER,
    MAX_STALLS, RELAY_GRACE_MS, STALL_MS, Sync, SyncAction, WINDOW,
    bodies::{Batch, BlockRef},
    items::read_blocks,
    peer::Peer,
    ranks::{BodyRank, Rank},
    requests::{InFlight, Purpose},
};
use crate::{
    chain::api::{BlockAccepted, RefusalCause, Refused},
    consensus::Blame,
    peers::Offence,
    primitives::{BlockHash, Height, Moment, PeerId},
    telemetry::events,
    wire::{
        GetRange, SyncRequest,
        limits::{MAX_RANGE_BLOCKS, MAX_RANGE_BYTES},
    },
};

/// Returns the maximum number of blocks in a request to a peer of this rank.
const fn most_blocks(rank: Rank) -> usize {
    match rank {
        Rank::Proven => MAX_RANGE_BLOCKS,
        Rank::Friend | Rank::Unknown => 1,
    }
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
        loop {
            let blocks = self.bodies.hand_over(now);
            if blocks.is_empty() {
                break;
            }
            self.out.push(SyncAction::AcceptBlocks { blocks });
        }
        // The batch that holds up the window comes before the blocks above it.
        self.retry_held_up_batch(now);
        while self.ask_each_peer_once(now) {}
    }

    fn read_missing(&mut self, now: Moment) {
        let idle = now.saturating_sub(self.missing.last);
        let known = self.missing.complete_for == Some(self.best_header.hash);
        let low = self.bodies.outstanding() < WINDOW / 2 && !known;
        // The window is empty although the tip is not the best header. The chain is asked again,
        // but only at this interval.
        let patience = if self.has_other_branch() { STALL_MS } else { RELAY_GRACE_MS };
        let puzzled = self.bodies.is_empty() && idle >= patience;
        let wanted = low || puzzled || self.missing.stale;
        if wanted && self.missing.reading.is_none() {
            let read = self.missing.reads.saturating_add(1);
            self.missing.reads = read;
            self.missing.reading = Some((read, now, self.best_header));
            self.missing.last = now;
            let handed = self.bodies.begin_list();
            self.out.push(SyncAction::FetchMissing { read, limit: WINDOW.saturating_add(handed) });
        }
    }

    pub(super) fn on_missing(&mut self, read: u64, blocks: &[(BlockHash, Height)]) {
        let Some((_, _, best_header)) =
            self.missing.reading.take_if(|(number, ..)| *number == read)
        else {
            return;
        };
        let complete = blocks.len() < WINDOW;
        self.bodies.merge(blocks, complete);
        self.missing.stale = false;
        self.missing.chain = Some(best_header);
        self.missing.complete_for = complete.then_some(best_header.hash);
    }

    /// Sends one batch to each peer that can take one, in the order of [`BodyRank`], requests in
    /// flight, failures and answer time. Returns false if no request was sent, or if the limit of
    /// requests is reached.
    fn ask_each_peer_once(&mut self, now: Moment) -> bool {
        let slow = self.late_peers(now);
        let mut order: Vec<(BodyRank, usize, u32, u64, PeerId)> = self
            .peers
            .iter()
            .filter(|(id, peer)| now >= peer.data_from && !slow.contains(id))
            .map(|(id, peer)| {
                let pipe = &peer.pipe;
                let rank = self.body_rank(id, peer);
                (rank, pipe.requests(), peer.failures, pipe.answer_ms(), *id)
            })
            .collect();
        order.sort_unstable();
        let mut asked = false;
        for (.., id) in order {
            let (in_flight, expected) = self.body_requests(now);
            let Some(peer) = self.peers.get(&id) else {
                continue;
            };
            let rank = self.rank(&id, peer);
            if in_flight >= MAX_BODY_REQUESTS {
                return false;
            }
            if !peer.pipe.has_room(rank == Rank::Proven) || !self.has_slot(rank, now) {
                continue;
            }
            let bytes = peer.pipe.request_bytes();
            let may_have = |block: &BlockRef| peer.may_have(block);
            let batch = self.bodies.next_batch(expected, most_blocks(rank), bytes, may_have);
            if !batch.blocks.is_empty() {
                self.ask_for_bodies(id, batch, now);
                asked = true;
            }
        }
        asked
    }

    /// Returns true if a proven peer without failures has sent its Status.
    fn has_proven(&self) -> bool {
        self.peers.values().any(|peer| peer.proven && peer.claim.is_some() && peer.failures == 0)
    }

    /// Returns true if a peer of this rank may get one more request for a body. Requests to peers
    /// of a lower rank take no slot of it: a friend waits for no stranger.
    fn has_slot(&self, rank: Rank, now: Moment) -> bool {
        if rank == Rank::Proven {
            return true;
        }
        let rank_of = |id: &PeerId| self.peers.get(id).map(|peer| self.rank(id, peer));
        // Requests to proven peers do not count, so that a silent one takes no slot of a friend.
        let counts = |request: &&InFlight| {
            request.is_for_bodies()
                && rank_of(&request.peer)
                    .is_some_and(|other| other != Rank::Proven && other <= rank)
        };
        let requests = || self.requests.values().filter(counts);
        let share = if self.has_proven() { MAX_DOUBTFUL_REQUESTS } else { MAX_BODY_REQUESTS };
        requests().filter(|request| !request.is_late(now)).count() < share
            && requests().count() < MAX_OPEN_REQUESTS
    }

    /// Asks one more peer for the batch that holds up the window, once all requests for it are
    /// late.
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
        let has_room = self.body_requests(now).0 < MAX_BODY_REQUESTS;
        let other = self
            .peers
            .iter()
            .filter(|(id, peer)| !asked.contains(id) && !slow.contains(id) && now >= peer.data_from)
            .filter(|(_, peer)| peer.may_have(&block))
            .filter(|(id, peer)| {
                let (rank, pipe) = (self.rank(id, peer), &peer.pipe);
                (rank == Rank::Proven && pipe.requests() < MAX_REQUESTS_PER_PEER)
                    || (has_room && self.has_slot(rank, now) && pipe.has_room(false))
            })
            .min_by_key(|(id, peer)| {
                (self.body_rank(id, peer), peer.failures, peer.pipe.answer_ms(), **id)
            });
        if let Some((&other, peer)) = other {
            let most = peer.pipe.request_bytes();
            batch.retain(|wanted| self.bodies.is_asked(wanted));
            let batch = self.bodies.cut(&batch, block, most_blocks(self.rank(&other, peer)), most);
            debug!(
                peer = %other,
                asked = asked.len(),
                height = block.height,
                "another peer is asked for a batch that holds up the window"
            );
            self.held_up = Some(block);
            self.ask_for_bodies(other, batch, now);
        }
    }

    /// Asks one more trusted peer for a block whose header would soon be withheld, friends first.
    /// Sends the request even if others are in flight. For a friend, it also ignores the bound of
    /// these.
    pub(super) fn ask_before_withholding(&mut self, block: BlockRef, now: Moment) {
        if self.missing.stale || now < self.bodies_from {
            return;
        }
        let is_asked = |id: &PeerId| {
            let has_block = |purpose: &Purpose| match purpose {
                Purpose::Bodies(blocks) => blocks.contains(&block),
                _ => false,
            };
            self.requests.values().any(|it| it.peer == *id && has_block(&it.purpose))
        };
        let has_room = self.body_requests(now).0 < MAX_BODY_REQUESTS;
        let next = self
            .peers
            .iter()
            .filter(|(id, peer)| self.is_trusted(id, peer) && peer.may_have(&block))
            .filter(|(id, _)| has_room || self.trust.is_friend(id))
            .filter(|(id, peer)| {
                now >= peer.data_from
                    && peer.pipe.requests() < MAX_REQUESTS_PER_PEER
                    && !is_asked(id)
            })
            .map(|(id, peer)| (!self.trust.is_friend(id), self.body_rank(id, peer), *id))
            .min();
        if let Some((.., id)) = next {
            self.held_up = Some(block);
            let batch = self.bodies.cut(&[], block, 1, 0);
            self.ask_for_bodies(id, batch, now);
        }
    }

    fn ask_for_bodies(&mut self, id: PeerId, batch: Batch, now: Moment) {
        let Batch { blocks, bytes: expected } = batch;
        let Some(first) = blocks.first().copied() else {
            return;
        };
        self.bodies.mark_asked(&blocks);
        if let Some(wait) = &mut self.wait {
            wait.asked |= blocks.contains(&wait.block);
        }
        let mut bytes = expected;
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.pipe.sent(expected);
            bytes = bytes.max(peer.pipe.request_bytes()).min(MAX_RANGE_BYTES);
        }
        let count = blocks.len();
        events::BlocksRequested { peer: id, message: "getdata", count }.emit();
        let request = SyncRequest::GetRange(GetRange {
            first: first.hash,
            count: u32::try_from(count).unwrap_or(u32::MAX),
            bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
        });
        let number = self.request(id, Purpose::Bodies(blocks), request, now);
        if let Some(flight) = self.requests.get_mut(&number) {
            flight.expected = expected;
        }
    }

    /// Returns the number of body requests in flight, and their expected bytes. Late ones do not
    /// count, since a few silent peers would otherwise exhaust the limit.
    fn body_requests(&self, now: Moment) -> (usize, usize) {
        self.requests
            .values()
            .filter(|request| request.is_for_bodies() && !request.is_late(now))
            .fold((0, 0), |(count, bytes): (usize, usize), request| {
                (count.saturating_add(1), bytes.saturating_add(request.expected))
            })
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
        bytes: &[u8],
        took: u64,
        now: Moment,
    ) {
        let received = self.receive_blocks(id, asked, bytes);
        self.bodies.release(asked);
        if let Err((offence, reason)) = received {
            return self.distrust(id, offence, reason, now);
        }
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.unanswered = false;
            (peer.gave_body, peer.denials) = (true, 0);
            peer.answered();
            peer.pipe.answered(bytes.len(), took);
        }
        if self.held_up.take_if(|block| asked.contains(block)).is_some() {
            self.drop_stallers(id, asked, now);
        }
    }

    /// Buffers the blocks of a response, up to the first that is not one of those asked for.
    fn receive_blocks(
        &mut self,
        id: PeerId,
        asked: &[BlockRef],
        bytes: &[u8],
    ) -> Result<(), (Offence, String)> {
        let bodies = read_blocks(bytes, asked.len())?;
        let first = bodies.first().map(|body| body.hash);
        if first != asked.first().map(|block| block.hash) {
            let reason = "another block than the one that was asked".to_owned();
            return Err((Offence::WrongAnswer, reason));
        }
        for (wanted, body) in asked.iter().zip(bodies) {
            let BlockRef { height, hash } = *wanted;
            if body.hash != hash {
                // The peer is on another branch from here on.
                self.denies(id, hash);
                break;
            }
            events::BlockReceived { peer: Some(id), message: "block", hash, height }.emit();
            if !self.bodies.receive(*wanted, id, body.block, body.bytes) {
                debug!(peer = %id, %hash, "a body has already arrived or is no longer wanted");
            }
        }
        Ok(())
    }

    /// Cancels the body requests to peers that held up the window, after another peer has delivered
    /// its blocks. Those peers are no longer proven, and back off. At [`MAX_STALLS`], one that is
    /// no friend is disconnected.
    fn drop_stallers(&mut self, deliverer: PeerId, blocks: &[BlockRef], now: Moment) {
        let stalls = |purpose: &Purpose| match purpose {
            Purpose::Bodies(asked) => asked.iter().any(|block| blocks.contains(block)),
            _ => false,
        };
        let stallers: HashSet<PeerId> = self
            .requests
            .values()
            .filter(|it| it.is_late(now) && it.grown == 0 && it.peer != deliverer)
            .filter(|it| stalls(&it.purpose))
            .map(|it| it.peer)
            .collect();
        for id in stallers {
            debug!(peer = %id, "a peer holds up the window");
            let theirs = |(number, it): (&u64, &InFlight)| {
                (it.peer == id && it.is_for_bodies()).then_some(*number)
            };
            let numbers: Vec<u64> = self.requests.iter().filter_map(theirs).collect();
            for number in numbers {
                if let Some(request) = self.requests.remove(&number) {
                    self.drain(&request);
                    self.release(request.peer, request.purpose);
                }
            }
            let is_friend = self.trust.is_friend(&id);
            let Some(peer) = self.peers.get_mut(&id) else {
                continue;
            };
            peer.proven = false;
            peer.denials = peer.denials.saturating_add(1);
            peer.pipe.failed();
            peer.stalls = peer.stalls.saturating_add(1);
            peer.back_off(now, 0);
            if !is_friend && peer.stalls >= MAX_STALLS {
                self.out.push(SyncAction::Disconnect { peer: id });
            }
        }
    }

    pub(super) fn on_blocks_done(
        &mut self,
        results: Vec<(BlockHash, Result<BlockAccepted, Refused>)>,
        now: Moment,
    ) {
        let before = self.blocks;
        for (hash, result) in results {
            self.on_block_done(hash, result, now);
        }
        let gained = self.blocks > before;
        if gained && !self.diverged && self.best_header.hash != self.tip.hash {
            self.out.push(SyncAction::SuspendMining);
        }
    }

    fn on_block_done(
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
            let end = self.missing.chain.map_or(hash, |chain| chain.hash);
            self.blame_for_block(id, &[hash, end], &refused, now);
        }
    }

    /// Handles a block that the chain accepted.
    fn on_block_taken(&mut self, hash: BlockHash, accepted: &BlockAccepted, now: Moment) {
        let Some(sender) = self.bodies.accepted(hash) else {
            return;
        };
        self.blocks = self.blocks.saturating_add(1);
        self.moved = now;
        if *accepted != BlockAccepted::Known {
            self.prove(sender, now);
        }
    }

    /// Penalises the peers that are to blame for an invalid body.
    ///
    /// If the body is not the one that its header commits to, its sender is to blame. Otherwise the
    /// whole branch is invalid, and the peers that claim to have connected one of `branch` are to
    /// blame: the block, or the end of its branch. A peer that stored the block on a side branch is
    /// not, even if it sent the body, since it did not check coins and signatures.
    pub(super) fn blame_for_block(
        &mut self,
        sender: PeerId,
        branch: &[BlockHash],
        refused: &Refused,
        now: Moment,
    ) {
        let guilty: Vec<PeerId> = match refused.cause {
            // A block below it was refused before, and its peers were penalised then.
            RefusalCause::InvalidBranch => return,
            RefusalCause::WrongMerkleRoot => vec![sender],
            _ => {
                let claims = |peer: &Peer| branch.iter().any(|hash| peer.claims_connected(hash));
                let guilty = self.peers.iter().filter(|(_, peer)| claims(peer));
                guilty.map(|(id, _)| *id).collect()
            }
        };
        for id in guilty {
            self.distrust(id, Offence::InvalidBlock, refused.to_string(), now);
        }
    }

    /// Releases blocks for which the chain never replied, and a read that never returned. Both are
    /// faults of this node.
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

//! Header walks: fetching headers from a peer until they reach the tip that it claims.

use std::cmp::Reverse;

use tracing::debug;

use super::{
    CATCH_UP_BLOCKS, FIRST_HEADERS, MAX_HEADER_BATCHES, MAX_HEADER_REQUESTS, MAX_WALKS, Sync,
    SyncAction,
    peer::{Ask, Batch, Walk, WalkStage},
    ranks::Rank,
    requests::Purpose,
};
use crate::{
    chain::api::{HeadersAccepted, RefusalCause, Refused},
    consensus::Blame,
    peers::Offence,
    primitives::{BlockHash, HEADER_BYTES, Header, Moment, PeerId, encoding},
    telemetry::events,
    wire::{
        GetBlocks, SyncRequest,
        limits::{MAX_INV_HEADERS, MAX_LOCATOR},
    },
};

/// Decodes the headers of an Inv, of which each is the parent of the next.
fn read_inv(bytes: &[u8]) -> Result<Vec<Header>, (Offence, String)> {
    let chunks = bytes.chunks_exact(HEADER_BYTES);
    if !chunks.remainder().is_empty() || chunks.len() > MAX_INV_HEADERS {
        return Err((Offence::Malformed, format!("an Inv of {} bytes", bytes.len())));
    }
    let mut headers: Vec<Header> = Vec::with_capacity(chunks.len());
    for chunk in chunks {
        let header: Header = encoding::from_bytes(chunk)
            .map_err(|error| (Offence::Malformed, format!("a header in an Inv: {error}")))?;
        let follows = headers.last().is_none_or(|parent| {
            header.previous == parent.hash() && parent.height.checked_add(1) == Some(header.height)
        });
        if !follows {
            return Err(loose(&header));
        }
        headers.push(header);
    }
    Ok(headers)
}

fn loose(header: &Header) -> (Offence, String) {
    let height = header.height;
    let reason = format!("an Inv whose header at height {height} follows nothing that was asked");
    (Offence::WrongAnswer, reason)
}

impl Sync {
    /// Returns the number of walks in progress.
    pub(super) fn walks(&self) -> usize {
        self.peers.values().filter(|peer| peer.walk.is_some()).count()
    }

    /// Starts further walks once none of those in progress gains anything: each time as many as
    /// there are, at least one. Trusted peers come first, and then those that claim the most work.
    pub(super) fn drive_walks(&mut self, now: Moment) {
        self.resume_walks(now);
        let walks = self.walks();
        let gains = self.peers.iter().any(|(id, peer)| {
            let gained = peer.walk.as_ref().map(|walk| walk.gained);
            gained.is_some_and(|at| now.saturating_sub(at) < self.patience_with(id))
        });
        if gains {
            return;
        }
        let room = MAX_WALKS.saturating_sub(walks).min(walks.max(1));
        let catching_up = self.best_header.hash != self.tip.hash;
        let mut order: Vec<_> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.walk.is_none() && now >= peer.headers_from)
            .filter(|(_, peer)| !catching_up || self.tip.height >= peer.headers_at)
            .filter_map(|(id, peer)| {
                let claim = self.lead_of(peer)?;
                let rank = self.rank(id, peer);
                // Peers that have failed come last, whatever they claim. The minimum work of the
                // invite needs no check, since the claim with the most work comes first.
                Some(((rank, peer.failures, Reverse(claim.work), claim.tip, *id), claim))
            })
            .collect();
        order.sort_unstable_by_key(|(rank, _)| *rank);
        // A trusted peer gets its walk even if [`MAX_WALKS`] others gain nothing.
        let trusted = order.first().is_some_and(|((rank, ..), _)| *rank != Rank::Unknown);
        for ((.., id), claim) in order.into_iter().take(room.max(usize::from(trusted))) {
            let number = self.next_number();
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.walk = Some(Walk::new(number, claim, now));
                self.out.push(SyncAction::FetchLocator { peer: id });
            }
        }
    }

    /// Continues a walk with requests for the next headers.
    pub(super) fn ask_for_headers(&mut self, id: PeerId, now: Moment) {
        let trusted = self.trusts(&id);
        let Some(walk) = self.peers.get_mut(&id).and_then(|peer| peer.walk.as_mut()) else {
            return;
        };
        let Some((last, height)) = walk.last else {
            return;
        };
        if let Some(presync) = &walk.presync {
            let fork = presync.fork.hash;
            walk.locator = if last == fork { vec![fork] } else { vec![last, fork] };
            return self.send_get_blocks(id, 0, now);
        }
        if walk.locator.first() != Some(&last) {
            walk.locator.insert(0, last);
            walk.locator.truncate(MAX_LOCATOR);
        }
        loop {
            let Some(walk) = self.peers.get(&id).and_then(|peer| peer.walk.as_ref()) else {
                return;
            };
            let pending = walk.asks.iter().map(|ask| ask.limit).fold(0, u32::saturating_add);
            let more = height.saturating_add(pending) < walk.claim.height;
            let room = walk.asks.len() < MAX_HEADER_REQUESTS
                && walk.asks.len().saturating_add(walk.checking.len()) < MAX_HEADER_BATCHES;
            let may_ask_ahead = trusted && more && room;
            if !walk.asks.is_empty() && !may_ask_ahead {
                return;
            }
            self.send_get_blocks(id, pending, now);
        }
    }

    /// Requests the headers after the next `skip`, which requests in flight cover already.
    fn send_get_blocks(&mut self, id: PeerId, skip: u32, now: Moment) {
        let (trusted, number) = (self.trusts(&id), self.next_number());
        let Some(walk) = self.peers.get_mut(&id).and_then(|peer| peer.walk.as_mut()) else {
            return;
        };
        let most = u32::try_from(MAX_INV_HEADERS).unwrap_or(u32::MAX);
        // A peer that has proven nothing gets a small request first.
        let first = walk.last.is_none();
        let limit = if first && !trusted { FIRST_HEADERS } else { most };
        walk.asks.push_back(Ask { number, limit, is_ahead: skip > 0, answer: None });
        walk.enter(WalkStage::Asking, now);
        let locator = match skip {
            0 => walk.locator.clone(),
            _ => walk.locator.iter().take(1).copied().collect(),
        };
        events::HeadersRequested { peer: id, message: "getblocks" }.emit();
        let request = SyncRequest::GetBlocks(GetBlocks { locator, limit, skip });
        self.request(id, Purpose::Headers(number), request, now);
    }

    pub(super) fn on_locator(&mut self, id: PeerId, mut hashes: Vec<BlockHash>, now: Moment) {
        let own_tip = self.diverged.then_some(self.tip.hash);
        let Some(walk) = self.peers.get_mut(&id).and_then(|peer| peer.walk.as_mut()) else {
            return;
        };
        if walk.stage != WalkStage::Locating {
            return;
        }
        if hashes.is_empty() {
            debug!(peer = %id, "no locator could be read");
            return self.fail_walk(id, now);
        }
        // The store's locator follows the best header chain, which may not be our own branch.
        if let Some(own_tip) = own_tip {
            hashes.insert(0, own_tip);
            hashes.truncate(MAX_LOCATOR);
        }
        walk.locator = hashes;
        self.send_get_blocks(id, 0, now);
    }

    /// Takes the answer to a request of a walk. An answer waits for those of earlier requests.
    pub(super) fn on_inv(&mut self, id: PeerId, number: u64, bytes: &[u8], now: Moment) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let Some(walk) = peer.walk.as_mut() else {
            return;
        };
        let Some(ask) = walk.asks.iter_mut().find(|ask| ask.number == number) else {
            return;
        };
        match read_inv(bytes) {
            Ok(headers) => ask.answer = Some(headers),
            Err((offence, reason)) => return self.refuse_walk(id, offence, reason, now),
        }
        peer.answered();
        loop {
            let walk = self.peers.get_mut(&id).and_then(|peer| peer.walk.as_mut());
            let Some(walk) = walk else { return };
            let Some(answered) = walk.asks.pop_front_if(|ask| ask.answer.is_some()) else {
                return;
            };
            self.take_headers(id, answered, now);
        }
    }

    /// Takes the next headers of a walk, in order.
    fn take_headers(&mut self, id: PeerId, ask: Ask, now: Moment) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let Some(walk) = peer.walk.as_mut() else {
            return;
        };
        let headers = ask.answer.unwrap_or_default();
        let (Some(first), Some(last)) = (headers.first(), headers.last()) else {
            // The walk ends only after the chain's reply for earlier headers.
            return match (walk.presync.is_some(), walk.checking.is_empty()) {
                (true, _) => self.end_counted_branch(id, now),
                (false, true) => self.finish_walk(id, now),
                (false, false) => walk.enter(WalkStage::Checking, now),
            };
        };
        let continues = walk.last.is_some_and(|(last, _)| first.previous == last);
        let unstored = walk.presync.is_some();
        if !continues && !unstored && !ask.is_ahead && !walk.locator.contains(&first.previous) {
            let (offence, reason) = loose(first);
            return self.refuse_walk(id, offence, reason, now);
        }
        let leads = walk.locator.first() == Some(&first.previous);
        if !continues && (ask.is_ahead || (unstored && !leads)) {
            debug!(peer = %id, "the branch of a walk has changed meanwhile");
            return self.fail_walk(id, now);
        }
        if walk.last.is_some_and(|(_, height)| last.height <= height) {
            let reason = "an Inv that leads no further than the last".into();
            return self.refuse_walk(id, Offence::WrongAnswer, reason, now);
        }
        let begins = walk.last.is_none().then(|| first.hash());
        walk.parent = first.previous;
        walk.last = Some((last.hash(), last.height));
        if unstored {
            return self.on_unstored_headers(id, headers, now);
        }
        let is_full = headers.len() >= usize::try_from(ask.limit).unwrap_or(usize::MAX);
        let (shown, number) = (walk.shown, walk.number);
        let (count, parent) = (headers.len(), first.previous);
        walk.checking.push_back(Batch { count, is_full, parent });
        walk.enter(WalkStage::Checking, now);
        if let Some(hash) = begins {
            peer.vouches(hash);
        }
        self.out.push(SyncAction::AcceptHeaders { peer: id, walk: number, headers, shown });
        let more = |walk: &Walk| {
            is_full && walk.last.is_some_and(|(_, height)| height < walk.claim.height)
        };
        let walk = self.peers.get(&id).and_then(|peer| peer.walk.as_ref());
        // The first headers of a walk are checked before further ones are asked for.
        if begins.is_none() && walk.is_some_and(more) {
            self.ask_for_headers(id, now);
        }
    }

    /// Ends a walk after an answer that no honest peer gives.
    fn refuse_walk(&mut self, id: PeerId, offence: Offence, reason: String, now: Moment) {
        if let Some(peer) = self.peers.get_mut(&id)
            && let Some(walk) = peer.walk.take()
        {
            peer.walked = Some(walk.claim.tip);
        }
        self.distrust(id, offence, reason, now);
    }

    pub(super) fn on_headers_done(
        &mut self,
        id: PeerId,
        number: u64,
        result: Result<HeadersAccepted, Refused>,
        now: Moment,
    ) {
        if let Ok(accepted) = &result {
            self.on_headers_accepted(id, accepted, now);
        }
        let (best_header, tip) = (self.best_header, self.tip);
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let Some(walk) = peer.walk.as_mut().filter(|walk| walk.number == number) else {
            return;
        };
        let Some(batch) = walk.checking.pop_front() else {
            return;
        };
        let refused = match result {
            Ok(accepted) => return self.after_headers(id, batch, &accepted, now),
            Err(refused) => refused,
        };
        walk.parent = batch.parent;
        let unstored = walk.presync.is_some() || walk.shown.is_some();
        match refused.cause {
            RefusalCause::TooLittleWork if !unstored => self.begin_presync(id, now),
            RefusalCause::TooFarBeyondTip if !unstored && best_header.hash != tip.hash => {
                // The walk goes on once the bodies up to there are connected.
                peer.walk = None;
                peer.headers_at = tip.height.saturating_add(CATCH_UP_BLOCKS);
            }
            RefusalCause::TooLittleWork | RefusalCause::TooFarBeyondTip => peer.give_up(now),
            _ if refused.blame == Blame::Peer => {
                self.refuse_walk(id, Offence::InvalidHeader, refused.to_string(), now);
            }
            _ => {
                let code = refused.code;
                debug!(peer = %id, code, "the chain refused headers, not by the peer's fault");
                self.fail_walk(id, now);
            }
        }
    }

    /// Records the work that accepted headers have gained.
    fn on_headers_accepted(&mut self, id: PeerId, accepted: &HeadersAccepted, now: Moment) {
        // A newer Summary may have arrived before this reply.
        let better = accepted.best_header.work > self.best_header.work;
        if better {
            self.set_best_header(accepted.best_header, now);
        }
        if accepted.new == 0 {
            return;
        }
        self.prove(id, now);
        let walk = self.peers.get_mut(&id).and_then(|peer| peer.walk.as_mut());
        let shown = walk.is_some_and(|walk| {
            walk.gained = now;
            walk.presync.is_some() || walk.shown.is_some()
        });
        if better || shown {
            self.moved = now;
        }
        if self.diverged {
            // The headers may extend our own branch, whose missing bodies are not listed.
            self.missing.complete_for = None;
        }
        self.eager = self.best_header.hash != self.tip.hash;
    }

    /// Continues or ends a walk whose headers were accepted.
    fn after_headers(&mut self, id: PeerId, batch: Batch, accepted: &HeadersAccepted, now: Moment) {
        let (count, best_header_height) = (batch.count, self.best_header.height);
        events::HeadersReceived { peer: id, message: "inv", count, best_header_height }.emit();
        let (best_header, work) = (self.best_header.hash, self.best_header.work);
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let last = peer.walk.as_ref().and_then(|walk| walk.last);
        if last.is_some_and(|(last, _)| last == best_header) {
            peer.leads_to(best_header);
        }
        let Some(walk) = peer.walk.as_mut() else {
            return;
        };
        if walk.presync.is_some() {
            return self.ask_for_headers(id, now);
        }
        let idle = walk.asks.is_empty() && walk.checking.is_empty();
        let arrived = walk.last.is_some_and(|(last, _)| last == walk.claim.tip);
        let over = !batch.is_full && (accepted.new == 0 || work >= walk.claim.work);
        if idle && (arrived || over) {
            self.finish_walk(id, now);
        } else if idle || (batch.is_full && !arrived) {
            self.ask_for_headers(id, now);
        }
    }

    /// Ends a walk that reached the claimed tip, or whose peer has no further headers. Penalises
    /// the peer if its headers have less work than it claimed.
    fn finish_walk(&mut self, id: PeerId, now: Moment) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let Some(walk) = peer.walk.take() else {
            return;
        };
        peer.walked = Some(walk.claim.tip);
        if self.best_header.work >= walk.claim.work {
            return;
        }
        let arrived = walk.last.is_some_and(|(last, _)| last == walk.claim.tip);
        if arrived && (self.diverged || !self.withheld.is_empty()) {
            // The branch has the work, but a body of it is missing. This peer may have it.
            return self.probe_soon(now);
        }
        let reason =
            format!("claims the tip {} but has no headers that lead there", walk.claim.tip);
        self.distrust(id, Offence::EmptyPromise, reason, now);
    }

    /// Ends a walk. The peer may be walked again.
    pub(super) fn end_walk(&mut self, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.walk = None;
        }
    }

    pub(super) fn fail_walk(&mut self, id: PeerId, now: Moment) {
        self.end_walk(id);
        self.back_off(id, now, 0);
    }

    /// Ends walks that wait for a reply of this node that never came, so that sync goes on.
    pub(super) fn end_lost_walks(&mut self, before: Moment, now: Moment) {
        let waits = |stage| !matches!(stage, WalkStage::Asking | WalkStage::Resting);
        let lost = |walk: &Walk| waits(walk.stage) && walk.since < before;
        let peers: Vec<PeerId> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.walk.as_ref().is_some_and(lost))
            .map(|(id, _)| *id)
            .collect();
        for id in peers {
            debug!(peer = %id, "a walk got no reply from this node");
            self.fail_walk(id, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::{Encode, MerkleRoot};

    fn chain(length: u32) -> Vec<Header> {
        let mut previous = BlockHash([9; 32]);
        (1..=length)
            .map(|height| {
                let header = Header {
                    previous,
                    merkle_root: MerkleRoot::ZERO,
                    height,
                    time: 0,
                    bits: 0,
                    nonce: 0,
                };
                previous = header.hash();
                header
            })
            .collect()
    }

    fn bytes(headers: &[Header]) -> Vec<u8> {
        headers.iter().flat_map(Encode::to_bytes).collect()
    }

    #[test]
    fn the_headers_of_an_inv_follow_each_other() {
        let headers = chain(4);
        assert_eq!(read_inv(&bytes(&headers)), Ok(headers.clone()));
        assert_eq!(read_inv(&[]), Ok(Vec::new()));
        let gap = [headers[0], headers[2]];
        assert!(matches!(read_inv(&bytes(&gap)), Err((Offence::WrongAnswer, _))));
        assert!(matches!(read_inv(&bytes(&headers)[1..]), Err((Offence::Malformed, _))));
        let mut other_version = bytes(&headers);
        other_version[0] = 2;
        assert!(matches!(read_inv(&other_version), Err((Offence::Malformed, _))));
    }
}

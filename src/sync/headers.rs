//! Header walks: fetching headers from a peer until they reach the tip that it claims.

use tracing::debug;

use super::{
    MAX_WALKS, PATIENCE_MS, Sync, SyncAction,
    peer::{Walk, WalkStage},
    requests::Purpose,
};
use crate::{
    chain::api::{HeadersAccepted, Refused},
    consensus::Blame,
    peers::Offence,
    primitives::{BlockHash, HEADER_BYTES, Header, Moment, PeerId, encoding},
    telemetry::events,
    wire::{
        GetBlocks, SyncRequest,
        limits::{MAX_INV_HEADERS, MAX_LOCATOR},
    },
};

/// Decodes the headers of an Inv.
///
/// # Errors
/// Fails if a header is malformed, or is not a child of the one before it. The first one has to be
/// a child of a block in the locator.
fn read_inv(bytes: &[u8], locator: &[BlockHash]) -> Result<Vec<Header>, (Offence, String)> {
    let chunks = bytes.chunks_exact(HEADER_BYTES);
    if !chunks.remainder().is_empty() || chunks.len() > MAX_INV_HEADERS {
        return Err((Offence::Malformed, format!("an Inv of {} bytes", bytes.len())));
    }
    let mut headers: Vec<Header> = Vec::with_capacity(chunks.len());
    let mut parent: Option<(BlockHash, Header)> = None;
    for chunk in chunks {
        let header: Header = encoding::from_bytes(chunk)
            .map_err(|error| (Offence::Malformed, format!("a header in an Inv: {error}")))?;
        let follows = match &parent {
            None => locator.contains(&header.previous),
            Some((hash, parent)) => {
                header.previous == *hash && parent.height.checked_add(1) == Some(header.height)
            }
        };
        if !follows {
            let reason = format!(
                "an Inv whose header at height {} follows nothing that was asked",
                header.height
            );
            return Err((Offence::WrongAnswer, reason));
        }
        parent = Some((header.hash(), header));
        headers.push(header);
    }
    Ok(headers)
}

impl Sync {
    /// Returns the number of walks in progress.
    pub(super) fn walks(&self) -> usize {
        self.peers.values().filter(|peer| peer.walk.is_some()).count()
    }

    /// Starts a walk with the peer that claims the most work, if all walks in progress are late.
    pub(super) fn drive_walks(&mut self, now: Moment) {
        let waiting = |walk: &Walk| {
            walk.stage == WalkStage::Asking && now.saturating_sub(walk.since) >= PATIENCE_MS
        };
        let walks = self.walks();
        let all_wait = self.peers.values().filter_map(|peer| peer.walk.as_ref()).all(waiting);
        if walks >= MAX_WALKS || !all_wait {
            return;
        }
        let best = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.walk.is_none() && now >= peer.headers_from)
            .filter_map(|(id, peer)| Some((*id, self.lead_of(peer)?, peer.failures)))
            // Peers that have failed come last, whatever they claim. The minimum work of the invite
            // needs no check, since the claim with the most work comes first.
            .min_by_key(|(id, claim, failures)| {
                (*failures, std::cmp::Reverse(claim.work), claim.tip, *id)
            });
        if let Some((id, claim, _)) = best
            && let Some(peer) = self.peers.get_mut(&id)
        {
            let stage = WalkStage::Locating;
            peer.walk = Some(Walk { claim, stage, since: now, last: None, locator: Vec::new() });
            self.out.push(SyncAction::FetchLocator { peer: id });
        }
    }

    pub(super) fn on_locator(&mut self, id: PeerId, mut hashes: Vec<BlockHash>, now: Moment) {
        let own_tip = self.diverged.then_some(self.tip.hash);
        let Some(walk) = self.peers.get_mut(&id).and_then(|peer| peer.walk.as_mut()) else {
            return;
        };
        if walk.stage != WalkStage::Locating {
            return;
        }
        if hashes.is_empty() && walk.last.is_none() {
            debug!(peer = %id, "no locator could be read");
            return self.fail_walk(id, now);
        }
        // The store's locator follows the best header chain, which may not be the branch of this
        // walk.
        for known in [own_tip, walk.last.map(|(last, _)| last)].into_iter().flatten() {
            if hashes.first() != Some(&known) {
                hashes.insert(0, known);
            }
        }
        hashes.truncate(MAX_LOCATOR);
        walk.locator.clone_from(&hashes);
        walk.stage = WalkStage::Asking;
        walk.since = now;
        events::HeadersRequested { peer: id, message: "getblocks" }.emit();
        let limit = u32::try_from(MAX_INV_HEADERS).unwrap_or(u32::MAX);
        self.request(
            id,
            Purpose::Headers,
            SyncRequest::GetBlocks(GetBlocks { locator: hashes, limit }),
            now,
        );
    }

    pub(super) fn on_inv(&mut self, id: PeerId, bytes: &[u8], took: u64, now: Moment) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let Some(walk) = peer.walk.as_mut() else {
            return;
        };
        let headers = match read_inv(bytes, &walk.locator) {
            Ok(headers) => headers,
            Err((offence, reason)) => {
                peer.walked = Some(walk.claim.tip);
                self.end_walk(id);
                return self.distrust(id, offence, reason, now);
            }
        };
        let Some(last) = headers.last() else {
            peer.answered(took);
            return self.finish_walk(id, now);
        };
        if walk.last.is_some_and(|(_, height)| last.height <= height) {
            self.end_walk(id);
            return self.distrust(
                id,
                Offence::WrongAnswer,
                "an Inv that leads no further than the last".into(),
                now,
            );
        }
        walk.last = Some((last.hash(), last.height));
        walk.stage = WalkStage::Checking(headers.len());
        walk.since = now;
        peer.answered(took);
        self.out.push(SyncAction::AcceptHeaders { peer: id, headers });
    }

    pub(super) fn on_headers_done(
        &mut self,
        id: PeerId,
        result: Result<HeadersAccepted, Refused>,
        now: Moment,
    ) {
        if let Ok(accepted) = &result {
            // A newer Summary may have arrived before this reply.
            if accepted.best_header.work > self.best_header.work {
                self.set_best_header(accepted.best_header, now);
            }
            if accepted.new > 0 {
                self.moved = now;
                if self.diverged {
                    // The headers may extend our own branch, whose missing bodies are not listed.
                    self.missing.complete_for = None;
                }
                self.eager = self.best_header.hash != self.tip.hash;
            }
        }
        let best_header_height = self.best_header.height;
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let Some(walk) = peer.walk.as_mut() else {
            return;
        };
        let WalkStage::Checking(count) = walk.stage else {
            return;
        };
        match result {
            Ok(_) => {
                events::HeadersReceived { peer: id, message: "inv", count, best_header_height }
                    .emit();
                let arrived = walk.last.is_some_and(|(last, _)| last == walk.claim.tip);
                let proved = count < MAX_INV_HEADERS && self.best_header.work >= walk.claim.work;
                if arrived || proved {
                    return self.finish_walk(id, now);
                }
                walk.stage = WalkStage::Locating;
                walk.since = now;
                self.out.push(SyncAction::FetchLocator { peer: id });
            }
            Err(refused) if refused.blame == Blame::Peer => {
                peer.walked = Some(walk.claim.tip);
                self.end_walk(id);
                self.distrust(id, Offence::InvalidHeader, refused.to_string(), now);
            }
            Err(refused) => {
                let code = refused.code;
                debug!(peer = %id, code, "the chain refused headers, not by the peer's fault");
                self.fail_walk(id, now);
            }
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
        if self.best_header.work < walk.claim.work {
            let reason =
                format!("claims the tip {} but has no headers that lead there", walk.claim.tip);
            self.distrust(id, Offence::EmptyPromise, reason, now);
        }
    }

    /// Ends a walk. The peer may be walked again.
    pub(super) fn end_walk(&mut self, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.walk = None;
        }
    }

    fn fail_walk(&mut self, id: PeerId, now: Moment) {
        self.end_walk(id);
        self.back_off(id, now, 0);
    }

    /// Ends walks that wait for a reply of this node that never came, so that sync goes on.
    pub(super) fn end_lost_walks(&mut self, before: Moment, now: Moment) {
        let lost = |walk: &Walk| walk.stage != WalkStage::Asking && walk.since < before;
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
    fn an_inv_must_follow_the_locator_and_itself() {
        let headers = chain(4);
        let locator = [BlockHash([9; 32])];
        assert_eq!(read_inv(&bytes(&headers), &locator), Ok(headers.clone()));
        assert_eq!(read_inv(&[], &locator), Ok(Vec::new()));
        assert!(matches!(
            read_inv(&bytes(&headers[1..]), &locator),
            Err((Offence::WrongAnswer, _))
        ));
        let gap = [headers[0], headers[2]];
        assert!(matches!(read_inv(&bytes(&gap), &locator), Err((Offence::WrongAnswer, _))));
        assert!(matches!(read_inv(&bytes(&headers)[1..], &locator), Err((Offence::Malformed, _))));
        let mut other_version = bytes(&headers);
        other_version[0] = 2;
        assert!(matches!(read_inv(&other_version, &locator), Err((Offence::Malformed, _))));
    }
}

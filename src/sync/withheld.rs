//! Headers whose bodies no peer delivers: they are withheld from the choice of the best header.
//!
//! A header proves work, not that its block exists. If no peer delivers the lowest missing body
//! within [`WITHHOLD_MS`], the chain leaves that header and its descendants aside. The node then
//! follows the best branch whose bodies come. Sync remembers the header, and asks peers that claim
//! a better chain for its body, less and less often. The body puts the header back.
//!
//! # Security
//! A few slow peers could keep an honest header's body from the node until the time is over. In
//! the second half of the time, each trusted peer that may have the body is therefore asked too.

use std::collections::{BTreeSet, HashSet};

use tracing::debug;

use super::{
    MAX_PROBE_DOUBLINGS, MAX_WITHHELD, PROBE_MS, Sync, SyncAction, WITHHOLD_MS,
    bodies::BlockRef,
    items::read_blocks,
    missing::{Wait, Withheld},
    peer::Peer,
    requests::Purpose,
};
use crate::{
    chain::api::{BlockAccepted, Refused},
    consensus::Blame,
    peers::Offence,
    primitives::{BlockHash, Moment, PeerId},
    wire::{GetRange, SyncRequest, limits::MAX_RANGE_BYTES},
};

/// The longest time between two ticks that counts as waiting, in ms. The machine slept for the
/// rest.
const MAX_TICK_MS: u64 = 1_000;

impl Sync {
    /// Counts the wait for the lowest missing body, and withholds its header after [`WITHHOLD_MS`].
    pub(super) fn tick_withheld(&mut self, now: Moment) {
        let Some(block) = self.bodies.lowest_missing() else {
            self.wait = None;
            return self.drive_probes(now);
        };
        let claims = || self.peers.values().filter(|peer| peer.claim.is_some());
        let nobody = !claims().any(|peer| peer.may_have(&block));
        let asked = self.bodies.is_asked(&block) || (nobody && claims().next().is_some());
        let fresh =
            || Wait { block, waited_ms: 0, last: now, asked: false, denied: BTreeSet::new() };
        let wait = self.wait.get_or_insert_with(fresh);
        if wait.block != block {
            *wait = fresh();
        }
        let passed = now.saturating_sub(wait.last).min(MAX_TICK_MS);
        wait.last = now;
        wait.asked |= asked;
        if wait.asked && claims().next().is_some() {
            wait.waited_ms = wait.waited_ms.saturating_add(passed);
        }
        if wait.waited_ms >= WITHHOLD_MS {
            let denied = std::mem::take(&mut wait.denied);
            self.wait = None;
            self.withhold(block, &denied, now);
        } else if wait.waited_ms >= WITHHOLD_MS / 2 {
            self.ask_before_withholding(block, now);
        }
        self.drive_probes(now);
    }

    /// Records that a peer does not have a block.
    pub(super) fn denies(&mut self, id: PeerId, hash: BlockHash) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.lacks_block(hash);
            if let Some(wait) = self.wait.as_mut().filter(|wait| wait.block.hash == hash) {
                wait.denied.insert(id);
            }
        }
    }

    /// Takes a header out of the choice of the best header, and remembers to ask for its body.
    pub(super) fn withhold(&mut self, block: BlockRef, denied: &BTreeSet<PeerId>, now: Moment) {
        debug!(hash = %block.hash, height = block.height, "no peer delivers the body of a header");
        self.out.push(SyncAction::Withhold { hash: block.hash });
        self.charge_for(block, denied, now);
        self.withheld.retain(|known| known.block != block);
        if self.withheld.len() >= MAX_WITHHELD {
            self.withheld.pop_front();
        }
        let next = now.saturating_add(PROBE_MS);
        self.withheld.push_back(Withheld { block, next, tries: 0, sender: None });
        // The window may hold blocks of the branch that is left.
        self.missing.stale = true;
        self.missing.complete_for = None;
        self.missing.reading = None;
    }

    /// Charges the peers that claim to have a block, and disconnects strangers among them.
    ///
    /// An honest peer may have forwarded the header by gossip before it had the body. But its
    /// Status and its own headers name only connected blocks.
    fn charge_for(&mut self, block: BlockRef, denied: &BTreeSet<PeerId>, now: Moment) {
        let silent: HashSet<PeerId> = self
            .requests
            .values()
            .filter(|request| match &request.purpose {
                Purpose::Bodies(blocks) => blocks.contains(&block),
                _ => false,
            })
            // A peer that was asked a moment ago, or is sending, keeps its promise.
            .filter(|request| request.is_late(now) && request.grown == 0)
            .map(|request| request.peer)
            .collect();
        let best_header = self.best_header.hash;
        let claims_it = |peer: &Peer| {
            peer.vouched.contains(&block.hash)
                || peer
                    .claim
                    .is_some_and(|claim| claim.tip == best_header || claim.tip == block.hash)
        };
        let guilty: Vec<PeerId> = self
            .peers
            .iter()
            .filter(|(id, peer)| {
                let without = denied.contains(*id) || peer.lacks.contains(&block.hash);
                let mute = !peer.gave_body && (silent.contains(*id) || peer.unanswered);
                claims_it(peer) && (without || mute)
            })
            .map(|(id, _)| *id)
            .collect();
        for id in guilty {
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.proven = false;
            }
            let reason = format!("announced the block {} and does not deliver it", block.hash);
            self.distrust(id, Offence::EmptyPromise, reason, now);
            if !self.trust.is_friend(&id) {
                self.out.push(SyncAction::Disconnect { peer: id });
            }
        }
    }

    /// Makes the requests for withheld bodies due now, since a peer claims to have them.
    pub(super) fn probe_soon(&mut self, now: Moment) {
        for withheld in &mut self.withheld {
            withheld.next = withheld.next.min(now);
        }
    }

    /// Asks one peer for the body of each withheld header that is due.
    fn drive_probes(&mut self, now: Moment) {
        let due: Vec<BlockRef> = self
            .withheld
            .iter()
            .filter(|withheld| withheld.next <= now && withheld.sender.is_none())
            .map(|withheld| withheld.block)
            .collect();
        for block in due {
            let asking = |id: &PeerId| {
                self.requests.values().any(|request| {
                    request.peer == *id && matches!(request.purpose, Purpose::Probe(_))
                })
            };
            let Some(id) = self
                .peers
                .iter()
                .filter(|(id, peer)| {
                    peer.may_have(&block)
                        && peer.claim.is_some_and(|claim| claim.beats(&self.tip))
                        && now >= peer.data_from
                        && !asking(id)
                })
                .min_by_key(|(id, peer)| (!self.is_trusted(id, peer), peer.failures, **id))
                .map(|(id, _)| *id)
            else {
                continue;
            };
            if let Some(withheld) = self.withheld.iter_mut().find(|known| known.block == block) {
                let pause = PROBE_MS.saturating_mul(1 << withheld.tries.min(MAX_PROBE_DOUBLINGS));
                withheld.tries = withheld.tries.saturating_add(1);
                withheld.next = now.saturating_add(pause);
            }
            let request = SyncRequest::GetRange(GetRange {
                first: block.hash,
                count: 1,
                bytes: u32::try_from(MAX_RANGE_BYTES).unwrap_or(u32::MAX),
            });
            self.request(id, Purpose::Probe(block), request, now);
        }
    }

    /// Takes the response to a request for the body of a withheld header.
    pub(super) fn on_probed(&mut self, id: PeerId, block: BlockRef, bytes: &[u8], now: Moment) {
        let body = match read_blocks(bytes, 1) {
            Ok(mut blocks) => blocks.pop().filter(|body| body.hash == block.hash),
            Err((offence, reason)) => return self.distrust(id, offence, reason, now),
        };
        let Some(body) = body else {
            let reason = format!("another answer than the block {}", block.hash);
            return self.distrust(id, Offence::WrongAnswer, reason, now);
        };
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.answered();
        }
        if let Some(known) = self.withheld.iter_mut().find(|known| known.block == block) {
            known.sender = Some(id);
            self.out.push(SyncAction::AcceptBlocks { blocks: vec![(id, body.block)] });
        }
    }

    /// Records that a peer does not have the body of a withheld header. Another peer may have it.
    pub(super) fn on_probe_denied(&mut self, id: PeerId, block: BlockRef, now: Moment) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.lacks_block(block.hash);
        }
        self.probe_soon(now);
    }

    /// Handles the chain's reply for a requested body of a withheld header. Returns false for any
    /// other body.
    pub(super) fn on_withheld_done(
        &mut self,
        hash: BlockHash,
        result: &Result<BlockAccepted, Refused>,
        now: Moment,
    ) -> bool {
        let Some(at) = self.withheld.iter().position(|known| known.block.hash == hash) else {
            return false;
        };
        let Some(sender) = self.withheld.get(at).and_then(|known| known.sender) else {
            // The relay or the window brought it.
            if result.is_ok() {
                self.withheld.remove(at);
            }
            return false;
        };
        match result {
            Ok(_) => {
                self.withheld.remove(at);
                self.moved = now;
                self.missing.complete_for = None;
                self.eager = true;
                self.prove(sender, now);
            }
            Err(refused) => {
                if refused.blame == Blame::Peer {
                    self.blame_for_block(sender, &[hash], refused, now);
                }
                if let Some(known) = self.withheld.get_mut(at) {
                    known.sender = None;
                }
            }
        }
        true
    }
}

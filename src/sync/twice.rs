//! The steps of a presync: a branch is counted first, then fetched again.
//!
//! The chain refuses headers far below its tip that have shown too little work. Their walk then
//! starts again as a presync, where the branch leaves the known headers.

use tracing::debug;

use super::{
    DOUBT_PAUSE_MS, ELSEWHERE_MS, MAX_DOUBT_MS, MAX_DOUBTFUL_PRESYNCS, REORG_BLOCKS, Sync,
    SyncAction,
    peer::{Batch, Walk, WalkStage},
    presync::{Presync, Redone},
    sites::Site,
};
use crate::{
    chain::api::{HeaderContext, Refused},
    consensus::Blame,
    peers::Offence,
    primitives::{Header, Moment, PeerId},
};

impl Sync {
    /// Returns the networks of peers that are not trusted whose branches are being counted.
    fn doubtful_sites(&self) -> Vec<Site> {
        let is_presync = |walk: &Walk| walk.presync.is_some() || walk.stage == WalkStage::Placing;
        self.peers
            .iter()
            .filter(|(id, peer)| {
                peer.walk.as_ref().is_some_and(is_presync) && !self.is_trusted(id, peer)
            })
            .map(|(_, peer)| peer.site)
            .collect()
    }

    /// Returns true if a branch of this peer may be counted now. Records it for its network.
    fn admits_presync(&mut self, id: PeerId, now: Moment) -> bool {
        if self.trusts(&id) {
            return true;
        }
        let Some(site) = self.peers.get(&id).map(|peer| peer.site) else {
            return false;
        };
        let others = self.doubtful_sites();
        let is_free = others.len() < MAX_DOUBTFUL_PRESYNCS && !others.contains(&site);
        let room = is_free && self.sites.is_due(&site, now);
        if room {
            self.sites.begin(site, now);
        }
        room
    }

    /// Starts the walk again as a presync, or ends it if the peer has to wait for others.
    pub(super) fn begin_presync(&mut self, id: PeerId, now: Moment) {
        let room = self.admits_presync(id, now);
        let number = self.next_number();
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let Some(walk) = peer.walk.as_mut().filter(|_| room) else {
            peer.headers_from = now.saturating_add(ELSEWHERE_MS);
            peer.walk = None;
            return;
        };
        walk.asks.clear();
        walk.checking.clear();
        walk.number = number;
        walk.enter(WalkStage::Placing, now);
        let hash = walk.parent;
        self.out.push(SyncAction::HeaderContext { peer: id, hash });
    }

    pub(super) fn on_header_context(
        &mut self,
        id: PeerId,
        context: Option<Box<HeaderContext>>,
        now: Moment,
    ) {
        let key = self.next_key();
        let Some(walk) = self.peers.get_mut(&id).and_then(|peer| peer.walk.as_mut()) else {
            return;
        };
        if walk.stage != WalkStage::Placing {
            return;
        }
        let Some(context) = context else {
            debug!(peer = %id, "the start of a branch could not be read");
            return self.fail_walk(id, now);
        };
        walk.last = Some((context.tip.hash, context.tip.height));
        walk.counting_since = now;
        walk.presync = Some(Box::new(Presync::new(*context, key)));
        self.ask_for_headers(id, now);
    }

    /// Takes a batch of a presync.
    pub(super) fn on_unstored_headers(&mut self, id: PeerId, headers: Vec<Header>, now: Moment) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let Some(walk) = peer.walk.as_mut() else {
            return;
        };
        let Some(presync) = walk.presync.as_mut() else {
            return;
        };
        if !presync.redoing {
            let context = Box::new(presync.counted.clone());
            walk.batch.clone_from(&headers);
            walk.enter(WalkStage::Counting, now);
            return self.out.push(SyncAction::CheckHeaders { peer: id, context, headers });
        }
        let shown = presync.shown();
        let end = presync.counted.tip.height;
        let (proven, whole) = match presync.redo(headers) {
            Redone::Proven(proven) => (proven, false),
            Redone::Whole(proven) => (proven, true),
            Redone::Other(height) => {
                // A reorg of the peer explains that the end of its branch has changed.
                if height.saturating_add(REORG_BLOCKS) >= end {
                    return self.fail_walk(id, now);
                }
                peer.give_up(now);
                let reason = "headers that are not those it sent before".to_owned();
                return self.penalise(id, Offence::EmptyPromise, reason);
            }
        };
        if whole {
            (walk.presync, walk.shown) = (None, Some(shown));
        }
        if proven.is_empty() {
            return self.ask_for_headers(id, now);
        }
        let (count, parent, number) = (proven.len(), walk.parent, walk.number);
        walk.checking.push_back(Batch { count, is_full: true, parent });
        walk.enter(WalkStage::Checking, now);
        let shown = Some(shown);
        let headers = proven;
        self.out.push(SyncAction::AcceptHeaders { peer: id, walk: number, headers, shown });
    }

    pub(super) fn on_headers_checked(
        &mut self,
        id: PeerId,
        result: Result<Box<HeaderContext>, Refused>,
        now: Moment,
    ) {
        let (trusted, target) = (self.trusts(&id), self.tip.work);
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let Some(walk) = peer.walk.as_mut().filter(|walk| walk.stage == WalkStage::Counting) else {
            return;
        };
        let Some(presync) = walk.presync.as_mut() else {
            return;
        };
        let after = match result {
            Ok(after) => after,
            Err(refused) if refused.blame == Blame::Peer => {
                peer.give_up(now);
                return self.distrust(id, Offence::InvalidHeader, refused.to_string(), now);
            }
            Err(refused) => {
                debug!(peer = %id, code = refused.code, "headers could not be checked");
                peer.give_up(now);
                return;
            }
        };
        let headers = std::mem::take(&mut walk.batch);
        presync.count(&headers, *after);
        let arrived = presync.counted.tip.hash == walk.claim.tip;
        let enough = presync.shown() > target || (arrived && presync.shown() >= walk.claim.work);
        if enough {
            // The branch is fetched again from the fork.
            presync.redoing = true;
            walk.last = Some((presync.fork.hash, presync.fork.height));
            walk.gained = now;
            self.sites.forgive(&peer.site);
            return self.ask_for_headers(id, now);
        }
        let slow = !trusted && now.saturating_sub(walk.counting_since) >= MAX_DOUBT_MS;
        if slow || presync.is_too_long() {
            debug!(peer = %id, slow, "a presync ends: its branch is too long or too slow");
            peer.give_up(now);
            return;
        }
        let end = walk.claim.height.saturating_add(REORG_BLOCKS);
        if arrived || presync.counted.tip.height >= end {
            return self.end_counted_branch(id, now);
        }
        if trusted {
            walk.gained = now;
            self.moved = now;
            self.ask_for_headers(id, now);
        } else {
            walk.enter(WalkStage::Resting, now);
        }
    }

    /// Ends a presync whose branch has no further headers. Charges its peer if the branch has less
    /// work than claimed.
    pub(super) fn end_counted_branch(&mut self, id: PeerId, now: Moment) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let keeps = |walk: &Walk| {
            let shown = walk.presync.as_ref().map(|presync| presync.shown());
            shown.is_none_or(|shown| shown >= walk.claim.work)
        };
        let honest = peer.walk.as_ref().is_none_or(keeps);
        peer.give_up(now);
        if !honest {
            let reason = "a branch that has less work than it claims".to_owned();
            self.distrust(id, Offence::EmptyPromise, reason, now);
        }
    }

    /// Continues presyncs after their pause.
    pub(super) fn resume_walks(&mut self, now: Moment) {
        let doubtful = u64::try_from(self.doubtful_sites().len()).unwrap_or(u64::MAX);
        let pause = DOUBT_PAUSE_MS.saturating_mul(doubtful.max(1));
        let rested = |peer: &super::peer::Peer| {
            peer.walk.as_ref().is_some_and(|walk| {
                walk.stage == WalkStage::Resting && now.saturating_sub(walk.since) >= pause
            })
        };
        let ids: Vec<PeerId> =
            self.peers.iter().filter(|(_, peer)| rested(peer)).map(|(id, _)| *id).collect();
        for id in ids {
            self.ask_for_headers(id, now);
        }
    }
}

//! What sync knows of one peer.

use std::collections::HashSet;

use super::{BACK_OFF_MS, MAX_DOUBLINGS, MAX_VISIT_FAILURES, WINDOW, bodies::BlockRef};
use crate::{
    chain::api::Tip,
    consensus::Work,
    primitives::{BlockHash, Height, UnixMillis},
};

/// How far a peer says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) tip: BlockHash,
    pub(super) height: Height,
    pub(super) work: Work,
}

impl Claim {
    /// Whether the claimed chain would replace the one that ends here: more work, or as much and
    /// the lower hash.
    pub(super) fn beats(&self, tip: &Tip) -> bool {
        self.work > tip.work || (self.work == tip.work && self.tip < tip.hash)
    }
}

/// Fetching headers from one peer.
#[derive(Debug, Clone)]
pub(super) struct Walk {
    /// What the peer claimed when it began.
    pub(super) claim: Claim,
    pub(super) stage: WalkStage,
    /// When the stage began.
    pub(super) since: UnixMillis,
    /// The last header that the peer sent, and its height: where to go on.
    pub(super) last: Option<(BlockHash, Height)>,
    /// What was last asked with: the first header must follow one of these.
    pub(super) locator: Vec<BlockHash>,
}

/// Where a walk stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WalkStage {
    /// Our locator is being read.
    Locating,
    /// The peer is asked.
    Asking,
    /// The chain is checking this many headers.
    Checking(usize),
}

/// Whether the peer's waiting trades were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MempoolVisit {
    /// Not yet, or again by the user's wish.
    Due,
    /// Yes, or there were none.
    Done,
}

/// One connected peer.
#[derive(Debug)]
pub(super) struct Peer {
    /// None until its first Status.
    pub(super) claim: Option<Claim>,
    /// When it came.
    pub(super) claimed_at: UnixMillis,
    /// When ours was last sent to it.
    pub(super) status_sent_at: UnixMillis,
    pub(super) walk: Option<Walk>,
    /// The claimed tip that a finished or refused walk was for: not walked again.
    pub(super) walked: Option<BlockHash>,
    /// Not asked for headers before this time.
    pub(super) headers_from: UnixMillis,
    /// Not asked for bodies or trades before this time.
    pub(super) data_from: UnixMillis,
    /// Failures in a row.
    pub(super) failures: u32,
    /// Body requests in flight.
    pub(super) requests: usize,
    /// Smoothed time of a body request, in ms.
    pub(super) latency_ms: u64,
    /// Wanted blocks that it does not have, or that it gave badly.
    pub(super) lacks: HashSet<BlockHash>,
    pub(super) mempool: MempoolVisit,
}

impl Peer {
    pub(super) fn new(now: UnixMillis) -> Self {
        Self {
            claim: None,
            claimed_at: now,
            status_sent_at: 0,
            walk: None,
            walked: None,
            headers_from: 0,
            data_from: 0,
            failures: 0,
            requests: 0,
            latency_ms: 0,
            lacks: HashSet::new(),
            mempool: MempoolVisit::Due,
        }
    }

    /// The claim, when it beats the best header and no walk has shown or disproved it.
    pub(super) fn lead(&self, best_header: &Tip) -> Option<Claim> {
        self.claim.filter(|claim| claim.beats(best_header) && self.walked != Some(claim.tip))
    }

    /// Whether it answers often enough to be asked for its trades again.
    pub(super) const fn is_worth_a_visit(&self) -> bool {
        self.failures < MAX_VISIT_FAILURES
    }

    /// Whether the peer may have a block, as far as is known.
    pub(super) fn may_have(&self, block: &BlockRef) -> bool {
        self.claim.is_some_and(|claim| claim.height >= block.height)
            && !self.lacks.contains(&block.hash)
    }

    pub(super) fn lacks_block(&mut self, hash: BlockHash) {
        if self.lacks.len() >= WINDOW.saturating_mul(2) {
            self.lacks.clear();
        }
        self.lacks.insert(hash);
    }

    /// One more failure: pause everything, longer each time.
    pub(super) fn back_off(&mut self, now: UnixMillis, at_least_ms: u64) {
        let pause =
            BACK_OFF_MS.saturating_mul(1 << self.failures.min(MAX_DOUBLINGS)).max(at_least_ms);
        self.failures = self.failures.saturating_add(1);
        self.headers_from = now.saturating_add(pause);
        self.data_from = now.saturating_add(pause);
    }

    /// A good answer after this long.
    pub(super) fn answered(&mut self, took_ms: u64) {
        self.failures = 0;
        self.latency_ms = match self.latency_ms {
            0 => took_ms.max(1),
            old => old.saturating_mul(3).saturating_add(took_ms) / 4,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_are_bounded_and_a_good_answer_ends_them() {
        let mut peer = Peer::new(0);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            peer.back_off(1_000, 0);
            pauses.push(peer.headers_from - 1_000);
        }
        assert_eq!(pauses, [5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 160_000, 160_000]);
        assert!(!peer.is_worth_a_visit());
        peer.answered(20);
        assert!(peer.is_worth_a_visit());
    }

    #[test]
    fn between_equals_the_lower_hash_leads() {
        let work = Work::from_be_bytes([1; 32]);
        let claim = Claim { tip: BlockHash([1; 32]), height: 5, work };
        let tip = |byte| Tip { hash: BlockHash([byte; 32]), height: 5, work, time: 0 };
        assert!(claim.beats(&tip(2)));
        assert!(!claim.beats(&tip(1)) && !claim.beats(&tip(0)));
    }
}

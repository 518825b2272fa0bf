//! A peer's state in sync: its claim, its walk, and its back-off.

use std::collections::{HashSet, VecDeque};

use super::{
    BACK_OFF_MS, HOPELESS_MS, MAX_BRANCHES, MAX_DOUBLINGS, MAX_HOPELESS_DOUBLINGS,
    MAX_VISIT_FAILURES, WINDOW, bodies::BlockRef, pipe::Pipe, presync::Presync, sites::Site,
};
use crate::{
    chain::api::Tip,
    consensus::{Work, is_better},
    primitives::{BlockHash, Header, Height, Moment, PeerId},
};

/// The best chain that a peer claims to have, from its Status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) tip: BlockHash,
    pub(super) height: Height,
    pub(super) work: Work,
}

impl Claim {
    /// Returns true if the claimed chain would replace the one that ends at `tip`.
    pub(super) fn beats(&self, tip: &Tip) -> bool {
        is_better((self.work, &self.tip), (tip.work, &tip.hash))
    }
}

/// A request for headers.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    /// The number that matches the answer to this request.
    pub(super) number: u64,
    /// The maximum number of headers in the answer.
    pub(super) limit: u32,
    /// True if the answer has to follow the answer before it, false if it may follow any block of
    /// the locator.
    pub(super) is_ahead: bool,
    /// The answer, while an earlier request has none.
    pub(super) answer: Option<Vec<Header>>,
}

/// Headers that the chain is checking.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch {
    pub(super) count: usize,
    /// True if there are as many as were asked for.
    pub(super) is_full: bool,
    /// The block that they follow.
    pub(super) parent: BlockHash,
}

/// A walk: the fetching of headers from one peer, batch by batch.
#[derive(Debug, Clone)]
pub(super) struct Walk {
    /// A number that no other walk has.
    pub(super) number: u64,
    /// The peer's claim at the start of the walk.
    pub(super) claim: Claim,
    pub(super) stage: WalkStage,
    /// The start of the stage.
    pub(super) since: Moment,
    /// The last header that the peer sent, and its height. The next request continues there.
    pub(super) last: Option<(BlockHash, Height)>,
    /// The locator of the last request. The first header must follow one of these blocks.
    pub(super) locator: Vec<BlockHash>,
    /// The requests in flight, and answers that wait for those of earlier requests.
    pub(super) asks: VecDeque<Ask>,
    /// The batches at the chain.
    pub(super) checking: VecDeque<Batch>,
    /// The parent of the last refused batch, where a presync starts.
    pub(super) parent: BlockHash,
    /// The start of the walk, or the last batch that gained something. Other walks may start once
    /// this is too long ago.
    pub(super) gained: Moment,
    /// The start of a presync.
    pub(super) counting_since: Moment,
    /// The state of the presync, if the walk is one.
    pub(super) presync: Option<Box<Presync>>,
    /// The batch of a presync that the node is checking.
    pub(super) batch: Vec<Header>,
    /// The work that the branch has shown, once the presync's second pass is complete.
    pub(super) shown: Option<Work>,
}

impl Walk {
    pub(super) const fn new(number: u64, claim: Claim, now: Moment) -> Self {
        Self {
            number,
            claim,
            stage: WalkStage::Locating,
            since: now,
            last: None,
            locator: Vec::new(),
            asks: VecDeque::new(),
            checking: VecDeque::new(),
            parent: BlockHash::ZERO,
            gained: now,
            counting_since: now,
            presync: None,
            batch: Vec::new(),
            shown: None,
        }
    }

    /// Starts a stage.
    pub(super) const fn enter(&mut self, stage: WalkStage, now: Moment) {
        self.stage = stage;
        self.since = now;
    }
}

/// The stage of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WalkStage {
    /// The node is reading our locator.
    Locating,
    /// Requests to the peer are in flight. The chain may be checking earlier headers.
    Asking,
    /// The chain is checking headers, and no request is in flight.
    Checking,
    /// The node is reading the context of the block where the branch leaves the known headers.
    Placing,
    /// The node is checking headers of the first pass without storing them.
    Counting,
    /// A walk of a peer that is not trusted pauses before its next request.
    Resting,
}

/// The state of the visit to a peer's mempool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MempoolVisit {
    /// No visit has taken place, or the user asked for another one.
    Due,
    /// The visit has started, or the peer's mempool was empty.
    Done,
}

/// One connected peer.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) site: Site,
    /// The claim of the last Status; `None` before the first one.
    pub(super) claim: Option<Claim>,
    /// The arrival of the last Status.
    pub(super) claimed_at: Moment,
    /// The last time that our Status was sent to the peer.
    pub(super) status_sent_at: Moment,
    pub(super) walk: Option<Walk>,
    /// The claimed tip of the last finished or refused walk. Sync does not walk to it again.
    pub(super) walked: Option<BlockHash>,
    /// The best headers that its walks have led to, the newest last.
    pub(super) leads: VecDeque<BlockHash>,
    /// The first headers of its walks, whose bodies it claims to have.
    pub(super) vouched: VecDeque<BlockHash>,
    /// True if it delivered valid headers or blocks that this node lacked. Trades do not count.
    pub(super) proven: bool,
    /// The last [`SyncAction::Proven`](super::SyncAction::Proven) for it.
    pub(super) proven_at: Option<Moment>,
    /// True if it delivered a body.
    pub(super) gave_body: bool,
    /// The number of consecutive requests for bodies that brought none.
    pub(super) denials: u32,
    /// True if the last request for bodies got no response in time.
    pub(super) unanswered: bool,
    /// The claimed tip of a branch that cannot win, or that is too long to store.
    pub(super) hopeless: Option<BlockHash>,
    /// The number of such branches so far.
    pub(super) hopeless_walks: u32,
    /// The height that our tip must reach before headers are requested again.
    pub(super) headers_at: Height,
    /// The time before which no headers are requested.
    pub(super) headers_from: Moment,
    /// The time before which no bodies or trades are requested.
    pub(super) data_from: Moment,
    /// The number of consecutive failures.
    pub(super) failures: u32,
    /// The body requests in flight, and how large they may be.
    pub(super) pipe: Pipe,
    /// The number of times that it held up the window.
    pub(super) stalls: u32,
    /// Wanted blocks that the peer does not have, or of which it sent an invalid body.
    pub(super) lacks: HashSet<BlockHash>,
    pub(super) mempool: MempoolVisit,
}

impl Peer {
    pub(super) fn new(id: PeerId, now: Moment) -> Self {
        Self {
            site: Site::Alone(id),
            claim: None,
            claimed_at: now,
            status_sent_at: 0,
            walk: None,
            walked: None,
            leads: VecDeque::new(),
            vouched: VecDeque::new(),
            proven: false,
            proven_at: None,
            gave_body: false,
            denials: 0,
            unanswered: false,
            hopeless: None,
            hopeless_walks: 0,
            headers_at: 0,
            headers_from: 0,
            data_from: 0,
            failures: 0,
            pipe: Pipe::new(),
            stalls: 0,
            lacks: HashSet::new(),
            mempool: MempoolVisit::Due,
        }
    }

    /// Returns the claim if it beats the best header and no walk has proved or disproved it.
    pub(super) fn lead(&self, best_header: &Tip) -> Option<Claim> {
        self.claim.filter(|claim| claim.beats(best_header) && self.walked != Some(claim.tip))
    }

    /// Returns true if its last response to a request for bodies had some.
    pub(super) const fn delivers(&self) -> bool {
        self.gave_body && self.denials == 0
    }

    /// Returns true if a failed mempool visit should be retried.
    pub(super) const fn is_worth_a_visit(&self) -> bool {
        self.failures < MAX_VISIT_FAILURES
    }

    /// Returns true unless the peer is known not to have the block.
    pub(super) fn may_have(&self, block: &BlockRef) -> bool {
        self.claim.is_some_and(|claim| claim.height >= block.height)
            && !self.lacks.contains(&block.hash)
    }

    /// Returns true if the peer's Status or one of its walks names this block as one that the peer
    /// has connected.
    pub(super) fn claims_connected(&self, hash: &BlockHash) -> bool {
        self.claim.is_some_and(|claim| claim.tip == *hash)
            || self.leads.contains(hash)
            || self.vouched.contains(hash)
    }

    pub(super) fn lacks_block(&mut self, hash: BlockHash) {
        if self.lacks.len() >= WINDOW.saturating_mul(2) {
            self.lacks.clear();
        }
        self.lacks.insert(hash);
    }

    /// Remembers that a walk led to the best header.
    pub(super) fn leads_to(&mut self, hash: BlockHash) {
        if self.leads.len() >= MAX_BRANCHES {
            self.leads.pop_front();
        }
        self.leads.push_back(hash);
    }

    /// Remembers the first header of a walk.
    pub(super) fn vouches(&mut self, hash: BlockHash) {
        if self.vouched.contains(&hash) {
            return;
        }
        if self.vouched.len() >= MAX_BRANCHES {
            self.vouched.pop_front();
        }
        self.vouched.push_back(hash);
    }

    /// Ends the walk of a branch that cannot win, and pauses walks, longer with each such branch.
    pub(super) fn give_up(&mut self, now: Moment) {
        let Some(walk) = self.walk.take() else {
            return;
        };
        let pause =
            HOPELESS_MS.saturating_mul(1 << self.hopeless_walks.min(MAX_HOPELESS_DOUBLINGS));
        self.hopeless_walks = self.hopeless_walks.saturating_add(1);
        self.hopeless = Some(walk.claim.tip);
        self.walked = Some(walk.claim.tip);
        self.headers_from = self.headers_from.max(now.saturating_add(pause));
    }

    /// Counts a failure and pauses all requests, longer with each consecutive failure.
    pub(super) fn back_off(&mut self, now: Moment, at_least_ms: u64) {
        let pause =
            BACK_OFF_MS.saturating_mul(1 << self.failures.min(MAX_DOUBLINGS)).max(at_least_ms);
        self.failures = self.failures.saturating_add(1);
        self.headers_from = now.saturating_add(pause);
        self.data_from = now.saturating_add(pause);
    }

    /// Records a good response, which ends the run of failures.
    pub(super) const fn answered(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::PublicKey;

    #[test]
    fn pauses_double_and_are_bounded_and_a_good_answer_ends_them() {
        let mut peer = Peer::new(PeerId(PublicKey([1; 32])), 0);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            peer.back_off(1_000, 0);
            pauses.push(peer.headers_from - 1_000);
        }
        assert_eq!(pauses, [5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 160_000, 160_000]);
        assert!(!peer.is_worth_a_visit());
        peer.answered();
        assert!(peer.is_worth_a_visit());
    }

    #[test]
    fn between_equals_the_draw_decides_as_in_the_chain() {
        let work = Work::from_be_bytes([1; 32]);
        let claim = |byte| Claim { tip: BlockHash([byte; 32]), height: 5, work };
        let tip = |byte| Tip { hash: BlockHash([byte; 32]), height: 5, work, time: 0 };
        assert!(!claim(1).beats(&tip(1)));
        assert_ne!(claim(1).beats(&tip(2)), claim(2).beats(&tip(1)));
    }

    #[test]
    fn each_branch_that_cannot_win_costs_its_peer_a_longer_pause() {
        let mut peer = Peer::new(PeerId(PublicKey([1; 32])), 0);
        let claim = Claim { tip: BlockHash([1; 32]), height: 5, work: Work::ZERO };
        let mut pauses = Vec::new();
        for round in 0..9 {
            let now = round * 100_000_000;
            peer.walk = Some(Walk::new(0, claim, now));
            peer.give_up(now);
            pauses.push((peer.headers_from - now) / HOPELESS_MS);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
    }
}

//! The invariants of the machine, which the simulation asserts after every event.

use std::collections::BTreeMap;

use super::{
    MAX_BODY_REQUESTS, MAX_REQUESTS_PER_PEER, bodies::BlockRef, machine::Sync, requests::Purpose,
};
use crate::primitives::{Moment, PeerId};

impl Sync {
    /// Panics unless requests, peers and wanted bodies agree.
    pub(crate) fn assert_sound(&self, now: Moment) {
        let mut asked: BTreeMap<BlockRef, usize> = BTreeMap::new();
        let mut of_peer: BTreeMap<PeerId, usize> = BTreeMap::new();
        for request in self.requests.values() {
            assert!(self.peers.contains_key(&request.peer), "a request outlives its peer");
            if let Purpose::Bodies(blocks) = &request.purpose {
                *of_peer.entry(request.peer).or_default() += 1;
                for block in blocks {
                    *asked.entry(*block).or_default() += 1;
                }
            }
        }
        for (id, peer) in &self.peers {
            let count = of_peer.get(id).copied().unwrap_or_default();
            assert_eq!(peer.pipe.requests(), count);
            assert!(count <= MAX_REQUESTS_PER_PEER);
        }
        let fresh = self.requests.values().filter(|request| !request.is_late(now));
        let bodies = fresh.filter(|request| matches!(request.purpose, Purpose::Bodies(_)));
        // A friend may be asked beyond the limit before a header is withheld.
        let bodies = bodies.filter(|request| !self.trust.is_friend(&request.peer));
        assert!(bodies.count() <= MAX_BODY_REQUESTS);
        for (block, requests) in self.bodies.asked() {
            assert_eq!(
                asked.get(&block).copied().unwrap_or_default(),
                requests,
                "the number of requests for a block is wrong"
            );
        }
    }

    /// Panics if a request, a body or a walk is left over.
    pub(crate) fn assert_at_rest(&self) {
        assert!(
            self.requests.is_empty() && self.bodies.is_empty() && self.walks() == 0,
            "{self:?}"
        );
    }

    /// Returns the number of peers that the machine knows.
    pub(crate) fn known_peers(&self) -> usize {
        self.peers.len()
    }

    /// Returns the age of the oldest request, in ms.
    pub(crate) fn oldest_request(&self, now: Moment) -> Option<u64> {
        self.requests.values().map(|request| now.saturating_sub(request.since)).max()
    }
}

//! The ranks of peers: which are trusted, which are asked first, and which make room for another.

use super::{
    DOUBT_PATIENCE_MS, LEAST_PATIENCE_MS, PATIENCE_MS, PROVEN_MS, Sync, SyncAction, peer::Peer,
};
use crate::{
    peers::MAX_CONNECTED,
    primitives::{Moment, PeerId},
};

/// The order in which peers are asked for headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// A peer that has delivered headers or blocks that this node lacked.
    Proven,
    Friend,
    Unknown,
}

/// The order in which peers are asked for bodies.
///
/// # Security
/// The first peer that serves a new header becomes proven, even if another peer mined it. Such
/// peers come behind friends, since a few of them could otherwise keep a body from this node until
/// its header is withheld.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum BodyRank {
    /// A proven peer whose last response to a request for bodies had some.
    Delivers,
    Friend,
    Proven,
    Unknown,
}

impl Sync {
    /// Returns the rank of a peer.
    pub(super) fn rank(&self, id: &PeerId, peer: &Peer) -> Rank {
        if peer.proven {
            Rank::Proven
        } else if self.trust.is_friend(id) {
            Rank::Friend
        } else {
            Rank::Unknown
        }
    }

    /// Returns the place of a peer in the order of requests for bodies.
    pub(super) fn body_rank(&self, id: &PeerId, peer: &Peer) -> BodyRank {
        if peer.proven && peer.delivers() {
            BodyRank::Delivers
        } else if self.trust.is_friend(id) {
            BodyRank::Friend
        } else if peer.proven {
            BodyRank::Proven
        } else {
            BodyRank::Unknown
        }
    }

    /// Returns true if the peer is a friend or has proven itself.
    pub(super) fn is_trusted(&self, id: &PeerId, peer: &Peer) -> bool {
        self.rank(id, peer) != Rank::Unknown
    }

    /// Returns true if the peer with this id is connected and trusted.
    pub(super) fn trusts(&self, id: &PeerId) -> bool {
        self.peers.get(id).is_some_and(|peer| self.is_trusted(id, peer))
    }

    /// Returns true if a trusted peer without failures has sent its Status.
    pub(super) fn has_trusted(&self) -> bool {
        self.peers.iter().any(|(id, peer)| {
            peer.claim.is_some() && peer.failures == 0 && self.is_trusted(id, peer)
        })
    }

    /// Returns the number of trusted peers that claim no better chain than ours.
    pub(super) fn confirmed(&self) -> usize {
        let agrees = |peer: &Peer| peer.claim.is_some_and(|claim| !claim.beats(&self.tip));
        self.peers.iter().filter(|(id, peer)| agrees(peer) && self.is_trusted(id, peer)).count()
    }

    /// Returns the age at which a request to the peer is late, in ms.
    pub(super) fn patience_with(&self, id: &PeerId) -> u64 {
        let most = if self.trusts(id) { PATIENCE_MS } else { DOUBT_PATIENCE_MS };
        self.peers.get(id).map_or(most, |peer| peer.pipe.patience_ms(LEAST_PATIENCE_MS, most))
    }

    /// Records that a peer delivered data that this node lacked.
    pub(super) fn prove(&mut self, id: PeerId, now: Moment) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        peer.proven = true;
        if peer.proven_at.is_none_or(|at| now.saturating_sub(at) >= PROVEN_MS) {
            peer.proven_at = Some(now);
            self.out.push(SyncAction::Proven { peer: id });
        }
    }

    /// Makes room for one more peer. Returns false if there is none.
    ///
    /// Sync forgets the peer with the oldest Status that is not trusted and has no walk or request.
    /// For a friend, it also forgets one with a walk or request.
    pub(super) fn make_room(&mut self, newcomer: &PeerId, now: Moment) -> bool {
        if self.peers.len() < MAX_CONNECTED || self.peers.contains_key(newcomer) {
            return true;
        }
        let busy = |id: &PeerId, peer: &Peer| {
            peer.walk.is_some() || self.requests.values().any(|request| request.peer == *id)
        };
        let idle = self
            .peers
            .iter()
            .filter(|(id, peer)| !self.is_trusted(id, peer))
            .map(|(id, peer)| (busy(id, peer), peer.claimed_at, *id))
            .min();
        match idle {
            Some((busy, _, id)) if !busy || self.trust.is_friend(newcomer) => {
                self.on_peer_gone(id, now);
                true
            }
            _ => false,
        }
    }
}

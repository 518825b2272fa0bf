//! Levels of trust in peers, and the source of that trust.
//!
//! A key costs nothing, so the claims of an unknown key count for little. [`Trust`] knows which
//! peers the user accepted, and for which others a friend vouched. All modules share one [`Trust`]
//! and query a peer's [`Level`]; limits and budgets depend on that level alone.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::{Arc, PoisonError, RwLock},
};

use crate::primitives::PeerId;

/// The most peers for which one friend can vouch. Further ones stay strangers.
pub(crate) const MAX_VOUCHED: usize = 64;
/// The most peers that count as friends by their address, on the network `lan`.
const MAX_NEAR: usize = 1_024;

/// The trust in a peer, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Level {
    /// A key that no friend vouched for.
    Stranger,
    /// A peer whose profile a friend passed on over its own connection.
    Introduced,
    /// A peer that the user accepted. On the network `lan`, also a peer at a private address.
    Friend,
}

#[derive(Debug, Default)]
struct State {
    /// Peers that the user accepted.
    accepted: HashSet<PeerId>,
    /// Peers at private addresses, if those count as friends.
    near: HashSet<PeerId>,
    /// The peers for which each friend vouched, at most [`MAX_VOUCHED`] of each friend.
    vouched: BTreeMap<PeerId, BTreeSet<PeerId>>,
    /// True if a private address makes a peer a friend.
    near_counts: bool,
}

impl State {
    fn is_friend(&self, peer: &PeerId) -> bool {
        self.accepted.contains(peer) || self.near.contains(peer)
    }
}

/// The levels of all peers. It is cloneable, and all clones share one state.
///
/// The router and the swarm task change it; each change is a short write without I/O.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trust(Arc<RwLock<State>>);

impl Trust {
    /// Starts with the peers that the user accepted in earlier runs. With `near_counts`, a private
    /// address makes a peer a friend: on the network `lan`, unless the user switched it off.
    pub(crate) fn new(accepted: impl IntoIterator<Item = PeerId>, near_counts: bool) -> Self {
        let accepted = accepted.into_iter().collect();
        Self(Arc::new(RwLock::new(State { accepted, near_counts, ..State::default() })))
    }

    /// Returns the level of a peer.
    #[must_use]
    pub(crate) fn level(&self, peer: &PeerId) -> Level {
        let state = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if state.is_friend(peer) {
            Level::Friend
        } else if state.vouched.iter().any(|(by, all)| state.is_friend(by) && all.contains(peer)) {
            Level::Introduced
        } else {
            Level::Stranger
        }
    }

    /// Returns true if the peer is a friend.
    #[must_use]
    pub(crate) fn is_friend(&self, peer: &PeerId) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).is_friend(peer)
    }

    /// Returns true if there is any friend, connected or not.
    #[must_use]
    pub(crate) fn has_friends(&self) -> bool {
        let state = self.0.read().unwrap_or_else(PoisonError::into_inner);
        !state.accepted.is_empty() || !state.near.is_empty()
    }

    /// Returns true if the user accepted the peer, at any address.
    #[must_use]
    pub(crate) fn is_accepted(&self, peer: &PeerId) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).accepted.contains(peer)
    }

    /// Makes a peer a friend, at the user's wish. Returns true if the user had not accepted it
    /// before.
    pub(crate) fn accept(&self, peer: PeerId) -> bool {
        self.0.write().unwrap_or_else(PoisonError::into_inner).accepted.insert(peer)
    }

    /// Withdraws the trust in a peer, and its vouching for others. Returns true if it was a friend.
    pub(crate) fn withdraw(&self, peer: &PeerId) -> bool {
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        state.vouched.remove(peer);
        let near = state.near.remove(peer);
        state.accepted.remove(peer) || near
    }

    /// Withdraws all vouching for a peer that is gone for good, so that its vouchers may introduce
    /// others in its place.
    pub(crate) fn forget(&self, peer: &PeerId) {
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        state.vouched.retain(|_, all| {
            all.remove(peer);
            !all.is_empty()
        });
    }

    /// Records that a peer proved its key on a connection whose far end is at a private or loopback
    /// address. Returns true if this made it a friend.
    pub(crate) fn met_nearby(&self, peer: PeerId) -> bool {
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let room = state.near.len() < MAX_NEAR;
        state.near_counts && room && !state.accepted.contains(&peer) && state.near.insert(peer)
    }

    /// Records that a peer vouched for another. Returns true if the other is now introduced or a
    /// friend: the voucher is a friend, and has vouched for fewer than [`MAX_VOUCHED`].
    pub(crate) fn vouch(&self, by: &PeerId, peer: PeerId) -> bool {
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if state.is_friend(&peer) {
            return true;
        }
        if !state.is_friend(by) {
            return false;
        }
        let all = state.vouched.entry(*by).or_default();
        all.contains(&peer) || (all.len() < MAX_VOUCHED && all.insert(peer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::PublicKey;

    fn peer(number: u8) -> PeerId {
        PeerId(PublicKey([number; 32]))
    }

    #[test]
    fn only_the_user_makes_friends() {
        let trust = Trust::new([peer(1)], false);
        assert_eq!(trust.level(&peer(1)), Level::Friend);
        assert!(!trust.met_nearby(peer(2)));
        assert_eq!(trust.level(&peer(2)), Level::Stranger);
        assert!(trust.accept(peer(2)) && !trust.accept(peer(2)));
        assert_eq!(trust.level(&peer(2)), Level::Friend);
        assert!(trust.withdraw(&peer(2)) && !trust.withdraw(&peer(2)));
        assert_eq!(trust.level(&peer(2)), Level::Stranger);
    }

    #[test]
    fn a_private_address_makes_a_friend_where_it_counts() {
        let trust = Trust::new([], true);
        assert!(trust.met_nearby(peer(1)) && !trust.met_nearby(peer(1)));
        assert_eq!(trust.level(&peer(1)), Level::Friend);
    }

    #[test]
    fn a_friend_introduces_a_bounded_number_and_a_stranger_none() {
        let trust = Trust::new([peer(0)], false);
        assert!(!trust.vouch(&peer(99), peer(1)), "a stranger cannot vouch");
        for number in 100..100 + u8::try_from(MAX_VOUCHED).unwrap() {
            assert!(trust.vouch(&peer(0), peer(number)));
        }
        assert_eq!(trust.level(&peer(100)), Level::Introduced);
        assert!(!trust.vouch(&peer(0), peer(1)), "the friend's share is used up");
        assert!(trust.vouch(&peer(0), peer(100)), "a known introduction stays");
        assert!(!trust.vouch(&peer(100), peer(2)), "an introduced peer cannot vouch");
        trust.forget(&peer(101));
        assert_eq!(trust.level(&peer(101)), Level::Stranger);
        assert!(trust.vouch(&peer(0), peer(1)), "one that is gone makes room");
        trust.withdraw(&peer(0));
        assert_eq!(trust.level(&peer(100)), Level::Stranger, "the voucher is no friend any more");
    }
}

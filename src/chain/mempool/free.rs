//! How many trades without a fee, notes among them, a peer may bring, and have waiting.
//!
//! The relay bounds messages, whatever they pay. This bounds what costs its maker nothing, whichever way it came, and
//! counts bytes, since they are what is scarce in a block. Without a bound on what waits, one peer that brings more than
//! blocks take would in the end fill the mempool, and keep everybody's notes out of it.

use std::collections::HashMap;

use super::{FREE_RATE, FREE_WAITING_BYTES};
use crate::primitives::{Bucket, PeerId, UnixMillis};

/// Peers whose free trades are counted: more than there are connections.
const MAX_COUNTED_PEERS: usize = 512;

#[derive(Debug)]
struct Allowance {
    rate: Bucket,
    /// Bytes of it that wait.
    waiting: usize,
}

/// What each peer may still bring for nothing.
#[derive(Debug, Default)]
pub(super) struct FreeAllowances {
    peers: HashMap<PeerId, Allowance>,
}

impl FreeAllowances {
    /// Whether a peer may bring so many bytes more; they are counted then.
    ///
    /// A peer that brought nothing for a while is forgotten when too many are counted, which gives it no more than a peer
    /// that comes anew has. One more has to wait until another has rested.
    pub(super) fn take(&mut self, peer: PeerId, bytes: usize, now: UnixMillis) -> bool {
        if self.peers.len() >= MAX_COUNTED_PEERS && !self.peers.contains_key(&peer) {
            self.peers.retain(|_, allowance| !allowance.rate.is_full(now));
            if self.peers.len() >= MAX_COUNTED_PEERS {
                return false;
            }
        }
        let new = || Allowance { rate: Bucket::new(FREE_RATE, now), waiting: 0 };
        let allowance = self.peers.entry(peer).or_insert_with(new);
        allowance.waiting.saturating_add(bytes) <= FREE_WAITING_BYTES
            && allowance.rate.take(u64::try_from(bytes).unwrap_or(u64::MAX), now)
    }

    /// So many bytes of a peer's wait.
    pub(super) fn came(&mut self, peer: PeerId, bytes: usize) {
        if let Some(allowance) = self.peers.get_mut(&peer) {
            allowance.waiting = allowance.waiting.saturating_add(bytes);
        }
    }

    /// So many bytes of a peer's wait no longer.
    pub(super) fn left(&mut self, peer: PeerId, bytes: usize) {
        if let Some(allowance) = self.peers.get_mut(&peer) {
            allowance.waiting = allowance.waiting.saturating_sub(bytes);
        }
    }

    /// Bytes of a peer's that wait.
    #[cfg(any(test, fuzzing))]
    pub(super) fn waiting(&self, peer: PeerId) -> usize {
        self.peers.get(&peer).map_or(0, |allowance| allowance.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::PublicKey;

    fn peer(number: usize) -> PeerId {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_le_bytes());
        PeerId(PublicKey(key))
    }

    #[test]
    fn each_peer_has_its_own_allowance_and_the_counters_are_bounded() {
        let mut free = FreeAllowances::default();
        let burst = usize::try_from(FREE_RATE.burst).expect("small");
        assert!(free.take(peer(0), burst, 0) && !free.take(peer(0), 1, 0));
        for number in 1..MAX_COUNTED_PEERS {
            assert!(free.take(peer(number), burst, 0));
        }
        assert!(!free.take(peer(MAX_COUNTED_PEERS), 1, 0), "too many are counted");
        let rested = 1_000 * FREE_RATE.burst.div_ceil(FREE_RATE.per_second);
        assert!(free.take(peer(MAX_COUNTED_PEERS), 1, rested));
        assert_eq!(free.peers.len(), 1, "those that have rested are forgotten");
    }
    #[test]
    fn what_waits_of_a_peers_is_limited_however_slowly_it_comes() {
        let mut free = FreeAllowances::default();
        let (half, mut now) = (FREE_WAITING_BYTES / 2, 0);
        for _ in 0..2 {
            assert!(free.take(peer(0), half, now));
            free.came(peer(0), half);
            now += 24 * 3_600_000;
        }
        assert!(!free.take(peer(0), 1, now) && free.take(peer(1), half, now));
        free.left(peer(0), half);
        assert!(free.take(peer(0), half, now) && free.waiting(peer(0)) == half);
    }
}

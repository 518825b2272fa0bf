//! How many trades without a fee, notes among them, a peer may bring, and have waiting.
//!
//! The relay bounds messages, whatever they pay. This bounds what costs its maker nothing,
//! whichever way it came, and counts bytes, since they are what is scarce in a block. Whoever
//! brings more than blocks take would in the end fill the mempool all the same, and keep
//! everybody's notes out: so that no one peer can, once half of it is full a peer is refused of
//! whose free trades a sixteenth of it waits. While there is room, a friend may pass on what all
//! the others wrote.

use std::collections::HashMap;

use crate::primitives::{Bucket, PeerId, Rate, UnixMillis};

/// Bytes of free trades from one peer: sixteen blocks' share at once, and a block's share in five
/// seconds.
const FREE_RATE: Rate = Rate { burst: 16 * 65_536, per_second: 65_536 / 5 };

/// The part of a half full mempool's memory that the free trades of one peer may take.
pub(super) const FREE_SHARE: usize = 16;

/// Peers whose free trades are counted: more than there are connections.
const MAX_COUNTED_PEERS: usize = 512;

/// What each peer may still bring for nothing, and what waits of it.
#[derive(Debug, Default)]
pub(super) struct FreeAllowances {
    buckets: HashMap<PeerId, Bucket>,
    /// Bytes of memory; peers of whom nothing waits are not here.
    waiting: HashMap<PeerId, usize>,
}

impl FreeAllowances {
    /// Whether a peer may bring so many bytes more; they are counted then.
    ///
    /// A peer that brought nothing for a while is forgotten, which gives it nothing. When too many
    /// are counted, one more has to wait until another has rested.
    pub(super) fn take(&mut self, peer: PeerId, bytes: usize, now: UnixMillis) -> bool {
        if self.buckets.len() >= MAX_COUNTED_PEERS && !self.buckets.contains_key(&peer) {
            self.buckets.retain(|_, bucket| !bucket.is_full(now));
            if self.buckets.len() >= MAX_COUNTED_PEERS {
                return false;
            }
        }
        let bucket = self.buckets.entry(peer).or_insert_with(|| Bucket::new(FREE_RATE, now));
        bucket.take(u64::try_from(bytes).unwrap_or(u64::MAX), now)
    }

    /// So much memory of a peer's waits more.
    pub(super) fn came(&mut self, peer: PeerId, memory: usize) {
        let waiting = self.waiting.entry(peer).or_default();
        *waiting = waiting.saturating_add(memory);
    }

    /// So much memory of a peer's waits no longer.
    pub(super) fn left(&mut self, peer: PeerId, memory: usize) {
        let waiting = self.waiting.entry(peer).or_default();
        *waiting = waiting.saturating_sub(memory);
        if *waiting == 0 {
            self.waiting.remove(&peer);
        }
    }

    /// What waits of each peer's, in bytes of memory.
    pub(super) const fn waiting(&self) -> &HashMap<PeerId, usize> {
        &self.waiting
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
        assert_eq!(free.buckets.len(), 1, "those that have rested are forgotten");
    }
}

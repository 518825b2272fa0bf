//! How many trades without a fee, notes among them, a peer may bring.
//!
//! The relay bounds messages, whatever they pay. This bounds what costs its maker nothing, whichever way it came, and
//! counts bytes, since they are what is scarce in a block.

use std::collections::HashMap;

use super::FREE_RATE;
use crate::primitives::{Bucket, PeerId, UnixMillis};

/// Peers whose free trades are counted: more than there are connections.
const MAX_COUNTED_PEERS: usize = 512;

/// What each peer may still bring for nothing.
#[derive(Debug, Default)]
pub(super) struct FreeAllowances {
    buckets: HashMap<PeerId, Bucket>,
}

impl FreeAllowances {
    /// Whether a peer may bring so many bytes more; they are counted then.
    ///
    /// A peer that brought nothing for a while is forgotten, which gives it nothing. When too many are counted, one more
    /// has to wait until another has rested.
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

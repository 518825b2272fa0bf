//! Limits on free trades, notes included, of each payer: the bytes that it may send, and its share
//! of the mempool.
//!
//! The relay limits messages, whatever they pay. These limits count the bytes of trades that cost
//! their maker nothing, because room in a block is scarce. They hold for gossip and sync alike.
//!
//! # Security
//! A peer that sends more than blocks can hold would in time fill the mempool and keep out the
//! notes of all others. Once the mempool is half full, a payer is therefore refused if its waiting
//! free trades would exceed 1/16 of the mempool. Before that, one peer may relay the trades of all
//! others.
//!
//! A key costs nothing, so a share for each stranger would limit nothing: all strangers are one
//! payer.

use std::collections::HashMap;

use crate::{
    chain::api::Origin,
    primitives::{Bucket, PeerId, Rate, UnixMillis},
};

/// Token bucket for the bytes of free trades from one payer. The burst is 16 blocks' share of free
/// bytes; the sustained rate is one block's share in 5 s.
const FREE_RATE: Rate = Rate { burst: 16 * 65_536, per_second: 65_536 / 5 };

/// Divisor of the mempool's memory: once the mempool is half full, one payer's free trades may take
/// 1/16.
pub(super) const FREE_SHARE: usize = 16;

/// Maximum number of payers with a token bucket; more than there are connections.
const MAX_COUNTED_PEERS: usize = 512;

/// The party whose limits a free trade uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Payer {
    Peer(PeerId),
    /// All peers whose keys cost nothing.
    Strangers,
}

impl Payer {
    /// Returns the payer of a trade; `None` for one of this node's own.
    pub(crate) const fn of(origin: Origin) -> Option<Self> {
        match origin {
            Origin::Local => None,
            Origin::Peer(peer) => Some(Self::Peer(peer)),
            Origin::Stranger(_) => Some(Self::Strangers),
        }
    }
}

/// The token bucket of each payer, and the memory of its waiting free trades.
#[derive(Debug, Default)]
pub(super) struct FreeAllowances {
    buckets: HashMap<Payer, Bucket>,
    /// Bytes of memory; payers without waiting free trades have no entry.
    waiting: HashMap<Payer, usize>,
}

impl FreeAllowances {
    /// Takes `bytes` from the payer's token bucket; returns false if the payer may not send them.
    ///
    /// A full bucket is dropped, which does not help its payer. When all buckets are in use, a new
    /// payer is refused until another one's bucket is full again.
    pub(super) fn take(&mut self, payer: Payer, bytes: usize, now: UnixMillis) -> bool {
        if self.buckets.len() >= MAX_COUNTED_PEERS && !self.buckets.contains_key(&payer) {
            self.buckets.retain(|_, bucket| !bucket.is_full(now));
            if self.buckets.len() >= MAX_COUNTED_PEERS {
                return false;
            }
        }
        let bucket = self.buckets.entry(payer).or_insert_with(|| Bucket::new(FREE_RATE, now));
        bucket.take(u64::try_from(bytes).unwrap_or(u64::MAX), now)
    }

    /// Moves the token buckets with the wall clock, so that a jump neither fills nor blocks them.
    pub(super) fn clock_moved(&mut self, by: i64) {
        self.buckets.values_mut().for_each(|bucket| bucket.move_clock(by));
    }

    /// Adds memory to a payer's waiting free trades.
    pub(super) fn came(&mut self, payer: Payer, memory: usize) {
        let waiting = self.waiting.entry(payer).or_default();
        *waiting = waiting.saturating_add(memory);
    }

    /// Subtracts memory from a payer's waiting free trades.
    pub(super) fn left(&mut self, payer: Payer, memory: usize) {
        let waiting = self.waiting.entry(payer).or_default();
        *waiting = waiting.saturating_sub(memory);
        if *waiting == 0 {
            self.waiting.remove(&payer);
        }
    }

    /// Returns the memory of each payer's waiting free trades, in bytes.
    pub(super) const fn waiting(&self) -> &HashMap<Payer, usize> {
        &self.waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::PublicKey;

    fn peer(number: usize) -> Payer {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_le_bytes());
        Payer::Peer(PeerId(PublicKey(key)))
    }

    #[test]
    fn a_jump_of_the_wall_clock_neither_fills_nor_blocks_an_allowance() {
        let (mut free, hour) = (FreeAllowances::default(), 3_600_000);
        let burst = usize::try_from(FREE_RATE.burst).expect("small");
        let start = 10 * hour;
        assert!(free.take(peer(0), burst, start));
        free.clock_moved(3_600_000);
        assert!(!free.take(peer(0), burst, start + hour), "an hour forward is no rest");
        free.clock_moved(-2 * 3_600_000);
        let sustained = usize::try_from(FREE_RATE.per_second).expect("small");
        assert!(free.take(peer(0), sustained, start - hour + 1_000), "an hour back is no wait");
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

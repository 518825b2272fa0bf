//! Rate limits of chat: a token bucket for each friend, and one shared by all strangers.

use std::collections::HashMap;

use crate::primitives::{Bucket, PeerId, Rate, UnixMillis};

/// The rate of lines from one friend. The burst is a whole outbox, which a friend delivers when it
/// comes back online.
const FRIEND_RATE: Rate = Rate { burst: super::MAX_OUTBOX_PER_FRIEND, per_second: 5 };
/// The rate of lines from all authors whose profile we do not hold, together: keys cost nothing, so
/// that a bucket for each of them would bound nothing.
const STRANGERS_RATE: Rate = Rate { burst: 100, per_second: 1 };
/// Number of buckets from which on full ones are dropped. A full bucket is as good as a new one.
const MAX_BUCKETS: usize = super::MAX_PROFILES_KEPT;
/// Backward step of the clock, in ms, from which on all buckets start anew. Smaller steps occur
/// when calls are handled in another order than they read the clock.
const CLOCK_STEP_MS: u64 = 60_000;

/// The token buckets. The key `None` is the strangers' bucket.
#[derive(Debug, Default)]
pub(super) struct Rates {
    buckets: HashMap<Option<PeerId>, Bucket>,
    latest: UnixMillis,
}

impl Rates {
    /// Takes one line from the friend's bucket, or from the strangers' if `friend` is `None`.
    /// Returns true if the bucket was not empty.
    pub(super) fn take(&mut self, friend: Option<PeerId>, now: UnixMillis) -> bool {
        if now.saturating_add(CLOCK_STEP_MS) < self.latest {
            // No bucket would be filled until the clock has caught up.
            self.buckets.clear();
            self.latest = now;
        }
        self.latest = self.latest.max(now);
        if self.buckets.len() >= MAX_BUCKETS && !self.buckets.contains_key(&friend) {
            self.buckets.retain(|_, bucket| !bucket.is_full(now));
        }
        let rate = if friend.is_some() { FRIEND_RATE } else { STRANGERS_RATE };
        self.buckets.entry(friend).or_insert_with(|| Bucket::new(rate, now)).take(1, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::PublicKey;

    #[test]
    fn a_friend_may_empty_an_outbox_at_once_and_then_five_lines_a_second() {
        let mut rates = Rates::default();
        let friend = Some(PeerId(PublicKey([1; 32])));
        assert_eq!((0..2_000).filter(|_| rates.take(friend, 1_000_000)).count(), 1_000);
        assert_eq!((0..50).filter(|_| rates.take(friend, 1_001_000)).count(), 5);
        assert!(
            rates.take(Some(PeerId(PublicKey([2; 32]))), 1_001_000),
            "another friend has its own budget"
        );
    }

    #[test]
    fn strangers_share_one_budget() {
        let mut rates = Rates::default();
        assert_eq!((0..2_000).filter(|_| rates.take(None, 1_000_000)).count(), 100);
        assert_eq!((0..50).filter(|_| rates.take(None, 1_003_000)).count(), 3);
    }

    #[test]
    fn a_clock_that_went_back_an_hour_silences_no_author() {
        let mut rates = Rates::default();
        let (friend, hour) = (Some(PeerId(PublicKey([1; 32]))), 3_600_000);
        assert_eq!((0..2_000).filter(|_| rates.take(friend, 2 * hour)).count(), 1_000);
        assert!(!rates.take(friend, 2 * hour - 1_000), "a small step fills no bucket");
        assert!(rates.take(friend, hour));
    }
}

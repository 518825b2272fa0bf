//! A token bucket: it allows a burst, and a sustained rate.

use super::Moment;

/// The limits of a [`Bucket`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Most tokens that can be taken at once.
    pub burst: u64,
    /// Tokens that are added each second, up to `burst`.
    pub per_second: u64,
}

/// A token bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    rate: Rate,
    /// Content in thousandths of a token, so that each millisecond adds a whole number.
    thousandths: u64,
    /// Time of the last refill. Never goes back, so no time is counted twice.
    at: Moment,
}

impl Bucket {
    /// Returns a full bucket.
    #[must_use]
    pub const fn new(rate: Rate, now: Moment) -> Self {
        Self { rate, thousandths: rate.burst.saturating_mul(1_000), at: now }
    }

    /// Takes `tokens` and returns true, or takes none if the bucket holds fewer.
    pub fn take(&mut self, tokens: u64, now: Moment) -> bool {
        self.fill(now);
        let left = self.thousandths.checked_sub(tokens.saturating_mul(1_000));
        self.thousandths = left.unwrap_or(self.thousandths);
        left.is_some()
    }

    /// Takes `tokens`. Returns the ms until the bucket is half full, if it is now less than a
    /// quarter full. Below that, the sender should pause, before it loses anything.
    pub fn take_early(&mut self, tokens: u64, now: Moment) -> (bool, Option<u64>) {
        let taken = self.take(tokens, now);
        let whole = self.rate.burst.saturating_mul(1_000);
        let is_low = self.thousandths < whole / 4;
        let lacking = (whole / 2).saturating_sub(self.thousandths);
        (taken, lacking.checked_div(self.rate.per_second).filter(|_| is_low))
    }

    /// Returns tokens to the bucket, because the action did not count after all.
    pub fn give(&mut self, tokens: u64) {
        self.thousandths = self
            .thousandths
            .saturating_add(tokens.saturating_mul(1_000))
            .min(self.rate.burst.saturating_mul(1_000));
    }

    /// Moves the time of the last refill by `by` ms, after a jump of the clock.
    pub const fn move_clock(&mut self, by: i64) {
        self.at = self.at.saturating_add_signed(by);
    }

    /// True if the bucket is full. A full bucket can be dropped and replaced by a new one later.
    pub fn is_full(&mut self, now: Moment) -> bool {
        self.fill(now);
        self.thousandths == self.rate.burst.saturating_mul(1_000)
    }

    fn fill(&mut self, now: Moment) {
        let gained = now.saturating_sub(self.at).saturating_mul(self.rate.per_second);
        self.thousandths =
            self.thousandths.saturating_add(gained).min(self.rate.burst.saturating_mul(1_000));
        self.at = self.at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut bucket = Bucket::new(Rate { burst: 3, per_second: 2 }, 0);
        assert!(bucket.is_full(0));
        assert_eq!((0..5).filter(|_| bucket.take(1, 0)).count(), 3);
        assert!(!bucket.take(1, 499));
        assert!(bucket.take(1, 500));
        assert_eq!((0..9).filter(|_| bucket.take(1, 60_000)).count(), 3);
        // A clock that goes back adds no token twice.
        assert!(!bucket.take(1, 1_000) && !bucket.take(1, 60_000));
        assert!(!bucket.is_full(61_000) && bucket.is_full(61_500));
    }

    #[test]
    fn many_tokens_are_taken_all_or_none() {
        let mut bucket = Bucket::new(Rate { burst: 10, per_second: 1 }, 0);
        assert!(!bucket.take(11, 0) && bucket.take(10, 0));
        assert!(!bucket.take(3, 2_000) && bucket.take(2, 2_000));
        assert!(!bucket.take(u64::MAX, u64::MAX));
    }

    #[test]
    fn a_bucket_that_is_nearly_empty_asks_for_a_pause() {
        let mut bucket = Bucket::new(Rate { burst: 8, per_second: 2 }, 0);
        assert_eq!(bucket.take_early(6, 0), (true, None));
        assert_eq!(bucket.take_early(1, 0), (true, Some(1_500)));
        assert_eq!(bucket.take_early(2, 0), (false, Some(1_500)));
        assert_eq!(bucket.take_early(2, 1_500), (true, None));
    }

    #[test]
    fn tokens_that_are_given_back_never_exceed_the_burst() {
        let mut bucket = Bucket::new(Rate { burst: 2, per_second: 0 }, 0);
        assert!(bucket.take(2, 0) && !bucket.take(1, 0));
        bucket.give(1);
        assert!(bucket.take(1, 0) && !bucket.take(1, 0));
        bucket.give(u64::MAX);
        assert!(!bucket.take(3, 0) && bucket.take(2, 0));
    }
}

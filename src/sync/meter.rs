//! The rate at which the tip rises.

use super::{PROGRESS_BLOCKS, PROGRESS_MS};
use crate::primitives::{Height, Moment};

/// The rate at which the tip rises, measured over an interval.
#[derive(Debug)]
pub(super) struct Meter {
    since: Moment,
    height: Height,
    pub(super) blocks_per_second: u64,
    pub(super) seconds_left: Option<u64>,
}

impl Meter {
    pub(super) const fn new(now: Moment, height: Height) -> Self {
        Self { since: now, height, blocks_per_second: 0, seconds_left: None }
    }

    /// Ends the interval if it is long enough, and returns true if so.
    pub(super) fn measure(&mut self, height: Height, target: Height, now: Moment) -> bool {
        let took = now.saturating_sub(self.since);
        let risen = u64::from(height.saturating_sub(self.height));
        if took < PROGRESS_MS && risen < PROGRESS_BLOCKS {
            return false;
        }
        self.take(height, target, now);
        true
    }

    /// Ends the interval and computes the rate over it.
    pub(super) fn take(&mut self, height: Height, target: Height, now: Moment) {
        let took = now.saturating_sub(self.since).max(1);
        let risen = u64::from(height.saturating_sub(self.height));
        let left = u64::from(target.saturating_sub(height));
        self.blocks_per_second = risen.saturating_mul(1_000).checked_div(took).unwrap_or(0);
        self.seconds_left =
            left.saturating_mul(took).checked_div(risen).map(|ms| ms.div_ceil(1_000));
        (self.since, self.height) = (now, height);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_meter_tells_rate_and_time_left() {
        let mut meter = Meter::new(0, 100);
        assert!(!meter.measure(400, 1_000, 1_999));
        assert!(Meter::new(0, 100).measure(1_100, 5_000, 300), "many blocks are news too");
        assert!(meter.measure(500, 1_000, 2_000));
        assert_eq!((meter.blocks_per_second, meter.seconds_left), (200, Some(3)));
        assert!(meter.measure(500, 1_000, 4_000));
        assert_eq!((meter.blocks_per_second, meter.seconds_left), (0, None));
    }
}

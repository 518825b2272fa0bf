//! `jumps` detects jumps of the wall clock for the chain thread.
//!
//! The rules for headers and the times in the file use wall time. The mempool's fee floor and its
//! allowances use the same time, but must not change when somebody sets the clock.

use std::time::Instant;

use crate::primitives::UnixMillis;

/// The smallest jump that is reported, in ms. Small corrections by a time daemon are below it.
const LEAST_JUMP_MS: i64 = 1_000;

/// Both clocks at the last check.
pub(super) struct Jumps {
    wall: UnixMillis,
    at: Instant,
}

impl Jumps {
    pub(super) const fn new(wall: UnixMillis, at: Instant) -> Self {
        Self { wall, at }
    }

    /// Returns the jump of the wall clock since the last check, in ms; 0 if there was none. Sleep
    /// of the machine counts as a jump.
    pub(super) fn since_last(&mut self, wall: UnixMillis, at: Instant) -> i64 {
        let passed = at.saturating_duration_since(self.at).as_millis();
        let expected = self.wall.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX));
        let jump = wall.checked_signed_diff(expected).unwrap_or(0);
        (self.wall, self.at) = (wall, at);
        if jump.saturating_abs() < LEAST_JUMP_MS { 0 } else { jump }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn jumps_are_told_from_time_that_passes() {
        let (start, wall) = (Instant::now(), 1_000_000_000);
        let mut jumps = Jumps::new(wall, start);
        let mut look = |wall, seconds| jumps.since_last(wall, start + Duration::from_secs(seconds));
        assert_eq!(look(wall + 60_000, 60), 0);
        assert_eq!(look(wall + 120_500, 120), 0, "a small correction");
        assert_eq!(look(wall + 3_720_500, 120), 3_600_000, "set forward by an hour");
        assert_eq!(look(wall + 121_500, 121), -3_600_000, "set back again");
        assert_eq!(look(wall + 122_500, 122), 0, "a jump is told once");
    }
}

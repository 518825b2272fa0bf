//! The wall clock of the chain thread, which notices its jumps.
//!
//! The rules for headers and the times in the file need wall time. The mempool's floor and its
//! allowances count in the same time, but have to ignore that somebody sets the clock.

use std::{sync::Arc, time::Instant};

use crate::primitives::UnixMillis;

/// The chain thread's source of time, in unix milliseconds.
pub type Clock = Arc<dyn Fn() -> UnixMillis + Send + Sync>;

/// The least jump that is noticed, in ms. The time daemon's small corrections are below it.
const LEAST_JUMP_MS: i64 = 1_000;

/// A wall clock, compared with the monotonic one at each look.
pub(super) struct WallClock {
    clock: Clock,
    wall: UnixMillis,
    at: Instant,
}

impl WallClock {
    pub(super) fn new(clock: Clock) -> Self {
        Self { wall: clock(), at: Instant::now(), clock }
    }

    /// Returns the wall time.
    pub(super) fn now(&self) -> UnixMillis {
        (self.clock)()
    }

    /// Returns the wall time, and the jump of the clock since the last look, in ms; 0 if there was
    /// none. A sleep of the machine counts as a jump.
    pub(super) fn look(&mut self, at: Instant) -> (UnixMillis, i64) {
        let wall = (self.clock)();
        let passed = at.saturating_duration_since(self.at).as_millis();
        let expected = self.wall.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX));
        let jump = wall.checked_signed_diff(expected).unwrap_or(0);
        (self.wall, self.at) = (wall, at);
        (wall, if jump.saturating_abs() < LEAST_JUMP_MS { 0 } else { jump })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU64, Ordering},
        time::Duration,
    };

    use super::*;

    #[test]
    fn jumps_are_told_from_time_that_passes() {
        let time = Arc::new(AtomicU64::new(1_000_000_000));
        let shown = time.clone();
        let mut clock = WallClock::new(Arc::new(move || shown.load(Ordering::Relaxed)));
        let start = clock.at;
        let mut look = |wall, seconds| {
            time.store(wall, Ordering::Relaxed);
            clock.look(start + Duration::from_secs(seconds))
        };
        assert_eq!(look(1_000_060_000, 60), (1_000_060_000, 0));
        assert_eq!(look(1_000_120_500, 120), (1_000_120_500, 0), "a small correction");
        assert_eq!(look(1_003_720_500, 120), (1_003_720_500, 3_600_000), "set forward by an hour");
        assert_eq!(look(1_000_121_500, 121), (1_000_121_500, -3_600_000), "set back again");
        assert_eq!(look(1_000_122_500, 122), (1_000_122_500, 0), "a jump is told once");
    }
}

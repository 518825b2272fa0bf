//! The clocks of the node: the wall clock, the monotonic clock, and sleep of the machine.
//!
//! Waits, rates and deadlines use [`moment`]. Consensus, chat and what is stored use [`now`]. The
//! wallet's deadline uses [`moment_with_sleep`], so that it also passes while the lid is closed.

use std::{
    sync::{Arc, LazyLock},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use crate::{
    chain::Clock,
    primitives::{FIRST_MOMENT, Moment, UnixMillis},
};

/// A clock offset from which `status` shows it, in ms: well above what NTP and network delay
/// explain.
const CLOCK_OFFSET_MS: u64 = 60_000;

/// The start of the monotonic clock.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Returns the time in unix milliseconds; 0 if the system's clock is before 1970.
#[must_use]
pub(crate) fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Returns the moment of the monotonic clock.
#[must_use]
pub(crate) fn moment() -> Moment {
    let elapsed = u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX);
    FIRST_MOMENT.saturating_add(elapsed)
}

/// Returns the moment of a monotonic clock that continues while the machine sleeps, where the
/// system has one. Compare it only with other results of this function.
#[must_use]
pub(crate) fn moment_with_sleep() -> Moment {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let since = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(since.tv_sec).unwrap_or(0);
        let millis = u64::try_from(since.tv_nsec).unwrap_or(0) / 1_000_000;
        FIRST_MOMENT.saturating_add(seconds.saturating_mul(1_000)).saturating_add(millis)
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    moment()
}

/// Returns the moment of a stored time, or the present if the stored time lies ahead of the wall
/// clock.
#[must_use]
pub(crate) fn moment_of(time: UnixMillis) -> Moment {
    moment().saturating_sub(now().saturating_sub(time))
}

/// Returns [`now`] as the clock of the chain thread.
#[must_use]
pub(crate) fn system() -> Clock {
    Arc::new(now)
}

/// Returns true if an offset to the friends' clocks, in ms, is worth showing.
pub(crate) const fn is_far_off(offset: i64) -> bool {
    offset.unsigned_abs() >= CLOCK_OFFSET_MS
}

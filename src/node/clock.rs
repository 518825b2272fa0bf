//! The one place where the node reads the wall clock.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{chain::Clock, primitives::UnixMillis};

/// A clock offset from which `status` shows it, in ms: well above what NTP and network delay
/// explain.
const CLOCK_OFFSET_MS: u64 = 60_000;

/// Returns the time in unix milliseconds; 0 if the system's clock is before 1970.
#[must_use]
pub(crate) fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
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

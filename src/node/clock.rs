//! The one place where the node reads the clock.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{chain::Clock, primitives::UnixMillis};

/// The time now, in unix milliseconds; 0 on a machine that believes it is before 1970.
#[must_use]
pub(super) fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The system's clock.
#[must_use]
pub(super) fn system() -> Clock {
    Arc::new(now)
}

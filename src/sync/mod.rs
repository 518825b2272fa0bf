//! Catching up: headers first, then bodies.

mod api;
pub mod stand_in;

pub use api::{
    Offence, Phase, Progress, Refused, RequestFailure, SyncAction, SyncConfig, SyncEvent, SyncOutcome, SyncReport,
};

/// Sync's request ids lie in this range of 2⁵⁶, so that a response finds its machine by its number.
const REQUEST_SPACE: u64 = 1 << 56;

/// Whether a request id is of sync's making.
#[must_use]
pub const fn owns_request(id: u64) -> bool {
    id >> 56 == REQUEST_SPACE >> 56
}

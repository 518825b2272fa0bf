//! What to tell whom, as it happens: solved headers, compact blocks, trades.

mod api;

pub use api::{Announcement, GossipId, RelayAction, RelayEvent, Verdict};

/// The relay's request ids lie in this range of 2⁵⁶, so that a response finds its machine by its number.
const REQUEST_SPACE: u64 = 2 << 56;

/// Whether a request id is of the relay's making.
#[must_use]
pub const fn owns_request(id: u64) -> bool {
    id >> 56 == REQUEST_SPACE >> 56
}

//! Declares every event that a node logs and every metric that it counts, once.

pub mod events;
pub mod metrics;
pub(crate) mod process;

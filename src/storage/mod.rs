//! Keeps files safe for the rooms above: read-only databases, and panics of a damaged one.

mod contain;
pub mod frozen;

pub use contain::contain;

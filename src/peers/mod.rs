//! Peers decides what each peer may do here: its level of trust, its score and its bans.
//!
//! | file | concern |
//! |---|---|
//! | `level` | levels of trust, and who vouches for whom |
//! | `scores` | offences, scores and bans |
//!
//! `net`, `sync`, `relay`, `friends` and the router ask this room, and keep no list of their own.

mod level;
mod scores;

#[cfg(test)]
pub(crate) use level::MAX_VOUCHED;
pub(crate) use level::{Level, Trust};
#[cfg(test)]
pub(crate) use scores::{BAN_MS, BAN_SCORE};
pub(crate) use scores::{Ban, BanTerm, Offence, Peers};

/// The most peers that are connected at once. `net` admits no more, and sync and relay know each of
/// them.
pub(crate) const MAX_CONNECTED: usize = 192;

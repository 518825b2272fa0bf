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

pub(crate) use level::Trust;
#[expect(unused_imports, reason = "the budgets use them next")]
pub(crate) use level::{Level, MAX_VOUCHED};
#[cfg(test)]
pub(crate) use scores::BAN_SCORE;
pub(crate) use scores::{BAN_MS, Ban, BanTerm, Offence, Peers};

/// The most peers that are connected at once. `net` admits no more, and sync and relay know each of
/// them.
pub(crate) const MAX_CONNECTED: usize = 192;

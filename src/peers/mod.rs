//! Peers decides what each peer may do here: its level of trust, its score and its bans.
//!
//! | file | concern |
//! |---|---|
//! | `budgets` | requests, messages and bytes in a minute, by level |
//! | `group` | addresses that one host or one operator holds |
//! | `level` | levels of trust, and who vouches for whom |
//! | `places` | who is connected, and who leaves for a newcomer |
//! | `scores` | offences, scores and bans |
//!
//! `net`, `sync`, `relay`, `friends` and the router query this module, and keep no such lists.

mod budgets;
mod group;
mod level;
mod places;
mod scores;

pub(crate) use budgets::{Budgets, Spent, Traffic};
pub(crate) use group::{host_group, site_group};
#[cfg(test)]
pub(crate) use level::MAX_VOUCHED;
pub(crate) use level::{Level, Trust};
#[cfg(test)]
pub(crate) use places::PLACES_PER_ADDRESS;
pub(crate) use places::Places;
pub(crate) use scores::{BAN_MS, Ban, BanTerm, Offence, Peers};
#[cfg(test)]
pub(crate) use scores::{BAN_SCORE, MAX_BANS};

/// The most peers that are connected at once. `net` admits no more, and sync and relay know each of
/// them.
pub(crate) const MAX_CONNECTED: usize = 192;

//! Provides the harness: data folders, commands, nodes, consoles, and a peer that breaks rules.

pub(crate) mod chain;
pub(crate) mod folder;
pub(crate) mod forge;
pub(crate) mod line;
pub(crate) mod node;
pub(crate) mod peer;
pub(crate) mod ports;
pub(crate) mod terminal;
pub(crate) mod tools;

use std::{
    thread,
    time::{Duration, Instant},
};

pub(crate) use folder::{Folder, TestNet};
pub(crate) use node::Node;

/// The longest time to wait for any condition, far longer than a slow machine needs.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);

/// The time between two checks of a condition that sends no notification.
const POLL: Duration = Duration::from_millis(100);

/// Tries until an attempt succeeds. After [`DEADLINE`], panics with the last error.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, attempt: impl FnMut() -> Result<T, String>) -> T {
    eventually_within(DEADLINE, what, attempt)
}

/// Tries like [`eventually`], with another deadline.
#[track_caller]
pub(crate) fn eventually_within<T>(
    deadline: Duration,
    what: &str,
    mut attempt: impl FnMut() -> Result<T, String>,
) -> T {
    let start = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(seen) if start.elapsed() > deadline => {
                panic!("not within {deadline:?}: {what}; last seen: {seen}")
            }
            Err(_) => thread::sleep(POLL),
        }
    }
}

/// Returns `Ok` if the claim holds, else the value seen instead, for [`eventually`].
pub(crate) fn holds(claim: bool, seen: impl std::fmt::Debug) -> Result<(), String> {
    if claim { Ok(()) } else { Err(format!("{seen:?}")) }
}

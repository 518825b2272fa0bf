//! The harness: data folders, commands, nodes, consoles, and a peer that obeys no rule.

pub(crate) mod chain;
pub(crate) mod folder;
pub(crate) mod forge;
pub(crate) mod line;
pub(crate) mod node;
pub(crate) mod peer;
pub(crate) mod ports;
pub(crate) mod tools;

use std::{
    thread,
    time::{Duration, Instant},
};

pub(crate) use folder::{Folder, TestNet};
pub(crate) use node::Node;

/// How long anything may take that the test waits for: far longer than it takes on a slow machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);

/// How often a condition is looked at that cannot tell by itself when it changes.
const POLL: Duration = Duration::from_millis(100);

/// Tries until it succeeds; after [`DEADLINE`], fails with what it last saw.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, attempt: impl FnMut() -> Result<T, String>) -> T {
    eventually_within(DEADLINE, what, attempt)
}

/// As [`eventually`], with a deadline of its own.
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

/// `Ok` when the claim holds, else what was seen instead: for [`eventually`].
pub(crate) fn holds(claim: bool, seen: impl std::fmt::Debug) -> Result<(), String> {
    if claim { Ok(()) } else { Err(format!("{seen:?}")) }
}

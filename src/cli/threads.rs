//! Checks that the system lets this process start the threads that it needs.
//!
//! If the system refuses threads, the runtime's builder panics at the first one, and waits for ever
//! at a later one. The threads are therefore tried first.

use std::{
    sync::{Arc, PoisonError, RwLock},
    thread,
};

use crate::rpc::RpcError;

/// Threads of the runtime beside its workers, for blocking work such as disk reads.
const BLOCKING: usize = 4;

/// Threads of an open folder, independent of the machine: chain, friends, storing, hashing, mDNS,
/// the console's input, and some that block.
const OF_A_FOLDER: usize = 12;

/// The most runtime workers of a command that asks a node. One would be enough.
const WORKERS_OF_A_COMMAND: usize = 2;

/// The number of workers of the runtime.
pub(crate) fn workers(starts_node: bool) -> usize {
    let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if starts_node { processors } else { processors.min(WORKERS_OF_A_COMMAND) }
}

/// Checks that the runtime can start.
///
/// # Errors
/// The system refuses the threads.
pub(crate) fn check_for_runtime(starts_node: bool) -> Result<(), RpcError> {
    check(workers(starts_node).saturating_add(BLOCKING))
}

/// Checks that a folder can be opened. It needs threads of its own, and two for each processor: a
/// miner and a checker.
///
/// # Errors
/// The system refuses the threads.
pub(crate) fn check_for_folder() -> Result<(), RpcError> {
    check(workers(true).saturating_mul(2).saturating_add(OF_A_FOLDER))
}

fn check(needed: usize) -> Result<(), RpcError> {
    let before = count();
    let gate = Arc::new(RwLock::new(()));
    let closed = gate.write().unwrap_or_else(PoisonError::into_inner);
    let mut threads = Vec::new();
    let mut refused = None;
    while threads.len() < needed && refused.is_none() {
        let gate = Arc::clone(&gate);
        let wait = move || drop(gate.read());
        match thread::Builder::new().name("trial".into()).spawn(wait) {
            Ok(thread) => threads.push(thread),
            Err(cause) => refused = Some(cause),
        }
    }
    drop(closed);
    let started = threads.len();
    for thread in threads {
        // It does nothing that could panic.
        let _ = thread.join();
    }
    until_gone(before);
    let Some(cause) = refused else { return Ok(()) };
    Err(RpcError::new(
        "no_threads",
        format!(
            "this system lets friendchain start only {started} of the {needed} threads that it \
             needs ({cause}): raise the limit of processes (ulimit -u, or the container's pids \
             limit), or end other programs"
        ),
    ))
}

/// Waits until the system no longer counts the ended threads, shortly after they are joined.
fn until_gone(before: Option<usize>) {
    for _ in 0..1_000 {
        match (count(), before) {
            (Some(now), Some(before)) if now > before => thread::yield_now(),
            _ => return,
        }
    }
}

/// Returns the number of threads of this process, where the system reports it.
fn count() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Threads:"))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_are_there_are_no_error_and_are_gone_afterwards() {
        check_for_runtime(true).expect("there are threads");
        check_for_folder().expect("there are threads");
    }
}

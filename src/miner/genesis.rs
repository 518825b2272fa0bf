//! Mines a genesis block. No chain exists yet, so only the caller can stop the search.

use std::{
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{RecvTimeoutError, sync_channel},
    },
    thread,
    time::Duration,
};

use super::search::NonceSearch;
use crate::{
    consensus::{CompactError, Target},
    primitives::Block,
};

/// Nonces between two checks of the flag: some milliseconds of work.
const CHUNK: u64 = 1 << 16;
/// The interval of progress reports.
const PROGRESS: Duration = Duration::from_millis(100);

/// Reasons why no genesis was mined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MineGenesisError {
    /// The caller set `cancel`.
    #[error(
        "stopped before the first block was found; nothing was kept, so create-blockchain begins \
         anew"
    )]
    Cancelled,
    /// The header's bits are not a valid target.
    #[error(transparent)]
    Bits(#[from] CompactError),
    /// The system could not start any thread.
    #[error(
        "no thread could be started: raise the limit of processes (ulimit -u, or the container's \
         pids limit)"
    )]
    Threads,
    /// All 2⁶⁴ nonces fail, which no search lasts long enough to find.
    #[error("no nonce makes this genesis valid: try again, with another time")]
    Exhausted,
}

/// Finds the nonce of `block`, a genesis with its bits set, on `threads` threads (at least one).
/// Blocks until the nonce is found or `cancel` is set. Calls `progress` about ten times a second
/// with the number of hashes tried.
pub fn mine_genesis(
    mut block: Block,
    threads: usize,
    cancel: &AtomicBool,
    mut progress: impl FnMut(u64),
) -> Result<Block, MineGenesisError> {
    let target = Target::from_compact(block.header.bits)?;
    let search = NonceSearch::new(&block.header, &target);
    let (next, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let (sender, found) = sync_channel(1);
    let mut started = false;
    let nonce = thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            let (sender, search, next, done) = (sender.clone(), &search, &next, &done);
            let search = move || {
                while !done.load(Ordering::Relaxed) {
                    let start = next.fetch_add(CHUNK, Ordering::Relaxed);
                    if start > u64::MAX - CHUNK {
                        return;
                    }
                    if let Some(nonce) = search.find(start..=start.saturating_add(CHUNK - 1)) {
                        // The channel is full if another thread was first: one nonce is enough.
                        let _ = sender.try_send(nonce);
                        return;
                    }
                }
            };
            // Fewer threads suffice. If none starts, the channel closes at once.
            started |= thread::Builder::new().spawn_scoped(scope, search).is_ok();
        }
        drop(sender);
        let result = loop {
            match found.recv_timeout(PROGRESS) {
                Ok(nonce) => break Ok(nonce),
                Err(RecvTimeoutError::Disconnected) if started => {
                    break Err(MineGenesisError::Exhausted);
                }
                Err(RecvTimeoutError::Disconnected) => break Err(MineGenesisError::Threads),
                Err(RecvTimeoutError::Timeout) if cancel.load(Ordering::Relaxed) => {
                    break Err(MineGenesisError::Cancelled);
                }
                Err(RecvTimeoutError::Timeout) => progress(next.load(Ordering::Relaxed)),
            }
        };
        done.store(true, Ordering::Relaxed);
        result
    })?;
    block.header.nonce = nonce;
    Ok(block)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        consensus::{ChainParams, Network},
        primitives::Owner,
    };

    fn genesis(bits: u8) -> Block {
        let params = ChainParams::new("friends", 0, bits).unwrap();
        Network::genesis_to_mine(&params, Owner([1; 20]), 1_700_000_000_000).unwrap()
    }

    #[test]
    fn a_mined_genesis_makes_a_network() {
        let block = mine_genesis(genesis(12), 2, &AtomicBool::new(false), |_| {}).unwrap();
        assert_eq!(Network::from_genesis(block.clone()).unwrap().id, block.hash());
    }

    #[test]
    fn a_hard_genesis_tells_progress_and_stops_when_asked() {
        let cancel = AtomicBool::new(false);
        let mut tried = 0;
        let result = mine_genesis(genesis(40), 1, &cancel, |hashes| {
            tried = hashes;
            cancel.store(true, Ordering::Relaxed);
        });
        assert_eq!(result, Err(MineGenesisError::Cancelled));
        assert!(tried > 0);
    }
}

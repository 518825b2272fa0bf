//! `precheck` checks form and signatures of queued blocks on worker threads for the chain thread.
//!
//! These checks need no coins. Their verdict is exactly the one that [`Chain`](super::Chain) would
//! reach itself.
//!
//! # Security
//! Workers get only blocks whose headers were accepted, and compare a body with its header first.
//! A peer therefore cannot make this node verify signatures without doing proof of work.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::JoinHandle,
};

use super::{
    coins::{self, Body},
    signature_cache::SignatureCache,
};
use crate::{
    consensus::{BlockError, CheckedHeader, Network, check_block},
    primitives::{Block, BlockHash},
};

/// A received block, possibly with a check in progress on a worker.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) block: Arc<Block>,
    pub(super) hash: BlockHash,
    ahead: Option<Ahead>,
}

/// The chain thread's side of a check on a worker.
#[derive(Debug)]
struct Ahead {
    /// True once the result is no longer needed; the worker then skips the block.
    dropped: Arc<AtomicBool>,
    body: mpsc::Receiver<Result<Body, BlockError>>,
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.dropped.store(true, Ordering::Relaxed);
    }
}

impl Incoming {
    /// Wraps a block that no worker has checked.
    pub(super) fn new(block: Arc<Block>) -> Self {
        Self { hash: block.hash(), block, ahead: None }
    }

    /// Returns the worker's result if there is one; otherwise checks the block's form now.
    pub(super) fn body(self, header: &CheckedHeader) -> Result<Body, BlockError> {
        if let Some(ahead) = &self.ahead
            && let Ok(body) = ahead.body.recv()
        {
            return body;
        }
        Ok(Body::from_checked(check_block(self.block, header)?))
    }
}

/// Checks form and signatures of a block whose header was accepted.
fn look(
    block: Arc<Block>,
    header: &CheckedHeader,
    network: &Network,
    verified: &SignatureCache,
) -> Result<Body, BlockError> {
    let mut body = Body::from_checked(check_block(block, header)?);
    body.signatures = Some(coins::check_signatures(network, &body, 1, |leaf| verified.knows(leaf)));
    Ok(body)
}

struct Job {
    block: Arc<Block>,
    header: CheckedHeader,
    dropped: Arc<AtomicBool>,
    done: mpsc::SyncSender<Result<Body, BlockError>>,
}

/// A pool of worker threads, which end when this value is dropped.
#[derive(Debug)]
pub(super) struct Preparer {
    jobs: Option<mpsc::Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl Preparer {
    /// Starts the workers. If the system gives fewer threads or none, the chain works more slowly.
    pub(super) fn start(threads: usize, network: &Arc<Network>, verified: &SignatureCache) -> Self {
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        let start = |_| {
            let (queue, network, verified) =
                (Arc::clone(&queue), Arc::clone(network), verified.clone());
            let work = move || {
                loop {
                    let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(Job { block, header, dropped, done }) = job else { return };
                    if !dropped.load(Ordering::Relaxed) {
                        // The receiver may be dropped by now.
                        let _ = done.send(look(block, &header, &network, &verified));
                    }
                }
            };
            std::thread::Builder::new().name("blocks".into()).spawn(work).ok()
        };
        let threads = (0..threads).filter_map(start).collect();
        Self { jobs: Some(jobs), threads }
    }

    /// Passes a block whose header was accepted to the workers.
    pub(super) fn prepare(&self, incoming: &mut Incoming, header: CheckedHeader) {
        let (Some(jobs), false) = (&self.jobs, self.threads.is_empty()) else { return };
        let dropped = Arc::new(AtomicBool::new(false));
        let (done, body) = mpsc::sync_channel(1);
        let job =
            Job { block: Arc::clone(&incoming.block), header, dropped: Arc::clone(&dropped), done };
        if jobs.send(job).is_ok() {
            incoming.ahead = Some(Ahead { dropped, body });
        }
    }
}

impl Drop for Preparer {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // If a worker panicked, the chain thread has checked its block instead.
            let _ = thread.join();
        }
    }
}

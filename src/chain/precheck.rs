//! Blocks that are looked at ahead of their turn: what can be said of one without coins, on threads
//! of its own.
//!
//! Started and fed by the chain thread with blocks whose headers were accepted, so that nobody gets
//! a signature checked without work. A body is compared with its header before its signatures are
//! looked at. No verdict depends on whether a block was looked at ahead: what is found is exactly
//! what [`Chain`](super::Chain) would find itself.

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

/// A block on its way into the chain.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) block: Arc<Block>,
    pub(super) hash: BlockHash,
    ahead: Option<Ahead>,
}

/// What becomes of a block that was handed out.
#[derive(Debug)]
struct Ahead {
    /// Nobody wants it any more.
    dropped: Arc<AtomicBool>,
    body: mpsc::Receiver<Result<Body, BlockError>>,
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.dropped.store(true, Ordering::Relaxed);
    }
}

impl Incoming {
    /// One that nobody has looked at.
    pub(super) fn new(block: Arc<Block>) -> Self {
        Self { hash: block.hash(), block, ahead: None }
    }

    /// Checks its form, or says what was found ahead of its turn.
    pub(super) fn body(self, header: &CheckedHeader) -> Result<Body, BlockError> {
        if let Some(ahead) = &self.ahead
            && let Ok(body) = ahead.body.recv()
        {
            return body;
        }
        Ok(Body::from_checked(check_block(self.block, header)?))
    }
}

/// Form and signatures of a block whose header was accepted.
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

/// The threads. They end when this is dropped.
#[derive(Debug)]
pub(super) struct Preparer {
    jobs: Option<mpsc::Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl Preparer {
    /// Starts them. With fewer than asked for, or none, all goes on, only slower.
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
                        // Nobody may wait any more.
                        let _ = done.send(look(block, &header, &network, &verified));
                    }
                }
            };
            std::thread::Builder::new().name("blocks".into()).spawn(work).ok()
        };
        let threads = (0..threads).filter_map(start).collect();
        Self { jobs: Some(jobs), threads }
    }

    /// Has a block looked at whose header was accepted.
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
            // One that panicked has left its block to the chain thread.
            let _ = thread.join();
        }
    }
}

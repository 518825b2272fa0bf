//! Worker threads that search nonces for one job at a time.
//!
//! A change of job takes effect within one [`CHUNK`]. Each thread starts each job at a random
//! nonce, so that two threads, or two nodes of one owner, search different nonces.

use std::{
    io,
    ops::ControlFlow,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use tokio::sync::mpsc;

use super::search::NonceSearch;
use crate::{
    chain::api::Template,
    primitives::{BlockHash, Header, Owner},
};

/// Nonces between two checks of the epoch: under a millisecond of work.
const CHUNK: u64 = 1 << 13;
/// Upper bound on threads: more than the cores of any expected machine.
const MAX_THREADS: usize = 256;
/// Capacity of the channel of solutions: two for each thread, since jobs overlap.
pub(super) const FOUND_QUEUE: usize = 2 * MAX_THREADS;

#[derive(Debug)]
pub(super) struct Job {
    /// The block without its nonce.
    pub(super) template: Template,
    pub(super) owner: Owner,
    /// The prepared search over the template's header.
    pub(super) search: NonceSearch,
}

impl Job {
    /// Returns the hash of the parent block.
    pub(super) const fn parent(&self) -> BlockHash {
        self.template.block.header.previous
    }
}

/// A job and the nonce that solves it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) job: Arc<Job>,
    pub(super) nonce: u64,
}

impl Found {
    /// Returns the solved header.
    pub(super) fn header(&self) -> Header {
        Header { nonce: self.nonce, ..self.job.template.block.header }
    }
}

/// The worker threads. Dropping this value ends them without waiting; [`Workers::stop`] waits.
#[derive(Debug)]
pub(super) struct Workers {
    shared: Arc<Shared>,
    threads: Vec<thread::JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    slot: Mutex<Slot>,
    changed: Condvar,
    /// Number of the current job. Changed under the lock; read without it between chunks.
    epoch: AtomicU64,
    /// Number of hashes tried by all threads.
    hashes: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Slot {
    job: Option<Arc<Job>>,
    stop: bool,
}

impl Shared {
    /// Locks the slot. No code panics while it holds the lock, so poison can be ignored.
    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the slot, ends the current job, and wakes all threads.
    fn change(&self, change: impl FnOnce(&mut Slot)) {
        let mut slot = self.lock();
        change(&mut slot);
        self.epoch.fetch_add(1, Ordering::Relaxed);
        drop(slot);
        self.changed.notify_all();
    }

    /// Waits for a job other than that of epoch `seen`.
    fn next(&self, seen: u64) -> ControlFlow<(), (u64, Arc<Job>)> {
        let mut slot = self.lock();
        loop {
            if slot.stop {
                return ControlFlow::Break(());
            }
            let epoch = self.epoch.load(Ordering::Relaxed);
            if let Some(job) = slot.job.as_ref().filter(|_| epoch != seen) {
                return ControlFlow::Continue((epoch, Arc::clone(job)));
            }
            slot = self.changed.wait(slot).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends the job of `epoch` after a solution, so that the other threads stop.
    fn solved(&self, epoch: u64) {
        let mut slot = self.lock();
        if self.epoch.load(Ordering::Relaxed) == epoch {
            slot.job = None;
            self.epoch.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn work(&self, found: &mpsc::Sender<Found>) {
        let mut seen = 0;
        while let ControlFlow::Continue((epoch, job)) = self.next(seen) {
            seen = epoch;
            let mut nonce: u64 = rand::random();
            while self.epoch.load(Ordering::Relaxed) == epoch {
                let end = nonce.saturating_add(CHUNK - 1);
                let found_at = job.search.find(nonce..=end);
                let tried = found_at.unwrap_or(end).saturating_sub(nonce).saturating_add(1);
                self.hashes.fetch_add(tried, Ordering::Relaxed);
                if let Some(nonce) = found_at {
                    self.solved(epoch);
                    // The channel is full only if the miner's task is hundreds of solutions behind.
                    // Then one more is no loss.
                    let _ = found.try_send(Found { job: Arc::clone(&job), nonce });
                    break;
                }
                nonce = end.wrapping_add(1);
            }
        }
    }
}

impl Workers {
    /// Starts `threads` threads, without a job.
    pub(super) fn spawn(threads: usize, found: &mpsc::Sender<Found>) -> io::Result<Self> {
        let slot = Mutex::new(Slot { job: None, stop: false });
        let (epoch, hashes) = (AtomicU64::new(0), Arc::default());
        let shared = Arc::new(Shared { slot, changed: Condvar::new(), epoch, hashes });
        let mut workers = Self { shared, threads: Vec::new() };
        for index in 0..threads.clamp(1, MAX_THREADS) {
            let (shared, found) = (Arc::clone(&workers.shared), found.clone());
            let thread = thread::Builder::new()
                .name(format!("miner-{index}"))
                .spawn(move || shared.work(&found))?;
            workers.threads.push(thread);
        }
        Ok(workers)
    }

    pub(super) const fn count(&self) -> usize {
        self.threads.len()
    }

    /// Returns the shared counter of hashes tried.
    pub(super) fn hashes(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.shared.hashes)
    }

    /// Sets the job of all threads; `None` makes them idle.
    pub(super) fn set(&self, job: Option<Arc<Job>>) {
        self.shared.change(|slot| slot.job = job);
    }

    /// Ends the threads and waits for them: at most the time of one chunk.
    pub(super) fn stop(mut self) {
        self.end();
        for thread in self.threads.drain(..) {
            // A thread that panicked has ended as well.
            let _ = thread.join();
        }
    }

    fn end(&self) {
        self.shared.change(|slot| {
            slot.job = None;
            slot.stop = true;
        });
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        consensus::Target,
        primitives::{Block, MerkleRoot},
    };

    fn job(height: u32, target: &Target) -> Arc<Job> {
        let previous = BlockHash([7; 32]);
        let header =
            Header { previous, merkle_root: MerkleRoot::ZERO, height, time: 0, bits: 0, nonce: 0 };
        let block = Block { header, transactions: vec![] };
        let template = Template {
            block,
            generation: 0,
            has_local: false,
            has_trades: false,
            early: None,
            below_checkpoint: false,
        };
        Arc::new(Job { template, owner: Owner::ZERO, search: NonceSearch::new(&header, target) })
    }

    #[tokio::test]
    async fn the_newest_job_is_searched_and_a_hopeless_one_given_up() {
        let easy = Target::from_compact(0x2000_ffff).unwrap();
        let (sender, mut found) = mpsc::channel(FOUND_QUEUE);
        let workers = Workers::spawn(3, &sender).unwrap();
        for height in 1..50 {
            workers.set(Some(job(0, &Target::ONE)));
            workers.set(Some(job(height, &easy)));
            let solution = loop {
                // More than one thread may have solved the job before.
                let solution = found.recv().await.unwrap();
                if solution.job.template.block.header.height == height {
                    break solution;
                }
            };
            assert!(easy.is_met_by(&solution.header().hash()));
        }
        workers.set(Some(job(0, &Target::ONE)));
        tokio::task::spawn_blocking(move || workers.stop()).await.unwrap();
        drop(sender);
        while let Some(late) = found.recv().await {
            assert_ne!(late.job.template.block.header.height, 0, "no thread solves this job");
        }
    }
}

//! The miner: threads that search for nonces, and one task that decides what they search.
//!
//! [`spawn`] starts the miner beside a chain. The node, or a command that has opened the chain
//! itself, controls it through a [`MinerHandle`]. The task requests a template from the chain and
//! passes it to the threads. It submits a solved block like any other local block. The task watches
//! the chain's summary. When the tip changes, the threads stop within a millisecond. The template's
//! time and difficulty are refreshed each second.
//!
//! # Invariants
//! - The miner builds only on connected blocks: templates come from the durable tip alone.
//! - Requests ([`MinerHandle::mine_blocks`], [`MinerHandle::mine_until`]) take precedence over the
//!   [`MiningMode`]. A request ends when its caller stops waiting.
//! - [`BlockMined`](crate::telemetry::events::BlockMined) is emitted only after the block is
//!   durable on the best chain.

mod control;
mod genesis;
pub(crate) mod policy;
mod search;
mod workers;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use tokio::sync::{mpsc, oneshot, watch};

pub use genesis::{MineGenesisError, mine_genesis};
pub use search::NonceSearch;

use crate::{
    chain::{ChainFault, ChainHandle},
    primitives::{BlockHash, Header, Height, MiningMode, Owner, TxId, UnixMillis},
};
use control::MinerTask;
use workers::{FOUND_QUEUE, Workers};

/// Capacity of the command channel to the miner's task.
const COMMAND_QUEUE: usize = 64;
/// Upper bound on the blocks of one request. Their hashes stay in memory until it is done: 32 MB.
pub const MAX_BLOCKS_AT_ONCE: u32 = 1_000_000;
/// Upper bound on the open requests of each kind, the current one included.
const MAX_REQUESTS: usize = 256;

/// Settings that a miner starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinerConfig {
    /// Mode that decides when to mine without a request.
    pub mode: MiningMode,
    /// Recipient of rewards mined without a request. With `None`, the miner serves requests only.
    pub owner: Option<Owner>,
    /// Number of search threads: see [`default_threads`].
    pub threads: usize,
}

/// Returns the number of cores that this process may use.
#[must_use]
pub fn default_threads() -> usize {
    thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// A snapshot of the miner's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinerStatus {
    pub mode: MiningMode,
    /// Recipient of rewards mined without a request.
    pub owner: Option<Owner>,
    pub threads: usize,
    /// True while the threads search.
    pub mining: bool,
    /// Set while the miner waits for the clock: the time at which its next block is allowed, in
    /// unix ms. The tip's time, or that of blocks below it, is ahead of our clock.
    pub waits_until: Option<UnixMillis>,
    /// Number of its blocks that joined the best chain since the miner started.
    pub blocks: u64,
}

/// Reasons why the miner could not serve a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MineError {
    /// The request is for more than `MAX_BLOCKS_AT_ONCE` blocks.
    #[error("{0} blocks are too many at once: ask for {MAX_BLOCKS_AT_ONCE} at most")]
    TooMany(u32),
    /// `MAX_REQUESTS` requests of this kind are open.
    #[error("the miner has {MAX_REQUESTS} requests to do already: wait for one to end")]
    Busy,
    /// The chain refused the miner's own block, so either the miner or the chain has a bug.
    #[error(
        "the chain refused a block that was mined here: {0}; this is a fault of the program, \
         please report it"
    )]
    Refused(String),
    /// The awaited transaction can never be mined.
    #[error("{txid} can never be mined: {reason}")]
    Void {
        txid: TxId,
        /// A sentence for the user.
        reason: String,
    },
    /// The awaited transaction is neither in the mempool nor in a block.
    #[error("{0} is not known here: it waits in no mempool and is in no block; send it again")]
    Unknown(TxId),
    /// The chain failed.
    #[error(transparent)]
    Chain(#[from] ChainFault),
    /// The miner has ended.
    #[error("the miner has stopped, since the node is stopping")]
    Stopped,
}

/// The block that holds a transaction, whether or not this node mined it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinedIn {
    pub block: BlockHash,
    pub height: Height,
}

/// A command from a handle to the miner's task.
#[derive(Debug)]
enum MinerCommand {
    SetMode(MiningMode),
    SetOwner(Option<Owner>),
    MineBlocks {
        count: u32,
        owner: Owner,
        reply: oneshot::Sender<Result<Vec<BlockHash>, MineError>>,
    },
    MineUntil {
        txid: TxId,
        owner: Owner,
        reply: oneshot::Sender<Result<MinedIn, MineError>>,
    },
    Suspend,
    Stop {
        reply: oneshot::Sender<()>,
    },
}

/// A cloneable handle to the miner. The miner ends when the last handle is dropped.
#[derive(Debug, Clone)]
pub struct MinerHandle {
    commands: mpsc::Sender<MinerCommand>,
    status: watch::Receiver<MinerStatus>,
    hashes: Arc<AtomicU64>,
}

/// Starts a miner beside `chain`, inside a tokio runtime.
///
/// The miner sends each solved header to `solved` before it submits the block to the chain. Friends
/// can then stop their own search. A full channel drops the header, since the block follows.
///
/// # Errors
/// Fails if the system cannot start a thread.
pub fn spawn(
    chain: ChainHandle,
    config: MinerConfig,
    solved: Option<mpsc::Sender<Header>>,
) -> io::Result<MinerHandle> {
    let (commands, command_queue) = mpsc::channel(COMMAND_QUEUE);
    let (found, found_queue) = mpsc::channel(FOUND_QUEUE);
    let workers = Workers::spawn(config.threads, &found)?;
    let hashes = workers.hashes();
    let (control, status) =
        MinerTask::new(chain, config, workers, command_queue, found_queue, solved);
    tokio::spawn(control.run());
    Ok(MinerHandle { commands, status, hashes })
}

impl MinerHandle {
    /// Sets the mode that decides when to mine without a request.
    pub async fn set_mode(&self, mode: MiningMode) -> Result<(), MineError> {
        self.send(MinerCommand::SetMode(mode)).await
    }

    /// Sets the recipient of rewards mined without a request.
    pub async fn set_owner(&self, owner: Option<Owner>) -> Result<(), MineError> {
        self.send(MinerCommand::SetOwner(owner)).await
    }

    /// Mines `count` blocks on the best chain, even if the mempool is empty. Returns their hashes
    /// in order. Blocks that lost a race to another miner's block do not count.
    ///
    /// # Cancel safety
    /// Dropping the future ends the mining. Blocks mined so far stay on the chain.
    pub async fn mine_blocks(&self, count: u32, owner: Owner) -> Result<Vec<BlockHash>, MineError> {
        if count > MAX_BLOCKS_AT_ONCE {
            return Err(MineError::TooMany(count));
        }
        let (reply, answer) = oneshot::channel();
        self.send(MinerCommand::MineBlocks { count, owner, reply }).await?;
        answer.await.map_err(|_| MineError::Stopped)?
    }

    /// Mines for `owner` until the transaction `txid` is in a block of the best chain. That block
    /// may come from another miner.
    ///
    /// # Cancel safety
    /// Dropping the future ends the mining. The transaction stays in the mempool.
    pub async fn mine_until(&self, txid: TxId, owner: Owner) -> Result<MinedIn, MineError> {
        let (reply, answer) = oneshot::channel();
        self.send(MinerCommand::MineUntil { txid, owner, reply }).await?;
        answer.await.map_err(|_| MineError::Stopped)?
    }

    /// Pauses mining, since the body of a branch better than the tip came, and more may follow.
    ///
    /// The pause lasts for 2 s or a fifth of the spacing, whichever is shorter, from the last call.
    /// It ends early once the tip is the best header. Never blocks: a full queue drops the call.
    pub fn suspend(&self) {
        if self.commands.try_send(MinerCommand::Suspend).is_err() {
            tracing::debug!("mining was not paused: the miner has ended, or its queue is full");
        }
    }

    /// Returns the current status.
    #[must_use]
    pub fn status(&self) -> MinerStatus {
        *self.status.borrow()
    }

    /// Returns the number of hashes tried since the miner started.
    #[must_use]
    pub fn hashes(&self) -> u64 {
        self.hashes.load(Ordering::Relaxed)
    }

    /// Returns a receiver that is notified when the status changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<MinerStatus> {
        self.status.clone()
    }

    /// Ends the miner and waits until its threads have exited. Open requests get
    /// [`MineError::Stopped`].
    pub async fn stop(&self) {
        let (reply, stopped) = oneshot::channel();
        if self.send(MinerCommand::Stop { reply }).await.is_ok() {
            // An error means that the task has already ended.
            let _ = stopped.await;
        }
    }

    async fn send(&self, command: MinerCommand) -> Result<(), MineError> {
        self.commands.send(command).await.map_err(|_| MineError::Stopped)
    }
}

#[cfg(test)]
mod tests;

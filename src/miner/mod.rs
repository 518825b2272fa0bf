//! The miner: threads that search for nonces, and one task that decides what they search.
//!
//! [`spawn`] starts it beside a chain; the [`MinerHandle`] is how the node, or a command that has
//! opened the chain itself, speaks to it. The task asks the chain for a template, gives it to the
//! threads, and hands a solved block back as any other local block. It watches the chain's summary:
//! when the tip changes the threads stop within a millisecond, and each second the template's time
//! and difficulty are refreshed.
//!
//! - Nothing is mined on a block that is not connected: templates come from the durable tip alone.
//! - What a caller asked for ([`MinerHandle::mine_blocks`], [`MinerHandle::mine_until`]) goes
//!   before what the [`MiningMode`] would do, and ends when the caller stops waiting for it.
//! - [`BlockMined`](crate::telemetry::events::BlockMined) is told only after the block is durable
//!   on the best chain.

mod control;
mod genesis;
mod policy;
mod search;
mod workers;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::sync::{mpsc, oneshot, watch};

pub use genesis::{MineGenesisError, mine_genesis};
pub use search::NonceSearch;

use crate::{
    chain::{ChainFault, ChainHandle},
    primitives::{BlockHash, Header, Height, MiningMode, Owner, TxId},
};
use control::MinerTask;
use workers::{FOUND_QUEUE, Workers};

/// Requests that wait for the miner's task.
const COMMAND_QUEUE: usize = 64;
/// The most blocks of one request: their hashes are kept until it is done.
pub const MAX_BLOCKS_AT_ONCE: u32 = 1_000_000;
/// The most requests that are worked on or wait their turn.
const MAX_REQUESTS: usize = 256;

/// What a miner is to do from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinerConfig {
    /// When to mine of its own accord.
    pub mode: MiningMode,
    /// Who is paid then; without one, only what callers ask for is mined.
    pub owner: Option<Owner>,
    /// How many threads search: see [`default_threads`].
    pub threads: usize,
}

/// One thread for each core that this process may use.
#[must_use]
pub fn default_threads() -> usize {
    thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// What the miner is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinerStatus {
    /// When it mines of its own accord.
    pub mode: MiningMode,
    /// Who is paid then.
    pub owner: Option<Owner>,
    /// How many threads it has.
    pub threads: usize,
    /// Whether they are searching now.
    pub mining: bool,
    /// How many of its blocks joined the best chain since it was started.
    pub blocks: u64,
}

/// Why what was asked of the miner was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MineError {
    /// More blocks than one request may ask for.
    #[error("{0} blocks are too many at once: ask for {MAX_BLOCKS_AT_ONCE} at most")]
    TooMany(u32),
    /// Too many requests already.
    #[error("the miner has {MAX_REQUESTS} requests to do already: wait for one to end")]
    Busy,
    /// The chain refused the miner's own block: one of the two is wrong.
    #[error(
        "the chain refused a block that was mined here: {0}; this is a fault of the program, \
         please report it"
    )]
    Refused(String),
    /// The trade that was waited for can never be mined.
    #[error("{txid} can never be mined: {reason}")]
    Void {
        txid: TxId,
        /// Why, as a sentence.
        reason: String,
    },
    /// The trade that was waited for neither waits nor is in a block.
    #[error("{0} is not known here: it waits in no mempool and is in no block; send it again")]
    Unknown(TxId),
    /// The chain cannot answer.
    #[error(transparent)]
    Chain(#[from] ChainFault),
    /// The miner has ended.
    #[error("the miner has stopped, since the node is stopping")]
    Stopped,
}

/// Where a transaction was mined, by anyone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinedIn {
    pub block: BlockHash,
    pub height: Height,
}

/// What the miner's task is asked.
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
    Pause {
        parent: BlockHash,
        duration: Duration,
    },
    Stop {
        reply: oneshot::Sender<()>,
    },
}

/// How others speak to the miner. When the last one is dropped, the miner ends.
#[derive(Debug, Clone)]
pub struct MinerHandle {
    commands: mpsc::Sender<MinerCommand>,
    status: watch::Receiver<MinerStatus>,
    hashes: Arc<AtomicU64>,
}

/// Starts a miner beside `chain`, inside a tokio runtime.
///
/// Each solved header is sent to `solved` before its block is given to the chain, so that friends
/// can stop their own search; when that channel is full the header is left out, since the block
/// follows.
///
/// # Errors
/// When the system refuses a thread.
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
    /// Changes when the miner mines of its own accord.
    pub async fn set_mode(&self, mode: MiningMode) -> Result<(), MineError> {
        self.send(MinerCommand::SetMode(mode)).await
    }

    /// Changes who is paid for what the miner mines of its own accord.
    pub async fn set_owner(&self, owner: Option<Owner>) -> Result<(), MineError> {
        self.send(MinerCommand::SetOwner(owner)).await
    }

    /// Mines `count` blocks on the best chain now, whatever is pending, and returns their hashes in
    /// order. Blocks that lost a race to somebody else's are not counted.
    ///
    /// Dropping the future ends the mining; what was mined stays.
    pub async fn mine_blocks(&self, count: u32, owner: Owner) -> Result<Vec<BlockHash>, MineError> {
        if count > MAX_BLOCKS_AT_ONCE {
            return Err(MineError::TooMany(count));
        }
        let (reply, answer) = oneshot::channel();
        self.send(MinerCommand::MineBlocks { count, owner, reply }).await?;
        answer.await.map_err(|_| MineError::Stopped)?
    }

    /// Mines, paying `owner`, until the transaction `txid` is in a block of the best chain, whoever
    /// mines it.
    ///
    /// Dropping the future ends the mining; the trade waits on.
    pub async fn mine_until(&self, txid: TxId, owner: Owner) -> Result<MinedIn, MineError> {
        let (reply, answer) = oneshot::channel();
        self.send(MinerCommand::MineUntil { txid, owner, reply }).await?;
        answer.await.map_err(|_| MineError::Stopped)?
    }

    /// Somebody has solved a block on `parent`: while that is our tip, rests for at most
    /// `duration`, 2 s and a fifth of the spacing, once for each tip. Never blocks; a pause that
    /// finds the queue full is left out.
    pub fn pause(&self, parent: BlockHash, duration: Duration) {
        if self.commands.try_send(MinerCommand::Pause { parent, duration }).is_err() {
            tracing::debug!(
                "a pause of mining was left out: the miner has ended, or its queue is full"
            );
        }
    }

    /// What the miner is doing now.
    #[must_use]
    pub fn status(&self) -> MinerStatus {
        *self.status.borrow()
    }

    /// How many hashes its threads have tried since it was started.
    #[must_use]
    pub fn hashes(&self) -> u64 {
        self.hashes.load(Ordering::Relaxed)
    }

    /// Tells when the status changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<MinerStatus> {
        self.status.clone()
    }

    /// Ends the miner; its threads are gone when this returns. Requests still open get
    /// [`MineError::Stopped`].
    pub async fn stop(&self) {
        let (reply, stopped) = oneshot::channel();
        if self.send(MinerCommand::Stop { reply }).await.is_ok() {
            // An error says that the task ended otherwise: as good.
            let _ = stopped.await;
        }
    }

    async fn send(&self, command: MinerCommand) -> Result<(), MineError> {
        self.commands.send(command).await.map_err(|_| MineError::Stopped)
    }
}

#[cfg(test)]
mod tests;

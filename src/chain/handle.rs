//! [`ChainHandle`]: questions and commands for the chain thread, from any task.
//!
//! Each is one [`ChainCommand`] with a oneshot for its reply; what the thread does with them is in
//! `thread.rs`.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task,
};

use super::{
    api::{
        Balance, BlockAccepted, ChainAudit, ChainCommand, ChainSummary, HeadersAccepted,
        MempoolEntry, Origin, Rebuilt, Spendable, Template, Tip, TxInfo,
    },
    errors::{
        AcceptBlockError, AcceptBranchError, AcceptHeadersError, AcceptTradeError, ChainFault,
    },
    store::reader::ChainReader,
};
use crate::{
    consensus::Checkpoint,
    primitives::{Block, BlockHash, Header, Height, Owner, Transaction, TxId},
};

/// Commands that wait at most: two windows of bodies. Beyond half of it, [`ChainHandle::busy`].
pub(super) const QUEUE: usize = 512;

/// A way to the chain thread. When the last one is dropped, the thread commits, closes the file,
/// and ends.
#[derive(Debug, Clone)]
pub struct ChainHandle {
    pub(super) commands: mpsc::Sender<ChainCommand>,
    pub(super) summary: watch::Receiver<ChainSummary>,
    pub(super) reader: ChainReader,
    /// The chain is to end: an audit under way gives up.
    pub(super) closing: Arc<AtomicBool>,
    /// Why the thread has ended, if by a fault.
    pub(super) fault: Arc<OnceLock<ChainFault>>,
}

impl ChainHandle {
    /// Reads that need no decision.
    #[must_use]
    pub const fn reader(&self) -> &ChainReader {
        &self.reader
    }

    /// The last committed state in short; never waits.
    #[must_use]
    pub fn summary(&self) -> ChainSummary {
        self.summary.borrow().clone()
    }

    /// Tells when [`ChainHandle::summary`] changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<ChainSummary> {
        self.summary.clone()
    }

    /// Whether the queue is half full: inbound requests should be answered with "busy", gossip
    /// ignored.
    #[must_use]
    pub fn busy(&self) -> bool {
        self.commands.capacity() < QUEUE / 2
    }

    /// Whether the chain thread has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.commands.is_closed()
    }

    /// Puts a command into the queue without waiting, for tasks that never wait for the chain: its
    /// answer comes through the reply in it.
    ///
    /// # Errors
    /// Gives the command back when the queue is full or the chain is closed.
    pub fn try_send(&self, command: ChainCommand) -> Result<(), Box<ChainCommand>> {
        self.commands.try_send(command).map_err(|error| Box::new(error.into_inner()))
    }

    /// Puts a command into the queue, waiting for room: its answer comes through the reply in it.
    ///
    /// # Errors
    /// When the chain is closed.
    pub async fn send(&self, command: ChainCommand) -> Result<(), ChainFault> {
        if self.commands.send(command).await.is_ok() {
            Ok(())
        } else {
            Err(self.why_closed().await)
        }
    }

    /// Why the chain thread has ended, or is about to.
    async fn why_closed(&self) -> ChainFault {
        self.commands.closed().await;
        self.fault.get().cloned().unwrap_or(ChainFault::Closed)
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> ChainCommand,
    ) -> Result<T, ChainFault> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply)).await?;
        match answer.await {
            Ok(answer) => Ok(answer),
            Err(_) => Err(self.why_closed().await),
        }
    }

    /// Ends the chain thread, whoever else holds a handle; done when everything is on disk.
    pub async fn shut_down(&self) {
        self.closing.store(true, Ordering::Relaxed);
        // A closed thread has nothing left to write.
        let _ = self.ask(|reply| ChainCommand::ShutDown { reply }).await;
    }

    /// Checks a header on the tip without storing it.
    ///
    /// # Errors
    /// See [`AcceptHeadersError`].
    pub async fn check_header(&self, header: Header) -> Result<(), AcceptHeadersError> {
        let header = Box::new(header);
        self.ask(|reply| ChainCommand::CheckHeader { header, reply }).await?
    }

    /// Which of these trades are neither in the mempool nor on the chain, in the order given.
    ///
    /// # Errors
    /// When the chain is closed or the disk fails.
    pub async fn unknown_trades(&self, ids: Vec<TxId>) -> Result<Vec<TxId>, ChainFault> {
        self.ask(|reply| ChainCommand::UnknownTrades { ids, reply }).await?
    }

    /// Those of these trades that wait in the mempool: one for each id, in the order given.
    ///
    /// # Errors
    /// When the chain is closed.
    pub async fn waiting_trades(
        &self,
        ids: Vec<TxId>,
    ) -> Result<Vec<Option<Arc<Transaction>>>, ChainFault> {
        self.ask(|reply| ChainCommand::WaitingTrades { ids, reply }).await
    }

    /// Takes the other branch of a diverged chain, up to its last block here; `hash` is any of its
    /// blocks. Answered after the commit.
    ///
    /// # Errors
    /// See [`AcceptBranchError`].
    pub async fn accept_branch(&self, hash: BlockHash) -> Result<Tip, AcceptBranchError> {
        self.ask(|reply| ChainCommand::AcceptBranch { hash, reply }).await?
    }

    /// Checks headers, parents first, and keeps them.
    ///
    /// # Errors
    /// See [`AcceptHeadersError`].
    pub async fn accept_headers(
        &self,
        headers: Vec<Header>,
        origin: Origin,
    ) -> Result<HeadersAccepted, AcceptHeadersError> {
        self.ask(|reply| ChainCommand::AcceptHeaders { headers, origin, reply }).await?
    }

    /// Checks a block whole and connects or stores it; answered after the commit.
    ///
    /// # Errors
    /// See [`AcceptBlockError`].
    pub async fn accept_block(
        &self,
        block: Block,
        origin: Origin,
    ) -> Result<BlockAccepted, AcceptBlockError> {
        self.ask(|reply| ChainCommand::AcceptBlock { block: Box::new(block), origin, reply })
            .await?
    }

    /// Checks a trade or note and keeps it until it is mined; an own one is durable when this is
    /// answered.
    ///
    /// # Errors
    /// See [`AcceptTradeError`].
    pub async fn accept_trade(
        &self,
        transaction: Transaction,
        origin: Origin,
    ) -> Result<TxId, AcceptTradeError> {
        self.ask(|reply| ChainCommand::AcceptTrade {
            transaction: Box::new(transaction),
            origin,
            reply,
        })
        .await?
    }

    /// A block to mine that pays `owner`.
    ///
    /// # Errors
    /// When the chain is closed.
    pub async fn template(&self, owner: Owner) -> Result<Template, ChainFault> {
        self.ask(|reply| ChainCommand::Template { owner, reply }).await
    }

    /// Rebuilds a compact block from the mempool.
    ///
    /// # Errors
    /// When the chain is closed.
    pub async fn rebuild(
        &self,
        header: Header,
        coinbase: Transaction,
        short_ids: Vec<[u8; 6]>,
    ) -> Result<Rebuilt, ChainFault> {
        let (header, coinbase) = (Box::new(header), Box::new(coinbase));
        self.ask(|reply| ChainCommand::Rebuild { header, coinbase, short_ids, reply }).await
    }

    /// What an owner can spend next.
    ///
    /// # Errors
    /// When the chain is closed.
    pub async fn spendable(&self, owner: Owner) -> Result<Spendable, ChainFault> {
        self.ask(|reply| ChainCommand::Spendable { owner, reply }).await?
    }

    /// What an owner has.
    ///
    /// # Errors
    /// When the chain is closed.
    pub async fn balance(&self, owner: Owner) -> Result<Balance, ChainFault> {
        self.ask(|reply| ChainCommand::Balance { owner, reply }).await?
    }

    /// All waiting trades, parents first.
    ///
    /// # Errors
    /// When the chain is closed.
    pub async fn mempool(&self) -> Result<Vec<MempoolEntry>, ChainFault> {
        self.ask(|reply| ChainCommand::Mempool { reply }).await
    }

    /// One transaction and where it is; `None` when it is unknown.
    ///
    /// # Errors
    /// When the chain is closed.
    pub async fn transaction(&self, txid: TxId) -> Result<Option<TxInfo>, ChainFault> {
        self.ask(|reply| ChainCommand::Transaction { txid, reply }).await?
    }

    /// Checks everything from genesis. Commands wait meanwhile; dropping the future ends the check.
    ///
    /// # Errors
    /// When the chain is closed.
    pub async fn verify(
        &self,
        progress: mpsc::Sender<(Height, Height)>,
    ) -> Result<ChainAudit, ChainFault> {
        self.ask(|reply| ChainCommand::Verify { progress, reply }).await?
    }

    /// Rebuilds coins, undo records and index from the blocks. Commands wait meanwhile.
    ///
    /// # Errors
    /// When the chain is closed.
    pub async fn reindex(
        &self,
        progress: mpsc::Sender<(Height, Height)>,
    ) -> Result<ChainAudit, ChainFault> {
        self.ask(|reply| ChainCommand::Reindex { progress, reply }).await?
    }

    /// What an invite pins: the block of the best chain about 100 deep, or the genesis of a young
    /// chain.
    ///
    /// # Errors
    /// When the chain is closed.
    pub async fn invite_checkpoint(&self) -> Result<Checkpoint, ChainFault> {
        let reader = self.reader.clone();
        let checkpoint = task::spawn_blocking(move || reader.checkpoint()).await;
        checkpoint.ok().flatten().ok_or(ChainFault::Closed)
    }
}

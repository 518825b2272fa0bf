//! `handle` sends commands to the chain thread for any task, through a [`ChainHandle`].
//!
//! Each method sends one [`ChainCommand`] with a oneshot for its reply. `thread.rs` executes them.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use tokio::{
    sync::{Semaphore, mpsc, oneshot, watch},
    task,
};

use super::{
    api::{
        Balance, BlockAccepted, ChainAudit, ChainCommand, ChainSummary, Funds, HeaderContext,
        HeadersAccepted, MempoolEntry, Origin, Rebuilt, SpendQuery, Spendable, Template, Tip,
        TxInfo,
    },
    errors::{
        AcceptBlockError, AcceptBranchError, AcceptHeadersError, AcceptTradeError, ChainFault,
    },
    store::reader::ChainReader,
};
use crate::{
    consensus::{Checkpoint, Work},
    primitives::{Block, BlockHash, Header, Height, Owner, SHORT_ID_BYTES, Transaction, TxId},
};

/// Capacity of the command queue: two download windows of block bodies. From half of it on,
/// [`ChainHandle::busy`] is true.
pub(super) const QUEUE: usize = 512;

/// Maximum number of scans of the coins table at once. With two, a short scan need not wait for a
/// long one.
pub(super) const SCANS: usize = 2;

/// A cloneable handle to the chain thread. When the last one is dropped, the thread commits, closes
/// the file, and ends.
#[derive(Debug, Clone)]
pub struct ChainHandle {
    pub(super) commands: mpsc::Sender<ChainCommand>,
    pub(super) summary: watch::Receiver<ChainSummary>,
    pub(super) reader: ChainReader,
    /// True once shutdown was requested; a running `Verify` then stops.
    pub(super) closing: Arc<AtomicBool>,
    /// Permits for scans of the coins table.
    pub(super) scans: Arc<Semaphore>,
    /// The fault that ended the thread, if any.
    pub(super) fault: Arc<OnceLock<ChainFault>>,
}

impl ChainHandle {
    /// Returns the reader of committed data, which does not use the chain thread.
    #[must_use]
    pub const fn reader(&self) -> &ChainReader {
        &self.reader
    }

    /// Returns the last committed snapshot, without waiting.
    #[must_use]
    pub fn summary(&self) -> ChainSummary {
        self.summary.borrow().clone()
    }

    /// Returns a receiver that is notified when [`ChainHandle::summary`] changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<ChainSummary> {
        self.summary.clone()
    }

    /// True if the queue is more than half full. Inbound requests should then be answered with
    /// "busy", and gossip should be ignored.
    #[must_use]
    pub fn busy(&self) -> bool {
        self.commands.capacity() < QUEUE / 2
    }

    /// True if the chain thread has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.commands.is_closed()
    }

    /// Enqueues a command without waiting, for tasks that must not block on the chain. The reply
    /// arrives on the command's oneshot.
    ///
    /// # Errors
    /// Returns the command if the queue is full or the chain is closed.
    pub fn try_send(&self, command: ChainCommand) -> Result<(), Box<ChainCommand>> {
        self.commands.try_send(command).map_err(|error| Box::new(error.into_inner()))
    }

    /// Enqueues a command and waits for room. The reply arrives on the command's oneshot.
    ///
    /// # Errors
    /// Fails if the chain is closed.
    pub async fn send(&self, command: ChainCommand) -> Result<(), ChainFault> {
        if self.commands.send(command).await.is_ok() {
            Ok(())
        } else {
            Err(self.why_closed().await)
        }
    }

    /// Waits until the chain thread has closed its queue, then returns the cause.
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

    /// Ends the chain thread even if other handles exist. Returns once everything is durable.
    pub async fn shut_down(&self) {
        self.closing.store(true, Ordering::Relaxed);
        // If the chain is already closed, nothing is left to write.
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

    /// Returns the ids of trades that are in neither the mempool nor the chain, in the order of
    /// `ids`.
    ///
    /// # Errors
    /// Fails if the chain is closed or the disk fails.
    pub async fn unknown_trades(&self, ids: Vec<TxId>) -> Result<Vec<TxId>, ChainFault> {
        self.ask(|reply| ChainCommand::UnknownTrades { ids, reply }).await?
    }

    /// Returns trades from the mempool, one element for each id, in the order of `ids`.
    ///
    /// # Errors
    /// Fails if the chain is closed.
    pub async fn waiting_trades(
        &self,
        ids: Vec<TxId>,
    ) -> Result<Vec<Option<Arc<Transaction>>>, ChainFault> {
        self.ask(|reply| ChainCommand::WaitingTrades { ids, reply }).await
    }

    /// Switches to the other branch of a diverged chain, up to the last block stored here. `hash`
    /// is any block of that branch. Returns after the commit.
    ///
    /// # Errors
    /// See [`AcceptBranchError`].
    pub async fn accept_branch(&self, hash: BlockHash) -> Result<Tip, AcceptBranchError> {
        self.ask(|reply| ChainCommand::AcceptBranch { hash, reply }).await?
    }

    /// Checks headers, parents first, and stores them.
    ///
    /// `shown` is the cumulative work of the sender's branch that a presync has shown. A branch
    /// with enough work further up may thereby have low headers stored.
    ///
    /// # Errors
    /// See [`AcceptHeadersError`].
    pub async fn accept_headers(
        &self,
        headers: Vec<Header>,
        origin: Origin,
        shown: Option<Work>,
    ) -> Result<HeadersAccepted, AcceptHeadersError> {
        self.ask(|reply| ChainCommand::AcceptHeaders { headers, origin, shown, reply }).await?
    }

    /// Returns a known header with the window for its children; `None` if it is unknown or invalid.
    ///
    /// # Errors
    /// Fails if the chain is closed.
    pub async fn header_context(
        &self,
        hash: BlockHash,
    ) -> Result<Option<HeaderContext>, ChainFault> {
        self.ask(|reply| ChainCommand::HeaderContext { hash, reply }).await
    }

    /// Withholds a header: the header and its descendants leave the choice of the best header until
    /// its body arrives. Returns the best header afterwards. Does nothing if the header is unknown
    /// or has a body.
    ///
    /// # Errors
    /// Fails if the chain is closed.
    pub async fn withhold(&self, hash: BlockHash) -> Result<Tip, ChainFault> {
        self.ask(|reply| ChainCommand::Withhold { hash, reply }).await
    }

    /// Reports whether peers on our branch are connected; attended time passes while they are.
    /// Never blocks. A full queue drops the report, so the caller repeats it each minute.
    pub fn peers_on_branch(&self, present: bool) {
        if self.try_send(ChainCommand::PeersOnBranch(present)).is_err() {
            tracing::debug!("the chain's queue is full; peers on its branch are reported later");
        }
    }

    /// Checks a block completely and connects or stores it. Returns after the commit.
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

    /// Lists blocks of the best header chain that have no body, lowest first, at most `limit`.
    ///
    /// # Errors
    /// Fails if the chain is closed.
    pub async fn missing_bodies(
        &self,
        limit: usize,
    ) -> Result<Vec<(BlockHash, Height)>, ChainFault> {
        self.ask(|reply| ChainCommand::MissingBodies { limit, reply }).await
    }

    /// Checks a trade or note and adds it to the mempool. A local one is durable when this call
    /// returns.
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

    /// Returns a block to mine that pays `owner`.
    ///
    /// # Errors
    /// Fails if the chain is closed.
    pub async fn template(&self, owner: Owner) -> Result<Template, ChainFault> {
        self.ask(|reply| ChainCommand::Template { owner, reply }).await
    }

    /// Rebuilds a compact block from the mempool.
    ///
    /// # Errors
    /// Fails if the chain is closed.
    pub async fn rebuild(
        &self,
        header: Header,
        coinbase: Transaction,
        short_ids: Vec<[u8; SHORT_ID_BYTES]>,
    ) -> Result<Rebuilt, ChainFault> {
        let (header, coinbase) = (Box::new(header), Box::new(coinbase));
        self.ask(|reply| ChainCommand::Rebuild { header, coinbase, short_ids, reply }).await
    }

    /// Returns the coins that a wallet can spend next, without the chain thread.
    ///
    /// # Errors
    /// Fails if the chain is closed or its file cannot be read.
    pub async fn spendable(&self, query: SpendQuery) -> Result<Spendable, ChainFault> {
        self.scan(move |reader, waiting| reader.spendable(&query, waiting)).await
    }

    /// Returns the balance of several owners together, without the chain thread.
    ///
    /// # Errors
    /// Fails if the chain is closed or its file cannot be read.
    pub async fn funds(&self, owners: Vec<Owner>) -> Result<Funds, ChainFault> {
        self.scan(move |reader, waiting| reader.funds(&owners, waiting)).await
    }

    /// Returns an owner's balance, without the chain thread.
    ///
    /// # Errors
    /// Fails if the chain is closed or its file cannot be read.
    pub async fn balance(&self, owner: Owner) -> Result<Balance, ChainFault> {
        Ok(self.funds(vec![owner]).await?.whole)
    }

    /// Reads the coins table on a blocking thread, together with the mempool entries. The number of
    /// scans at once is limited, since an owner may have millions of coins.
    async fn scan<T: Send + 'static>(
        &self,
        scan: impl FnOnce(&ChainReader, &[MempoolEntry]) -> Result<T, ChainFault> + Send + 'static,
    ) -> Result<T, ChainFault> {
        let place = Arc::clone(&self.scans).acquire_owned().await;
        // An empty mempool is known without the chain thread, which may be busy for long.
        let is_empty = self.summary.borrow().mempool == 0;
        let waiting = if is_empty { Vec::new() } else { self.mempool().await? };
        let reader = self.reader.clone();
        let work = move || {
            // The working thread holds the permit, since it continues if the caller is dropped.
            let _place = place;
            scan(&reader, &waiting)
        };
        task::spawn_blocking(work).await.unwrap_or(Err(ChainFault::Closed))
    }

    /// Returns all mempool entries, parents first.
    ///
    /// # Errors
    /// Fails if the chain is closed.
    pub async fn mempool(&self) -> Result<Vec<MempoolEntry>, ChainFault> {
        self.ask(|reply| ChainCommand::Mempool { reply }).await
    }

    /// Returns the ids of at most `limit` mempool entries, parents first.
    ///
    /// # Errors
    /// Fails if the chain is closed.
    pub async fn mempool_ids(&self, limit: usize) -> Result<Vec<TxId>, ChainFault> {
        self.ask(|reply| ChainCommand::MempoolIds { limit, reply }).await
    }

    /// Returns a transaction and its state; `None` if unknown.
    ///
    /// # Errors
    /// Fails if the chain is closed.
    pub async fn transaction(&self, txid: TxId) -> Result<Option<TxInfo>, ChainFault> {
        self.ask(|reply| ChainCommand::Transaction { txid, reply }).await?
    }

    /// Checks everything from genesis. Other commands wait until the check ends.
    ///
    /// # Cancel safety
    /// Dropping the future ends the check.
    ///
    /// # Errors
    /// Fails if the chain is closed.
    pub async fn verify(
        &self,
        progress: mpsc::Sender<(Height, Height)>,
    ) -> Result<ChainAudit, ChainFault> {
        self.ask(|reply| ChainCommand::Verify { progress, reply }).await?
    }

    /// Rebuilds coins, undo records and index from the blocks. Other commands wait until it ends.
    ///
    /// # Errors
    /// Fails if the chain is closed.
    pub async fn reindex(
        &self,
        progress: mpsc::Sender<(Height, Height)>,
    ) -> Result<ChainAudit, ChainFault> {
        self.ask(|reply| ChainCommand::Reindex { progress, reply }).await?
    }

    /// Returns the checkpoint for an invite: the best chain's block at a depth of about 100, or the
    /// genesis of a young chain.
    ///
    /// # Errors
    /// Fails if the chain is closed.
    pub async fn invite_checkpoint(&self) -> Result<Checkpoint, ChainFault> {
        let reader = self.reader.clone();
        let checkpoint = task::spawn_blocking(move || reader.checkpoint()).await;
        checkpoint.ok().flatten().ok_or(ChainFault::Closed)
    }
}

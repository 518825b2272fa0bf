//! `thread` runs the chain thread, the only writer of `chain.redb`, for holders of a
//! [`ChainHandle`].
//!
//! Commands arrive through one bounded queue. The thread executes all queued commands, writes their
//! changes in one commit, and then sends all replies. Near the tip, a block costs one commit;
//! during initial sync, hundreds of blocks share one. Replies and events wait until their changes
//! are durable, except those of peers' trades, whose loss in a crash does no harm. The thread ends
//! when the last handle is dropped or the disk fails; it then closes the file.
//!
//! During initial sync, three steps run in parallel: [`Preparer`] checks the next blocks of the
//! queue, this thread connects one block, and a third thread writes the blocks before it.
//!
//! ```text
//! queue ─► ahead (form, signatures) ─► connect ─► store ─► replies, events
//!          worker threads              this thread  one thread
//! ```

use std::{
    collections::VecDeque,
    mem::ManuallyDrop,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::{
    runtime,
    sync::{Notify, Semaphore, mpsc, oneshot, watch},
    time,
};

use super::{
    api::{
        BlockAccepted, BlockResults, ChainAudit, ChainCommand, ChainEvent, ChainSummary,
        HeadersAccepted, Origin, Tip,
    },
    errors::{
        AcceptBlockError, AcceptBranchError, AcceptHeadersError, AcceptTradeError, ChainFault,
    },
    handle::{ChainHandle, QUEUE, SCANS},
    jumps::Jumps,
    precheck::{Incoming, Preparer},
    replies::{finish_audit, send, tell},
    state::Chain,
};
use crate::{
    consensus::Work,
    primitives::{Block, BlockHash, Header, Height, Transaction, TxId, UnixMillis},
    storage::contain,
};

/// The thread's source of time, in unix milliseconds.
pub type Clock = Arc<dyn Fn() -> UnixMillis + Send + Sync>;

/// Number of commands that the thread takes from the queue ahead of their turn. With 16, workers
/// can check blocks while the chain thread waits for the disk.
const AHEAD: usize = 16;

/// The longest time that a reply waits for other commands to share its commit.
const MAX_GATHERING: Duration = Duration::from_secs(2);

/// Age at which changes that no reply waits for are committed, even if the thread is busy.
const IDLE: Duration = Duration::from_secs(2);

/// Interval at which a better but refused branch is tried again.
const RECONSIDER: Duration = Duration::from_mins(1);

/// Longest wait for a wall time, since the clock may jump past that time.
const CLOCK_LOOK: Duration = Duration::from_secs(10);

/// Longest time that one report of peers on our branch counts for. Reports come each minute.
const MAX_ATTENDED: Duration = Duration::from_mins(2);

/// Starts the chain thread.
///
/// The receiver of `events` must be drained, since the thread blocks while that channel is full.
/// The returned join handle finishes when the file is closed.
///
/// # Errors
/// Fails if the system cannot start a thread.
pub fn spawn(
    chain: Chain,
    clock: Clock,
    events: mpsc::Sender<ChainEvent>,
) -> std::io::Result<(ChainHandle, JoinHandle<()>)> {
    let runtime = runtime::Builder::new_current_thread().enable_time().build()?;
    let (commands, queue) = mpsc::channel(QUEUE);
    let (publish, summary) = watch::channel(chain.summary());
    let closing = Arc::new(AtomicBool::new(false));
    let fault = Arc::new(OnceLock::new());
    let reader = chain.reader();
    let scans = Arc::new(Semaphore::new(SCANS));
    let (closing_too, fault_too) = (Arc::clone(&closing), Arc::clone(&fault));
    let handle =
        ChainHandle { commands, summary, reader, closing: closing_too, scans, fault: fault_too };
    let preparer = Preparer::start(chain.options.threads, chain.network(), &chain.verified);
    let thread = ChainThread {
        chain: ManuallyDrop::new(chain),
        preparer,
        jumps: Jumps::new(clock(), Instant::now()),
        clock,
        events,
        publish,
        queue,
        ahead: VecDeque::new(),
        runtime,
        replies: Vec::new(),
        batch: Vec::new(),
        gathering: None,
        unsaved: Timer::new(IDLE),
        torn: Timer::new(RECONSIDER),
        attended: None,
        storing: None,
        stored: Arc::default(),
        closing,
        fault,
    };
    let thread = std::thread::Builder::new().name("chain".into()).spawn(move || thread.run())?;
    Ok((handle, thread))
}

/// A reply that is held back until its changes are durable.
type Reply = Box<dyn FnOnce() + Send>;

/// The oneshot for the reply of an operation that can fail.
type Answer<T, E> = oneshot::Sender<Result<T, E>>;

/// The destination of a block's result.
enum BlockReply {
    /// The reply to a command with this block alone.
    Alone(Answer<BlockAccepted, AcceptBlockError>),
    /// A batch with further blocks.
    Batch,
    /// A batch that ends with this block.
    LastOfBatch(oneshot::Sender<BlockResults>),
}

/// A command that was taken from the queue.
enum Taken {
    /// A block, perhaps with a check in progress on a worker.
    Block(Incoming, Origin, BlockReply),
    /// Any other command.
    Command(ChainCommand),
}

/// The replies and the snapshot that wait for the commit in progress.
struct Storing {
    replies: Vec<Reply>,
    summary: ChainSummary,
}

/// A timer that starts when work first becomes pending and is reset when none is pending.
struct Timer {
    patience: Duration,
    since: Option<Instant>,
}

impl Timer {
    const fn new(patience: Duration) -> Self {
        Self { patience, since: None }
    }

    /// Returns the time left; `None` if no work is pending.
    fn left(&mut self, is_wanted: bool) -> Option<Duration> {
        self.since = is_wanted.then(|| self.since.unwrap_or_else(Instant::now));
        self.since.map(|since| self.patience.saturating_sub(since.elapsed()))
    }

    /// True if the timer has run out. It is then reset.
    fn take(&mut self) -> bool {
        self.since.take_if(|since| since.elapsed() >= self.patience).is_some()
    }
}

struct ChainThread {
    /// Dropped at the end of the thread, except after a panic, which leaves it undefined.
    chain: ManuallyDrop<Chain>,
    preparer: Preparer,
    clock: Clock,
    jumps: Jumps,
    events: mpsc::Sender<ChainEvent>,
    publish: watch::Sender<ChainSummary>,
    queue: mpsc::Receiver<ChainCommand>,
    /// Commands taken from the queue and not yet executed, in order.
    ahead: VecDeque<Taken>,
    runtime: runtime::Runtime,
    replies: Vec<Reply>,
    /// The results of the blocks of a batch so far.
    batch: BlockResults,
    /// The time at which the oldest held reply was ready.
    gathering: Option<Instant>,
    /// Runs while there are unwritten changes that no reply waits for.
    unsaved: Timer,
    /// Runs while a better branch is refused; the thread tries it again when the timer runs out.
    torn: Timer,
    /// The time of the last news that peers on our branch are connected.
    attended: Option<Instant>,
    storing: Option<Storing>,
    /// Notified at the end of each commit.
    stored: Arc<Notify>,
    closing: Arc<AtomicBool>,
    fault: Arc<OnceLock<ChainFault>>,
}

/// The event that ended the wait for a command.
enum Next {
    Command(Taken),
    Stored,
    Due,
    Closed,
}

impl ChainThread {
    fn run(mut self) {
        let served = contain(|| self.serve());
        // A panic leaves the chain in an undefined state. It must not be touched again, not even to
        // close the file; the process ends soon.
        let panicked = served.is_err();
        if let Err(fault) = served.unwrap_or_else(|reason| Err(ChainFault::Corrupt(reason))) {
            tracing::error!(%fault, "the chain thread stops");
            // Set before the replies are dropped: a waiting caller sees the closed channel and then
            // reads the fault.
            let _ = self.fault.set(fault);
        }
        let Self { mut chain, mut queue, ahead, storing, replies, events, runtime, fault, .. } =
            self;
        // The writing thread holds the file too.
        let _ = contain(|| chain.finish_storing());
        if !panicked {
            let closed = contain(|| ManuallyDrop::into_inner(chain).close());
            let failure = closed.map_or_else(Some, |closed| Some(closed.err()?.to_string()));
            if let Some(reason) = failure {
                tracing::error!(reason, "the chain's file could not be closed");
            }
        }
        queue.close();
        // The remaining replies must not be sent, since their changes are not durable.
        drop((replies, storing, ahead));
        if let Some(fault) = fault.get() {
            tell(ChainEvent::Failed(fault.clone()), &events, &queue, &runtime);
        }
    }

    fn serve(&mut self) -> Result<(), ChainFault> {
        loop {
            match self.next() {
                Next::Command(command) => {
                    self.gathering.get_or_insert_with(Instant::now);
                    self.answer(command)?;
                    if !self.chain.is_storing() {
                        self.finish()?;
                    }
                    let late = self.gathering.is_some_and(|since| since.elapsed() >= MAX_GATHERING);
                    let nothing_more = self.ahead.is_empty() && self.queue.is_empty();
                    if nothing_more || self.chain.is_full() || late {
                        self.settle()?;
                    }
                }
                Next::Stored => self.settle()?,
                Next::Due => {
                    self.note_jump((self.clock)());
                    self.chain.due((self.clock)())?;
                    if self.torn.take() {
                        self.chain.reconsider((self.clock)())?;
                    }
                    if self.unsaved.take() && self.chain.is_changed() && !self.chain.is_storing() {
                        self.store()?;
                    }
                    self.settle()?;
                }
                Next::Closed => return self.settle_all(),
            }
        }
    }

    /// Waits for the next command, the end of a commit, or a due time. Due work comes first.
    fn next(&mut self) -> Next {
        self.look_ahead();
        let due = self
            .chain
            .next_due()
            .map(|due| Duration::from_millis(due.saturating_sub((self.clock)())).min(CLOCK_LOOK));
        let unsaved = self.unsaved.left(self.chain.is_changed() && self.storing.is_none());
        let torn = self.torn.left(self.chain.is_off_best());
        let patience = due.into_iter().chain(unsaved).chain(torn).min();
        if patience == Some(Duration::ZERO) {
            return Next::Due;
        }
        if let Some(command) = self.ahead.pop_front() {
            return Next::Command(command);
        }
        let (queue, stored) = (&mut self.queue, &self.stored);
        let arrived = self.runtime.block_on(async {
            let timeout = async {
                match patience {
                    Some(patience) => time::sleep(patience).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                command = queue.recv() => command.ok_or(Next::Closed),
                () = stored.notified() => Err(Next::Stored),
                () = timeout => Err(Next::Due),
            }
        });
        match arrived {
            Ok(command) => {
                self.line_up(command);
                self.ahead.pop_front().map_or(Next::Stored, Next::Command)
            }
            Err(next) => next,
        }
    }

    /// Takes commands from the queue ahead of their turn. Blocks that are not next in line are
    /// passed to the workers.
    fn look_ahead(&mut self) {
        while self.ahead.len() < AHEAD {
            let Ok(command) = self.queue.try_recv() else { return };
            self.line_up(command);
        }
    }

    /// Appends a command to those ahead. A batch of blocks becomes single blocks.
    fn line_up(&mut self, command: ChainCommand) {
        match command {
            ChainCommand::AcceptBlock { block, origin, reply } => {
                self.line_up_block(block, origin, BlockReply::Alone(reply));
            }
            ChainCommand::AcceptBlocks { mut blocks, reply } => {
                let Some((last, origin)) = blocks.pop() else {
                    return send(reply, Vec::new());
                };
                for (block, origin) in blocks {
                    self.line_up_block(block, origin, BlockReply::Batch);
                }
                self.line_up_block(last, origin, BlockReply::LastOfBatch(reply));
            }
            other => self.ahead.push_back(Taken::Command(other)),
        }
    }

    /// Appends a block to the commands ahead. If it is not next in line, workers check it
    /// meanwhile.
    fn line_up_block(&mut self, block: Box<Block>, origin: Origin, reply: BlockReply) {
        let mut incoming = Incoming::new(Arc::from(block));
        if !self.ahead.is_empty()
            && let Some(header) = self.chain.wanted_ahead(&incoming)
        {
            self.preparer.prepare(&mut incoming, header);
        }
        self.ahead.push_back(Taken::Block(incoming, origin, reply));
    }

    /// Starts a commit if a reply or event waits for one. Otherwise sends the replies and events at
    /// once.
    fn settle(&mut self) -> Result<(), ChainFault> {
        if self.chain.is_storing() && !self.chain.is_full() {
            // `Next::Stored` calls this function again.
            return Ok(());
        }
        self.finish()?;
        if self.chain.is_awaited() || self.chain.is_full() {
            return self.store();
        }
        self.gathering = None;
        let (summary, replies) = (self.chain.summary(), std::mem::take(&mut self.replies));
        self.release(summary, replies);
        Ok(())
    }

    /// Commits everything and sends all replies and events before it returns.
    fn settle_all(&mut self) -> Result<(), ChainFault> {
        self.finish()?;
        self.chain.commit()?;
        self.settle()
    }

    /// Starts a commit of all changes on the writing thread.
    fn store(&mut self) -> Result<(), ChainFault> {
        self.finish()?;
        let stored = Arc::clone(&self.stored);
        self.gathering = None;
        self.storing = Some(Storing {
            replies: std::mem::take(&mut self.replies),
            summary: self.chain.summary(),
        });
        self.chain.begin_storing(move || stored.notify_one())
    }

    /// Blocks until the commit in progress is durable, then sends its replies and events.
    fn finish(&mut self) -> Result<(), ChainFault> {
        if let Some(Storing { replies, summary }) = self.storing.take() {
            self.chain.finish_storing()?;
            self.release(summary, replies);
        }
        Ok(())
    }

    /// Publishes the snapshot and sends replies and events.
    fn release(&mut self, summary: ChainSummary, replies: Vec<Reply>) {
        let events = self.chain.drain_events();
        // Published before the replies, so that a caller with a reply sees its effect.
        self.publish.send_replace(summary);
        for reply in replies {
            reply();
        }
        for event in events {
            tell(event, &self.events, &self.queue, &self.runtime);
        }
    }

    /// Adjusts the mempool's times if the wall clock has jumped.
    fn note_jump(&mut self, now: UnixMillis) {
        let jump = self.jumps.since_last(now, Instant::now());
        if jump != 0 {
            self.chain.clock_moved(jump);
        }
    }

    /// Holds a reply back until its changes are durable.
    fn hold<T: Send + 'static>(&mut self, reply: oneshot::Sender<T>, value: T) {
        self.replies.push(Box::new(move || send(reply, value)));
    }

    fn take_headers(
        &mut self,
        headers: &[Header],
        (origin, shown): (Origin, Option<Work>),
        reply: Answer<HeadersAccepted, AcceptHeadersError>,
        now: UnixMillis,
    ) -> Result<(), ChainFault> {
        let result = self.chain.accept_shown_headers(headers, origin, shown, now);
        if let Err(AcceptHeadersError::Fault(fault)) = &result {
            return Err(fault.clone());
        }
        self.hold(reply, result);
        Ok(())
    }

    fn take_branch(
        &mut self,
        hash: BlockHash,
        reply: Answer<Tip, AcceptBranchError>,
        now: UnixMillis,
    ) -> Result<(), ChainFault> {
        let result = self.chain.accept_branch(hash, now);
        if let Err(AcceptBranchError::Fault(fault)) = &result {
            return Err(fault.clone());
        }
        self.hold(reply, result);
        Ok(())
    }

    fn take_trade(
        &mut self,
        transaction: Transaction,
        origin: Origin,
        reply: Answer<TxId, AcceptTradeError>,
        now: UnixMillis,
    ) -> Result<(), ChainFault> {
        let result = self.chain.accept_trade(transaction, origin, now);
        if let Err(AcceptTradeError::Fault(fault)) = &result {
            return Err(fault.clone());
        }
        self.hold(reply, result);
        Ok(())
    }

    fn take_block(
        &mut self,
        incoming: Incoming,
        origin: Origin,
        reply: BlockReply,
        now: UnixMillis,
    ) -> Result<(), ChainFault> {
        let hash = incoming.hash;
        let result = self.chain.accept_incoming(incoming, origin, now);
        if let Err(AcceptBlockError::Fault(fault)) = &result {
            return Err(fault.clone());
        }
        match reply {
            BlockReply::Alone(reply) => self.hold(reply, result),
            BlockReply::Batch => self.batch.push((hash, result)),
            BlockReply::LastOfBatch(reply) => {
                self.batch.push((hash, result));
                let results = std::mem::take(&mut self.batch);
                self.hold(reply, results);
            }
        }
        Ok(())
    }

    /// Executes a command and holds its reply back; a fault ends the thread.
    fn answer(&mut self, command: Taken) -> Result<(), ChainFault> {
        let now = (self.clock)();
        self.note_jump(now);
        let command = match command {
            Taken::Block(incoming, origin, reply) => {
                return self.take_block(incoming, origin, reply, now);
            }
            Taken::Command(command) => command,
        };
        self.answer_read(command, now)
    }

    /// Executes a command that adds headers, blocks or trades, or builds on them.
    fn answer_write(&mut self, command: ChainCommand, now: UnixMillis) -> Result<(), ChainFault> {
        match command {
            ChainCommand::AcceptHeaders { headers, origin, shown, reply } => {
                self.take_headers(&headers, (origin, shown), reply, now)?;
            }
            ChainCommand::HeaderContext { hash, reply } => {
                let context = self.chain.header_context(&hash)?;
                self.hold(reply, context);
            }
            ChainCommand::Withhold { hash, reply } => {
                let best = self.chain.withhold(&hash)?;
                self.hold(reply, best);
            }
            ChainCommand::PeersOnBranch(present) => self.attend(present),
            ChainCommand::AcceptBranch { hash, reply } => self.take_branch(hash, reply, now)?,
            ChainCommand::AcceptTrade { transaction, origin, reply } => {
                self.take_trade(*transaction, origin, reply, now)?;
            }
            ChainCommand::Template { owner, reply } => {
                let template = self.chain.template(owner, now)?;
                self.hold(reply, template);
            }
            ChainCommand::Rebuild { header, coinbase, short_ids, reply } => {
                let rebuilt = self.chain.rebuild(*header, *coinbase, &short_ids);
                self.hold(reply, rebuilt);
            }
            // `answer_read` has handled all others, and `line_up` has unpacked batches.
            _ => {}
        }
        Ok(())
    }

    /// Executes a command that changes no block, no header and no trade.
    fn answer_read(&mut self, command: ChainCommand, now: UnixMillis) -> Result<(), ChainFault> {
        match command {
            ChainCommand::Mempool { reply } => {
                let mempool = self.chain.mempool();
                self.hold(reply, mempool);
            }
            ChainCommand::MempoolIds { limit, reply } => {
                let ids = self.chain.mempool_ids(limit);
                self.hold(reply, ids);
            }
            ChainCommand::Transaction { txid, reply } => {
                let transaction = self.chain.transaction(txid)?;
                self.hold(reply, Ok(transaction));
            }
            ChainCommand::CheckHeader { header, reply } => {
                let result = self.chain.check_on_tip(&header, now);
                self.hold(reply, result);
            }
            ChainCommand::UnknownTrades { ids, reply } => {
                let unknown = self.chain.unknown_trades(ids)?;
                self.hold(reply, Ok(unknown));
            }
            ChainCommand::MissingBodies { limit, reply } => {
                send(reply, self.chain.missing_bodies(limit));
            }
            ChainCommand::WaitingTrades { ids, reply } => {
                let trades = self.chain.waiting_trades(&ids);
                self.hold(reply, trades);
            }
            ChainCommand::ShutDown { reply } => {
                self.queue.close();
                self.hold(reply, ());
            }
            ChainCommand::Verify { progress, reply } => self.verify(&progress, reply)?,
            ChainCommand::Reindex { progress, reply } => self.reindex(now, &progress, reply)?,
            other => return self.answer_write(other, now),
        }
        Ok(())
    }

    /// Adds the time since the last report as attended time, if peers were on our branch then.
    fn attend(&mut self, present: bool) {
        let now = Instant::now();
        let since = std::mem::replace(&mut self.attended, present.then_some(now));
        if let Some(since) = since {
            // A longer gap means that the machine slept or that the router had no time.
            let passed = now.saturating_duration_since(since).min(MAX_ATTENDED);
            self.chain.attend(u64::try_from(passed.as_millis()).unwrap_or(0));
        }
    }

    /// Checks the whole chain; ends early if the caller drops its future or the node shuts down.
    fn verify(
        &mut self,
        progress: &mpsc::Sender<(Height, Height)>,
        reply: Answer<ChainAudit, ChainFault>,
    ) -> Result<(), ChainFault> {
        self.settle_all()?;
        let mut report = |done, goal| {
            let _ = progress.try_send((done, goal));
            !reply.is_closed() && !self.closing.load(Ordering::Relaxed)
        };
        let result = self.chain.verify(&mut report);
        finish_audit(reply, result)
    }

    /// Rebuilds the tables from the blocks.
    fn reindex(
        &mut self,
        now: UnixMillis,
        progress: &mpsc::Sender<(Height, Height)>,
        reply: Answer<ChainAudit, ChainFault>,
    ) -> Result<(), ChainFault> {
        self.settle_all()?;
        // Never cancelled halfway, since an incomplete index is useless.
        let mut report = |done, goal| {
            let _ = progress.try_send((done, goal));
            true
        };
        let result = self.chain.reindex(now, &mut report);
        finish_audit(reply, result)
    }
}

//! The chain thread: the one writer of `chain.redb`. Others hold a [`ChainHandle`].
//!
//! Commands come through one bounded queue. The thread takes all that have gathered, then has them
//! written in one commit, then answers them all: alone near the tip, a block costs one commit; far
//! behind, hundreds share one. Nothing is answered or told before it is durable, but for peers'
//! trades, which nobody is promised. The thread ends when the last handle is dropped, or when the
//! disk fails; it then closes the file.
//!
//! Far behind, three things are done at once: the blocks next in the queue are looked at
//! ([`Preparer`]), one is connected here, and those before it are written.
//!
//! ```text
//! queue ─► ahead (form, signatures: workers) ─► connect (this thread) ─► store (one thread) ─► answers, events
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
    sync::{Notify, mpsc, oneshot, watch},
    time,
};

use super::{
    api::{BlockAccepted, ChainAudit, ChainCommand, ChainEvent, ChainSummary, Origin},
    errors::{
        AcceptBlockError, AcceptBranchError, AcceptHeadersError, AcceptTradeError, ChainFault,
    },
    handle::{ChainHandle, QUEUE},
    precheck::{Incoming, Preparer},
    state::Chain,
};
use crate::{primitives::UnixMillis, storage::contain};

/// Where the thread reads the time, in unix milliseconds.
pub type Clock = Arc<dyn Fn() -> UnixMillis + Send + Sync>;

/// Commands that are taken from the queue ahead of their turn, so that the blocks among them can be
/// looked at: enough to keep the threads busy while this one waits for the disk.
const AHEAD: usize = 16;

/// Replies are kept back for a shared commit at most this long.
const MAX_GATHERING: Duration = Duration::from_secs(2);

/// What nobody waits for is committed after this long, however busy the thread is.
const IDLE: Duration = Duration::from_secs(2);

/// How often a better branch that was not taken is looked at again: the clock may have been set.
const RECONSIDER: Duration = Duration::from_mins(1);

/// How often a thread that cannot tell its events looks whether anybody is still there.
const EVENT_PATIENCE: Duration = Duration::from_millis(200);

/// Starts the chain thread.
///
/// `events` should be drained as long as it is held: the thread waits for room. The second value
/// ends when the file is closed.
///
/// # Errors
/// When the system gives no thread.
pub fn spawn(
    chain: Chain,
    clock: Clock,
    events: mpsc::Sender<ChainEvent>,
) -> std::io::Result<(ChainHandle, JoinHandle<()>)> {
    let runtime = runtime::Builder::new_current_thread().enable_time().build()?;
    let (commands, queue) = mpsc::channel(QUEUE);
    let (publish, summary) = watch::channel(chain.summary(clock()));
    let closing = Arc::new(AtomicBool::new(false));
    let fault = Arc::new(OnceLock::new());
    let (reader, closing_too, fault_too) =
        (chain.reader(), Arc::clone(&closing), Arc::clone(&fault));
    let handle = ChainHandle { commands, summary, reader, closing: closing_too, fault: fault_too };
    let preparer = Preparer::start(chain.options.threads, chain.network(), &chain.verified);
    let thread = ChainThread {
        chain: ManuallyDrop::new(chain),
        preparer,
        clock,
        events,
        publish,
        queue,
        ahead: VecDeque::new(),
        runtime,
        replies: Vec::new(),
        gathering: None,
        unsaved: Timer::new(IDLE),
        torn: Timer::new(RECONSIDER),
        storing: None,
        stored: Arc::default(),
        closing,
        fault,
    };
    let thread = std::thread::Builder::new().name("chain".into()).spawn(move || thread.run())?;
    Ok((handle, thread))
}

/// An answer that is kept back until it is durable.
type Reply = Box<dyn FnOnce() + Send>;

/// How a block is answered.
type BlockReply = oneshot::Sender<Result<BlockAccepted, AcceptBlockError>>;

/// A command that was taken from the queue.
enum Taken {
    /// A block, which may be looked at meanwhile.
    Block(Incoming, Origin, BlockReply),
    /// Any other, or a block whose turn it is.
    Command(ChainCommand),
}

impl From<ChainCommand> for Taken {
    fn from(command: ChainCommand) -> Self {
        match command {
            ChainCommand::AcceptBlock { block, origin, reply } => {
                Self::Block(Incoming::new(Arc::from(block)), origin, reply)
            }
            other => Self::Command(other),
        }
    }
}

/// What waits for the commit that is being made.
struct Storing {
    replies: Vec<Reply>,
    summary: ChainSummary,
}

/// Runs from the first moment that something is to be done until it is done after all.
struct Timer {
    patience: Duration,
    since: Option<Instant>,
}

impl Timer {
    const fn new(patience: Duration) -> Self {
        Self { patience, since: None }
    }

    /// What is left of it; none when there is nothing to do.
    fn left(&mut self, is_wanted: bool) -> Option<Duration> {
        self.since = is_wanted.then(|| self.since.unwrap_or_else(Instant::now));
        self.since.map(|since| self.patience.saturating_sub(since.elapsed()))
    }

    /// Whether it has run out; it begins anew then.
    fn take(&mut self) -> bool {
        self.since.take_if(|since| since.elapsed() >= self.patience).is_some()
    }
}

struct ChainThread {
    /// Dropped at the end, unless it was left half done by a panic.
    chain: ManuallyDrop<Chain>,
    preparer: Preparer,
    clock: Clock,
    events: mpsc::Sender<ChainEvent>,
    publish: watch::Sender<ChainSummary>,
    queue: mpsc::Receiver<ChainCommand>,
    /// Taken from the queue, the next first.
    ahead: VecDeque<Taken>,
    runtime: runtime::Runtime,
    replies: Vec<Reply>,
    /// When the first of the replies was kept back.
    gathering: Option<Instant>,
    /// Until changes that nobody waits for are written.
    unsaved: Timer,
    /// Until a better branch that was not taken is looked at again.
    torn: Timer,
    storing: Option<Storing>,
    /// Told at the end of each commit.
    stored: Arc<Notify>,
    /// See [`ChainHandle`].
    closing: Arc<AtomicBool>,
    /// See [`ChainHandle`].
    fault: Arc<OnceLock<ChainFault>>,
}

/// What came of waiting for a command.
enum Next {
    Command(Taken),
    Stored,
    Due,
    Closed,
}

impl ChainThread {
    fn run(mut self) {
        let served = contain(|| self.serve());
        // What a panic left half done is not touched again, not even to close it: the process ends
        // soon.
        let panicked = served.is_err();
        if let Err(fault) = served.unwrap_or_else(|reason| Err(ChainFault::Corrupt(reason))) {
            tracing::error!(%fault, "the chain thread stops");
            // Before the replies go: whoever waits sees the closed channel and asks why.
            let _ = self.fault.set(fault);
        }
        let Self { mut chain, mut queue, ahead, storing, replies, events, runtime, fault, .. } =
            self;
        // What is being written has the file too.
        let _ = contain(|| chain.finish_storing());
        if !panicked && let Err(reason) = contain(|| drop(ManuallyDrop::into_inner(chain))) {
            tracing::error!(reason, "the chain's file could not be closed");
        }
        queue.close();
        // Those that are left may not be sent: nothing of them is durable.
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

    /// Waits for a command until something is due, which comes first.
    fn next(&mut self) -> Next {
        self.look_ahead();
        let due = self
            .chain
            .next_due()
            .map(|due| Duration::from_millis(due.saturating_sub((self.clock)())));
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
        self.runtime.block_on(async {
            let timeout = async {
                match patience {
                    Some(patience) => time::sleep(patience).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                command = queue.recv() => command.map_or(Next::Closed, |command| Next::Command(Taken::Command(command))),
                () = stored.notified() => Next::Stored,
                () = timeout => Next::Due,
            }
        })
    }

    /// Takes commands from the queue ahead of their turn, and has the blocks looked at that follow
    /// another command.
    fn look_ahead(&mut self) {
        while self.ahead.len() < AHEAD {
            let Ok(command) = self.queue.try_recv() else { return };
            let mut taken = Taken::from(command);
            if let Taken::Block(incoming, ..) = &mut taken
                && !self.ahead.is_empty()
                && let Some(header) = self.chain.wanted_ahead(incoming)
            {
                self.preparer.prepare(incoming, header);
            }
            self.ahead.push_back(taken);
        }
    }

    /// Has everything written if anybody waits for it; answers and tells at once if nobody does.
    fn settle(&mut self) -> Result<(), ChainFault> {
        if self.chain.is_storing() && !self.chain.is_full() {
            // Settled again when that has ended.
            return Ok(());
        }
        self.finish()?;
        if self.chain.is_awaited() || self.chain.is_full() {
            return self.store();
        }
        self.gathering = None;
        let (summary, replies) =
            (self.chain.summary((self.clock)()), std::mem::take(&mut self.replies));
        self.release(summary, replies);
        Ok(())
    }

    /// Writes, answers and tells everything before it returns.
    fn settle_all(&mut self) -> Result<(), ChainFault> {
        self.finish()?;
        self.chain.commit()?;
        self.settle()
    }

    /// Begins to write everything that has gathered.
    fn store(&mut self) -> Result<(), ChainFault> {
        self.finish()?;
        let stored = Arc::clone(&self.stored);
        self.gathering = None;
        self.storing = Some(Storing {
            replies: std::mem::take(&mut self.replies),
            summary: self.chain.summary((self.clock)()),
        });
        self.chain.begin_storing(move || stored.notify_one())
    }

    /// Waits until what is being written is durable; answers and tells it.
    fn finish(&mut self) -> Result<(), ChainFault> {
        if let Some(Storing { replies, summary }) = self.storing.take() {
            self.chain.finish_storing()?;
            self.release(summary, replies);
        }
        Ok(())
    }

    /// Answers and tells.
    fn release(&mut self, summary: ChainSummary, replies: Vec<Reply>) {
        let events = self.chain.drain_events();
        // Before the replies: who has one sees its effect.
        self.publish.send_replace(summary);
        for reply in replies {
            reply();
        }
        for event in events {
            tell(event, &self.events, &self.queue, &self.runtime);
        }
    }

    fn keep(&mut self, reply: impl FnOnce() + Send + 'static) {
        self.replies.push(Box::new(reply));
    }

    fn take_block(
        &mut self,
        incoming: Incoming,
        origin: Origin,
        reply: BlockReply,
        now: UnixMillis,
    ) -> Result<(), ChainFault> {
        let result = self.chain.accept_incoming(incoming, origin, now);
        if let Err(AcceptBlockError::Fault(fault)) = &result {
            return Err(fault.clone());
        }
        self.keep(move || send(reply, result));
        Ok(())
    }

    /// Does what a command asks and keeps the answer back; a fault ends the thread.
    fn answer(&mut self, command: Taken) -> Result<(), ChainFault> {
        let now = (self.clock)();
        let command = match command {
            Taken::Block(incoming, origin, reply) => {
                return self.take_block(incoming, origin, reply, now);
            }
            Taken::Command(command) => command,
        };
        match command {
            ChainCommand::AcceptHeaders { headers, origin, reply } => {
                let result = self.chain.accept_headers(&headers, origin, now);
                if let Err(AcceptHeadersError::Fault(fault)) = &result {
                    return Err(fault.clone());
                }
                self.keep(move || send(reply, result));
            }
            ChainCommand::AcceptBlock { block, origin, reply } => {
                self.take_block(Incoming::new(Arc::from(block)), origin, reply, now)?;
            }
            ChainCommand::AcceptBranch { hash, reply } => {
                let result = self.chain.accept_branch(hash, now);
                if let Err(AcceptBranchError::Fault(fault)) = &result {
                    return Err(fault.clone());
                }
                self.keep(move || send(reply, result));
            }
            ChainCommand::AcceptTrade { transaction, origin, reply } => {
                let result = self.chain.accept_trade(*transaction, origin, now);
                if let Err(AcceptTradeError::Fault(fault)) = &result {
                    return Err(fault.clone());
                }
                self.keep(move || send(reply, result));
            }
            ChainCommand::Template { owner, reply } => {
                let template = self.chain.template(owner, now)?;
                self.keep(move || send(reply, template));
            }
            ChainCommand::Rebuild { header, coinbase, short_ids, reply } => {
                let rebuilt = self.chain.rebuild(*header, *coinbase, &short_ids);
                self.keep(move || send(reply, rebuilt));
            }
            ChainCommand::Spendable { owner, reply } => {
                let spendable = self.chain.spendable(owner)?;
                self.keep(move || send(reply, Ok(spendable)));
            }
            ChainCommand::Balance { owner, reply } => {
                let balance = self.chain.balance(owner)?;
                self.keep(move || send(reply, Ok(balance)));
            }
            ChainCommand::Mempool { reply } => {
                let mempool = self.chain.mempool();
                self.keep(move || send(reply, mempool));
            }
            ChainCommand::Transaction { txid, reply } => {
                let transaction = self.chain.transaction(txid)?;
                self.keep(move || send(reply, Ok(transaction)));
            }
            ChainCommand::CheckHeader { header, reply } => {
                let result = self.chain.check_on_tip(&header, now);
                self.keep(move || send(reply, result));
            }
            ChainCommand::UnknownTrades { ids, reply } => {
                let unknown = self.chain.unknown_trades(ids)?;
                self.keep(move || send(reply, Ok(unknown)));
            }
            ChainCommand::WaitingTrades { ids, reply } => {
                let trades = self.chain.waiting_trades(&ids);
                self.keep(move || send(reply, trades));
            }
            ChainCommand::ShutDown { reply } => {
                self.queue.close();
                self.keep(move || send(reply, ()));
            }
            ChainCommand::Verify { progress, reply } => {
                self.settle_all()?;
                let mut tell = |done, goal| {
                    let _ = progress.try_send((done, goal));
                    !reply.is_closed() && !self.closing.load(Ordering::Relaxed)
                };
                let result = self.chain.verify(&mut tell);
                finish_audit(reply, result)?;
            }
            ChainCommand::Reindex { progress, reply } => {
                self.settle_all()?;
                // Never given up in the middle: half an index is of no use to anybody.
                let mut tell = |done, goal| {
                    let _ = progress.try_send((done, goal));
                    true
                };
                let result = self.chain.reindex(now, &mut tell);
                finish_audit(reply, result)?;
            }
        }
        Ok(())
    }
}

/// Tells an event, waiting for room as long as anybody could make some.
fn tell(
    event: ChainEvent,
    events: &mpsc::Sender<ChainEvent>,
    queue: &mpsc::Receiver<ChainCommand>,
    runtime: &runtime::Runtime,
) {
    let mut event = event;
    loop {
        event = match events.try_send(event) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => return,
            Err(mpsc::error::TrySendError::Full(event)) => event,
        };
        if queue.is_closed() {
            return;
        }
        let wait = async { time::timeout(EVENT_PATIENCE, events.reserve()).await.is_ok() };
        runtime.block_on(wait);
    }
}

/// Sends an answer; that nobody waits any more is nobody's loss.
fn send<T>(reply: oneshot::Sender<T>, answer: T) {
    drop(reply.send(answer));
}

/// Answers an audit; one that was given up is no fault of the disk.
fn finish_audit(
    reply: oneshot::Sender<Result<ChainAudit, ChainFault>>,
    result: Result<ChainAudit, ChainFault>,
) -> Result<(), ChainFault> {
    match result {
        Err(ChainFault::Cancelled) => {
            send(reply, Err(ChainFault::Cancelled));
            Ok(())
        }
        Err(fault) => {
            send(reply, Err(fault.clone()));
            Err(fault)
        }
        Ok(audit) => {
            send(reply, Ok(audit));
            Ok(())
        }
    }
}

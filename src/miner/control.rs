//! The miner's task chooses the template to search and submits solutions to the chain.
//!
//! The task owns all of the miner's state. At most one query to the chain is in flight. Commands
//! and tip changes are handled without waiting for that query.

use std::{
    collections::VecDeque,
    future::{Future, pending, poll_fn},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use rand::rngs::StdRng;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until},
};

use super::{
    MAX_REQUESTS, MineError, MinedIn, MinerCommand, MinerConfig, MinerStatus, NonceSearch,
    policy::{Decision, Policy},
    workers::{Found, Job, Workers},
};
use crate::{
    chain::{
        AcceptBlockError, ChainFault, ChainHandle,
        api::{BlockAccepted, ChainSummary, Origin, Template, TxInfo, TxState},
    },
    consensus::Target,
    primitives::{Block, BlockHash, Header, MiningMode, Owner, TxId, UnixMillis},
    telemetry::events,
};

/// Maximum age of a template in use. A refresh updates its time, difficulty and transactions.
const REFRESH: Duration = Duration::from_secs(1);
/// Minimum interval between templates when only the mempool changes. Each template costs the chain
/// thread a pass over the mempool.
const MEMPOOL_REFRESH: Duration = Duration::from_millis(100);
/// Wait before the next template request after the chain failed or refused a block.
const BACK_OFF: Duration = Duration::from_secs(1);

/// An open [`MinerCommand::MineBlocks`] request.
struct WantsBlocks {
    left: u32,
    owner: Owner,
    mined: Vec<BlockHash>,
    reply: oneshot::Sender<Result<Vec<BlockHash>, MineError>>,
}

/// An open [`MinerCommand::MineUntil`] request.
struct WantsMined {
    txid: TxId,
    owner: Owner,
    reply: oneshot::Sender<Result<MinedIn, MineError>>,
}

/// The current template.
struct Current {
    job: Arc<Job>,
    /// Time of the request to the chain.
    asked: Instant,
}

impl Current {
    /// Returns the decision if no node would accept the block at present.
    fn hindered(&self) -> Option<Decision> {
        Policy::hindered(&self.job.template, self.asked)
    }
}

/// The result of a query to the chain.
enum Answer {
    Template { owner: Owner, asked: Instant, result: Result<Template, ChainFault> },
    Accepted { found: Found, hash: BlockHash, result: Result<BlockAccepted, AcceptBlockError> },
    Looked(Vec<(TxId, Result<Option<TxInfo>, ChainFault>)>),
}

type Question = Pin<Box<dyn Future<Output = Answer> + Send>>;

pub(super) struct MinerTask {
    chain: ChainHandle,
    summary: watch::Receiver<ChainSummary>,
    commands: mpsc::Receiver<MinerCommand>,
    found: mpsc::Receiver<Found>,
    solved: Option<mpsc::Sender<Header>>,
    workers: Workers,
    status: watch::Sender<MinerStatus>,
    rng: StdRng,
    policy: Policy,
    owner: Option<Owner>,
    blocks: VecDeque<WantsBlocks>,
    transactions: Vec<WantsMined>,
    tip: BlockHash,
    /// True if the tip is the best header.
    caught_up: bool,
    mempool: usize,
    mempool_changes: u64,
    /// True if the mempool has changed since the current template was requested.
    mempool_changed: bool,
    /// True if the awaited transactions must be looked up again.
    look: bool,
    current: Option<Current>,
    /// The time by the wall clock that the miner waits for.
    waits_until: Option<UnixMillis>,
    /// The job that the threads search.
    running: Option<Arc<Job>>,
    question: Option<Question>,
    /// A solution to submit once the query in flight completes.
    solution: Option<Found>,
    /// End of the back-off: no template is requested before this time.
    not_before: Option<Instant>,
}

impl MinerTask {
    pub(super) fn new(
        chain: ChainHandle,
        config: MinerConfig,
        workers: Workers,
        commands: mpsc::Receiver<MinerCommand>,
        found: mpsc::Receiver<Found>,
        solved: Option<mpsc::Sender<Header>>,
    ) -> (Self, watch::Receiver<MinerStatus>) {
        let MinerConfig { mode, owner, .. } = config;
        let mut summary = chain.watch();
        let (tip, best, mempool, mempool_changes, spacing_ms) = {
            let summary = summary.borrow_and_update();
            (
                summary.tip.hash,
                summary.best_header.hash,
                summary.mempool,
                summary.mempool_changes,
                summary.network.params.spacing_ms,
            )
        };
        let (status, status_receiver) = watch::channel(MinerStatus {
            mode,
            owner,
            threads: workers.count(),
            mining: false,
            waits_until: None,
            blocks: 0,
        });
        let control = Self {
            chain,
            summary,
            commands,
            found,
            solved,
            workers,
            status,
            rng: rand::make_rng(),
            policy: Policy::new(mode, spacing_ms),
            owner,
            blocks: VecDeque::new(),
            transactions: Vec::new(),
            tip,
            caught_up: tip == best,
            mempool,
            mempool_changes,
            mempool_changed: false,
            look: false,
            current: None,
            waits_until: None,
            running: None,
            question: None,
            solution: None,
            not_before: None,
        };
        (control, status_receiver)
    }

    /// Runs until a stop command, the drop of the last handle, or the end of the chain.
    pub(super) async fn run(mut self) {
        let mut stopped = None;
        loop {
            let now = Instant::now();
            self.drop_abandoned();
            let deadline = self.steer(now);
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    None => break,
                    Some(MinerCommand::Stop { reply }) => {
                        stopped = Some(reply);
                        break;
                    }
                    Some(command) => self.command(command, now),
                },
                changed = self.summary.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    self.chain_changed();
                }
                answer = answer_to(&mut self.question) => {
                    self.question = None;
                    self.answer(answer);
                }
                Some(found) = self.found.recv() => self.found(found),
                () = abandoned(&mut self.blocks, &mut self.transactions) => {}
                () = at(deadline) => {}
            }
        }
        let workers = self.workers;
        // Joining takes under a millisecond, but it blocks, so it must not run on an async thread.
        let _ = tokio::task::spawn_blocking(move || workers.stop()).await;
        if let Some(reply) = stopped {
            // The caller may have stopped waiting.
            let _ = reply.send(());
        }
    }

    fn command(&mut self, command: MinerCommand, now: Instant) {
        match command {
            MinerCommand::SetMode(mode) => self.policy.mode = mode,
            MinerCommand::SetOwner(owner) => self.owner = owner,
            // There is no better branch any more.
            MinerCommand::Suspend if self.caught_up => {}
            MinerCommand::Suspend => self.policy.suspend(now),
            MinerCommand::MineBlocks { count: 0, reply, .. } => tell(reply, Ok(Vec::new())),
            MinerCommand::MineBlocks { reply, .. } if self.blocks.len() >= MAX_REQUESTS => {
                tell(reply, Err(MineError::Busy));
            }
            MinerCommand::MineUntil { reply, .. } if self.transactions.len() >= MAX_REQUESTS => {
                tell(reply, Err(MineError::Busy));
            }
            MinerCommand::MineBlocks { count, owner, reply } => {
                self.blocks.push_back(WantsBlocks { left: count, owner, mined: Vec::new(), reply });
            }
            MinerCommand::MineUntil { txid, owner, reply } => {
                self.transactions.push(WantsMined { txid, owner, reply });
                self.look = true;
                // The current template may be older than the transaction.
                self.mempool_changed = true;
            }
            MinerCommand::Stop { .. } => {}
        }
    }

    /// Applies the chain's newest summary to our copy of it.
    fn chain_changed(&mut self) {
        let (tip, best, mempool, mempool_changes) = {
            let summary = self.summary.borrow_and_update();
            let (tip, best) = (summary.tip.hash, summary.best_header.hash);
            (tip, best, summary.mempool, summary.mempool_changes)
        };
        self.caught_up = tip == best;
        if self.caught_up {
            self.policy.caught_up();
        }
        if tip != self.tip {
            self.tip = tip;
            self.policy.tip_changed();
            self.look = true;
        }
        self.mempool = mempool;
        // The chain also publishes summaries in which the mempool is unchanged.
        if mempool_changes != self.mempool_changes {
            self.mempool_changes = mempool_changes;
            self.mempool_changed = true;
        }
    }

    /// Returns the recipient of the next block, or `None` if no block is wanted.
    fn wanted_owner(&self) -> Option<Owner> {
        if let Some(first) = self.blocks.front() {
            return Some(first.owner);
        }
        if let Some(first) = self.transactions.first() {
            return Some(first.owner);
        }
        match self.policy.mode {
            MiningMode::Off => None,
            MiningMode::OnDemand if self.mempool == 0 => None,
            MiningMode::OnDemand | MiningMode::Always => self.owner,
        }
    }

    /// Starts or stops the threads and starts a query to the chain if one is due. Returns the time
    /// of the next step if no event arrives first.
    fn steer(&mut self, now: Instant) -> Option<Instant> {
        let wanted = self.wanted_owner();
        let fits = |current: &Current| {
            Some(current.job.owner) == wanted && current.job.parent() == self.tip
        };
        if !self.current.as_ref().is_some_and(fits) {
            self.current = None;
        }
        let (decision, job) = match &self.current {
            None => (Decision::Rest, None),
            Some(_) if let Some(until) = self.policy.suspended(now) => {
                (Decision::Wait(until), None)
            }
            Some(current) => {
                let template = &current.job.template;
                let asked_for =
                    !self.blocks.is_empty() || !self.transactions.is_empty() && template.has_trades;
                let decision = if let Some(hindered) = current.hindered() {
                    // The wait is over, and a new template has been requested.
                    if matches!(hindered, Decision::Wait(until) if until <= now) {
                        Decision::Rest
                    } else {
                        hindered
                    }
                } else if asked_for {
                    Decision::Mine
                } else if self.owner == Some(current.job.owner) {
                    self.policy.decide(template, now, &mut self.rng)
                } else {
                    Decision::Rest
                };
                (decision, Some(Arc::clone(&current.job)))
            }
        };
        let job = job.filter(|_| decision == Decision::Mine);
        if job.as_ref().map(Arc::as_ptr) != self.running.as_ref().map(Arc::as_ptr) {
            self.workers.set(job.clone());
            self.running = job;
        }
        self.waits_until = self.current.as_ref().and_then(|current| {
            let early = current.job.template.early?;
            wanted.map(|_| early.due)
        });
        self.publish();
        let next = self.ask(wanted, now);
        match decision {
            Decision::Wait(until) => Some(next.map_or(until, |next| next.min(until))),
            Decision::Rest | Decision::Mine => next,
        }
    }

    /// Starts the most urgent query to the chain, unless one is in flight. Returns the time of the
    /// next query if none is due yet.
    fn ask(&mut self, wanted: Option<Owner>, now: Instant) -> Option<Instant> {
        if self.question.is_some() {
            return None;
        }
        let chain = self.chain.clone();
        if let Some(found) = self.solution.take() {
            self.question = Some(Box::pin(accept(chain, found)));
            return None;
        }
        if std::mem::take(&mut self.look) && !self.transactions.is_empty() {
            let txids: Vec<TxId> = self.transactions.iter().map(|wants| wants.txid).collect();
            self.question = Some(Box::pin(look(chain, txids)));
            return None;
        }
        let owner = wanted?;
        let mut due = match &self.current {
            None => now,
            Some(current) if self.mempool_changed => current.asked.checked_add(MEMPOOL_REFRESH)?,
            // A new template is due then: the clock may have been set, and blocks may have come.
            Some(current) if let Some(Decision::Wait(until)) = current.hindered() => until,
            Some(current) if self.running.is_some() || !self.transactions.is_empty() => {
                current.asked.checked_add(REFRESH)?
            }
            Some(_) => return None,
        };
        let rest = self.policy.suspended(now);
        due = self.not_before.into_iter().chain(rest).fold(due, Instant::max);
        if now < due {
            return Some(due);
        }
        self.mempool_changed = false;
        self.question = Some(Box::pin(async move {
            Answer::Template { owner, asked: now, result: chain.template(owner).await }
        }));
        None
    }

    fn answer(&mut self, answer: Answer) {
        match answer {
            Answer::Template { owner, asked, result } => self.templated(owner, asked, result),
            Answer::Accepted { found, hash, result } => self.accepted(&found, hash, result),
            Answer::Looked(results) => {
                for (txid, result) in results {
                    self.looked(txid, result);
                }
            }
        }
    }

    fn templated(&mut self, owner: Owner, asked: Instant, result: Result<Template, ChainFault>) {
        let template = match result {
            Ok(template) => template,
            Err(fault) => return self.failed(&MineError::Chain(fault)),
        };
        let header = &template.block.header;
        let target = match Target::from_compact(header.bits) {
            Ok(target) => target,
            Err(error) => return self.failed(&MineError::Refused(error.to_string())),
        };
        let search = NonceSearch::new(header, &target);
        // The next call of `steer` starts the threads on it, or drops it if it is no longer wanted.
        self.current = Some(Current { job: Arc::new(Job { template, owner, search }), asked });
    }

    /// Accepts the first solution on the current tip and drops its template. Ignores all others.
    fn found(&mut self, found: Found) {
        let fresh =
            self.current.as_ref().is_some_and(|current| current.job.parent() == found.job.parent());
        if !fresh || self.running.is_none() || found.job.parent() != self.tip {
            return;
        }
        if let Some(solved) = &self.solved {
            // A full channel drops the header: the block itself follows.
            let _ = solved.try_send(found.header());
        }
        self.current = None;
        self.solution = Some(found);
    }

    fn accepted(
        &mut self,
        found: &Found,
        hash: BlockHash,
        result: Result<BlockAccepted, AcceptBlockError>,
    ) {
        match result {
            Ok(BlockAccepted::Connected) => {
                let block = &found.job.template.block;
                let (previous, height, transactions) =
                    (block.header.previous, block.header.height, block.transactions.len());
                events::BlockMined { hash, previous, height, transactions }.emit();
                self.status.send_modify(|status| status.blocks = status.blocks.saturating_add(1));
                self.counted(found.job.owner, hash);
                self.not_before = None;
            }
            // Another miner's block came first: mine on that one.
            Ok(outcome) => {
                tracing::debug!(%hash, ?outcome, "a mined block did not join the best chain");
            }
            Err(AcceptBlockError::Fault(fault)) => self.failed(&MineError::Chain(fault)),
            Err(error) => self.failed(&MineError::Refused(error.to_string())),
        }
        // The chain may have published a newer summary than our copy before it replied.
        self.chain_changed();
    }

    /// Credits a block to the request that it was mined for, and replies if that was the last one.
    fn counted(&mut self, owner: Owner, hash: BlockHash) {
        let Some(first) = self.blocks.front_mut().filter(|first| first.owner == owner) else {
            return;
        };
        first.mined.push(hash);
        first.left = first.left.saturating_sub(1);
        if first.left == 0
            && let Some(done) = self.blocks.pop_front()
        {
            tell(done.reply, Ok(done.mined));
        }
    }

    /// Replies to the callers that await `txid`, unless it is still in the mempool.
    fn looked(&mut self, txid: TxId, result: Result<Option<TxInfo>, ChainFault>) {
        let verdict = match result {
            Ok(Some(info)) => match info.state {
                TxState::Mempool => return,
                TxState::Mined { block, height } => Ok(MinedIn { block, height }),
                TxState::Void { reason } => Err(MineError::Void { txid, reason }),
            },
            Ok(None) => Err(MineError::Unknown(txid)),
            Err(fault) => Err(MineError::Chain(fault)),
        };
        for done in self.transactions.extract_if(.., |wants| wants.txid == txid) {
            tell(done.reply, verdict.clone());
        }
    }

    /// Replies to all open requests with `error`, and starts the back-off.
    fn failed(&mut self, error: &MineError) {
        tracing::debug!(%error, "the miner backs off");
        for wants in self.blocks.drain(..) {
            tell(wants.reply, Err(error.clone()));
        }
        for wants in self.transactions.drain(..) {
            tell(wants.reply, Err(error.clone()));
        }
        self.not_before = Instant::now().checked_add(BACK_OFF);
    }

    /// Drops the requests of callers that have stopped waiting.
    fn drop_abandoned(&mut self) {
        self.blocks.retain(|wants| !wants.reply.is_closed());
        self.transactions.retain(|wants| !wants.reply.is_closed());
    }

    fn publish(&self) {
        let (mode, owner, waits_until) = (self.policy.mode, self.owner, self.waits_until);
        let mining = self.running.is_some();
        self.status.send_if_modified(|status| {
            let new = MinerStatus { mode, owner, mining, waits_until, ..*status };
            let changed = *status != new;
            *status = new;
            changed
        });
    }
}

async fn accept(chain: ChainHandle, found: Found) -> Answer {
    let header = found.header();
    let block = Block { header, transactions: found.job.template.block.transactions.clone() };
    let result = chain.accept_block(block, Origin::Local).await;
    Answer::Accepted { found, hash: header.hash(), result }
}

async fn look(chain: ChainHandle, txids: Vec<TxId>) -> Answer {
    let mut results = Vec::with_capacity(txids.len());
    for txid in txids {
        results.push((txid, chain.transaction(txid).await));
    }
    Answer::Looked(results)
}

/// Awaits the query in flight, or waits forever if there is none.
///
/// # Cancel safety
/// The query stays in `question` when this future is dropped.
async fn answer_to(question: &mut Option<Question>) -> Answer {
    match question {
        Some(question) => question.await,
        None => pending().await,
    }
}

/// Waits until any caller stops waiting for its request.
async fn abandoned(blocks: &mut VecDeque<WantsBlocks>, transactions: &mut [WantsMined]) {
    poll_fn(|context| {
        let blocks = blocks.iter_mut().any(|wants| wants.reply.poll_closed(context).is_ready());
        let transactions =
            transactions.iter_mut().any(|wants| wants.reply.poll_closed(context).is_ready());
        if blocks || transactions { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

/// Replies to a caller. The caller may have stopped waiting.
fn tell<T>(reply: oneshot::Sender<T>, answer: T) {
    let _ = reply.send(answer);
}

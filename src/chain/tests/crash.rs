//! Tests of a crash after any write, with any part of the unsynced data lost. The chain that opens
//! again is whole, has everything that was acknowledged, and reaches the same end.

use std::{collections::HashSet, sync::Arc, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};

use crate::{
    chain::{
        BlockAccepted, Chain, ChainCommand, ChainEvent, ChainFault, ChainHandle, Origin,
        errors::{AcceptBlockError, AcceptHeadersError, AcceptTradeError},
        spawn,
        store::Store,
        testing::{
            Branch, NOW, PEER, coin_of, genesis_coin, key, network, note, options, owner, pay,
        },
    },
    consensus::{Network, SUBSIDY},
    primitives::{Amount, Block, BlockHash, Header, OutPoint, Transaction, TxId},
    storage::crash::{CrashDisk, Unsynced},
};

/// Returns the number of runs of the long test: `FRIENDCHAIN_CRASH_SEEDS`, none by default.
pub(super) fn long_run() -> Option<u64> {
    std::env::var("FRIENDCHAIN_CRASH_SEEDS").ok()?.parse().ok()
}

/// A step of a run.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Headers(Vec<Header>),
    Block(Block),
    Trade(Transaction, Origin),
    /// Uncommitted changes become durable, and their events are emitted.
    Commit,
    /// The same, while the next steps run.
    Store,
    Reindex,
}

/// A branch with a coin of `key(1)` on it. Each trade spends that coin and creates a new one.
#[derive(Clone)]
struct Growing {
    branch: Branch,
    coin: OutPoint,
    units: u64,
    stamp: u32,
    blocks: u32,
}

impl Growing {
    /// Returns a trade that spends the coin and creates a new one.
    fn trade(&mut self, network: &Network) -> Transaction {
        let paid = self.units / 10;
        self.units -= paid;
        let trade = pay(
            network,
            &key(1),
            self.coin,
            &[(owner(&key(1)), self.units), (owner(&key(2)), paid)],
        );
        self.coin = coin_of(&trade, 0);
        trade
    }

    fn block(&mut self, trades: &[Transaction]) -> Block {
        self.blocks += 1;
        self.branch.next(trades)
    }
}

/// Adds a branch that forks off below the tip of the best one. If it wins, returns the branch after
/// each of its blocks.
fn fork(
    network: &Network,
    random: &mut StdRng,
    past: &[Growing],
    salt: u8,
    steps: &mut Vec<Step>,
) -> Option<Vec<Growing>> {
    let depth = random.random_range(1..=past.len().min(5) - 1);
    let mut other = past[past.len() - 1 - depth].clone();
    other.branch = other.branch.fork(salt);
    let wins = random.random_bool(0.7);
    let grown = depth + usize::from(wins);
    let mut kept = past[..past.len() - depth].to_vec();
    for _ in 0..grown {
        let trades = if random.random_bool(0.4) { vec![other.trade(network)] } else { vec![] };
        steps.push(Step::Block(other.block(&trades)));
        kept.push(other.clone());
    }
    wins.then_some(kept)
}

/// Returns a run of blocks, reorgs, trades, invalid blocks and flushes, which depends on the seed
/// alone.
pub(super) fn script(network: &Network, seed: u64, length: usize) -> Vec<Step> {
    let mut random = StdRng::seed_from_u64(seed);
    let units = Amount::from_coins(100).units();
    let mut best = Growing {
        branch: Branch::new(network, 0),
        coin: genesis_coin(network),
        units,
        stamp: 0,
        blocks: 0,
    };
    // The best branch after each of its blocks.
    let mut past = vec![best.clone()];
    let (mut steps, mut salt) = (Vec::new(), 0u8);
    while steps.len() < length {
        match random.random_range(0..14) {
            0..=3 => {
                let trades: Vec<_> =
                    (0..random.random_range(0..3)).map(|_| best.trade(network)).collect();
                for trade in &trades {
                    let origin = if random.random_bool(0.7) { Origin::Local } else { PEER };
                    steps.push(Step::Trade(trade.clone(), origin));
                }
                steps.push(Step::Block(best.block(&trades)));
                past.push(best.clone());
            }
            4 => {
                // A local note, which may be mined or not.
                let text = note(&network.id, &key(3), best.stamp, b"words");
                best.stamp += 1;
                steps.push(Step::Trade(text.clone(), Origin::Local));
                if random.random_bool(0.5) {
                    steps.push(Step::Commit);
                    steps.push(Step::Block(best.block(&[text])));
                    past.push(best.clone());
                }
            }
            5 | 6 if best.blocks > 0 => {
                salt += 1;
                if let Some(won) = fork(network, &mut random, &past, salt, &mut steps) {
                    past = won;
                    best = past.last().expect("a block").clone();
                }
            }
            7 => {
                // Headers first, then bodies, the last one first.
                let mut blocks: Vec<_> = (0..random.random_range(1..5))
                    .map(|_| {
                        let block = best.block(&[]);
                        past.push(best.clone());
                        block
                    })
                    .collect();
                steps.push(Step::Headers(blocks.iter().map(|block| block.header).collect()));
                if random.random_bool(0.5) {
                    blocks.reverse();
                }
                steps.extend(blocks.into_iter().map(Step::Block));
            }
            8 => {
                let bad = best.branch.draft(&[], Amount::from_units(SUBSIDY.units() + 1));
                steps.push(Step::Block(bad));
            }
            9 if random.random_bool(0.2) => steps.push(Step::Reindex),
            10 | 11 => steps.push(Step::Store),
            _ => steps.push(Step::Commit),
        }
    }
    steps.push(Step::Commit);
    steps
}

/// The observations of a run, each with the number of disk operations before it.
#[derive(Default)]
pub(super) struct Seen {
    /// The tip after each step.
    tips: Vec<(usize, BlockHash)>,
    /// The announced ones of these tips, by index.
    told: Vec<(usize, usize)>,
    stored: Vec<(usize, BlockHash)>,
    own: Vec<(usize, TxId)>,
    /// Replies that wait for a commit.
    held: Held,
    /// Replies that wait for the commit in progress.
    storing: Held,
}

#[derive(Default)]
struct Held {
    blocks: Vec<BlockHash>,
    trades: Vec<TxId>,
}

/// A chain on a disk, which runs the steps one by one.
pub(super) struct Player {
    pub(super) chain: Chain,
    disk: CrashDisk,
    seen: Seen,
}

impl Player {
    pub(super) fn open(network: &Network, disk: &CrashDisk) -> Self {
        let store = Store::on_backend(disk.clone(), network, 4).expect("a store");
        let chain = Chain::on_store(store, options()).expect("a chain");
        let tips = vec![(disk.operations(), chain.tip().hash)];
        Self {
            chain,
            disk: disk.clone(),
            seen: Seen { tips, told: vec![(0, 0)], ..Seen::default() },
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), ChainFault> {
        match step {
            Step::Headers(headers) => {
                if let Err(AcceptHeadersError::Fault(fault)) =
                    self.chain.accept_headers(headers, PEER, NOW)
                {
                    return Err(fault);
                }
            }
            Step::Block(block) => match self.chain.accept_block(block.clone(), PEER, NOW) {
                Ok(BlockAccepted::Connected | BlockAccepted::SideBranch) => {
                    self.seen.held.blocks.push(block.hash());
                }
                Err(AcceptBlockError::Fault(fault)) => return Err(fault),
                _ => {}
            },
            Step::Trade(trade, origin) => {
                match self.chain.accept_trade(trade.clone(), *origin, NOW) {
                    Ok(txid) if *origin == Origin::Local => self.seen.held.trades.push(txid),
                    Err(AcceptTradeError::Fault(fault)) => return Err(fault),
                    _ => {}
                }
            }
            Step::Commit => self.chain.commit()?,
            Step::Store => self.chain.begin_storing(|| {})?,
            Step::Reindex => {
                let audit = self.chain.reindex(NOW, &mut |_, _| true)?;
                assert_eq!(audit.problem, None);
            }
        }
        self.seen.tips.push((self.disk.operations(), self.chain.tip().hash));
        if matches!(step, Step::Commit | Step::Reindex | Step::Store) {
            // A commit waits for the end of the one before it.
            let storing = std::mem::take(&mut self.seen.storing);
            let held = std::mem::take(&mut self.seen.held);
            self.seen.answer(storing, self.disk.operations());
            if matches!(step, Step::Store) {
                self.seen.storing = held;
            } else {
                self.seen.answer(held, self.disk.operations());
            }
        }
        let told = self.chain.drain_events().into_iter().filter_map(|event| match event {
            ChainEvent::TipChanged { tip, .. } => Some(tip.hash),
            _ => None,
        });
        // A block that connects waiting blocks too is announced by several events. The tip of the
        // last one is a step's.
        if let Some(tip) = told.last() {
            let place =
                self.seen.tips.iter().rposition(|(_, hash)| *hash == tip).expect("a tip that was");
            self.seen.told.push((self.disk.operations(), place));
        }
        Ok(())
    }

    pub(super) fn play(&mut self, steps: &[Step]) -> Result<(), ChainFault> {
        steps.iter().try_for_each(|step| self.step(step))
    }

    pub(super) fn end(&mut self) -> (BlockHash, [u8; 32], Amount) {
        let audit = self.chain.verify(&mut |_, _| true).expect("an audit");
        assert_eq!(audit.problem, None);
        assert_eq!(audit.supply, Amount::from_coins(100 * (audit.height + 1)));
        (audit.tip, audit.coins_hash, audit.supply)
    }
}

impl Seen {
    fn answer(&mut self, held: Held, done: usize) {
        self.stored.extend(held.blocks.into_iter().map(|hash| (done, hash)));
        self.own.extend(held.trades.into_iter().map(|txid| (done, txid)));
    }

    /// Returns the tips that the chain may have after a crash.
    fn possible(&self, operations: usize) -> HashSet<BlockHash> {
        let told = self
            .told
            .iter()
            .filter(|(done, _)| *done <= operations)
            .map(|(_, place)| *place)
            .max()
            .unwrap_or(0);
        let last = self
            .tips
            .iter()
            .position(|(done, _)| *done >= operations)
            .unwrap_or(self.tips.len() - 1);
        self.tips[told..=last.max(told)].iter().map(|(_, hash)| *hash).collect()
    }

    /// Opens the disk after a crash, and checks that everything acknowledged before is there.
    fn check(&self, network: &Network, left: &CrashDisk, operations: usize) -> Player {
        let mut player = Player::open(network, left);
        let (tip, _, _) = player.end();
        assert!(self.possible(operations).contains(&tip), "after {operations}: tip {tip}");
        let stored: Vec<_> = acknowledged(&self.stored, operations).collect();
        let found = player.chain.reader().stored(&stored);
        assert!(
            stored.iter().all(|hash| found.contains(hash)),
            "after {operations}: an acknowledged block is lost"
        );
        for txid in acknowledged(&self.own, operations) {
            let known = player.chain.transaction(txid).expect("a disk");
            assert!(known.is_some(), "after {operations}: the acknowledged trade {txid} is lost");
        }
        player
    }
}

fn acknowledged<T: Copy>(seen: &[(usize, T)], operations: usize) -> impl Iterator<Item = T> {
    seen.iter().filter(move |(done, _)| *done <= operations).map(|(_, what)| *what)
}

/// Returns a disk with a chain of one block.
pub(super) fn new_disk(network: &Network) -> CrashDisk {
    let disk = CrashDisk::default();
    drop(Store::on_backend(disk.clone(), network, 4).expect("a store"));
    disk.restarted()
}

/// Cuts a run after each of its disk operations. Returns the number of crashes.
fn crash_everywhere(seed: u64, length: usize, powers: u64) -> usize {
    let network = network();
    let steps = script(&network, seed, length);
    let disk = new_disk(&network);
    let mut whole = Player::open(&network, &disk);
    whole.play(&steps).expect("a run without a crash");
    let operations = disk.operations();
    let end = whole.end();
    let Player { seen, .. } = whole;

    let mut crashes = 0;
    for cut in 0..=operations {
        let torn = (0..powers).map(|power| {
            Unsynced::Some(seed ^ power.wrapping_mul(0x9e37_79b9) ^ (cut as u64) << 32)
        });
        for (number, unsynced) in
            [Unsynced::All, Unsynced::None].into_iter().chain(torn).enumerate()
        {
            crashes += 1;
            let mut player = seen.check(&network, &disk.after_crash(cut, unsynced), cut);
            // The run continues: known blocks are known, and the end is the same.
            if (cut + number).is_multiple_of(3) {
                player.play(&steps).expect("the rest of the run");
                assert_eq!(player.end(), end, "seed {seed}, after {cut}, {unsynced:?}");
            }
        }
    }
    crashes
}

#[test]
fn a_power_cut_after_any_write_leaves_a_valid_earlier_state_that_goes_on() {
    match long_run() {
        None => {
            let crashes: usize = (1..=2).map(|seed| crash_everywhere(seed, 60, 2)).sum();
            assert!(crashes > 500, "{crashes} crashes");
        }
        Some(seeds) => {
            let crashes: usize = (0..seeds).map(|seed| crash_everywhere(seed, 80, 8)).sum();
            println!("bar power-cuts: {crashes} crashes in {seeds} runs (bar: each whole) ok");
        }
    }
}

/// An acknowledgement of the chain thread.
#[derive(Debug, Clone, Copy)]
enum Told {
    Block(BlockHash),
    Trade(TxId),
    Nothing,
}

/// Sends one step to the chain thread. Returns its reply, and the number of disk operations before
/// the reply.
async fn ask(
    handle: &ChainHandle,
    step: Step,
    disk: CrashDisk,
    answers: &mut JoinSet<(usize, Told)>,
) {
    let command = match step {
        Step::Block(block) => {
            let ((reply, answer), hash) = (oneshot::channel(), block.hash());
            answers.spawn(async move {
                let kept = matches!(
                    answer.await,
                    Ok(Ok(BlockAccepted::Connected | BlockAccepted::SideBranch))
                );
                (disk.operations(), if kept { Told::Block(hash) } else { Told::Nothing })
            });
            ChainCommand::AcceptBlock { block: Box::new(block), origin: PEER, reply }
        }
        Step::Trade(trade, Origin::Local) => {
            let (reply, answer) = oneshot::channel();
            answers.spawn(async move {
                let answer = answer.await.ok().and_then(Result::ok);
                (disk.operations(), answer.map_or(Told::Nothing, Told::Trade))
            });
            ChainCommand::AcceptTrade { transaction: Box::new(trade), origin: Origin::Local, reply }
        }
        Step::Headers(headers) => {
            let (shown, reply) = (None, oneshot::channel().0);
            ChainCommand::AcceptHeaders { headers, origin: PEER, shown, reply }
        }
        Step::Trade(..) | Step::Reindex | Step::Commit | Step::Store => return,
    };
    handle.send(command).await.expect("a thread");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_thread_answers_and_tells_nothing_that_a_crash_could_take_back() {
    let network = network();
    let disk = new_disk(&network);
    let store = Store::on_backend(disk.clone(), &network, 4).expect("a store");
    let chain = Chain::on_store(store, options()).expect("a chain");
    disk.slow(Duration::from_millis(2));
    let (events, mut told) = mpsc::channel(1_024);
    let (handle, thread) = spawn(chain, Arc::new(|| NOW), events).expect("a thread");
    let its_disk = disk.clone();
    let listening = tokio::spawn(async move {
        let mut heard = Vec::new();
        while let Some(event) = told.recv().await {
            let done = its_disk.operations();
            match event {
                ChainEvent::TipChanged { connected, .. } => {
                    heard.extend(connected.iter().map(|(hash, _)| (done, Told::Block(*hash))));
                }
                ChainEvent::TradeAccepted { entry, origin: Origin::Local } => {
                    heard.push((done, Told::Trade(entry.txid)));
                }
                ChainEvent::TradeVoid { txid, .. } => heard.push((done, Told::Trade(txid))),
                _ => {}
            }
        }
        heard
    });
    let (mut answers, mut seen) = (JoinSet::new(), Vec::new());
    for step in script(&network, 11, 80) {
        // Some steps wait for all replies before them, so that commits hold one block or many.
        let waits = matches!(step, Step::Commit);
        ask(&handle, step, disk.clone(), &mut answers).await;
        while waits && let Some(answer) = answers.join_next().await {
            seen.push(answer.expect("an answer"));
        }
    }
    seen.extend(answers.join_all().await);
    drop(handle);
    seen.extend(listening.await.expect("all events"));
    thread.join().expect("a clean end");

    let (mut blocks, mut trades) = (0, 0);
    seen.sort_by_key(|(done, _)| *done);
    for same in seen.chunk_by(|(done, _), (other, _)| done == other) {
        let left = disk.after_crash(same[0].0, Unsynced::None);
        let mut player = Player::open(&network, &left);
        for (done, told) in same {
            match told {
                Told::Block(hash) => {
                    blocks += 1;
                    let found = player.chain.reader().stored(std::slice::from_ref(hash));
                    assert!(found.contains(hash), "after {done}: block {hash} was told too early");
                }
                Told::Trade(txid) => {
                    trades += 1;
                    let found = player.chain.transaction(*txid).expect("a disk");
                    assert!(found.is_some(), "after {done}: the trade {txid} was told too early");
                }
                Told::Nothing => {}
            }
        }
    }
    assert!(blocks > 40 && trades > 4, "{blocks} blocks, {trades} trades");
}

#[test]
fn a_start_that_changes_nothing_writes_nothing() {
    let network = network();
    let disk = new_disk(&network);
    let mut player = Player::open(&network, &disk);
    let trade = pay(&network, &key(1), genesis_coin(&network), &[(owner(&key(1)), 5)]);
    let child = pay(&network, &key(1), coin_of(&trade, 0), &[(owner(&key(2)), 4)]);
    let words = note(&network.id, &key(3), 1, b"words");
    let steps = [(words, PEER), (trade, Origin::Local), (child, PEER)]
        .map(|(trade, origin)| Step::Trade(trade, origin));
    player.play(&steps).expect("a disk");
    player.play(&[Step::Commit]).expect("a disk");
    drop(player);
    let disk = disk.restarted();
    let store = Store::on_backend(disk.clone(), &network, 4).expect("a store");
    let before = disk.operations();
    let chain = Chain::on_store(store, options()).expect("a chain");
    assert_eq!((chain.mempool().len(), disk.operations()), (3, before));
}

/// Plays a run on a disk that is full during these operations. With room again, the chain on it
/// must be whole and continue.
fn fill_up(network: &Network, steps: &[Step], full: std::ops::Range<usize>) -> bool {
    let disk = new_disk(network);
    let mut player = Player::open(network, &disk);
    disk.fail(full.clone());
    let played = player.play(steps);
    let is_hit = match played {
        Ok(()) => false,
        Err(ChainFault::Disk(reason)) => {
            assert!(reason.contains("no space"), "{reason}");
            true
        }
        Err(fault) => panic!("full at {full:?}: {fault}"),
    };
    let Player { chain, seen, .. } = player;
    drop(chain);
    let mut again = seen.check(network, &disk.restarted(), disk.operations());
    again.play(steps).expect("the rest of the run");
    again.end();
    is_hit
}

#[test]
fn a_full_disk_at_any_write_is_told_and_loses_nothing_that_was_acknowledged() {
    let network = network();
    let (seeds, stride) = long_run().map_or((1, 5), |seeds| (seeds.min(20), 1));
    let mut hits = 0;
    for seed in 0..seeds {
        let steps = script(&network, seed, 50);
        let disk = new_disk(&network);
        Player::open(&network, &disk).play(&steps).expect("a run with room");
        for at in (0..disk.operations()).step_by(stride) {
            // Once full for one operation, and once until the chain is closed.
            hits += usize::from(fill_up(&network, &steps, at..at + 1));
            hits += usize::from(fill_up(&network, &steps, at..usize::MAX));
        }
    }
    assert!(hits > 10, "{hits}");
}

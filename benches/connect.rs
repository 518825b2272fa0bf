//! Measures how fast the chain connects full blocks. The bound is the speed of the processor alone.
//!
//! ```text
//! cargo bench --bench connect -- [unseen] [known] [growth] [memory] [--coins N] [--blocks N]
//! ```
//!
//! Headers come first, as in a node. Then one thread decodes the blocks and sends them to the chain
//! thread. The clock stops when the last block is durable.
//!
//! The bound is the same work without a store: decode, hash, merkle root, form, signatures in
//! batches, and a map of coins in memory.

mod support;

use std::{
    collections::HashMap,
    fs,
    io::{Read as _, Write as _},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use friendchain::{
    chain::{BlockAccepted, Chain, ChainCommand, ChainHandle, spawn},
    consensus::{
        CheckedBlock, CheckedHeader, Coin, CoinKey, Network, check_block, check_coinbase_value,
        check_coins, created_coins, spent_coins, verify_signatures,
    },
    primitives::{Amount, Encode as _, Header},
};
use support::{
    Generator, NOW, PEER, bar, cpu_time, decode, folder, headers_after, memory_mib, options, plot,
    populated, side_by_side, timed,
};

/// The threads that each side may keep busy.
const THREADS: usize = 2;

/// The maximum number of blocks in flight to the chain thread, the same as in a sync.
const IN_FLIGHT: usize = 80;

/// The number of blocks whose trades fit into the mempool.
const AT_ONCE: usize = 18;

/// The number of pairs of runs, one without the trades in the mempool and one with them. There are
/// several, since the disk's speed varies.
const PAIRS: usize = 8;

type Coins = HashMap<CoinKey, Coin>;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str, default: usize| {
        let at = arguments.iter().position(|argument| argument == name);
        at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(default)
    };
    if let [first, folder, ..] = arguments.as_slice()
        && first == "connect-only"
    {
        return connect_only(Path::new(folder));
    }
    let asked = |name: &str| arguments.iter().any(|argument| argument == name);
    let (coins, blocks) = (number("--coins", 1_000_000), number("--blocks", 150));
    let any = ["unseen", "known", "growth", "memory"].into_iter().any(asked);
    if asked("unseen") || !any {
        let unseen = unseen(coins, blocks);
        bar("connect-unseen", unseen.engine / unseen.bound, "of the bare-CPU bound", 0.5);
    }
    if asked("known") || !any {
        let at_once = number("--at-once", AT_ONCE);
        let known = known(coins, number("--blocks", 2 * PAIRS * at_once), at_once);
        bar("connect-known", known, "× the speed with unseen signatures", 1.5);
    }
    if asked("growth") {
        let points = [10_000, 100_000, 1_000_000, 10_000_000].map(|coins| {
            let Figures { engine, bound } = unseen(coins, blocks);
            println!("growth {coins}: {engine:.0} tx/s, {:.2} of the bound", engine / bound);
            plot::Point { coins, engine, bound }
        });
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/growth.svg");
        std::fs::write(file, plot::growth(&points)).expect("written");
    }
    if asked("memory") {
        memory(number("--coins", 10_000_000), blocks);
    }
}

/// The rates of one run, in transactions per second.
struct Figures {
    engine: f64,
    bound: f64,
}

/// The input of a run.
struct Scene {
    folder: tempfile::TempDir,
    path: std::path::PathBuf,
    generator: Generator,
    /// The headers of the blocks to connect.
    headers: Vec<Header>,
    /// The encoded blocks.
    bytes: Vec<Vec<u8>>,
    /// The coins before these blocks.
    coins: Coins,
}

fn scene(coins: usize, blocks: usize) -> Scene {
    let folder = folder();
    let (path, mut generator) = populated(folder.path(), coins);
    let height = generator.headers().last().map_or(0, |header| header.height);
    let coins = generator.coin_map();
    let bytes = generator.full_blocks(blocks);
    let headers = headers_after(&generator, height);
    Scene { folder, path, generator, headers, bytes, coins }
}

fn unseen(coins: usize, blocks: usize) -> Figures {
    let scene = scene(coins, blocks);
    let transactions = (blocks * 2_000) as f64;
    let rate = |time: Duration| transactions / time.as_secs_f64();

    let ((), time) = timed(|| {
        staged(&scene.generator.network, &scene.headers, &scene.bytes, scene.coins.clone());
    });
    let staged = rate(time);
    let coins = scene.coins.clone();
    let before = cpu_time();
    let ((), time) =
        timed(|| overlapped(&scene.generator.network, &scene.headers, &scene.bytes, coins));
    println!(
        "bound: {:.2} of {THREADS} cores busy",
        cpu_time().saturating_sub(before).as_secs_f64() / time.as_secs_f64()
    );
    let bound = rate(time).max(staged);
    println!("bound: {staged:.0} tx/s stage after stage, {:.0} tx/s overlapped", rate(time));

    let engine = rate(connect(&scene.path, &scene.headers, scene.bytes.iter()));
    println!("engine, signatures unseen: {engine:.0} tx/s");
    drop(scene.folder);
    Figures { engine, bound }
}

/// Connects runs of as many blocks as fit into the mempool. Before every second run, the mempool
/// accepts its trades and makes them durable.
///
/// Returns the median speed-up of these runs over those without known trades, pair by pair.
fn known(coins: usize, blocks: usize, at_once: usize) -> f64 {
    let scene = scene(coins, blocks / (2 * at_once) * 2 * at_once);
    let engine = Engine::start(&scene.path, &scene.headers);
    let mut runs = scene.bytes.chunks(at_once);
    let connect = |blocks: &[Vec<u8>]| engine.connect(blocks.iter());
    let (mut without, mut with) = (runs.clone().step_by(2), runs.by_ref().skip(1).step_by(2));
    let first = || connect(without.next().expect("enough"));
    let second = || {
        let blocks = with.next().expect("enough");
        engine.bring_trades(blocks);
        connect(blocks)
    };
    let (ratio, unseen, known) = side_by_side(blocks / (2 * at_once), first, second);
    engine.end(&scene.headers);
    let rate = |time: Duration| (at_once * 2_000) as f64 / time.as_secs_f64();
    println!(
        "engine, {at_once} blocks at once: {:.0} tx/s unseen, {:.0} known",
        rate(unseen),
        rate(known)
    );
    ratio
}

/// A chain thread, used as in a sync.
struct Engine {
    handle: ChainHandle,
    runtime: tokio::runtime::Runtime,
    threads: [std::thread::JoinHandle<()>; 2],
}

impl Engine {
    /// Opens the chain and adds the headers.
    fn start(path: &Path, headers: &[Header]) -> Self {
        let mut chain = Chain::open(path, options(THREADS)).expect("a chain");
        chain.accept_headers(headers, PEER, NOW).expect("valid headers");
        chain.commit().expect("a commit");
        chain.drain_events();
        let (events, mut told) = tokio::sync::mpsc::channel(1_024);
        let (handle, thread) = spawn(chain, Arc::new(|| NOW), events).expect("a thread");
        let listener = std::thread::spawn(move || while told.blocking_recv().is_some() {});
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { handle, runtime, threads: [thread, listener] }
    }

    /// Adds the trades of blocks to the mempool, and waits until all are durable.
    fn bring_trades(&self, blocks: &[Vec<u8>]) {
        self.runtime.block_on(async {
            for bytes in blocks {
                let mut answers = Vec::new();
                for trade in decode(bytes).transactions.into_iter().skip(1) {
                    let (reply, answer) = tokio::sync::oneshot::channel();
                    let transaction = Box::new(trade);
                    let command = ChainCommand::AcceptTrade { transaction, origin: PEER, reply };
                    self.handle.send(command).await.expect("an open chain");
                    answers.push(answer);
                }
                for answer in answers {
                    answer.await.expect("an answer").expect("a valid trade");
                }
            }
            // This answer waits until the accepted trades are durable.
            self.handle.mempool().await.expect("an open chain");
        });
    }

    /// Connects blocks and returns the time until the last is durable.
    fn connect(&self, blocks: impl Iterator<Item = impl AsRef<[u8]>>) -> Duration {
        let before = cpu_time();
        let ((), time) = timed(|| self.runtime.block_on(hand_over(&self.handle, blocks)));
        let busy = cpu_time().saturating_sub(before).as_secs_f64() / time.as_secs_f64();
        eprintln!("engine: {busy:.2} of {THREADS} cores busy");
        time
    }

    /// Closes the chain, and checks that its tip is the last of these headers.
    fn end(self, headers: &[Header]) {
        let Self { handle, threads, .. } = self;
        assert_eq!(handle.summary().tip.hash, headers.last().expect("some").hash());
        drop(handle);
        for thread in threads {
            thread.join().expect("a clean end");
        }
    }
}

/// Connects blocks to the chain in a file; returns the time until the last is durable.
fn connect(
    path: &Path,
    headers: &[Header],
    blocks: impl Iterator<Item = impl AsRef<[u8]>>,
) -> Duration {
    let engine = Engine::start(path, headers);
    let time = engine.connect(blocks);
    engine.end(headers);
    time
}

async fn hand_over(handle: &ChainHandle, blocks: impl Iterator<Item = impl AsRef<[u8]>>) {
    let mut answers = std::collections::VecDeque::new();
    for bytes in blocks {
        if answers.len() >= IN_FLIGHT {
            settled(answers.pop_front()).await;
        }
        let (reply, answer) = tokio::sync::oneshot::channel();
        let block = Box::new(decode(bytes.as_ref()));
        handle
            .send(ChainCommand::AcceptBlock { block, origin: PEER, reply })
            .await
            .expect("an open chain");
        answers.push_back(answer);
    }
    while !answers.is_empty() {
        settled(answers.pop_front()).await;
    }
}

type Answer =
    tokio::sync::oneshot::Receiver<Result<BlockAccepted, friendchain::chain::AcceptBlockError>>;

async fn settled(answer: Option<Answer>) {
    if let Some(answer) = answer {
        assert_eq!(answer.await.expect("an answer"), Ok(BlockAccepted::Connected));
    }
}

/// Decodes a block and checks its hash, merkle root and form.
fn check(header: &Header, bytes: &[u8]) -> CheckedBlock {
    let header = CheckedHeader::from_store(*header).expect("a target");
    check_block(Arc::new(decode(bytes)), &header).expect("a valid form")
}

/// Checks every signature of a block in batches.
fn verify(network: &Network, block: &CheckedBlock, threads: usize) {
    let claims: Vec<_> = block.transactions().skip(1).collect();
    verify_signatures(&network.id, &claims, threads).expect("valid signatures");
}

/// Spends and creates the coins of a block in a map.
fn apply(coins: &mut Coins, block: &CheckedBlock) {
    let mut fees = Amount::ZERO;
    let height = block.height();
    for (transaction, txid) in block.transactions().skip(1) {
        let spent: Vec<_> =
            spent_coins(transaction).map(|key| coins.remove(&key).expect("a coin")).collect();
        let fee = check_coins(transaction, &spent, height).expect("valid amounts");
        fees = fees.checked_add(fee).expect("small");
        coins.extend(created_coins(transaction, txid, height));
    }
    if let Some((coinbase, txid)) = block.transactions().next() {
        check_coinbase_value(coinbase, fees).expect("a valid coinbase");
        coins.extend(created_coins(coinbase, txid, height));
    }
}

/// Measures the bound stage by stage, with signatures on all threads.
fn staged(network: &Network, headers: &[Header], blocks: &[Vec<u8>], mut coins: Coins) {
    for (header, bytes) in headers.iter().zip(blocks) {
        let block = check(header, bytes);
        verify(network, &block, THREADS);
        apply(&mut coins, &block);
    }
}

/// Measures the bound with a block on each thread and the map on another, so that every core is
/// always busy.
fn overlapped(network: &Network, headers: &[Header], blocks: &[Vec<u8>], mut coins: Coins) {
    let next = AtomicUsize::new(0);
    let (done, checked) = mpsc::sync_channel(8);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            let (next, done) = (&next, done.clone());
            scope.spawn(move || {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let (Some(header), Some(bytes)) = (headers.get(at), blocks.get(at)) else {
                        return;
                    };
                    let block = check(header, bytes);
                    verify(network, &block, 1);
                    done.send((at, block)).expect("someone receives");
                }
            });
        }
        drop(done);
        let mut early = HashMap::new();
        let mut wanted = 0;
        for (at, block) in checked {
            early.insert(at, block);
            while let Some(block) = early.remove(&wanted) {
                apply(&mut coins, &block);
                wanted += 1;
            }
        }
    });
}

/// Connects blocks in a process of their own, and prints the peak of its memory.
fn memory(coins: usize, blocks: usize) {
    let folder = folder();
    let (_, mut generator) = populated(folder.path(), coins);
    let mut file =
        std::io::BufWriter::new(fs::File::create(folder.path().join("blocks")).expect("a file"));
    for _ in 0..blocks {
        let bytes = generator.trades(2_000).to_bytes();
        file.write_all(&u32::try_from(bytes.len()).expect("short").to_le_bytes()).expect("written");
        file.write_all(&bytes).expect("written");
    }
    file.flush().expect("written");
    drop(file);
    let program = std::env::current_exe().expect("this program");
    let output = std::process::Command::new(program)
        .arg("connect-only")
        .arg(folder.path())
        .output()
        .expect("runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let most: f64 = String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number");
    let (allowed, verdict) =
        (options(THREADS).cache_mib + 150, |ok| if ok { "ok" } else { "MISSED" });
    let ok = verdict(most <= allowed as f64);
    println!("bar connect-memory: {most:.0} MiB at most with {coins} coins (bar ≤ {allowed}) {ok}");
}

/// The process that [`memory`] starts.
fn connect_only(folder: &Path) {
    let read = || {
        let mut file =
            std::io::BufReader::new(fs::File::open(folder.join("blocks")).expect("a file"));
        std::iter::from_fn(move || {
            let mut length = [0; 4];
            file.read_exact(&mut length).ok()?;
            let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
            file.read_exact(&mut bytes).expect("a whole block");
            Some(bytes)
        })
    };
    let headers: Vec<_> = read().map(|bytes| decode(&bytes).header).collect();
    connect(&folder.join("chain.redb"), &headers, read());
    println!("{}", memory_mib().1);
}

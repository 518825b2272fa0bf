//! Bars of sync: a fresh node fetches a whole chain.

use std::time::{Duration, Instant};

use crate::{
    bench::{bar, median},
    chains::{Kept, chain, chain_with_coins},
    line::{Line, Quality},
    nodes::{
        await_late, charges, fresh_folder, height_of, keep_log, processor_time, server_folder,
        start, sync_time, time_of,
    },
    support::{Node, TestNet},
};

/// The delay of a far peer, one way.
const FAR: Duration = Duration::from_millis(20);

/// The longest that one sync may take.
const LIMIT: Duration = Duration::from_mins(3);

/// The number of blocks with few transactions, and of trades in each.
const SMALL_BLOCKS: usize = 20_000;
const SMALL_TRADES: usize = 2;

/// The number of full blocks, and of trades in each.
const FULL_BLOCKS: usize = 100;
const FULL_TRADES: usize = 2_000;

/// The number of headers of the long chain.
const HEADERS: usize = 1_000_000;
/// The number of headers that the bench `headers` measures.
const BENCH_HEADERS: usize = 200_000;

/// The rate of the slow line in bytes a second, the trades of a block of 64 KiB, and the blocks.
const SLOW_RATE: u64 = 40_000;
const SLOW_TRADES: usize = 195;
const SLOW_BLOCKS: usize = 200;
/// The time for which the slow line is watched, once the first block is connected.
const SLOW_TIME: Duration = Duration::from_mins(1);

/// Returns the rounds of a bar that is a median.
pub(crate) fn rounds() -> usize {
    let rounds = std::env::var("FRIENDCHAIN_SPEED_ROUNDS").ok();
    rounds.and_then(|rounds| rounds.parse().ok()).unwrap_or(3)
}

fn small() -> Kept {
    chain(SMALL_BLOCKS, SMALL_TRADES)
}

fn full_blocks() -> Kept {
    chain(FULL_BLOCKS, FULL_TRADES)
}

/// The paths from a fresh node to its peers.
#[derive(Debug, Clone, Copy)]
struct Paths {
    peers: usize,
    /// The delay one way; `None` for no line in between.
    delay: Option<Duration>,
}

const LOOPBACK: Paths = Paths { peers: 1, delay: None };
const ONE_FAR: Paths = Paths { peers: 1, delay: Some(FAR) };
const FOUR_FAR: Paths = Paths { peers: 4, delay: Some(FAR) };

/// Returns the seconds of a `reindex` of the whole chain, as a user calls it.
fn reindex(chain: &Kept) -> f64 {
    let net = TestNet::new();
    let folder = server_folder(&net, "engine", chain);
    let started = Instant::now();
    let audit = folder.json(["reindex"]);
    let seconds = started.elapsed().as_secs_f64();
    assert_eq!(audit["height"], chain.height(), "{audit}");
    eprintln!("reindex: {:.0} blocks/s, {seconds:.2} s", chain.height() as f64 / seconds);
    seconds
}

/// Returns the seconds in which a fresh node gets the whole chain. For a sync beyond the limit,
/// extrapolates the time from its speed.
fn sync(chain: &Kept, paths: Paths) -> f64 {
    let net = TestNet::new();
    let servers: Vec<Node> = (0..paths.peers)
        .map(|number| start(&server_folder(&net, &format!("server{number}"), chain), &[]))
        .collect();
    let line = |node: &Node| paths.delay.map(|delay| Line::to(&node.address, Quality::far(delay)));
    let lines: Vec<Option<Line>> = servers.iter().map(line).collect();
    let addresses: Vec<&str> = servers
        .iter()
        .zip(&lines)
        .map(|(node, line)| line.as_ref().map_or(&*node.address, |line| &*line.address))
        .collect();
    let fresh = start(&fresh_folder(&net, "fresh", chain), &addresses);
    let seconds = sync_time(&fresh, chain.height(), LIMIT);
    servers.iter().for_each(keep_log);
    let busy: f64 = servers.iter().map(processor_time).sum();
    let carried: u64 = lines.iter().flatten().map(|line| line.carried()[1]).sum();
    assert!(
        paths.delay.is_none() || carried >= chain.bytes() / 2,
        "the nodes found a way beside the line: {carried} bytes"
    );
    let seconds = seconds.unwrap_or_else(|| {
        LIMIT.as_secs_f64() * chain.height() as f64 / height_of(&fresh).max(1) as f64
    });
    eprintln!(
        "{} peers, {:?}: {:.0} blocks/s, {seconds:.2} s; busy {:.2} s, peers {busy:.2} s",
        paths.peers,
        paths.delay.unwrap_or_default(),
        chain.height() as f64 / seconds,
        processor_time(&fresh)
    );
    seconds
}

/// Prints the bar of a speed relative to another one, as the median of some rounds.
fn compare(name: &str, what: &str, least: f64, base: impl Fn() -> f64, ours: impl Fn() -> f64) {
    let ratios = (0..rounds()).map(|_| base() / ours()).collect();
    bar(name, median(ratios), what, least);
}

/// Measures 20,000 blocks from one peer on loopback.
pub(crate) fn loopback() {
    let chain = small();
    let what = "of the engine alone (reindex), 20,000 small blocks";
    compare("sync-loopback", what, 0.5, || reindex(&chain), || sync(&chain, LOOPBACK));
}

/// 20,000 blocks from one peer at 20 ms one way.
pub(crate) fn one_far() {
    let chain = small();
    let what = "of loopback, 20,000 small blocks, one peer at 20 ms";
    compare("sync-far", what, 0.6, || sync(&chain, LOOPBACK), || sync(&chain, ONE_FAR));
}

/// 20,000 blocks from 4 peers at 20 ms one way.
pub(crate) fn four_far() {
    let chain = small();
    let what = "of loopback, 20,000 small blocks, 4 peers at 20 ms";
    compare("sync-four-far", what, 0.8, || sync(&chain, LOOPBACK), || sync(&chain, FOUR_FAR));
}

/// Full blocks from one peer on loopback.
pub(crate) fn full() {
    let chain = full_blocks();
    let what = "of the engine alone (reindex), full blocks";
    compare("sync-full", what, 0.7, || reindex(&chain), || sync(&chain, LOOPBACK));
}

/// Full blocks from 4 peers at 20 ms one way.
pub(crate) fn full_far() {
    let chain = full_blocks();
    let what = "of loopback, full blocks, 4 peers at 20 ms";
    compare("sync-full-far", what, 0.7, || sync(&chain, LOOPBACK), || sync(&chain, FOUR_FAR));
}

/// 1,000,000 headers from one peer at 20 ms one way.
pub(crate) fn headers() {
    let chain = chain(HEADERS, 0);
    let what = "of the headers bench, 1,000,000 headers, one peer at 20 ms";
    let net = TestNet::new();
    let server = start(&server_folder(&net, "server", &chain), &[]);
    let round = |number: usize| {
        let line = Line::to(&server.address, Quality::far(FAR));
        let fresh = fresh_folder(&net, &format!("fresh{number}"), &chain);
        let fresh = start(&fresh, &[&line.address]);
        let whole = await_late(&fresh, 0, LIMIT, |event| {
            event["event"] == "headers_received" && event["best_header_height"] == HEADERS
        });
        keep_log(&fresh);
        let begun = time_of(&fresh.await_event("peer_connected", |_| true));
        let rate = whole.map_or(0.0, |event| HEADERS as f64 / (time_of(&event) - begun));
        drop(fresh);
        let bench = bench_rate();
        eprintln!("{rate:.0} headers/s, the bench {bench:.0} headers/s");
        rate / bench
    };
    bar("sync-headers", median((0..rounds()).map(round).collect()), what, 0.3);
}

/// Returns the headers a second that the chain alone accepts, as the bench `headers` does.
fn bench_rate() -> f64 {
    use crate::bench::{NOW, PEER, folder, headers, options, timed};
    use std::sync::OnceLock;
    static MADE: OnceLock<(friendchain::consensus::Network, Vec<friendchain::primitives::Header>)> =
        OnceLock::new();
    let (network, headers) = MADE.get_or_init(|| headers(BENCH_HEADERS));
    let folder = folder();
    let path = folder.path().join("chain.redb");
    let mut chain = friendchain::chain::Chain::create(&path, network, options(1)).expect("a chain");
    let ((), time) = timed(|| {
        for batch in headers.chunks(2_000) {
            chain.accept_headers(batch, PEER, NOW).expect("valid headers");
            if chain.is_full() {
                chain.commit().expect("a commit");
            }
        }
        chain.commit().expect("a commit");
    });
    BENCH_HEADERS as f64 / time.as_secs_f64()
}

/// Blocks of 64 KiB from one peer over a line of 40 kB/s.
pub(crate) fn slow() {
    let chain = chain_with_coins(SLOW_BLOCKS, SLOW_TRADES, 8_000, 2_000);
    let net = TestNet::new();
    let server = start(&server_folder(&net, "server", &chain), &[]);
    let line = Line::to(&server.address, Quality { delay: FAR, rate: Some(SLOW_RATE) });
    let fresh = start(&fresh_folder(&net, "fresh", &chain), &[&line.address]);
    let begun = Instant::now();
    let connected = |event: &serde_json::Value| event["event"] == "block_connected";
    let first = await_late(&fresh, 0, SLOW_TIME, connected);
    let (since, height, carried) = match &first {
        Some(_) => (Instant::now(), height_of(&fresh), line.carried()[1]),
        None => (begun, 0, 0),
    };
    std::thread::sleep(SLOW_TIME);
    let (seconds, now) = (since.elapsed().as_secs_f64(), height_of(&fresh));
    let carried = line.carried()[1] - carried;
    keep_log(&fresh);
    keep_log(&server);
    let useful: u64 = chain.sizes[height..now].iter().sum();
    let share = useful as f64 / (seconds * SLOW_RATE as f64);
    let charged = charges(&fresh) + charges(&server);
    eprintln!(
        "slow line: heights {height} to {now}, {useful} of {carried} bytes in {seconds:.1} s"
    );
    let what = "of a line of 40 kB/s are blocks that connect, 64 KiB each";
    bar("sync-slow", share, what, 0.8);
    crate::bench::bar_at_most("sync-slow-charged", charged as f64, "charges of honest peers", 0.0);
}

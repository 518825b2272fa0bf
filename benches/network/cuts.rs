//! The bar of bad peers: while a fresh node syncs, one peer is killed, one is cut off, and one is
//! slow.

use std::{thread, time::Duration};

use crate::{
    bench::{Numbers, bar_at_most},
    chains::{Kept, chain},
    line::{Line, Quality},
    nodes::{fresh_folder, height_of, keep_log, server_folder, start, sync_time},
    support::TestNet,
};

/// The number of runs, each with other random times.
const RUNS: u64 = 50;
/// The number of blocks, and of trades in each.
const BLOCKS: usize = 3_040;
const TRADES: usize = 2;
/// The longest time until a peer is killed or cut off, in ms.
const TROUBLE_MS: usize = 1_500;
/// The slow peer's line.
const SLOW: Quality = Quality { delay: Duration::from_millis(100), rate: Some(100_000) };
/// The lines of the others.
const FAR: Quality = Quality::far(Duration::from_millis(20));
/// The longest that one sync may take.
const LIMIT: Duration = Duration::from_secs(90);

/// Runs one sync. Returns the seconds that it took, if it ended.
fn run(chain: &Kept, seed: u64) -> Option<f64> {
    let mut numbers = Numbers(seed);
    let net = TestNet::new();
    let servers: Vec<_> = ["killed", "cut", "slow"]
        .iter()
        .map(|id| start(&server_folder(&net, id, chain), &[]))
        .collect();
    let lines: Vec<Line> = servers
        .iter()
        .zip([FAR, FAR, SLOW])
        .map(|(node, quality)| Line::to(&node.address, quality))
        .collect();
    let addresses: Vec<&str> = lines.iter().map(|line| &*line.address).collect();
    let fresh = start(&fresh_folder(&net, "fresh", chain), &addresses);
    let mut servers = servers.into_iter();
    let victim = servers.next().expect("three");
    let mut troubles = [0, 1].map(|_| numbers.below(TROUBLE_MS) as u64);
    let kill_first = troubles[0] <= troubles[1];
    troubles.sort_unstable();
    thread::sleep(Duration::from_millis(troubles[0]));
    if !kill_first {
        lines[1].cut(true);
    }
    let rest = Duration::from_millis(troubles[1] - troubles[0]);
    if kill_first {
        victim.kill();
        thread::sleep(rest);
        lines[1].cut(true);
    } else {
        thread::sleep(rest);
        victim.kill();
    }
    let seconds = sync_time(&fresh, chain.height(), LIMIT);
    if seconds.is_none() {
        keep_log(&fresh);
        println!("run {seed} stopped at height {}", height_of(&fresh));
    }
    seconds
}

/// Measures syncs in which one peer is killed, one is cut off and one is slow: all must end.
pub(crate) fn cuts() {
    let chain = chain(BLOCKS, TRADES);
    let times: Vec<_> = (1..=RUNS).map(|seed| run(&chain, seed)).collect();
    let longest = times.iter().flatten().copied().fold(0.0, f64::max);
    println!("the longest sync took {longest:.1} s");
    let stuck = times.iter().filter(|time| time.is_none()).count();
    bar_at_most("sync-cuts", stuck as f64, "of 50 syncs do not end", 0.0);
}

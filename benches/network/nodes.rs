//! Starts nodes on stored chains, and reads the times of their events from their logs.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    chains::Kept,
    support::{Folder, Node, TestNet},
};

/// The default log filter of a daemon.
const FILTER: &str = "warn,friendchain=info,libp2p=error";

/// The pause between two reads of a log.
const POLL: Duration = Duration::from_millis(20);

/// Returns a new folder that holds the whole chain.
pub(crate) fn server_folder(net: &TestNet, id: &str, chain: &Kept) -> Folder {
    let folder = net.folder(id);
    folder.new_address();
    chain.write_whole(&folder.path());
    folder
}

/// Returns a new folder that holds the genesis alone.
pub(crate) fn fresh_folder(net: &TestNet, id: &str, chain: &Kept) -> Folder {
    let folder = net.folder(id);
    folder.new_address();
    chain.write_genesis(&folder.path());
    folder
}

/// Starts a node that dials these multiaddrs.
pub(crate) fn start(folder: &Folder, peers: &[&str]) -> Node {
    let args: Vec<&str> = peers.iter().flat_map(|peer| ["--peer", peer]).collect();
    let node = folder.start_logging(FILTER, &args);
    node.await_event("node_started", |_| true);
    node
}

/// Returns the time of a line of the log, in seconds.
pub(crate) fn time_of(event: &Value) -> f64 {
    let text = event["timestamp"].as_str().expect("a time");
    let time: Timestamp = text.parse().expect("a time");
    time.as_microsecond() as f64 / 1e6
}

/// Waits at most `limit` for an event in the log that satisfies the claim. The first `least` lines
/// are not read, so that a long log costs little.
pub(crate) fn await_late(
    node: &Node,
    least: usize,
    limit: Duration,
    claim: impl Fn(&Value) -> bool,
) -> Option<Value> {
    let start = Instant::now();
    let mut mark = least;
    while start.elapsed() < limit {
        let lines = node.log_mark();
        if lines > mark {
            if let Some(event) = node.events_since(mark, &claim).into_iter().next() {
                return Some(event);
            }
            // Lines that came meanwhile are read again, which does no harm.
            mark = lines;
        }
        thread::sleep(POLL);
    }
    None
}

/// Waits until a fresh node has connected the block at a height, and returns the seconds since its
/// first peer. Returns `None` after `limit`.
pub(crate) fn sync_time(node: &Node, height: usize, limit: Duration) -> Option<f64> {
    // The log has a line for each block.
    let whole = await_late(node, height, limit, |event| {
        event["event"] == "block_connected" && event["height"] == height
    });
    keep_log(node);
    let begun = node.await_event("peer_connected", |_| true);
    whole.map(|event| time_of(&event) - time_of(&begun))
}

/// Returns the height of the last connected block in the log.
pub(crate) fn height_of(node: &Node) -> usize {
    let connected = node.events_since(0, |event| event["event"] == "block_connected");
    let height = connected.last().and_then(|event| event["height"].as_u64());
    height.unwrap_or(0) as usize
}

/// Counts the charges of peers in a node's log.
pub(crate) fn charges(node: &Node) -> usize {
    node.events_since(0, |event| event["event"] == "peer_penalised").len()
}

/// Returns the processor time of a node, in seconds.
pub(crate) fn processor_time(node: &Node) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", node.pid())).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    // Linux reports these times in hundredths of a second, at any kernel tick rate.
    ticks as f64 / 100.0
}

/// Copies a node's log to the folder that the environment names, if there is one.
pub(crate) fn keep_log(node: &Node) {
    if let Some(folder) = std::env::var_os("FRIENDCHAIN_SPEED_LOGS") {
        let file = Path::new(&folder).join(format!("{}.jsonl", node.folder.id));
        std::fs::write(file, node.said()).expect("a folder for logs");
    }
}

//! Bars of relay: blocks and trades among nodes that are all connected.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use friendchain::{
    chain::Chain,
    primitives::{Address, Owner},
};
use serde_json::{Value, json};

use crate::{
    bench::{Generator, NOW, PEER, bar_at_most, median, options},
    chains::chain,
    line::Quality,
    mesh::Mesh,
    nodes::{await_late, keep_log, processor_time, server_folder, time_of},
    support::{Folder, Node, TestNet, chain::text},
};

/// The delay of a line, one way.
const FAR: Duration = Duration::from_millis(20);

/// The longest wait for a block or a trade.
const PATIENCE: Duration = Duration::from_mins(1);

/// The number of nodes and of blocks in the bar `spread`.
const SPREAD_NODES: usize = 12;
const SPREAD_BLOCKS: usize = 110;

/// The number of nodes and of trades in the bar `trades`.
const TRADE_NODES: usize = 8;
const TRADES: usize = 300;

/// The number of known transactions of a block, and of the nodes that have them.
const KNOWN: usize = 2_000;
const KNOWN_NODES: usize = 4;
/// The time for which the lines are watched before that block, and after its mining began.
const BEFORE: Duration = Duration::from_secs(10);
const AFTER: Duration = Duration::from_secs(1);
/// The bytes a second of all nodes below which they count as idle: they repeat waiting trades.
const IDLE_RATE: f64 = 50_000.0;

/// The number of nodes in the bar `idle`, and the seconds for which they are watched.
const IDLE_NODES: usize = 8;
const IDLE_SECONDS: u64 = 60;

/// Returns the value at a share of the sorted figures.
fn percentile(figures: &[f64], share: f64) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len() as f64 * share) as usize;
    sorted[at.min(sorted.len() - 1)]
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("node{number:02}")).collect()
}

/// Waits until a node has an event of this name about an id, and returns its time.
#[track_caller]
fn time_at(node: &Node, mark: usize, name: &str, field: &str, id: &Value) -> f64 {
    let found =
        await_late(node, mark, PATIENCE, |event| event["event"] == name && event[field] == *id);
    time_of(&found.unwrap_or_else(|| panic!("{}: no {name} of {id}", node.folder.id)))
}

/// Measures how long a mined block takes to reach all other nodes.
pub(crate) fn spread() {
    let chain = chain(200, 2);
    let net = TestNet::new();
    let folders: Vec<Folder> =
        names(SPREAD_NODES).iter().map(|id| server_folder(&net, id, &chain)).collect();
    let mesh = Mesh::new(&folders, Quality::far(FAR));
    let mut spreads = Vec::new();
    for round in 0..SPREAD_BLOCKS {
        let miner = &mesh.nodes[round * 5 % SPREAD_NODES];
        let marks: Vec<usize> = mesh.nodes.iter().map(Node::log_mark).collect();
        let hash = Value::from(miner.folder.mine(1, None).remove(0));
        let own = marks[round * 5 % SPREAD_NODES];
        let mined = time_at(miner, own, "block_mined", "hash", &hash);
        let arrived = mesh
            .nodes
            .iter()
            .zip(&marks)
            .map(|(node, mark)| time_at(node, *mark, "block_connected", "hash", &hash));
        spreads.push(1_000.0 * (arrived.fold(mined, f64::max) - mined));
    }
    mesh.assert_on_lines();
    mesh.nodes.iter().for_each(keep_log);
    let p99 = percentile(&spreads, 0.99);
    println!("spread of {SPREAD_BLOCKS} blocks to {SPREAD_NODES} nodes: p99 {p99:.0} ms");
    bar_at_most("relay-spread", median(spreads), "ms to all of 12 nodes at 20 ms, median", 90.0);
}

/// Calls a node's RPC without a process for each call.
struct Caller {
    rpc: SocketAddr,
    head: String,
}

impl Caller {
    fn new(node: &Node) -> Self {
        let rpc: SocketAddr =
            text(&node.await_event("node_started", |_| true)["rpc"]).parse().expect("an address");
        let token = std::fs::read_to_string(node.folder.path().join("rpc.token"));
        let token = token.expect("a running node");
        let head = format!(
            "POST / HTTP/1.1\r\nHost: {rpc}\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\n",
            token.trim()
        );
        Self { rpc, head }
    }

    #[track_caller]
    fn call(&self, method: &str, request: &Value) -> Value {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": request});
        let body = body.to_string();
        let head = format!("{}Content-Length: {}\r\n\r\n{body}", self.head, body.len());
        // A connection of the RPC carries one request.
        let mut stream = BufReader::new(TcpStream::connect(self.rpc).expect("a running node"));
        stream.get_mut().write_all(head.as_bytes()).expect("a running node");
        let (mut line, mut length) = (String::new(), 0);
        loop {
            line.clear();
            stream.read_line(&mut line).expect("an answer");
            let lower = line.to_lowercase();
            if let Some(count) = lower.strip_prefix("content-length:") {
                length = count.trim().parse().expect("a length");
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer).expect("an answer");
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        assert!(answer["error"].is_null(), "{answer}");
        answer["result"].clone()
    }
}

/// Measures how long trades that one node makes in a row take to reach all others.
pub(crate) fn trades() {
    let net = TestNet::new();
    let folders: Vec<Folder> = names(TRADE_NODES).iter().map(|id| net.folder(id)).collect();
    let addresses: Vec<String> = folders.iter().map(Folder::new_address).collect();
    let owner: Address = addresses[0].parse().expect("an address");
    rich(&folders, owner.0);
    let mesh = Mesh::new(&folders, Quality::far(FAR));
    let marks: Vec<usize> = mesh.nodes.iter().map(Node::log_mark).collect();
    let caller = Caller::new(&mesh.nodes[0]);
    let started = Instant::now();
    let sent: Vec<Value> = (0..TRADES)
        .map(|_| {
            caller.call("send", &json!([{"to": addresses[1], "amount": "0.01"}]))["txid"].clone()
        })
        .collect();
    println!("{TRADES} trades were made in {:.2} s", started.elapsed().as_secs_f64());
    let mut latest = vec![0.0; TRADES];
    let mut made = vec![0.0; TRADES];
    for (at, (node, mark)) in mesh.nodes.iter().zip(&marks).enumerate() {
        for (number, txid) in sent.iter().enumerate() {
            let time = time_at(node, *mark, "trade_accepted", "txid", txid);
            if at == 0 {
                made[number] = time;
            }
            latest[number] = f64::max(latest[number], time);
        }
    }
    mesh.assert_on_lines();
    mesh.nodes.iter().for_each(keep_log);
    let spreads: Vec<f64> = latest.iter().zip(&made).map(|(latest, made)| latest - made).collect();
    println!("{TRADES} trades to {TRADE_NODES} nodes: median {:.2} s", percentile(&spreads, 0.5));
    bar_at_most(
        "relay-trades",
        percentile(&spreads, 0.95),
        "s to all of 8 nodes at 20 ms, p95",
        1.0,
    );
}

/// Gives all folders a chain on which the owner has more coins than there will be trades.
fn rich(folders: &[Folder], owner: Owner) {
    let mut generator = Generator::new(1);
    let mut blocks = vec![generator.reward(owner, 2 * TRADES)];
    blocks.extend((0..10).map(|_| generator.trades(0)));
    for folder in folders {
        let path = folder.path().join("chain.redb");
        let mut chain = Chain::create(&path, &generator.network, options(2)).expect("a chain");
        for block in &blocks {
            chain.accept_block(block.clone(), PEER, NOW).expect("a valid block");
        }
        chain.commit().expect("a commit");
    }
}

/// Waits until the nodes have compared their mempools, and returns the bytes a second since then.
fn idle_bytes(mesh: &Mesh) -> f64 {
    let watched = |_| {
        let before = mesh.carried();
        std::thread::sleep(BEFORE);
        let rate = (mesh.carried() - before) as f64 / BEFORE.as_secs_f64();
        eprintln!("{rate:.0} bytes/s before the block");
        rate
    };
    (0..12).map(watched).find(|rate| *rate < IDLE_RATE).expect("quiet nodes")
}

/// Measures the traffic of a block whose transactions all nodes have.
pub(crate) fn known_block() {
    let net = TestNet::new();
    let folders: Vec<Folder> = names(KNOWN_NODES).iter().map(|id| net.folder(id)).collect();
    let mut generator = Generator::new(1);
    let mut blocks = Vec::new();
    generator.populate(4 * KNOWN, |block| blocks.push(block));
    // The trades of a block that is never published fill the mempools.
    let whole = generator.trades(KNOWN);
    let size = whole.encoded_len() as f64;
    for folder in &folders {
        folder.new_address();
        let path = folder.path().join("chain.redb");
        let mut chain = Chain::create(&path, &generator.network, options(2)).expect("a chain");
        for block in &blocks {
            chain.accept_block(block.clone(), PEER, NOW).expect("a valid block");
        }
        for trade in &whole.transactions[1..] {
            chain.accept_trade(trade.clone(), PEER, NOW).expect("a valid trade");
        }
        chain.commit().expect("a commit");
    }
    let mesh = Mesh::new(&folders, Quality::far(FAR));
    let idle = idle_bytes(&mesh) * AFTER.as_secs_f64();
    let marks: Vec<usize> = mesh.nodes.iter().map(Node::log_mark).collect();
    let before = mesh.carried();
    let hash = Value::from(mesh.nodes[0].folder.mine(1, None).remove(0));
    let block = await_late(&mesh.nodes[0], marks[0], PATIENCE, |event| {
        event["event"] == "block_connected" && event["hash"] == hash
    });
    assert_eq!(block.expect("it is mined")["transactions"], KNOWN + 1);
    std::thread::sleep(AFTER);
    let cost = (mesh.carried() - before) as f64 - idle;
    for (node, mark) in mesh.nodes.iter().zip(&marks) {
        time_at(node, *mark, "block_connected", "hash", &hash);
    }
    let links = (KNOWN_NODES * (KNOWN_NODES - 1) / 2) as f64;
    println!("a block of {size} bytes: {:.0} bytes a link, {idle:.0} idle in all", cost / links);
    let what = "% of a block of 2,000 known transactions a link";
    bar_at_most("relay-known-block", 100.0 * cost / links / size, what, 2.0);
}

/// Measures the traffic and processor time of idle nodes.
pub(crate) fn idle() {
    let chain = chain(200, 2);
    let net = TestNet::new();
    let folders: Vec<Folder> =
        names(IDLE_NODES).iter().map(|id| server_folder(&net, id, &chain)).collect();
    let mesh = Mesh::new(&folders, Quality::default());
    // The exchange after the first hellos takes some seconds.
    std::thread::sleep(Duration::from_secs(30));
    let busy = || mesh.nodes.iter().map(processor_time).sum::<f64>();
    let (carried, before, started) = (mesh.carried(), busy(), Instant::now());
    std::thread::sleep(Duration::from_secs(IDLE_SECONDS));
    let seconds = started.elapsed().as_secs_f64() * IDLE_NODES as f64;
    let bytes = (mesh.carried() - carried) as f64 / seconds;
    let core = 100.0 * (busy() - before) / seconds;
    bar_at_most("idle-bytes", bytes, "bytes/s that a node with seven peers sends", 866.0 * 1.1);
    bar_at_most("idle-processor", core, "% of a core that a node with seven peers uses", 0.25);
}

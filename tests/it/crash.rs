//! Tests `kill -9` of working nodes: everything acknowledged is there after a restart.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::support::{
    DEADLINE, Folder, Node, TestNet,
    chain::{number, text},
    eventually, holds,
};

#[test]
fn an_acknowledged_trade_survives_kill_9() {
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let yzw = folder.new_address();
    folder.create_chain(&yzw);
    let yjf = folder.new_address();

    let mut sent = Vec::new();
    for _ in 0..5 {
        let node = folder.start(&[]);
        sent.push(folder.send(&yzw, &yjf, "2"));
        node.kill();
    }
    let mut waiting = folder.mempool();
    waiting.sort();
    let mut expected = sent.clone();
    expected.sort();
    assert_eq!(waiting, expected);

    folder.mine(1, Some(&yzw));
    assert_eq!(folder.balance(&yjf), "10");
    for txid in &sent {
        assert_eq!(folder.count_of(txid), 1);
    }
    folder.assert_sound();
}

#[test]
fn a_node_killed_while_it_mines_keeps_every_block_it_told_of() {
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let yzw = folder.new_address();
    folder.create_chain(&yzw);

    for round in 1..=4_u64 {
        let node = folder.start(&["--mine", "always", "--miner", &yzw]);
        let start = number(&node.await_event("node_started", |_| true)["height"]);
        let seen = node
            .await_event("block_connected", |event| number(&event["height"]) >= start + 7 * round);
        let (height, hash) = (number(&seen["height"]), text(&seen["hash"]));
        node.kill();
        assert_eq!(
            folder.json(["block", &height.to_string()])["hash"],
            hash,
            "what was shown was durable"
        );
        assert!(number(&folder.assert_sound()["height"]) >= height);
    }
}

#[test]
fn reindexing_gives_the_coins_that_were_there() {
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let yzw = folder.new_address();
    folder.create_chain(&yzw);
    let yjf = folder.new_address();
    for _ in 0..5 {
        folder.send(&yzw, &yjf, "1.5");
        folder.mine(3, Some(&yzw));
    }
    let before = folder.assert_sound();
    let rebuilt = folder.json(["reindexutxo"]);
    assert_eq!(rebuilt["ok"], true, "{rebuilt}");
    assert_eq!(rebuilt["coins_hash"], before["coins_hash"]);
    assert_eq!(folder.assert_sound()["coins_hash"], before["coins_hash"]);
    assert_eq!(folder.balance(&yjf), "7.5");
}

#[test]
fn a_signal_ends_the_node_cleanly_and_stop_does_too() {
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let yzw = folder.new_address();
    folder.create_chain(&yzw);
    for signal in ["INT", "TERM"] {
        let mut node = folder.start(&["--mine", "always", "--miner", &yzw]);
        node.await_event("block_connected", |_| true);
        node.signal(signal);
        assert!(node.await_end().success(), "SIG{signal}");
        node.await_event("node_stopped", |_| true);
    }
    let mut node = folder.start(&[]);
    folder.run(["stop"]).done();
    assert!(node.await_end().success());
    eventually("the folder is free again", || {
        let answer = folder.run(["get-balance", "--address", &yzw]);
        holds(answer.code == Some(0), answer)
    });
    folder.assert_sound();
}

/// Returns the number of rounds of `kill -9`, from `FRIENDCHAIN_KILLS` or 3.
fn kills() -> u64 {
    std::env::var("FRIENDCHAIN_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(3)
}

/// Returns a number below `below` that depends only on the round, evenly spread.
fn spread(round: u64, below: u64) -> u64 {
    let mixed = (round + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) % below
}

/// The commands that a node acknowledged before it was killed.
struct Acknowledged {
    /// The ids of trades and notes.
    txids: Vec<String>,
    /// The number of chat lines.
    lines: u64,
}

/// Sends trades, notes and chat lines until a command fails or `until`.
fn load(folder: &Folder, [from, to]: [&str; 2], round: u64, until: Instant) -> Acknowledged {
    let mut acknowledged = Acknowledged { txids: Vec::new(), lines: 0 };
    while Instant::now() < until {
        let sent =
            folder.run(["--json", "send", "--from", from, "--to", to, "--amount", "0.00001"]);
        if sent.code != Some(0) {
            break;
        }
        acknowledged.txids.push(text(&sent.json()["txid"]));
        let note = folder.run(["--json", "note", &format!("round {round}")]);
        if note.code == Some(0) {
            acknowledged.txids.push(text(&note.json()["txid"]));
        }
        let said = format!("round {round} line {}", acknowledged.lines);
        if folder.run(["--json", "chat", "feeder", &said]).code == Some(0) {
            acknowledged.lines += 1;
        }
    }
    acknowledged
}

/// Kills a node under load, at a moment that differs in each round. Returns the commands that it
/// acknowledged and the last `block_connected` that it logged.
fn kill_under_load(
    node: Node,
    addresses: [&str; 2],
    round: u64,
) -> (Acknowledged, Option<serde_json::Value>) {
    let moment = Instant::now() + Duration::from_millis(20 + spread(round, 1_500));
    let folder = node.folder.clone();
    thread::scope(|scope| {
        let until = moment + Duration::from_millis(200);
        let load = scope.spawn(move || load(&folder, addresses, round, until));
        thread::sleep(moment.saturating_duration_since(Instant::now()));
        let mut connected = node.events_since(0, |event| event["event"] == "block_connected");
        node.kill();
        (load.join().expect("the load"), connected.pop())
    })
}

/// Checks that the folder of a killed node still has everything that the node acknowledged.
#[track_caller]
fn assert_kept(
    folder: &Folder,
    acknowledged: &Acknowledged,
    last_connected: Option<&serde_json::Value>,
    height: u64,
    round: u64,
) {
    let (now, _) = folder.tip();
    assert!(now >= height, "round {round}: height {now} after {height}");
    if let Some(last) = last_connected {
        let found = folder.run(["--json", "block", &text(&last["hash"])]);
        let is_there = found.code == Some(0) || now >= number(&last["height"]);
        assert!(is_there, "round {round}: {last} was told, and is gone: {found:?}");
    }
    for txid in &acknowledged.txids {
        folder.json(["tx", txid]);
    }
    let history = folder.json(["history", "feeder", "--limit", "1000"]).to_string();
    for line in 0..acknowledged.lines {
        assert!(
            history.contains(&format!("round {round} line {line}")),
            "round {round}: line {line} is lost"
        );
    }
}

/// Prints the start times after kills, with their limit.
fn report(rounds: u64, trades: usize, mut starts: Vec<Duration>) {
    starts.sort();
    let (max, p99) = (starts[starts.len() - 1], starts[(starts.len() * 99).div_ceil(100) - 1]);
    let verdict = if max <= Duration::from_secs(2) { "ok" } else { "MISSED" };
    println!(
        "bar kill-9-start: {rounds} kills, {trades} acknowledged trades and notes kept, start p99 \
         {} ms, max {} ms (bar ≤ 2000) {verdict}",
        p99.as_millis(),
        max.as_millis(),
    );
    assert!(max < DEADLINE, "it starts at all");
}

#[test]
fn a_node_killed_at_any_moment_under_load_comes_back_whole() {
    let rounds = kills();
    let net = TestNet::new();
    let feeder = net.folder("feeder");
    let feeding = feeder.new_address();
    feeder.create_chain(&feeding);
    let folder = net.folder("yzw");
    let yzw = folder.new_address();
    folder.join(&feeder);
    feeder.send(&feeding, &yzw, "50");
    feeder.mine(1, Some(&feeding));
    // This peer sends blocks, trades and chat during the whole test.
    let peer = feeder.start(&["--mine", "always", "--miner", &feeding, "--threads", "1"]);
    let first = folder.start(&["--peer", &peer.address]);
    eventually("the coins are there", || holds(folder.balance(&yzw) == "50", folder.balance(&yzw)));
    first.stop();

    let (mut txids, mut starts) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let began = Instant::now();
        let args = ["--peer", &peer.address, "--mine", "on-demand", "--miner", &yzw];
        let node = folder.spawn_listening(&args);
        // Wait for the RPC. A command that comes earlier would open the folder itself.
        node.await_event("node_started", |_| true);
        let status = node.status();
        starts.push(began.elapsed());
        let height = number(&status["height"]);

        let (acknowledged, last) = kill_under_load(node, [&yzw, &feeding], round);
        assert_kept(&folder, &acknowledged, last.as_ref(), height, round);
        txids.extend(acknowledged.txids);
        if round % 20 == 0 || round + 1 == rounds {
            folder.assert_sound();
        }
    }

    // In the end every acknowledged trade is still known: mined, in the mempool, or void.
    for txid in &txids {
        folder.json(["tx", txid]);
    }
    assert!(!txids.is_empty(), "the load did something");
    report(rounds, txids.len(), starts);
}

//! `kill -9` of nodes at work: what was acknowledged is there when they come back.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::support::{
    DEADLINE, TestNet,
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

/// How many rounds of `kill -9` there are: `FRIENDCHAIN_KILLS`, a few by default.
fn kills() -> u64 {
    std::env::var("FRIENDCHAIN_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(3)
}

/// A number that depends on the round alone, evenly spread.
fn spread(round: u64, below: u64) -> u64 {
    let mixed = (round + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) % below
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
    // The peer that feeds it blocks, trades and chat, from beginning to end.
    let peer = feeder.start(&["--mine", "always", "--miner", &feeding, "--threads", "1"]);
    let first = folder.start(&["--peer", &peer.address]);
    eventually("the coins are there", || holds(folder.balance(&yzw) == "50", folder.balance(&yzw)));
    first.stop();

    let (mut trades, mut starts) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let began = Instant::now();
        let args = ["--peer", &peer.address, "--mine", "on-demand", "--miner", &yzw];
        let node = folder.spawn_listening(&args);
        // Up is when the RPC answers; asked before it listens, the command would open the folder
        // itself.
        node.await_event("node_started", |_| true);
        let status = node.status();
        starts.push(began.elapsed());
        let height = number(&status["height"]);

        // Load until the moment comes, a different one in each round: what is acknowledged is
        // noted.
        let moment = Instant::now() + Duration::from_millis(20 + spread(round, 1_500));
        let killed = thread::scope(|scope| {
            let load = scope.spawn(|| {
                let (mut acknowledged, mut lines) = (Vec::new(), 0);
                while Instant::now() < moment + Duration::from_millis(200) {
                    let sent = folder.run([
                        "--json", "send", "--from", &yzw, "--to", &feeding, "--amount", "0.00001",
                    ]);
                    if sent.code == Some(0) {
                        acknowledged.push(text(&sent.json()["txid"]));
                    } else {
                        break;
                    }
                    let note = folder.run(["--json", "note", &format!("round {round}")]);
                    if note.code == Some(0) {
                        acknowledged.push(text(&note.json()["txid"]));
                    }
                    let said = format!("round {round} line {lines}");
                    if folder.run(["--json", "chat", "feeder", &said]).code == Some(0) {
                        lines += 1;
                    }
                }
                (acknowledged, lines)
            });
            thread::sleep(moment.saturating_duration_since(Instant::now()));
            let connected = node.events_since(0, |event| event["event"] == "block_connected");
            node.kill();
            let (acknowledged, lines) = load.join().expect("the load");
            (connected, acknowledged, lines)
        });
        let (connected, acknowledged, lines) = killed;
        trades.extend(acknowledged.clone());

        // All that was told is there; every so often all is checked.
        let (now, _) = folder.tip();
        assert!(now >= height, "round {round}: height {now} after {height}");
        if let Some(last) = connected.last() {
            let found = folder.run(["--json", "block", &text(&last["hash"])]);
            let is_there = found.code == Some(0) || now >= number(&last["height"]);
            assert!(is_there, "round {round}: {last} was told, and is gone: {found:?}");
        }
        for txid in &acknowledged {
            folder.json(["tx", txid]);
        }
        let history = folder.json(["history", "feeder", "--limit", "1000"]).to_string();
        for line in 0..lines {
            assert!(
                history.contains(&format!("round {round} line {line}")),
                "round {round}: line {line} is lost"
            );
        }
        if round % 20 == 0 || round + 1 == rounds {
            folder.assert_sound();
        }
    }

    // In the end every acknowledged trade is on the chain once, waits, or says why it cannot be.
    for txid in &trades {
        folder.json(["tx", txid]);
    }
    assert!(!trades.is_empty(), "the load did something");
    starts.sort();
    let (max, p99) = (starts[starts.len() - 1], starts[(starts.len() * 99).div_ceil(100) - 1]);
    let verdict = if max <= Duration::from_secs(2) { "ok" } else { "MISSED" };
    println!(
        "bar kill-9-start: {rounds} kills, {} acknowledged trades and notes kept, start p99 {} \
         ms, max {} ms (bar ≤ 2000) {verdict}",
        trades.len(),
        p99.as_millis(),
        max.as_millis(),
    );
    assert!(max < DEADLINE, "it starts at all");
}

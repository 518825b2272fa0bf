//! `kill -9` of nodes at work: what was acknowledged is there when they come back.

use crate::support::{
    TestNet,
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
        let seen = node.await_event("block_connected", |event| number(&event["height"]) >= start + 7 * round);
        let (height, hash) = (number(&seen["height"]), text(&seen["hash"]));
        node.kill();
        assert_eq!(folder.json(["block", &height.to_string()])["hash"], hash, "what was shown was durable");
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

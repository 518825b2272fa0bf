//! Tests that a fresh node syncs a long chain although it is killed several times.

use crate::support::{
    TestNet,
    chain::{await_one_tip, number},
    eventually, holds,
    line::SlowLine,
    ports::free_port,
};

/// The length of the synced chain.
const BLOCKS: u64 = 5_000;
/// The blocks mined between two groups of trades.
const ROUND: usize = 250;
/// The speed of the line. A header and block have about 300 bytes, so the sync takes about 10 s.
const BYTES_PER_SECOND: usize = 150_000;

#[test]
fn five_thousand_blocks_with_trades_sync_to_a_fresh_node_that_is_killed_in_the_middle() {
    let net = TestNet::new();
    let source = net.folder("source");
    let yzw = source.new_address();
    source.create_chain(&yzw);
    let yjf = source.new_address();
    let fresh = net.folder("fresh");
    // No node runs yet, so the invite holds no address, and the fresh node knows only the slow
    // line.
    fresh.join(&source);
    let from = source.start(&[]);
    while source.tip().0 < BLOCKS {
        for _ in 0..5 {
            source.send(&yzw, &yjf, "1");
        }
        source.mine(ROUND, Some(&yzw));
    }
    let (height, tip) = source.tip();

    let line = SlowLine::to(&from, BYTES_PER_SECOND);
    let node = fresh.start(&["--peer", &line.address]);
    let progress = node.await_event("sync_progress", |event| number(&event["height"]) >= 300);
    assert_eq!(number(&progress["best_header_height"]), height, "headers come first: {progress}");
    assert!(
        number(&progress["blocks_per_second"]) > 0 && number(&progress["seconds_left"]) > 0,
        "{progress}"
    );
    node.kill();
    let stopped_at = fresh.tip().0;
    assert!(
        (300..height).contains(&stopped_at),
        "killed in the middle, and what was connected was kept: {stopped_at}"
    );

    let node = fresh.start(&["--peer", &line.address]);
    let resumed = number(&node.await_event("node_started", |_| true)["height"]);
    assert_eq!(resumed, stopped_at, "it goes on where it was");
    node.await_event("synced", |event| number(&event["height"]) == height);
    assert_eq!(await_one_tip(&[&source, &fresh], BLOCKS), (height, tip));
    assert_eq!(node.status()["phase"], "synced");
    assert_eq!(fresh.assert_sound()["coins_hash"], source.assert_sound()["coins_hash"]);
}

#[test]
fn a_node_that_was_away_catches_up_and_gets_the_waiting_trades() {
    let net = TestNet::new();
    let (first, second) = (net.folder("first"), net.folder("second"));
    let yzw = first.new_address();
    first.create_chain(&yzw);
    second.join(&first);
    let one = first.start(&[]);
    let two = second.start_with_peers(&[&one]);
    first.mine(5, Some(&yzw));
    await_one_tip(&[&first, &second], 5);
    two.stop();

    first.mine(40, Some(&yzw));
    let txid = first.send(&yzw, &second.new_address(), "7");
    // It mines nothing, so that the trade waits.
    let args = ["--no-mdns", "--mine", "off", "--peer", &one.address];
    let two = second.people("127.0.0.1", free_port(), &args);
    await_one_tip(&[&first, &second], 45);
    two.await_event("trade_accepted", |event| event["txid"] == *txid);
    two.await_printed(0, "* synced: 40 blocks, height 45");
    let printed = two.printed_since(0);
    assert_eq!(printed.matches("block").count(), 1, "one line for the whole sync: {printed}");
}

#[test]
fn a_block_found_by_one_reaches_nodes_that_know_only_each_other() {
    let net = TestNet::new();
    let folders = ["a", "b", "c", "d"].map(|id| net.folder(id));
    let yzw = folders[0].new_address();
    folders[0].create_chain(&yzw);
    for folder in &folders[1..] {
        folder.join(&folders[0]);
    }
    let a = folders[0].start(&[]);
    let b = folders[1].start_with_peers(&[&a]);
    let c = folders[2].start_with_peers(&[&b]);
    let _d = folders[3].start_with_peers(&[&c]);
    let all: Vec<_> = folders.iter().collect();
    for (height, miner) in (1..).zip([0, 3, 1, 2, 0, 3]) {
        folders[miner].mine(1, Some(&yzw));
        await_one_tip(&all, height);
    }
    for folder in &folders {
        folder.assert_sound();
    }
}

#[test]
fn sync_asks_for_news_and_says_when_there_is_nobody_to_ask() {
    let net = TestNet::new();
    let (first, second) = (net.folder("first"), net.folder("second"));
    let yzw = first.new_address();
    first.create_chain(&yzw);
    second.join(&first);
    first.mine(12, Some(&yzw));
    let two = second.start(&[]);
    let (_, sentence) = second.refused(&["sync"]);
    assert!(!sentence.is_empty());
    eventually("a node without peers says that it is alone", || {
        let status = two.status();
        holds(status["phase"] == "alone", status)
    });

    let _one = first.start_with_peers(&[&two]);
    two.await_event("status_exchanged", |_| true);
    let answer = second.json(["sync"]);
    assert_eq!(number(&answer["height"]), 12, "{answer}");
}

//! A long chain comes to a fresh node, though the node is killed on the way.

use crate::support::{
    TestNet,
    chain::{await_one_tip, number},
};

/// Blocks in the chain that is synced.
const BLOCKS: u64 = 5_000;
/// Blocks mined between trades.
const ROUND: usize = 250;

#[test]
fn five_thousand_blocks_with_trades_sync_to_a_fresh_node_that_is_killed_in_the_middle() {
    let net = TestNet::new();
    let source = net.folder("source");
    let yzw = source.new_address();
    source.create_chain(&yzw);
    let yjf = source.new_address();
    let from = source.start(&[]);
    while source.tip().0 < BLOCKS {
        for _ in 0..5 {
            source.send(&yzw, &yjf, "1");
        }
        source.mine(ROUND, Some(&yzw));
    }
    let (height, tip) = source.tip();

    // A fast machine may be done before the kill: then it is tried again with another fresh node.
    let (folder, stopped_at) = (0..5)
        .find_map(|attempt| {
            let folder = net.folder(&format!("fresh{attempt}"));
            folder.join(&source);
            let node = folder.start_with_peers(&[&from]);
            node.await_event("block_connected", |event| number(&event["height"]) >= 300);
            node.kill();
            let stopped_at = folder.tip().0;
            (stopped_at < height).then_some((folder, stopped_at))
        })
        .expect("a node killed in the middle of its sync");
    assert!(stopped_at > 0, "what was connected before the kill was kept");

    let node = folder.start_with_peers(&[&from]);
    let resumed = number(&node.await_event("node_started", |_| true)["height"]);
    assert_eq!(resumed, stopped_at, "it goes on where it was");
    let progress = node.await_event("sync_progress", |event| number(&event["best_header_height"]) == height);
    assert!(number(&progress["height"]) >= resumed, "{progress}");
    for figure in ["blocks_per_second", "seconds_left"] {
        assert!(progress[figure].is_u64(), "{figure} in {progress}");
    }
    node.await_event("synced", |event| number(&event["height"]) == height);
    assert_eq!(await_one_tip(&[&source, &folder], BLOCKS), (height, tip));
    assert_eq!(node.status()["phase"], "synced");
    assert_eq!(folder.assert_sound()["coins_hash"], source.assert_sound()["coins_hash"]);
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
    let two = second.start_with_peers(&[&one]);
    await_one_tip(&[&first, &second], 45);
    two.await_event("trade_accepted", |event| event["txid"] == *txid);
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
    assert_eq!(two.status()["phase"], "alone");

    let _one = first.start_with_peers(&[&two]);
    two.await_event("status_exchanged", |_| true);
    let answer = second.json(["sync"]);
    assert_eq!(number(&answer["height"]), 12, "{answer}");
}

//! Tests two groups that mine apart and meet again.

use std::{
    thread,
    time::{Duration, Instant},
};

use friendchain::{
    chain::{Chain, ChainOptions, Origin},
    consensus::wins_tie,
    primitives::BlockHash,
};
use serde_json::Value;

use crate::support::{
    DEADLINE, Folder, Node, TestNet,
    chain::{await_one_tip, number, text},
    eventually,
    forge::{Forge, commit, mine, now},
    holds,
};

/// The environment variable with the number of blocks of each half. The long run sets 200,000.
const HALVES: &str = "FRIENDCHAIN_HALVES";

/// The default number of blocks of each half: far more than a branch may lack in work.
const FEW: u32 = 1_000;

/// Builds a shared history of 14 blocks in all folders. Both addresses get coins in it.
fn share_history(everyone: &[&Folder; 4], ours: &str, theirs: &str) {
    let [first, others @ ..] = everyone;
    first.create_chain(ours);
    for folder in others {
        folder.join(first);
    }
    let hub = first.start(&[]);
    let _others = others.map(|folder| folder.start_with_peers(&[&hub]));
    for _ in 0..4 {
        first.send(ours, theirs, "15");
        first.mine(2, Some(ours));
    }
    await_one_tip(everyone, 8);
    first.mine(6, Some(ours));
    await_one_tip(everyone, 14);
}

/// Checks that all folders have the same coins.
fn assert_same_coins(everyone: &[&Folder]) {
    let audits: Vec<Value> = everyone.iter().map(|folder| folder.assert_sound()).collect();
    let hashes: Vec<_> = audits.iter().map(|audit| text(&audit["coins_hash"])).collect();
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
}

#[test]
fn two_groups_that_mined_apart_agree_and_every_living_trade_is_there_once() {
    let net = TestNet::new();
    let [a1, a2, b1, b2] = ["a1", "a2", "b1", "b2"].map(|id| net.folder(id));
    let everyone = [&a1, &a2, &b1, &b2];
    let [ours, theirs, shop] = [&a1, &b1, &b2].map(Folder::new_address);
    share_history(&everyone, &ours, &theirs);

    // All nodes restart at new addresses, so that no node can dial the other group.
    let hub_a = a1.start(&[]);
    let _peer_a = a2.start_with_peers(&[&hub_a]);
    let hub_b = b1.start(&[]);
    let peer_b = b2.start_with_peers(&[&hub_b]);

    let mut alive = Vec::new();
    alive.push(a1.send(&ours, &shop, "1"));
    a1.mine(2, Some(&ours));
    alive.push(a1.send(&ours, &shop, "2"));
    // These coins exist on this side only, and so does the trade that spends them.
    let doomed = a2.new_address();
    await_one_tip(&[&a1, &a2], 16);
    a2.mine(2, Some(&doomed));
    let dead = a2.send(&doomed, &shop, "150");
    a2.mine(1, Some(&doomed));
    await_one_tip(&[&a1, &a2], 19);

    alive.push(b1.send(&theirs, &ours, "3"));
    b1.mine(4, Some(&theirs));
    alive.push(b1.send(&theirs, &shop, "4"));
    await_one_tip(&[&b1, &b2], 18);
    b2.mine(4, Some(&shop));
    let (_, winner) = await_one_tip(&[&b1, &b2], 22);
    assert_ne!(a1.tip().1, winner, "the groups are apart");

    // The groups meet.
    let mark = hub_a.log_mark();
    peer_b.stop();
    let _peer_b = b2.start_with_peers(&[&hub_b, &hub_a]);
    assert_eq!(await_one_tip(&everyone, 22).1, winner, "the branch with more work");
    hub_a.await_event_since(mark, "reorganised", |event| event["disconnected"] == 5);

    // Trades of disconnected blocks return to the mempool, also at the next miner.
    eventually("what was dropped waits again or is mined, at b1", || {
        let states: Vec<_> = alive.iter().map(|txid| b1.try_json(["tx", txid])).collect();
        holds(
            states.iter().all(|state| state.as_ref().is_ok_and(|tx| tx["state"] != "void")),
            states,
        )
    });
    b1.mine(1, Some(&theirs));
    await_one_tip(&everyone, 23);
    for txid in &alive {
        let counts = everyone.map(|folder| folder.count_of(txid));
        assert_eq!(counts, [1; 4], "{txid} is confirmed once, everywhere");
    }

    // The trade whose coins are gone is void at its own node, and on no chain.
    assert_eq!(everyone.map(|folder| folder.count_of(&dead)), [0; 4]);
    let void = eventually("the dead trade is void", || {
        let trade = a2.try_json(["tx", &dead])?;
        holds(trade["state"] == "void", &trade)?;
        Ok(trade)
    });
    assert!(void["block"].is_null(), "{void}");

    assert_same_coins(&everyone);
    assert_eq!(a1.balance(&shop), "407", "four blocks, and 1 + 2 + 4");
}

#[test]
fn two_idle_halves_of_equal_work_agree_on_the_one_that_wins_the_draw() {
    let net = TestNet::new();
    let [left, right] = ["left", "right"].map(|id| net.folder(id));
    let yzw = left.new_address();
    left.create_chain(&yzw);
    right.join(&left);
    let one = left.start(&[]);
    let two = right.start(&[]);
    left.mine(3, Some(&yzw));
    right.mine(3, Some(&right.new_address()));
    let [ours, theirs] = [&left, &right].map(|folder| folder.tip().1);
    let hash = |text: &str| text.parse::<BlockHash>().expect("a hash");
    let winner = if wins_tie(&hash(&ours), &hash(&theirs)) { ours } else { theirs };
    assert_ne!(left.tip(), right.tip());

    two.stop();
    let _two = right.start_with_peers(&[&one]);
    assert_eq!(await_one_tip(&[&left, &right], 3).1, winner);
    assert_eq!(left.assert_sound()["coins_hash"], right.assert_sound()["coins_hash"]);
}

/// Connects this many blocks on genesis in a folder, a second apart. The salt makes branches
/// differ.
fn mine_apart(folder: &Folder, count: u32, salt: u8) -> BlockHash {
    let forge = Forge::of(folder);
    let path = folder.path().join("chain.redb");
    let mut chain = Chain::open(&path, ChainOptions::default()).expect("a chain");
    let mut parent = forge.genesis.header;
    for number in 1..=count {
        let mut block = forge.unmined(&parent, crate::support::forge::SUBSIDY, Vec::new());
        block.header.time = parent.time + 1;
        block.transactions[0].memo.push(salt);
        commit(&mut block);
        mine(&mut block);
        parent = block.header;
        chain.accept_block(block, Origin::Local, now()).expect("a good block");
        if number % 5_000 == 0 {
            chain.commit().expect("a commit");
        }
    }
    chain.commit().expect("a commit");
    parent.hash()
}

/// Waits until all nodes have this tip. Fails if no node gains a block or a header for a long time.
fn await_tip_while_it_moves(nodes: &[&Node], tip: BlockHash) {
    let (mut before, mut moved) = (Vec::new(), Instant::now());
    loop {
        let all: Vec<Value> = nodes.iter().map(|node| node.status()).collect();
        if all.iter().all(|status| status["tip"] == tip.to_string()) {
            return;
        }
        let seen: Vec<_> = all
            .iter()
            .map(|status| {
                let progress = &status["progress"];
                (number(&status["height"]), number(&status["best_header_height"]), progress.clone())
            })
            .collect();
        if seen != before {
            (before, moved) = (seen, Instant::now());
        }
        assert!(moved.elapsed() < DEADLINE * 2, "nothing moves: {all:#?}");
        thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn two_halves_that_were_apart_for_long_meet_on_one_tip() {
    let count = std::env::var(HALVES).map_or(FEW, |count| count.parse().expect("a number"));
    let net = TestNet::new();
    let [left, right] = ["left", "right"].map(|id| net.folder(id));
    left.create_chain(&Forge::address());
    right.join(&left);
    let winner = thread::scope(|scope| {
        let longer = scope.spawn(|| mine_apart(&left, count + 1, 1));
        mine_apart(&right, count, 2);
        longer.join().expect("it mines")
    });
    let one = left.start(&[]);
    let two = right.start_with_peers(&[&one]);
    let begin = Instant::now();
    await_tip_while_it_moves(&[&one, &two], winner);
    let seconds = begin.elapsed().as_secs_f64();
    println!("bar halves: {count} blocks apart, one tip after {seconds:.1} s ok");
    assert_eq!(left.assert_sound()["coins_hash"], right.assert_sound()["coins_hash"]);
}

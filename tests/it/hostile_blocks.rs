//! Tests a peer that serves blocks and trades which break one rule each. The node logs the rule,
//! drops the peer, and continues.

use std::collections::HashMap;

use friendchain::{
    primitives::{
        Amount, Block, BlockHash, Encode, Header, Owner, Transaction, TxOutput, coinbase_memo,
    },
    wire::{
        BlockGossip, CompactBlock, Gossip, Protocol, Request, Response, SyncRequest, SyncResponse,
        Topic, TradeAnnouncement, TradeGossip,
    },
};
use serde_bytes::ByteBuf;

use crate::support::{
    chain::number,
    eventually,
    forge::{SUBSIDY, Scene, commit, mine, strangers_key, unmine},
    holds,
    peer::{Branch, TestPeer},
};

/// Serves blocks, the last of which breaks a rule. Checks that the node logs the error, drops the
/// peer, and ends at a good block.
#[track_caller]
fn assert_refused(scene: &Scene, blocks: &[Block], code: &str, offence: &str) {
    let branch = Branch::new(&scene.forge.genesis, blocks);
    assert_branch_refused(scene, &branch, blocks.len() - 1, code, offence);
}

#[track_caller]
fn assert_branch_refused(scene: &Scene, branch: &Branch, good: usize, code: &str, offence: &str) {
    let mark = scene.node.log_mark();
    let peer = TestPeer::serving(&scene.node, scene.forge.network, branch);
    let penalty = scene
        .node
        .await_event_since(mark, "peer_penalised", |event| event["peer"] == peer.id.to_string());
    assert_eq!(penalty["offence"], offence, "{penalty}");
    peer.await_dropped();
    let bad = branch.headers.last().expect("headers").hash().to_string();
    // The error's code is in the penalty for a header, and in `block_refused` for a body.
    if offence == "invalid_header" {
        assert!(
            penalty["reason"].as_str().is_some_and(|reason| reason.starts_with(code)),
            "{code}: {penalty}"
        );
    } else {
        scene.node.await_event_since(mark, "block_refused", |event| {
            event["hash"] == bad && event["code"] == code
        });
    }

    // The good blocks below the bad one may be connected or not, but the bad one never is.
    let status = scene.node.status();
    let height = usize::try_from(number(&status["height"])).expect("small");
    assert!(height <= good, "{status}");
    scene.assert_unmoved(number(&status["height"]), &branch.headers[height]);
    let block = scene.node.folder.run(["--json", "block", &bad]);
    assert_ne!(block.code, Some(0), "the block is not on the chain: {block:?}");
    scene.node.folder.assert_sound();
}

fn parent(scene: &Scene) -> Header {
    scene.forge.genesis.header
}

fn nobody() -> Owner {
    Owner([7; 20])
}

/// A control: blocks made by a test are accepted if they obey the rules.
#[test]
fn a_peer_of_another_make_that_keeps_the_rules_is_followed() {
    let scene = Scene::new();
    let forge = &scene.forge;
    let pay = forge.trade(&[scene.coin()], SUBSIDY, nobody());
    let first = forge.block(&parent(&scene), vec![pay, forge.note(7, "hello")]);
    let rest = forge.chain(&first.header, 4);
    let blocks: Vec<_> = std::iter::once(first).chain(rest).collect();

    let branch = Branch::new(&forge.genesis, &blocks);
    let peer = TestPeer::serving(&scene.node, forge.network, &branch);
    scene.node.await_event("synced", |event| number(&event["height"]) == 5);
    scene.assert_unmoved(5, &blocks[4].header);
    scene.node.folder.assert_sound();
    let penalties = scene.node.events_since(0, |event| event["event"] == "peer_penalised");
    assert!(penalties.is_empty(), "{penalties:?}");
    assert!(!peer.requests(Protocol::Hello).is_empty(), "the node said who it is");
}

#[test]
fn a_block_without_work_is_refused() {
    let scene = Scene::new();
    let mut block = scene.forge.unmined(&parent(&scene), SUBSIDY, Vec::new());
    unmine(&mut block);
    assert_refused(&scene, &[block], "header_not_enough_work", "invalid_header");
}

#[test]
fn a_block_of_easier_bits_is_refused() {
    let scene = Scene::new();
    let mut block = scene.forge.unmined(&parent(&scene), SUBSIDY, Vec::new());
    // A target that is easier by one zero bit, through the exponent of the compact form.
    block.header.bits = 0x2100_ffff;
    mine(&mut block);
    assert_refused(&scene, &[block], "header_wrong_bits", "invalid_header");
}

#[test]
fn a_wrong_height_is_refused() {
    let scene = Scene::new();
    let mut block = scene.forge.unmined(&parent(&scene), SUBSIDY, Vec::new());
    block.header.height = 2;
    block.transactions[0].memo = coinbase_memo(2, b"");
    commit(&mut block);
    mine(&mut block);
    assert_refused(&scene, &[block], "header_wrong_height", "invalid_header");
}

#[test]
fn a_coinbase_of_another_height_is_refused() {
    let scene = Scene::new();
    let mut block = scene.forge.unmined(&parent(&scene), SUBSIDY, Vec::new());
    block.transactions[0].memo = coinbase_memo(2, b"");
    commit(&mut block);
    mine(&mut block);
    assert_refused(&scene, &[block], "coinbase_height", "invalid_block");
}

#[test]
fn a_time_before_its_ancestors_is_refused() {
    let scene = Scene::new();
    let mut block = scene.forge.unmined(&parent(&scene), SUBSIDY, Vec::new());
    block.header.time = scene.forge.genesis.header.time;
    mine(&mut block);
    assert_refused(&scene, &[block], "header_time_too_old", "invalid_header");
}

#[test]
fn a_coinbase_that_pays_too_much_is_refused() {
    let scene = Scene::new();
    let reward = SUBSIDY.checked_add(Amount::from_units(1)).expect("it fits");
    let mut block = scene.forge.unmined(&parent(&scene), reward, Vec::new());
    mine(&mut block);
    assert_refused(&scene, &[block], "coinbase_value", "invalid_block");
}

#[test]
fn a_theft_is_refused() {
    let scene = Scene::new();
    let forge = &scene.forge;
    let loot = || vec![TxOutput { value: SUBSIDY, owner: nobody() }];

    // Sign with a key that does not own the coin.
    let theft = forge.signed_with(&strangers_key(), &[scene.coin()], loot(), Vec::new());
    let block = forge.block(&parent(&scene), vec![theft]);
    assert_refused(&scene, &[block], "missing_coin", "invalid_block");

    // Name the owner's key, but sign with another one.
    let mut theft = forge.trade(&[scene.coin()], SUBSIDY, nobody());
    let by_stranger = forge.signed_with(&strangers_key(), &[scene.coin()], loot(), Vec::new());
    theft.inputs[0].signature = by_stranger.inputs[0].signature;
    let block = forge.block(&parent(&scene), vec![theft]);
    assert_refused(&scene, &[block], "bad_signature", "invalid_block");
}

#[test]
fn an_inflation_is_refused() {
    let scene = Scene::new();
    let more = SUBSIDY.checked_add(Amount::from_units(1)).expect("it fits");
    let inflation = scene.forge.trade(&[scene.coin()], more, nobody());
    let block = scene.forge.block(&parent(&scene), vec![inflation]);
    assert_refused(&scene, &[block], "overspent", "invalid_block");
}

#[test]
fn outputs_that_wrap_around_are_refused() {
    let scene = Scene::new();
    let outputs = [u64::MAX, 2]
        .map(|units| TxOutput { value: Amount::from_units(units), owner: nobody() })
        .to_vec();
    let wrapped = Transaction { outputs, ..scene.forge.trade(&[scene.coin()], SUBSIDY, nobody()) };
    let block = scene.forge.block(&parent(&scene), vec![wrapped]);
    assert_refused(&scene, &[block], "outputs_overflow", "invalid_block");
}

#[test]
fn a_double_input_is_refused() {
    let scene = Scene::new();
    let twice = scene.forge.trade(&[scene.coin(), scene.coin()], Amount::from_coins(200), nobody());
    let block = scene.forge.block(&parent(&scene), vec![twice]);
    assert_refused(&scene, &[block], "duplicate_input", "invalid_block");
}

#[test]
fn a_coin_spent_by_two_trades_of_a_block_is_refused() {
    let scene = Scene::new();
    let spends = [7, 8].map(|to| scene.forge.trade(&[scene.coin()], SUBSIDY, Owner([to; 20])));
    let block = scene.forge.block(&parent(&scene), spends.to_vec());
    assert_refused(&scene, &[block], "missing_coin", "invalid_block");
}

#[test]
fn a_used_stamp_is_refused() {
    let scene = Scene::new();
    let forge = &scene.forge;
    let first = forge.block(&parent(&scene), vec![forge.note(7, "the first")]);
    let second = forge.block(&first.header, vec![forge.note(7, "the second")]);
    assert_refused(&scene, &[first, second], "stamp_used", "invalid_block");
}

/// The header is valid, so only the sender of the wrong body is penalised, and the right body is
/// still accepted.
/// welcome.
#[test]
fn a_body_of_another_merkle_root_is_refused_and_the_right_one_is_still_welcome() {
    let scene = Scene::new();
    let forge = &scene.forge;
    let honest = forge.block(&parent(&scene), Vec::new());
    let mut lie = honest.clone();
    lie.transactions.push(forge.note(7, "not in the root"));
    let truth = Branch::new(&forge.genesis, std::slice::from_ref(&honest));
    let liar = Branch { bodies: HashMap::from([(honest.hash(), lie)]), ..truth.clone() };

    let mark = scene.node.log_mark();
    let peer = TestPeer::serving(&scene.node, forge.network, &liar);
    scene
        .node
        .await_event_since(mark, "block_refused", |event| event["code"] == "wrong_merkle_root");
    scene
        .node
        .await_event_since(mark, "peer_penalised", |event| event["peer"] == peer.id.to_string());
    scene.assert_unmoved(0, &parent(&scene));
    drop(peer);

    let _honest = TestPeer::serving(&scene.node, forge.network, &truth);
    scene.node.await_event("block_connected", |event| event["hash"] == honest.hash().to_string());
}

/// An honest peer sends the parent later. The sender of the bad child is still the one to blame.
#[test]
fn a_bad_block_that_came_before_its_parent_is_laid_at_its_senders_door() {
    let scene = Scene::new();
    let forge = &scene.forge;
    let first = forge.block(&parent(&scene), Vec::new());
    let inflation = forge.trade(&[scene.coin()], Amount::from_coins(101), nobody());
    let bad = forge.block(&first.header, vec![inflation]);
    let mut liar = Branch::new(&forge.genesis, &[first.clone(), bad.clone()]);
    liar.bodies.remove(&first.hash());

    let liar = TestPeer::serving(&scene.node, forge.network, &liar);
    scene.node.await_event("block_received", |event| event["hash"] == bad.hash().to_string());
    let truth = Branch::new(&forge.genesis, std::slice::from_ref(&first));
    let honest = TestPeer::serving(&scene.node, forge.network, &truth);
    scene.node.await_event("block_connected", |event| event["hash"] == first.hash().to_string());
    scene.node.await_event("block_refused", |event| event["code"] == "overspent");
    let penalty =
        scene.node.await_event("peer_penalised", |event| event["offence"] == "invalid_block");
    assert_eq!(penalty["peer"], liar.id.to_string(), "{penalty}");
    let innocent = scene.node.events_since(0, |event| {
        event["event"] == "peer_penalised" && event["peer"] == honest.id.to_string()
    });
    assert!(innocent.is_empty(), "{innocent:?}");
    scene.assert_unmoved(1, &first.header);
}

/// After each refusal the node follows an honest branch on top of the same parent.
#[test]
fn what_stands_on_a_refused_block_is_refused_and_the_chain_goes_on_elsewhere() {
    let scene = Scene::new();
    let forge = &scene.forge;
    let inflation = forge.trade(&[scene.coin()], Amount::from_coins(101), nobody());
    let bad = forge.block(&parent(&scene), vec![inflation]);
    let children = forge.chain(&bad.header, 3);
    let blocks: Vec<_> = std::iter::once(bad).chain(children).collect();
    let mark = scene.node.log_mark();
    let peer = TestPeer::serving(&scene.node, forge.network, &Branch::new(&forge.genesis, &blocks));
    scene.node.await_event_since(mark, "block_refused", |event| event["code"] == "overspent");
    peer.await_dropped();
    scene.assert_unmoved(0, &parent(&scene));

    let honest = forge.chain(&parent(&scene), 2);
    let _peer =
        TestPeer::serving(&scene.node, forge.network, &Branch::new(&forge.genesis, &honest));
    scene
        .node
        .await_event("block_connected", |event| event["hash"] == honest[1].hash().to_string());
    scene.assert_unmoved(2, &honest[1].header);
}

/// Returns the compact form of a block, with any short ids.
fn compact(block: &Block, short_ids: &[u8]) -> Vec<u8> {
    let compact = CompactBlock {
        header: ByteBuf::from(block.header.to_bytes()),
        coinbase: ByteBuf::from(block.transactions[0].to_bytes()),
        short_ids: ByteBuf::from(short_ids.to_vec()),
    };
    Gossip::Block(BlockGossip::Compact(compact)).encode().expect("within its limits")
}

#[test]
fn junk_short_ids_under_an_honest_header_cost_the_block_nothing() {
    let scene = Scene::new();
    let forge = &scene.forge;
    let block = forge.block(&parent(&scene), vec![forge.note(7, "the honest body")]);
    let truth = Branch::new(&forge.genesis, std::slice::from_ref(&block));
    // This peer knows the header, but serves other transactions than it announced.
    let junk = forge.note(8, "not of this block").to_bytes();
    let parts = Response::Sync(SyncResponse::BlockTrades(vec![ByteBuf::from(junk)]))
        .encode()
        .expect("fits");
    let mut lie = block.clone();
    lie.transactions[1] = forge.note(9, "nor this");
    let liar =
        Branch { headers: vec![parent(&scene)], bodies: HashMap::from([(block.hash(), lie)]) };
    let responder = liar.responder_but(move |request| {
        matches!(request, Request::Sync(SyncRequest::GetBlockTrades(_))).then(|| parts.clone())
    });

    let mark = scene.node.log_mark();
    let peer = TestPeer::connect(&scene.node, forge.network, responder);
    peer.publish(Topic::Blocks, &compact(&block, b"junk!"));
    scene
        .node
        .await_event_since(mark, "peer_penalised", |event| event["peer"] == peer.id.to_string());
    scene.assert_unmoved(0, &parent(&scene));
    drop(peer);

    let _honest = TestPeer::serving(&scene.node, forge.network, &truth);
    scene.node.await_event("block_connected", |event| event["hash"] == block.hash().to_string());
    assert_eq!(scene.node.folder.notes_saying("the honest body"), 1);
}

#[test]
fn a_compact_block_without_work_is_refused() {
    let scene = Scene::new();
    let mut block = scene.forge.unmined(&parent(&scene), SUBSIDY, Vec::new());
    unmine(&mut block);
    let branch = Branch::new(&scene.forge.genesis, &[]);
    let peer = TestPeer::connect(&scene.node, scene.forge.network, branch.responder());
    peer.publish(Topic::Blocks, &compact(&block, b""));
    let penalty =
        scene.node.await_event("peer_penalised", |event| event["peer"] == peer.id.to_string());
    assert_eq!(penalty["offence"], "invalid_header", "{penalty}");
    peer.await_dropped();
    scene.assert_unmoved(0, &parent(&scene));
}

#[test]
fn a_solved_header_without_work_is_refused() {
    let scene = Scene::new();
    let mut block = scene.forge.unmined(&parent(&scene), SUBSIDY, Vec::new());
    unmine(&mut block);
    let branch = Branch::new(&scene.forge.genesis, &[]);
    let peer = TestPeer::connect(&scene.node, scene.forge.network, branch.responder());
    let solved = Gossip::Block(BlockGossip::Solved(ByteBuf::from(block.header.to_bytes())));
    peer.publish(Topic::Blocks, &solved.encode().expect("fits"));
    let penalty =
        scene.node.await_event("peer_penalised", |event| event["peer"] == peer.id.to_string());
    assert_eq!(penalty["offence"], "invalid_header", "{penalty}");
    peer.await_dropped();
    scene.node.status();
}

fn announcement(transaction: &Transaction) -> Vec<u8> {
    let transactions = vec![ByteBuf::from(transaction.to_bytes())];
    Gossip::Trade(TradeGossip::Trades(TradeAnnouncement { transactions, round: 0 }))
        .encode()
        .expect("fits")
}

/// Announces a trade, and checks that the node refuses it with this code. If no honest peer could
/// send the trade, the sender must be penalised.
#[track_caller]
fn assert_trade_refused(scene: &Scene, transaction: &Transaction, code: &str, blamed: bool) {
    let mark = scene.node.log_mark();
    let branch = Branch::new(&scene.forge.genesis, &[]);
    let peer = TestPeer::connect(&scene.node, scene.forge.network, branch.responder());
    peer.publish(Topic::Trades, &announcement(transaction));
    let txid = transaction.txid().to_string();
    let refused =
        scene.node.await_event_since(mark, "trade_refused", |event| event["txid"] == txid);
    assert_eq!(refused["code"], code, "{refused}");
    let ours = |event: &serde_json::Value| event["peer"] == peer.id.to_string();
    if blamed {
        let penalty = scene.node.await_event_since(mark, "peer_penalised", ours);
        assert_eq!(penalty["offence"], "invalid_trade", "{penalty}");
    } else {
        let penalties = scene
            .node
            .events_since(mark, |event| event["event"] == "peer_penalised" && ours(event));
        assert!(penalties.is_empty(), "{penalties:?}");
    }
    assert_eq!(scene.node.folder.mempool(), Vec::<String>::new());
}

#[test]
fn loose_trades_that_break_a_rule_are_refused_by_name() {
    let scene = Scene::new();
    let forge = &scene.forge;
    let loot = || vec![TxOutput { value: SUBSIDY, owner: nobody() }];
    let mut forged = forge.trade(&[scene.coin()], SUBSIDY, nobody());
    forged.inputs[0].signature.0[9] ^= 1;
    assert_trade_refused(&scene, &forged, "bad_signature", true);
    let theft = forge.signed_with(&strangers_key(), &[scene.coin()], loot(), Vec::new());
    assert_trade_refused(&scene, &theft, "missing_coin", false);
    let inflation = forge.trade(&[scene.coin()], Amount::from_coins(101), nobody());
    assert_trade_refused(&scene, &inflation, "overspent", true);
    let twice = forge.trade(&[scene.coin(), scene.coin()], SUBSIDY, nobody());
    assert_trade_refused(&scene, &twice, "duplicate_input", true);
    let nothing = Transaction { memo: Vec::new(), ..forge.note(3, "x") };
    assert_trade_refused(&scene, &nothing, "empty_note", true);
}

#[test]
fn a_coinbase_is_no_trade() {
    let scene = Scene::new();
    let outputs = vec![TxOutput { value: SUBSIDY, owner: nobody() }];
    let minted = Transaction { inputs: Vec::new(), outputs, memo: coinbase_memo(1, b"") };
    let peer = TestPeer::connect(
        &scene.node,
        scene.forge.network,
        Branch::new(&scene.forge.genesis, &[]).responder(),
    );
    peer.publish(Topic::Trades, &announcement(&minted));
    let penalty =
        scene.node.await_event("peer_penalised", |event| event["peer"] == peer.id.to_string());
    assert_eq!(penalty["offence"], "invalid_trade", "{penalty}");
    assert_eq!(scene.node.folder.mempool(), Vec::<String>::new());
}

/// A branch of headers without more work than ours is not worth storing, and its sender is not to
/// blame.
#[test]
fn a_weaker_branch_changes_nothing() {
    let scene = Scene::new();
    let forge = &scene.forge;
    let address = scene.node.folder.new_address();
    let mined: BlockHash = scene.node.folder.mine(4, Some(&address))[3].parse().expect("a hash");
    let weaker = forge.chain(&parent(&scene), 2);
    let peer = TestPeer::serving(&scene.node, forge.network, &Branch::new(&forge.genesis, &weaker));
    eventually("the node has said hello", || {
        holds(!peer.requests(Protocol::Hello).is_empty(), "nothing yet")
    });
    scene.node.folder.assert_sound();
    assert_eq!(scene.node.folder.tip().1, mined.to_string());
    assert!(scene.node.events_since(0, |event| event["event"] == "reorganised").is_empty());
}

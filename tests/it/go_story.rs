//! Plays the Go seed's story: a wallet, a chain, a payment, and a second node that fetches all of
//! it over the network.

use crate::support::{
    Folder, Node, TestNet,
    chain::{await_one_tip, number, text},
    eventually, holds,
    ports::lock_story_ports,
};

/// Waits for an event with one of the seed's message names.
#[track_caller]
fn await_message(node: &Node, event: &str, message: &str) {
    node.await_event(event, |fields| fields["message"] == message);
}

#[track_caller]
fn await_balance(folder: &Folder, address: &str, coins: &str) {
    eventually(&format!("{}: {address} has {coins}", folder.id), || {
        let balance = folder.balance(address);
        holds(balance == coins, balance)
    });
}

/// Waits until the second node has synced one block, with all of the seed's messages in the logs.
#[track_caller]
fn await_sync_messages(one: &Node, two: &Node) {
    await_message(two, "status_exchanged", "version");
    await_message(two, "headers_requested", "getblocks");
    await_message(two, "headers_received", "inv");
    await_message(two, "blocks_requested", "getdata");
    await_message(two, "block_received", "block");
    two.await_event("block_connected", |event| number(&event["height"]) == 1);
    two.await_event("synced", |event| number(&event["height"]) == 1);
    await_message(one, "status_exchanged", "version");
    await_message(one, "headers_served", "getblocks");
    await_message(one, "blocks_served", "getdata");
}

/// Plays the seed's terminal session with its spellings and ports. `--no-mdns` keeps other tests'
/// nodes out.
#[test]
fn two_nodes_with_the_seeds_commands_come_to_one_chain() {
    let _ports = lock_story_ports();
    let net = TestNet::new();
    let first = net.folder("3000");
    let second = net.folder("3001");

    // export NODE_ID=3000
    let yzw = text(&first.json(["createwallet"])["address"]);
    let yjf = text(&first.json(["createwallet"])["address"]);
    let listed = first.run(["listaddresses"]).done().stdout;
    assert!(
        listed.find(&yzw) < listed.find(&yjf) && listed.contains(&yjf),
        "in the order made: {listed}"
    );

    let created = first
        .run(["createblockchain", "-address", &yzw, "--spacing", "0", "--bits", "8"])
        .done()
        .stdout;
    for line in ["Prev. hash", "nonce", "Hash: 00", "PoW: true", "Done!"] {
        assert!(created.contains(line), "{line:?} in {created}");
    }
    let answer = first.run(["getbalance", "-address", &yzw]).done().stdout;
    assert!(answer.contains(&format!("Balance of '{yzw}': 100")), "{answer}");

    let sent =
        first.run(["send", "-from", &yzw, "-to", &yjf, "-amount", "10", "-mine"]).done().stdout;
    assert!(!sent.trim().is_empty());
    let answer = first.run(["getbalance", "-address", &yzw]).done().stdout;
    assert!(answer.contains(&format!("Balance of '{yzw}': 190")), "{answer}");
    let answer = first.run(["getbalance", "-address", &yjf]).done().stdout;
    assert!(answer.contains(&format!("Balance of '{yjf}': 10")), "{answer}");

    let mut one = first.spawn(&["startnode", "--no-mdns"]);
    let listening = one.await_event("listening", |event| {
        event["address"].as_str().is_some_and(|a| a.contains("/tcp/3000"))
    });
    assert!(listening["address"].is_string());
    let invite = first.invite();
    assert!(invite.starts_with("friendchain:"), "{invite}");

    // export NODE_ID=3001, an empty folder. The invite holds the first node's address.
    assert_eq!(second.run(["getbalance", "-address", &yzw]).code, Some(1), "no chain here yet");
    assert_eq!(second.json(["join", &invite])["network_id"], one.status()["network_id"]);
    let mut two = second.spawn(&["startnode", "--no-mdns"]);
    two.await_event("node_started", |event| number(&event["height"]) == 0);

    await_sync_messages(&one, &two);

    await_balance(&second, &yzw, "190");
    assert_eq!(second.balance(&yjf), "10");
    assert_eq!(first.balance(&yzw), "190");
    assert!(one.is_running() && two.is_running(), "both answered while they run");

    // ^C
    one.signal("INT");
    assert!(one.await_end().success());
    one.await_event("node_stopped", |event| number(&event["height"]) == 1);
    two.stop();
    assert_eq!(second.balance(&yzw), "190", "it is on the second node's own disk");
    assert_eq!(first.assert_sound()["coins_hash"], second.assert_sound()["coins_hash"]);
}

/// Starts two connected nodes on one chain whose genesis paid `yzw`, an address of the first.
fn connected_pair(net: &TestNet) -> (Node, Node, String) {
    let (first, second) = (net.folder("first"), net.folder("second"));
    let yzw = first.new_address();
    first.create_chain(&yzw);
    second.join(&first);
    let one = first.start(&[]);
    let two = second.start_with_peers(&[&one]);
    two.await_event("status_exchanged", |_| true);
    (one, two, yzw)
}

#[test]
fn a_trade_waits_in_both_mempools_until_either_node_mines_it() {
    let net = TestNet::new();
    let (one, two, yzw) = connected_pair(&net);
    let (first, second) = (&one.folder, &two.folder);
    let yjf = second.new_address();

    let txid = first.send(&yzw, &yjf, "10");
    eventually("the trade waits at both", || {
        let waiting = [first.mempool(), second.mempool()];
        holds(waiting.iter().all(|ids| *ids == [txid.clone()]), waiting)
    });
    assert_eq!(first.tip().0, 0, "nobody mines unless asked");
    assert_eq!(second.balance(&yjf), "0");
    let pending = second.json(["get-balance", "--address", &yjf]);
    assert_eq!(pending["pending"], "10", "{pending}");
    assert_eq!(second.json(["tx", &txid])["state"], "mempool");

    second.mine(1, Some(&yjf));
    await_one_tip(&[first, second], 1);
    for folder in [first, second] {
        assert_eq!(folder.json(["tx", &txid])["state"], "mined");
        assert_eq!(folder.balance(&yjf), "110");
        assert_eq!(folder.balance(&yzw), "90");
        assert_eq!(folder.mempool(), Vec::<String>::new());
        folder.assert_sound();
    }
}

#[test]
fn a_send_with_mine_returns_when_it_is_mined_and_the_other_node_has_it() {
    let net = TestNet::new();
    let (one, two, yzw) = connected_pair(&net);
    let yjf = two.folder.new_address();

    let answer =
        one.folder.json(["send", "--from", &yzw, "--to", &yjf, "--amount", "0.25", "--mine"]);
    assert_eq!(answer["state"], "mined", "{answer}");
    let block = one.folder.json(["block", &text(&answer["block"])]);
    assert_eq!(block["height"], 1);
    await_balance(&two.folder, &yjf, "0.25");
    assert_eq!(one.folder.balance(&yzw), "199.75");
}

#[test]
fn paying_oneself_creates_nothing() {
    let net = TestNet::new();
    let (one, two, yzw) = connected_pair(&net);
    let folder = &one.folder;

    folder.json(["send", "--from", &yzw, "--to", &yzw, "--amount", "60", "--mine"]);
    assert_eq!(folder.balance(&yzw), "200", "the reward of one block, and what was there");
    folder.json(["send", "--from", &yzw, "--to", &yzw, "--amount", "200", "--mine"]);
    assert_eq!(folder.balance(&yzw), "300");
    await_one_tip(&[folder, &two.folder], 2);
    assert_eq!(folder.assert_sound()["coins_hash"], two.folder.assert_sound()["coins_hash"]);
}

#[test]
fn many_sends_before_a_block_spend_their_own_change() {
    let net = TestNet::new();
    let (one, two, yzw) = connected_pair(&net);
    let yjf = two.folder.new_address();

    let sent: Vec<_> = (0..8).map(|_| one.folder.send(&yzw, &yjf, "5")).collect();
    one.folder.mine(1, Some(&yzw));
    await_balance(&two.folder, &yjf, "40");
    for txid in &sent {
        assert_eq!(two.folder.count_of(txid), 1);
    }
    two.folder.assert_sound();
}

#[test]
fn a_trade_made_while_no_node_runs_is_announced_when_one_starts() {
    let net = TestNet::new();
    let (first, second) = (net.folder("first"), net.folder("second"));
    let yzw = first.new_address();
    first.create_chain(&yzw);
    second.join(&first);
    let yjf = second.new_address();

    let txid = first.send(&yzw, &yjf, "3");
    let two = second.start(&[]);
    let _one = first.start_with_peers(&[&two]);
    two.await_event("trade_accepted", |event| event["txid"] == *txid);
    assert_eq!(second.mempool(), [txid]);
}

#[test]
fn an_on_demand_miner_mines_what_another_node_announces() {
    let net = TestNet::new();
    let (first, second) = (net.folder("first"), net.folder("second"));
    let yzw = first.new_address();
    first.create_chain(&yzw);
    second.join(&first);
    let yjf = second.new_address();
    let one = first.start(&[]);
    let _two = second.start(&["--peer", &one.address, "--mine", "on-demand", "--miner", &yjf]);

    let answer = first.send(&yzw, &yjf, "1");
    await_balance(&first, &yjf, "101");
    assert_eq!(first.count_of(&answer), 1);
    assert_eq!(first.tip().0, 1, "one block for one trade");
}

//! Tests commands that no other test covers: notes and look-ups, chat to all, bans, leaving a
//! chain, and access to the node's RPC.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use serde_json::Value;

use crate::support::{
    Folder, TestNet,
    chain::{await_one_tip, number, text},
    eventually, holds,
};

#[test]
fn a_note_is_found_by_every_look_up() {
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let address = folder.new_address();
    folder.create_chain(&address);
    let node = folder.start(&[]);

    let answer = folder.json(["note", "tea", "at", "five,", "早上好", "--wait"]);
    assert_eq!(answer["state"], "mined", "{answer}");
    let (txid, block) = (text(&answer["txid"]), text(&answer["block"]));
    let found = folder.json(["tx", &txid]);
    assert_eq!(found["kind"], "note", "{found}");
    assert_eq!(found["memo"], "tea at five, 早上好", "{found}");
    assert_eq!(found["confirmations"], 1, "{found}");
    let by_hash = folder.json(["block", &block]);
    let by_height = folder.json(["block", "1"]);
    assert_eq!(by_hash, by_height);
    assert_eq!(by_hash["transactions"][1]["txid"], txid);
    folder.mine(3, None);
    let page = folder.json(["print-chain", "--from", "2", "--limit", "2"]);
    let heights: Vec<_> =
        page["blocks"].as_array().expect("blocks").iter().map(|b| number(&b["height"])).collect();
    assert_eq!(heights, [2, 1], "from a height downward");
    assert_eq!(page["blocks"][1]["hash"], block);
    node.stop();
    assert_eq!(folder.json(["tx", &txid])["confirmations"], 4, "and where no node runs");
}

#[test]
fn a_trade_that_is_stuck_is_replaced_by_one_that_pays_more() {
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let (address, other) = (folder.new_address(), folder.new_address());
    folder.create_chain(&address);
    let node = folder.start(&[]);

    let stuck =
        text(&folder.json(["send", "--from", &address, "--to", &other, "--amount", "10"])["txid"]);
    let waiting = folder.json(["mempool"]);
    assert_eq!(waiting["transactions"][0]["waiting"]["fee_rate_units"], "0", "{waiting}");
    assert_eq!(waiting["transactions"][0]["waiting"]["own"], true, "{waiting}");
    assert_eq!(node.status()["fee_floor_units"], "0");
    let (code, sentence) = folder.refused(&["raise-fee", &stuck, "--fee", "0.00000001"]);
    assert_eq!(code, "conflict");
    assert!(sentence.contains("to replace it, pay a fee of 0.0000"), "{sentence}");

    // This trade spends the change of the first.
    let resting =
        text(&folder.json(["send", "--from", &address, "--to", &other, "--amount", "5"])["txid"]);
    let raised = folder.json(["raise-fee", &stuck, "--fee", "0.001"]);
    assert_eq!(
        (&raised["state"], &raised["replaces"]),
        (&"mempool".into(), &stuck.clone().into()),
        "{raised}"
    );
    assert_eq!(raised["also_void"], serde_json::json!([resting]), "{raised}");
    assert_eq!(folder.json(["tx", &resting])["state"], "void");
    let raised = text(&raised["txid"]);
    assert_eq!(folder.mempool(), [raised.as_str()]);
    let void = folder.json(["tx", &stuck]);
    assert_eq!(void["state"], "void", "{void}");
    assert!(text(&void["reason"]).contains(&format!("replaced by {raised}")), "{void}");
    assert_eq!(folder.refused(&["raise-fee", &stuck, "--fee", "1"]).0, "void");

    folder.mine(1, Some(&address));
    assert_eq!(folder.refused(&["raise-fee", &raised, "--fee", "1"]).0, "mined");
    assert_eq!((folder.balance(&address).as_str(), folder.balance(&other).as_str()), ("190", "10"));
    node.stop();
    assert_eq!(folder.json(["tx", &stuck])["state"], "void", "and where no node runs");
}

#[test]
fn a_line_to_all_is_in_the_history_of_all_and_of_nobody_twice() {
    let net = TestNet::new();
    let folders = ["yzw", "yjf", "sr"].map(|id| net.folder(id));
    folders[0].create_chain(&folders[0].new_address());
    for folder in &folders[1..] {
        folder.join(&folders[0]);
    }
    let hub = folders[0].start(&[]);
    let _others: Vec<_> =
        folders[1..].iter().map(|folder| folder.start_with_peers(&[&hub])).collect();
    for (at, folder) in folders.iter().enumerate() {
        folders[..at].iter().for_each(|other| folder.befriends(other));
    }
    for folder in &folders {
        eventually(&format!("{} knows two friends who are here", folder.id), || {
            let friends = folder.json(["friends"]);
            let here = friends["friends"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|friend| friend["online"] == true);
            holds(here.count() == 2, &friends)
        });
    }
    let sent = folders[1].json(["broadcast", "tea", "for", "all"]);
    for folder in &folders {
        eventually(&format!("{} has the line", folder.id), || {
            let history = folder.json(["history"]);
            let messages = history["messages"].as_array().into_iter().flatten();
            let count = messages
                .filter(|message| message["id"] == sent["id"] && message["text"] == "tea for all");
            holds(count.count() == 1, &history)
        });
    }
}

#[test]
fn who_joins_is_a_stranger_until_accepted_and_its_lines_wait_for_that() {
    let net = TestNet::new();
    let (yzw, yjf) = (net.folder("yzw"), net.folder("yjf"));
    yzw.create_chain(&yzw.new_address());
    yjf.join(&yzw);
    let first = yzw.start(&[]);
    let _second = yjf.start_with_peers(&[&first]);
    eventually("whoever dialed has the other for a friend", || {
        let friends = yjf.json(["friends"]);
        let friend = &friends["friends"][0];
        holds(friend["level"] == "friend" && friend["online"] == true, &friends)
    });
    assert_eq!(yjf.json(["chat", "yzw", "--wait", "let", "me", "in"])["state"], "delivered");
    let requests = yzw.json(["history", "--requests"]);
    assert_eq!(requests["messages"][0]["text"], "let me in", "{requests}");
    let none = Some(0);
    assert_eq!(yzw.json(["history"])["messages"].as_array().map(Vec::len), none);
    assert_eq!(yzw.json(["friends"])["friends"].as_array().map(Vec::len), none);
    assert_eq!(yzw.refused(&["chat", "yjf", "hello"]).0, "stranger");

    assert_eq!(yzw.json(["accept-friend", "yjf"])["name"], "yjf");
    assert_eq!(yzw.json(["chat", "yjf", "--wait", "welcome"])["state"], "delivered");
    let history = yzw.json(["history", "yjf"]);
    let texts: Vec<_> = history["messages"].as_array().expect("lines").iter().collect();
    assert_eq!((&texts[0]["text"], &texts[1]["text"]), (&"let me in".into(), &"welcome".into()));
    assert_eq!(yzw.json(["history", "--requests"])["messages"].as_array().map(Vec::len), none);
}

#[test]
fn several_friends_are_accepted_by_one_command() {
    let net = TestNet::new();
    let (yzw, one, two) = (net.folder("yzw"), net.folder("one"), net.folder("two"));
    yzw.create_chain(&yzw.new_address());
    one.join(&yzw);
    two.join(&yzw);
    let first = yzw.start(&[]);
    let _others = (one.start_with_peers(&[&first]), two.start_with_peers(&[&first]));
    let id = |folder: &Folder| text(&folder.json(["status"])["peer_id"]);
    let ids = [id(&one), id(&two)];
    eventually("both are here", || {
        let peers = yzw.json(["peers"]);
        let is_named = |peer: &Value| peer["name"].is_string();
        let named =
            peers["peers"].as_array().is_some_and(|all| all.len() == 2 && all.iter().all(is_named));
        holds(named, &peers)
    });
    let accepted = yzw.json(["accept-friend", &ids[0], &ids[1]])["accepted"].clone();
    let of = |at: usize| text(&accepted[at]["peer_id"]);
    assert_eq!([of(0), of(1)], ids, "{accepted}");
    let shown = yzw.run(["accept-friend", &ids[0], &ids[1]]).done().stdout;
    assert_eq!(shown.matches("is your friend now").count(), 2, "{shown}");
}

#[test]
fn a_banned_peer_stays_away_until_it_is_unbanned() {
    let net = TestNet::new();
    let (first, second) = (net.folder("first"), net.folder("second"));
    let address = first.new_address();
    first.create_chain(&address);
    second.join(&first);
    let one = first.start(&[]);
    let two = second.start_with_peers(&[&one]);
    one.await_event("status_exchanged", |_| true);
    let peer = text(&two.status()["peer_id"]);

    assert_eq!(first.refused(&["ban", &text(&one.status()["peer_id"])]).0, "oneself");
    // The name of a stranger is enough to shut them out.
    let banned = eventually("the name is known", || first.try_json(["ban", "second"]));
    assert_eq!(banned["peer_id"], peer.as_str());
    one.await_event("peer_disconnected", |event| event["peer"] == *peer);
    first.mine(2, Some(&address));
    let (code, _) = second.refused(&["sync"]);
    assert!(!code.is_empty());
    assert_eq!(second.tip().0, 0, "no block for the banned");
    let mark = one.log_mark();
    first.json(["unban", "second"]);
    one.await_event_since(mark, "peer_connected", |event| event["peer"] == *peer);
    await_one_tip(&[&first, &second], 2);
}

#[test]
fn leaving_a_chain_keeps_the_wallet_and_another_can_be_joined() {
    let net = TestNet::new();
    let (folder, other) = (net.folder("yzw"), net.folder("yjf"));
    let address = folder.new_address();
    folder.create_chain(&address);
    let old = folder.invite();
    folder.json(["leave-chain"]);
    assert_eq!(folder.run(["get-balance", "--address", &address]).code, Some(1));
    let listed = folder.json(["list-addresses"]);
    assert_eq!(listed["addresses"][0]["address"], address, "{listed}");

    other.create_chain(&other.new_address());
    folder.join(&other);
    assert_eq!(folder.balance(&address), "0");
    folder.json(["leave-chain"]);
    folder.json(["join", &old]);
    assert_eq!(folder.balance(&address), "100", "the genesis is in the invite");
}

#[test]
fn only_who_can_read_the_data_folder_commands_the_node() {
    let net = TestNet::new();
    let folder = net.folder("yzw");
    folder.create_chain(&folder.new_address());
    let mut node = folder.start(&[]);
    let address = text(&node.await_event("node_started", |_| true)["rpc"]);
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"stop","params":[]}"#;
    for authorization in ["", "Authorization: Bearer 00112233445566778899aabbccddeeff\r\n"] {
        let mut stream = TcpStream::connect(&address).expect("the RPC listens");
        let request = format!(
            "POST / HTTP/1.1\r\nHost: {address}\r\nContent-Type: \
             application/json\r\n{authorization}\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        assert!(
            answer.starts_with("HTTP/1.1 401") || answer.starts_with("HTTP/1.1 403"),
            "{answer}"
        );
    }
    assert!(node.is_running());
    node.status();
}

#[cfg(unix)]
#[test]
fn secrets_are_in_files_that_only_their_owner_reads() {
    use std::os::unix::fs::PermissionsExt;
    let net = TestNet::new();
    let folder = net.folder("yzw");
    folder.create_chain(&folder.new_address());
    let logs = folder.path().with_file_name("logs");
    let _node = folder.start(&["--log-dir", logs.to_str().expect("text")]);
    let mode = |path: &std::path::Path| {
        std::fs::metadata(path).expect("it is there").permissions().mode() & 0o077
    };
    for path in [&folder.path(), &logs] {
        assert_eq!(mode(path), 0, "{}", path.display());
    }
    let secrets = ["wallet.json", "identity.key", "node.json", "rpc.token", "chain.redb"];
    for name in secrets.into_iter().chain(["friends.redb", "lock"]) {
        assert_eq!(mode(&folder.path().join(name)), 0, "{name}");
    }
    for path in [folder.path(), logs] {
        for entry in std::fs::read_dir(&path).expect("a folder") {
            let path = entry.expect("an entry").path();
            assert_eq!(mode(&path), 0, "{}", path.display());
        }
    }
}

#[test]
fn every_command_has_help_with_an_example_and_shells_get_completions() {
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let help = folder.run(["help"]).done().stdout;
    let commands = [
        "create-wallet",
        "recovery-phrase",
        "unlock",
        "lock",
        "list-addresses",
        "create-blockchain",
        "invite",
        "join",
        "leave-chain",
        "change-passphrase",
        "balance",
        "payments",
        "get-balance",
        "send",
        "note",
        "mine",
        "print-chain",
        "block",
        "mempool",
        "tx",
        "verify-chain",
        "reindex",
        "accept-branch",
        "prove",
        "verify-proof",
        "start-node",
        "people",
        "console",
        "status",
        "peers",
        "friends",
        "accept-friend",
        "chat",
        "broadcast",
        "history",
        "sync",
        "ban",
        "unban",
        "config",
        "stop",
        "completions",
    ];
    for command in commands {
        assert!(help.contains(command), "{command} in {help}");
        let of_command = folder.run(["help", command]).done().stdout;
        assert!(
            of_command.contains(&format!("friendchain {command}")),
            "an example of {command}: {of_command}"
        );
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(folder.run(["completions", shell]).done().stdout.contains("create-blockchain"));
    }
}

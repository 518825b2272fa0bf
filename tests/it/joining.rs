//! Tests the ways to join a group, backups, and advice for a user who is alone.

use std::fs;

use serde_json::Value;

use crate::support::{
    Folder, TestNet, chain::text, eventually, holds, ports::free_port, terminal::Terminal,
    tools::terminal_wanted,
};

/// Creates the first member of a group, with a running node.
fn group(net: &TestNet) -> (Folder, String, crate::support::Node) {
    let folder = net.folder("yzw");
    let chain = folder.create_chain(&folder.new_address());
    let node = folder.start(&[]);
    (folder, chain, node)
}

/// Returns the addresses that a node tries, as `status` lists them.
fn tries(folder: &Folder) -> Result<Vec<Value>, String> {
    let status = folder.try_json(["status"])?;
    Ok(status["tries"].as_array().cloned().unwrap_or_default())
}

#[test]
fn an_invite_says_what_it_holds_and_for_whom() {
    let net = TestNet::new();
    let folder = net.folder("yzw");
    folder.create_chain(&folder.new_address());
    let answer = folder.run(["invite"]).done();
    assert!(answer.stderr.contains("no address"), "{answer:?}");
    assert_eq!(folder.json(["invite"])["reach"], "nobody");
    // The test does not wait for the node, since the command itself does.
    let _node = folder.spawn_listening(&[]);
    let answer = eventually("a node answers", || {
        let answer = folder.run(["invite"]);
        holds(answer.code == Some(0) && !answer.stderr.contains("no node runs"), &answer)?;
        Ok(answer)
    });
    assert!(answer.stderr.contains("for friends on this machine only"), "{answer:?}");
    assert_eq!(answer.stdout.lines().count(), 1, "the invite alone: {answer:?}");
    let json = folder.json(["invite"]);
    assert_eq!((&json["addresses"], &json["reach"]), (&1.into(), &"this_machine".into()));
}

#[test]
fn a_join_in_people_on_lan_moves_there_and_loses_no_line() {
    let net = TestNet::new();
    let (yzw, chain, _node) = group(&net);
    let ann = net.folder("ann");
    let mut console = ann.people("127.0.0.1", free_port(), &["--no-mdns"]);
    let address = text(&ann.json(["list-addresses"])["addresses"][0]["address"]);
    let invite = yzw.invite();
    // First a no, then a yes with the next command right after it.
    console.say(&format!("join {invite}"));
    console.await_printed(0, "y/n");
    console.say("n");
    console.await_printed(0, "stays on lan");
    let mark = console.output_mark();
    console.say(&format!("join {invite}"));
    console.say("y");
    console.say("la");
    console.await_printed(mark, "The chain lan is kept in");
    console.await_printed(mark, &address);
    eventually("ann is in the group", || {
        let status = ann.try_json(["status"])?;
        holds(status["network_id"] == chain.as_str() && status["peers"] == 1, &status)
    });
    assert_eq!(ann.json(["status"])["name"], "ann");
    let names = fs::read_dir(ann.path()).expect("a folder").flatten();
    let kept = names.filter(|entry| {
        let name = entry.file_name();
        let name = name.to_str().and_then(|name| name.strip_prefix("chain-"));
        name.is_some_and(|name| name.strip_suffix(".redb").is_some())
    });
    assert_eq!(kept.count(), 1, "the old chain is kept");
    let mark = console.output_mark();
    console.say(&format!("join {invite}"));
    console.await_printed(mark, "already");
    console.say("q");
    assert!(console.await_end().success());
}

#[test]
fn a_console_of_a_daemon_says_how_to_move() {
    let net = TestNet::new();
    let (yzw, ..) = group(&net);
    let ann = net.folder("ann");
    let _daemon = ann.start(&[]);
    let console = ann.run_reading(["console"], &format!("join {}\n", yzw.invite()));
    assert!(console.stdout.contains("leave-chain"), "{console:?}");
    // No row of an invite is sent, whole or cut.
    let invite = yzw.invite();
    let (first, rest) = invite.split_at(80);
    let typed = format!("ca\njoin {first}\n{rest}\nla\njoin {first}\nla\n{rest}\n");
    let console = ann.run_reading(["console"], &typed);
    assert_eq!(console.stdout.matches("leave-chain").count(), 1, "{console:?}");
    assert_eq!(console.stdout.matches("checksum does not fit").count(), 1, "{console:?}");
    assert_eq!(console.stdout.matches("was not sent").count(), 1, "{console:?}");
    assert_eq!(ann.json(["history"])["messages"], serde_json::json!([]));
    let (code, sentence) = ann.refused(&["join", &yzw.invite()]);
    assert_eq!(code, "chain_exists");
    assert!(sentence.contains("stop the node"), "{sentence}");
}

#[test]
fn a_backup_of_a_running_node_brings_wallet_identity_chat_and_chain_back() {
    let net = TestNet::new();
    let (yzw, chain, node) = group(&net);
    let before = yzw.json(["status"]);
    let friend = net.folder("yjf");
    friend.join(&yzw);
    let other = friend.start(&[]);
    eventually("they meet", || {
        let status = friend.try_json(["status"])?;
        holds(status["peers"] == 1, &status)
    });
    yzw.befriends(&friend);
    yzw.json(["broadcast", "kept", "for", "later"]);
    let file = net.file("unused", "") + ".backup";
    let answer = yzw.json(["backup", &file]);
    assert_eq!(answer["file"], file.as_str());
    assert_eq!(answer["bytes"], fs::metadata(&file).expect("there").len());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(&file).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let (code, sentence) = yzw.refused(&["backup", &file]);
    assert_eq!(code, "file_exists");
    assert!(sentence.contains("another name"), "{sentence}");
    let (code, _) = yzw.refused(&["restore", &file]);
    assert!(["folder_not_empty", "folder_in_use"].contains(&code.as_str()), "{code}");
    node.stop();
    drop(other);
    let left = fs::read_dir(yzw.path()).expect("a folder").flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("unfinished")), "{left:?}");
    let (code, sentence) = yzw.refused(&["restore", &file]);
    assert_eq!(code, "folder_not_empty");
    assert!(sentence.contains("--node-id"), "{sentence}");

    let new = net.folder("new");
    assert_eq!(new.json(["restore", &file])["bytes"], answer["bytes"]);
    let status = new.json(["status"]);
    assert_eq!(status["peer_id"], before["peer_id"]);
    assert_eq!((&status["name"], &status["network_id"]), (&before["name"], &chain.into()));
    let addresses = |folder: &Folder| {
        let list = folder.json(["list-addresses"])["addresses"].clone();
        let list = list.as_array().expect("a list").clone();
        list.iter().map(|entry| text(&entry["address"])).collect::<Vec<_>>()
    };
    assert_eq!(addresses(&new), addresses(&yzw));
    assert!(new.json(["history"]).to_string().contains("kept for later"));
}

#[test]
fn a_damaged_or_hostile_backup_restores_nothing() {
    let net = TestNet::new();
    let folder = net.folder("yzw");
    folder.create_chain(&folder.new_address());
    let file = net.file("unused", "") + ".backup";
    folder.json(["backup", &file]);
    let good = fs::read(&file).expect("read");
    let mut flipped = good.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let mut path = b"friendchain backup 1\n\x10../../../evil.sh".to_vec();
    path.extend([1, 0, 0, 0, 0, 0, 0, 0, b'x', 0]);
    let cut = good[..good.len() - 40].to_vec();
    let new = net.folder("new");
    for bytes in [flipped, path, cut, b"hello".to_vec(), Vec::new()] {
        let wrong = net.file("wrong.backup", "");
        fs::write(&wrong, &bytes).expect("written");
        let (code, _) = new.refused(&["restore", &wrong]);
        assert_eq!(code, "bad_backup");
        let left = fs::read_dir(new.path()).expect("a folder").flatten();
        let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
        assert_eq!(left, ["lock"], "nothing is left");
    }
    assert_eq!(net.folder("none").refused(&["restore", "/nowhere.backup"]).0, "bad_backup");
    assert!(!net.folder("none").path().exists(), "no folder for a mistyped file");
    new.json(["restore", &file]);
}

#[test]
fn a_peer_whose_name_is_not_found_is_said_in_words() {
    let net = TestNet::new();
    let folder = net.folder("yzw");
    folder.create_chain(&folder.new_address());
    let args = ["--no-mdns", "--peer", "nobody.invalid:3000"];
    let mut console = folder.people("127.0.0.1", free_port(), &args);
    console.await_printed(0, "nobody.invalid:3000: name not found");
    console.ask("ln", &["tries", "nobody.invalid:3000: name not found"]);
    assert_eq!(tries(&folder).expect("a status")[0]["failure"], "name_not_found");
}

#[test]
fn who_is_alone_sees_whom_the_node_tries_and_why_that_fails() {
    let net = TestNet::new();
    let (yzw, _, node) = group(&net);
    let other = net.folder("other");
    other.create_chain(&other.new_address());
    let nobody = format!("127.0.0.1:{}", free_port());
    let args = ["--peer", &nobody, "--peer", &node.address];
    let _lonely = other.start(&args);
    eventually("both reasons are told", || {
        let found = tries(&other)?;
        let has = |failure: &str| found.iter().any(|tried| tried["failure"] == failure);
        holds(has("refused") && has("other_network"), &found)
    });
    let shown = other.run(["status"]).done().stdout;
    assert!(shown.contains(&format!("{nobody}: refused")), "{shown}");
    assert!(shown.contains("on another chain"), "{shown}");
    // A friend who comes ends the attempt at his address.
    let friend = net.folder("friend");
    friend.join(&yzw);
    let _friend = friend.start(&["--peer", &node.address]);
    eventually("nothing fails", || {
        let found = tries(&friend)?;
        holds(found.is_empty(), &found)
    });
}

#[test]
fn a_payment_that_nobody_mines_says_so() {
    let net = TestNet::new();
    let (yzw, _, node) = group(&net);
    let address = text(&yzw.json(["list-addresses"])["addresses"][0]["address"]);
    let to = net.folder("payee").new_address();
    let send = ["send", "--from", &address, "--to", &to, "--amount", "1"];
    let sent = yzw.json(send);
    assert_eq!(sent["nobody_mines"], true);
    let txid = text(&sent["txid"]);
    assert_eq!(yzw.json(["cancel", &txid])["nobody_mines"], true);
    assert_eq!(yzw.json(["resend", &txid])["nobody_mines"], true);
    let said = yzw.run(send).done().stdout;
    for word in ["--mine", "mine", "start-node --mine on-demand"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let miner = net.folder("miner");
    miner.join(&yzw);
    let _miner = miner.start(&["--mine", "on-demand", "--peer", &node.address]);
    eventually("the friend who mines is known", || {
        let answer = yzw.try_json(send)?;
        holds(answer["nobody_mines"] != true, &answer)
    });
}

#[test]
fn a_join_on_a_terminal_asks_for_the_name_and_opens_the_console() {
    if !terminal_wanted() {
        return;
    }
    let net = TestNet::new();
    let (yzw, chain, _node) = group(&net);
    let ann = net.folder("default");
    let terminal = Terminal::open(&ann, "joining", &["join", &yzw.invite()]);
    terminal.await_screen("the name is asked", |screen| screen.contains("Your name in"));
    terminal.type_text("ann");
    terminal.keys("Enter");
    terminal.await_screen("the console is offered", |screen| screen.ends_with("[Y/n]"));
    terminal.keys("Enter");
    terminal.await_screen("the console opens", |screen| screen.trim_end().ends_with("ann>"));
    eventually("ann is in the group", || {
        let status = ann.try_json(["status"])?;
        holds(status["network_id"] == chain.as_str() && status["name"] == "ann", &status)
    });
    terminal.type_text("q");
    terminal.keys("Enter");
    terminal.await_screen("it ends", |screen| screen.ends_with("ended: 0"));
}

#[test]
fn a_join_on_a_terminal_reads_all_rows_and_offers_the_move_from_lan() {
    if !terminal_wanted() {
        return;
    }
    let net = TestNet::new();
    let (yzw, chain, _node) = group(&net);
    let ann = net.folder("ann");
    let _daemon = ann.start(&[]);
    assert_eq!(ann.json(["status"])["network_name"], "lan");
    let invite = yzw.invite();
    let (first, rest) = invite.split_at(80);
    let terminal = Terminal::open(&ann, "moving", &["join", first]);
    terminal.await_screen("the rest is asked for", |screen| screen.contains("paste the rest"));
    let (second, third) = rest.split_at(80);
    terminal.tmux(&format!("set-buffer '{second}\n{third}\n'"));
    terminal.tmux("paste-buffer");
    terminal.await_screen("the move is offered", |screen| screen.ends_with("Move? [y/N]"));
    terminal.say("y");
    terminal.await_screen("the console is offered", |screen| screen.ends_with("[Y/n]"));
    terminal.say("n");
    terminal.await_screen("the way back", |screen| screen.contains("Later: friendchain people"));
    assert_eq!(ann.json(["status"])["network_id"], chain.as_str());

    let terminal = Terminal::open(&ann, "again", &["join", &invite]);
    terminal.await_screen("it is known", |screen| {
        screen.contains("already.") && screen.ends_with("[Y/n]")
    });
    terminal.say("n");
    terminal.await_screen("it ends", |screen| screen.ends_with("ended: 0"));
    let (code, sentence) = ann.refused(&["join", &invite]);
    assert_eq!(code, "chain_exists");
    assert!(sentence.contains("nothing to join"), "{sentence}");
    let (_, sentence) = ann.refused(&["join", first]);
    assert!(sentence.contains("checksum does not fit"), "{sentence}");
}

#[test]
fn a_first_people_on_a_terminal_asks_for_the_group_and_enter_means_the_lan() {
    if !terminal_wanted() {
        return;
    }
    let net = TestNet::new();
    let (yzw, chain, _node) = group(&net);
    let ann = net.folder("ann");
    let terminal = Terminal::open(&ann, "first", &["people", "ann", "--no-mdns"]);
    terminal.await_screen("the groups", |screen| screen.trim_end().ends_with('>'));
    terminal.keys("Enter");
    terminal.await_screen("the console opens", |screen| screen.trim_end().ends_with("ann>"));
    assert_eq!(ann.json(["status"])["network_name"], "lan");
    terminal.type_text("q");
    terminal.keys("Enter");
    terminal.await_screen("it ends", |screen| screen.ends_with("ended: 0"));

    let bob = net.folder("bob");
    let terminal = Terminal::open(&bob, "invited", &["people", "bob", "--no-mdns"]);
    terminal.await_screen("the groups", |screen| screen.trim_end().ends_with('>'));
    terminal.type_text(&yzw.invite());
    terminal.keys("Enter");
    terminal.await_screen("the console opens", |screen| screen.trim_end().ends_with("bob>"));
    assert_eq!(bob.json(["status"])["network_id"], chain.as_str());

    let eve = net.folder("eve");
    let terminal = Terminal::open(&eve, "founding", &["people", "eve", "--no-mdns"]);
    terminal.await_screen("the groups", |screen| screen.trim_end().ends_with('>'));
    terminal.say("n");
    terminal.await_screen("the group's name", |screen| screen.contains("The group's name"));
    terminal.say("club");
    terminal.await_screen("the console opens", |screen| screen.trim_end().ends_with("eve>"));
    assert_eq!(eve.json(["status"])["network_name"], "club");
}

#[test]
fn a_backup_without_a_usable_chain_still_holds_the_chat() {
    let net = TestNet::new();
    let (yzw, _, node) = group(&net);
    yzw.json(["broadcast", "kept for later"]);
    let friend = net.folder("yjf");
    friend.join(&yzw);
    let other = friend.start(&[]);
    let invite = friend.invite();
    drop(other);
    let said = |folder: &Folder| folder.json(["history"]).to_string().contains("kept for later");
    let chain = yzw.path().join("chain.redb");
    node.stop();
    let good = fs::read(&chain).expect("read");
    let backup = |id: &str| {
        let file = net.file(&format!("of-{id}"), "") + ".backup";
        let parts = yzw.json(["backup", &file])["parts"].to_string();
        assert!(parts.contains("friends.redb"), "{parts}");
        let restored = net.folder(id);
        restored.json(["restore", &file]);
        assert!(said(&restored), "{id}");
    };
    fs::write(&chain, b"damaged").expect("written");
    backup("damaged");
    fs::write(&chain, good).expect("written");
    yzw.json(["leave-chain"]);
    assert!(said(&yzw));
    backup("left");
    fs::write(yzw.path().join("friends.redb"), b"damaged").expect("written");
    let file = net.file("none", "") + ".backup";
    yzw.refused(&["backup", &file]);
    assert!(!fs::exists(&file).expect("a folder"), "no backup without the chat");
    // The friends' file is open while the folder has no chain, and takes what an invite brings.
    let left = net.folder("left");
    left.json(["join", &invite]);
    assert!(said(&left));
}

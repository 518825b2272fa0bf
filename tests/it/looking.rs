//! Tests the look of output: lists that fit the screen, short ids, help, text logs, progress and
//! completion.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use unicode_width::UnicodeWidthStr;

use crate::support::{
    Folder, Node, TestNet,
    chain::{await_one_tip, text},
    eventually,
    folder::binary,
    holds,
    ports::free_port,
    tools::{Clock, clocks_wanted},
};

/// Runs a command for a person, and checks that no line of its answer is wider than 80 columns.
#[track_caller]
fn look(folder: &Folder, args: &[&str]) -> String {
    let shown = folder.run(args).done().stdout;
    for line in shown.lines() {
        assert!(line.width() <= 80, "{args:?}: {} columns: {line}\n{shown}", line.width());
    }
    shown
}

/// Starts two connected friends with names of the greatest length, in two scripts.
fn friends_with_long_names(net: &TestNet) -> (Node, Node, String) {
    let (first, second) = (net.folder("first"), net.folder("second"));
    let address = first.new_address();
    first.create_chain(&address);
    second.join(&first);
    let one = first.start(&["--name", &"W".repeat(32)]);
    let wide = "名".repeat(32);
    let two = second.start(&["--name", &wide, "--peer", &one.address]);
    two.await_event("friend_joined", |_| true);
    first.befriends(&second);
    one.await_event("friend_joined", |_| true);
    (one, two, address)
}

#[test]
fn every_list_fits_80_columns_with_the_longest_names_and_ids() {
    let net = TestNet::new();
    let (one, two, address) = friends_with_long_names(&net);
    let (first, second) = (&one.folder, &two.folder);
    let memo = "for the tea and the cake and ".repeat(12);
    let send =
        ["send", "--from", &address, "--to", &second.new_address(), "--amount", "0.00000001"];
    look(first, &[&send[..], &["--memo", &memo]].concat());
    let txid = first.mempool()[0].clone();
    let chat = text(&two.status()["peer_id"]);
    first.json(["chat", &chat, &"a long line of words ".repeat(20)]);
    first.json(["broadcast", &"x".repeat(300)]);

    let waiting = look(first, &["mempool"]);
    assert!(waiting.contains(&txid[..8]) && !waiting.contains(&txid), "{waiting}");
    first.mine(1, Some(&address));
    look(first, &["note", "a text without an end ", "--wait"]);
    await_one_tip(&[first, second], 2);
    let height = "2";
    for args in [
        &["friends"][..],
        &["peers"],
        &["mempool"],
        &["tx", &txid],
        &["print-chain"],
        &["block", height],
        &["list-addresses"],
        &["status"],
        &["history"],
        &["payments"],
        &["balance"],
        &["config", "show"],
        &["verify-chain"],
        &["mine"],
        &["sync"],
        &["help"],
        &["--help"],
        &["help", "send"],
        &["start-node", "--help"],
    ] {
        assert!(!look(first, args).trim().is_empty(), "{args:?}");
    }
    let whole = first.run(["--full", "peers"]).done().stdout;
    assert!(whole.contains(&chat), "all is there for who asks: {whole}");
    let whole = first.run(["tx", &txid, "--full"]).done().stdout;
    assert!(whole.contains(&txid), "{whole}");
}

#[test]
fn an_id_is_taken_by_its_first_characters_wherever_one_is_asked_for() {
    let net = TestNet::new();
    let (one, two, address) = friends_with_long_names(&net);
    let folder = &one.folder;
    let stuck = folder.send(&address, &two.folder.new_address(), "1");
    folder.json(["raise-fee", &stuck[..10], "--fee", "0.0001"]);
    let note = folder.json(["note", "tea", "--wait"]);
    let (txid, block) = (text(&note["txid"]), text(&note["block"]));

    assert_eq!(folder.json(["tx", &txid[..8]])["txid"], txid);
    let typed = format!(" {}\r\n", txid[..9].to_uppercase());
    assert_eq!(folder.json(["tx", &typed])["txid"], txid, "trimmed, and in capitals");
    let made = folder.json(["prove", &txid[..12]]);
    assert_eq!(made["txid"], txid);
    let by_start = folder.json(["block", &block[..16]]);
    assert_eq!(by_start["hash"], block);
    assert_eq!(folder.json(["block", " 1 "])["height"], 1, "a number is a height");
    let proof = net.file("proof", &text(&made["proof"]));
    assert_eq!(folder.json(["verify-proof", &proof, "--trust", &block[..16]])["valid"], true);
    let nowhere = net.folder("nowhere");
    let (code, message) = nowhere.refused(&["verify-proof", &proof, "--trust", &block[..16]]);
    assert_eq!(code, "bad_hash", "a start can be forged: {message}");

    let peer = text(&two.status()["peer_id"]);
    assert_eq!(folder.json(["ban", &peer[..14]])["peer_id"], peer);
    assert_eq!(folder.json(["unban", &peer[..14]])["peer_id"], peer);
    for (args, code) in [
        (&["tx", "ffffffffffff"][..], "unknown_transaction"),
        (&["block", "ffffffffffff"], "unknown_block"),
        (&["ban", "12D3KooWzzzzzzzz"], "unknown_peer"),
    ] {
        let (said, message) = folder.refused(args);
        assert_eq!(said, code, "{message}");
        assert!(message.contains(args[1]), "{message}");
    }
    assert_eq!(folder.run(["tx", "abc"]).code, Some(2), "too short");
}

#[test]
fn an_ambiguous_id_is_refused_and_its_candidates_are_listed() {
    let net = TestNet::new();
    let (one, two, _) = friends_with_long_names(&net);
    let third = net.folder("third");
    third.join(&one.folder);
    let three = third.start(&["--peer", &one.address, "--name", "third"]);
    three.await_event("friend_joined", |_| true);
    one.folder.befriends(&third);
    one.await_event("friend_joined", |event| event["name"] == "third");
    let ids = [&two, &three].map(|node| text(&node.status()["peer_id"]));
    let (code, message) = one.folder.refused(&["chat", "12D3KooW", "hello"]);
    assert_eq!(code, "ambiguous_id", "{message}");
    for id in ids {
        assert!(message.contains(&id[..12]), "{id} in {message}");
    }
}

#[test]
fn print_chain_shows_the_newest_20_blocks_unless_told() {
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let address = folder.new_address();
    folder.create_chain(&address);
    folder.mine(25, Some(&address));
    let count = |args: &[&str]| {
        let shown = folder.run(args).done().stdout;
        shown.lines().filter(|line| line.starts_with("Hash: 00")).count()
    };
    assert_eq!(count(&["print-chain"]), 20);
    assert_eq!(count(&["printchain", "--limit", "0"]), 26);
    assert_eq!(count(&["print-chain", "--limit", "3"]), 3);
}

#[test]
fn what_is_pasted_is_trimmed_and_what_is_echoed_is_harmless() {
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let address = folder.new_address();
    folder.create_chain(&address);
    let pasted = format!("\u{feff} {address}\u{a0}\r\n");
    let balance = folder.json(["get-balance", "--address", &pasted]);
    assert_eq!(balance["address"], address);
    folder.json(["send", "--from", &pasted, "--to", &pasted, "--amount", " 1\r\n"]);
    let invite = folder.invite();
    let (start, end) = invite.split_at(50);
    let joining = net.folder("yjf");
    joining.json(["join", &format!("\r\n {start}\r\n{end} \n")]);

    for args in [
        &["get-balance", "--address", "fc1\u{1b}[2J"][..],
        &["tx", "\u{1b}[2J"],
        &["no\u{1b}[2Jcommand"],
        &["mine", "three\u{1b}[2J"],
        &["history", "nobody\u{1b}[2J\u{202e}"],
    ] {
        let answer = folder.run(args);
        assert_ne!(answer.code, Some(0), "{answer:?}");
        assert!(!answer.stderr.contains(['\u{1b}', '\u{202e}']), "{answer:?}");
    }
}

#[test]
fn help_groups_the_commands_and_a_mistyped_one_suggests_its_like() {
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let help = look(&folder, &["help"]);
    for heading in ["Wallet and payments:", "Chain:", "Friends and chat:", "Node:"] {
        assert!(help.contains(heading), "{heading} in {help}");
    }
    let of_status = look(&folder, &["help", "status"]);
    assert!(of_status.lines().count() < 15, "it is about status: {of_status}");
    assert_eq!(of_status, look(&folder, &["status", "--help"]));
    let mistyped = folder.run(["statsu"]);
    assert_eq!(mistyped.code, Some(2));
    assert!(mistyped.stderr.contains("did you mean status?"), "{mistyped:?}");
    let other = folder.run(["banane"]);
    assert!(!other.stderr.contains("mean ban"), "{other:?}");
}

#[test]
fn completion_knows_friends_addresses_and_ids_and_is_silent_without_a_node() {
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let address = folder.new_address();
    folder.create_chain(&address);
    let complete = |folder: &Folder, words: &[&str]| {
        let answer = folder.run([&["complete", "--"], words].concat()).done();
        assert_eq!(answer.stderr, "", "{answer:?}");
        answer.stdout.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(complete(&folder, &["chat", ""]), Vec::<String>::new(), "no node runs");
    assert_eq!(complete(&folder, &["print-c"]), ["print-chain"]);
    assert_eq!(complete(&folder, &["print-chain", "--lim"]), ["--limit"]);

    let node = folder.start(&["--name", "yzw"]);
    let friend = net.folder("yjf");
    friend.join(&folder);
    let other = friend.start(&["--name", "yjf", "--peer", &node.address]);
    other.await_event("friend_joined", |_| true);
    folder.befriends(&friend);
    node.await_event("friend_joined", |_| true);
    assert_eq!(complete(&folder, &["chat", "y"]), ["yjf"]);
    assert_eq!(complete(&folder, &["send", "--from", "fc1"]), [address.as_str()]);
    let txid = folder.send(&address, &address, "1");
    assert_eq!(complete(&folder, &["tx", &txid[..4]]), [&txid[..12]]);
    assert_eq!(complete(&folder, &["tx", &txid[..20]]), [txid.as_str()]);
    let peer = text(&other.status()["peer_id"]);
    assert_eq!(complete(&folder, &["ban", "12D3"]), [&peer[..12]]);
    assert_eq!(completed_by_bash(&folder, &["chat", "y"]), "yjf");
    assert_eq!(completed_by_bash(&folder, &["print-c"]), "print-chain");
}

/// Returns the completions that bash offers for the last word, with the completion script loaded.
fn completed_by_bash(folder: &Folder, words: &[&str]) -> String {
    let script = folder.run(["completions", "bash"]).done().stdout;
    let binary = binary();
    // Bash calls the function that is registered for the command, as at a press of Tab.
    let press = format!(
        "{script}\nset -- $(complete -p friendchain)\nwhile [[ $1 != -F ]]; do shift; done\n\
         COMP_WORDS=('{binary}' {}) COMP_CWORD={}\n\
         $2 friendchain '{}' ''\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
        words.join(" "),
        words.len(),
        words.last().expect("a word"),
    );
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", &press]).stdin(Stdio::null());
    bash.envs(
        folder.command(["status"]).get_envs().filter_map(|(name, value)| Some((name, value?))),
    );
    let answer = bash.output().expect("bash");
    assert!(answer.stderr.is_empty(), "{}", String::from_utf8_lossy(&answer.stderr));
    String::from_utf8_lossy(&answer.stdout).trim().to_owned()
}

/// A command that keeps running; killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns the first line of a command's standard error that satisfies the claim, and all before.
#[track_caller]
fn await_said(folder: &Folder, args: &[&str], claim: impl Fn(&str) -> bool) -> Vec<String> {
    let mut command = folder.command(args);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut running = Running(command.spawn().expect("the program starts"));
    let stderr = running.0.stderr.take().expect("piped");
    let mut lines = Vec::new();
    for line in BufReader::new(stderr).lines() {
        let line = line.expect("text");
        let is_last = claim(&line);
        lines.push(line);
        if is_last {
            return lines;
        }
    }
    panic!("{args:?} ended: {lines:#?}")
}

#[test]
fn the_text_log_has_seconds_and_short_ids_and_a_line_a_minute_when_nothing_happens() {
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let address = folder.new_address();
    folder.create_chain(&address);
    folder.send(&address, &address, "1");
    let listen = format!("/ip4/127.0.0.1/tcp/{}", free_port());
    let args = ["start-node", "--no-mdns", "--listen", &listen];
    let lines = await_said(&folder, &args, |line| line.contains(" minute "));
    let peer = "12D3KooW";
    for line in &lines {
        let time = line.split(' ').next().expect("a word");
        assert!(time.len() == 20 && time.ends_with('Z'), "seconds: {line}");
        assert!(!line.contains("node="), "{line}");
        let ids = line.split(|c: char| !c.is_ascii_alphanumeric());
        for id in ids.filter(|word| word.starts_with(peer) || word.len() > 30) {
            assert!(id.len() <= 12, "{line}");
        }
    }
    let minute = lines.last().expect("the line");
    for part in ["height 0", "peers 0", "1 transaction waits", "alone"] {
        assert!(minute.contains(part), "{part} in {minute}");
    }
}

#[test]
fn mine_says_until_when_it_waits_for_the_clock() {
    let Some(library) = clocks_wanted() else { return };
    let net = TestNet::new();
    let clock = Clock::new(&library, &net, "fast", "+5h");
    let folder = net.folder("yzw").with_clock(&clock);
    let address = folder.new_address();
    folder.create_chain(&address);
    folder.mine(1, Some(&address));
    clock.set("+0");
    let lines = await_said(&folder, &["mine"], |line| line.contains("waits for"));
    let line = lines.last().expect("the line");
    assert!(line.contains("Mining: 0 of 1, waits for the clock until 20"), "{line}");
}

#[test]
fn mine_counts_the_blocks_while_it_mines() {
    let net = TestNet::new();
    let folder = net.folder("yzw");
    folder.create_chain(&folder.new_address());
    // It ends with the first such line, long before so many blocks.
    await_said(&folder, &["mine", "1000000"], |line| {
        let count = line.strip_prefix("Mining: ").and_then(|rest| rest.split(" of ").next());
        let count = count.and_then(|count| count.replace(',', "").parse::<u32>().ok());
        count.is_some_and(|count| count > 0) && line.contains(" a second, ")
    });
}

#[test]
fn a_list_is_the_same_in_the_console_and_ids_are_short_there_too() {
    let net = TestNet::new();
    let (one, two) = (net.folder("yzw"), net.folder("yjf"));
    one.apart_from_others(&two);
    let mut node = one.people("127.0.0.1", free_port(), &["--no-mdns"]);
    let tip = one.tip().1;
    let status = node.ask("ln", &["version"]);
    assert!(status.contains(&tip[..12]) && !status.contains(&tip), "{status}");
    let full = node.ask("status --full", &["version"]);
    assert!(full.contains(&tip), "{full}");
    node.ask("help", &["Wallet and payments:", "print-chain"]);
    node.ask("help send", &["Example:"]);
    eventually("a mistyped word suggests a command", || {
        let mark = node.output_mark();
        node.say("statsu");
        node.await_printed(mark, "statsu");
        let said = node.printed_since(mark);
        holds(said.contains("status"), said)
    });
}

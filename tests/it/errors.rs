//! Tests mistakes of users. Each gets one helpful sentence, with exit code 1, or 2 for wrong usage
//! and values that do not parse.

use std::{fs, net::TcpListener};

use crate::support::{
    Folder, TestNet,
    chain::{number, text},
    folder::Answer,
    ports::free_port,
};

/// Makes a folder with a chain whose genesis paid the wallet's first address.
fn rich(net: &TestNet) -> (Folder, String) {
    let folder = net.folder("yzw");
    let address = folder.new_address();
    folder.create_chain(&address);
    (folder, address)
}

/// Checks that a command is refused in a sentence that holds all the texts.
#[track_caller]
fn assert_refused(folder: &Folder, args: &[&str], texts: &[&str]) {
    let (code, message) = folder.refused(args);
    for text in texts {
        assert!(message.contains(text), "{args:?} says {text:?}: {code} {message:?}");
    }
}

/// Checks that a node does not start, and that one sentence in the last line of stderr gives the
/// reason.
#[track_caller]
fn assert_start_refused(folder: &Folder, args: &[&str], texts: &[&str]) {
    let answer: Answer = folder.run(args);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    let sentence = answer.stderr.trim_end().lines().last().unwrap_or_default();
    for text in texts {
        assert!(sentence.contains(text), "{text:?} in {answer:?}");
    }
    let written = folder.run([&["--json"], args].concat());
    assert_eq!(written.code, Some(1), "{written:?}");
    let (_, message) = written.error();
    assert!(sentence.contains(&message), "{message:?} in {sentence:?}");
}

/// Returns the address with its last letter changed to another one of its alphabet.
fn mistyped(address: &str) -> String {
    let mut letters = address.to_owned();
    let last = letters.pop().expect("a letter");
    letters.push(if last == 'q' { 'p' } else { 'q' });
    letters
}

#[test]
fn too_little_money_is_refused_with_what_there_is() {
    let net = TestNet::new();
    let (folder, yzw) = rich(&net);
    let yjf = folder.new_address();
    let args = ["send", "--from", &yzw, "--to", &yjf, "--amount", "100.5"];
    assert_refused(&folder, &args, &["100.5", "100"]);
    assert_refused(&folder, &["send", "--from", &yjf, "--to", &yzw, "--amount", "1"], &["1"]);

    let _node = folder.start(&[]);
    assert_refused(&folder, &args, &["100.5", "100"]);
    folder.send(&yzw, &yjf, "80");
    assert_refused(
        &folder,
        &["send", "--from", &yzw, "--to", &yjf, "--amount", "30"],
        &["30", "20"],
    );
    assert_eq!(folder.mempool().len(), 1, "nothing was sent by what was refused");
}

#[test]
fn an_address_with_one_letter_changed_is_refused() {
    let net = TestNet::new();
    let (folder, yzw) = rich(&net);
    let wrong = mistyped(&folder.new_address());
    assert_refused(
        &folder,
        &["send", "--from", &yzw, "--to", &wrong, "--amount", "1"],
        &[&wrong, "checksum"],
    );
    assert_refused(&folder, &["get-balance", "--address", &wrong], &[&wrong, "checksum"]);
    let _node = folder.start(&[]);
    assert_refused(
        &folder,
        &["send", "--from", &yzw, "--to", &wrong, "--amount", "1"],
        &[&wrong, "checksum"],
    );
    assert_refused(
        &folder,
        &["send", "--from", &wrong, "--to", &yzw, "--amount", "1"],
        &[&wrong, "checksum"],
    );
}

#[test]
fn coins_of_a_wallet_that_is_not_ours_are_refused() {
    let net = TestNet::new();
    let (folder, yzw) = rich(&net);
    let stranger = net.folder("stranger").new_address();
    assert_refused(
        &folder,
        &["send", "--from", &stranger, "--to", &yzw, "--amount", "1"],
        &[&stranger],
    );
}

#[test]
fn an_amount_that_is_none_is_refused() {
    let net = TestNet::new();
    let (folder, yzw) = rich(&net);
    for (amount, code) in [("0", 1), ("1e3", 2), ("-1", 2), ("0.000000001", 2), ("ten", 2)] {
        let answer =
            folder.run(["send", "--from", &yzw, "--to", &yzw, &format!("--amount={amount}")]);
        assert_eq!(answer.code, Some(code), "{answer:?}");
        assert!(answer.stderr.contains(amount), "{answer:?}");
        assert!(!answer.stderr.contains("panicked"), "{answer:?}");
    }
    assert_eq!(folder.mempool(), Vec::<String>::new());
}

#[test]
fn an_unknown_friend_is_refused() {
    let net = TestNet::new();
    let (folder, yzw) = rich(&net);
    let _node = folder.start(&[]);
    assert_refused(&folder, &["chat", "xiaoming", "hello"], &["xiaoming"]);
    assert_refused(
        &folder,
        &["send", "--from", &yzw, "--to", "xiaoming", "--amount", "1"],
        &["xiaoming"],
    );
    assert_refused(&folder, &["history", "xiaoming"], &["xiaoming"]);
}

#[test]
fn a_locked_wallet_is_refused_until_it_is_unlocked() {
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let right = net.file("right", "correct horse battery staple\n");
    let wrong = net.file("wrong", "incorrect horse\n");
    let yzw = text(&folder.json(["create-wallet", "--passphrase-file", &right])["address"]);
    folder.create_chain(&yzw);
    let send = ["send", "--from", &yzw, "--to", &yzw, "--amount", "1"];

    assert_refused(&folder, &send, &["locked"]);
    assert_refused(&folder, &[&send[..], &["--passphrase-file", &wrong]].concat(), &["passphrase"]);
    folder.json([&send[..], &["--passphrase-file", &right]].concat());

    let node = folder.start(&[]);
    assert_refused(&folder, &send, &["locked"]);
    assert_refused(&folder, &["unlock", "--passphrase-file", &wrong], &["passphrase"]);
    assert_eq!(folder.json(["unlock", "--passphrase-file", &right])["unlocked"], true);
    folder.json(send);
    assert_eq!(folder.json(["lock"])["unlocked"], false);
    assert_refused(&folder, &send, &["locked"]);
    assert_eq!(number(&node.status()["mempool"]), 2);
}

#[test]
fn a_second_node_on_one_data_folder_is_refused() {
    let net = TestNet::new();
    let (folder, _) = rich(&net);
    let node = folder.start(&[]);
    let listen = format!("/ip4/127.0.0.1/tcp/{}", free_port());
    let path = folder.path();
    assert_start_refused(
        &folder,
        &["start-node", "--no-mdns", "--listen", &listen],
        &[path.to_str().expect("UTF-8")],
    );
    node.status();
}

#[test]
fn a_port_in_use_is_refused() {
    let net = TestNet::new();
    let (folder, yzw) = rich(&net);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its address").port().to_string();
    let listen = format!("/ip4/127.0.0.1/tcp/{port}");
    assert_start_refused(&folder, &["start-node", "--no-mdns", "--listen", &listen], &[&port]);
    let rpc = format!("127.0.0.1:{port}");
    let free = format!("/ip4/127.0.0.1/tcp/{}", free_port());
    assert_start_refused(
        &folder,
        &["start-node", "--no-mdns", "--listen", &free, "--rpc", &rpc],
        &[&port],
    );
    assert_start_refused(
        &net.folder("yjf"),
        &["people", "127.0.0.1", &port, "yjf", "--no-mdns"],
        &[&port],
    );
    folder.balance(&yzw);
}

#[test]
fn a_folder_without_a_chain_says_how_to_get_one() {
    let net = TestNet::new();
    let folder = net.folder("empty");
    let address = folder.new_address();
    for args in [
        &["get-balance", "--address", &address][..],
        &["print-chain"],
        &["verify-chain"],
        &["reindex"],
        &["mempool"],
        &["block", "0"],
        &["mine"],
        &["invite"],
        &["send", "--from", &address, "--to", &address, "--amount", "1"],
    ] {
        assert_refused(
            &folder,
            args,
            &["no chain here", "create-blockchain", "join", "start-node"],
        );
    }
}

#[test]
fn a_folder_with_a_chain_takes_no_second_one() {
    let net = TestNet::new();
    let (folder, yzw) = rich(&net);
    let (_, message) =
        folder.refused(&["create-blockchain", "--address", &yzw, "--spacing", "0", "--bits", "8"]);
    assert!(message.contains("leave-chain"), "what to do next: {message}");
    let invite = folder.invite();
    folder.refused(&["join", &invite]);
    assert_eq!(folder.balance(&yzw), "100");

    let other = net.folder("other");
    let damaged = format!("{}A{}", &invite[..40], &invite[41..]);
    let damaged =
        if damaged == invite { format!("{}B{}", &invite[..40], &invite[41..]) } else { damaged };
    other.refused(&["join", &damaged]);
    other.refused(&["join", "friendchain:"]);
    other.refused(&["join", "hello"]);
}

#[test]
fn what_needs_a_running_node_says_so() {
    let net = TestNet::new();
    let (folder, _) = rich(&net);
    for args in [
        &["peers"][..],
        &["chat", "yjf", "hello"],
        &["broadcast", "hello"],
        &["stop"],
        &["sync"],
        &["console"],
    ] {
        assert_refused(&folder, args, &["start-node"]);
    }
}

#[test]
fn what_is_not_there_is_refused_by_name() {
    let net = TestNet::new();
    let (folder, _) = rich(&net);
    let nothing = "00".repeat(32);
    assert_refused(&folder, &["tx", &nothing], &[&nothing]);
    assert_refused(&folder, &["block", &nothing], &[&nothing]);
    assert_refused(&folder, &["block", "7"], &["7"]);
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let net = TestNet::new();
    let (folder, yzw) = rich(&net);
    for args in [
        &["no-such-command"][..],
        &["send", "--from", &yzw],
        &["get-balance"],
        &["--no-such-flag", "status"],
        &["mine", "three"],
        &["start-node", "--mine", "sometimes"],
        &["start-node", "--metrics", "9101"],
        &["start-node", "--rpc", "8545"],
        &["start-node", "--peer", "nobody"],
        &["start-node", "--name", "a#b"],
        &["people", "nowhere", "8891", "yzw"],
        &["--log", "a=b=c", "status"],
        &["--log", "inof", "start-node"],
        &["--node-id", "a/b", "status"],
        &["get-balance", "--address", "yzw"],
        &["get-balance", "--address", "fc1zzz"],
        &["get-balance", "--address", &yzw[..40]],
        &["send", "--from", &yzw, "--to", "fc1?", "--amount", "1"],
        &["block", "zz"],
        &["tx", "zz"],
        &["prove", "zz"],
        &["accept-branch", "zz"],
    ] {
        let answer = folder.run(args);
        assert_eq!(answer.code, Some(2), "{answer:?}");
        assert!(answer.stdout.is_empty() && !answer.stderr.contains("panicked"), "{answer:?}");
    }
    for args in [
        &["--json", "no-such-command"][..],
        &["--json", "tx", "zz"],
        &["--json", "--node-id", "a/b", "status"],
    ] {
        let answer = folder.run(args);
        assert_eq!(answer.code, Some(2), "{answer:?}");
        answer.error();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_answer_that_cannot_be_written_is_said_where_it_can() {
    let net = TestNet::new();
    let (folder, yzw) = rich(&net);
    for (args, code, said) in [
        (&["--json", "status"][..], 1, "the answer cannot be written"),
        (&["list-addresses"], 1, "the answer cannot be written"),
        (&["help"], 1, "the answer cannot be written"),
        (&["completions", "bash"], 1, "the answer cannot be written"),
        (&["--json", "block", "7"], 1, "no block '7'"),
        (&["--json", "no-such-command"], 2, "no-such-command"),
        (&["--json", "send", "--from", &yzw, "--to", &yzw, "--amount", "ten"], 2, "ten"),
    ] {
        let mut command = folder.command(args);
        command
            .stdout(fs::OpenOptions::new().write(true).open("/dev/full").expect("a full device"));
        let output = command.output().expect("the program starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains(said), "{args:?}: {stderr}");
    }
}

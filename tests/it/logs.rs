//! What is in the logs, and what must not be.

use std::fs;

use friendchain::{
    primitives::events::PEERS_RATE,
    wire::{GetBlocks, HelloRequest, Request, SyncRequest},
};
use serde_json::Value;

use crate::support::{
    TestNet,
    chain::text,
    forge::Scene,
    peer::{Branch, TestPeer},
};

/// A secret in every form in which a log might show it.
fn shapes(secret: &[u8]) -> Vec<String> {
    let hex = data_encoding::HEXLOWER.encode(secret);
    let list = format!("{secret:?}");
    let list = list.trim_matches(['[', ']']).to_owned();
    let mut shapes = vec![hex.to_uppercase(), hex, list];
    shapes.extend(str::from_utf8(secret).map(str::to_owned));
    shapes
}

#[test]
fn nothing_secret_is_in_a_log_even_when_all_is_logged() {
    let net = TestNet::new();
    let (yzw, yjf) = (net.folder("yzw"), net.folder("yjf"));
    let passphrase = "correct horse battery staple";
    let file = net.file("passphrase", &format!("{passphrase}\n"));
    let address = text(&yzw.json(["create-wallet", "--passphrase-file", &file])["address"]);
    yzw.create_chain(&address);
    yjf.join(&yzw);
    let to = yjf.new_address();
    let logs = net.file("logs", "");
    fs::remove_file(&logs).expect("removed");
    // Everything that any library says, into the files.
    let first = yzw.start_logging("trace", &["--log-dir", &logs]);
    let second = yjf.start_logging("trace", &["--log-dir", &logs, "--peer", &first.address]);
    second.await_event("friend_joined", |_| true);
    assert_eq!(yzw.json(["unlock", "--passphrase-file", &file])["unlocked"], true);
    yzw.json(["send", "--from", &address, "--to", &to, "--amount", "1"]);
    yjf.json(["broadcast", "the", "cat", "is", "out"]);
    first.await_event("chat_received", |_| true);
    yzw.mine(1, Some(&address));
    assert_eq!(yzw.json(["lock"])["unlocked"], false);
    let mut all = first.said() + &second.said();
    first.stop();
    second.stop();
    for entry in fs::read_dir(&logs).expect("the logs") {
        all += &fs::read_to_string(entry.expect("a file").path()).expect("text");
    }
    assert!(all.contains("trade_accepted") && all.contains("TRACE"), "it is the whole log");
    let mut secrets = vec![passphrase.as_bytes().to_vec(), b"the cat is out".to_vec()];
    for folder in [&yzw, &yjf] {
        let read = |name: &str| fs::read(folder.path().join(name)).expect("a file");
        secrets.push(read("rpc.token"));
        // The key itself, without the frame and the public half around it.
        secrets.push(read("identity.key")[4..36].to_vec());
    }
    let wallet: Value =
        serde_json::from_slice(&fs::read(yjf.path().join("wallet.json")).expect("a wallet")).expect("JSON");
    for hex in words(&wallet["secret"]) {
        secrets.push(data_encoding::HEXLOWER.decode(hex.as_bytes()).expect("hex"));
    }
    assert!(secrets.len() > 6, "a wallet's secret is among them");
    for secret in &secrets {
        assert!(secret.len() >= 12, "long enough not to be there by chance");
        for shape in shapes(secret) {
            let line = all.lines().find(|line| line.contains(&shape));
            assert_eq!(line, None, "a secret is in the log");
        }
    }
}

/// The texts in a document that are long enough to be secrets.
fn words(document: &Value) -> Vec<String> {
    match document {
        Value::String(text) => vec![text.clone()].into_iter().filter(|text| text.len() >= 12).collect(),
        Value::Array(list) => list.iter().flat_map(words).collect(),
        Value::Object(fields) => fields.values().flat_map(words).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn what_a_peer_repeats_does_not_fill_the_log() {
    let scene = Scene::new();
    let branch = Branch::new(&scene.forge.genesis, &[]);
    let peer = TestPeer::serving(&scene.node, scene.forge.network, &branch);
    let ask =
        Request::Sync(SyncRequest::GetBlocks(GetBlocks { locator: vec![scene.forge.genesis.header.hash()], limit: 1 }));
    for _ in 0..2 * PEERS_RATE.burst {
        let _ = peer.ask(&ask);
        let _ = peer.ask(&Request::Hello(HelloRequest::Status(branch.status())));
    }
    scene.node.status();
    let said = scene.node.said();
    // It is penalised, then banned: each of the thousands is no line of its own.
    let lines = said.lines().count();
    assert!(lines < 200, "{lines} lines: {}", &said[..2_000]);
}

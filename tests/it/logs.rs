//! Tests that the logs hold no secret and stay small.

use std::fs;

use crate::support::{
    TestNet,
    chain::{await_one_tip, text},
    forge::Scene,
    peer::{Branch, TestPeer},
};
use friendchain::{
    telemetry::events::PEERS_RATE,
    wire::{GetBlocks, HelloRequest, Request, SyncRequest},
};
use serde_json::Value;

/// Returns a secret in every form in which a log might show it.
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
    // Log every library at trace level. The libraries that carry commands are filtered by default,
    // so name them.
    let filter = "trace,jsonrpsee=trace,jsonrpsee-http=trace,jsonrpsee_core::server=trace,\
         jsonrpsee_http_client=trace";
    let first = yzw.start_logging(filter, &["--log-dir", &logs]);
    let second = yjf.start_logging(filter, &["--log-dir", &logs, "--peer", &first.address]);
    second.await_event("friend_joined", |_| true);
    yzw.befriends(&yjf);
    assert_eq!(yzw.json(["unlock", "--passphrase-file", &file])["unlocked"], true);
    yzw.json(["send", "--from", &address, "--to", &to, "--amount", "1"]);
    yjf.json(["broadcast", "the", "cat", "is", "out"]);
    first.await_event("chat_received", |_| true);
    yjf.json(["chat", "yzw", "for", "your", "eyes", "alone"]);
    second.await_event("chat_delivered", |_| true);
    yzw.mine(1, Some(&address));
    await_one_tip(&[&yzw, &yjf], 1);
    // The node with the unencrypted wallet signs as well.
    yjf.send(&to, &address, "0.5");
    yjf.json(["note", "tea", "at", "five", "--wait"]);
    assert_eq!(yzw.json(["lock"])["unlocked"], false);
    let mut all = first.said() + &second.said();
    first.stop();
    second.stop();
    for entry in fs::read_dir(&logs).expect("the logs") {
        all += &fs::read_to_string(entry.expect("a file").path()).expect("text");
    }
    assert!(all.contains("trade_accepted") && all.contains("TRACE"), "it is the whole log");
    let mut secrets = vec![
        passphrase.as_bytes().to_vec(),
        b"the cat is out".to_vec(),
        b"your eyes alone".to_vec(),
    ];
    for folder in [&yzw, &yjf] {
        let read = |name: &str| fs::read(folder.path().join(name)).expect("a file");
        secrets.push(read("rpc.token"));
        // The secret key alone, without the protobuf header and the public half.
        secrets.push(read("identity.key")[4..36].to_vec());
    }
    let wallet: Value =
        serde_json::from_slice(&fs::read(yjf.path().join("wallet.json")).expect("a wallet"))
            .expect("JSON");
    let entropy =
        data_encoding::HEXLOWER.decode(text(&wallet["secret"]["plain"]).as_bytes()).expect("hex");
    let phrase = bip39::Mnemonic::from_entropy(&entropy).expect("entropy of a phrase").to_string();
    // Four words of the phrase count as a secret.
    let words: Vec<_> = phrase.split(' ').collect();
    secrets.extend(words.chunks_exact(4).map(|words| words.join(" ").into_bytes()));
    secrets.push(entropy);
    for secret in &secrets {
        assert!(secret.len() >= 12, "long enough not to be there by chance");
        for shape in shapes(secret) {
            let line = all.lines().find(|line| line.contains(&shape));
            assert_eq!(line, None, "a secret is in the log");
        }
    }
}

#[test]
fn what_a_peer_repeats_does_not_fill_the_log() {
    let scene = Scene::new();
    let branch = Branch::new(&scene.forge.genesis, &[]);
    let peer = TestPeer::serving(&scene.node, scene.forge.network, &branch);
    let ask = Request::Sync(SyncRequest::GetBlocks(GetBlocks {
        locator: vec![scene.forge.genesis.header.hash()],
        limit: 1,
        skip: 0,
    }));
    for _ in 0..2 * PEERS_RATE.burst {
        let _ = peer.ask(&ask);
        let _ = peer.ask(&Request::Hello(HelloRequest::Status(branch.status())));
    }
    scene.node.status();
    let said = scene.node.said();
    // The peer is penalised and then banned, so the node does not even read most of its messages.
    let lines = said.lines().count();
    assert!(lines < 200, "{lines} lines: {}", &said[..2_000]);
}

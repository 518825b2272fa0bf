//! Tests proofs that a block holds a trade or note: made, verified elsewhere, and tampered with.

use std::fs;

use serde_json::Value;

use crate::support::{
    Folder, TestNet,
    chain::{number, text},
    folder::Answer,
};

/// Verifies a proof that may be invalid.
fn verify(folder: &Folder, args: &[&str]) -> (Option<i32>, Value) {
    let answer: Answer = folder.run([&["--json", "verify-proof"], args].concat());
    (answer.code, answer.json())
}

#[track_caller]
fn assert_valid(folder: &Folder, args: &[&str]) -> Value {
    let (code, report) = verify(folder, args);
    assert_eq!(
        (code, &report["valid"], &report["anchored"]),
        (Some(0), &true.into(), &true.into()),
        "{report}"
    );
    report
}

#[track_caller]
fn assert_not_valid(folder: &Folder, args: &[&str], expected: &str) -> Value {
    let (code, report) = verify(folder, args);
    assert_eq!(
        (code, &report["valid"], &report["code"]),
        (Some(1), &false.into(), &expected.into()),
        "{report}"
    );
    assert!(text(&report["problem"]).len() > 30, "{report}");
    report
}

/// Makes a proof of a mined trade or note, and verifies it with the chain. Returns its file.
fn prove(net: &TestNet, folder: &Folder, mined: &Value, kind: &str, confirmations: u64) -> String {
    let (txid, block) = (text(&mined["txid"]), text(&mined["block"]));
    let file = net.file(kind, "to be written over");
    let made = folder.json(["prove", &txid, "-o", &file]);
    assert_eq!(
        (&made["block"], &made["confirmations"]),
        (&mined["block"], &confirmations.into()),
        "{made}"
    );
    assert_eq!(fs::read_to_string(&file).expect("written"), text(&made["proof"]));
    assert_eq!(folder.run(["prove", &txid]).done().stdout, text(&made["proof"]) + "\n");

    let report = assert_valid(folder, &[&file]);
    assert_eq!(
        (&report["anchor"], &report["txid"], &report["kind"]),
        (&"chain".into(), &txid.as_str().into(), &kind.into())
    );
    assert_eq!(
        (&report["confirmations"], &report["position"]),
        (&confirmations.into(), &1.into()),
        "{report}"
    );
    let of_chain = folder.json(["block", &block]);
    assert_eq!(
        (&report["height"], &report["time"]),
        (&of_chain["height"], &of_chain["time"]),
        "{report}"
    );
    file
}

/// Verifies a valid proof in folders that lack its chain: one of another network, and one without
/// any. Both need a block that the user trusts.
fn verify_elsewhere(file: &str, block: &str, elsewhere: &Folder, nowhere: &Folder) {
    assert_not_valid(nowhere, &[file], "not_anchored");
    assert_not_valid(elsewhere, &[file], "other_network");
    let other = "ab".repeat(32);
    for folder in [elsewhere, nowhere] {
        assert_not_valid(folder, &[file, "--trust", &other], "other_block");
        let report = assert_valid(folder, &[file, "--trust", block]);
        assert_eq!(
            (&report["anchor"], number(&report["confirmations"])),
            (&"trust".into(), 0),
            "{report}"
        );
    }
}

#[test]
fn a_proof_convinces_whoever_has_the_chain_or_trusts_the_block_and_nobody_else() {
    let net = TestNet::new();
    let (folder, elsewhere, nowhere) = (net.folder("yzw"), net.folder("yjf"), net.folder("sr"));
    let yzw = folder.new_address();
    folder.create_chain(&yzw);
    elsewhere.create_chain(&elsewhere.new_address());
    let node = folder.start(&[]);
    let sent = folder.json([
        "send",
        "--from",
        &yzw,
        "--to",
        &elsewhere.new_address(),
        "--amount",
        "10",
        "--mine",
    ]);
    let note = folder.json(["note", "the", "tea", "is", "paid", "--wait"]);
    folder.mine(2, Some(&yzw));

    for (mined, kind, confirmations) in [(&sent, "trade", 4), (&note, "note", 3)] {
        let file = prove(&net, &folder, mined, kind, confirmations);
        verify_elsewhere(&file, &text(&mined["block"]), &elsewhere, &nowhere);
    }
    let spoken = folder.run([
        "verify-proof",
        &net.file("again", &text(&folder.json(["prove", &text(&note["txid"])])["proof"])),
    ]);
    let spoken = spoken.done().stdout;
    assert!(spoken.contains("VALID") && spoken.contains("the tea is paid"), "{spoken}");

    // A pipe works as well, and so does a folder on which no node runs.
    node.stop();
    let txid = text(&sent["txid"]);
    let proof = folder.run(["prove", &txid]).done().stdout;
    let answer = folder.run_reading(["--json", "verify-proof", "-"], &proof);
    assert_eq!((answer.code, &answer.json()["valid"]), (Some(0), &true.into()), "{answer:?}");
}

#[test]
fn trust_that_the_chain_does_not_share_is_said() {
    let net = TestNet::new();
    let (folder, other) = (net.folder("yzw"), net.folder("yjf"));
    folder.create_chain(&folder.new_address());
    other.join(&folder);
    let note = folder.json(["note", "as", "agreed", "--wait"]);
    let (txid, block) = (text(&note["txid"]), text(&note["block"]));
    let file = net.file("proof", &text(&folder.json(["prove", &txid])["proof"]));

    assert_eq!(assert_valid(&folder, &[&file, "--trust", &block])["warning"], Value::Null);
    let nobodys = "ab".repeat(32);
    let report = assert_valid(&folder, &[&file, "--trust", &nobodys]);
    assert_eq!(report["anchor"], "chain", "{report}");
    assert!(text(&report["warning"]).contains(&nobodys), "{report}");
    let spoken = folder.run(["verify-proof", &file, "--trust", &nobodys]).done().stdout;
    assert!(
        spoken.contains("VALID") && spoken.contains(&format!("But the trusted {nobodys}")),
        "{spoken}"
    );

    // The other folder's chain ends below the proof's block, and then grows differently.
    assert_eq!(assert_valid(&other, &[&file, "--trust", &block])["warning"], Value::Null);
    other.mine(1, Some(&other.new_address()));
    assert_not_valid(&other, &[&file], "not_anchored");
    let report = assert_valid(&other, &[&file, "--trust", &block]);
    assert_eq!(report["anchor"], "trust", "{report}");
    assert!(text(&report["warning"]).contains(&other.tip().1), "{report}");
}

#[test]
fn a_proof_that_was_tampered_with_is_not_valid() {
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let yzw = folder.new_address();
    folder.create_chain(&yzw);
    let note = folder.json(["note", "as", "agreed", "--wait"]);
    let (txid, block) = (text(&note["txid"]), text(&note["block"]));
    let proof = text(&folder.json(["prove", &txid])["proof"]);
    let _node = folder.start(&[]);

    for at in (0..proof.len()).step_by(37).chain([proof.len() - 1]) {
        let mut bytes = proof.clone().into_bytes();
        bytes[at] ^= 1;
        let file = net.file("tampered", &String::from_utf8(bytes).expect("ASCII"));
        let (code, report) = verify(&folder, &[&file, "--trust", &block]);
        assert_eq!((code, &report["valid"]), (Some(1), &false.into()), "byte {at}: {report}");
    }
    let short = net.file("short", &proof[..proof.len() - 1]);
    let (code, report) = verify(&folder, &[&short]);
    assert_eq!((code, &report["valid"]), (Some(1), &false.into()), "{report}");
    assert_not_valid(&folder, &[&net.file("text", "I paid, believe me")], "not_a_proof");
    assert_not_valid(&folder, &[&net.file("empty", "")], "not_a_proof");
    assert_not_valid(
        &folder,
        &[&net.file("broken", &format!("{}\n{}", &proof[..76], &proof[76..]))],
        "proof_damaged",
    );
}

#[test]
fn what_cannot_be_proven_or_read_is_refused_in_a_sentence() {
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let yzw = folder.new_address();
    folder.create_chain(&yzw);
    folder.mine(1, Some(&yzw));
    let coinbase = text(&folder.json(["block", "1"])["transactions"][0]["txid"]);
    let waiting = folder.send(&yzw, &yzw, "1");
    for (txid, expected) in [
        (coinbase, "proof_of_coinbase"),
        (waiting, "not_mined"),
        ("ab".repeat(32), "unknown_transaction"),
    ] {
        assert_eq!(folder.refused(&["prove", &txid]).0, expected);
    }
    assert_eq!(net.folder("sr").refused(&["prove", &"ab".repeat(32)]).0, "no_such_folder");

    let huge = net.file("huge", &"A".repeat(1 << 20));
    let here = folder.path();
    for (file, expected) in [
        (huge.as_str(), "proof_too_long"),
        (here.to_str().expect("a path in UTF-8"), "proof_is_folder"),
        ("/no/such/file", "proof_not_read"),
    ] {
        assert_eq!(folder.refused(&["verify-proof", file]).0, expected, "{file}");
    }
    let fine = net.file("fine", "friendchain-proof:");
    for (args, expected) in [
        (&["--json", "prove", "no id"][..], "bad_txid"),
        (&["--json", "verify-proof", &fine, "--trust", "7"], "bad_hash"),
    ] {
        let answer = folder.run(args);
        assert_eq!((answer.code, answer.error().0.as_str()), (Some(2), expected));
    }
}

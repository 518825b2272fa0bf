//! Tests the coins that a payment spends, void payments, and the addresses that a restored wallet
//! finds.

use serde_json::Value;

use crate::support::{
    Folder, TestNet,
    chain::{await_one_tip, text},
    eventually, holds,
};

/// The phrase of a test vector of BIP-39.
const PHRASE: &str = "legal winner thank year wave sausage worth useful legal winner thank yellow";

/// Sends coins from any address of the wallet.
#[track_caller]
fn send(folder: &Folder, to: &str, amount: &str, flags: &[&str]) -> Value {
    folder.json([&["send", "--to", to, "--amount", amount], flags].concat())
}

#[track_caller]
fn refuses(folder: &Folder, to: &str, amount: &str, flags: &[&str]) -> (String, String) {
    folder.refused(&[&["send", "--to", to, "--amount", amount], flags].concat())
}

#[track_caller]
fn state(folder: &Folder, txid: &Value) -> String {
    text(&folder.json(["tx", &text(txid)])["state"])
}

/// Returns two folders with running nodes on one chain, and an address of each. The first folder
/// owns the genesis coin.
fn two_friends(net: &TestNet) -> ([Folder; 2], [String; 2]) {
    let folders = ["yzw", "yjf"].map(|id| net.folder(id));
    let addresses = [folders[0].new_address(), folders[1].new_address()];
    folders[0].create_chain(&addresses[0]);
    folders[1].join(&folders[0]);
    (folders, addresses)
}

#[test]
fn a_payment_takes_coins_of_all_addresses_of_the_wallet() {
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let (one, two) = (folder.new_address(), folder.new_address());
    let friend = net.folder("yjf").new_address();
    folder.create_chain(&one);
    folder.mine(1, Some(&two));
    let (code, sentence) = refuses(&folder, &friend, "150", &["--from", &one]);
    assert_eq!(code, "not_enough");
    assert!(sentence.contains(&format!("{one} has 100")), "{sentence}");
    let (code, _) = refuses(&folder, &friend, "1", &["--from", &friend]);
    assert_eq!(code, "not_our_address");
    let (_, sentence) = refuses(&folder, &friend, "201", &[]);
    assert!(sentence.contains("the wallet has 200"), "{sentence}");

    let sent = send(&folder, &friend, "150", &["--fee", "0.5", "--mine"]);
    assert_eq!((&sent["state"], &sent["fee"]), (&"mined".into(), &"0.5".into()), "{sent}");
    assert_eq!(sent["rests_on_unconfirmed"], false, "{sent}");
    let inputs = folder.json(["tx", &text(&sent["txid"])])["inputs"].clone();
    let payers: Vec<_> = inputs.as_array().expect("inputs").iter().map(|i| &i["address"]).collect();
    assert!(payers.contains(&&one.into()) && payers.contains(&&two.clone().into()), "{inputs}");
    // These are the change and the reward with the fee.
    let first = payers[0].as_str().expect("an address");
    assert_eq!(folder.balance(first), "150");
    assert_eq!(folder.balance(&friend), "150");
    folder.assert_sound();
}

#[test]
fn what_others_sent_is_spent_before_it_is_mined_only_when_the_user_says_so() {
    let net = TestNet::new();
    let ([yzw, yjf], [_, address]) = two_friends(&net);
    let hub = yzw.start(&[]);
    let _other = yjf.start_with_peers(&[&hub]);
    let gift = send(&yzw, &address, "10", &[]);
    eventually("the gift is on its way", || {
        holds(yjf.mempool() == [text(&gift["txid"])], yjf.mempool())
    });
    let shop = net.folder("shop").new_address();
    let (code, sentence) = refuses(&yjf, &shop, "4", &[]);
    assert_eq!(code, "not_enough");
    assert!(sentence.contains("10 more is on its way from others"), "{sentence}");
    let sent = send(&yjf, &shop, "4", &["--unconfirmed"]);
    assert_eq!(sent["rests_on_unconfirmed"], true, "{sent}");
    assert_eq!(sent["rests_on"], serde_json::json!([gift["txid"]]), "{sent}");
    // This wallet signed everything, and yet the change depends on the gift.
    assert_eq!(refuses(&yjf, &shop, "1", &[]).0, "not_enough");

    // The giver's own change needs no flag.
    let again = send(&yzw, &shop, "5", &[]);
    assert_eq!(again["rests_on_unconfirmed"], true, "{again}");
    assert_eq!(again["rests_on"], serde_json::json!([gift["txid"]]), "{again}");
    // The gift is replaced, and the trade that depends on it is void.
    let raise = ["raise-fee", &text(&gift["txid"]), "--fee", "0.01"];
    let (code, sentence) = yzw.refused(&raise);
    assert_eq!(code, "voids_payments");
    assert!(sentence.contains(&format!("5 to {shop}")), "{sentence}");
    let raised = yzw.json([&raise[..], &["--force"]].concat());
    assert!(raised["also_void"].as_array().expect("a list").contains(&again["txid"]), "{raised}");
    eventually("what rests on it is void", || {
        let state = state(&yjf, &sent["txid"]);
        holds(state == "void", state)
    });
}

#[test]
fn a_void_payment_is_never_sent_again_by_itself() {
    let net = TestNet::new();
    let ([yzw, yjf], [_, address]) = two_friends(&net);
    let node = yzw.start(&[]);
    let stuck = send(&yzw, &address, "10", &[]);
    let raised = yzw.json(["raise-fee", &text(&stuck["txid"]), "--fee", "0.01"]);
    assert_eq!(raised["also_void"], serde_json::json!([]), "{raised}");
    let _other = yjf.start_with_peers(&[&node]);
    yzw.mine(3, None);
    await_one_tip(&[&yzw, &yjf], 3);
    assert_eq!(state(&yzw, &stuck["txid"]), "void");
    // Its replacement has paid: to send it again would pay twice.
    let (code, sentence) = yzw.refused(&["resend", &text(&stuck["txid"])]);
    assert_eq!(code, "already_paid", "{sentence}");
    assert_eq!(yzw.refused(&["resend", &text(&raised["txid"])]).0, "mined");
    node.stop();
    let _node = yzw.start(&[]);
    yzw.mine(1, None);
    assert_eq!((state(&yzw, &stuck["txid"]).as_str(), yzw.mempool().len()), ("void", 0));
    assert_eq!(yzw.balance(&address), "10");
}

#[test]
fn a_payment_is_cancelled_and_sent_again_and_paid_once() {
    let net = TestNet::new();
    let ([yzw, _], [own, address]) = two_friends(&net);
    let _node = yzw.start(&[]);
    let sent = send(&yzw, &address, "30", &["--memo", "for the tea"]);
    let resting = send(&yzw, &address, "1", &[]);
    let txid = text(&sent["txid"]);
    assert_eq!(yzw.refused(&["resend", &txid]).0, "waiting");
    let (code, sentence) = yzw.refused(&["cancel", &txid]);
    assert_eq!(code, "voids_payments");
    assert!(sentence.contains(&format!("1 to {address}")), "{sentence}");
    assert_eq!(state(&yzw, &resting["txid"]), "mempool");
    let cancelled = yzw.json(["cancel", &txid, "--force"]);
    assert_eq!(cancelled["also_void"], serde_json::json!([resting["txid"]]), "{cancelled}");
    assert_eq!(state(&yzw, &sent["txid"]), "void");
    assert_eq!(yzw.refused(&["cancel", &txid]).0, "void");
    assert_eq!(yzw.mempool(), [text(&cancelled["txid"])]);

    // The new payment spends an output of the old one's replacement, so only one of the two can be
    // mined.
    let (code, sentence) = yzw.refused(&["resend", &txid, "--fee", "20", "--force"]);
    assert_eq!(code, "fee_too_high");
    assert!(sentence.ends_with("raise-fee --force pays more"), "{sentence}");
    let again = yzw.json(["resend", &txid, "--fee", "auto"]);
    assert_ne!(again["txid"], sent["txid"], "{again}");
    assert_eq!(again["rests_on"], serde_json::json!([cancelled["txid"]]), "{again}");
    let trade = yzw.json(["tx", &text(&again["txid"])]);
    assert_eq!(trade["memo"], "for the tea", "{trade}");
    yzw.mine(1, Some(&own));
    assert_eq!(state(&yzw, &again["txid"]), "mined");
    assert_eq!(yzw.balance(&address), "30");
    assert_eq!(yzw.refused(&["cancel", &text(&again["txid"])]).0, "mined");
    assert_eq!(yzw.refused(&["resend", &txid]).0, "already_paid");
    yzw.assert_sound();
}

#[test]
fn a_restored_wallet_finds_addresses_that_are_empty_by_now_once_its_chain_is_here() {
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let restore = |folder: &Folder| {
        folder.run_reading(["--json", "create-wallet", "--recover"], PHRASE).done().json()
    };
    let first = text(&restore(&folder)["address"]);
    let mut addresses = vec![first];
    addresses.extend((0..59).map(|_| folder.new_address()));
    let far = &addresses[50];
    folder.create_chain(&addresses[0]);
    let node = folder.start(&[]);
    let elsewhere = net.folder("shop").new_address();
    folder.json(["send", "--from", &addresses[0], "--to", far, "--amount", "10", "--mine"]);
    folder.send(far, &elsewhere, "10");
    folder.mine(1, Some(&addresses[0]));
    assert_eq!(folder.balance(far), "0");

    let lost = net.folder("restored");
    let restored = restore(&lost);
    assert_eq!(restored["address"], addresses[0].as_str());
    assert_eq!(restored["recovered"], 1, "no chain is here yet");
    lost.join(&folder);
    let _other = lost.start_with_peers(&[&node]);
    eventually("all addresses in use are found", || {
        let listed = lost.try_json(["list-addresses"])?;
        let found: Vec<_> = listed["addresses"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|entry| entry["address"].clone())
            .collect();
        holds(found.len() == 51 && found[50] == far.as_str(), &found)
    });
    // With the chain here, the coins are found at once.
    let third = net.folder("third");
    third.join(&folder);
    let _third = third.start_with_peers(&[&node]);
    await_one_tip(&[&folder, &third], 2);
    assert_eq!(restore(&third)["recovered"], 51);
}

#[test]
fn a_restored_backup_finds_the_coins_of_addresses_that_were_made_after_it() {
    let net = TestNet::new();
    let ([yzw, yjf], [first, _]) = two_friends(&net);
    let secret = net.file("secret", "correct horse\n");
    let with_secret = |args: &[&str]| yzw.json([args, &["--passphrase-file", &secret]].concat());
    let (plain, sealed) = (net.file("plain", "") + ".backup", net.file("sealed", "") + ".backup");
    yzw.json(["backup", &plain]);
    yzw.json(["change-passphrase", "--new-file", &secret]);
    yzw.json(["backup", &sealed]);
    with_secret(&["create-wallet"]);
    let late = text(&with_secret(&["create-wallet"])["address"]);
    let node = yzw.start(&[]);
    let other = yjf.start_with_peers(&[&node]);
    with_secret(&["send", "--from", &first, "--to", &late, "--amount", "10"]);
    yzw.mine(1, Some(&first));
    await_one_tip(&[&yzw, &yjf], 1);
    // A node must not meet another copy of itself.
    node.stop();

    for (id, backup, is_locked) in [("one", &plain, false), ("two", &sealed, true)] {
        let restored = net.folder(id);
        restored.json(["restore", backup]);
        let copy = restored.start_with_peers(&[&other]);
        await_one_tip(&[&yjf, &restored], 1);
        if is_locked {
            assert_eq!(restored.json(["balance"])["confirmed"], "190", "its keys are sealed");
            restored.json(["unlock", "--passphrase-file", &secret]);
        }
        eventually("the later address and its coins are found", || {
            let listed = restored.try_json(["list-addresses"])?;
            let found = &listed["addresses"][2];
            holds(found["address"] == late.as_str() && found["balance"] == "10", &listed)
        });
        copy.stop();
    }
}

#[test]
fn a_recovery_into_a_wallet_that_is_here_keeps_to_its_passphrase() {
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let secret = net.file("secret", "correct horse\n");
    let wrong = net.file("wrong", "battery staple\n");
    let restore = |flags: &[&str]| {
        let args = [&["--json", "create-wallet", "--recover"], flags].concat();
        folder.run_reading(args, PHRASE)
    };
    restore(&[]).done();
    let (code, sentence) = restore(&["--passphrase-file", &secret]).error();
    assert_eq!(code, "no_passphrase");
    assert!(sentence.contains("change-passphrase"), "{sentence}");
    restore(&[]).done();
    folder.json(["change-passphrase", "--new-file", &secret]);
    assert_eq!(restore(&["--passphrase-file", &wrong]).error().0, "wrong_passphrase");
    restore(&["--passphrase-file", &secret]).done();
    restore(&[]).done();
    let _node = folder.start(&[]);
    folder.json(["unlock", "--passphrase-file", &secret]);
    let again = restore(&["--passphrase-file", &wrong]).error();
    assert_eq!(again.0, "wrong_passphrase", "an unlocked wallet has a passphrase too");
}

#[test]
fn a_payment_of_somebody_else_is_neither_hurried_nor_taken_back_here() {
    let net = TestNet::new();
    let ([yzw, yjf], [_, address]) = two_friends(&net);
    let node = yzw.start(&[]);
    let _other = yjf.start_with_peers(&[&node]);
    let txid = text(&send(&yzw, &address, "10", &[])["txid"]);
    eventually("the payment is on its way", || {
        holds(yjf.mempool() == [txid.clone()], yjf.mempool())
    });
    let (code, sentence) = yjf.refused(&["resend", &txid]);
    assert_eq!(code, "waiting");
    assert!(sentence.contains("not yours") && !sentence.contains("cancel"), "{sentence}");
    let (_, sentence) = yzw.refused(&["resend", &txid]);
    assert!(sentence.contains("cancel takes it back"), "{sentence}");
}

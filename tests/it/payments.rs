//! Tests payments for users: by name, notices of incoming ones, the history, fees and passphrases.

use serde_json::Value;

use crate::support::{
    Folder, Node, TestNet,
    chain::{await_one_tip, number, text},
    eventually, holds,
    ports::free_port,
    terminal::Terminal,
    tools::terminal_wanted,
};

/// Returns the payments of a folder's wallet, newest first.
#[track_caller]
fn payments(folder: &Folder, args: &[&str]) -> Vec<Value> {
    let answer = folder.json([&["payments"], args].concat());
    answer["payments"].as_array().expect("payments").clone()
}

/// Returns direction, amount, other end and state of each payment.
fn rows(payments: &[Value]) -> Vec<[String; 4]> {
    let field = |payment: &Value, name: &str| payment[name].as_str().unwrap_or("-").to_owned();
    let row =
        |payment: &Value| ["direction", "amount", "with", "state"].map(|name| field(payment, name));
    payments.iter().map(row).collect()
}

/// Starts two friends with consoles who know each other's payment address, payer and payee.
fn payer_and_payee(net: &TestNet) -> [(Folder, Node); 2] {
    let (yzw, yjf) = (net.folder("yzw"), net.folder("yjf"));
    yzw.apart_from_others(&yjf);
    let off = ["--no-mdns", "--mine", "off"];
    let payer = yzw.people("127.0.0.1", free_port(), &off);
    let payee =
        yjf.people("127.0.0.1", free_port(), &[&off[..], &["--peer", &payer.address]].concat());
    payer.await_printed(0, "wants to be your friend");
    yzw.befriends(&yjf);
    for (one, other) in [(&yzw, "yjf"), (&yjf, "yzw")] {
        eventually("the friend's payment address is known", || {
            let friends = one.try_json(["friends"])?;
            let known = friends["friends"].as_array().into_iter().flatten();
            let mut known = known;
            let address = known.find(|friend| friend["name"] == other);
            holds(address.is_some_and(|friend| friend["address"].is_string()), &friends)
        });
    }
    [(yzw, payer), (yjf, payee)]
}

#[test]
fn the_payee_is_told_who_paid_once_when_it_waits_and_once_when_it_is_mined() {
    let net = TestNet::new();
    let [(yzw, _payer), (yjf, payee)] = payer_and_payee(&net);
    let sent = yzw.run(["send", "10", " yjf ", "--memo", "for the tea"]).done().stdout;
    assert!(sent.contains("It pays 10 to yjf"), "{sent}");
    payee.await_printed(0, "yzw paid you 10: for the tea (waiting)");
    let pending = yjf.json(["balance"]);
    assert_eq!((&pending["confirmed"], &pending["pending_in"]), (&"0".into(), &"10".into()));
    assert_eq!(rows(&payments(&yjf, &[])), [["in", "10", "yzw", "mempool"]]);
    assert_eq!(rows(&payments(&yzw, &["--limit", "1"])), [["out", "10", "yjf", "mempool"]]);
    yzw.mine(1, None);
    payee.await_printed(0, "yzw paid you 10: for the tea (in block 1)");
    payee.await_printed(0, "recovery-phrase");
    assert_eq!(payee.printed_since(0).matches("paid you").count(), 2);

    let listed = payments(&yjf, &["--with", "yzw"]);
    assert_eq!(rows(&listed), [["in", "10", "yzw", "mined"]]);
    assert_eq!((&listed[0]["memo"], &listed[0]["balance"]), (&"for the tea".into(), &"10".into()));
    assert_eq!(number(&listed[0]["confirmations"]), 1);
    let own = payments(&yzw, &[]);
    assert_eq!(
        rows(&own),
        [
            ["out", "10", "yjf", "mined"],
            ["reward", "100", "-", "mined"],
            ["reward", "100", "-", "mined"],
        ],
        "change is no payment: {own:?}"
    );
    assert_eq!(own[0]["balance"], "190");
    let shown = yjf.run(["tx", listed[0]["txid"].as_str().expect("an id")]).done().stdout;
    assert!(shown.contains("(yzw)") && shown.contains("(you)"), "{shown}");
    let of_friend = yzw.json(["get-balance", "--address", "yjf"]);
    assert_eq!(of_friend["confirmed"], "10");
    let first = text(&yzw.json(["list-addresses"])["addresses"][0]["address"]);
    yjf.run(["send", "--to", &first, "--amount", "4"]).done();
    eventually("the payment is there to be mined", || holds(yzw.mempool().len() == 1, "none"));
    yzw.mine(1, Some("yjf"));
    eventually("the payment is mined, and the reward went to the friend", || {
        let balance = yjf.try_json(["balance"])?;
        holds(balance["confirmed"] == "106" && balance["pending_out"] == "0", &balance)
    });
}

#[test]
fn the_payee_is_told_that_a_payment_was_replaced_and_that_one_was_taken_back() {
    let net = TestNet::new();
    let [(yzw, _payer), (_, payee)] = payer_and_payee(&net);
    let sent = yzw.json(["send", "7", "yjf", "--memo", "rent"]);
    payee.await_printed(0, "yzw paid you 7: rent (waiting)");
    let raised = yzw.json(["raise-fee", &text(&sent["txid"]), "--fee", "0.001"]);
    payee.await_printed(0, "yzw paid you 7: rent (waiting; it replaces the payment of 7)");
    yzw.json(["cancel", &text(&raised["txid"])]);
    let lost = "yzw's payment of 7 will not come: another payment took its place";
    payee.await_printed(0, lost);
    yzw.json(["resend", &text(&raised["txid"])]);
    eventually("the payment comes after all", || {
        let printed = payee.printed_since(0);
        holds(printed.matches("yzw paid you 7: rent").count() == 3, printed)
    });
    assert_eq!(payee.printed_since(0).matches("will not come").count(), 1);
}

#[test]
fn the_payee_is_told_that_a_reorg_took_a_payment_out_of_its_block() {
    let net = TestNet::new();
    let [(yzw, _payer), (yjf, payee)] = payer_and_payee(&net);
    let elsewhere = net.folder("elsewhere");
    elsewhere.join(&yzw);
    let miner = elsewhere.new_address();
    yzw.json(["send", "7", "yjf"]);
    yzw.mine(1, None);
    payee.await_printed(0, "yzw paid you 7 (in block 1)");
    elsewhere.mine(2, Some(&miner));
    let _other = elsewhere.start_with_peers(&[&payee]);
    payee.await_printed(0, "yzw's payment of 7 is no longer in a block, and waits again");
    assert_eq!(rows(&payments(&yjf, &["--no-rewards"])), [["in", "7", "yzw", "mempool"]]);
    await_one_tip(&[&yzw, &yjf], 2);
    yzw.mine(1, None);
    payee.await_printed(0, "yzw paid you 7 (in block 3)");
}

#[test]
fn a_console_counts_the_payments_that_came_while_none_was_open() {
    if !terminal_wanted() {
        return;
    }
    let net = TestNet::new();
    let (yzw, yjf) = (net.folder("yzw"), net.folder("yjf"));
    yzw.create_chain(&yzw.new_address());
    yjf.join(&yzw);
    let address = yjf.new_address();
    let hub = yzw.start(&[]);
    let start = || yjf.start(&["--name", "yjf", "--peer", &hub.address]);
    let open = |name: &str| {
        let terminal = Terminal::of_size(&yjf, name, &["console"], (80, 24), "xterm-256color");
        terminal.await_screen("the prompt", |screen| screen.ends_with("yjf>"))
    };
    // A console that reads a pipe marks nothing as seen.
    let pay = |amounts: &[&str], height: u32| {
        let mut piped = yjf.spawn(&["console"]);
        piped.ask("ln", &["yjf"]);
        for amount in amounts {
            yzw.json(["send", amount, &address]);
        }
        yzw.mine(1, None);
        for amount in amounts {
            piped.await_printed(0, &format!("paid you {amount} (in block {height})"));
        }
    };
    let node = start();
    await_one_tip(&[&yzw, &yjf], 0);
    pay(&["1", "2"], 1);
    let screen = open("two");
    assert!(screen.contains("2 payments since you were here: payments lists them"), "{screen}");
    assert!(!open("none").contains("since you were here"), "they are shown once");
    pay(&["3"], 2);
    node.stop();
    let _node = start();
    let screen = open("one");
    assert!(screen.contains("1 payment since you were here: payments lists it"), "{screen}");
}

#[test]
fn a_fee_out_of_all_proportion_is_refused_and_auto_pays_what_is_asked() {
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let (address, friend) = (folder.new_address(), net.folder("yjf").new_address());
    folder.create_chain(&address);
    let slip = ["send", "1", &friend, "--fee", "60"];
    let (code, sentence) = folder.refused(&slip);
    assert_eq!(code, "fee_too_high");
    assert!(sentence.contains("--force") && sentence.contains("60"), "{sentence}");
    assert_eq!(folder.mempool(), Vec::<String>::new());
    let auto = folder.json(["send", "1", &friend, "--fee", "auto"]);
    let fee: f64 = text(&auto["fee"]).parse().expect("a number");
    assert!(fee > 0.0 && fee < 0.001, "{auto}");
    assert_eq!(auto["rests_on_unconfirmed"], false, "{auto}");
    let txid = text(&auto["txid"]);
    assert_eq!(folder.refused(&["raise-fee", &txid, "--fee", "60"]).0, "fee_too_high");
    let raised = folder.json(["raise-fee", &txid, "--fee", "auto"]);
    assert_eq!(raised["state"], "mempool", "{raised}");
    let forced = folder.json([&slip[..], &["--force"]].concat());
    assert_eq!(forced["fee"], "60", "{forced}");
    folder.mine(1, Some(&address));
    let listed = payments(&folder, &["--no-rewards"]);
    let states: Vec<_> = listed.iter().map(|payment| text(&payment["state"])).collect();
    assert_eq!(states.iter().filter(|state| *state == "void").count(), 1, "{states:?}");
    let mined: Vec<_> = listed.iter().filter(|payment| payment["state"] == "mined").collect();
    assert_eq!(
        (mined.len(), &mined[0]["amount"], &mined[0]["fee"]),
        (2, &"1".into(), &"60".into())
    );
    let balance = folder.json(["balance"]);
    let newest = &payments(&folder, &["--limit", "1"])[0];
    assert_eq!(newest["balance"], balance["confirmed"], "{newest} and {balance}");
}

#[test]
fn the_csv_of_payments_is_safe_to_open_in_a_spreadsheet() {
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let (address, friend) = (folder.new_address(), net.folder("yjf").new_address());
    folder.create_chain(&address);
    folder.json(["send", "1", &friend, "--memo", "=HYPERLINK(\"http://x\"), or so"]);
    folder.mine(25, Some(&address));
    let csv = folder.run(["payments", "--csv"]).done().stdout;
    let lines: Vec<_> = csv.split("\r\n").filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.len(), 1 + 1 + 26, "a head, the payment and all rewards: {csv}");
    assert!(lines[0].starts_with("time,direction,with,"), "{csv}");
    let paid = lines.iter().find(|line| line.contains(",out,")).expect("the payment");
    assert!(paid.contains("\"'=HYPERLINK(\"\"http://x\"\"), or so\""), "{paid}");
    assert_eq!(payments(&folder, &[]).len(), 20);
    assert_eq!(payments(&folder, &["--limit", "0"]).len(), 27);
    let settled = folder.json(["balance"]);
    assert_eq!(settled["settled"], "2099", "blocks 0 to 20, less the payment: {settled}");
}

#[test]
fn the_passphrase_is_set_changed_and_removed_of_a_running_node_too() {
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let (one, two) = (net.file("one", "correct horse\n"), net.file("two", "battery staple\n"));
    let empty = net.file("empty", "");
    let address = folder.new_address();
    folder.create_chain(&address);
    let send = ["send", "1", &address];
    let new = ["create-wallet", "--passphrase-file", &empty];
    assert_eq!(net.folder("yjf").refused(&new).0, "bad_passphrase", "it is none");
    let nothing = folder.refused(&["change-passphrase"]);
    assert_eq!(nothing.0, "no_secret");
    assert_eq!(folder.json(["change-passphrase", "--new-file", &one])["locked"], true);
    assert_eq!(folder.refused(&send).0, "wallet_locked");
    let node = folder.start(&[]);
    folder.refused(&["change-passphrase", "--new-file", &two]);
    let change = |old, new| ["change-passphrase", "--old-file", old, "--new-file", new];
    assert_eq!(folder.refused(&change(&two, &two)).0, "wrong_passphrase");
    assert_eq!(folder.json(change(&one, &two))["locked"], true);
    assert_eq!(folder.refused(&["unlock", "--passphrase-file", &one]).0, "wrong_passphrase");
    assert_eq!(folder.json(["unlock", "--passphrase-file", &two])["unlocked"], true);
    folder.json(send);
    assert_eq!(folder.json(change(&two, &empty))["locked"], false);
    folder.json(send);
    node.stop();
    folder.json(send);
}

#[test]
fn a_wallet_without_a_chain_or_without_coins_says_what_to_do() {
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let address = folder.new_address();
    for args in [&["balance"][..], &["payments"], &["send", "1", &address]] {
        assert_eq!(folder.refused(args).0, "no_chain", "{args:?}");
    }
    folder.create_chain(&net.folder("yjf").new_address());
    let none = folder.run(["payments"]).done().stdout;
    assert!(none.contains("no payments yet"), "{none}");
    assert_eq!(folder.json(["balance"])["confirmed"], "0");
    assert_eq!(folder.refused(&["send", "1", &address]).0, "not_enough");
    for words in [&["send", "10"][..], &["send"], &["send", "1", "a", "b"]] {
        assert_eq!(folder.run(words).code, Some(2), "{words:?}");
    }
}

//! Tests the console and long commands on a real terminal, through tmux.

use crate::support::{
    TestNet, chain::number, line::SlowLine, ports::free_port, terminal::Terminal,
    tools::terminal_wanted,
};

#[test]
fn a_message_appears_above_the_line_that_is_being_typed() {
    if !terminal_wanted() {
        return;
    }
    let net = TestNet::new();
    let (folder, friend) = (net.folder("yzw"), net.folder("yjf"));
    folder.apart_from_others(&friend);
    let mut yjf = friend.people("127.0.0.1", free_port(), &["--no-mdns"]);
    let peer = yjf.address.clone();
    let port = free_port().to_string();
    let args = ["people", "127.0.0.1", &port, "yzw", "--no-mdns", "--peer", &peer];
    let terminal = Terminal::open(&folder, "typing", &args);
    yjf.await_printed(0, "wants to be your friend");
    friend.befriends(&folder);
    yjf.ask("lf", &["yzw"]);
    terminal.await_screen("yjf is announced", |screen| screen.contains("yjf"));

    terminal.type_text("c yjf half a li");
    terminal.await_screen("the line so far", |screen| screen.ends_with("c yjf half a li"));
    yjf.say("c yzw I interrupt you");
    let screen = terminal.await_screen("the message and the line", |screen| {
        screen.contains("I interrupt you") && screen.ends_with("c yjf half a li")
    });
    let (above, below) = (screen.find("I interrupt you"), screen.rfind("c yjf half a li"));
    assert!(above < below, "{screen}");
    let broken = screen.lines().filter(|line| line.contains("half a li")).count();
    assert_eq!(broken, 1, "no stale copy of the line is left behind: {screen}");

    let mark = yjf.output_mark();
    terminal.type_text("ne");
    terminal.keys("Enter");
    yjf.await_printed(mark, "half a line");
    // The line is in the history.
    terminal.keys("Up");
    terminal
        .await_screen("the line from the history", |screen| screen.ends_with("c yjf half a line"));
    // Tab completes a friend's name.
    terminal.keys("C-u");
    terminal.type_text("c yj");
    terminal.keys("Tab");
    terminal.await_screen("the completed name", |screen| screen.trim_end().ends_with("c yjf"));
    terminal.keys("C-u");
    terminal.type_text("q");
    terminal.keys("Enter");
    terminal.await_screen("q ends it", |screen| screen.ends_with("ended: 0"));
}

#[test]
fn the_recovery_phrase_is_shown_on_a_terminal_alone_and_restores_the_wallet() {
    if !terminal_wanted() {
        return;
    }
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let addresses = [folder.new_address(), folder.new_address()];
    folder.create_chain(&addresses[1]);
    folder.refused(&["recovery-phrase"]);

    let terminal = Terminal::open(&folder, "phrase", &["recovery-phrase"]);
    let screen = terminal.await_screen("it ends", |screen| screen.ends_with("ended: 0"));
    let words = |line: &&str| {
        let words = line.split(' ').filter(|word| word.bytes().all(|b| b.is_ascii_lowercase()));
        words.count() >= 12
    };
    let phrase = screen.lines().find(words).unwrap_or_else(|| panic!("twelve words: {screen}"));

    let lost = net.folder("recovered");
    lost.join(&folder);
    lost.run_reading(["create-wallet", "--recover"], phrase).done();
    let listed = lost.json(["list-addresses"]).to_string();
    // The first address is always restored, and the second one because it has coins.
    assert!(addresses.iter().all(|address| listed.contains(address)), "{addresses:?} in {listed}");
    let damaged = phrase.replacen(|c: char| c.is_ascii_lowercase(), "z", 1);
    assert_eq!(
        net.folder("other").run_reading(["create-wallet", "--recover"], &damaged).code,
        Some(1)
    );
}

#[test]
fn a_passphrase_is_asked_for_on_a_terminal_and_never_shown() {
    if !terminal_wanted() {
        return;
    }
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let answer = |terminal: &Terminal, prompt: &str, typed: &str| {
        terminal.await_screen(prompt, |screen| screen.contains(prompt));
        if !typed.is_empty() {
            terminal.type_text(typed);
        }
        terminal.keys("Enter");
    };
    let ended = |terminal: &Terminal, word: &str| {
        let end = |screen: &str| screen.contains("ended: 0");
        let screen = terminal.await_screen("it ends", end);
        assert!(screen.contains(word) && !screen.contains("sesame"), "{screen}");
        screen
    };
    let terminal = Terminal::open(&folder, "create", &["create-wallet"]);
    answer(&terminal, "Passphrase for the new wallet", "sesame one");
    answer(&terminal, "The same again", "sesame one");
    ended(&terminal, "Write down these words");
    let list = folder.json(["list-addresses"]);
    let address = list["addresses"][0]["address"].as_str().expect("an address").to_owned();
    folder.create_chain(&address);
    assert_eq!(folder.refused(&["send", "1", &address]).0, "wallet_locked");
    let terminal = Terminal::open(&folder, "pay", &["send", "1", &address]);
    answer(&terminal, "Passphrase:", "sesame one");
    ended(&terminal, "It pays 1 to yourself");
    let terminal = Terminal::open(&folder, "change", &["change-passphrase"]);
    answer(&terminal, "Old passphrase:", "sesame one");
    answer(&terminal, "New passphrase", "");
    ended(&terminal, "has no passphrase now");
    let terminal = Terminal::open(&folder, "none", &["change-passphrase"]);
    answer(&terminal, "New passphrase", "");
    terminal.await_screen("it ends", |screen| screen.contains("nothing was changed"));
    folder.json(["send", "1", &address]);
}

#[test]
fn a_long_check_shows_a_bar_on_a_terminal() {
    if !terminal_wanted() {
        return;
    }
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let address = folder.new_address();
    folder.create_chain(&address);
    folder.mine(300, Some(&address));
    let terminal = Terminal::open(&folder, "bar", &["verify-chain"]);
    let screen = terminal.await_screen("it ends", |screen| screen.ends_with("ended: 0"));
    assert!(screen.contains("300"), "the height is told: {screen}");
    assert_eq!(number(&folder.assert_sound()["height"]), 300);
}

#[test]
fn syncing_on_a_terminal_shows_a_bar_with_rate_and_time_left() {
    if !terminal_wanted() {
        return;
    }
    let net = TestNet::new();
    let (source, fresh) = (net.folder("source"), net.folder("fresh"));
    let address = source.new_address();
    source.create_chain(&address);
    // No node runs yet, so the invite holds no address, and the fresh node knows only the slow
    // line.
    fresh.join(&source);
    source.mine(1_500, Some(&address));
    let from = source.start(&[]);
    let line = SlowLine::to(&from, 50_000);
    let listen = format!("/ip4/127.0.0.1/tcp/{}", free_port());
    let args =
        ["start-node", "--no-mdns", "--listen", &listen, "--peer", &line.address, "--log", "warn"];
    let terminal = Terminal::open(&fresh, "sync", &args);
    let screen = terminal.await_screen("a bar", |screen| screen.contains("/1500,"));
    let bar = screen.lines().find(|line| line.contains("/1500,")).expect("found");
    assert!(bar.contains("/s") && bar.contains("left"), "rate and time left: {bar}");
    assert!(!bar.contains("1500/1500,"), "it moves while there is something to do: {bar}");
    // The command `sync` shows how far it is, too.
    let word = Terminal::open(&fresh, "sync-word", &["sync"]);
    word.await_screen("its bar", |screen| screen.contains("/1500,"));
    terminal.await_screen("the finished bar", |screen| screen.contains("1500/1500,"));
    word.await_screen("its answer", |screen| screen.contains("In sync at height 1500"));
    terminal.keys("C-c");
    terminal.await_screen("it ends", |screen| screen.ends_with("ended: 0"));
}

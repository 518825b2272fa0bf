//! Tests Ctrl-Z and `fg` in a console, in a shell on a real terminal.

use crate::support::{
    Folder, Node, TestNet, eventually,
    forge::Forge,
    holds,
    ports::free_port,
    terminal::Terminal,
    tools::{self, terminal_wanted},
};

/// Starts a node on a chain of its own.
fn running(folder: &Folder) -> Node {
    folder.new_address();
    folder.create_chain(&Forge::address());
    folder.start(&["--name", "yzw"])
}

/// Opens a shell on a terminal of 80 columns and 24 rows.
fn shell(folder: &Folder, name: &str, term: &str) -> Terminal {
    Terminal::shell(folder, name, (80, 24), term)
}

/// Checks that the shell shows what is typed, and reads lines.
#[track_caller]
fn assert_usable(terminal: &Terminal, number: u32) {
    terminal.await_screen("the shell's prompt", |screen| screen.ends_with("\n$"));
    terminal.say(&format!("echo usable=$(({number} + 1))"));
    let (typed, said) =
        (format!("$ echo usable=$(({number} + 1))"), format!("usable={}", number + 1));
    terminal.await_screen("the answer", |screen| {
        screen.contains(&typed) && screen.contains(&said) && screen.ends_with("\n$")
    });
}

/// Checks that the folder holds these lines, in this order.
#[track_caller]
fn await_texts(folder: &Folder, wanted: &[&str]) {
    eventually("the lines are kept", || {
        let history = folder.json(["history"]);
        let messages = history["messages"].as_array().expect("messages").iter();
        let texts: Vec<_> = messages.map(|message| message["text"].clone()).collect();
        holds(texts == wanted, &texts)
    });
}

#[test]
fn after_ctrl_z_and_fg_the_prompt_and_the_half_typed_line_are_back() {
    if !terminal_wanted() {
        return;
    }
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let _node = running(&folder);
    let terminal = shell(&folder, "suspend", "xterm-256color");
    terminal.say("$friendchain console");
    terminal.await_screen("the prompt", |screen| screen.ends_with("yzw>"));
    for number in [1, 2] {
        terminal.keys("C-z");
        assert_usable(&terminal, number);
        terminal.say("fg");
        terminal.await_screen("the prompt", |screen| screen.ends_with("yzw>"));
    }
    // A half-typed line of two rows.
    let line = "ca this line is typed in two halves, and it is longer than one row of the window";
    terminal.type_text(line);
    let bare = |text: &str| text.split_whitespace().collect::<String>();
    let ends_so = |screen: &str| bare(screen).ends_with(&bare(&format!("yzw> {line}")));
    terminal.await_screen("the first half", ends_so);
    terminal.keys("C-z");
    assert_usable(&terminal, 3);
    let before = terminal.screen();
    folder.json(["broadcast", "written", "meanwhile"]);
    terminal.say("fg");
    terminal.await_screen("the line and the news", |screen| {
        screen.contains(" you to all: written meanwhile") && ends_so(screen)
    });
    // Nothing of the shell's was erased.
    let after = terminal.screen();
    assert!(after.starts_with(&before), "before: {before}\nafter: {after}");
    terminal.say(", now");
    await_texts(&folder, &["written meanwhile", &format!("{}, now", &line[3..])]);
    // The other keys are still the editor's.
    terminal.type_text("never sent");
    terminal.keys("C-c");
    terminal.await_screen("Ctrl-C", |screen| screen.contains("or Ctrl-D, quits"));
    terminal.say("q");
    assert_usable(&terminal, 4);
}

#[test]
fn a_console_that_another_program_stopped_comes_back_with_fg() {
    if !terminal_wanted() {
        return;
    }
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let _node = running(&folder);
    for signal in ["TSTP", "STOP"] {
        let terminal = shell(&folder, signal, "xterm-256color");
        let file = net.file(signal, "");
        terminal.say(&format!(r#"sh -c "echo \$\$ > {file}; exec \$friendchain console""#));
        terminal.await_screen("the prompt", |screen| screen.ends_with("yzw>"));
        terminal.type_text("ca half");
        terminal.await_screen("the line", |screen| screen.ends_with("ca half"));
        let pid = std::fs::read_to_string(file).expect("the process id");
        tools::shell(&format!("kill -s {signal} {}", pid.trim()));
        terminal.await_screen("the shell", |screen| screen.contains("Stopped"));
        terminal.type_text("fg");
        // After SIGSTOP the terminal still has the editor's mode, in which Enter is no newline.
        terminal.keys("C-j");
        terminal
            .await_screen("the line again", |screen| screen.lines().last() == Some("yzw> ca half"));
        terminal.say(signal);
        terminal.await_screen("it is sent", |screen| screen.contains("sent, but no friend"));
        terminal.keys("C-z");
        assert_usable(&terminal, 1);
    }
    await_texts(&folder, &["halfTSTP", "halfSTOP"]);
}

#[test]
fn a_terminal_that_cannot_edit_shows_its_prompt_again_after_fg() {
    if !terminal_wanted() {
        return;
    }
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let _node = running(&folder);
    let terminal = shell(&folder, "suspend-plain", "dumb");
    terminal.say("$friendchain console");
    terminal.await_screen("the prompt", |screen| screen.ends_with("yzw>"));
    terminal.keys("C-z");
    assert_usable(&terminal, 1);
    terminal.say("fg");
    terminal.await_screen("the prompt again", |screen| screen.ends_with("yzw>"));
    terminal.say("ca after it");
    await_texts(&folder, &["after it"]);
}

#[test]
fn a_node_that_ctrl_z_stops_says_so_and_gets_its_lines_after_fg() {
    if !terminal_wanted() {
        return;
    }
    let net = TestNet::new();
    let (folder, friend) = (net.folder("yzw"), net.folder("yjf"));
    folder.apart_from_others(&friend);
    let yjf = friend.people("127.0.0.1", free_port(), &["--no-mdns"]);
    let terminal = shell(&folder, "suspend-node", "xterm-256color");
    let port = free_port();
    let peer = &yjf.address;
    terminal.say(&format!("$friendchain people 127.0.0.1 {port} yzw --no-mdns --peer {peer}"));
    yjf.await_printed(0, "wants to be your friend");
    friend.befriends(&folder);
    terminal.await_screen("yjf is here", |screen| screen.contains("yjf"));
    terminal.keys("C-z");
    terminal.await_screen("the shell", |screen| screen.contains("the node stands still until fg"));
    assert_usable(&terminal, 1);
    friend.json(["chat", "yzw", "written", "meanwhile"]);
    terminal.say("fg");
    terminal.await_screen("the line and the prompt", |screen| {
        screen.contains(" yjf: written meanwhile") && screen.ends_with("yzw>")
    });
    terminal.say("q");
    assert_usable(&terminal, 2);
}

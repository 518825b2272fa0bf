//! Tests the console on a terminal: no typed text is lost, whatever runs or ends meanwhile.

use std::fs;

use serde_json::Value;

use crate::support::{
    Folder, Node, TestNet, eventually, forge::Forge, holds, ports::free_port, terminal::Terminal,
    tools::terminal_wanted,
};

/// Starts a node on a chain of its own.
fn running(folder: &Folder) -> Node {
    folder.new_address();
    // The wallet has no coins, so that no advice about them appears while a test types.
    folder.create_chain(&Forge::address());
    folder.start(&["--name", "yzw"])
}

/// Opens a console on the node of a folder, on a terminal of 80 columns and 24 rows.
fn console(folder: &Folder, name: &str, term: &str) -> Terminal {
    let terminal = Terminal::of_size(folder, name, &["console"], (80, 24), term);
    terminal.await_screen("the prompt", |screen| screen.ends_with("yzw>"));
    terminal
}

fn texts(folder: &Folder) -> Vec<String> {
    let history = folder.json(["history"]);
    let messages = history["messages"].as_array().expect("messages").iter();
    messages.map(|message| message["text"].as_str().expect("a text").to_owned()).collect()
}

#[track_caller]
fn await_texts(folder: &Folder, wanted: &[&str]) {
    eventually("the lines are kept in order", || {
        let texts = texts(folder);
        holds(texts == wanted, &texts)
    });
}

#[test]
fn lines_typed_and_pasted_while_a_command_runs_are_all_done_in_order() {
    if !terminal_wanted() {
        return;
    }
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let node = running(&folder);
    let away = net.folder("yjf");
    away.join(&folder);
    let friend = away.start_with_peers(&[&node]);
    folder.befriends(&away);
    node.await_event("friend_joined", |event| event["name"] == "yjf");
    friend.kill();
    let terminal = console(&folder, "paste", "xterm-256color");
    terminal.say("chat yjf are you there --wait");
    terminal.say("ca first");
    await_texts(&folder, &["are you there", "first"]);
    terminal.tmux("set-buffer 'ca one\nca two\nca three\n'");
    terminal.tmux("paste-buffer -p");
    await_texts(&folder, &["are you there", "first", "one", "two", "three"]);
    terminal.say("la");
    terminal.await_screen("la waits", |screen| {
        screen.contains("'la' waits for 'chat yjf are you there --wait'")
    });
    terminal.keys("C-c");
    let screen = terminal.await_screen("la is answered", |screen| screen.contains("blocks won"));
    assert!(screen.contains("no longer waits for 'chat yjf"), "{screen}");
    terminal.say("q");
    terminal.await_screen("q ends it", |screen| screen.ends_with("ended: 0"));
}

#[test]
fn a_paste_of_many_lines_loses_none() {
    if !terminal_wanted() {
        return;
    }
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let _node = running(&folder);
    let terminal = console(&folder, "many", "xterm-256color");
    let lines: Vec<_> =
        (0..60).map(|at| format!("line {at} of a long text that is kept")).collect();
    let file = net.file("paste.txt", &format!("ca\n{}\n", lines.join("\n")));
    terminal.tmux(&format!("load-buffer '{file}'"));
    terminal.tmux("paste-buffer");
    eventually("all lines are kept in order", || {
        let history = folder.json(["history", "--limit", "100"]);
        let messages = history["messages"].as_array().expect("messages").iter();
        let texts: Vec<_> = messages.map(|message| message["text"].clone()).collect();
        holds(
            texts == lines.iter().map(|line| Value::from(line.as_str())).collect::<Vec<_>>(),
            texts,
        )
    });
}

#[test]
fn the_prompt_shows_the_conversation_and_a_slip_is_asked_about() {
    if !terminal_wanted() {
        return;
    }
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let _node = running(&folder);
    let terminal = console(&folder, "talk", "xterm-256color");
    terminal.say("good evening");
    terminal.await_screen("nobody is chosen", |screen| screen.contains("ca everybody"));
    terminal.say("c nobody-here");
    terminal.await_screen("nobody is so called", |screen| screen.contains("no friend is called"));
    terminal.say("ca");
    terminal.await_screen("the prompt", |screen| screen.ends_with("yzw→everybody>"));
    terminal.say("good evening");
    terminal.say("stauts");
    terminal.await_screen("the question", |screen| screen.contains("did you mean status?"));
    terminal.say(" stauts");
    terminal.say("/balance-of-nothing");
    terminal.await_screen("a command", |screen| screen.contains("'balance-of-nothing' is no"));
    await_texts(&folder, &["good evening", "stauts"]);
}

#[test]
fn the_death_of_the_node_ends_its_console_and_gives_the_terminal_back() {
    if !terminal_wanted() {
        return;
    }
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let node = running(&folder);
    let terminal = console(&folder, "death", "xterm-256color");
    terminal.type_text("ca half a li");
    terminal.await_screen("the line", |screen| screen.ends_with("ca half a li"));
    node.kill();
    let screen = terminal.await_screen("the end", |screen| screen.ends_with("ended: 1"));
    assert!(screen.contains("error: the node has ended"), "{screen}");
    // The terminal echoes again: `cat` itself shows nothing before Enter.
    terminal.type_text("echoed");
    terminal.await_screen("the echo", |screen| screen.ends_with("echoed"));
}

#[test]
fn a_terminal_without_cursor_keys_gets_a_plain_prompt() {
    if !terminal_wanted() {
        return;
    }
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let _node = running(&folder);
    for term in ["dumb", "emacs", ""] {
        let terminal = console(&folder, &format!("plain{term}"), term);
        terminal.say("la");
        terminal.await_screen("an answer", |screen| screen.contains("blocks won: 0"));
        terminal.say("ca");
        terminal.await_screen("the prompt", |screen| screen.ends_with("yzw→everybody>"));
        terminal.say("q");
        let screen = terminal.await_screen("its end", |screen| screen.ends_with("ended: 0"));
        assert!(!screen.contains("[0m") && !screen.contains("ENOTTY"), "{screen}");
    }
}

#[test]
fn a_half_typed_line_survives_a_change_of_the_windows_size() {
    if !terminal_wanted() {
        return;
    }
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let _node = running(&folder);
    let terminal = console(&folder, "resize", "xterm-256color");
    let line = "ca this line is longer than half a window and is typed to its end later on";
    terminal.type_text(line);
    terminal.await_screen("the line", |screen| screen.ends_with(line));
    for columns in [40, 100, 60] {
        terminal.tmux(&format!("resize-window -x {columns} -y 24"));
        terminal.await_screen("the line after it", |_| {
            let joined = terminal.tmux("capture-pane -p -J");
            joined.trim_end().ends_with(line) && joined.matches("this line is longer").count() == 1
        });
    }
    terminal.say(", now");
    await_texts(
        &folder,
        &["this line is longer than half a window and is typed to its end later on, now"],
    );
}

/// Checks that a text is on the screen once, after a head, in rows that end between words and are
/// as long as the columns allow.
fn is_broken_for(screen: &str, head: &str, text: &str, columns: usize) -> Result<(), String> {
    let rows: Vec<&str> = screen.lines().collect();
    holds(screen.matches(head).count() == 1, screen)?;
    let at = rows.iter().position(|row| row.contains(head)).ok_or(screen)?;
    let mut shown = rows[at].split(head).last().unwrap_or_default().to_owned();
    for pair in rows[at..].windows(2) {
        if shown == text {
            break;
        }
        let word = pair[1].trim_start().split(' ').next().unwrap_or_default();
        let is_full = pair[0].len() <= columns && pair[0].len() + 1 + word.len() > columns;
        holds(is_full && pair[1].starts_with("    "), screen)?;
        shown = format!("{shown} {}", pair[1].trim_start());
    }
    holds(shown == text, screen)
}

#[test]
fn shown_lines_end_at_words_again_after_a_change_of_the_windows_size() {
    if !terminal_wanted() {
        return;
    }
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let _node = running(&folder);
    let terminal = console(&folder, "rewrap", "xterm-256color");
    let text = "a line of some length that no window of forty columns can show on a single row";
    terminal.say("ca");
    folder.json(["broadcast", text]);
    terminal.await_screen("the line", |screen| screen.contains(" you to all: a line"));
    terminal.type_text("half a line that is being typed");
    for columns in [40, 100, 60, 80] {
        terminal.tmux(&format!("resize-window -x {columns} -y 24"));
        eventually(&format!("the screen has {columns} columns"), || {
            let screen = terminal.tmux("capture-pane -p");
            is_broken_for(&screen, " you to all: ", text, columns)?;
            let joined = terminal.tmux("capture-pane -p -J");
            let typed = "yzw→everybody> half a line that is being typed";
            holds(joined.trim_end().ends_with(typed), &screen)?;
            let has_once = |part: &str| screen.matches(part).count() == 1;
            holds(has_once("friendchain 0") && has_once("> ca\n") && has_once("half"), &screen)
        });
    }
    terminal.keys("Enter");
    await_texts(&folder, &[text, "half a line that is being typed"]);
    // On a full screen, too, each line is broken anew and none is lost.
    for number in 0..12 {
        folder.json(["broadcast", &format!("{number} {text}")]);
    }
    terminal.await_screen("all lines", |screen| screen.contains("all: 11 a line"));
    for columns in [50, 120] {
        terminal.tmux(&format!("resize-window -x {columns} -y 24"));
        eventually(&format!("the full screen has {columns} columns"), || {
            let screen = terminal.tmux("capture-pane -p");
            (8..12).try_for_each(|number| {
                let head = format!(" you to all: {number} ");
                is_broken_for(&screen, &head, text, columns)
            })
        });
        let all = terminal.screen();
        for number in 0..12 {
            assert!(all.contains(&format!("all: {number} a line")), "{number}: {all}");
        }
    }
}

/// Returns a text without spaces and line breaks.
fn bare(text: &str) -> String {
    text.split_whitespace().collect()
}

#[test]
fn lines_that_arrive_while_the_window_changes_its_size_garble_nothing() {
    if !terminal_wanted() {
        return;
    }
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let _node = running(&folder);
    let terminal = console(&folder, "drag", "xterm-256color");
    let typed = "ca this line is half typed, and it needs two rows even in a window of 80 columns";
    terminal.type_text(typed);
    let is_whole = |screen: &str| bare(screen).ends_with(&bare(&format!("yzw> {typed}")));
    folder.json(["broadcast", "line 0"]);
    terminal.await_screen("a line", |screen| screen.contains("line 0") && is_whole(screen));
    // A border that is dragged away and back: no width stays for long, and the last is the first.
    let sizes = [[120, 80], [40, 80], [120, 80], [100, 80], [40, 120], [80, 120], [100, 40]];
    for (number, widths) in (1..).zip(sizes) {
        for columns in widths {
            terminal.tmux(&format!("resize-window -x {columns} -y 24 ';' run-shell 'sleep 0.1'"));
        }
        folder.json(["broadcast", &format!("line {number}")]);
        eventually(&format!("the screen after {widths:?}"), || {
            let screen = terminal.tmux("capture-pane -p");
            holds(is_whole(&screen) && screen.matches("yzw>").count() == 1, &screen)?;
            holds(screen.starts_with("friendchain 0"), &screen)?;
            (0..=number).try_for_each(|known| {
                let text = format!("you to all: line {known}");
                holds(screen.lines().filter(|row| row.ends_with(&text)).count() == 1, &screen)
            })
        });
    }
    terminal.say(", END");
    let mut sent: Vec<String> = (0..=sizes.len()).map(|number| format!("line {number}")).collect();
    sent.push(format!("{}, END", &typed[3..]));
    await_texts(&folder, &sent.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn logs_go_to_the_log_and_never_between_the_lines_of_the_console() {
    if !terminal_wanted() {
        return;
    }
    let net = TestNet::new();
    let folder = net.folder("yzw");
    folder.create_chain(&Forge::address());
    let (port, nobody) = (free_port().to_string(), format!("127.0.0.1:{}", free_port()));
    let people = ["people", "127.0.0.1", &port, "yzw", "--no-mdns", "--peer", &nobody];
    let terminal = Terminal::open(&folder, "logs", &[&people[..], &["--log", "info"]].concat());
    terminal.await_screen("the prompt", |screen| screen.ends_with("yzw>"));
    let log = eventually("the log has the node's events", || {
        let log = fs::read_to_string(folder.path().join("console.log")).unwrap_or_default();
        holds(log.contains("INFO") && log.contains("listening"), &log)?;
        Ok(log)
    });
    let screen = terminal.screen();
    assert!(!screen.contains("INFO") && !screen.contains("listening"), "{screen} and {log}");
}

#[test]
fn a_console_begins_with_the_last_lines_and_own_lines_show_in_the_others() {
    if !terminal_wanted() {
        return;
    }
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let _node = running(&folder);
    folder.json(["broadcast", "written", "before"]);
    let terminal = Terminal::of_size(&folder, "start", &["console"], (80, 24), "xterm-256color");
    let screen = terminal
        .await_screen("the last lines", |screen| screen.contains(" to all: written before"));
    assert!(!screen.contains("you to all: written before"), "once: {screen}");
    // The line has the local time, and its sender's colour.
    let styled = terminal.tmux("capture-pane -p -e");
    let line = styled.lines().find(|line| line.contains("written before")).expect("the line");
    let sender = line.split("yzw").next().unwrap_or_default();
    let clock = sender.split(|c: char| !c.is_ascii_digit() && c != ':');
    assert!(clock.clone().any(|part| part.len() == 5 && part.contains(':')), "{line:?}");
    assert!(sender.contains("38;5;"), "{line:?}");
    let mut other = folder.spawn(&["console"]);
    other.ask("ln", &["yzw"]);
    let mark = other.output_mark();
    other.say("ca from the other console");
    terminal
        .await_screen("the line", |screen| screen.contains("you to all: from the other console"));
    other.say("ln");
    let printed = other.await_printed(mark, "peer id");
    assert!(!printed.contains("you to all"), "it was typed there: {printed}");
}

#[test]
fn a_console_asks_for_a_passphrase_and_shows_no_letter_of_it() {
    if !terminal_wanted() {
        return;
    }
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let file = net.file("passphrase", "open sesame");
    let created = folder.json(["create-wallet", "--passphrase-file", &file]);
    let address = created["address"].as_str().expect("an address").to_owned();
    folder.create_chain(&address);
    let node = folder.start(&["--name", "yzw"]);
    let terminal = console(&folder, "asked", "xterm-256color");
    let answer = |typed: &str, asked: &str, answered: &str| {
        terminal.await_screen(asked, |screen| screen.contains(asked));
        terminal.say(typed);
        let screen = terminal.await_screen(answered, |screen| screen.contains(answered));
        assert!(!screen.contains("sesame"), "{screen}");
        terminal.tmux("send-keys C-l");
        terminal.tmux("clear-history");
    };
    terminal.say(&format!("send 1 {address}"));
    answer("close sesame", "Passphrase:", "passphrase");
    terminal.say("b written by the chain");
    answer("open sesame", "Passphrase:", "Note ");
    terminal.say("unlock");
    answer("open sesame", "Passphrase:", "The wallet is open.");
    terminal.say("lock");
    terminal.await_screen("the lock", |screen| screen.contains("is locked"));
    // The user cancels a question, and the next line is a usual line.
    terminal.say("recovery-phrase");
    terminal.await_screen("the question", |screen| screen.contains("Passphrase:"));
    terminal.keys("C-c");
    terminal.await_screen("no more", |screen| screen.contains("is given up"));
    terminal.say("rename Zoë");
    terminal.await_screen("the prompt has the new name", |screen| screen.ends_with("Zoë>"));
    terminal.keys("Up");
    terminal.await_screen("the history", |screen| screen.ends_with("rename Zoë"));
    terminal.keys("Up");
    terminal.await_screen("no answer is in it", |screen| screen.ends_with("recovery-phrase"));
    terminal.keys("C-u");
    terminal.say("q");
    drop(terminal);
    // Without a line editor, the terminal itself must not echo.
    let plain = Terminal::of_size(&folder, "asked-plainly", &["console"], (80, 24), "dumb");
    plain.await_screen("the prompt", |screen| screen.ends_with("Zoë>"));
    plain.say("unlock");
    plain.await_screen("the question", |screen| screen.contains("Passphrase:"));
    plain.say("open sesame");
    let screen = plain.await_screen("the answer", |screen| screen.contains("The wallet is open."));
    assert!(!screen.contains("sesame"), "{screen}");
    plain.say("la");
    plain.await_screen("the next line is shown", |screen| screen.contains("> la"));
    drop(node);
}

//! Plays the chat room's story: five friends, five consoles, with its original command lines and
//! words.

use crate::support::{
    Folder, Node, TestNet,
    chain::{await_one_tip, number, text},
    eventually, holds,
    ports::{free_port, lock_story_ports},
};

const FRIENDS: [&str; 5] = ["yzw", "yjf", "sr", "xzq", "hjs"];
const FIRST_PORT: u16 = 8_891;

/// Waits until a note with this text is on every chain exactly once.
#[track_caller]
fn await_note(folders: &[&Folder], words: &str) {
    eventually(&format!("{words:?} is on every chain once"), || {
        let counts: Vec<_> = folders.iter().map(|folder| folder.notes_saying(words)).collect();
        holds(counts.iter().all(|count| *count == 1), counts)
    });
}

/// Waits until `lf` of each console names all the others.
#[track_caller]
fn await_everyone(consoles: &mut [Node]) {
    let names: Vec<_> = consoles.iter().map(|console| console.folder.id.clone()).collect();
    for console in consoles {
        let others: Vec<_> =
            names.iter().filter(|name| **name != console.folder.id).map(String::as_str).collect();
        console.ask("lf", &others);
    }
}

/// Returns the entry of one friend in `friends --json`.
fn friend(of: &Folder, name: &str) -> Result<serde_json::Value, String> {
    let answer = of.try_json(["friends"])?;
    let friends = answer["friends"].as_array().ok_or_else(|| answer.to_string())?;
    friends.iter().find(|friend| friend["name"] == name).cloned().ok_or_else(|| answer.to_string())
}

#[track_caller]
fn await_presence(of: &Folder, name: &str, online: bool) {
    eventually(&format!("{} sees {name} {}", of.id, if online { "here" } else { "gone" }), || {
        let seen = friend(of, name)?;
        holds(seen["online"] == online, seen)
    });
}

#[test]
fn five_friends_meet_chat_write_notes_and_part() {
    let _ports = lock_story_ports();
    let net = TestNet::new();
    // people 127.0.0.1 8891 yzw … people 127.0.0.1 8895 hjs
    let mut consoles: Vec<Node> = FRIENDS
        .iter()
        .zip(FIRST_PORT..)
        .map(|(name, port)| net.folder(name).people("127.0.0.1", port, &[]))
        .collect();
    let folders: Vec<_> = consoles.iter().map(|console| console.folder.clone()).collect();
    let all: Vec<_> = folders.iter().collect();

    await_everyone(&mut consoles);
    for folder in &folders {
        for name in FRIENDS.into_iter().filter(|name| *name != folder.id) {
            await_presence(folder, name, true);
        }
    }

    whole_lines_reach_whom_they_are_for(&mut consoles);
    every_note_lands_once(&mut consoles, &all);
    every_word_answers(&mut consoles[0]);
    goodbyes_and_crashes_are_noticed(consoles, &all);
}

/// Checks that `c` sends the whole line to one friend only, and `ca` to all the others.
fn whole_lines_reach_whom_they_are_for(consoles: &mut [Node]) {
    let marks: Vec<_> = consoles.iter().map(Node::output_mark).collect();
    consoles[0].say("c yjf Good morning to you");
    let shown = consoles[1].await_printed(marks[1], "Good morning to you");
    assert!(shown.contains("yzw"), "it says who wrote: {shown:?}");
    // Lines to all from one author arrive after it. So once they are shown, the direct line cannot
    // still be on its way to the wrong friend.
    consoles[0].say("ca Good evening, all of you");
    for (console, mark) in consoles.iter().zip(&marks).skip(1) {
        let shown = console.await_printed(*mark, "Good evening, all of you");
        assert!(shown.contains("yzw"), "it says who wrote: {shown:?}");
    }
    for (console, mark) in consoles.iter().zip(&marks).skip(2) {
        let printed = console.printed_since(*mark);
        assert!(
            !printed.contains("Good morning to you"),
            "{} is not yjf: {printed}",
            console.folder.id
        );
    }
    // The friend's answer arrives as well.
    let mark = consoles[0].output_mark();
    consoles[1].say("c yzw And to you, 早上好");
    consoles[0].await_printed(mark, "And to you, 早上好");
}

/// Checks that each note is on every chain once: from a friend without coins, and from two friends
/// who write at the same moment.
fn every_note_lands_once(consoles: &mut [Node], all: &[&Folder]) {
    consoles[0].say("b GoodMorning!");
    await_note(all, "GoodMorning!");

    let penniless = consoles
        .iter_mut()
        .find(|console| {
            let answer = console.folder.json(["list-addresses"]);
            let addresses = answer["addresses"].as_array().expect("addresses").clone();
            addresses.iter().all(|address| address["balance"] == "0")
        })
        .expect("one block was mined, and there are five friends");
    penniless.say("b I have no coins and write");
    await_note(all, "I have no coins and write");

    consoles[2].say("b two at once: sr");
    consoles[3].say("b two at once: xzq");
    await_note(all, "two at once: sr");
    await_note(all, "two at once: xzq");
    await_one_tip(all, 2);
    await_note(all, "GoodMorning!");
}

/// Checks that `sync`, `la`, `lb`, `ln` and `h` answer, and that wrong usage is answered and not
/// fatal.
fn every_word_answers(console: &mut Node) {
    let height = console.folder.tip().0;
    let addresses = console.folder.json(["list-addresses"]);
    let address = text(&addresses["addresses"][0]["address"]);
    console.ask("sync", &[&height.to_string()]);
    console.ask("sync yjf", &[&height.to_string()]);
    console.ask("la", &[&address]);
    console.ask("lb", &["GoodMorning!", "I have no coins and write"]);
    console.ask("ln", &["yzw"]);
    console.ask(
        "h",
        &["b <data>", "c <friend> <data>", "ca <data>", "la", "lb", "lf", "ln", "sync", "q"],
    );
    for wrong in [
        "c",
        "c yjf",
        "ca",
        "b",
        "sync nobody-of-that-name",
        "no-such-word",
        "c nobody-of-that-name hello",
    ] {
        let mark = console.output_mark();
        console.say(wrong);
        // The answer to the next command proves that the wrong one is done and that the console
        // runs.
        console.say("ln");
        console.await_printed(mark, "yzw");
        let printed = console.printed_since(mark);
        assert!(
            !printed.trim().is_empty() && !printed.contains("panicked"),
            "{wrong:?}: {printed}"
        );
    }
    let mark = console.output_mark();
    console.say("c");
    console.await_printed(mark, "c <friend> <data>");
    // Every command of the program works in the console, too.
    console.ask(&format!("get-balance --address {address}"), &[&format!("Balance of '{address}'")]);
}

/// Checks that friends see a goodbye by `q` and a death by `kill -9`. A node that returns has its
/// chain, its friends and its name.
fn goodbyes_and_crashes_are_noticed(mut consoles: Vec<Node>, all: &[&Folder]) {
    let mut hjs = consoles.pop().expect("the fifth");
    let marks: Vec<_> =
        consoles.iter().map(|console| (console.log_mark(), console.output_mark())).collect();
    hjs.say("q");
    assert!(hjs.await_end().success(), "q ends the node in `people`");
    for (console, (log, output)) in consoles.iter().zip(&marks) {
        console.await_event_since(*log, "friend_left", |event| {
            event["name"] == "hjs" && event["how"] == "quit"
        });
        console.await_printed(*output, "hjs");
        await_presence(&console.folder, "hjs", false);
    }

    let xzq = consoles.pop().expect("the fourth");
    let (folder, status) = (xzq.folder.clone(), xzq.status());
    xzq.kill();
    for console in &consoles {
        console
            .await_event("friend_left", |event| event["name"] == "xzq" && event["how"] == "lost");
        await_presence(&console.folder, "xzq", false);
    }

    let mut xzq = folder.people("127.0.0.1", FIRST_PORT + 3, &[]);
    let back = xzq.await_event("node_started", |_| true);
    assert_eq!(back["peer_id"], status["peer_id"]);
    assert!(number(&back["height"]) >= number(&status["height"]), "its chain is there at once");
    assert_eq!(xzq.status()["name"], "xzq");
    assert_eq!(folder.notes_saying("two at once: xzq"), 1);
    xzq.ask("lf", &["yzw", "yjf", "sr", "hjs"]);
    for console in &consoles {
        await_presence(&console.folder, "xzq", true);
    }
    let mark = consoles[0].output_mark();
    xzq.say("c yzw I am back");
    consoles[0].await_printed(mark, "I am back");
    for folder in all.iter().filter(|folder| folder.id != "hjs") {
        folder.assert_sound();
    }
}

#[test]
fn a_line_to_a_friend_who_is_away_is_delivered_when_the_friend_is_back() {
    let net = TestNet::new();
    let (yzw, yjf) = (net.folder("yzw"), net.folder("yjf"));
    yzw.apart_from_others(&yjf);
    let (ours, theirs) = (free_port(), free_port());
    let mut one = yzw.people("127.0.0.1", ours, &["--no-mdns"]);
    let peer = one.address.clone();
    let two = yjf.people("127.0.0.1", theirs, &["--no-mdns", "--peer", &peer]);
    one.await_printed(0, "wants to be your friend");
    yzw.befriends(&yjf);
    await_presence(&yzw, "yjf", true);
    await_presence(&yjf, "yzw", true);
    two.kill();
    await_presence(&yzw, "yjf", false);

    let answer = yzw.json(["chat", "yjf", "read", "this", "later"]);
    assert_eq!(answer["state"], "queued", "{answer}");
    one.say("c yjf and this, too");
    let two = yjf.people("127.0.0.1", theirs, &["--no-mdns", "--peer", &peer]);
    two.await_printed(0, "read this later");
    two.await_printed(0, "and this, too");
    one.await_printed(0, "* delivered to yjf");
    one.await_event("chat_delivered", |event| event["id"] == answer["id"]);
    eventually("the history says that it was delivered", || {
        let history = yzw.json(["history", "yjf"]);
        let messages = history["messages"].as_array().expect("messages");
        let message = messages.iter().find(|message| message["id"] == answer["id"]).cloned();
        holds(message.as_ref().is_some_and(|message| message["state"] == "delivered"), &history)
    });
    let kept = yjf.json(["history", "yzw"]);
    let texts: Vec<_> = kept["messages"]
        .as_array()
        .expect("messages")
        .iter()
        .map(|message| &message["text"])
        .collect();
    assert_eq!(texts.iter().filter(|text| **text == "read this later").count(), 1, "{kept}");
}

#[test]
fn the_console_of_a_running_node_leaves_it_running_and_several_may_be_open() {
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let address = folder.new_address();
    folder.create_chain(&address);
    let mut node = folder.start(&["--name", "yzw"]);
    let mut one = folder.spawn(&["console"]);
    let mut two = folder.spawn(&["console"]);
    one.ask("ln", &["yzw"]);
    two.ask("la", &[&address]);
    one.say("q");
    assert!(one.await_end().success());
    two.ask("ln", &["yzw"]);
    two.end_input();
    assert!(two.await_end().success(), "the end of input is q");
    assert!(node.is_running());
    node.status();
}

#[test]
fn the_end_of_input_stops_people_cleanly() {
    let net = TestNet::new();
    let folder = net.folder("yzw");
    folder.create_chain(&folder.new_address());
    let mut node = folder.people("127.0.0.1", free_port(), &["--no-mdns"]);
    node.end_input();
    assert!(node.await_end().success());
    node.await_event("node_stopped", |_| true);
}

//! Tests chat between real processes: friends who do not answer, the order of lines, missed lines
//! to all, and text that is kept as written.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Folder, Node, TestNet, eventually, holds};

/// Far below the 10 s for which a request waits for an answer, and far above the time that storing
/// takes.
const AT_ONCE: Duration = Duration::from_secs(4);

/// Makes nodes on one chain, whose users are all friends. All connect to the first one.
fn friends<const N: usize>(net: &TestNet, ids: [&str; N]) -> [Node; N] {
    let folders = ids.map(|id| net.folder(id));
    folders[0].create_chain(&folders[0].new_address());
    for folder in &folders[1..] {
        folder.join(&folders[0]);
    }
    let mut nodes: Vec<Node> = vec![folders[0].start(&[])];
    for folder in &folders[1..] {
        let node = folder.start_with_peers(&[&nodes[0]]);
        nodes.push(node);
    }
    for (at, folder) in folders.iter().enumerate() {
        folders[..at].iter().for_each(|other| folder.befriends(other));
    }
    for folder in &folders {
        for name in ids.into_iter().filter(|name| *name != folder.id) {
            await_online(folder, name, true);
        }
    }
    nodes.try_into().map_err(|_| "as many").expect("as many as names")
}

#[track_caller]
fn await_online(of: &Folder, name: &str, online: bool) {
    eventually(&format!("{} sees {name}, online: {online}", of.id), || {
        let list = of.json(["friends"]);
        let friends = list["friends"].as_array().into_iter().flatten();
        let mut named = friends.filter(|friend| friend["name"] == name);
        holds(named.any(|friend| friend["online"] == online), &list)
    });
}

/// Returns the stored lines that begin with `prefix`, in order.
fn texts(folder: &Folder, prefix: &str) -> Vec<String> {
    let history = folder.json(["history", "--limit", "1000"]);
    let messages = history["messages"].as_array().expect("messages").iter();
    let texts = messages.map(|message| message["text"].as_str().expect("a text").to_owned());
    texts.filter(|text| text.starts_with(prefix)).collect()
}

#[track_caller]
fn await_texts(folder: &Folder, prefix: &str, expected: &[String]) {
    eventually(&format!("{} has {expected:?}", folder.id), || {
        let seen = texts(folder, prefix);
        holds(seen == expected, &seen)
    });
}

fn numbered(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}{number}")).collect()
}

#[test]
fn a_sleeping_friend_delays_nothing_and_gets_the_lines_in_order_when_awake() {
    let net = TestNet::new();
    let [yzw, yjf, sr] = friends(&net, ["yzw", "yjf", "sr"]);
    let lines = numbered("asleep ", 12);
    yjf.signal("STOP");
    let mut ids = Vec::new();
    for line in &lines {
        let begun = Instant::now();
        let sent = yzw.folder.json(["chat", "yjf", line]);
        assert!(begun.elapsed() < AT_ONCE, "{line} took {:?}", begun.elapsed());
        assert_eq!(sent["state"], "queued", "{sent}");
        ids.push(sent["id"].clone());
    }
    // Another friend is not delayed either.
    let other = yzw.folder.json(["chat", "sr", "--wait", "you are awake"]);
    assert_eq!(other["state"], "delivered", "{other}");
    assert_eq!(texts(&sr.folder, "you"), ["you are awake"]);
    // The first request times out meanwhile, and is sent again.
    std::thread::sleep(Duration::from_secs(12));
    yjf.signal("CONT");
    for id in &ids {
        yzw.await_event("chat_delivered", |event| event["id"] == *id);
    }
    await_texts(&yjf.folder, "asleep", &lines);
    await_texts(&yzw.folder, "asleep", &lines);
    let states = yzw.folder.json(["history", "yjf"]);
    let states = states["messages"].as_array().expect("messages").iter();
    assert!(states.clone().all(|line| line["state"] == "delivered"), "{states:?}");
}

#[test]
fn waiting_ends_with_the_delivery_or_says_that_the_line_still_waits() {
    let net = TestNet::new();
    let [yzw, yjf] = friends(&net, ["yzw", "yjf"]);
    assert_eq!(yzw.folder.json(["chat", "yjf", "--wait", "hello"])["state"], "delivered");
    let folder = yjf.folder.clone();
    yjf.stop();
    await_online(&yzw.folder, "yjf", false);
    let waiting = std::thread::spawn({
        let yzw = yzw.folder.clone();
        move || yzw.json(["chat", "yjf", "--wait", "come back"])
    });
    let back = folder.start_with_peers(&[&yzw]);
    assert_eq!(waiting.join().expect("an answer")["state"], "delivered");
    await_texts(&back.folder, "come", &["come back".to_owned()]);
}

#[test]
fn lines_to_all_arrive_in_order_though_they_are_written_at_once() {
    let net = TestNet::new();
    let nodes = friends(&net, ["yzw", "yjf", "sr", "xzq"]);
    let lines = numbered("group ", 30);
    for line in &lines {
        let sent = nodes[1].folder.json(["broadcast", line]);
        assert_eq!((&sent["peers"], &sent["later"]), (&3.into(), &0.into()), "{sent}");
    }
    for node in &nodes {
        await_texts(&node.folder, "group", &lines);
    }
}

#[test]
fn who_was_away_gets_the_missed_lines_to_all_from_a_friend_of_the_author_once() {
    let net = TestNet::new();
    let [yzw, yjf, sr] = friends(&net, ["yzw", "yjf", "sr"]);
    let before = numbered("before ", 3);
    for line in &before {
        yjf.folder.json(["broadcast", line]);
    }
    await_texts(&sr.folder, "before", &before);
    let away = sr.folder.clone();
    sr.stop();
    await_online(&yjf.folder, "sr", false);
    let missed = numbered("missed ", 40);
    for line in &missed {
        let sent = yjf.folder.json(["broadcast", line]);
        assert_eq!((&sent["peers"], &sent["later"]), (&1.into(), &1.into()), "{sent}");
    }
    await_texts(&yzw.folder, "missed", &missed);
    // The author leaves, so only another friend can send its line.
    let author = yjf.folder.clone();
    yjf.stop();
    let sr = away.start_with_peers(&[&yzw]);
    await_texts(&away, "missed", &missed);
    await_texts(&away, "before", &before);
    let heard = sr.events_since(0, |event| event["event"] == "chat_received");
    assert_eq!(heard.len(), missed.len(), "each once");

    let yjf = author.start_with_peers(&[&yzw]);
    await_online(&away, "yjf", true);
    author.json(["broadcast", "missed 40"]);
    await_texts(&away, "missed", &numbered("missed ", 41));
    drop(yjf);
    let sent = yzw.folder.run(["broadcast", "who is here?"]).done().stdout;
    assert!(sent.contains("friend"), "{sent}");
}

#[test]
fn text_is_kept_as_written_and_harmless_when_shown() {
    let net = TestNet::new();
    let [yzw, yjf] = friends(&net, ["yzw", "yjf"]);
    let text = "hi 👩\u{200d}🚀 می\u{200c}خواهم\n2026-01-01 00:00:00 sr to all: \tfake \u{202e}x\
                \u{1b}[31m\u{9b}2J";
    yzw.folder.json(["chat", "yjf", "--wait", text]);
    yzw.folder.json(["broadcast", text]);
    let kept = vec![text.to_owned(), text.to_owned()];
    await_texts(&yjf.folder, "hi", &kept);
    await_texts(&yzw.folder, "hi", &kept);
    for args in [vec!["history"], vec!["--json", "history"]] {
        let shown = yjf.folder.run(args).done().stdout;
        assert!(shown.contains("👩\u{200d}🚀 می\u{200c}خواهم"), "{shown:?}");
        assert!(!shown.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{shown:?}");
        assert!(!shown.lines().any(|line| line.starts_with("2026-01-01")), "{shown:?}");
    }
    let id = yzw.folder.json(["note", text, "--wait"])["txid"].as_str().expect("an id").to_owned();
    assert_eq!(yzw.folder.json(["tx", &id])["memo"], text);
    let shown = yzw.folder.run(["tx", &id]).done().stdout;
    assert!(!shown.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{shown:?}");
    assert!(!shown.lines().any(|line| line.starts_with("2026-01-01")), "{shown:?}");
}

#[test]
fn the_history_is_searched_and_tells_what_is_unread() {
    let net = TestNet::new();
    let [yzw, yjf] = friends(&net, ["yzw", "yjf"]);
    for line in ["Tea at five", "or coffee", "tea it is"] {
        yzw.folder.json(["chat", "yjf", "--wait", line]);
    }
    let found = yjf.folder.json(["history", "yzw", "--search", "TEA", "--limit", "10"]);
    let found: Vec<&Value> = found["messages"].as_array().expect("lines").iter().collect();
    assert_eq!(found.len(), 2);
    assert_eq!(
        (&found[0]["text"], &found[1]["text"]),
        (&"Tea at five".into(), &"tea it is".into())
    );
    assert_eq!(yjf.folder.json(["history"])["unread"], 3);
    assert_eq!(yzw.folder.json(["history"])["unread"], 0, "own lines are read");
    let mut east = yjf.folder.command(["history"]);
    let output = east.env("TZ", "<+14>-14").output().expect("it runs");
    let east = String::from_utf8(output.stdout).expect("text");
    let mut west = yjf.folder.command(["history"]);
    let output = west.env("TZ", "<-12>12").output().expect("it runs");
    let west = String::from_utf8(output.stdout).expect("text");
    assert_ne!(east, west, "times are local");
}

#[test]
fn a_machine_that_slept_says_it_once_and_has_the_lines_it_missed() {
    let net = TestNet::new();
    let [yzw, yjf] = friends(&net, ["yzw", "yjf"]);
    let console = yjf.folder.spawn(&["console"]);
    console.await_printed(0, "yjf");
    yjf.signal("STOP");
    std::thread::sleep(Duration::from_secs(35));
    let missed = numbered("slept ", 5);
    for line in &missed {
        yzw.folder.json(["broadcast", line]);
    }
    yjf.signal("CONT");
    let said = console.await_printed(0, "back after");
    assert!(said.contains("1 friend here"), "{said}");
    await_texts(&yjf.folder, "slept", &missed);
    let printed = console.printed_since(0);
    assert_eq!(printed.matches("back after").count(), 1, "{printed}");
    assert!(!printed.contains("is gone"), "one line instead of many: {printed}");
}

#[test]
fn a_direct_line_to_who_is_away_comes_by_a_mutual_friend_once_and_in_order() {
    let net = TestNet::new();
    let [sr, yzw, yjf] = friends(&net, ["sr", "yzw", "yjf"]);
    let (author, receiver) = (yzw.folder.clone(), yjf.folder.clone());
    yjf.stop();
    await_online(&author, "yjf", false);
    await_online(&sr.folder, "yjf", false);
    let lines = numbered("sealed ", 3);
    for line in &lines {
        assert_eq!(author.json(["chat", "yjf", line])["state"], "queued");
    }
    eventually("sr keeps the three lines", || {
        let status = sr.folder.json(["status"]);
        holds(status["kept_lines"] == 3, &status["kept_lines"])
    });
    eventually("yzw has left them", || {
        let history = author.json(["history", "yjf"]);
        let mut own = history["messages"].as_array().expect("messages").iter();
        holds(own.all(|line| line["state"] == "queued" && line["left_with"] == 1), &history)
    });
    let shown = author.run(["history", "yjf"]).done().stdout;
    assert!(shown.contains("(queued, left with 1 friend)"), "{shown}");
    // The author leaves. Its line is delivered all the same.
    yzw.stop();
    let yjf = receiver.start_with_peers(&[&sr]);
    await_texts(&receiver, "sealed", &lines);
    eventually("sr keeps none of them", || {
        let status = sr.folder.json(["status"]);
        holds(status["kept_lines"] == 0, &status["kept_lines"])
    });
    // The author is back, and learns from the receiver that the lines have arrived.
    let yzw = author.start_with_peers(&[&sr, &yjf]);
    eventually("yzw knows that the lines have arrived", || {
        let history = author.json(["history", "yjf"]);
        let mut own = history["messages"].as_array().expect("messages").iter();
        holds(own.all(|line| line["state"] == "delivered"), &history)
    });
    assert_eq!(texts(&receiver, "sealed"), lines, "no duplicate");
    let heard = yjf.events_since(0, |event| event["event"] == "chat_received");
    assert_eq!(heard.len(), lines.len(), "each once");
    drop(yzw);
}

//! Tests `observe` on the logs of real nodes.

use std::{
    fs::{self, OpenOptions},
    io::Write,
};

use crate::support::{
    TestNet,
    chain::{await_one_tip, number, text},
    eventually, holds,
};

#[test]
fn the_logs_of_two_nodes_tell_who_mined_what_and_how_it_spread() {
    let net = TestNet::new();
    let (one, two) = (net.folder("yzw"), net.folder("yjf"));
    let address = one.new_address();
    one.create_chain(&address);
    two.join(&one);
    // The nodes must create the folder themselves.
    let logs = net.file("logs", "");
    fs::remove_file(&logs).expect("removed");
    let first = one.start(&["--log-dir", &logs]);
    let second = two.start(&["--log-dir", &logs, "--peer", &first.address]);
    one.befriends(&two);
    eventually("each sees the other", || {
        let friends = [one.json(["friends"]), two.json(["friends"])];
        holds(friends.iter().all(|answer| answer["friends"][0]["online"] == true), friends)
    });
    let mined = one.mine(3, Some(&address));
    await_one_tip(&[&one, &two], 3);
    two.json(["broadcast", "good", "morning"]);
    second.await_event("chat_sent", |_| true);
    first.await_event("chat_received", |_| true);
    first.stop();
    second.stop();
    fs::write(format!("{logs}/torn.log"), "{\"timestamp\":\"2026-01-0").expect("written");

    let page = format!("{logs}/report.html");
    let told = one.json(["observe", &logs, "--html", &page]);
    assert_eq!(number(&told["broken_lines"]), 1);
    assert_eq!(told["nodes"].as_array().map(Vec::len), Some(2), "{told}");
    let blocks: Vec<_> = told["blocks"]
        .as_array()
        .expect("blocks")
        .iter()
        .filter(|row| row["miner"] == "yzw")
        .collect();
    assert_eq!(blocks.iter().map(|row| text(&row["hash"])).collect::<Vec<_>>(), mined);
    for row in &blocks {
        assert_eq!(
            (&row["stale"], number(&row["spread_ms"]["count"])),
            (&false.into(), 1),
            "{row}"
        );
    }
    assert_eq!(told["chat"][0]["from"], "yjf");
    assert_eq!(number(&told["chat"][0]["received"]), 1);

    let page = fs::read_to_string(page).expect("the page");
    assert!(page.contains(&mined[0][..16]) && page.contains("yjf"));
    assert!(!page.contains("good morning"), "what was said is in no log");
    let text = one.run(["observe", &logs]).done().stdout;
    assert!(text.contains("mined block 3") && text.contains("wrote to all"), "{text}");
}

#[test]
fn what_is_no_log_is_a_sentence() {
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let notes = net.file("notes.log", "these are\nmy notes\n");
    let (code, sentence) = folder.refused(&["observe", &notes]);
    assert_eq!(code, "observe");
    assert!(sentence.contains("lines (2)") && sentence.contains("--log-format json"), "{sentence}");
    let (_, sentence) = folder.refused(&["observe", "/nowhere/at.all"]);
    assert!(sentence.contains("/nowhere/at.all"), "{sentence}");
}

/// Formats a log line at a second of one minute.
fn line(second: u32, event: &str) -> String {
    let start = format!(r#"{{"timestamp":"2026-01-01T00:00:{second:02}.000000Z","level":"INFO""#);
    format!(r#"{start},"node":"yzw","event":{event}}}"#)
}

#[test]
fn what_is_followed_is_told_once_each_also_when_it_comes_late_or_as_the_last() {
    let net = TestNet::new();
    let log = net.file("yzw.log", &format!("{}\n", line(10, r#""node_started""#)));
    let append = |text: &str| {
        let mut file = OpenOptions::new().append(true).open(&log).expect("opened");
        file.write_all(text.as_bytes()).expect("written");
    };
    let mut observer = net.folder("yzw").spawn(&["observe", "--follow", &log]);
    // The log stays silent, so that nothing makes this entry two seconds old.
    observer.await_printed(0, "started");
    append(&format!("{}\n", line(20, r#""friend_joined","name":"sr""#)));
    observer.await_printed(0, "sees sr");
    append(&format!("{}\n", line(5, r#""friend_joined","name":"hjs""#)));
    observer.await_printed(0, "sees hjs");
    // The last line has no newline, and the signal comes before it is two seconds old.
    append(&line(21, r#""friend_joined","name":"xzq""#));
    observer.signal("INT");
    assert!(observer.await_end().success());
    observer.await_printed(0, "sees xzq");
    let printed = observer.printed_since(0);
    let told: Vec<_> = printed.lines().filter_map(|line| line.split("  ").last()).collect();
    assert_eq!(told, ["started", "sees sr", "sees hjs", "sees xzq"]);
}

#[test]
fn standard_input_is_followed_until_a_signal_or_its_end() {
    let net = TestNet::new();
    let started = line(10, r#""node_started""#);
    let mut observer = net.folder("yzw").spawn(&["observe", "-", "--follow"]);
    observer.say(&started);
    observer.await_printed(0, "started");
    observer.signal("INT");
    assert!(observer.await_end().success());

    let mut observer = net.folder("yzw").spawn(&["observe", "-", "--follow"]);
    observer.say(&started);
    observer.end_input();
    assert!(observer.await_end().success());
    observer.await_printed(0, "started");
}

#[test]
fn a_page_takes_the_place_of_no_log_that_is_followed() {
    let net = TestNet::new();
    let text = format!("{}\n", line(10, r#""node_started""#));
    let log = net.file("yzw.log", &text);
    let mut observer = net.folder("yzw").spawn(&["observe", "--follow", &log, "--html", &log]);
    assert_eq!(observer.await_end().code(), Some(1));
    assert_eq!(fs::read_to_string(&log).expect("the log"), text);
}

//! Tests names: valid ones, the holder of a plain one, and forgetting, blocking and renaming.

use serde_json::Value;

use crate::support::{
    Folder, Node, TestNet, chain::text, eventually, holds, ports::free_port, terminal::Terminal,
    tools::terminal_wanted,
};

/// Returns the entry of a peer in `friends --json`.
fn entry(of: &Folder, peer_id: &str) -> Result<Value, String> {
    let answer = of.try_json(["friends"])?;
    let friends = answer["friends"].as_array().ok_or_else(|| answer.to_string())?;
    let found = friends.iter().find(|friend| friend["peer_id"] == peer_id);
    found.cloned().ok_or_else(|| answer.to_string())
}

/// Waits until a peer is in the list with these values.
#[track_caller]
fn await_entry(of: &Folder, peer_id: &str, values: &[(&str, Value)]) -> Value {
    eventually(&format!("{} lists {values:?}", of.id), || {
        let seen = entry(of, peer_id)?;
        holds(values.iter().all(|(field, value)| seen[*field] == *value), &seen)?;
        Ok(seen)
    })
}

#[track_caller]
fn peer_id(of: &Folder) -> String {
    text(&of.json(["status"])["peer_id"])
}

/// Starts a friend of `first` with a name, and waits until both know each other.
#[track_caller]
fn join_as(first: &Node, folder: &Folder, name: &str) -> Node {
    folder.join(&first.folder);
    folder.new_address();
    let node = folder.start(&["--name", name, "--peer", &first.address]);
    first.folder.befriends(folder);
    let id = peer_id(folder);
    await_entry(&first.folder, &id, &[("online", true.into())]);
    node
}

/// Starts the first node of a chain of its own.
#[track_caller]
fn first_of_a_chain(folder: &Folder) -> Node {
    folder.create_chain(&folder.new_address());
    folder.people("127.0.0.1", free_port(), &["--no-mdns"])
}

#[test]
fn a_namesake_from_somewhere_else_is_told_apart_by_its_suffix() {
    let net = TestNet::new();
    let ann = first_of_a_chain(&net.folder("ann"));
    let (one, two, mine) = (net.folder("one"), net.folder("two"), net.folder("three"));
    let _one = join_as(&ann, &one, "yzw");
    // The first letter is Cyrillic.
    let namesake = join_as(&ann, &two, "уzw");
    let _mine = join_as(&ann, &mine, "Ann");
    let (one_id, two_id, mine_id) = (peer_id(&one), peer_id(&two), peer_id(&mine));

    await_entry(&ann.folder, &one_id, &[("name", "yzw".into())]);
    let other = entry(&ann.folder, &two_id).expect("it is listed");
    let called = format!("уzw#{}", text(&other["suffix"]));
    assert_eq!(other["name"], called.as_str());
    ann.await_event("friend_joined", |event| {
        event["peer"] == two_id.as_str() && event["name"] == called.as_str()
    });
    let own = entry(&ann.folder, &mine_id).expect("it is listed");
    assert_eq!(own["name"], format!("Ann#{}", text(&own["suffix"])), "ann is the node itself");

    let mark = ann.log_mark();
    let printed = ann.output_mark();
    namesake.stop();
    let left = ann.await_event_since(mark, "friend_left", |event| event["name"] != "");
    assert_eq!((&left["name"], &left["peer"]), (&called.as_str().into(), &two_id.as_str().into()));
    ann.await_printed(printed, &called);

    ann.folder.json(["chat", "yzw", "for the first"]);
    eventually("the first yzw has the line", || {
        let history = one.try_json(["history"])?;
        holds(history["messages"][0]["text"] == "for the first", history)
    });
    let (code, sentence) = ann.folder.refused(&["chat", "ann", "to whom?"]);
    assert_eq!(code, "note_to_self");
    assert!(sentence.contains(&text(&own["name"])), "{sentence}");
    // A name typed in the namesake's spelling does not mean the first peer.
    assert_eq!(ann.folder.refused(&["chat", "уzw", "to whom?"]).0, "ambiguous_friend");
}

/// Pays a shared name: on a terminal, where the answer no pays nothing, and in a console, where yes
/// pays.
fn ask_whom_to_pay(folder: &Folder) {
    let shell = Terminal::open(folder, "whom", &["send", "1", "yzw"]);
    shell.await_screen("the question", |screen| screen.contains("Pay yzw#"));
    shell.say("n");
    let screen = shell.await_screen("its end", |screen| screen.ends_with("ended: 1"));
    assert!(screen.contains("could also mean YZW#"), "{screen}");
    assert!(screen.contains("nothing was paid"), "{screen}");
    let console = Terminal::open(folder, "whom-there", &["console"]);
    console.await_screen("the prompt", |screen| screen.ends_with("> ") || screen.ends_with('>'));
    console.say("send 1 yzw");
    console.await_screen("the question", |screen| screen.contains("Pay yzw#"));
    console.say("y");
    console.await_screen("the payment", |screen| screen.contains("It pays 1 to"));
}

#[test]
fn paying_by_a_shared_name_is_confirmed_once() {
    let net = TestNet::new();
    let ann = first_of_a_chain(&net.folder("ann"));
    let (one, two) = (net.folder("one"), net.folder("two"));
    let _one = join_as(&ann, &one, "yzw");
    let _two = join_as(&ann, &two, "YZW");
    let (one_id, two_id) = (peer_id(&one), peer_id(&two));
    for id in [&one_id, &two_id] {
        eventually("the profile has an address", || {
            let seen = entry(&ann.folder, id)?;
            holds(seen["address"].is_string(), seen)
        });
    }
    let from = text(&ann.folder.json(["list-addresses"])["addresses"][0]["address"]);
    let pay = |to: &str| ["send", "--from", &from, "--amount", "1", "--to", to].map(str::to_owned);
    let words = pay("yzw");
    let (code, sentence) = ann.folder.refused(&words.each_ref().map(String::as_str));
    assert_eq!(code, "suffix_too_short");
    let named: Vec<&str> = sentence
        .split_whitespace()
        .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()))
        .filter(|word| word.contains('#'))
        .collect();
    assert!(named.len() == 2 && named[0].starts_with("yzw#") && named[1].starts_with("YZW#"));
    if terminal_wanted() {
        ask_whom_to_pay(&ann.folder);
    } else {
        ann.folder.json(pay(named[0]));
    }
    ann.folder.json(["mine", "1"]);
    let paid = ann.folder.json(pay("yzw"));
    assert_eq!(paid["state"], "mempool", "it is asked once: {paid}");
}

#[test]
fn whoever_is_forgotten_leaves_the_list_and_the_chat_stays() {
    let net = TestNet::new();
    let mut ann = first_of_a_chain(&net.folder("ann"));
    let ghost = net.folder("ghost");
    let node = join_as(&ann, &ghost, "yzw");
    let id = peer_id(&ghost);
    node.kill();
    await_entry(&ann.folder, &id, &[("online", false.into())]);
    ann.folder.json(["chat", "yzw", "where", "are", "you?"]);
    let forgotten = ann.folder.json(["forget", "yzw"]);
    assert_eq!(forgotten["forgotten"], true, "{forgotten}");
    assert_eq!((&forgotten["name"], &forgotten["peer_id"]), (&"yzw".into(), &id.as_str().into()));
    assert!(entry(&ann.folder, &id).is_err(), "it is not listed");
    assert_eq!(ann.folder.refused(&["forget", "yzw#00000000"]).0, "unknown_friend");
    let message = &ann.folder.json(["history"])["messages"][0];
    assert!(text(&message["to"]).starts_with("yzw#"), "its name stays: {message}");
    ann.ask("forget nobody", &["no friend is called 'nobody'"]);
}

#[test]
fn whoever_is_blocked_is_shut_out_until_the_block_is_lifted() {
    let net = TestNet::new();
    let ann_folder = net.folder("ann");
    let mut ann = first_of_a_chain(&ann_folder);
    let pest = net.folder("pest");
    let node = join_as(&ann, &pest, "yzw");
    let id = peer_id(&pest);
    ann.ask("block-friend yzw", &["yzw is blocked"]);
    let seen = await_entry(&ann.folder, &id, &[("level", "blocked".into())]);
    assert_eq!(seen["online"], false, "{seen}");
    node.await_event("friend_left", |event| event["name"] == "ann");
    pest.json(["chat", "ann", "let me in"]);
    let label = text(&seen["name"]);
    assert_eq!(ann.folder.refused(&["chat", &label, "no"]).0, "blocked");
    assert_eq!(ann.folder.refused(&["accept-friend", &label]).0, "blocked");

    let address = ann.address.clone();
    let port: u16 = address.rsplit('/').next().and_then(|port| port.parse().ok()).expect("a port");
    ann.end_input();
    assert!(ann.await_end().success());
    let ann = ann_folder.people("127.0.0.1", port, &["--no-mdns"]);
    let seen = entry(&ann.folder, &id).expect("it is listed");
    assert_eq!(seen["level"], "blocked", "after a restart, too");
    let peers = ann.folder.json(["peers"]);
    assert!(!peers["peers"].to_string().contains(&id), "{peers}");

    let lifted = ann.folder.json(["unblock-friend", "yzw"]);
    assert_eq!((&lifted["blocked"], &lifted["name"]), (&false.into(), &"yzw".into()));
    assert_eq!(ann.folder.refused(&["unblock-friend", "yzw"]).0, "not_blocked");
    await_entry(&ann.folder, &id, &[("level", "friend".into()), ("online", true.into())]);
    eventually("the line that waited arrives", || {
        let history = ann.folder.try_json(["history"])?;
        holds(history["messages"].to_string().contains("let me in"), history)
    });
}

#[test]
fn a_new_name_is_seen_by_friends_at_once_and_kept_for_the_next_start() {
    let net = TestNet::new();
    let ann = first_of_a_chain(&net.folder("ann"));
    let folder = net.folder("one");
    let node = join_as(&ann, &folder, "yzw");
    let id = peer_id(&folder);
    let renamed = folder.json(["rename", "Zoe\u{308}"]);
    assert_eq!(renamed["name"], "Zoë", "{renamed}");
    assert_eq!(node.status()["name"], "Zoë");
    await_entry(&ann.folder, &id, &[("name", "Zoë".into())]);
    ann.await_printed(0, "yzw is called Zoë now");
    for wrong in ["a b", "yz\u{ad}w", "fc1x", "all", "Everybody", "you", "yоu", "yourself"] {
        assert_eq!(folder.refused(&["rename", wrong]).0, "bad_name", "{wrong:?}");
    }
    let (_, sentence) = folder.refused(&["rename", "all"]);
    assert!(sentence.contains("choose another"), "what to do next: {sentence}");
    node.stop();
    // Without a running node the command changes the folder.
    assert_eq!(folder.json(["rename", "Zora"])["name"], "Zora");
    let node = folder.start(&["--peer", &ann.address]);
    assert_eq!(node.status()["name"], "Zora");
    await_entry(&ann.folder, &id, &[("name", "Zora".into())]);
}

#[test]
fn names_of_any_script_are_names_and_node_ids_and_hidden_characters_are_neither() {
    let net = TestNet::new();
    for name in ["ก้อง", "मुक्ता", "கார்த்திக்"] {
        let folder = net.folder(name);
        folder.create_chain(&folder.new_address());
        let mut node = folder.people("127.0.0.1", free_port(), &["--no-mdns"]);
        assert_eq!(node.status()["name"], name);
        node.end_input();
        assert!(node.await_end().success());
    }
    let folder = net.folder("yzw");
    for hidden in ["\u{ad}", "\u{3164}", "\u{fe0f}", "\u{61c}", "\u{180e}", "\u{200d}"] {
        let answer = folder.run(["start-node", "--no-mdns", "--name", &format!("yz{hidden}w")]);
        assert_eq!(answer.code, Some(2), "{answer:?}");
        let code_point = format!("U+{:04X}", u32::from(hidden.chars().next().expect("one")));
        assert!(answer.stderr.contains(&code_point), "{answer:?}");
    }
}

//! Tests that two copies of one folder that run at once both warn.

use std::{fs, time::Duration};

use crate::support::{
    Folder, Node, TestNet, eventually, eventually_within, holds,
    ports::free_port,
    tools::{Lan, namespaces_wanted},
};

/// Gives a folder the identity and the chain of another, like a copy.
fn copy(from: &Folder, to: &Folder) {
    fs::create_dir(to.path()).expect("a folder");
    for file in ["identity.key", "chain.redb"] {
        fs::copy(from.path().join(file), to.path().join(file)).expect("copied");
    }
}

fn port_of(node: &Node) -> u16 {
    node.address.rsplit('/').next().and_then(|port| port.parse().ok()).expect("a port")
}

/// Waits until a node warns that a copy of its folder runs.
#[track_caller]
fn await_warning(node: &Node) {
    node.await_event("copy_runs", |_| true);
    eventually("the status names the copy", || {
        let status = node.folder.json(["status"]);
        if status["copy"]["seen"].is_u64() { Ok(()) } else { Err(status.to_string()) }
    });
    let said = node.folder.run(["status"]).done().stdout;
    assert!(said.contains("WARNING: a copy of this node's folder runs"), "{said}");
}

#[test]
fn two_copies_on_one_machine_are_told_at_both_ends_of_the_call() {
    let net = TestNet::new();
    let (one, other) = (net.folder("yzw"), net.folder("copy"));
    one.create_chain(&one.new_address());
    copy(&one, &other);
    let first = one.start(&[]);
    let second = other.start_with_peers(&[&first]);
    await_warning(&first);
    await_warning(&second);
}

#[test]
fn the_warning_of_a_copy_is_taken_back_once_when_the_copy_ends() {
    let net = TestNet::new();
    let (one, other) = (net.folder("yzw"), net.folder("copy"));
    one.create_chain(&one.new_address());
    copy(&one, &other);
    let first = one.start(&[]);
    let second = other.people("127.0.0.1", free_port(), &["--no-mdns", "--peer", &first.address]);
    await_warning(&second);
    let (address, port) = (first.address.clone(), port_of(&first));
    first.stop();
    // The address is dialed every 20 to 40 s, and has to refuse twice.
    let taken_back = format!("the copy of this node's folder at {address} has ended");
    eventually_within(Duration::from_mins(4), "the warning is taken back", || {
        let printed = second.printed_since(0);
        holds(printed.matches(&taken_back).count() == 1, &printed)
    });
    second.await_event("copy_ended", |event| event["address"] == address.as_str());
    assert_eq!(other.json(["status"])["copy"], serde_json::Value::Null);
    assert!(!other.run(["status"]).done().stdout.contains("WARNING"));
    // A copy that starts again is a reason to warn again.
    let mark = second.output_mark();
    let again = one.start_at(port, &["--peer", &second.address]);
    second.await_printed(mark, "WARNING: a copy of this node's folder runs");
    drop(again);
}

#[test]
fn two_copies_that_cannot_reach_each_other_are_told_through_a_friend_of_both() {
    let net = TestNet::new();
    let (one, other, friend) = (net.folder("yzw"), net.folder("copy"), net.folder("yjf"));
    one.create_chain(&one.new_address());
    friend.join(&one);
    copy(&one, &other);
    let between = friend.start(&[]);
    let nodes = [&one, &other].map(|folder| {
        let node = folder.start_with_peers(&[&between]);
        folder.befriends(&friend);
        node
    });
    for node in &nodes {
        // Friends are asked for profiles at least once a minute.
        eventually_within(Duration::from_mins(4), "the copy is told", || {
            let status = node.folder.json(["status"]);
            if status["copy"]["seen"].is_u64() { Ok(()) } else { Err(status.to_string()) }
        });
    }
}

#[test]
fn two_copies_of_one_folder_on_a_lan_are_told_in_both_consoles() {
    if !namespaces_wanted() {
        return;
    }
    let net = TestNet::new();
    let lan = Lan::new(2);
    let (one, other) = (net.folder("yzw"), net.folder("copy"));
    one.create_chain(&one.new_address());
    copy(&one, &other);
    let start = |folder: &Folder, number: usize| {
        let folder = folder.clone().in_namespace(&lan.hosts[number - 1]);
        folder.people(&Lan::address(number), 8_891, &[])
    };
    let (first, second) = (start(&one, 1), start(&other, 2));
    for node in [&first, &second] {
        node.await_printed(0, "WARNING: a copy of this node's folder runs");
        await_warning(node);
    }
}

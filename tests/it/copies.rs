//! Tests that two copies of one folder that run at once both warn.

use std::{fs, time::Duration};

use crate::support::{
    Folder, Node, TestNet, eventually, eventually_within,
    tools::{Lan, namespaces_wanted},
};

/// Gives a folder the identity and the chain of another, like a copy.
fn copy(from: &Folder, to: &Folder) {
    fs::create_dir(to.path()).expect("a folder");
    for file in ["identity.key", "chain.redb"] {
        fs::copy(from.path().join(file), to.path().join(file)).expect("copied");
    }
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

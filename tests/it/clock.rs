//! Tests nodes whose wall clock libfaketime sets wrong, at the start and while they run.
//!
//! The monotonic clock stays right, as on a machine whose clock somebody sets.

use serde_json::Value;

use crate::support::{
    Folder, Node, TestNet,
    chain::{await_one_tip, text},
    eventually, holds,
    ports::free_port,
    tools::{Clock, clocks_wanted},
};

/// Offsets of the wall clock, and a name for each.
const WRONG: [(&str, &str); 4] =
    [("back1h", "-1h"), ("ahead1h", "+1h"), ("back3d", "-3d"), ("ahead3d", "+3d")];

/// Returns the penalties and departures that a node has reported.
fn charges(node: &Node) -> Vec<Value> {
    node.events_since(0, |event| {
        ["peer_penalised", "peer_disconnected"].iter().any(|name| event["event"] == *name)
    })
}

fn peer_id(node: &Node) -> String {
    text(&node.status()["peer_id"])
}

/// Returns the friend with this id among a folder's friends.
fn friend(of: &Folder, id: &str) -> Result<Value, String> {
    let answer = of.try_json(["friends"])?;
    let friends = answer["friends"].as_array().ok_or_else(|| answer.to_string())?;
    friends.iter().find(|friend| friend["peer_id"] == id).cloned().ok_or_else(|| answer.to_string())
}

#[track_caller]
fn await_friend(of: &Folder, id: &str) {
    eventually(&format!("{} sees its friend", of.id), || {
        let seen = friend(of, id)?;
        holds(seen["online"] == true, seen)
    });
}

#[test]
fn a_clock_that_jumps_stops_no_sync_and_charges_and_forgets_nobody() {
    let Some(library) = clocks_wanted() else { return };
    let net = TestNet::new();
    // The chain's own time is older than any of the wrong clocks, so that no header is early.
    let miner = net.folder("miner").with_clock(&Clock::new(&library, &net, "miner", "-5d"));
    let clock = Clock::new(&library, &net, "jumper", "+0");
    let jumper = net.folder("jumper").with_clock(&clock);
    miner.apart_from_others(&jumper);
    let mining = miner.start(&[]);
    let jumping = jumper.start_with_peers(&[&mining]);
    miner.mine(1, None);
    let (mut height, _) = await_one_tip(&[&miner, &jumper], 1);
    for (_, offset) in WRONG {
        clock.set(offset);
        // One block by announcement, and a few by catching up.
        miner.mine(3, None);
        height = await_one_tip(&[&miner, &jumper], height + 3).0;
    }
    clock.set("+0");
    assert_eq!((charges(&mining), charges(&jumping)), (Vec::new(), Vec::new()));
    assert_eq!(jumping.status()["peers"], 1);
}

#[test]
fn a_node_that_started_with_a_wrong_clock_finds_its_friends_once_it_is_right() {
    let Some(library) = clocks_wanted() else { return };
    let net = TestNet::new();
    let home = net.folder("home");
    home.create_chain(&home.new_address());
    // Each side dials the other's address as its user's choice, so all are friends.
    let addresses = WRONG.map(|_| free_port());
    let peers = addresses.map(|port| format!("--peer=/ip4/127.0.0.1/tcp/{port}"));
    let node = home.start(&peers.each_ref().map(String::as_str));
    let here = peer_id(&node);
    let others: Vec<_> = WRONG
        .iter()
        .zip(addresses)
        .map(|((name, offset), port)| {
            let clock = Clock::new(&library, &net, name, "+0");
            let folder = net.folder(name).with_clock(&clock);
            folder.join(&home);
            clock.set(offset);
            let other = folder.start_at(port, &["--peer", &node.address]);
            other.await_event("peer_connected", |event| event["peer"] == here.as_str());
            (clock, other)
        })
        .collect();
    for (clock, _) in &others {
        clock.set("+0");
    }
    for (_, other) in &others {
        await_friend(&other.folder, &here);
        await_friend(&home, &peer_id(other));
        let words = format!("Welcome, {}", other.folder.id);
        home.json(["chat", &peer_id(other), &words]);
        eventually("the line is there", || {
            let lines = other.folder.try_json(["history"])?.to_string();
            holds(lines.contains(&words), lines)
        });
        home.mine(1, None);
    }
    let folders: Vec<_> = others.iter().map(|(_, other)| &other.folder).chain([&home]).collect();
    await_one_tip(&folders, 4);
    assert!(charges(&node).iter().all(|event| event["event"] != "peer_penalised"));
}

//! Tests that friends on one Ethernet find each other by mDNS alone, on hosts without a route out.

use crate::support::{
    DEADLINE, Node, TestNet,
    chain::{await_one_tip, text},
    eventually, eventually_within, holds,
    tools::{Lan, namespaces_wanted},
};

#[test]
fn friends_on_one_lan_meet_by_mdns_alone() {
    if !namespaces_wanted() {
        return;
    }
    let names = ["yzw", "yjf", "sr"];
    let lan = Lan::new(names.len());
    let net = TestNet::new();
    // Each host has its own 127.0.0.1:8891, so the usual meeting place has no node.
    let mut consoles: Vec<Node> = names
        .iter()
        .zip(&lan.hosts)
        .zip(1..)
        .map(|((name, host), number)| {
            net.folder(name).in_namespace(host).people(&Lan::address(number), 8_891, &[])
        })
        .collect();

    for console in &mut consoles {
        let own = console.folder.id.clone();
        let others: Vec<_> = names.into_iter().filter(|name| *name != own).collect();
        console.ask("lf", &others);
    }
    consoles[0].say("b found by mDNS");
    let folders: Vec<_> = consoles.iter().map(|console| console.folder.clone()).collect();
    eventually("the note is on every chain once", || {
        let counts: Vec<_> =
            folders.iter().map(|folder| folder.notes_saying("found by mDNS")).collect();
        holds(counts.iter().all(|count| *count == 1), counts)
    });
}

#[test]
fn friends_on_a_lan_without_ipv4_meet_by_mdns_alone() {
    if !namespaces_wanted() {
        return;
    }
    let lan = Lan::new(2);
    lan.only_ipv6();
    let net = TestNet::new();
    let start = |name: &str, host: &str| {
        let node = net.folder(name).in_namespace(host).spawn(&["people", name]);
        node.await_event("node_started", |_| true);
        node
    };
    let (one, two) = (start("yzw", &lan.hosts[0]), start("yjf", &lan.hosts[1]));
    one.await_event("friend_joined", |event| event["name"] == "yjf");
    two.await_event("friend_joined", |event| event["name"] == "yzw");
}

/// A pulled cable closes no connection and sends no goodbye, so that only silence shows it.
#[test]
fn a_pulled_cable_is_noticed_and_friends_meet_again_when_it_is_back() {
    if !namespaces_wanted() {
        return;
    }
    let lan = Lan::new(2);
    let net = TestNet::new();
    let start = |name: &str, number: usize| {
        let folder = net.folder(name).in_namespace(&lan.hosts[number - 1]);
        folder.people(&Lan::address(number), 8_891, &[])
    };
    let (one, two) = (start("yzw", 1), start("yjf", 2));
    one.await_event("friend_joined", |event| event["name"] == "yjf");
    two.await_event("friend_joined", |event| event["name"] == "yzw");

    lan.plug(2, false);
    // Several pings must stay unanswered, which takes longer than anything else here.
    let lost =
        |event: &serde_json::Value| event["event"] == "friend_left" && event["how"] == "lost";
    eventually_within(DEADLINE * 2, "the silence is noticed", || {
        holds(!one.events_since(0, lost).is_empty(), "friend_left was not logged")
    });
    let mark = one.log_mark();
    lan.plug(2, true);
    one.await_event_since(mark, "friend_joined", |event| event["name"] == "yjf");
}

#[test]
fn nodes_of_other_chains_on_the_lan_leave_each_other_alone() {
    if !namespaces_wanted() {
        return;
    }
    let lan = Lan::new(3);
    let net = TestNet::new();
    let folders: Vec<_> = ["a", "b", "c"]
        .iter()
        .zip(&lan.hosts)
        .map(|(id, host)| net.folder(id).in_namespace(host))
        .collect();
    let address = folders[0].new_address();
    folders[0].create_chain(&address);
    folders[1].join(&folders[0]);
    let other = folders[2].new_address();
    folders[2].create_chain(&other);

    let start = |number: usize| {
        let listen = format!("/ip4/{}/tcp/8891", Lan::address(number));
        let node = folders[number - 1].spawn(&["start-node", "--listen", &listen]);
        node.await_event("node_started", |_| true);
        node
    };
    let (one, two, three) = (start(1), start(2), start(3));
    one.await_event("wrong_network", |event| event["peer"] == three.status()["peer_id"]);
    folders[0].mine(2, Some(&address));
    await_one_tip(&[&folders[0], &folders[1]], 2);
    let stranger = three.status();
    assert_eq!(stranger["height"], 0, "{stranger}");
    assert_ne!(text(&stranger["network_id"]), text(&two.status()["network_id"]));
}

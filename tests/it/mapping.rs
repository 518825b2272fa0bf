//! Tests that a router maps the ports of a node, on hosts with a default gateway of their own.

#[path = "../../src/net/mapping/router.rs"]
mod router;

use std::{fs::File, net::UdpSocket, os::fd::AsFd, thread};

use router::{PORT, Router, nat_pmp, pcp};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::support::{
    Node, TestNet, eventually, holds,
    tools::{Lan, namespaces_wanted, shell},
};

/// Opens the port of routers on a host.
fn socket_of(lan: &Lan, number: usize) -> UdpSocket {
    let namespace = format!("/run/netns/{}", lan.hosts[number - 1]);
    let open = move || {
        let there = File::open(namespace).expect("a namespace");
        move_into_link_name_space(there.as_fd(), Some(LinkNameSpaceType::Network)).expect("root");
        UdpSocket::bind((Lan::address(number), PORT)).expect("the host's address")
    };
    // The socket stays in the namespace; the thread that entered it ends.
    thread::spawn(open).join().expect("a socket")
}

/// Waits until the router has mapped the node's ports, to these addresses alone.
#[track_caller]
fn await_mapped(node: &Node, router: &str, ip: &str) {
    let wanted = [format!("/ip4/{ip}/tcp/8892"), format!("/ip4/{ip}/udp/8892/quic-v1")];
    eventually(&format!("{router} maps to {ip}"), || {
        let reach = node.status()["reach"].clone();
        let addresses: Vec<_> = reach["addresses"].as_array().into_iter().flatten().collect();
        let mapped: Vec<_> =
            addresses.iter().filter(|it| it.as_str().is_some_and(is_public)).collect();
        let is_so = reach["way"] == "mapped"
            && reach["router"] == router
            && mapped.len() == wanted.len()
            && wanted.iter().all(|it| mapped.iter().any(|at| at.as_str() == Some(it)));
        holds(is_so, reach)
    });
}

fn is_public(address: &str) -> bool {
    address.starts_with("/ip4/5.")
}

#[test]
fn a_router_maps_the_ports_and_the_next_network_s_router_does_by_its_own_protocol() {
    if !namespaces_wanted() {
        return;
    }
    let lan = Lan::new(3);
    let host = &lan.hosts[0];
    let home = Router::at(socket_of(&lan, 2), pcp([5, 1, 0, 1].into(), 3_600));
    let cafe = Router::at(socket_of(&lan, 3), nat_pmp([5, 2, 0, 1].into(), 3_600));
    shell(&format!("ip -n {host} route add default via {}", Lan::address(2)));

    let net = TestNet::new();
    let folder = net.folder("yzw").in_namespace(host);
    folder.create_chain(&folder.new_address());
    let node = folder.spawn(&["start-node", "--no-mdns", "--listen", "8891"]);
    node.await_event("node_started", |_| true);
    await_mapped(&node, "pcp", "5.1.0.1");
    let is_pcp = |request: &Vec<u8>| request.first() == Some(&2);
    assert!(home.asked().iter().all(is_pcp), "PCP suffices: {:?}", home.asked());
    assert!(cafe.asked().is_empty(), "only the default gateway is asked");

    // The machine gets an address and a gateway of another network.
    shell(&format!(
        "ip -n {host} addr flush dev eth0 && ip -n {host} addr add 10.88.0.77/24 dev eth0 && \
         ip -n {host} route add default via {}",
        Lan::address(3),
    ));
    await_mapped(&node, "nat_pmp", "5.2.0.1");
    node.stop();
    assert_eq!(cafe.deletions(), 2, "a node that ends leaves no port open: {:?}", cafe.asked());
}

//! Tests of connections: made, refused, lost and made again.

use std::{net::TcpListener, time::Duration};

use prometheus_client::registry::Registry;

use super::{Node, config, pair};
use crate::{
    net::{CommandError, Identity, NetConfig, NetError, NetEvent, Told, event::DialError, spawn},
    peers::Trust,
};

#[tokio::test]
async fn a_seed_without_an_id_is_dialed_and_known_by_its_key() {
    let b = Node::start().await;
    let mut knows = config();
    knows.peers = vec![b.address.clone()];
    let mut a = Node::with(knows).await;
    a.connected_to(b.id()).await;
}

#[tokio::test]
async fn a_peer_that_restarts_is_found_again() {
    let b_config = config();
    let mut b = Node::with(b_config.clone()).await;
    let mut knows = config();
    knows.peers = vec![b.address.clone()];
    let mut a = Node::with(knows).await;
    a.connected_to(b.id()).await;
    b.connected_to(a.id()).await;
    b.handle.shutdown().await;
    a.disconnected_from(b.id()).await;
    a.until(|event| matches!(event, NetEvent::DialFailed { .. }).then_some(())).await;
    let again = NetConfig { listen: vec![b.address.clone()], ..b_config };
    let again = Node::with(again).await;
    assert_eq!(again.id(), b.id());
    a.connected_to(b.id()).await;
}

#[tokio::test]
async fn a_peer_that_the_user_named_is_a_friend_whichever_end_dials() {
    let b_config = config();
    let b = Node::with(b_config.clone()).await;
    let mut knows_b = config();
    knows_b.peers = vec![format!("{}/p2p/{}", b.address, b.id())];
    let trust = knows_b.trust.clone();
    b.handle.shutdown().await;
    let mut a = Node::with(knows_b).await;
    // No node listens at the address that the user gave: only the other end can dial.
    let moved = NetConfig { peers: vec![a.address.clone()], ..b_config };
    let again = Node::with(moved).await;
    a.connected_to(again.id()).await;
    assert!(trust.is_friend(&again.id()));
}

#[tokio::test]
async fn a_peer_at_the_meeting_place_is_met_and_is_no_friend() {
    for is_lan in [true, false] {
        let b = Node::start().await;
        let mut meets = config();
        meets.meeting_place = Some(b.address.clone());
        meets.trust = Trust::new([], is_lan);
        let trust = meets.trust.clone();
        let mut a = Node::with(meets).await;
        a.connected_to(b.id()).await;
        assert_eq!(trust.is_friend(&b.id()), is_lan, "an address suffices on lan alone");
    }
}

#[tokio::test]
async fn peers_of_peers_are_found_by_walking() {
    let b = Node::start().await;
    let knows_b = || {
        let mut config = config();
        config.peers = vec![b.address.clone()];
        config.tuning.walk_interval = Duration::from_millis(500);
        config
    };
    let (mut a, c) = (Node::with(knows_b()).await, Node::with(knows_b()).await);
    a.connected_to(c.id()).await;
}

#[tokio::test]
async fn friends_that_the_node_names_are_dialed() {
    let (mut a, b) = (Node::start().await, Node::start().await);
    a.handle.add_known(b.id(), &["nonsense".to_owned(), b.address.clone()], Told::ByUser).unwrap();
    a.connected_to(b.id()).await;
}

#[tokio::test]
async fn a_peers_former_address_is_a_copy_if_a_copy_answers_and_not_if_it_is_ours() {
    let mine = config();
    let trust = mine.trust.clone();
    let mut a = Node::with(mine.clone()).await;
    let former = |address: &str| {
        let (peer, addresses) = (Identity::generate().peer_id(), [address.to_owned()]);
        trust.accept(peer);
        a.handle.add_known(peer, &addresses, Told::Before).unwrap();
    };
    former(&a.address);
    let b = Node::with(mine).await;
    former(&b.address);
    let seen = a.until(|event| match event {
        NetEvent::CopySeen { address } => Some(address),
        _ => None,
    });
    assert_eq!(seen.await, b.address);
}

#[tokio::test]
async fn dials_that_lead_nowhere_say_why() {
    let (a, b, stranger) = (Node::start().await, Node::start().await, Identity::generate());
    let wrong = format!("{}/p2p/{}", b.address, stranger.peer_id());
    let error = a.handle.dial(&wrong).await.unwrap_err();
    let is_b = |obtained: &str| obtained == b.id().to_string();
    assert!(matches!(&error, DialError::WrongPeer { obtained, .. } if is_b(obtained)), "{error}");
    assert!(matches!(a.handle.dial(&a.full_address()).await, Err(DialError::Oneself(_))));
    assert!(matches!(a.handle.dial(&a.address).await, Err(DialError::Oneself(_))));
    assert!(matches!(a.handle.dial("nowhere").await, Err(DialError::Address(_))));
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = a.handle.dial(&closed.to_string()).await.unwrap_err();
    assert!(
        matches!(&error, DialError::Unreachable { reason, .. } if reason.contains("refused")),
        "{error}"
    );
    assert_eq!(a.handle.dial(&b.full_address()).await, Ok(b.id()));
    assert_eq!(
        a.handle.dial(&b.full_address()).await,
        Ok(b.id()),
        "dialing a connected peer is no error"
    );
}

#[tokio::test]
async fn a_program_that_takes_too_much_memory_makes_no_further_connection() {
    let mut full = config();
    // Every program takes more.
    full.tuning.max_process_bytes = 1;
    let (full, other) = (Node::with(full).await, Node::start().await);
    let error = full.handle.dial(&other.full_address()).await.unwrap_err();
    assert!(error.to_string().contains("memory"), "{error}");
    assert!(other.handle.dial(&full.full_address()).await.is_err());
    assert!(full.handle.peers().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut wants = config();
    wants.listen = vec![format!("/ip4/127.0.0.1/tcp/{port}")];
    let error = spawn(wants, &mut Registry::default()).unwrap_err();
    assert!(
        matches!(error, NetError::AddressInUse { port: named, .. } if named == port),
        "{error}"
    );
    assert!(error.to_string().contains("choose another port"));
}

#[tokio::test]
async fn a_port_of_another_node_is_in_use_for_quic_too() {
    for listen in ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"] {
        let mut first = config();
        first.listen = vec![listen.to_owned()];
        let first = Node::with(first).await;
        let mut second = config();
        second.listen = vec![first.address.clone()];
        assert!(
            matches!(spawn(second, &mut Registry::default()), Err(NetError::AddressInUse { .. })),
            "{listen}"
        );
    }
}

#[tokio::test]
async fn addresses_that_cannot_be_listened_on_are_named() {
    for (listen, is_right) in [
        (
            "nonsense",
            (|error: &NetError| matches!(error, NetError::Address(_))) as fn(&NetError) -> bool,
        ),
        ("/ip4/203.0.113.7/tcp/0", |error| matches!(error, NetError::Listen { .. })),
    ] {
        let mut config = config();
        config.listen = vec![listen.to_owned()];
        let error = spawn(config, &mut Registry::default()).unwrap_err();
        assert!(is_right(&error), "{listen}: {error}");
    }
    let mut nowhere = config();
    nowhere.listen = Vec::new();
    assert!(matches!(spawn(nowhere, &mut Registry::default()), Err(NetError::NowhereToListen)));
}

#[tokio::test]
async fn all_interfaces_are_listened_on_with_tcp_and_quic() {
    let mut everywhere = config();
    everywhere.listen = NetConfig::listen_on_port(0);
    let mut node = Node::with(everywhere).await;
    let is = |address: &str, part: &str| {
        address.starts_with("/ip4/127.0.0.1/") && address.contains(part)
    };
    let first = node.address.clone();
    for part in ["/tcp/", "/quic-v1"] {
        if !is(&first, part) {
            node.until(|event| match event {
                NetEvent::Listening { address } if is(&address, part) => Some(()),
                _ => None,
            })
            .await;
        }
    }
}

#[tokio::test]
async fn a_banned_peer_is_put_out_and_stays_out_until_it_is_let_in() {
    let (mut a, b) = pair().await;
    a.handle.ban(b.id()).unwrap();
    assert_eq!(a.disconnected_from(b.id()).await, "banned");
    assert!(matches!(a.handle.dial(&b.full_address()).await, Err(DialError::Refused { .. })));
    // B keeps dialing and is refused each time; a refused connection does not count as A's.
    assert!(a.handle.peers().await.unwrap().is_empty());
    a.handle.unban(b.id()).unwrap();
    b.handle.add_known(a.id(), std::slice::from_ref(&a.address), Told::ByUser).unwrap();
    a.connected_to(b.id()).await;
}

#[tokio::test]
async fn a_peer_that_is_shut_out_for_a_while_is_not_dialed() {
    let (mut a, mut b) = pair().await;
    b.handle.disconnect(a.id(), Duration::from_mins(10)).unwrap();
    a.handle.disconnect(b.id(), Duration::from_mins(10)).unwrap();
    assert_eq!(a.disconnected_from(b.id()).await.len(), "closed by this node".len());
    b.disconnected_from(a.id()).await;
    // A third node shows that the address book of A still works meanwhile.
    let c = Node::start().await;
    a.handle.add_known(c.id(), std::slice::from_ref(&c.address), Told::ByUser).unwrap();
    let next = a
        .until(|event| match event {
            NetEvent::PeerConnected { peer, .. } => Some(peer),
            _ => None,
        })
        .await;
    assert_eq!(next, c.id());
}

#[tokio::test]
async fn peers_and_addresses_are_told() {
    let (a, b) = pair().await;
    let identified = async {
        loop {
            let peers = a.handle.peers().await.unwrap();
            if let [peer] = peers.as_slice()
                && peer.same_network
                && peer.connections.iter().any(|connection| connection.round_trip.is_some())
            {
                return peer.clone();
            }
            tokio::task::yield_now().await;
        }
    };
    let peer = tokio::time::timeout(super::DEADLINE, identified).await.unwrap();
    assert_eq!(peer.peer, b.id());
    assert_eq!(peer.agent, concat!("friendchain/", env!("CARGO_PKG_VERSION")));
    assert_eq!(peer.connections[0].address, b.address);
    assert!(!peer.connections[0].inbound);
    assert_eq!(b.handle.addresses().await.unwrap(), std::slice::from_ref(&b.address));
}

/// Waits until the node has this number of connections to its only peer.
async fn has_connections(node: &Node, count: usize) {
    let counted = async {
        while node.handle.peers().await.unwrap()[0].connections.len() != count {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(super::DEADLINE, counted).await.expect("the connections");
}

#[tokio::test]
async fn one_of_two_connections_to_a_peer_stays() {
    let with_short_times = || {
        let mut config = config();
        config.tuning.ping_interval = Duration::from_millis(100);
        config.tuning.spare_time = Duration::from_secs(1);
        config
    };
    let mut a = Node::with(with_short_times()).await;
    let mut b = Node::with(with_short_times()).await;
    let address = b.full_address();
    let (first, second) = tokio::join!(a.handle.dial(&address), a.handle.dial(&address));
    assert_eq!((first.unwrap(), second.unwrap()), (b.id(), b.id()));
    has_connections(&a, 2).await;
    has_connections(&a, 1).await;
    has_connections(&b, 1).await;
    while let Ok(event) = a.events.try_recv().or_else(|_| b.events.try_recv()) {
        assert!(!matches!(event, NetEvent::PeerDisconnected { .. }), "{event:?}");
    }
}

#[tokio::test]
async fn a_peer_that_goes_in_silence_is_noticed_by_its_pings() {
    let mut impatient = config();
    impatient.tuning.ping_interval = Duration::from_millis(200);
    impatient.tuning.ping_time = Duration::from_millis(200);
    // Each further failure takes the 10 s that libp2p waits for a new stream.
    impatient.tuning.max_ping_failures = 1;
    let mut a = Node::with(impatient).await;
    let address = a.full_address();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let (tell, told) = tokio::sync::oneshot::channel();
    // A frozen machine: its kernel still accepts bytes, but its programs do nothing.
    let frozen = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let node = runtime.block_on(async {
            let b = Node::start().await;
            b.handle.dial(&address).await.unwrap();
            while !b
                .handle
                .peers()
                .await
                .unwrap()
                .iter()
                .any(|peer| peer.connections[0].round_trip.is_some())
            {
                tokio::task::yield_now().await;
            }
            b
        });
        tell.send(node.id()).unwrap();
        let _ = ended.recv();
    });
    let b = told.await.unwrap();
    assert_eq!(a.disconnected_from(b).await, "does not answer pings");
    drop(end);
    frozen.join().unwrap();
}

#[tokio::test]
async fn who_comes_and_goes_is_told_even_when_the_node_is_slow_to_listen() {
    let mut slow = config();
    slow.tuning.event_queue = 2;
    let mut a = Node::with(slow).await;
    let mut others = Vec::new();
    for _ in 0..5 {
        let mut knows = config();
        knows.peers = vec![a.address.clone()];
        others.push(Node::with(knows).await);
    }
    let next = |event| match event {
        NetEvent::PeerConnected { peer, .. } => Some((peer, true)),
        NetEvent::PeerDisconnected { peer, .. } => Some((peer, false)),
        _ => None,
    };
    let mut here = std::collections::HashSet::new();
    while here.len() < others.len() {
        let (peer, came) = a.until(next).await;
        assert!(
            if came { here.insert(peer) } else { here.remove(&peer) },
            "a peer connects before it disconnects"
        );
    }
    for other in &others {
        other.handle.shutdown().await;
    }
    while !here.is_empty() {
        let (peer, came) = a.until(next).await;
        assert!(!came && here.remove(&peer));
    }
}

#[tokio::test]
async fn the_network_ends_when_its_last_handle_is_dropped() {
    let Node { handle, mut events, .. } = Node::start().await;
    let other = handle.clone();
    drop(handle);
    assert!(other.peers().await.is_ok());
    drop(other);
    let ended = async { while events.recv().await.is_some() {} };
    tokio::time::timeout(super::DEADLINE, ended).await.unwrap();
}

#[tokio::test]
async fn a_full_queue_of_commands_is_said() {
    let node = Node::start().await;
    let peer = Identity::generate().peer_id();
    // The test runs on the runtime's only thread, so the swarm task gets no turn meanwhile.
    let results: Vec<_> = (0..3_000).map(|_| node.handle.unban(peer)).collect();
    assert!(results.contains(&Err(CommandError::Busy)));
}

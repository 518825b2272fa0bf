//! Tests of relays: friends behind one reach each other, and strangers are refused.

use std::{cell::RefCell, collections::BTreeSet, net::TcpListener, time::Duration};

use super::{
    Node, config, hello, hello_back,
    liar::{Liar, Lie},
};
use crate::{
    net::{Identity, NetConfig, NetEvent, ReachWay, Told},
    peers::Trust,
    primitives::PeerId,
    wire::{Request, Response},
};

/// Starts a node that others reach and that relays for these friends.
async fn relay_for(friends: &[PeerId]) -> Node {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("/ip4/127.0.0.1/tcp/{port}");
    let config = NetConfig {
        listen: vec![address.clone()],
        external: vec![address],
        relays: true,
        trust: Trust::new(friends.iter().copied(), false),
        ..config()
    };
    let mut relay = Node::with(config).await;
    let reached = |event| match event {
        NetEvent::Reach(reach) if reach.relaying => Some(reach.way),
        _ => None,
    };
    assert_eq!(relay.until(reached).await, ReachWay::Public);
    relay
}

/// Starts a node that is connected to the relay, and whose only friends are these.
async fn behind(relay: &Node, identity: Identity, friends: &[PeerId]) -> Node {
    let friends = [friends, &[relay.id()]].concat();
    let mut node = Node::with(alone(identity, &friends)).await;
    node.handle.dial(&relay.full_address()).await.unwrap();
    node.connected_to(relay.id()).await;
    node
}

/// Returns the settings of a node whose only friends are these.
fn alone(identity: Identity, friends: &[PeerId]) -> NetConfig {
    let trust = Trust::new(friends.iter().copied(), false);
    let mut own = NetConfig { identity, trust, ..config() };
    // No walk finds the others on this machine, so a relay is the only path.
    own.tuning.first_walk = Duration::from_hours(1);
    own
}

/// Starts relays that lie, and a node that is connected to them and then to an honest relay. All
/// are its friends.
async fn among(
    lies: &[Lie],
    identity: Identity,
    relay: &Node,
    tune: impl FnOnce(&mut NetConfig),
) -> (Node, Vec<Liar>) {
    let mut liars = Vec::new();
    for lie in lies {
        liars.push(Liar::start(&Identity::generate(), *lie).await);
    }
    let friends: Vec<_> = liars.iter().map(|liar| liar.id).chain([relay.id()]).collect();
    let mut own = alone(identity, &friends);
    tune(&mut own);
    let node = Node::with(own).await;
    for liar in &liars {
        node.handle.dial(&liar.address).await.unwrap();
    }
    node.handle.dial(&relay.full_address()).await.unwrap();
    (node, liars)
}

/// Waits until the node is reached through exactly these relays.
async fn reached_through(node: &mut Node, relays: &[PeerId]) -> Vec<String> {
    let wanted: BTreeSet<_> = relays.iter().collect();
    node.until(|event| match event {
        NetEvent::Reach(reach) if reach.relays.iter().collect::<BTreeSet<_>>() == wanted => {
            Some(reach.addresses)
        }
        _ => None,
    })
    .await
}

/// Waits until the node is reached through the relay. Returns the relayed address.
async fn reserved(node: &mut Node, relay: PeerId) -> String {
    let reached = |event| match event {
        NetEvent::Reach(reach) if reach.relays.contains(&relay) => {
            assert_eq!(reach.way, ReachWay::Relayed);
            reach.addresses.into_iter().find(|address| address.ends_with("/p2p-circuit"))
        }
        _ => None,
    };
    node.until(reached).await
}

fn through(relay: PeerId) -> impl Fn(NetEvent) -> Option<PeerId> {
    move |event| match event {
        NetEvent::PathChanged { peer, relay: Some(by), .. } if by == relay => Some(peer),
        _ => None,
    }
}

#[tokio::test]
async fn friends_reach_each_other_through_a_friend_of_both() {
    let (one, two) = (Identity::generate(), Identity::generate());
    let (first, second) = (one.peer_id(), two.peer_id());
    let relay = relay_for(&[first, second]).await;
    let mut one = behind(&relay, one, &[second]).await;
    let mut two = behind(&relay, two, &[first]).await;
    let address = reserved(&mut one, relay.id()).await;
    two.handle.add_known(first, &[address], Told::ByUser).unwrap();
    assert_eq!(two.until(through(relay.id())).await, first);
    assert_eq!(one.until(through(relay.id())).await, second);
    two.handle.request(first, 1, &Request::Hello(hello(1))).unwrap();
    let reply = one
        .until(|event| match event {
            NetEvent::RequestReceived { reply, .. } => Some(reply),
            _ => None,
        })
        .await;
    one.handle.respond(reply, &Response::Hello(hello_back(2))).unwrap();
    let answered = two
        .until(|event| match event {
            NetEvent::ResponseReceived { id: 1, result, .. } => Some(result),
            _ => None,
        })
        .await;
    assert_eq!(answered, Ok(Response::Hello(hello_back(2))));
}

#[tokio::test]
async fn a_stranger_gets_no_reservation_and_no_circuit() {
    let (one, two) = (Identity::generate(), Identity::generate());
    let (first, second) = (one.peer_id(), two.peer_id());
    let mut relay = relay_for(&[first]).await;
    let mut one = behind(&relay, one, &[second]).await;
    let address = reserved(&mut one, relay.id()).await;
    // This node trusts the relay, but the relay does not know this node.
    let two = behind(&relay, two, &[first]).await;
    let of_stranger = |wanted: &'static str| {
        move |event| match event {
            NetEvent::Relaying { peer, what } if peer == second => {
                assert_eq!(what, wanted);
                Some(())
            }
            _ => None,
        }
    };
    relay.until(of_stranger("refused")).await;
    let address = format!("{address}/p2p/{first}");
    let asked = two.handle.dial(&address);
    let (dialed, ()) = tokio::join!(asked, relay.until(of_stranger("circuit_refused")));
    assert!(dialed.is_err(), "{dialed:?}");
}

#[tokio::test]
async fn a_relay_that_leaves_is_no_longer_told() {
    let one = Identity::generate();
    let relay = relay_for(&[one.peer_id()]).await;
    let mut one = behind(&relay, one, &[]).await;
    reserved(&mut one, relay.id()).await;
    drop(relay);
    let lost = |event| match event {
        NetEvent::Reach(reach) if reach.relays.is_empty() => Some(reach),
        _ => None,
    };
    let reach = one.until(lost).await;
    assert!(!reach.addresses.iter().any(|address| address.contains("p2p-circuit")), "{reach:?}");
}

#[tokio::test]
async fn a_node_is_reached_through_an_honest_relay_beside_one_that_lies() {
    for lie in [Lie::Refuses, Lie::Swallows] {
        let (one, two) = (Identity::generate(), Identity::generate());
        let (first, second) = (one.peer_id(), two.peer_id());
        let relay = relay_for(&[first, second]).await;
        let never = |own: &mut NetConfig| own.tuning.retest_time = Duration::from_hours(1);
        let (mut one, liars) = among(&[lie], one, &relay, never).await;
        reached_through(&mut one, &[liars[0].id, relay.id()]).await;
        let mut two = behind(&relay, two, &[first]).await;
        let honest = format!("{}/p2p-circuit", relay.full_address());
        two.handle.add_known(first, &[liars[0].relayed(), honest], Told::ByUser).unwrap();
        assert_eq!(two.until(through(relay.id())).await, first, "{lie:?}");
    }
}

#[tokio::test]
async fn relays_that_open_no_circuits_are_replaced() {
    let one = Identity::generate();
    let relay = relay_for(&[one.peer_id()]).await;
    let quick = |own: &mut NetConfig| {
        own.tuning.reserve_time = Duration::from_secs(2);
        own.tuning.retest_time = Duration::from_millis(100);
    };
    let (mut one, liars) = among(&[Lie::Refuses, Lie::Swallows], one, &relay, quick).await;
    let addresses = reached_through(&mut one, &[relay.id()]).await;
    for liar in &liars {
        assert!(!addresses.contains(&liar.relayed()), "{addresses:?}");
        assert_eq!(liar.circuits(), 2, "tests of {}", liar.address);
    }
}

#[tokio::test]
async fn a_grant_after_the_time_out_does_no_harm() {
    let one = Identity::generate();
    let relay = relay_for(&[one.peer_id()]).await;
    let quick = |own: &mut NetConfig| {
        own.tuning.reserve_time = Duration::from_millis(300);
        own.tuning.retest_time = Duration::from_millis(100);
    };
    // The second tick after the request, after 500 ms, notices the time-out. Most grants come just
    // before or after it, while the connection closes.
    let delays = (0..8).map(|at| 480 + 5 * at).chain([1_500, 1_500, 1_500]);
    let lies: Vec<_> = delays.map(|ms| Lie::Late(Duration::from_millis(ms))).collect();
    let (mut one, liars) = among(&lies, one, &relay, quick).await;
    let left = RefCell::new(BTreeSet::new());
    one.until(|event| match event {
        NetEvent::PeerDisconnected { peer, reason } if liars.iter().any(|liar| liar.id == peer) => {
            assert!(reason.contains("does not answer as a relay"), "{reason}");
            left.borrow_mut().insert(peer);
            (left.borrow().len() >= 3).then_some(())
        }
        _ => None,
    })
    .await;
    reached_through(&mut one, &[relay.id()]).await;
}

#[tokio::test]
async fn a_relay_that_misuses_its_reservation_is_left() {
    for (lie, wanted) in [(Lie::Hurries, "end at once"), (Lie::Rambles, "too many addresses")] {
        let one = Identity::generate();
        let relay = relay_for(&[one.peer_id()]).await;
        let (mut one, liars) = among(&[lie], one, &relay, |_| {}).await;
        let reason = one.disconnected_from(liars[0].id).await;
        assert!(reason.contains(wanted), "{reason}");
        reached_through(&mut one, &[relay.id()]).await;
    }
}

//! Tests of places, budgets and handshakes on real sockets, against strangers.

use std::{net::TcpStream, time::Duration};

use super::{Node, config, hello, hello_back};
use crate::{
    net::{NetConfig, NetEvent, NetOffence, Told, address::socket, limits::MAX_HANDSHAKES_PER_IP},
    peers::{PLACES_PER_ADDRESS, Trust},
    primitives::PeerId,
    wire::{HelloResponse, Request, Response},
};

/// Returns settings in which only these peers are friends.
fn friends_only(friends: impl IntoIterator<Item = PeerId>) -> NetConfig {
    let mut config = config();
    config.trust = Trust::new(friends, false);
    config
}

#[tokio::test]
async fn mute_sockets_do_not_keep_a_friend_out() {
    let (mut node, friend) = (Node::start().await, Node::start().await);
    let (address, _) = socket(&node.address.parse().unwrap()).unwrap();
    let mute: Vec<_> =
        (0..MAX_HANDSHAKES_PER_IP + 40).map(|_| TcpStream::connect(address).unwrap()).collect();
    // The friend dials again if a later socket took its slot.
    let told = Told::ByUser;
    friend.handle.add_known(node.id(), std::slice::from_ref(&node.address), told).unwrap();
    let came = tokio::time::timeout(Duration::from_secs(8), node.connected_to(friend.id()));
    came.await.expect("before the mute sockets time out");
    drop(mute);
}

#[tokio::test]
async fn idle_identities_push_out_each_other_and_no_friend() {
    let friend = Node::start().await;
    let mut node = Node::with(friends_only([friend.id()])).await;
    friend.handle.dial(&node.full_address()).await.unwrap();
    node.connected_to(friend.id()).await;
    let mut idle = Vec::new();
    for _ in 0..PLACES_PER_ADDRESS + 4 {
        let one = Node::start().await;
        one.handle.dial(&node.full_address()).await.unwrap();
        idle.push(one);
    }
    for _ in 0..4 {
        let reason = node
            .until(|event| match event {
                NetEvent::PeerDisconnected { peer, reason } => {
                    assert_ne!(peer, friend.id());
                    Some(reason)
                }
                _ => None,
            })
            .await;
        assert_eq!(reason, "gave its place to another");
    }
    let peers = node.handle.peers().await.unwrap();
    assert!(peers.len() <= PLACES_PER_ADDRESS + 1, "{}", peers.len());
    assert!(peers.iter().any(|peer| peer.peer == friend.id()));
}

#[tokio::test]
async fn a_peer_that_says_no_hello_is_put_out_and_one_that_does_stays() {
    let mut impatient = friends_only([]);
    impatient.tuning.hello_time = Duration::from_secs(2);
    let mut node = Node::with(impatient).await;
    let (polite, mute) = (Node::start().await, Node::start().await);
    for other in [&polite, &mute] {
        other.handle.dial(&node.full_address()).await.unwrap();
        node.connected_to(other.id()).await;
    }
    node.handle.greeted(polite.id()).unwrap();
    node.handle.useful(polite.id()).unwrap();
    assert_eq!(node.disconnected_from(mute.id()).await, "said no hello");
    let peers = node.handle.peers().await.unwrap();
    assert!(peers.iter().any(|peer| peer.peer == polite.id()));
}

#[tokio::test]
async fn a_peer_beyond_its_budget_hears_busy_and_is_charged_only_if_it_goes_on() {
    let mut node = Node::with(friends_only([])).await;
    let mut stranger = Node::start().await;
    let dial = stranger.full_address();
    node.handle.dial(&dial).await.unwrap();
    node.connected_to(stranger.id()).await;
    stranger.connected_to(node.id()).await;
    let (to, from) = (node.id(), stranger.id());
    let mut served = 0;
    let mut busy = 0;
    // Until the stranger is charged, each request gets a response: the node's, or Busy.
    for id in 0.. {
        stranger.handle.request(to, id, &Request::Hello(hello(1))).unwrap();
        let step = node.until(|event| match event {
            NetEvent::RequestReceived { reply, .. } => Some(Ok(reply)),
            NetEvent::Misbehaved { peer, offence, .. } => Some(Err((peer, offence))),
            _ => None,
        });
        let answer = async {
            stranger
                .until(|event| match event {
                    NetEvent::ResponseReceived { result, .. } => Some(result.unwrap()),
                    _ => None,
                })
                .await
        };
        tokio::select! {
            step = step => match step {
                Ok(reply) => {
                    served += 1;
                    node.handle.respond(reply, &Response::Hello(hello_back(2))).unwrap();
                }
                Err(charged) => {
                    assert_eq!(charged, (from, NetOffence::Flooding));
                    break;
                }
            },
            answer = answer => {
                if answer == Response::Hello(HelloResponse::Busy) {
                    busy += 1;
                }
            }
        }
        assert!(id < 2_000, "the stranger is never charged: {served} served, {busy} busy");
    }
    // Some answers may still be on their way to the stranger.
    assert!(served >= 120 && busy > 0, "{served} served, {busy} busy");
}

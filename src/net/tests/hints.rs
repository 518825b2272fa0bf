//! Tests of told addresses: strangers that name a victim, and walks that find honest peers.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId as Libp2pPeerId, StreamProtocol, Swarm, SwarmBuilder, identify, kad, noise,
    request_response,
    swarm::{NetworkBehaviour, SwarmEvent},
    tcp, yamux,
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc},
};

use super::{DEADLINE, NETWORK, Node, config, stranger::RawCodec};
use crate::{
    net::{
        Told,
        behaviour::Names,
        limits::STRANGER_TARGET_DIALS,
        walk::{Walk, WalkEvent},
    },
    peers::Trust,
    wire::Protocol,
};

/// A peer that names invented peers at a victim's address, in Kademlia and by identify.
#[derive(NetworkBehaviour)]
struct Liar {
    identify: identify::Behaviour,
    /// Kademlia that does not dial its own inventions.
    kad: Walk,
    sync: request_response::Behaviour<RawCodec>,
}

fn liar(victim: &Multiaddr) -> Swarm<Liar> {
    let sync = StreamProtocol::try_from_owned(Protocol::Sync.id(&NETWORK)).unwrap();
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|keypair| {
            let me = keypair.public().to_peer_id();
            let settings = kad::Config::new(Names::new(&NETWORK).unwrap().kad);
            Liar {
                identify: identify::Behaviour::new(identify::Config::new(
                    "/friendchain/1".to_owned(),
                    keypair.public(),
                )),
                kad: Walk::new(kad::Behaviour::with_config(
                    me,
                    kad::store::MemoryStore::new(me),
                    settings,
                )),
                sync: request_response::Behaviour::new(
                    [(sync, request_response::ProtocolSupport::Full)],
                    request_response::Config::default(),
                ),
            }
        })
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(DEADLINE))
        .build();
    swarm.add_external_address(victim.clone());
    let kad = &mut swarm.behaviour_mut().kad;
    kad.set_mode(Some(kad::Mode::Server));
    for _ in 0..200 {
        let invented = Libp2pPeerId::random();
        for _ in 0..4 {
            kad.add_address(&invented, victim.clone());
        }
    }
    swarm
}

/// Connects to the node, and reports each walk that it answers.
async fn lie(mut swarm: Swarm<Liar>, node: Multiaddr, answers: mpsc::Sender<()>) {
    swarm.dial(node.clone()).unwrap();
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::Behaviour(LiarEvent::Kad(WalkEvent::Kad(event))) => {
                if let kad::Event::InboundRequest {
                    request: kad::InboundRequest::FindNode { .. },
                } = *event
                {
                    let _ = answers.try_send(());
                }
            }
            SwarmEvent::ConnectionClosed { .. } => {
                let _ = swarm.dial(node.clone());
            }
            _ => {}
        }
    }
}

/// A machine that accepts connections, counts them and closes them.
async fn victim() -> (Multiaddr, Arc<Semaphore>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(Semaphore::new(0));
    let counting = Arc::clone(&count);
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counting.add_permits(1);
        }
    });
    (format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap(), count)
}

#[tokio::test]
async fn strangers_that_name_a_victim_cause_a_handful_of_connections_to_it() {
    let (victim, connections) = victim().await;
    let mut walks = config();
    walks.tuning.walk_interval = Duration::from_millis(100);
    let node = Node::with(walks).await;
    let (answers, mut answered) = mpsc::channel(64);
    let liars: Vec<_> = (0..5)
        .map(|_| {
            let address = node.address.parse().unwrap();
            tokio::spawn(lie(liar(&victim), address, answers.clone()))
        })
        .collect();
    let flood = async {
        for _ in 0..20 {
            answered.recv().await.unwrap();
        }
        // The teller of a walk's answer is unknown, so no answer may name a loopback address.
        assert_eq!(connections.available_permits(), 0);
    };
    tokio::time::timeout(DEADLINE, flood).await.expect("the node walks");
    // The liars' own announcements are tried once they have disconnected.
    for liar in liars {
        liar.abort();
    }
    let gone = async {
        while !node.handle.peers().await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, gone).await.unwrap();
    // The hints of the disconnected liars are tried before a later one.
    let later = Node::start().await;
    let mut node = node;
    node.handle.add_known(later.id(), std::slice::from_ref(&later.address), Told::ByUser).unwrap();
    node.connected_to(later.id()).await;
    let count = u64::try_from(connections.available_permits()).unwrap();
    assert!((1..=STRANGER_TARGET_DIALS).contains(&count), "{count}");
}

#[tokio::test]
async fn strangers_that_dial_a_node_do_not_end_its_search_for_others() {
    let (stranger, other) = (Node::start().await, Node::start().await);
    let mut few = config();
    few.trust = Trust::default();
    few.target_peers = 1;
    let mut node = Node::with(few).await;
    stranger.handle.dial(&node.full_address()).await.unwrap();
    node.connected_to(stranger.id()).await;
    let told = Told::By(stranger.id());
    node.handle.add_known(other.id(), std::slice::from_ref(&other.address), told).unwrap();
    node.connected_to(other.id()).await;
}

#[tokio::test]
async fn a_signed_profile_is_a_hint_of_the_peer_that_passes_it_on() {
    let (victim, connections) = victim().await;
    let (a, mut b) = super::pair().await;
    let told = [victim.to_string()];
    // B did not dial A, so A is a stranger there. A names the victim for many peers.
    for _ in 0..200 {
        let invented = crate::net::Identity::generate().peer_id();
        while b.handle.add_known(invented, &told, Told::By(a.id())).is_err() {
            tokio::task::yield_now().await;
        }
    }
    // An honest peer at the same machine is still found if a friend names it.
    let c = Node::start().await;
    let seed = Node::start().await;
    let mut knows = config();
    knows.peers = vec![seed.address.clone()];
    let mut d = Node::with(knows).await;
    d.connected_to(seed.id()).await;
    d.handle.add_known(c.id(), std::slice::from_ref(&c.address), Told::By(seed.id())).unwrap();
    d.connected_to(c.id()).await;
    // A teller that is not connected has no scope, so its loopback addresses are refused.
    let absent = crate::net::Identity::generate().peer_id();
    b.handle.add_known(absent, &told, Told::By(c.id())).unwrap();
    b.handle.add_known(c.id(), std::slice::from_ref(&c.address), Told::ByUser).unwrap();
    b.connected_to(c.id()).await;
    let count = u64::try_from(connections.available_permits()).unwrap();
    assert!(count <= STRANGER_TARGET_DIALS, "{count}");
}

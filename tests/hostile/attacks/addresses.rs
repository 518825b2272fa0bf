//! Addresses told by strangers, all of which lead to one bystander's socket.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use friendchain::{primitives::NetworkId, wire::SignedProfile};
use libp2p::identity::Keypair;
use tokio::net::TcpListener;

use super::{Running, crowd};
use crate::{
    arena::Arena,
    attacker::{Source, id_of, sign},
    bytes::find_node_answer,
    forge::now,
    script::{Script, plain_status},
};

/// The maximum number of connections that a third party may get, in some tens of seconds.
const BEARABLE: usize = 64;

/// Returns profiles of new identities, each with 8 addresses.
pub(crate) fn fake_profiles(
    network: &NetworkId,
    count: usize,
    name: &str,
    address: impl Fn(usize, usize) -> String,
) -> Vec<SignedProfile> {
    let profile = |number: usize| {
        let keys = Keypair::generate_ed25519();
        let addresses = (0..8).map(|at| address(number, number * 8 + at)).collect();
        let signer = |message: &[u8]| sign(&keys, message);
        SignedProfile::sign(network, id_of(&keys), name, addresses, None, now(), &signer)
            .expect("within its limits")
    };
    (0..count).map(profile).collect()
}

/// Returns an address of a documentation network, which leads nowhere.
pub(crate) fn unreachable(number: usize) -> String {
    format!("/ip4/203.0.113.{}/tcp/{}", 1 + number % 250, 1_024 + number % 60_000)
}

/// Returns one of many addresses that lead to a socket on this machine.
fn towards(port: u16, number: usize) -> String {
    format!("/ip4/127.9.{}.{}/tcp/{port}", 1 + number / 250 % 250, 1 + number % 250)
}

/// Listens at a port of this machine, and counts the connections.
fn bystander(arena: &Arena) -> (u16, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let listener = arena.runtime.block_on(TcpListener::bind(any)).expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let counter = Arc::clone(&count);
    arena.runtime.spawn(async move {
        while listener.accept().await.is_ok() {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    (port, count)
}

fn bearable(count: Arc<AtomicUsize>) -> Running {
    Box::new(move |_| {
        let count = count.load(Ordering::Relaxed);
        (format!("third party dialed {count} times (bar: {BEARABLE})"), count <= BEARABLE)
    })
}

/// Answers Explore with 64 profiles whose 512 addresses all lead to one socket.
pub(crate) fn told_addresses(arena: &Arena) -> Running {
    let network = arena.target.network;
    let (port, count) = bystander(arena);
    for teller in 0..arena.scale.pick(2, 6) {
        let profiles =
            fake_profiles(&network, 64, "told", |_, at| towards(port, teller * 512 + at));
        let script = Script {
            profiles: Some(profiles),
            ..Script::claiming(plain_status(network), Some(Arc::default()))
        };
        crowd(arena, 1, Source::Many, script, true);
    }
    bearable(count)
}

/// Answers `FIND_NODE` with peers whose addresses all lead to one socket.
pub(crate) fn kademlia_answers(arena: &Arena) -> Running {
    let network = arena.target.network;
    let (port, count) = bystander(arena);
    for teller in 0..5 {
        let script = Script {
            kad: Some(Box::new(move || {
                let peer = |number: usize| {
                    let address = |at| {
                        let number = teller * 800 + number * 40 + at;
                        towards(port, number).parse().expect("an address")
                    };
                    let id = Keypair::generate_ed25519().public().to_peer_id();
                    (id, (0..40).map(address).collect())
                };
                find_node_answer(&(0..20).map(peer).collect::<Vec<_>>())
            })),
            listen: vec![towards(port, teller).parse().expect("an address")],
            ..Script::claiming(plain_status(network), Some(Arc::default()))
        };
        crowd(arena, 1, Source::Many, script, true);
    }
    bearable(count)
}

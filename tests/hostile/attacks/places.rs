//! Connections that take places, with or without traffic.

use std::{sync::Arc, time::Duration};

use libp2p::identity::Keypair;
use tokio::{io::AsyncReadExt, time::sleep};

use super::{Running, crowd, no_more};
use crate::{
    arena::Arena,
    attacker::{Source, secure, socket},
    attacks::addresses::{fake_profiles, unreachable},
    bytes::find_node_answer,
    script::{Script, claim, plain_status},
};

/// Opens sockets that never send a byte, and a new one whenever the victim closes one.
pub(crate) fn mute_sockets(arena: &Arena) -> Running {
    let target = arena.target;
    for _ in 0..arena.scale.pick(110, 220) {
        arena.runtime.spawn(async move {
            loop {
                if let Ok(mut socket) = socket(target.address, Source::Many).await {
                    let mut bytes = [0; 64];
                    while socket.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
                }
                sleep(Duration::from_millis(100)).await;
            }
        });
    }
    no_more()
}

/// Keeps identities connected that never send a hello.
pub(crate) fn idle_identities(arena: &Arena) -> Running {
    let script = Script::plain(arena.target.network);
    crowd(arena, arena.scale.pick(192, 384), Source::Many, script, false);
    no_more()
}

/// As [`idle_identities`], but from one address.
pub(crate) fn idle_identities_of_one_address(arena: &Arena) -> Running {
    let script = Script::plain(arena.target.network);
    crowd(arena, arena.scale.pick(192, 384), Source::One, script, false);
    no_more()
}

/// Keeps identities connected that send a hello with a claim of much work, and serve nothing.
pub(crate) fn claiming_identities(arena: &Arena) -> Running {
    for salt in 0..arena.scale.pick(4, 12) {
        let script = Script::claiming(claim(arena.target.network, salt), None);
        crowd(arena, 22, Source::Many, script, true);
    }
    no_more()
}

/// Connects and disconnects as fast as the handshakes go.
pub(crate) fn connection_flood(arena: &Arena) -> Running {
    let target = arena.target;
    for _ in 0..arena.scale.pick(8, 32) {
        arena.runtime.spawn(async move {
            loop {
                let keys = Keypair::generate_ed25519();
                drop(secure(&keys, target.address, Source::Many).await);
                sleep(Duration::from_millis(5)).await;
            }
        });
    }
    no_more()
}

/// Surrounds the victim with 50 identities that behave well, and tell only of each other.
pub(crate) fn eclipse(arena: &Arena) -> Running {
    let network = arena.target.network;
    for number in 0..50 {
        let script = Script {
            profiles: Some(fake_profiles(&network, 64, "elsewhere", |_, at| {
                unreachable(number * 64 + at)
            })),
            kad: Some(Box::new(move || {
                let peer = |at| {
                    let id = Keypair::generate_ed25519().public().to_peer_id();
                    (id, vec![unreachable(number * 64 + at).parse().expect("an address")])
                };
                find_node_answer(&(0..20).map(peer).collect::<Vec<_>>())
            })),
            listen: vec![unreachable(number).parse().expect("an address")],
            ..Script::claiming(plain_status(network), Some(Arc::default()))
        };
        crowd(arena, 1, Source::Many, script, true);
    }
    no_more()
}

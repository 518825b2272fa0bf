//! The attacks: each starts its tasks on the arena's runtime, and may check its own effect.

pub(crate) mod addresses;
pub(crate) mod chat;
pub(crate) mod doors;
pub(crate) mod floods;
pub(crate) mod memory;
pub(crate) mod places;
pub(crate) mod relays;
pub(crate) mod work;

use std::{io, sync::Arc, time::Duration};

use friendchain::{
    consensus::Network,
    primitives::{HEADER_BYTES, Header, encoding::from_bytes},
    wire::{GetBlocks, Request, Response, SyncRequest, SyncResponse},
};
use tokio::time::sleep;

use crate::{
    arena::Arena,
    attacker::{Actor, Source, Target},
    script::Script,
};

/// The result for an effect that only one attack has: its figure, and true if it is within its bar.
pub(crate) type Verdict = (String, bool);

/// An attack under way, with the check of its own effect.
pub(crate) type Running = Box<dyn FnOnce(&mut Arena) -> Verdict>;

/// Returns an attack without an effect of its own.
pub(crate) fn no_more() -> Running {
    Box::new(|_| (String::new(), true))
}

/// Keeps `count` identities connected. A new one replaces each that the node has dropped.
pub(crate) fn crowd(arena: &Arena, count: usize, source: Source, script: Script, hello: bool) {
    let (target, script) = (arena.target, Arc::new(script));
    for _ in 0..count {
        let script = Arc::clone(&script);
        arena.runtime.spawn(async move {
            loop {
                if let Ok(actor) = Actor::connect(target, source, &script).await {
                    let said = !hello || actor.hello(&script.status).await.is_ok();
                    while said && actor.alive() {
                        sleep(Duration::from_millis(200)).await;
                    }
                }
                sleep(Duration::from_millis(500)).await;
            }
        });
    }
}

/// Connects an identity that sends the hello of a newcomer.
pub(crate) async fn newcomer(target: Target, source: Source) -> io::Result<Actor> {
    greeting(target, source, Script::plain(target.network)).await
}

/// Connects an identity that sends a hello, and answers by a script.
pub(crate) async fn greeting(target: Target, source: Source, script: Script) -> io::Result<Actor> {
    let script = Arc::new(script);
    let actor = Actor::connect(target, source, &script).await?;
    actor.hello(&script.status).await?;
    Ok(actor)
}

/// Fetches the headers of the node's chain, the genesis first.
pub(crate) async fn headers_of(actor: &Actor, network: &Network) -> io::Result<Vec<Header>> {
    let mut headers = vec![network.genesis.header];
    loop {
        let last = headers.last().expect("a genesis").hash();
        let ask = GetBlocks { locator: vec![last], limit: 2_000, skip: 0 };
        let answer = actor.ask(&Request::Sync(SyncRequest::GetBlocks(ask))).await?;
        let Response::Sync(SyncResponse::Inv(bytes)) = answer else {
            return Err(io::Error::other(format!("no headers but {answer:?}")));
        };
        if bytes.is_empty() {
            return Ok(headers);
        }
        for bytes in bytes.chunks(HEADER_BYTES) {
            headers.push(from_bytes(bytes).map_err(io::Error::other)?);
        }
    }
}

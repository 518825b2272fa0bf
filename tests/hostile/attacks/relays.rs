//! The victim as a relay: strangers who want to use it, and friends who use it too much.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{AsyncWriteExt, future::join_all};
use libp2p::identity::Keypair;
use tokio::{
    net::TcpListener,
    sync::mpsc,
    time::{sleep, timeout},
};

use super::{Running, newcomer};
use crate::{
    arena::Arena,
    attacker::{Actor, Source, Substream, Target, id_of},
    bytes::{GRANTED, HOP, Proto, STOP, connect, framed, number_of, offer, read_frame, reserve},
    script::{FarEnd, Script},
};

/// The limits of `src/net/limits.rs` for one friend: reservations and circuits at once.
const RESERVATIONS: usize = 2;
const CIRCUITS: usize = 8;
/// Reservations and circuits that one friend may request in a row, and the seconds until one more.
const RESERVATIONS_IN_A_ROW: usize = 16;
const CIRCUITS_IN_A_ROW: usize = 32;
const REFILL: u64 = 10;
/// The bytes of one circuit. The relay's two buffers may be on top.
const CIRCUIT_BYTES: u64 = 32 << 20;
const BUFFERS: u64 = 64 * 1024;

/// The longest wait for a relay's answer.
const ANSWER: Duration = Duration::from_secs(5);

/// The longest time until the victim dials a friend that was away before the attack, and is used.
const PAL_COMES: Duration = Duration::from_secs(30);

/// Returns the bytes of an identity's peer id.
fn id_bytes(keys: &Keypair) -> Vec<u8> {
    keys.public().to_peer_id().to_bytes()
}

/// Accepts the victim's dial to a port of its friends.
async fn befriend(
    port: u16,
    keys: &Keypair,
    target: Target,
    script: &Arc<Script>,
) -> io::Result<Actor> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let actor = Actor::accept(keys.clone(), &listener, target, script).await?;
    actor.hello(&script.status).await?;
    Ok(actor)
}

/// Sends a message to the relay. Returns the status and the open stream.
async fn ask(actor: &Actor, protocol: &str, message: &[u8]) -> io::Result<(u64, Substream)> {
    let mut stream = actor.stream(protocol).await?;
    let answer = timeout(ANSWER, async {
        stream.write_all(message).await?;
        stream.flush().await?;
        read_frame(&mut stream).await
    });
    let answer = answer.await??;
    let field = if protocol == HOP { 5 } else { 4 };
    let status = number_of(&answer, field).ok_or(io::ErrorKind::InvalidData)?;
    Ok((status, stream))
}

async fn is_granted(actor: &Actor, message: &[u8]) -> bool {
    ask(actor, HOP, message).await.is_ok_and(|(status, _)| status == GRANTED)
}

/// Messages that no relay can read: too long, cut off, or of a wrong type.
fn broken(pal: &[u8]) -> Vec<Vec<u8>> {
    let mut long = framed(&vec![0x0a; 1 << 20]);
    long.truncate(64 * 1024);
    vec![
        long,
        framed(&vec![0x0a; 4_097]),
        framed(&[0xff; 300]),
        framed(&Proto::default().number(1, 1).0),
        framed(&Proto::default().number(1, 2).number(5, GRANTED).0),
        framed(&Proto::default().number(1, u64::MAX).0),
        connect(&[7; 2_000]),
        connect(&pal[..20]),
    ]
}

/// The answers to strangers.
#[derive(Default)]
struct Tally {
    granted: AtomicUsize,
    refused: AtomicUsize,
}

impl Tally {
    async fn ask(&self, actor: &Actor, protocol: &str, message: &[u8]) {
        let Ok((status, _)) = ask(actor, protocol, message).await else { return };
        let count = if status == GRANTED { &self.granted } else { &self.refused };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Lets strangers ask for reservations, and for circuits to a friend that has one. Some of their
/// messages are broken, and some never end.
pub(crate) fn strangers(arena: &Arena) -> Running {
    let target = arena.target;
    let tally = Arc::<Tally>::default();
    let keys = Keypair::generate_ed25519();
    let (pal, pal_id) = (id_bytes(&keys), id_of(&keys).to_string());
    let port = *arena.pal_ports.first().expect("an arena with a pal");
    let reserved = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&reserved);
    arena.runtime.spawn(async move {
        let script = Arc::new(Script { far: Some(FarEnd::Deaf), ..Script::plain(target.network) });
        loop {
            if let Ok(actor) = befriend(port, &keys, target, &script).await {
                while actor.alive() {
                    if !flag.load(Ordering::Relaxed) && is_granted(&actor, &reserve()).await {
                        flag.store(true, Ordering::Relaxed);
                    }
                    sleep(Duration::from_millis(200)).await;
                }
            }
            sleep(Duration::from_millis(200)).await;
        }
    });
    for _ in 0..arena.scale.pick(8, 40) {
        let (tally, pal) = (Arc::clone(&tally), pal.clone());
        arena.runtime.spawn(async move {
            loop {
                let _ = press(target, &pal, &tally).await;
                sleep(Duration::from_millis(300)).await;
            }
        });
    }
    Box::new(move |arena| {
        let granted = tally.granted.load(Ordering::Relaxed);
        let refused = tally.refused.load(Ordering::Relaxed);
        let friends = [&pal_id, &arena.friend_id, &arena.miner_id];
        let served = arena.victim.events_since(0, |event| {
            let what = &event["what"];
            event["event"] == "relaying"
                && (what == "reserved" || what == "circuit")
                && !friends.iter().any(|id| event["peer"] == **id)
        });
        let reserved = Arena::wait(PAL_COMES, || reserved.load(Ordering::Relaxed)).is_some();
        let line = format!(
            "strangers refused {refused} times, granted {granted}, served {} (bars: > 0, 0, 0), a \
             friend has a reservation {reserved}",
            served.len()
        );
        (line, refused > 0 && granted == 0 && served.is_empty() && reserved)
    })
}

/// Connects a stranger that presses the relay until it is disconnected.
async fn press(target: Target, pal: &[u8], tally: &Tally) -> io::Result<()> {
    let actor = newcomer(target, Source::Many).await?;
    let (reserve, connect, offer) = (reserve(), connect(pal), offer(pal));
    let mut halves = Vec::new();
    while actor.alive() {
        let requests = [&reserve, &connect].into_iter().cycle().take(8);
        join_all(requests.map(|message| tally.ask(&actor, HOP, message))).await;
        tally.ask(&actor, STOP, &offer).await;
        // The victim reads ten messages of a connection at once.
        if halves.len() < 9 {
            let mut half = actor.stream(HOP).await?;
            half.write_all(&connect[..connect.len() - 1]).await?;
            half.flush().await?;
            halves.push(half);
        }
        for message in broken(pal) {
            tally.ask(&actor, HOP, &message).await;
        }
    }
    Ok(())
}

/// What the victim granted to friends who ask for too much.
#[derive(Default)]
struct Grants {
    /// The most reservations and circuits at once of one friend.
    reservations: AtomicUsize,
    circuits: AtomicUsize,
    /// All grants of a reservation, and all circuits, of one friend.
    reserved: AtomicUsize,
    opened: AtomicUsize,
    /// The most bytes that left one circuit at its far end.
    bytes: AtomicU64,
}

/// Lets friends ask for many reservations and circuits, flood a circuit, and leave others unread.
pub(crate) fn circuits(arena: &Arena) -> Running {
    let (target, start) = (arena.target, Instant::now());
    let grants = Arc::<Grants>::default();
    let &[caller, deaf, reader, greedy] = arena.pal_ports.as_slice() else {
        panic!("an arena with four pals");
    };
    let (ended, mut bytes) = mpsc::unbounded_channel();
    let count = Arc::clone(&grants);
    arena.runtime.spawn(async move {
        while let Some(bytes) = bytes.recv().await {
            count.bytes.fetch_max(bytes, Ordering::Relaxed);
        }
    });
    let ends = [(reader, FarEnd::Reads(ended)), (deaf, FarEnd::Deaf)].map(|(port, far)| {
        let keys = Keypair::generate_ed25519();
        let id = id_bytes(&keys);
        let script = Arc::new(Script { far: Some(far), ..Script::plain(target.network) });
        arena.runtime.spawn(async move {
            loop {
                if let Ok(actor) = befriend(port, &keys, target, &script).await {
                    let _granted = is_granted(&actor, &reserve()).await;
                    while actor.alive() {
                        sleep(Duration::from_millis(200)).await;
                    }
                }
                sleep(Duration::from_millis(200)).await;
            }
        });
        id
    });
    let count = Arc::clone(&grants);
    arena.runtime.spawn(async move {
        let (keys, script) = (Keypair::generate_ed25519(), Script::plain(target.network));
        let script = Arc::new(script);
        loop {
            let _ = hoard(greedy, &keys, target, &script, &count).await;
            sleep(Duration::from_millis(200)).await;
        }
    });
    let count = Arc::clone(&grants);
    arena.runtime.spawn(async move {
        let (keys, script) = (Keypair::generate_ed25519(), Script::plain(target.network));
        let script = Arc::new(script);
        loop {
            let _ = flood(caller, &keys, target, &script, &ends, &count).await;
            sleep(Duration::from_millis(200)).await;
        }
    });
    Box::new(move |_| {
        Arena::wait(PAL_COMES, || grants.bytes.load(Ordering::Relaxed) > CIRCUIT_BYTES / 2);
        verdict(&grants, start.elapsed())
    })
}

fn verdict(grants: &Grants, time: Duration) -> super::Verdict {
    let count = |count: &AtomicUsize| count.load(Ordering::Relaxed);
    let (reservations, circuits) = (count(&grants.reservations), count(&grants.circuits));
    let (reserved, opened) = (count(&grants.reserved), count(&grants.opened));
    let bytes = grants.bytes.load(Ordering::Relaxed);
    let refilled = usize::try_from(time.as_secs() / REFILL).expect("few") + 1;
    let (most_reserved, most_opened) =
        (RESERVATIONS_IN_A_ROW + refilled, CIRCUITS_IN_A_ROW + refilled);
    let line = format!(
        "of one friend: {reservations} reservations and {circuits} circuits at once (bars: \
         {RESERVATIONS}, {CIRCUITS}), {reserved} and {opened} in all (bars: {most_reserved}, \
         {most_opened}), {} MiB through one circuit (bar: {})",
        bytes >> 20,
        CIRCUIT_BYTES >> 20
    );
    let used = reservations > 0 && circuits > 0 && bytes > CIRCUIT_BYTES / 2;
    let bounded = reservations <= RESERVATIONS
        && circuits <= CIRCUITS
        && reserved <= most_reserved
        && opened <= most_opened
        && bytes <= CIRCUIT_BYTES + BUFFERS;
    (line, used && bounded)
}

/// Asks for a reservation on several connections, and then for ever more.
async fn hoard(
    port: u16,
    keys: &Keypair,
    target: Target,
    script: &Arc<Script>,
    grants: &Grants,
) -> io::Result<()> {
    let mut actors = vec![befriend(port, keys, target, script).await?];
    for _ in 0..3 {
        actors.extend(Actor::connect_as(keys.clone(), target, Source::Home, script).await);
    }
    let reserve = reserve();
    let mut at_once = 0;
    for actor in &actors {
        at_once += usize::from(is_granted(actor, &reserve).await);
    }
    grants.reservations.fetch_max(at_once, Ordering::Relaxed);
    grants.reserved.fetch_add(at_once, Ordering::Relaxed);
    while actors.iter().any(Actor::alive) {
        for actor in &actors {
            if is_granted(actor, &reserve).await {
                grants.reserved.fetch_add(1, Ordering::Relaxed);
            }
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Opens as many circuits as it gets to both far ends, and writes into them without end.
async fn flood(
    port: u16,
    keys: &Keypair,
    target: Target,
    script: &Arc<Script>,
    ends: &[Vec<u8>; 2],
    grants: &Grants,
) -> io::Result<()> {
    let actor = befriend(port, keys, target, script).await?;
    let chunk = vec![7; 64 * 1024];
    while actor.alive() {
        // A circuit to the deaf end stays until the connection ends, even if its caller leaves it.
        for (end, floods) in ends.iter().zip([1, CIRCUITS]) {
            let message = connect(end);
            let asked = (0..20).map(|_| ask(&actor, HOP, &message));
            let answers = join_all(asked).await.into_iter().flatten();
            let granted = answers.filter(|(status, _)| *status == GRANTED);
            let mut circuits: Vec<_> = granted.map(|(_, stream)| stream).collect();
            grants.circuits.fetch_max(circuits.len(), Ordering::Relaxed);
            grants.opened.fetch_add(circuits.len(), Ordering::Relaxed);
            let fill = circuits.iter_mut().take(floods).map(|stream| {
                // A far end that does not read blocks the write, and the limit of bytes ends it.
                let write = async { while stream.write_all(&chunk).await.is_ok() {} };
                timeout(ANSWER * 4, write)
            });
            join_all(fill).await;
        }
        sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

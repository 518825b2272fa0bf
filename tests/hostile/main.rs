//! A hostile peer attacks real nodes of the built binary.
//!
//! Each attack runs against a victim with an honest friend and an honest miner, and prints one line
//! with its cost to them. A quick share runs on every `cargo test`, with generous deadlines. The
//! whole runs in `tests/long-run.sh hostile`, with the bars below. `FRIENDCHAIN_HOSTILE_SECONDS=N`
//! limits the time for which an attack runs before the friend comes. With
//! `FRIENDCHAIN_HOSTILE_LOGS=DIR` the victim's log of each attack is kept in that folder.

mod arena;
mod attacker;
mod attacks;
mod bytes;
mod forge;
mod raw;
mod script;
#[path = "../it/support/mod.rs"]
#[allow(dead_code, reason = "the harness of tests/it has more than is needed here")]
mod support;

use std::time::Duration;

use arena::{Arena, Figures, Needs, Scale, Scene};
use attacks::{Running, addresses, chat, doors, floods, memory, places, relays, work};

/// The maximum memory of the victim, in MiB.
const MEMORY_MIB: u64 = 200;
/// The longest times, in seconds, until a friend is connected, its line arrives, and an honest
/// block arrives.
const CONNECTS: f64 = 10.0;
const LINE: f64 = 2.0;
const BLOCK: f64 = 5.0;
/// The smallest share of the time in which the victim's miner searches.
const MINING: f64 = 0.9;

/// Returns the names of the bars that an attack broke. The quick share requires only effects, not
/// their speed.
fn missed(figures: &Figures, scale: Scale) -> Vec<&'static str> {
    let within = |seconds: Option<f64>, bar: f64| {
        seconds.is_some_and(|seconds| scale == Scale::Quick || seconds <= bar)
    };
    let bars = [
        ("memory", figures.memory_mib <= MEMORY_MIB),
        ("connects", within(figures.connects, CONNECTS)),
        ("line", within(figures.line, LINE)),
        ("block", within(figures.block, BLOCK)),
        ("mining", figures.mining.is_none_or(|share| share >= MINING)),
        ("charged", figures.charged == 0),
        ("lost", figures.lost == 0),
    ];
    bars.into_iter().filter_map(|(name, held)| (!held).then_some(name)).collect()
}

/// Runs an attack, prints its line, and checks its bars.
#[track_caller]
fn trial(name: &str, scene: Scene, scale: Scale, seconds: u64, attack: fn(&Arena) -> Running) {
    let needs = match name {
        "other_topics" => Needs { pals: 1, relays: false },
        "relay_strangers" => Needs { pals: 1, relays: true },
        "relay_circuits" => Needs { pals: 4, relays: true },
        _ => Needs::default(),
    };
    let mut arena = Arena::new(scene, scale, needs);
    let cap = std::env::var("FRIENDCHAIN_HOSTILE_SECONDS").ok();
    let cap = cap.and_then(|cap| cap.parse().ok()).unwrap_or(u64::MAX);
    let (figures, check) = arena.measure(Duration::from_secs(seconds.min(cap)), attack);
    let (own, fine) = check(&mut arena);
    if let Some(folder) = std::env::var_os("FRIENDCHAIN_HOSTILE_LOGS") {
        let file = std::path::Path::new(&folder).join(format!("{name}.jsonl"));
        std::fs::write(file, arena.victim.said()).expect("a folder for logs");
    }
    let mut broken = missed(&figures, scale);
    if !fine {
        broken.push("its own effect");
    }
    let seconds =
        |time: Option<f64>| time.map_or("never".to_owned(), |time| format!("{time:.1} s"));
    let mining = figures.mining.map_or("-".to_owned(), |share| format!("{share:.2}"));
    let own = if own.is_empty() { own } else { format!(", {own}") };
    let verdict =
        if broken.is_empty() { "ok".to_owned() } else { format!("{} MISSED", broken.join(", ")) };
    // The test harness may have begun a line of its own.
    println!(
        "\nattack {name}: memory {} MiB, friend connects {}, line {}, block {}, mining {mining}, \
         charged {}, lost {}{own} (bars: {MEMORY_MIB} MiB, {CONNECTS} s, {LINE} s, {BLOCK} s, \
         {MINING}, 0, 0) {verdict}",
        figures.memory_mib,
        seconds(figures.connects),
        seconds(figures.line),
        seconds(figures.block),
        figures.charged,
        figures.lost,
    );
    assert!(broken.is_empty(), "{name} broke: {broken:?}");
}

/// Makes a test of each attack for the long run: its name, scene, function, and the seconds that it
/// runs before the friend comes.
macro_rules! whole {
    ($($name:ident: $scene:ident, $attack:path, $seconds:expr;)*) => {
        mod whole {
            use super::*;
            $(
                #[test]
                #[ignore = "the long run: tests/long-run.sh hostile"]
                fn $name() {
                    trial(stringify!($name), Scene::$scene, Scale::Long, $seconds, $attack);
                }
            )*

            #[test]
            #[ignore = "the long run: tests/long-run.sh hostile"]
            fn rpc_doors() {
                super::rpc_doors(Scale::Long);
            }
        }
    };
}

/// Makes short tests of some attacks, which always run.
macro_rules! quick {
    ($($name:ident: $scene:ident, $attack:path, $seconds:expr;)*) => {
        mod quick {
            use super::*;
            $(
                #[test]
                fn $name() {
                    trial(stringify!($name), Scene::$scene, Scale::Quick, $seconds, $attack);
                }
            )*

            #[test]
            fn rpc_doors() {
                super::rpc_doors(Scale::Quick);
            }
        }
    };
}

#[track_caller]
fn rpc_doors(scale: Scale) {
    let (line, fine) = doors::rpc_doors(scale);
    println!("\nattack rpc_doors: {line} {}", if fine { "ok" } else { "MISSED" });
    assert!(fine, "rpc_doors: {line}");
}

quick! {
    claims: Mining, work::claims, 8;
    mute_sockets: Cheap, places::mute_sockets, 5;
    idle_identities: Cheap, places::idle_identities, 6;
    yamux_windows: Cheap, memory::yamux_windows, 5;
    told_addresses: Cheap, addresses::told_addresses, 10;
    other_topics: Cheap, chat::other_topics, 6;
    banned_author: Cheap, chat::banned_author, 4;
    relay_strangers: Cheap, relays::strangers, 5;
}

whole! {
    claims: Mining, work::claims, 60;
    headers_without_bodies: Mining, work::headers_without_bodies, 60;
    withheld_compact_blocks: Cheap, work::withheld_compact_blocks, 40;
    forks_at_genesis: Grown, work::forks_at_genesis, 60;
    bodiless_chain: Cheap, work::bodiless_chain, 60;
    silent_claimants: Syncing, work::silent_claimants, 5;
    cheap_header_flood: Grown, work::cheap_header_flood, 60;
    orphan_flood: Grown, work::orphan_flood, 60;
    mute_sockets: Mining, places::mute_sockets, 40;
    idle_identities: Mining, places::idle_identities, 40;
    idle_identities_of_one_address: Mining, places::idle_identities_of_one_address, 40;
    claiming_identities: Mining, places::claiming_identities, 40;
    connection_flood: Mining, places::connection_flood, 40;
    eclipse: Mining, places::eclipse, 40;
    yamux_windows: Mining, memory::yamux_windows, 40;
    half_open_streams: Mining, memory::half_open_streams, 40;
    unfinished_requests: Mining, memory::unfinished_requests, 60;
    half_open_connections: Mining, memory::half_open_connections, 40;
    gossip_frames: Mining, memory::gossip_frames, 60;
    slow_reading: Deep, memory::slow_reading, 60;
    told_addresses: Cheap, addresses::told_addresses, 70;
    kademlia_answers: Cheap, addresses::kademlia_answers, 70;
    chat_flood: Mining, chat::chat_flood, 330;
    direct_lines: Mining, chat::direct_lines, 130;
    fake_friends: Mining, chat::fake_friends, 90;
    other_topics: Cheap, chat::other_topics, 10;
    banned_author: Cheap, chat::banned_author, 20;
    stale_gossip: Mining, chat::stale_gossip, 60;
    request_flood: Deep, floods::request_flood, 60;
    free_transactions: Mining, floods::free_transactions, 60;
    relay_strangers: Mining, relays::strangers, 60;
    relay_circuits: Mining, relays::circuits, 60;
}

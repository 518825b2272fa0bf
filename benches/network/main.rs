//! Measures sync and relay of real nodes: processes of the built binary on this machine.
//!
//! ```text
//! cargo bench --bench network                        all bars
//! cargo bench --bench network -- loopback far        some of them
//! cargo bench --profile release --bench network …    the same without link-time optimisation
//! ```
//!
//! Delays and slow lines are proxies of this process between two nodes, which need no privileges.
//! Each bar compares with a speed of the same run. `FRIENDCHAIN_SPEED_ROUNDS=N` sets the rounds of
//! the bars that are medians. `FRIENDCHAIN_SPEED_LOGS=DIR` keeps the logs of all nodes.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "all counts are far smaller than their types allow"
)]

mod chains;
mod cuts;
mod line;
mod mesh;
mod nodes;
mod relay;
mod silent;
mod sync;

#[path = "../../tests/hostile/attacker.rs"]
#[allow(dead_code, reason = "the attacker of tests/hostile has more than is needed here")]
mod attacker;
#[path = "../support/mod.rs"]
mod bench;
#[path = "../../tests/hostile/bytes.rs"]
#[allow(dead_code, reason = "as above")]
mod bytes;
#[path = "../../tests/hostile/forge.rs"]
#[allow(dead_code, reason = "as above")]
mod forge;
#[path = "../../tests/hostile/script.rs"]
#[allow(dead_code, reason = "as above")]
mod script;
#[path = "../../tests/it/support/mod.rs"]
#[allow(dead_code, reason = "the harness of tests/it has more than is needed here")]
mod support;

/// The bars: a name, and the function that measures and prints.
const BARS: &[(&str, fn())] = &[
    ("loopback", sync::loopback),
    ("far", sync::one_far),
    ("four-far", sync::four_far),
    ("full", sync::full),
    ("full-far", sync::full_far),
    ("headers", sync::headers),
    ("slow", sync::slow),
    ("silent", silent::silent),
    ("cuts", cuts::cuts),
    ("known-block", relay::known_block),
    ("spread", relay::spread),
    ("trades", relay::trades),
    ("idle", relay::idle),
];

fn main() {
    let asked: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let known = |name: &String| BARS.iter().any(|(bar, _)| bar == name);
    if let Some(name) = asked.iter().find(|name| !known(name)) {
        let all: Vec<_> = BARS.iter().map(|(bar, _)| *bar).collect();
        eprintln!("there is no bar '{name}': {}", all.join(", "));
        std::process::exit(2);
    }
    for (name, measure) in BARS {
        if asked.is_empty() || asked.iter().any(|asked| asked == name) {
            measure();
        }
    }
}

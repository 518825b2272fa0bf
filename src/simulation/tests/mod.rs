//! Tests of the whole network in virtual time.

use std::sync::OnceLock;

use super::{history::History, liars::Manner, links::Line, world::World};

/// A line of a good connection between homes.
const HOME: Line = Line { delay_us: 20_000, bytes_per_ms: 1_000.0, loss: 0.0 };

/// Returns a chain that all nodes of a test have.
fn history() -> &'static History {
    static HISTORY: OnceLock<History> = OnceLock::new();
    HISTORY.get_or_init(|| History::new(10_000, 70, 8))
}

/// Returns a network of miners with equal power, each connected with the next two.
fn ring(seed: u64, nodes: usize) -> World {
    let mut world = World::new(history().clone(), seed);
    for _ in 0..nodes {
        world.add(history(), Manner::Honest);
    }
    for node in 0..nodes {
        for step in 1..=2 {
            let other = (node + step) % nodes;
            if other != node {
                world.connect(node, other, HOME);
            }
        }
        world.set_power(node, 1.0 / nodes as f64);
    }
    world
}

#[test]
fn miners_agree_on_one_chain() {
    let mut world = ring(1, 6);
    world.run_for(300_000);
    world.finish();
    assert_eq!(world.violations, Vec::<String>::new());
    assert!(world.figures.chain.len() > 70 + 15, "{} blocks", world.figures.chain.len());
}

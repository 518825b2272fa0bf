//! Measures how fast the mempool accepts trades. The bound only checks their signatures.
//!
//! ```text
//! cargo bench --bench mempool
//! ```
//!
//! Each trade spends one coin of 100,000, whose pages are in the store's cache. It runs on one core
//! without commits, as a node does between two commits.

mod support;

use std::time::Duration;

use criterion::{Criterion, Throughput};
use friendchain::{
    chain::Chain,
    consensus::verify_signature,
    primitives::{NetworkId, Transaction},
};
use support::{NOW, PEER, bar, folder, options, populated, side_by_side, timed};

/// Coins on the chain.
const COINS: usize = 100_000;
/// The trades that each side handles in one turn.
const TRADES: usize = 250;
/// The number of times that each side runs.
const ROUNDS: usize = 40;

fn main() {
    let folder = folder();
    let (path, mut generator) = populated(folder.path(), COINS);
    let network = generator.network.id;
    let trades: Vec<_> = (0..TRADES * ROUNDS).map(|_| generator.payment()).collect();

    let mut criterion =
        Criterion::default().configure_from_args().measurement_time(Duration::from_secs(2));
    let mut group = criterion.benchmark_group("mempool");
    group.throughput(Throughput::Elements(1));
    group.bench_function("one signature", |bencher| bencher.iter(|| check(network, &trades[..1])));
    group.finish();
    criterion.final_summary();

    let mut chain = Chain::open(&path, options(1)).expect("a chain");
    // Load the pages that lead to the coins into the cache, where a running node has them already.
    for trade in &trades {
        chain.unknown_trades(vec![trade.txid()]).expect("answers");
        chain.balance(trade.inputs[0].public_key.owner()).expect("a balance");
    }
    let (mut ours, mut theirs) = (trades.chunks(TRADES), trades.chunks(TRADES));
    let accept = || {
        let batch = ours.next().expect("enough").to_vec();
        let ((), time) = timed(|| {
            for trade in batch {
                chain.accept_trade(trade, PEER, NOW).expect("a valid trade");
            }
        });
        time
    };
    let (ratio, accept, bound) = side_by_side(ROUNDS, accept, || {
        let batch = theirs.next().expect("enough");
        timed(|| check(network, batch)).1
    });
    let each = |time: Duration| time.as_secs_f64() * 1e6 / TRADES as f64;
    println!("{:.1} µs a trade, bound {:.1} µs", each(accept), each(bound));
    bar("mempool", 1.0 / ratio, "of one signature check", 0.8);
}

fn check(network: NetworkId, trades: &[Transaction]) {
    for trade in trades {
        let message = Transaction::signing_message(&network, &trade.txid());
        for input in &trade.inputs {
            verify_signature(&input.public_key, &message, &input.signature).expect("valid");
        }
    }
}

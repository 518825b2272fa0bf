//! Measures how fast the chain accepts headers. The bound only decodes, hashes and links them, and
//! compares with the target.
//!
//! ```text
//! cargo bench --bench headers
//! ```
//!
//! The chain has a spacing of 10 s, so that each header's difficulty is computed anew. Headers come
//! in batches of 2,000, as peers send them. The clock stops when all are durable.

mod support;

use std::time::Duration;

use friendchain::{
    chain::Chain,
    consensus::{Network, Target},
    primitives::{BlockHash, HEADER_BYTES, Header, encoding::from_bytes},
};
use support::{NOW, PEER, bar, folder, headers, options, side_by_side, timed};

/// The number of headers.
const COUNT: usize = 200_000;
/// The headers of one message.
const BATCH: usize = 2_000;
/// The number of times that each side runs.
const ROUNDS: usize = 7;

fn main() {
    let (network, headers) = headers(COUNT);
    let bytes: Vec<_> = headers.iter().map(Header::to_array).collect();
    let rate = |time: Duration| COUNT as f64 / time.as_secs_f64();
    let (ratio, ours, bound) =
        side_by_side(ROUNDS, || accept(&network, &bytes), || check(network.id, &bytes));
    println!("{:.0} headers/s, bound {:.0} headers/s", rate(ours), rate(bound));
    bar("headers", 1.0 / ratio, "of decode, hash, link and target", 0.1);
}

/// Does the work that no implementation can avoid.
fn check(genesis: BlockHash, bytes: &[[u8; HEADER_BYTES]]) -> Duration {
    let mut previous = genesis;
    let ((), time) = timed(|| {
        for bytes in bytes {
            let header: Header = from_bytes(bytes).expect("a header");
            let hash = header.hash();
            let target = Target::from_compact(header.bits).expect("bits");
            assert!(header.previous == previous && target.is_met_by(&hash));
            previous = hash;
        }
    });
    time
}

/// Accepts all headers into a new chain.
fn accept(network: &Network, bytes: &[[u8; HEADER_BYTES]]) -> Duration {
    let folder = folder();
    let mut chain =
        Chain::create(&folder.path().join("chain.redb"), network, options(1)).expect("a chain");
    let ((), time) = timed(|| {
        for batch in bytes.chunks(BATCH) {
            let headers: Vec<Header> =
                batch.iter().map(|bytes| from_bytes(bytes).expect("a header")).collect();
            chain.accept_headers(&headers, PEER, NOW).expect("valid headers");
            if chain.is_full() {
                chain.commit().expect("a commit");
            }
        }
        chain.commit().expect("a commit");
    });
    assert_eq!(chain.best_header().height as usize, bytes.len());
    time
}

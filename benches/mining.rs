//! Measures how many nonces one core tries per second. The bound is the midstate and two `sha2`
//! compressions for each.
//!
//! ```text
//! cargo bench --bench mining
//! ```

mod support;

use std::{hint::black_box, time::Duration};

use criterion::{Criterion, Throughput};
use friendchain::{
    consensus::Target,
    miner::NonceSearch,
    primitives::{BlockHash, Header, MerkleRoot},
};
use sha2::block_api::compress256;
use support::{bar, side_by_side, timed};

/// The nonces that each side tries in one turn, as many as the miner's threads do.
const NONCES: u64 = 1 << 13;
/// The number of times that each side runs.
const ROUNDS: usize = 2_000;

const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

fn main() {
    let (previous, merkle_root) = (BlockHash([7; 32]), MerkleRoot([3; 32]));
    let header = Header {
        previous,
        merkle_root,
        height: 5,
        time: 1_700_000_000_000,
        bits: 0x1d00_ffff,
        nonce: 0,
    };
    let search = NonceSearch::new(&header, &Target::ONE);
    let bound = Bound::new(&header);

    let mut criterion =
        Criterion::default().configure_from_args().measurement_time(Duration::from_secs(2));
    let mut group = criterion.benchmark_group("mining");
    group.throughput(Throughput::Elements(NONCES));
    group.bench_function("midstate and two compressions", |bencher| {
        bencher.iter(|| bound.hash(0, NONCES));
    });
    group.bench_function("portable", |bencher| {
        bencher.iter(|| search.find_portable(black_box(0)..=NONCES - 1));
    });
    group.bench_function("widest", |bencher| {
        bencher.iter(|| search.find(black_box(0)..=NONCES - 1));
    });
    group.finish();
    criterion.final_summary();

    let rate = |time: Duration| NONCES as f64 / time.as_secs_f64() / 1e6;
    let against_bound = |search: &dyn Fn(u64) -> Option<u64>| {
        let start = 0x1234_5678_9abc;
        let ours = || timed(|| assert_eq!(black_box(search(start)), None)).1;
        let (_, ours, bound) = side_by_side(ROUNDS, ours, || timed(|| bound.hash(start, NONCES)).1);
        println!("{:.1} MH/s, bound {:.1} MH/s", rate(ours), rate(bound));
        bound.as_secs_f64() / ours.as_secs_f64()
    };
    let portable = against_bound(&|start| search.find_portable(start..=start + NONCES - 1));
    bar("mining", portable, "of midstate and two compressions", 0.95);
    if NonceSearch::lanes() > 1 {
        let widest = against_bound(&|start| search.find(start..=start + NONCES - 1));
        bar("mining-avx512", widest, "× midstate and two compressions", 3.0);
    } else {
        println!("bar mining-avx512: not measured, since this processor has no AVX-512");
    }
}

/// The hashing that every miner must do, and nothing more.
struct Bound {
    midstate: [u32; 8],
    second: [u8; 64],
    outer: [u8; 64],
}

impl Bound {
    fn new(header: &Header) -> Self {
        let bytes = header.to_array();
        let (mut first, mut second, mut outer, mut midstate) = ([0; 64], [0; 64], [0; 64], INITIAL);
        first.copy_from_slice(&bytes[..64]);
        compress256(&mut midstate, &[first]);
        second[..28].copy_from_slice(&bytes[64..]);
        second[28] = 0x80;
        second[62..].copy_from_slice(&736u16.to_be_bytes());
        outer[32] = 0x80;
        outer[62..].copy_from_slice(&256u16.to_be_bytes());
        Self { midstate, second, outer }
    }

    fn hash(&self, start: u64, count: u64) {
        let (mut second, mut outer) = (self.second, self.outer);
        for nonce in start..start + count {
            second[20..28].copy_from_slice(&nonce.to_le_bytes());
            let (mut inner, mut hash) = (self.midstate, INITIAL);
            compress256(&mut inner, std::slice::from_ref(&second));
            for (bytes, word) in outer[..32].as_chunks_mut::<4>().0.iter_mut().zip(inner) {
                *bytes = word.to_be_bytes();
            }
            compress256(&mut hash, std::slice::from_ref(&outer));
            black_box(hash);
        }
    }
}

fn main() {
    use friendchain::{chain::miner::Search, consensus::Target, primitives::*};
    let h = Header {
        previous: BlockHash([7; 32]),
        merkle_root: MerkleRoot([3; 32]),
        height: 5,
        time: 1_700_000_000_000,
        bits: 0x1d00ffff,
        nonce: 0,
    };
    let s = Search::new(&h, &Target::ONE);
    let n = 1 << 13u64;
    let (mut a, mut b) = (0f64, 0f64);
    let mut start = 0x1234_5678_9abcu64;
    for _ in 0..1000 {
        let t = std::time::Instant::now();
        assert_eq!(s.find(start..=start + n - 1), None);
        a = a.max(n as f64 / t.elapsed().as_secs_f64() / 1e6);
        let t = std::time::Instant::now();
        assert_eq!(s.find_portable(start..=start + n - 1), None);
        b = b.max(n as f64 / t.elapsed().as_secs_f64() / 1e6);
        start += n;
    }
    println!("lanes {:.2} MH/s portable {:.2} ratio {:.3}", a, b, a / b);
}

//! The chain that all nodes have at the start of a simulation, and the keys of their wallets.
//!
//! Blocks are really solved, at a difficulty of a few hundred hashes. The hash power is virtual:
//! [`Lottery`] computes the time that a miner needs.

use std::sync::Arc;

use ed25519_dalek::SigningKey;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{
    chain::{Chain, ChainOptions, Origin, store::Store},
    consensus::{ChainParams, Network, Target},
    miner::NonceSearch,
    primitives::{Block, Owner, PublicKey, UnixMillis},
    storage::crash::CrashDisk,
};

/// The time of the genesis.
const GENESIS_TIME: UnixMillis = 1_700_000_000_000;
/// The minimum difficulty of the network, in bits: blocks are as cheap as the rules allow.
const FLOOR_BITS: u8 = 8;
/// The difficulty of the whole hash power, as a multiple of the minimum. The gap lets miners leave
/// before the minimum makes blocks rarer.
const OVER_FLOOR: f64 = 3.0;

/// The virtual search for nonces.
#[derive(Debug)]
pub(super) struct Lottery {
    rng: StdRng,
    /// The remaining work until the next block, as a share of its difficulty.
    left: f64,
}

impl Lottery {
    pub(super) fn new(seed: u64) -> Self {
        let mut lottery = Self { rng: StdRng::seed_from_u64(seed), left: 0.0 };
        lottery.draw();
        lottery
    }

    /// Begins the search for another block.
    pub(super) fn draw(&mut self) {
        self.left = -self.rng.random_range(f64::MIN_POSITIVE..1.0).ln();
    }

    /// Subtracts hashes from the remaining search at a difficulty.
    pub(super) fn work(&mut self, hashes: f64, difficulty: f64) {
        self.left -= hashes / difficulty;
    }

    /// Returns the remaining hashes at a difficulty.
    pub(super) fn left(&self, difficulty: f64) -> f64 {
        self.left.max(0.0) * difficulty
    }
}

/// Returns the average number of hashes for a block with these bits.
pub(super) fn difficulty(bits: u32) -> f64 {
    Target::from_compact(bits).map_or(f64::MAX, |target| target.work().to_f64())
}

/// Finds the nonce of a block.
pub(super) fn solve(block: &mut Block) {
    let Ok(target) = Target::from_compact(block.header.bits) else { return };
    let search = NonceSearch::new(&block.header, &target);
    let nonce = search.find_portable(block.header.nonce..=u64::MAX);
    block.header.nonce = nonce.unwrap_or(block.header.nonce);
}

/// Returns the key of a wallet.
pub(super) fn wallet_key(number: usize) -> SigningKey {
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&(number as u64).to_le_bytes());
    SigningKey::from_bytes(&bytes)
}

pub(super) fn owner_of(key: &SigningKey) -> Owner {
    PublicKey(key.verifying_key().to_bytes()).owner()
}

/// The start state that all nodes share.
#[derive(Debug, Clone)]
pub(crate) struct History {
    pub(super) network: Arc<Network>,
    /// The hashes per ms of all miners together.
    pub(super) power: f64,
    /// The wall time at the start of the simulation.
    pub(super) start: UnixMillis,
    /// The file of the chain.
    pub(super) file: Vec<u8>,
}

/// Returns the network of the simulation, whose genesis pays the first wallet.
pub(super) fn network(spacing_ms: u64) -> Network {
    let params = ChainParams::new("simulation", spacing_ms, FLOOR_BITS).expect("right params");
    let owner = owner_of(&wallet_key(0));
    let mut genesis = Network::genesis_to_mine(&params, owner, GENESIS_TIME).expect("a genesis");
    solve(&mut genesis);
    Network::from_genesis(genesis).expect("a genesis")
}

/// Opens the chain on a disk.
pub(super) fn open(disk: &CrashDisk, network: &Network, nonce_seed: u64) -> Result<Chain, String> {
    let options = ChainOptions { cache_mib: 4, threads: 1, nonce_seed };
    let store = Store::on_backend(disk.clone(), network, 1).map_err(|error| error.to_string())?;
    Chain::on_store(store, options).map_err(|error| error.to_string())
}

impl History {
    /// Mines blocks for all wallets in turn, with the hash power of the whole network.
    pub(crate) fn new(spacing_ms: u64, blocks: usize, wallets: usize) -> Self {
        let network = network(spacing_ms);
        let floor = difficulty(network.genesis.header.bits);
        let power = OVER_FLOOR * floor / spacing_ms.max(1) as f64;
        let mut history =
            Self { network: Arc::new(network), power, start: GENESIS_TIME, file: Vec::new() };
        history.extend(blocks, wallets, 0);
        history
    }

    /// Mines further blocks. Each `branch` has blocks of its own.
    pub(crate) fn extend(&mut self, blocks: usize, wallets: usize, branch: u64) {
        let disk = CrashDisk::quiet(std::mem::take(&mut self.file));
        let mut chain = open(&disk, &self.network, branch).expect("a chain in memory");
        let mut lottery = Lottery::new(branch);
        let mut wall = self.start as f64;
        for number in 0..blocks {
            let owner = owner_of(&wallet_key(number % wallets.max(1)));
            let template = |chain: &mut Chain, wall: f64| {
                chain.template(owner, wall as UnixMillis).expect("a template").block
            };
            let bits = template(&mut chain, wall).header.bits;
            wall += lottery.left(difficulty(bits)) / self.power;
            lottery.draw();
            let mut block = template(&mut chain, wall);
            solve(&mut block);
            chain.accept_block(block, Origin::Local, wall as UnixMillis).expect("a valid block");
            if chain.is_full() {
                chain.commit().expect("a disk in memory");
                chain.drain_events();
            }
        }
        chain.commit().expect("a disk in memory");
        drop(chain);
        self.start = wall as UnixMillis;
        self.file = disk.bytes();
    }
}

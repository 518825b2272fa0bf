//! Generates the chains that the benches measure, from a seed: first many coins of many owners,
//! then full blocks that spend them.
//!
//! Coins are made by blocks that [`Chain`] connects and stores, so that the tables are like those
//! of a node. The benches do not measure this.
#![allow(dead_code, unreachable_pub, reason = "each bench takes what it needs")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "all counts are far smaller than their types allow"
)]

pub mod plot;

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use ed25519_dalek::{Signer as _, SigningKey};
use friendchain::{
    chain::{Chain, ChainOptions, Origin},
    consensus::{
        ChainParams, Coin, CoinKey, HeaderWindow, MAX_BLOCK_BYTES, MAX_TRANSACTION_BYTES, Network,
        SUBSIDY, Target, check_header, min_time, next_bits,
    },
    miner::NonceSearch,
    primitives::{
        Amount, Block, Encode as _, Header, Height, MerkleRoot, OutPoint, Owner, PeerId, PublicKey,
        Signature, Transaction, TxId, TxInput, TxOutput, UnixMillis, coinbase_memo,
        encoding::from_bytes,
    },
};

/// The allocator of the node.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The genesis time of the measured networks.
const GENESIS_TIME: UnixMillis = 1_700_000_000_000;

/// A clock later than every block made here.
pub const NOW: UnixMillis = GENESIS_TIME + 100_000_000_000;

/// The peer that sends all blocks.
pub const PEER: Origin = Origin::Peer(PeerId(PublicKey([9; 32])));

/// The number of owners. It is so large that nearly each signature of a block has a key of its own.
const OWNERS: usize = 1 << 16;

/// The outputs of one coin-making trade, just below the limit of a transaction's bytes.
const OUTPUTS: usize = (MAX_TRANSACTION_BYTES - TxInput::BYTES - 10) / TxOutput::BYTES;
/// The coin-making trades of one block, just below the limit of a block's bytes.
const TRADES: usize = MAX_BLOCK_BYTES / MAX_TRANSACTION_BYTES - 1;

/// The value of a new coin, in units.
const VALUE: u64 = 10_000;

/// The fee of a trade in a full block, in units, if its coins are worth enough. It meets the
/// mempool's minimum for trades of peers.
const FEE: u32 = 400;

/// A generator of reproducible pseudo-random numbers (splitmix64).
#[derive(Debug, Clone)]
pub struct Numbers(pub u64);

impl Numbers {
    /// Returns the next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number in `0..count`.
    pub fn below(&mut self, count: usize) -> usize {
        (self.next() % count as u64) as usize
    }
}

/// An unspent coin. `transaction` is a position in [`Generator`]'s ids, `owner` one in its keys.
#[derive(Debug, Clone, Copy)]
pub struct Spendable {
    transaction: u32,
    index: u32,
    owner: u32,
    value: u32,
}

/// The keys of one owner.
pub struct Keys {
    secret: SigningKey,
    pub public: PublicKey,
    pub owner: Owner,
}

impl Keys {
    /// Derives the keys with this number.
    pub fn new(number: u64) -> Self {
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&number.to_le_bytes());
        let secret = SigningKey::from_bytes(&seed);
        let public = PublicKey(secret.verifying_key().to_bytes());
        Self { secret, owner: public.owner(), public }
    }
}

/// Returns a signed note.
pub fn note(network: &Network, keys: &Keys, index: u32) -> Transaction {
    let outpoint = OutPoint { txid: TxId::ZERO, index };
    let input = TxInput { outpoint, public_key: keys.public, signature: Signature([0; 64]) };
    let mut note =
        Transaction { inputs: vec![input], outputs: vec![], memo: b"written down".to_vec() };
    let message = Transaction::signing_message(&network.id, &note.txid());
    note.inputs[0].signature = Signature(keys.secret.sign(&message).to_bytes());
    note
}

/// Spacing of [`spaced_network`], in ms.
const SPACING: u64 = 10_000;

/// Returns a network with a spacing of 10 s.
pub fn spaced_network() -> Network {
    let params = ChainParams::new("headers", SPACING, 8).expect("params");
    let mut genesis =
        Network::genesis_to_mine(&params, Keys::new(0).owner, GENESIS_TIME).expect("params");
    mine(&mut genesis);
    Network::from_genesis(genesis).expect("a genesis")
}

/// Makes `count` blocks on the genesis of such a network, one spacing apart. They hold a coinbase
/// alone, and their difficulty follows the rules.
pub fn empty_blocks(network: &Network, count: usize, mut sink: impl FnMut(Block)) {
    let owner = Keys::new(0).owner;
    let mut window = HeaderWindow::genesis(network);
    for _ in 0..count {
        let time = window.parent_time() + SPACING;
        let bits = next_bits(network, &window, time);
        let (previous, height) = (window.parent(), window.parent_height() + 1);
        let header =
            Header { previous, merkle_root: MerkleRoot::ZERO, height, time, bits, nonce: 0 };
        let coinbase = Transaction {
            inputs: vec![],
            outputs: vec![TxOutput { value: SUBSIDY, owner }],
            memo: coinbase_memo(height, b""),
        };
        let mut block = Block { header, transactions: vec![coinbase] };
        block.header.merkle_root = block.computed_merkle_root();
        let search = NonceSearch::new(&block.header, &Target::from_compact(bits).expect("bits"));
        block.header.nonce = search.find(0..=u64::MAX).expect("a nonce");
        window.push(&check_header(&block.header, network, &window, NOW).expect("a valid header"));
        sink(block);
    }
}

/// Returns such a network with the headers of `count` blocks.
pub fn headers(count: usize) -> (Network, Vec<Header>) {
    let network = spaced_network();
    let mut headers = Vec::with_capacity(count);
    empty_blocks(&network, count, |block| headers.push(block.header));
    (network, headers)
}

/// A chain that grows block by block, with its unspent coins.
pub struct Generator {
    /// A network without spacing, so that difficulty stays at its floor of 8 bits.
    pub network: Network,
    headers: Vec<Header>,
    keys: Arc<Vec<Keys>>,
    ids: Vec<TxId>,
    /// The unspent coins.
    pub coins: Vec<Spendable>,
    /// Coinbase outputs that the next block turns into coins.
    seeds: Vec<(OutPoint, u32)>,
    numbers: Numbers,
}

impl Generator {
    /// Returns a chain of the genesis block alone.
    pub fn new(seed: u64) -> Self {
        let params = ChainParams::new("bench", 0, 8).expect("params");
        let keys: Vec<_> = (0..OWNERS as u64).map(Keys::new).collect();
        let mut genesis =
            Network::genesis_to_mine(&params, keys[0].owner, GENESIS_TIME).expect("params");
        mine(&mut genesis);
        let network = Network::from_genesis(genesis).expect("a genesis");
        let headers = vec![network.genesis.header];
        let (ids, coins, seeds) = (Vec::new(), Vec::new(), Vec::new());
        Self { network, headers, keys: Arc::new(keys), ids, coins, seeds, numbers: Numbers(seed) }
    }

    /// Returns the keys of an owner.
    pub fn keys(&self, number: usize) -> &Keys {
        &self.keys[number]
    }

    /// Returns the headers of the whole chain, genesis first.
    pub fn headers(&self) -> &[Header] {
        &self.headers
    }

    /// Mines a block on the tip.
    fn seal(&mut self, coinbase: Vec<TxOutput>, trades: Vec<Transaction>) -> Block {
        let last = self.headers.len().saturating_sub(200);
        let window = HeaderWindow::from_headers(&self.headers[last..]).expect("a window");
        let time = min_time(&window).max(window.parent_time() + 1_000);
        let height = window.parent_height() + 1;
        let mut transactions = vec![Transaction {
            inputs: vec![],
            outputs: coinbase,
            memo: coinbase_memo(height, b""),
        }];
        transactions.extend(trades);
        let (previous, bits) = (window.parent(), next_bits(&self.network, &window, time));
        let header =
            Header { previous, merkle_root: MerkleRoot::ZERO, height, time, bits, nonce: 0 };
        let mut block = Block { header, transactions };
        block.header.merkle_root = block.computed_merkle_root();
        mine(&mut block);
        assert!(block.encoded_len() <= MAX_BLOCK_BYTES, "a block of {} bytes", block.encoded_len());
        self.headers.push(block.header);
        block
    }

    /// Returns a block that makes at most `count` coins for random owners. The first such block
    /// makes none: it only prepares coinbase outputs for the next one to split.
    pub fn make_coins(&mut self, count: usize) -> Block {
        let mut trades = Vec::new();
        let mut left = count;
        for (place, owner) in std::mem::take(&mut self.seeds) {
            let owners: Vec<_> =
                (0..left.min(OUTPUTS)).map(|_| self.numbers.below(OWNERS) as u32).collect();
            if owners.is_empty() {
                break;
            }
            left -= owners.len();
            let output = |owner: &u32| TxOutput {
                value: units(VALUE),
                owner: self.keys[*owner as usize].owner,
            };
            let outputs = owners.iter().map(output).collect();
            let trade = self.signed(&[(place, owner)], outputs);
            let transaction = self.ids.len() as u32;
            self.ids.push(trade.txid());
            let value = VALUE as u32;
            let coins = (0u32..).zip(owners).map(|(index, owner)| Spendable {
                transaction,
                index,
                owner,
                value,
            });
            self.coins.extend(coins);
            trades.push(trade);
        }
        let value = units(SUBSIDY.units() / TRADES as u64);
        let owners: Vec<_> = (0..TRADES).map(|_| self.numbers.below(OWNERS) as u32).collect();
        let outputs = owners
            .iter()
            .map(|owner| TxOutput { value, owner: self.keys[*owner as usize].owner })
            .collect();
        let block = self.seal(outputs, trades);
        let txid = block.transactions[0].txid();
        self.seeds =
            (0u32..).zip(owners).map(|(index, owner)| (OutPoint { txid, index }, owner)).collect();
        block
    }

    /// Returns a block of `count` trades, each of two random coins to two random owners. The new
    /// coins can be spent from the next block on.
    pub fn trades(&mut self, count: usize) -> Block {
        let picked: Vec<_> = (0..count)
            .map(|_| {
                let two = [0; 2].map(|_| {
                    let at = self.numbers.below(self.coins.len());
                    self.coins.swap_remove(at)
                });
                (two, [0; 2].map(|_| self.numbers.below(OWNERS) as u32))
            })
            .collect();
        let make = |(coins, owners): &([Spendable; 2], [u32; 2])| {
            let place = |coin: &Spendable| OutPoint {
                txid: self.ids[coin.transaction as usize],
                index: coin.index,
            };
            let inputs = coins.each_ref().map(|coin| (place(coin), coin.owner));
            let value: u32 = coins.iter().map(|coin| coin.value).sum();
            let value = units(u64::from(value - if value > 10 * FEE { FEE } else { 0 }) / 2);
            let output = |owner: &u32| TxOutput { value, owner: self.keys[*owner as usize].owner };
            self.signed(&inputs, owners.iter().map(output).collect())
        };
        // Signing takes longest, so use two threads.
        let (first, second) = picked.split_at(picked.len() / 2);
        let trades: Vec<_> = std::thread::scope(|scope| {
            let other = scope.spawn(|| second.iter().map(make).collect::<Vec<_>>());
            let mut trades: Vec<_> = first.iter().map(make).collect();
            trades.extend(other.join().expect("signs"));
            trades
        });
        for (trade, (_, owners)) in trades.iter().zip(picked) {
            let transaction = self.ids.len() as u32;
            self.ids.push(trade.txid());
            let value = trade.outputs.first().map_or(0, |output| output.value.units() as u32);
            let coins = (0u32..).zip(owners).map(|(index, owner)| Spendable {
                transaction,
                index,
                owner,
                value,
            });
            self.coins.extend(coins);
        }
        let outputs = vec![TxOutput { value: SUBSIDY, owner: self.keys[0].owner }];
        self.seal(outputs, trades)
    }

    /// Returns a block whose coinbase makes `count` coins for one owner.
    pub fn reward(&mut self, owner: Owner, count: usize) -> Block {
        let value = units(SUBSIDY.units() / count as u64);
        self.seal(vec![TxOutput { value, owner }; count], Vec::new())
    }

    /// Returns a trade with each input signed by its owner.
    pub fn signed(&self, inputs: &[(OutPoint, u32)], outputs: Vec<TxOutput>) -> Transaction {
        let unsigned = |(outpoint, owner): &(OutPoint, u32)| TxInput {
            outpoint: *outpoint,
            public_key: self.keys[*owner as usize].public,
            signature: Signature([0; 64]),
        };
        let mut trade =
            Transaction { inputs: inputs.iter().map(unsigned).collect(), outputs, memo: vec![] };
        let message = Transaction::signing_message(&self.network.id, &trade.txid());
        for (input, (_, owner)) in trade.inputs.iter_mut().zip(inputs) {
            input.signature =
                Signature(self.keys[*owner as usize].secret.sign(&message).to_bytes());
        }
        trade
    }

    /// Grows the chain until it has `coins` coins. `sink` receives each block.
    pub fn populate(&mut self, coins: usize, mut sink: impl FnMut(Block)) {
        while self.coins.len() < coins {
            let block = self.make_coins(coins - self.coins.len());
            sink(block);
        }
    }

    /// Returns all unspent coins by key, without those of coinbases. Their heights are invented.
    pub fn coin_map(&self) -> HashMap<CoinKey, Coin> {
        let entry = |coin: &Spendable| {
            let outpoint =
                OutPoint { txid: self.ids[coin.transaction as usize], index: coin.index };
            let owner = self.keys[coin.owner as usize].owner;
            (
                CoinKey { owner, outpoint },
                Coin { value: units(coin.value.into()), height: 1, coinbase: false },
            )
        };
        self.coins.iter().map(entry).collect()
    }

    /// Returns a trade of one random coin to one random owner, with a fee of 1,000 units.
    pub fn payment(&mut self) -> Transaction {
        let at = self.numbers.below(self.coins.len());
        let coin = self.coins.swap_remove(at);
        let place = OutPoint { txid: self.ids[coin.transaction as usize], index: coin.index };
        let owner = self.keys[self.numbers.below(OWNERS)].owner;
        self.signed(
            &[(place, coin.owner)],
            vec![TxOutput { value: units(u64::from(coin.value) - 1_000), owner }],
        )
    }

    /// Returns `count` encoded blocks of 2,000 trades, each with two inputs and two outputs.
    pub fn full_blocks(&mut self, count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|_| self.trades(2_000).to_bytes()).collect()
    }
}

fn units(units: u64) -> Amount {
    Amount::from_units(units)
}

/// Searches the nonce that meets the block's own target.
pub fn mine(block: &mut Block) {
    let target = Target::from_compact(block.header.bits).expect("bits");
    while !target.is_met_by(&block.header.hash()) {
        block.header.nonce += 1;
    }
}

/// Returns a node's default options, with `threads` threads.
pub fn options(threads: usize) -> ChainOptions {
    ChainOptions { threads, nonce_seed: 1, ..ChainOptions::default() }
}

/// Creates a temporary folder on the disk that the program was built on.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder")
}

/// Returns the file of a closed chain with `coins` coins, and the generator that continues it.
///
/// The chain is made once, kept in cargo's target folder, and copied into `folder`.
pub fn populated(folder: &Path, coins: usize) -> (PathBuf, Generator) {
    let mut generator = Generator::new(coins as u64);
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("coins-{coins}.redb"));
    if kept.exists() {
        generator.populate(coins, drop);
    } else {
        let started = Instant::now();
        let unfinished = folder.join("unfinished.redb");
        let mut chain =
            Chain::create(&unfinished, &generator.network, options(2)).expect("a chain");
        generator.populate(coins, |block| {
            chain.accept_block(block, PEER, NOW).expect("a valid block");
            if chain.is_full() {
                chain.commit().expect("a commit");
            }
        });
        chain.commit().expect("a commit");
        drop(chain);
        fs::rename(&unfinished, &kept).expect("kept");
        eprintln!("made a chain of {coins} coins in {:.1} s", started.elapsed().as_secs_f64());
    }
    let path = folder.join("chain.redb");
    fs::copy(&kept, &path).expect("a copy");
    fs::File::open(&path).and_then(|file| file.sync_all()).expect("on the disk");
    (path, generator)
}

/// Decodes a block.
pub fn decode(bytes: &[u8]) -> Block {
    from_bytes(bytes).expect("a block")
}

/// Returns the headers above a height.
pub fn headers_after(generator: &Generator, height: Height) -> Vec<Header> {
    generator.headers().iter().filter(|header| header.height > height).copied().collect()
}

/// Runs `work` and measures its time.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let started = Instant::now();
    let result = work();
    (result, started.elapsed())
}

/// Prints the line of a bar with a minimum, for people and scripts.
pub fn bar(name: &str, figure: f64, what: &str, least: f64) {
    let verdict = if figure >= least { "ok" } else { "MISSED" };
    println!("bar {name}: {figure:.2} {what} (bar ≥ {least}) {verdict}");
}

/// Prints the line of a bar with a maximum.
pub fn bar_at_most(name: &str, figure: f64, what: &str, most: f64) {
    let verdict = if figure <= most { "ok" } else { "MISSED" };
    println!("bar {name}: {figure:.2} {what} (bar ≤ {most}) {verdict}");
}

/// Returns the median.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Runs both sides in turn, `rounds` times, so that other load of the machine affects both alike.
///
/// Returns the median over all rounds of the first side's time divided by the second's, and the
/// shortest time of each side.
pub fn side_by_side(
    rounds: usize,
    mut first: impl FnMut() -> Duration,
    mut second: impl FnMut() -> Duration,
) -> (f64, Duration, Duration) {
    let times: Vec<_> = (0..rounds).map(|_| (first(), second())).collect();
    let ratio = median(
        times.iter().map(|(first, second)| first.as_secs_f64() / second.as_secs_f64()).collect(),
    );
    let shortest = |times: &mut dyn Iterator<Item = Duration>| times.min().unwrap_or_default();
    (
        ratio,
        shortest(&mut times.iter().map(|times| times.0)),
        shortest(&mut times.iter().map(|times| times.1)),
    )
}

/// Returns this process's resident memory in MiB: now, and at its peak.
pub fn memory_mib() -> (u64, u64) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
            / 1024
    };
    (field("VmRSS:"), field("VmHWM:"))
}

/// Returns the processor time of this process.
pub fn cpu_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    // Linux reports these times in hundredths of a second, at any kernel tick rate.
    Duration::from_millis(ticks * 10)
}

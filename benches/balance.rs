//! Measures the time to compute an address's balance among very many coins. The unit is a point
//! read of the same store.
//!
//! ```text
//! cargo bench --bench balance [-- --coins N]
//! ```
//!
//! Addresses and coins are drawn at random, so that neither side finds its pages in the cache more
//! often.

mod support;

use std::{path::Path, time::Duration};

use friendchain::{chain::Chain, primitives::Owner};
use redb::{Database, ReadOnlyTable, ReadableDatabase as _, TableDefinition};
use support::{Numbers, bar_at_most, folder, options, populated, side_by_side, timed};

/// The chain's table of coins: from owner, txid and index to value, height and kind.
const COINS: TableDefinition<'static, &[u8; 56], &[u8; 13]> = TableDefinition::new("coins_1");
type Coins = ReadOnlyTable<&'static [u8; 56], &'static [u8; 13]>;

/// The addresses whose balance is computed in one turn.
const ADDRESSES: usize = 1_000;
/// The coins that are read in one turn.
const READS: usize = 10_000;
/// The number of times that each side runs.
const ROUNDS: usize = 5;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let coins = arguments.iter().position(|argument| argument == "--coins");
    let coins = coins.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(10_000_000);
    let folder = folder();
    let (path, generator) = populated(folder.path(), coins);
    let mut numbers = Numbers(1);
    let mut owners = |count: usize| -> Vec<Owner> {
        (0..count).map(|_| generator.keys(numbers.below(1 << 16)).owner).collect()
    };

    // The key of one coin of each of many addresses, in random order.
    let places: Vec<[u8; 56]> = on_store(&path, |coins| {
        let first = |owner: &Owner| {
            let (mut first, mut last) = ([0; 56], [0xff; 56]);
            first[..20].copy_from_slice(&owner.0);
            last[..20].copy_from_slice(&owner.0);
            let mut range = coins.range::<&[u8; 56]>(&first..=&last).expect("a range");
            *range.next().expect("an owner of coins").expect("a coin").0.value()
        };
        owners(READS * ROUNDS).iter().map(first).collect()
    });
    let (mut places, mut found) = (places.chunks(READS), 0usize);
    let balances = || {
        let asked = owners(ADDRESSES);
        let mut chain = Chain::open(&path, options(1)).expect("a chain");
        let (sum, time) = timed(|| {
            let balance =
                |owner: &Owner| chain.balance(*owner).expect("a balance").confirmed.units();
            asked.iter().map(balance).sum::<u64>()
        });
        found += usize::try_from(sum / 10_000).expect("fewer");
        time
    };
    let (ratio, ours, reads) = side_by_side(ROUNDS, balances, || {
        let places = places.next().expect("enough");
        on_store(&path, |coins| {
            let read = || {
                places.iter().filter(|place| coins.get(*place).expect("a read").is_some()).count()
            };
            let (count, time) = timed(read);
            assert_eq!(count, READS);
            time
        })
    });
    let each = |time: Duration, count: usize| time.as_secs_f64() * 1e6 / count as f64;
    let held = found / (ADDRESSES * ROUNDS);
    println!(
        "{:.1} µs a balance of {held} coins on average, {:.1} µs a point read",
        each(ours, ADDRESSES),
        each(reads, READS)
    );
    bar_at_most("balance", ratio * READS as f64 / ADDRESSES as f64, "point reads", 50.0);
}

/// Reads the store without a chain, with the cache size that a chain would give it.
fn on_store<T>(path: &Path, read: impl FnOnce(&Coins) -> T) -> T {
    let cache = options(1).cache_mib / 2 * (1 << 20);
    let database = Database::builder().set_cache_size(cache).open(path).expect("a database");
    let transaction = database.begin_read().expect("a transaction");
    read(&transaction.open_table(COINS).expect("the table"))
}

//! The chains that nodes serve. Each is made once and stored in cargo's target folder.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use friendchain::chain::Chain;

use crate::bench::{Generator, NOW, PEER, options};

/// A stored chain.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    /// The file of the whole chain.
    whole: PathBuf,
    /// The file of the genesis alone.
    genesis: PathBuf,
    /// The bytes of each block, from height 1.
    pub(crate) sizes: Vec<u64>,
}

impl Kept {
    /// Returns the height of the tip.
    pub(crate) fn height(&self) -> usize {
        self.sizes.len()
    }

    /// Returns the bytes of all blocks.
    pub(crate) fn bytes(&self) -> u64 {
        self.sizes.iter().sum()
    }

    /// Writes the whole chain into a data folder.
    pub(crate) fn write_whole(&self, folder: &Path) {
        put(&self.whole, folder);
    }

    /// Writes the chain of the genesis alone into a data folder.
    pub(crate) fn write_genesis(&self, folder: &Path) {
        put(&self.genesis, folder);
    }
}

fn put(kept: &Path, folder: &Path) {
    let path = folder.join("chain.redb");
    fs::copy(kept, &path).expect("a copy");
    fs::File::open(&path).and_then(|file| file.sync_all()).expect("on the disk");
}

/// Returns `count` blocks with `trades` trades each, of two coins to two owners.
pub(crate) fn chain(count: usize, trades: usize) -> Kept {
    chain_with_coins(count, trades, 20_000.max(20 * trades), usize::MAX)
}

/// Returns the blocks of a chain that begins with blocks of at most `at_once` new coins each.
pub(crate) fn chain_with_coins(count: usize, trades: usize, coins: usize, at_once: usize) -> Kept {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let file = |what: &str| folder.join(format!("network-{count}-{trades}-{what}"));
    let (whole, genesis, list) = (file("whole.redb"), file("genesis.redb"), file("sizes.txt"));
    if !list.exists() {
        let started = Instant::now();
        let unfinished = file("unfinished.redb");
        for old in [&unfinished, &genesis] {
            let _ = fs::remove_file(old);
        }
        let mut generator = Generator::new((count + trades) as u64);
        drop(Chain::create(&genesis, &generator.network, options(2)).expect("a chain"));
        let sizes = make(&unfinished, &mut generator, [count, trades, coins, at_once]);
        fs::rename(&unfinished, &whole).expect("kept");
        let lines: Vec<String> = sizes.iter().map(ToString::to_string).collect();
        let text = lines.join("\n") + "\n";
        fs::write(&list, text).expect("kept");
        let seconds = started.elapsed().as_secs_f64();
        eprintln!("made a chain of {count} blocks of {trades} trades in {seconds:.0} s");
    }
    let text = fs::read_to_string(&list).expect("kept");
    let sizes = text.lines().map(|line| line.parse().expect("a size")).collect();
    Kept { whole, genesis, sizes }
}

fn make(
    path: &Path,
    generator: &mut Generator,
    [count, trades, coins, at_once]: [usize; 4],
) -> Vec<u64> {
    let mut chain = Chain::create(path, &generator.network, options(2)).expect("a chain");
    let mut sizes = Vec::with_capacity(count);
    while sizes.len() < count {
        let lacking = coins.saturating_sub(generator.coins.len());
        let block = if lacking > 0 && trades > 0 {
            generator.make_coins(lacking.min(at_once))
        } else {
            generator.trades(trades)
        };
        sizes.push(block.encoded_len() as u64);
        chain.accept_block(block, PEER, NOW).expect("a valid block");
        if chain.is_full() {
            chain.commit().expect("a commit");
        }
    }
    chain.commit().expect("a commit");
    sizes
}

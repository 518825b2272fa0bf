//! Tests of damaged files: damage is reported, nothing wrong is accepted as right, and what can be
//! repaired is repaired.

mod frozen;

use std::{collections::BTreeMap, fs, path::Path};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use redb::{Database, ReadableTable as _};

use super::crash::{Player, Step, long_run, script};
use crate::{
    chain::{
        Chain, ChainFault, OpenError, Origin, TxState,
        repair::salvage::salvage,
        store::tables::{WriteTables, block_key},
        testing::{Branch, NOW, PEER, key, network, options, owner},
    },
    consensus::Network,
    primitives::{Amount, Block, BlockHash, Height, TxId},
    storage::{contain, crash::CrashDisk},
};

/// A chain in a file, the blocks and trades behind it, and its true state.
struct Sample {
    folder: tempfile::TempDir,
    network: Network,
    blocks: Vec<Block>,
    bytes: Vec<u8>,
    truth: Truth,
}

/// The state that a damaged file must never misreport.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Truth {
    tip: BlockHash,
    coins_hash: [u8; 32],
    supply: Amount,
    balances: Vec<Amount>,
    /// Own trades; true if the trade is mined, false if it waits. There is only one copy of a void
    /// trade.
    own: BTreeMap<TxId, bool>,
}

impl Truth {
    /// Reads the state of a chain after a clean audit; returns the problem if the audit finds one.
    fn of(chain: &mut Chain) -> Result<Self, String> {
        let audit = chain.verify(&mut |_, _| true).map_err(|fault| fault.to_string())?;
        if let Some(problem) = audit.problem {
            assert!(problem.len() > 20, "{problem}");
            return Err(problem);
        }
        let balances =
            (1..4).map(|n| chain.balance(owner(&key(n))).map(|balance| balance.confirmed));
        let balances =
            balances.collect::<Result<_, ChainFault>>().map_err(|fault| fault.to_string())?;
        let mut own = BTreeMap::new();
        for txid in chain.own.ids().collect::<Vec<_>>() {
            match chain.transaction(txid).map_err(|fault| fault.to_string())?.map(|info| info.state)
            {
                Some(TxState::Void { .. }) => {}
                Some(state) => drop(own.insert(txid, matches!(state, TxState::Mined { .. }))),
                None => return Err(format!("the own trade {txid} is not known")),
            }
        }
        Ok(Self {
            tip: audit.tip,
            coins_hash: audit.coins_hash,
            supply: audit.supply,
            balances,
            own,
        })
    }
}

impl Sample {
    fn new(length: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sample.redb");
        let network = network();
        let steps = script(&network, 5, length);
        let mut chain = Chain::create(&path, &network, options()).expect("made");
        let mut blocks = Vec::new();
        for step in &steps {
            match step {
                Step::Block(block) => {
                    drop(chain.accept_block(block.clone(), PEER, NOW));
                    blocks.push(block.clone());
                }
                Step::Trade(trade, origin) => drop(chain.accept_trade(trade.clone(), *origin, NOW)),
                Step::Headers(headers) => drop(chain.accept_headers(headers, PEER, NOW)),
                Step::Commit | Step::Store | Step::Reindex => chain.commit().expect("a disk"),
            }
        }
        // In the order in which headers-first peers would send them.
        blocks.sort_by_key(|block| block.header.height);
        // A note waits in the mempool.
        let text = crate::chain::testing::note(&network.id, &key(4), 9, b"waits");
        chain.accept_trade(text, Origin::Local, NOW).expect("a trade");
        let truth = Truth::of(&mut chain).expect("sound");
        assert!(
            truth.own.values().any(|is_mined| *is_mined)
                && truth.own.values().any(|is_mined| !is_mined)
        );
        drop(chain);
        let bytes = fs::read(&path).expect("the file");
        Self { folder, network, blocks, bytes, truth }
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("chain.redb")
    }

    /// Writes these bytes to the chain's path.
    fn place(&self, bytes: &[u8]) -> std::path::PathBuf {
        for entry in fs::read_dir(self.folder.path()).expect("the folder") {
            fs::remove_file(entry.expect("an entry").path()).expect("removed");
        }
        fs::write(self.path(), bytes).expect("written");
        self.path()
    }

    /// Returns the problem found in a damaged file; `None` if everything is as it was.
    fn found(&self, bytes: &[u8]) -> Option<String> {
        let path = self.place(bytes);
        let found = contain(|| match Chain::open(&path, options()) {
            Err(error) => Some(error.to_string()),
            Ok(mut chain) => match Truth::of(&mut chain) {
                Err(problem) => Some(problem),
                Ok(truth) => {
                    assert_eq!(truth, self.truth, "a wrong answer given as right");
                    None
                }
            },
        });
        found.unwrap_or_else(|panic| {
            assert!(!panic.contains("given as right"), "{panic}");
            Some(panic)
        })
    }

    /// Repairs a damaged file as `reindex` does, and then sends the chain every block again, as
    /// peers would. Everything must be as before, except for lost own trades. Returns their number.
    fn mend(&self, bytes: &[u8]) -> Result<usize, OpenError> {
        self.mend_to(bytes).map(|(forgotten, _)| forgotten)
    }

    /// Does the same as [`Sample::mend`], and also returns the height before blocks arrived.
    fn mend_to(&self, bytes: &[u8]) -> Result<(usize, Height), OpenError> {
        let path = self.place(bytes);
        let mended = contain(|| {
            let mut chain = Chain::open(&path, options()).ok()?;
            let audit = chain.reindex(NOW, &mut |_, _| true).ok()?;
            // The repaired file is whole.
            if let Err(problem) = Truth::of(&mut chain) {
                panic!("not mended, though reindex says {:?}: {problem}", audit.problem);
            }
            Some(())
        });
        assert!(!mended.as_ref().is_err_and(|panic| panic.contains("not mended")), "{mended:?}");
        if !matches!(mended, Ok(Some(()))) {
            let before = self.place(bytes);
            let salvaged = salvage(&path, options(), NOW, &mut |_, _| {})?;
            assert_eq!(
                fs::read(&salvaged.backup).expect("the backup"),
                bytes,
                "the damaged file is kept as it was"
            );
            assert!(
                salvaged.audit.problem.is_some_and(|problem| problem.contains("chain-damaged-"))
            );
            assert_eq!(before, path);
        }
        let mut chain = Chain::open(&path, options()).expect("mended");
        let saved = chain.tip().height;
        let answers: Vec<_> =
            self.blocks.iter().map(|block| chain.accept_block(block.clone(), PEER, NOW)).collect();
        let mended = Truth::of(&mut chain).unwrap_or_else(|problem| panic!("{problem}"));
        let mut truth = self.truth.clone();
        truth.own.retain(|txid, _| mended.own.contains_key(txid));
        assert_eq!(mended, truth, "{answers:?}");
        Ok((self.truth.own.len() - truth.own.len(), saved))
    }
}

/// Returns a file after a change through redb itself.
fn changed(sample: &Sample, change: impl FnOnce(&mut WriteTables<'_>)) -> Vec<u8> {
    let path = sample.place(&sample.bytes);
    let database = Database::open(&path).expect("open");
    let transaction = database.begin_write().expect("a transaction");
    change(&mut WriteTables::open(&transaction).expect("tables"));
    transaction.commit().expect("a commit");
    drop(database);
    fs::read(&path).expect("the file")
}

/// Flips one bit of the value of the `nth` key of a table.
macro_rules! flip {
    ($sample:expr, $table:ident, $nth:expr, $bit:expr) => {
        changed($sample, |tables| {
            let nth = $nth
                % usize::try_from(
                    redb::ReadableTableMetadata::len(&tables.$table).expect("a length"),
                )
                .expect("small");
            let (key, value) = {
                let (key, value) = tables
                    .$table
                    .iter()
                    .expect("a table")
                    .nth(nth)
                    .expect("there")
                    .expect("an entry");
                (key.value().to_owned(), value.value().to_owned())
            };
            let mut value = value;
            let bit = $bit % (value.len() * 8);
            value[bit / 8] ^= 1 << (bit % 8);
            tables.$table.insert(&key, value.as_slice()).expect("written");
        })
    };
}

#[test]
fn a_flipped_bit_in_any_table_is_found_and_mended() {
    let sample = Sample::new(60);
    let mut random = StdRng::seed_from_u64(2);
    let rounds = long_run().map_or(12, |seeds| seeds * 10);
    for _ in 0..rounds {
        let (nth, bit) =
            (random.random_range(0..1_000_usize), random.random_range(0..100_000_usize));
        let blocks = flip!(&sample, blocks, nth, bit);
        let undo = flip!(&sample, undo, nth, bit);
        let own = flip!(&sample, own, nth, bit);
        let mempool = flip!(&sample, mempool, nth, bit);
        for (table, bytes) in
            [("blocks", blocks), ("undo", undo), ("own", own), ("mempool", mempool)]
        {
            let found = sample.found(&bytes);
            // The opening repairs a waiting trade from its own record. Times, orders and reasons
            // have no known truth.
            let may_be_true = table == "own" || table == "mempool";
            assert!(found.is_some() || may_be_true, "a flip in {table} was not found: {nth} {bit}");
            assert_eq!(sample.mend(&bytes), Ok(0), "{table}: {nth} {bit}");
        }
    }
}

/// Returns a record of the note "waits" with one flipped bit in the signature, which ends 9 bytes
/// before the record does.
fn forged(record: &[u8]) -> Vec<u8> {
    let mut record = record.to_vec();
    let within = record.len() - 20;
    record[within] ^= 1;
    record
}

#[test]
fn an_own_trade_outlives_damage_to_either_of_its_copies() {
    let sample = Sample::new(40);
    let txid = crate::chain::testing::note(&sample.network.id, &key(4), 9, b"waits").txid();
    assert_eq!(sample.truth.own.get(&txid), Some(&false));
    let damaged = |own: bool| {
        changed(&sample, |tables| {
            let table = if own { &mut tables.own } else { &mut tables.mempool };
            let value = table.get(&txid.0).expect("a table").expect("there").value().to_vec();
            table.insert(&txid.0, forged(&value).as_slice()).expect("written");
        })
    };
    let lost = changed(&sample, |tables| drop(tables.mempool.remove(&txid.0).expect("a table")));

    // The opening repairs the waiting copy from the own record, for good.
    let path = sample.place(&damaged(false));
    drop(Chain::open(&path, options()).expect("a chain"));
    let mut again = Chain::open_frozen(&path, options()).expect("a chain");
    assert_eq!(Truth::of(&mut again).as_ref(), Ok(&sample.truth));
    drop(again);

    for (bytes, words) in [(damaged(true), "is damaged"), (lost, "neither waits")] {
        let path = sample.place(&bytes);
        let mut chain = Chain::open(&path, options()).expect("a chain");
        let found = Truth::of(&mut chain).expect_err("found");
        assert!(
            found.contains(words) && found.contains(&txid.to_string()) && found.contains("reindex"),
            "{found}"
        );
        assert_eq!(chain.reindex(NOW, &mut |_, _| true).expect("rebuilt").problem, None);
        assert_eq!(Truth::of(&mut chain).as_ref(), Ok(&sample.truth));
    }
}

#[test]
fn a_void_trade_whose_one_copy_is_damaged_is_named_and_forgotten() {
    let sample = Sample::new(40);
    let path = sample.place(&sample.bytes);
    let mut chain = Chain::open(&path, options()).expect("a chain");
    let text = crate::chain::testing::note(&sample.network.id, &key(4), 10, b"waits");
    let txid = chain.accept_trade(text.clone(), Origin::Local, NOW).expect("a trade");
    chain.make_void(txid, text, NOW, "it is tried".to_owned()).expect("a disk");
    chain.mempool.remove(&txid);
    chain.overlay.remove_waiting(txid);
    chain.commit().expect("a disk");
    drop(chain);
    let database = Database::open(&path).expect("open");
    let transaction = database.begin_write().expect("a transaction");
    {
        let mut tables = WriteTables::open(&transaction).expect("tables");
        let value = tables.own.get(&txid.0).expect("a table").expect("there").value().to_vec();
        tables.own.insert(&txid.0, forged(&value).as_slice()).expect("written");
    }
    transaction.commit().expect("a commit");
    drop(database);

    let mut chain = Chain::open(&path, options()).expect("a chain");
    assert!(Truth::of(&mut chain).is_err_and(|found| found.contains(&txid.to_string())));
    let audit = chain.reindex(NOW, &mut |_, _| true).expect("rebuilt");
    assert!(audit.problem.is_some_and(
        |problem| problem.contains("forgotten") && problem.contains(&txid.to_string())
    ));
    assert_eq!(Truth::of(&mut chain).as_ref(), Ok(&sample.truth));
}

#[test]
fn wrong_coins_index_and_undo_records_are_found_and_rebuilt() {
    let sample = Sample::new(60);
    let coin = changed(&sample, |tables| {
        let (key, mut value) = {
            let (key, value) =
                tables.coins.iter().expect("a table").next().expect("there").expect("an entry");
            (*key.value(), *value.value())
        };
        value[0] ^= 1;
        tables.coins.insert(&key, &value).expect("written");
    });
    let flag = changed(&sample, |tables| {
        let (key, mut value) = {
            let (key, value) =
                tables.coins.iter().expect("a table").next().expect("there").expect("an entry");
            (*key.value(), *value.value())
        };
        value[12] |= 2;
        tables.coins.insert(&key, &value).expect("written");
    });
    let lost_coin = changed(&sample, |tables| drop(tables.coins.pop_last().expect("a table")));
    let index = changed(&sample, |tables| drop(tables.tx_index.pop_first().expect("a table")));
    let undo = changed(&sample, |tables| drop(tables.undo.pop_last().expect("a table")));
    let more = changed(&sample, |tables| {
        drop(tables.tx_index.insert(&[7; 32], &[0; 8]).expect("a table"));
    });
    for (bytes, word) in [
        (coin, "coin"),
        (flag, "coin"),
        (lost_coin, "coin"),
        (index, "index"),
        (undo, "undo"),
        (more, "index"),
    ] {
        let found = sample.found(&bytes).expect("found");
        assert!(found.contains(word) && found.contains("reindex"), "{found}");
        let path = sample.place(&bytes);
        let mut chain = Chain::open(&path, options()).expect("a chain");
        chain.reindex(NOW, &mut |_, _| true).expect("rebuilt in place");
        assert_eq!(Truth::of(&mut chain).as_ref(), Ok(&sample.truth));
    }
}

#[test]
fn a_damaged_record_of_a_header_above_the_tip_is_found_and_mended() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("chain.redb");
    let network = network();
    let blocks = Branch::new(&network, 0).extend(7);
    let give = |chain: &mut Chain, bodies: usize| {
        let headers: Vec<_> = blocks.iter().map(|block| block.header).collect();
        chain.accept_headers(&headers, PEER, NOW).expect("good headers");
        for block in &blocks[..bodies] {
            chain.accept_block(block.clone(), PEER, NOW).expect("a good block");
        }
        chain.commit().expect("a disk");
    };
    give(&mut Chain::create(&path, &network, options()).expect("made"), 3);
    let sound = fs::read(&path).expect("the file");
    let key = block_key(5, &blocks[4].hash());
    // A byte of the work, the status (invalid), and the flag for the best header chain.
    for (at, flip) in [(92, 1), (123, 4), (124, 3), (125, 1)] {
        for entry in fs::read_dir(folder.path()).expect("the folder") {
            fs::remove_file(entry.expect("an entry").path()).expect("removed");
        }
        fs::write(&path, &sound).expect("written");
        let database = Database::open(&path).expect("open");
        let transaction = database.begin_write().expect("a transaction");
        {
            let mut tables = WriteTables::open(&transaction).expect("tables");
            let mut record =
                tables.headers.get(&key).expect("a table").expect("there").value().to_owned();
            record[at] ^= flip;
            tables.headers.insert(&key, &record).expect("written");
        }
        transaction.commit().expect("a commit");
        drop(database);

        let mut chain = Chain::open(&path, options()).expect("it opens");
        let found = chain.verify(&mut |_, _| true).expect("a disk").problem.expect("it is found");
        assert!(found.contains("header record"), "{at}: {found}");
        assert!(matches!(chain.reindex(NOW, &mut |_, _| true), Err(ChainFault::Corrupt(_))));
        drop(chain);
        let salvaged = salvage(&path, options(), NOW, &mut |_, _| {}).expect("mended");
        assert_eq!(salvaged.audit.height, 3);
        let mut chain = Chain::open(&path, options()).expect("mended");
        assert_eq!(chain.verify(&mut |_, _| true).expect("a disk").problem, None);
        give(&mut chain, 7);
        assert_eq!(chain.tip().hash, blocks[6].hash());
    }
}

#[test]
fn a_damaged_body_is_named_forgotten_and_fetched_again() {
    let sample = Sample::new(60);
    let path = sample.place(&sample.bytes);
    let chain = Chain::open(&path, options()).expect("a chain");
    let (height, hash) = (3, chain.hash_at(3).expect("connected"));
    drop(chain);
    let bytes = changed(&sample, |tables| {
        let key = block_key(height, &hash);
        let mut value = tables.blocks.get(&key).expect("a table").expect("there").value().to_vec();
        value[100] ^= 4;
        tables.blocks.insert(&key, value.as_slice()).expect("written");
    });
    let found = sample.found(&bytes).expect("found");
    assert!(
        found.contains(&hash.to_string()) && found.contains("height 3") && found.contains("body"),
        "{found}"
    );

    let path = sample.place(&bytes);
    let mut chain = Chain::open(&path, options()).expect("a chain");
    assert_eq!(chain.reader().block_bytes(&hash), None, "it is not served");
    let audit = chain.reindex(NOW, &mut |_, _| true).expect("rebuilt");
    assert_eq!(audit.height, 2);
    assert!(audit.problem.is_some_and(|problem| problem.contains("fetched again")));
    assert!(chain.missing_bodies(1) == vec![(hash, height)], "it is asked for");
    for block in &sample.blocks {
        drop(chain.accept_block(block.clone(), PEER, NOW));
    }
    assert_eq!(Truth::of(&mut chain).as_ref(), Ok(&sample.truth));
}

#[test]
fn damaged_headers_are_rebuilt_from_the_blocks() {
    let sample = Sample::new(60);
    let mut random = StdRng::seed_from_u64(3);
    for _ in 0..10 {
        let bytes = changed(&sample, |tables| {
            let count = usize::try_from(
                redb::ReadableTableMetadata::len(&tables.headers).expect("a length"),
            )
            .expect("small");
            let (key, mut value) = {
                let nth = random.random_range(0..count);
                let (key, value) = tables
                    .headers
                    .iter()
                    .expect("a table")
                    .nth(nth)
                    .expect("there")
                    .expect("an entry");
                (*key.value(), *value.value())
            };
            let bit = random.random_range(0..92 * 8);
            value[bit / 8] ^= 1 << (bit % 8);
            tables.headers.insert(&key, &value).expect("written");
        });
        let found = sample.found(&bytes).expect("found");
        assert!(found.contains("header") && found.contains("reindex"), "{found}");
        assert_eq!(sample.mend(&bytes), Ok(0));
    }
    let none = changed(&sample, |tables| tables.headers.retain(|_, _| false).expect("a table"));
    assert!(sample.found(&none).is_some_and(|found| found.contains("reindex")));
    assert_eq!(sample.mend(&none), Ok(0));
}

/// Returns the pages of the file that are in use.
fn used_pages(bytes: &[u8]) -> Vec<usize> {
    let pages =
        bytes.chunks(4_096).enumerate().filter(|(_, page)| page.iter().any(|byte| *byte != 0));
    pages.map(|(number, _)| number).collect()
}

#[test]
fn a_flipped_bit_anywhere_in_the_file_never_ends_in_a_wrong_answer() {
    let sample = Sample::new(40);
    let flips = long_run().map_or(3, |seeds| seeds.max(20));
    let mut random = StdRng::seed_from_u64(4);
    let (mut found, mut mended, mut own, mut lost, mut tried) = (0, 0, 0, 0, 0);
    for page in used_pages(&sample.bytes) {
        for flip in 0..flips {
            tried += 1;
            let mut bytes = sample.bytes.clone();
            // The beginning of a page describes the rest of the page.
            let within = if flip % 3 == 0 { 64 } else { 4_096 };
            let at = page * 4_096 + random.random_range(0..within);
            bytes[at] ^= 1 << random.random_range(0..8);
            if let Some(sentence) = sample.found(&bytes) {
                found += 1;
                assert!(sentence.len() > 10, "{sentence}");
                match sample.mend(&bytes) {
                    // One page of the table of own trades holds many trades.
                    Ok(forgotten) => {
                        mended += 1;
                        own += usize::from(forgotten > 0);
                    }
                    Err(
                        OpenError::Lost { .. }
                        | OpenError::NotAChain { .. }
                        | OpenError::NewerSchema { .. },
                    ) => {
                        lost += 1;
                    }
                    Err(error) => panic!("byte {at}: {error}"),
                }
            }
        }
    }
    assert!(
        found > tried / 10 && mended > lost,
        "{found} of {tried} found, {mended} mended, {lost} lost"
    );
    assert!(own < mended / 10, "{own} of {mended} lost own trades");
    println!(
        "bar bit-flips: {tried} flips, {found} found, {mended} mended, {lost} beyond mending \
         (bar: no wrong answer) ok"
    );
}

#[test]
fn a_file_of_another_length_is_refused_and_what_is_left_of_it_is_saved() {
    let sample = Sample::new(40);
    let whole = sample.bytes.len();
    let (_, height) = sample.mend_to(&sample.bytes).expect("sound");
    let used = 4_096 * used_pages(&sample.bytes).into_iter().max().expect("some");
    let mut saved = Vec::new();
    for parts in 0..24 {
        let bytes = &sample.bytes[..used - used * parts / 24];
        assert!(sample.found(bytes).is_some(), "{} of {whole}", bytes.len());
        match sample.mend_to(bytes) {
            Ok((_, height)) => saved.push(height),
            Err(error) => {
                assert!(error.to_string().contains("leave-chain"), "{error}");
                assert_eq!(fs::read(sample.path()).expect("the file"), bytes, "left as it was");
            }
        }
    }
    // Blocks are salvaged from leaf pages, even without their roots. The file is compact, so each
    // cut loses some blocks.
    let whole_ones = saved.iter().filter(|saved| **saved == height).count();
    assert!(whole_ones > 1 && saved.len() > 15, "{saved:?} of {height}");
    for length in [whole - 1, whole + 1, whole + 4_097] {
        let mut bytes = sample.bytes.clone();
        bytes.resize(length, 0xa5);
        assert!(sample.found(&bytes).is_some(), "{length} of {whole}");
        assert_eq!(sample.mend_to(&bytes), Ok((0, height)), "{length} of {whole}");
    }
}

#[test]
fn a_flipped_bit_after_a_crash_never_ends_in_a_wrong_answer() {
    let network = network();
    let steps = script(&network, 7, 40);
    let disk = super::crash::new_disk(&network);
    let mut player = Player::open(&network, &disk);
    player.play(&steps).expect("a run");
    let end = player.end();
    // The file is not closed, so it is marked as needing a check.
    let left = disk.restarted();
    let mut random = StdRng::seed_from_u64(5);
    let flips = long_run().map_or(2, |seeds| seeds.max(20));
    let pages = {
        let mut pages = Vec::new();
        left.damage(|bytes| pages = used_pages(bytes));
        pages
    };
    for page in pages {
        for _ in 0..flips {
            let damaged: CrashDisk = left.restarted();
            let at = page * 4_096 + random.random_range(0..4_096);
            damaged.damage(|bytes| bytes[at] ^= 1 << random.random_range(0..8));
            let found = contain(|| {
                let store = crate::chain::store::Store::on_backend(damaged, &network, 4)?;
                let mut chain = Chain::on_store(store, options())?;
                let audit = chain
                    .verify(&mut |_, _| true)
                    .map_err(|fault| OpenError::from_fault(Path::new("x"), fault))?;
                Ok::<_, OpenError>(audit)
            });
            if let Ok(Ok(audit)) = found
                && audit.problem.is_none()
            {
                // If the newest commit is damaged, the one before it may be used.
                assert!(audit.height > 0 || audit.tip == network.id);
                if audit.tip == end.0 {
                    assert_eq!(
                        (audit.coins_hash, audit.supply),
                        (end.1, end.2),
                        "a wrong answer given as right"
                    );
                }
            }
        }
    }
    drop(player);
}

#[test]
fn what_is_no_chain_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("chain.redb");
    fs::write(&path, b"").expect("written");
    let error = Chain::open(&path, options()).expect_err("an empty file");
    assert!(matches!(error, OpenError::NotAChain { .. }), "{error}");
    assert_eq!(fs::read(&path).expect("the file"), b"");
    assert!(matches!(
        salvage(&path, options(), NOW, &mut |_, _| {}),
        Err(OpenError::NotAChain { .. })
    ));

    for text in [&b"a short text"[..], &[0; 40], &[b'x'; 5_000]] {
        fs::write(&path, text).expect("written");
        assert!(matches!(Chain::open(&path, options()), Err(OpenError::NotAChain { .. })));
        assert!(matches!(
            salvage(&path, options(), NOW, &mut |_, _| {}),
            Err(OpenError::NotAChain { .. })
        ));
        assert_eq!(fs::read(&path).expect("the file"), text);
    }

    fs::remove_file(&path).expect("removed");
    fs::create_dir(&path).expect("a folder in its place");
    let error = Chain::open(&path, options()).expect_err("a folder");
    assert!(matches!(error, OpenError::NotAChain { .. }), "{error}");
    assert!(matches!(Chain::create(&path, &network(), options()), Err(OpenError::Exists { .. })));

    // A database of another program.
    let other = folder.path().join("other.redb");
    let database = Database::create(&other).expect("made");
    let transaction = database.begin_write().expect("a transaction");
    transaction.open_table(redb::TableDefinition::<u64, u64>::new("numbers")).expect("a table");
    transaction.commit().expect("a commit");
    drop(database);
    assert!(matches!(Chain::open(&other, options()), Err(OpenError::NotAChain { .. })));
}

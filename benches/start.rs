//! Measures how long a chain of a million blocks takes to open, after a clean end and after
//! `kill -9`. The bound only reads the bytes of its headers from the same store.
//!
//! ```text
//! cargo bench --bench start [-- --blocks N]
//! ```

mod support;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use friendchain::chain::{Chain, Origin};
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use support::{
    Keys, NOW, PEER, bar_at_most, empty_blocks, folder, note, options, side_by_side,
    spaced_network, timed,
};

/// The chain's table of headers: from height and hash to the header's record.
const HEADERS: TableDefinition<'static, &[u8; 36], &[u8; 134]> = TableDefinition::new("headers_1");
/// The number of times that each side runs.
const ROUNDS: usize = 7;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let after = |name: &str| {
        arguments.iter().position(|argument| argument == name).map(|at| arguments.get(at + 1))
    };
    if let Some(path) = after("--write-until-killed").flatten() {
        write_until_killed(Path::new(path));
    }
    let count =
        after("--blocks").flatten().and_then(|count| count.parse().ok()).unwrap_or(1_000_000);
    let kept = kept(count);

    let folder = folder();
    let path = folder.path().join("chain.redb");
    fs::copy(&kept, &path).expect("a copy");
    let (ratio, ours, bound) = side_by_side(ROUNDS, || open(&path, count), || read(&path, count));
    println!(
        "{:.0} ms to open {count} blocks, {:.0} ms to read their headers",
        millis(ours),
        millis(bound)
    );
    bar_at_most("start", ratio, "× reading the same bytes", 3.0);

    // Each copy is in the state that the killed process left behind.
    let killed = folder.path().join("killed.redb");
    let copy = |to: &Path| fs::copy(&killed, to).expect("a copy");
    let open_killed = || {
        fs::copy(&kept, &killed).expect("a copy");
        kill_a_writer_of(&killed);
        copy(&path);
        open(&path, count)
    };
    let (ratio, ours, bound) = side_by_side(ROUNDS, open_killed, || {
        copy(&path);
        read(&path, count)
    });
    println!("{:.0} ms after kill -9, {:.0} ms to read their headers", millis(ours), millis(bound));
    bar_at_most("start-killed", ratio, "× reading the same bytes", 3.0);
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Returns a chain of the genesis and `count` blocks, made once and kept in cargo's target folder.
fn kept(count: usize) -> PathBuf {
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("blocks-{count}.redb"));
    if !kept.exists() {
        let network = spaced_network();
        let unfinished = kept.with_extension("unfinished");
        let _ = fs::remove_file(&unfinished);
        let mut chain = Chain::create(&unfinished, &network, options(1)).expect("a chain");
        empty_blocks(&network, count, |block| {
            chain.accept_block(block, PEER, NOW).expect("a valid block");
            if chain.is_full() {
                chain.commit().expect("a commit");
            }
        });
        chain.commit().expect("a commit");
        drop(chain);
        fs::rename(&unfinished, &kept).expect("kept");
    }
    kept
}

/// Opens the chain like a node at its start.
fn open(path: &Path, count: usize) -> Duration {
    let (chain, time) = timed(|| Chain::open(path, options(1)).expect("a chain"));
    assert_eq!(chain.tip().height as usize, count);
    time
}

/// Opens the store alone and reads every byte of every header.
fn read(path: &Path, count: usize) -> Duration {
    let cache = options(1).cache_mib / 2 * (1 << 20);
    let (found, time) = timed(|| {
        let database = Database::builder().set_cache_size(cache).open(path).expect("a database");
        let transaction = database.begin_read().expect("a transaction");
        let table = transaction.open_table(HEADERS).expect("the table");
        let (mut found, mut sum) = (0, 0u64);
        for entry in table.iter().expect("headers") {
            let (key, value) = entry.expect("a header");
            let add = |bytes: &[u8]| bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
            sum = sum.wrapping_add(add(key.value())).wrapping_add(add(value.value()));
            found += 1;
        }
        std::hint::black_box(sum);
        found
    });
    assert_eq!(found, count + 1);
    time
}

/// Starts a process that writes to the chain, and kills it while it writes.
fn kill_a_writer_of(path: &Path) {
    let program = std::env::current_exe().expect("this program");
    let mut writer = Command::new(program);
    writer.arg("--write-until-killed").arg(path).stdout(Stdio::piped());
    let mut writer = writer.spawn().expect("a process");
    let mut lines = BufReader::new(writer.stdout.take().expect("its output")).lines();
    lines.next().expect("it writes").expect("a line");
    writer.kill().expect("killed");
    writer.wait().expect("ended");
}

/// Commits notes until the process is killed. Prints a line after the first 20.
fn write_until_killed(path: &Path) -> ! {
    let mut chain = Chain::open(path, options(1)).expect("a chain");
    let network = std::sync::Arc::clone(chain.network());
    for index in 0.. {
        chain
            .accept_trade(note(&network, &Keys::new(1), index), Origin::Local, NOW)
            .expect("a note");
        chain.commit().expect("a commit");
        if index == 20 {
            println!("writing");
        }
    }
    unreachable!("there are more indexes than time")
}

//! Tests of `observe` as a whole, on hostile and on long logs.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{BufWriter, Write as _},
    time::Instant,
};

#[cfg(target_os = "linux")]
use rustix::time::{ClockId, clock_gettime};

use super::{Options, observe, rendered};

/// Formats one log line. `micros` counts from the start of 2026; `fields` begins with a comma.
fn line(micros: u64, node: &str, level: &str, event: &str, fields: &str) -> String {
    let time = jiff::Timestamp::from_microsecond(1_767_225_600_000_000 + micros.cast_signed())
        .expect("a time");
    format!(
        r#"{{"timestamp":"{time:.6}","level":"{level}","event":"{event}","node":"{node}"{fields}}}"#
    )
}

/// Returns the processor time of this thread, in seconds. Other work on the machine adds nothing.
#[cfg(target_os = "linux")]
fn processor_seconds() -> i64 {
    clock_gettime(ClockId::ThreadCPUTime).tv_sec
}

fn hash(number: u64) -> String {
    format!("{number:064x}")
}

#[cfg(target_os = "linux")]
#[test]
fn a_hostile_log_costs_seconds_and_its_page_stays_small() {
    const LINES: u64 = 30_000;
    let mut log = String::new();
    for number in 0..LINES {
        let (micros, node) = (number * 1_000, format!("n{number}"));
        let _ = writeln!(log, "{}", line(micros, &node, "INFO", "node_started", ""));
        // All blocks have one height.
        let fields = format!(r#","hash":"{}","height":7,"transactions":1"#, hash(number));
        let _ = writeln!(log, "{}", line(micros, "n1", "INFO", "block_mined", &fields));
        let _ = writeln!(log, "{}", line(micros + 1, "n1", "INFO", "node_started", ""));
        let fields = format!(
            r#","peer":"p","offence":"{}""#,
            "x".repeat(if number < 4_000 { 5_000 } else { 1 })
        );
        let _ = writeln!(log, "{}", line(micros + 2, "n2", "WARN", "peer_penalised", &fields));
    }
    let before = processor_seconds();
    let [_, _, page] = rendered(log.as_bytes());
    let took = processor_seconds() - before;
    assert!(took < 30, "{took} s");
    assert!(page.len() < 5_000_000, "{} bytes", page.len());
}

/// Passes `count` lines of five nodes to `sink`. The first node mines each block, all connect it,
/// and three trades precede it.
fn realistic(count: usize, mut sink: impl FnMut(&str)) {
    const NODES: [&str; 5] = ["yzw", "yjf", "sr", "xzq", "hjs"];
    let (mut written, mut block) = (0, 0_u64);
    let mut write = |text: &str| {
        if written < count {
            sink(text);
        }
        written += 1;
        written < count
    };
    for node in NODES {
        let fields = format!(r#","peer_id":"12D3KooW{node}","height":0,"version":"0.1.0""#);
        write(&line(0, node, "INFO", "node_started", &fields));
    }
    loop {
        block += 1;
        let micros = block * 1_000_000;
        let mut goes_on = true;
        for trade in 0..3 {
            for (at, node) in NODES.into_iter().enumerate() {
                let fields =
                    format!(r#","txid":"{}","local":{}"#, hash(block * 4 + trade), at == 0);
                goes_on =
                    write(&line(micros + at as u64 * 900, node, "INFO", "trade_accepted", &fields));
            }
        }
        let fields = format!(
            r#","hash":"{}","previous":"{}","height":{block},"transactions":4"#,
            hash(block << 32),
            hash((block - 1) << 32)
        );
        goes_on &= write(&line(micros + 500_000, NODES[0], "INFO", "block_mined", &fields));
        for (at, node) in NODES.into_iter().enumerate() {
            let micros = micros + 500_001 + at as u64 * 4_000;
            goes_on &= write(&line(micros, node, "INFO", "block_connected", &fields));
        }
        if !goes_on {
            return;
        }
    }
}

#[test]
#[ignore = "a bar: see tests/long-run.sh"]
fn observe_figures() {
    const LINES: usize = 1_000_000;
    const BROKEN: usize = 1_000;
    let folder = tempfile::tempdir().expect("a folder");
    let (path, page) = (folder.path().join("nodes.log"), folder.path().join("page.html"));
    let mut file = BufWriter::new(File::create(&path).expect("a file"));
    let mut number = 0;
    realistic(LINES, |text| {
        writeln!(file, "{text}").expect("written");
        number += 1;
        if number % (LINES / BROKEN) == 0 {
            writeln!(file, "{}", &text[..text.len() / 2 + number / (LINES / BROKEN) % 20])
                .expect("written");
        }
    });
    file.into_inner().expect("written");

    let options = Options { logs: vec![path], limit: 50, json: true, html: Some(page.clone()) };
    let mut answer = Vec::new();
    let started = Instant::now();
    observe(&options, &mut answer).expect("a report");
    let seconds = started.elapsed().as_secs_f64();
    let answer: serde_json::Value = serde_json::from_slice(&answer).expect("JSON");
    assert_eq!((&answer["lines"], &answer["broken_lines"]), (&LINES.into(), &BROKEN.into()));
    assert_eq!(answer["repeated_lines"], 0);
    let page = fs::metadata(page).expect("a page").len();
    let verdict = if seconds <= 10.0 { "ok" } else { "MISSED" };
    println!(
        "\nbar observe: {LINES} lines in {seconds:.1} s, a page of {} kB (bar ≤ 10) {verdict}",
        page / 1_000
    );
}

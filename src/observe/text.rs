//! The report for a terminal: a time line and tables.

use std::io::{self, Write};

use jiff::{Timestamp, tz::TimeZone};

use super::report::{Report, Spread};
use crate::commands::table::write_table;

/// A time of day with milliseconds, UTC.
pub(super) fn clock(millis: i64) -> String {
    let time =
        Timestamp::from_millisecond(millis).unwrap_or_default().to_zoned_datetime(TimeZone::UTC);
    time.strftime("%H:%M:%S%.3f").to_string()
}

/// A date and time of day, UTC.
pub(super) fn date(millis: i64) -> String {
    let time =
        Timestamp::from_millisecond(millis).unwrap_or_default().to_zoned_datetime(TimeZone::UTC);
    time.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn spread(spread: Option<Spread>) -> [String; 4] {
    spread.map_or_else(
        || ["0", "-", "-", "-"].map(str::to_owned),
        |spread| {
            [
                spread.count.to_string(),
                spread.p50.to_string(),
                spread.p99.to_string(),
                spread.max.to_string(),
            ]
        },
    )
}

/// The last of some rows, and how many stand before them.
fn last<T>(rows: &[T], limit: usize) -> (&[T], usize) {
    let left_out = rows.len().saturating_sub(limit);
    (rows.get(left_out..).unwrap_or_default(), left_out)
}

fn heading(out: &mut dyn Write, title: &str, left_out: usize) -> io::Result<()> {
    match left_out {
        0 => writeln!(out, "\n{title}"),
        _ => writeln!(out, "\n{title} (the last; {left_out} before them, see --limit)"),
    }
}

/// One line of the time line.
pub(super) fn write_moments(out: &mut dyn Write, report: &Report, limit: usize) -> io::Result<()> {
    let (moments, _) = last(&report.timeline, limit);
    let rows: Vec<_> = moments
        .iter()
        .map(|moment| [clock(moment.time), moment.node.clone(), moment.text.clone()])
        .collect();
    write_table(out, ["time", "node", "what"], &rows)
}

/// Writes all of it; the last `limit` entries of the time line and rows of each table.
pub(super) fn write(out: &mut dyn Write, report: &Report, limit: usize) -> io::Result<()> {
    heading(out, "Time line", report.timeline.len().saturating_sub(limit))?;
    write_moments(out, report, limit)?;
    write_tables(out, report, limit)
}

/// The tables alone.
pub(super) fn write_tables(out: &mut dyn Write, report: &Report, limit: usize) -> io::Result<()> {
    heading(out, "How things spread, in ms", 0)?;
    let kinds = [
        ("blocks", report.blocks.len(), report.block_spread_ms),
        ("trades and notes", report.trades.len(), report.trade_spread_ms),
        ("chat lines", report.chat.len(), report.chat_spread_ms),
    ];
    let rows: Vec<_> = kinds
        .into_iter()
        .map(|(what, count, of)| {
            let [arrivals, p50, p99, max] = spread(of);
            [what.to_owned(), count.to_string(), arrivals, p50, p99, max]
        })
        .collect();
    write_table(out, ["", "made", "arrivals", "p50", "p99", "max"], &rows)?;

    let (blocks, left_out) = last(&report.blocks, limit);
    heading(out, "Blocks", left_out)?;
    let rows: Vec<_> = blocks
        .iter()
        .map(|block| {
            let [arrivals, p50, p99, max] = spread(block.spread_ms);
            let stale = if block.stale { "stale" } else { "" };
            let hash = block.hash.get(..16).unwrap_or_default().to_owned();
            let miner = block.miner.clone().unwrap_or_else(|| "-".to_owned());
            let transactions = block.transactions.to_string();
            [
                block.height.to_string(),
                hash,
                miner,
                transactions,
                arrivals,
                p50,
                p99,
                max,
                stale.to_owned(),
            ]
        })
        .collect();
    write_table(
        out,
        ["height", "hash", "miner", "tx", "arrivals", "p50", "p99", "max", ""],
        &rows,
    )?;

    let (trades, left_out) = last(&report.trades, limit);
    if !trades.is_empty() {
        heading(out, "Trades and notes", left_out)?;
        let rows: Vec<_> = trades
            .iter()
            .map(|trade| {
                let [arrivals, p50, p99, max] = spread(trade.spread_ms);
                let txid = trade.txid.get(..16).unwrap_or_default().to_owned();
                let from = trade.from.clone().unwrap_or_else(|| "-".to_owned());
                [clock(trade.time), txid, from, arrivals, p50, p99, max]
            })
            .collect();
        write_table(out, ["time", "id", "from", "arrivals", "p50", "p99", "max"], &rows)?;
    }

    let (chat, left_out) = last(&report.chat, limit);
    if !chat.is_empty() {
        heading(out, "Chat", left_out)?;
        let rows: Vec<_> = chat
            .iter()
            .map(|line| {
                let delivered = line
                    .delivered_ms
                    .map_or_else(|| "-".to_owned(), |millis| format!("{millis:.1}"));
                let from = line.from.clone().unwrap_or_else(|| "-".to_owned());
                let to = line.to.clone().unwrap_or_else(|| "all".to_owned());
                let slowest = spread(line.spread_ms)[3].clone();
                [clock(line.time), from, to, line.received.to_string(), slowest, delivered]
            })
            .collect();
        write_table(
            out,
            ["time", "from", "to", "received by", "slowest ms", "delivered ms"],
            &rows,
        )?;
    }

    let (changes, left_out) = last(&report.reorganisations, limit);
    if !changes.is_empty() {
        heading(out, "Reorganisations", left_out)?;
        let rows: Vec<_> = changes
            .iter()
            .map(|change| {
                let tip = change.new_tip.get(..16).unwrap_or_default().to_owned();
                let (left, joined) =
                    (change.disconnected.to_string(), change.connected.to_string());
                [
                    clock(change.time),
                    change.node.clone(),
                    left,
                    joined,
                    change.height.to_string(),
                    tip,
                ]
            })
            .collect();
        write_table(out, ["time", "node", "left", "joined", "height", "new tip"], &rows)?;
    }

    heading(out, "Nodes", 0)?;
    let rows: Vec<_> = report
        .nodes
        .iter()
        .map(|node| {
            let height = node.height.map_or_else(|| "-".to_owned(), |height| height.to_string());
            let peers = node.peers.iter().map(|(_, count)| *count).max().unwrap_or(0).to_string();
            let mined = format!("{} ({:.0} %)", node.mined, node.mined_share * 100.0);
            let clock = format!("{:+.1}", node.clock_correction_ms);
            let (stale, starts) = (node.stale.to_string(), node.starts.to_string());
            let (changes, warnings) = (node.reorganisations.to_string(), node.warnings.to_string());
            [node.name.clone(), height, peers, mined, stale, changes, starts, warnings, clock]
        })
        .collect();
    let heads = [
        "node",
        "height",
        "most peers",
        "mined",
        "stale",
        "reorganised",
        "starts",
        "warnings",
        "clock corrected by ms",
    ];
    write_table(out, heads, &rows)?;
    writeln!(
        out,
        "\n{} lines read, {} broken, {} repeated; {} stale blocks, {} reorganisations, {} trades \
         refused",
        report.lines,
        report.broken_lines,
        report.repeated_lines,
        report.stale_blocks,
        report.reorganisations.len(),
        report.trades_refused
    )?;
    match report.suppressed_events {
        0 => Ok(()),
        events => writeln!(
            out,
            "{events} events were too many to be logged: how things spread is told without them"
        ),
    }
}

//! Writes the report for a terminal: a time line and tables.

use std::io::{self, Write};

use jiff::{Timestamp, tz::TimeZone};

use super::report::{BlockRow, ChatRow, NodeRow, ReorganisationRow, Report, Spread, TradeRow};
use crate::{commands::table::write_table, primitives::counted};

/// Formats the time of day in UTC, with milliseconds.
pub(super) fn clock(millis: i64) -> String {
    let time =
        Timestamp::from_millisecond(millis).unwrap_or_default().to_zoned_datetime(TimeZone::UTC);
    time.strftime("%H:%M:%S%.3f").to_string()
}

/// Formats date and time of day in UTC.
pub(super) fn date(millis: i64) -> String {
    let time =
        Timestamp::from_millisecond(millis).unwrap_or_default().to_zoned_datetime(TimeZone::UTC);
    time.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// Returns the cells of a spread: count, median, 99th percentile, maximum.
fn spread_cells(spread: Option<Spread>) -> [String; 4] {
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

/// Returns the last `limit` rows, and the number of rows before them.
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

/// Writes the whole report, with the last `limit` rows of the time line and of each table.
pub(super) fn write(out: &mut dyn Write, report: &Report, limit: usize) -> io::Result<()> {
    write_timeline(out, report, limit)?;
    write_spreads(out, report)?;
    write_blocks(out, &report.blocks, limit)?;
    write_trades(out, &report.trades, limit)?;
    write_chat(out, &report.chat, limit)?;
    write_reorganisations(out, &report.reorganisations, limit)?;
    write_nodes(out, &report.nodes)?;
    write_summary(out, report)
}

fn write_timeline(out: &mut dyn Write, report: &Report, limit: usize) -> io::Result<()> {
    let (moments, left_out) = last(&report.timeline, limit);
    heading(out, "Time line", left_out)?;
    let rows: Vec<_> = moments
        .iter()
        .map(|moment| [clock(moment.time), moment.node.clone(), moment.text.clone()])
        .collect();
    write_table(out, ["time", "node", "what"], &rows)
}

fn write_spreads(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    heading(out, "How things spread, in ms", 0)?;
    let kinds = [
        ("blocks", report.blocks.len(), report.block_spread_ms),
        ("trades and notes", report.trades.len(), report.trade_spread_ms),
        ("chat lines", report.chat.len(), report.chat_spread_ms),
    ];
    let rows = kinds.map(|(kind, count, spread)| {
        let [arrivals, p50, p99, max] = spread_cells(spread);
        [kind.to_owned(), count.to_string(), arrivals, p50, p99, max]
    });
    write_table(out, ["", "made", "arrivals", "p50", "p99", "max"], &rows)
}

fn write_blocks(out: &mut dyn Write, blocks: &[BlockRow], limit: usize) -> io::Result<()> {
    let (blocks, left_out) = last(blocks, limit);
    heading(out, "Blocks", left_out)?;
    let rows: Vec<_> = blocks
        .iter()
        .map(|block| {
            let [arrivals, p50, p99, max] = spread_cells(block.spread_ms);
            let (height, hash) = (block.height.to_string(), first_digits(&block.hash));
            let (miner, transactions) =
                (or_dash(block.miner.as_deref()), block.transactions.to_string());
            let stale = if block.stale { "stale" } else { "" }.to_owned();
            [height, hash, miner, transactions, arrivals, p50, p99, max, stale]
        })
        .collect();
    let heads = ["height", "hash", "miner", "tx", "arrivals", "p50", "p99", "max", ""];
    write_table(out, heads, &rows)
}

fn write_trades(out: &mut dyn Write, trades: &[TradeRow], limit: usize) -> io::Result<()> {
    let (trades, left_out) = last(trades, limit);
    if trades.is_empty() {
        return Ok(());
    }
    heading(out, "Trades and notes", left_out)?;
    let rows: Vec<_> = trades
        .iter()
        .map(|trade| {
            let [arrivals, p50, p99, max] = spread_cells(trade.spread_ms);
            let (txid, from) = (first_digits(&trade.txid), or_dash(trade.from.as_deref()));
            [clock(trade.time), txid, from, arrivals, p50, p99, max]
        })
        .collect();
    write_table(out, ["time", "id", "from", "arrivals", "p50", "p99", "max"], &rows)
}

fn write_chat(out: &mut dyn Write, chat: &[ChatRow], limit: usize) -> io::Result<()> {
    let (chat, left_out) = last(chat, limit);
    if chat.is_empty() {
        return Ok(());
    }
    heading(out, "Chat", left_out)?;
    let rows: Vec<_> = chat
        .iter()
        .map(|line| {
            let delivered = line.delivered_ms.map(|millis| format!("{millis:.1}"));
            let to = line.to.clone().unwrap_or_else(|| "all".to_owned());
            let [_, _, _, slowest] = spread_cells(line.spread_ms);
            let received = line.received.to_string();
            [
                clock(line.time),
                or_dash(line.from.as_deref()),
                to,
                received,
                slowest,
                or_dash(delivered.as_deref()),
            ]
        })
        .collect();
    write_table(out, ["time", "from", "to", "received by", "slowest ms", "delivered ms"], &rows)
}

fn write_reorganisations(
    out: &mut dyn Write,
    changes: &[ReorganisationRow],
    limit: usize,
) -> io::Result<()> {
    let (changes, left_out) = last(changes, limit);
    if changes.is_empty() {
        return Ok(());
    }
    heading(out, "Reorganisations", left_out)?;
    let rows: Vec<_> = changes
        .iter()
        .map(|change| {
            let (left, joined) = (change.disconnected.to_string(), change.connected.to_string());
            let (height, tip) = (change.height.to_string(), first_digits(&change.new_tip));
            [clock(change.time), change.node.clone(), left, joined, height, tip]
        })
        .collect();
    write_table(out, ["time", "node", "left", "joined", "height", "new tip"], &rows)
}

fn write_nodes(out: &mut dyn Write, nodes: &[NodeRow]) -> io::Result<()> {
    heading(out, "Nodes", 0)?;
    let rows: Vec<_> = nodes
        .iter()
        .map(|node| {
            let height = or_dash(node.height.map(|height| height.to_string()).as_deref());
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
    write_table(out, heads, &rows)
}

/// Writes the counts of lines and refusals, and a warning if nodes suppressed events.
fn write_summary(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    let length = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    writeln!(
        out,
        "\n{} read, {} broken, {} repeated; {}, {}, {} refused",
        counted(report.lines, "line", "lines"),
        report.broken_lines,
        report.repeated_lines,
        counted(length(report.stale_blocks), "stale block", "stale blocks"),
        counted(length(report.reorganisations.len()), "reorganisation", "reorganisations"),
        counted(report.trades_refused, "trade", "trades")
    )?;
    match report.suppressed_events {
        0 => Ok(()),
        events => writeln!(
            out,
            "Left out of the logs, since there were so many: {}. How things spread is told \
             without them.",
            counted(events, "event", "events")
        ),
    }
}

/// Returns the first 16 digits of a hash, which are enough to distinguish hashes.
pub(super) fn first_digits(hash: &str) -> String {
    hash.get(..16).unwrap_or_default().to_owned()
}

fn or_dash(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}

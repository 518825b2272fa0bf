//! Draws the last blocks of the chain and their forks.

use std::{collections::HashMap, fmt::Write as _};

use super::{
    plots::{colour, nothing},
    report::{BlockRow, Report},
    svg::{draw, escape},
};
use crate::primitives::counted;

/// The most heights that are drawn: the last.
const HEIGHTS: u32 = 150;
/// The most blocks of one height that are drawn.
const LANES: u32 = 12;

/// The distance between the centres of two heights.
const COLUMN: f64 = 30.0;
/// The distance between the centres of two blocks of one height.
const LANE: f64 = 44.0;
/// The width and height of a block.
const SIZE: f64 = 22.0;

/// The centre of each block by its hash.
type Centres<'a> = HashMap<&'a str, (f64, f64)>;

/// Draws the last blocks by height: the best chain in the first lane, stale blocks below it.
pub(super) fn chain(report: &Report) -> String {
    let Some(last) = report.blocks.last().map(|block| block.height) else {
        return nothing("No block was connected while these logs were written.");
    };
    let first = last.saturating_sub(HEIGHTS - 1);
    let shown: Vec<&BlockRow> =
        report.blocks.iter().filter(|block| block.height >= first).collect();
    let start = shown.first().map_or(first, |block| block.height);
    let (centres, deepest) = centres(&shown, start);

    let width = 60.0 + f64::from(last - start) * COLUMN + SIZE;
    let height = 34.0 + f64::from(deepest) * LANE + 60.0;
    let mut svg = String::new();
    draw!(svg, r#"<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" "#);
    svg.push_str(r#"role="img" aria-label="The chain and its forks">"#);
    links(&mut svg, &shown, &centres);
    for block in &shown {
        if let Some(centre) = centres.get(block.hash.as_str()) {
            draw_block(&mut svg, report, block, *centre);
        }
    }
    let label_y = height - 14.0;
    for height in (start..=last).filter(|height| height % 5 == 0 || *height == start) {
        let x = 30.0 + f64::from(height - start) * COLUMN;
        draw!(svg, r#"<text class="middle" x="{x}" y="{label_y}">{height}</text>"#);
    }
    svg.push_str("</svg>");

    let mut notes = String::new();
    if report.blocks.first().is_some_and(|block| block.height < start) {
        draw!(notes, r#"<p class="note">The last {HEIGHTS} heights.</p>"#);
    }
    if centres.len() < shown.len() {
        notes.push_str(r#"<p class="note">"#);
        draw!(notes, "Of a height with more blocks than {LANES}, not all are drawn.</p>");
    }
    format!(r#"<div class="scroll" tabindex="0">{svg}</div>{notes}"#)
}

/// Places the blocks, which are sorted by height with stale ones last. Returns the centre of each
/// and the deepest lane. Blocks beyond [`LANES`] get no place.
fn centres<'a>(shown: &[&'a BlockRow], start: u32) -> (Centres<'a>, u32) {
    let mut free: HashMap<u32, u32> = HashMap::new();
    let mut centres = Centres::new();
    let mut deepest = 0;
    for block in shown {
        let lane = free.entry(block.height).or_default();
        // The first lane is for the best chain, even if no block of this height is on it.
        if block.stale && *lane == 0 {
            *lane = 1;
        }
        if *lane >= LANES {
            continue;
        }
        let (column, row) = (f64::from(block.height - start), f64::from(*lane));
        centres.insert(&block.hash, (30.0 + column * COLUMN, 34.0 + row * LANE));
        deepest = deepest.max(*lane);
        *lane += 1;
    }
    (centres, deepest)
}

/// Draws a curve from each block to its parent.
fn links(svg: &mut String, shown: &[&BlockRow], centres: &Centres<'_>) {
    for block in shown {
        let parent = block.previous.as_deref().and_then(|previous| centres.get(previous));
        let (Some((x, y)), Some((from_x, from_y))) = (centres.get(block.hash.as_str()), parent)
        else {
            continue;
        };
        let bend = f64::midpoint(*x, *from_x);
        draw!(svg, r#"<path class="link" d="M{from_x} {from_y}"#);
        draw!(svg, r#"C{bend} {from_y} {bend} {y} {x} {y}"/>"#);
    }
}

/// Draws a block in its miner's colour, with the number of its trades and notes inside.
fn draw_block(svg: &mut String, report: &Report, block: &BlockRow, (x, y): (f64, f64)) {
    let fill = block
        .miner
        .as_deref()
        .map_or_else(|| "var(--faint)".to_owned(), |miner| colour(report, miner));
    let miner = escape(block.miner.as_deref().unwrap_or("unknown miner"));
    let spread = block
        .spread_ms
        .map_or_else(String::new, |spread| format!(", everywhere in {} ms", spread.max));
    let (class, state) = if block.stale { ("block stale", ", stale") } else { ("block", "") };
    let (left, top) = (x - SIZE / 2.0, y - SIZE / 2.0);
    draw!(svg, r#"<rect class="{class}" style="--fill:{fill}" x="{left}" y="{top}" "#);
    draw!(
        svg,
        r#"width="{SIZE}" height="{SIZE}" rx="6"><title>block {} by {miner}: "#,
        block.height
    );
    let (transactions, hash) = (block.transactions, &block.hash);
    let counted = counted(transactions, "transaction", "transactions");
    draw!(svg, "{counted}{spread}{state}\n{hash}</title></rect>");
    // The coinbase is no trade.
    if transactions > 1 {
        draw!(svg, r#"<text class="inside" x="{x}" y="{}">{}</text>"#, y + 4.0, transactions - 1);
    }
}

//! Draws the page's plots as SVG. Colours are CSS variables of the page, which has two themes.

use std::{collections::HashMap, fmt::Write as _};

use super::{
    report::{Kind, NodeRow, Report},
    svg::{Scale, curve, dot, draw, escape, round_step, x_label, y_axis},
    text::{clock, date},
};

/// The width of every plot except the chain's, in units of its view box.
const WIDTH: f64 = 960.0;
/// The left end of the horizontal axis. The labels of the vertical axis are left of it.
const LEFT: f64 = 88.0;
const RIGHT: f64 = WIDTH - 16.0;

/// Possible distances between two labels of a time axis, in seconds.
const TIME_STEPS: [f64; 14] = [
    1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_200.0, 1_800.0, 3_600.0, 21_600.0,
];

/// The most marks of one plot. More would not be clearer and would make the page large, so they are
/// thinned evenly.
const MARKS: usize = 4_000;
/// The number of node colours in `page.css`; further nodes reuse them.
const COLOURS: usize = 8;

/// The height of a node's row in [`lanes`].
const LANE: f64 = 30.0;

/// The kinds of things that spread, with the CSS variable of their colour.
const KINDS: [(&str, &str); 3] =
    [("--blocks", "blocks"), ("--trades", "trades and notes"), ("--chat", "chat")];

fn millis(value: f64) -> String {
    if value >= 1_000.0 { format!("{} s", value / 1_000.0) } else { format!("{value} ms") }
}

fn open(height: f64, label: &str) -> String {
    format!(r#"<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{}">"#, escape(label))
}

/// Returns a sentence in place of a plot that would be empty.
pub(super) fn nothing(sentence: &str) -> String {
    format!(r#"<p class="nothing">{}</p>"#, escape(sentence))
}

/// Returns the scale of all time axes: the period of the logs, left to right.
fn time_scale(report: &Report) -> Scale {
    let (from, until) = (report.from.unwrap_or(0), report.until.unwrap_or(1));
    Scale::linear(from as f64, until as f64, LEFT, RIGHT)
}

fn time_axis(svg: &mut String, scale: Scale, y: f64) {
    let least = (scale.to - scale.from) / 7.0 / 1_000.0;
    let seconds =
        TIME_STEPS.into_iter().find(|step| *step >= least).unwrap_or_else(|| round_step(least));
    let mut tick = (scale.from / 1_000.0 / seconds).ceil() * seconds * 1_000.0;
    while tick <= scale.to {
        let x = scale.at(tick);
        #[allow(clippy::cast_possible_truncation)] // whole milliseconds
        let label = clock(tick as i64);
        draw!(svg, r#"<line class="tick" x1="{x:.1}" x2="{x:.1}" y1="{y}" y2="{}"/>"#, y + 5.0);
        x_label(svg, (x, y + 18.0), label.get(..8).unwrap_or_default());
        tick += seconds * 1_000.0;
    }
}

/// Returns the colour of a node as a CSS value.
pub(super) fn colour(report: &Report, name: &str) -> String {
    let position = report.nodes.iter().position(|node| node.name == name);
    position.map_or_else(
        || "var(--faint)".to_owned(),
        |position| format!("var(--n{})", position % COLOURS),
    )
}

/// Picks about `most` marks, evenly spread.
fn thinned<T>(most: usize, marks: &[T]) -> impl Iterator<Item = &T> {
    marks.iter().step_by(marks.len().div_ceil(most).max(1))
}

/// Returns the marks per node for a plot in which each node has its own.
fn marks_of_each(report: &Report) -> usize {
    MARKS.div_ceil(report.nodes.len().max(1))
}

/// Draws the share of arrivals within a time, one curve for each kind.
pub(super) fn spread(report: &Report) -> String {
    let delays = [&report.curves.blocks, &report.curves.trades, &report.curves.chat];
    let kinds = KINDS.into_iter().zip(delays).filter(|(_, delays)| !delays.is_empty());
    let all = || delays.into_iter().flatten().copied();
    let Some(most) = all().reduce(f64::max) else {
        return nothing("Nothing went from one node to another.");
    };
    let (top, bottom) = (16.0, 300.0);
    let x = Scale::logarithmic(all().fold(most, f64::min), most, LEFT, RIGHT);
    let y = Scale::linear(0.0, 100.0, bottom, top);
    let mut svg = open(bottom + 44.0, "Share of arrivals over time");
    y_axis(&mut svg, (LEFT, RIGHT), y, |share| format!("{share} %"));
    for tick in x.ticks() {
        let at = x.at(tick);
        draw!(svg, r#"<line class="grid" x1="{at:.1}" x2="{at:.1}" y1="{top}" y2="{bottom}"/>"#);
        x_label(&mut svg, (at, bottom + 18.0), &millis(tick));
    }
    let (middle, below) = (f64::midpoint(LEFT, RIGHT), bottom + 38.0);
    draw!(svg, r#"<text class="middle" x="{middle}" y="{below}">after it was made</text>"#);
    let mut entries = Vec::new();
    for ((variable, name), delays) in kinds {
        let mut path = format!("M{LEFT:.1} {bottom:.1}");
        let step = delays.len().div_ceil(MARKS).max(1);
        let ranks = (0..delays.len()).filter(|rank| rank % step == 0 || rank + 1 == delays.len());
        for rank in ranks {
            let share = (rank + 1) as f64 * 100.0 / delays.len() as f64;
            draw!(path, "H{:.1}V{:.1}", x.at(delays[rank]), y.at(share));
        }
        draw!(path, "H{RIGHT}");
        curve(&mut svg, "curve", &format!("var({variable})"), &path, name);
        entries.push((format!("var({variable})"), format!("{name}, {} arrivals", delays.len())));
    }
    svg.push_str("</svg>");
    svg + &key(&entries)
}

/// Draws a lane for each node, with its runs and the events that it caused.
pub(super) fn lanes(report: &Report) -> String {
    let bottom = 12.0 + LANE * report.nodes.len() as f64;
    let x = time_scale(report);
    let mut svg = open(bottom + 28.0, "What each node did when");
    for (row, node) in report.nodes.iter().enumerate() {
        sessions(&mut svg, report, node, lane_centre(row), x);
    }
    let rows: HashMap<&str, usize> =
        report.nodes.iter().enumerate().map(|(row, node)| (node.name.as_str(), row)).collect();
    let is_mark = |kind| !matches!(kind, Kind::Started | Kind::Stopped | Kind::Friend);
    let marks: Vec<_> = report.timeline.iter().filter(|moment| is_mark(moment.kind)).collect();
    for moment in thinned(MARKS, &marks) {
        let Some(row) = rows.get(moment.node.as_str()) else { continue };
        let (at, y) = (x.at(moment.time as f64), lane_centre(*row));
        let title = format!("{} {} {}", clock(moment.time), moment.node, moment.text);
        let (class, title) = (moment.kind.name(), escape(&title));
        draw!(svg, r#"<circle class="mark {class}" cx="{at:.1}" cy="{y:.1}" r="4">"#);
        draw!(svg, "<title>{title}</title></circle>");
    }
    time_axis(&mut svg, x, bottom);
    svg.push_str("</svg>");
    svg + &kinds_key(&[
        ("--blocks", "mined a block"),
        ("--trades", "made a trade or note"),
        ("--chat", "wrote a line"),
        ("--reorganised", "reorganised"),
        ("--trouble", "trouble"),
    ])
}

fn lane_centre(row: usize) -> f64 {
    12.0 + LANE * (row as f64 + 0.5)
}

/// Draws a node's name and a bar for each of its runs.
fn sessions(svg: &mut String, report: &Report, node: &NodeRow, y: f64, x: Scale) {
    let name = escape(&node.name);
    draw!(svg, r#"<text class="end name" x="{}" y="{:.1}">{name}</text>"#, LEFT - 8.0, y + 4.0);
    let fill = colour(report, &node.name);
    for (first, last) in thinned(marks_of_each(report), &node.sessions) {
        let (from, to) = (x.at(*first as f64), x.at(*last as f64));
        let (top, width) = (y - 8.0, (to - from).max(2.0));
        draw!(svg, r#"<rect class="session" style="fill:{fill}" x="{from:.1}" y="{top:.1}" "#);
        draw!(svg, r#"width="{width:.1}" height="16" rx="4"><title>{name}: "#);
        draw!(svg, "{} to {}</title></rect>", clock(*first), clock(*last));
    }
}

/// Draws the number of peers of each node over time.
pub(super) fn peers(report: &Report) -> String {
    let counts = report.nodes.iter().flat_map(|node| node.peers.iter().map(|(_, count)| *count));
    let most = f64::from(counts.max().unwrap_or(0).max(1));
    let (top, bottom) = (16.0, 220.0);
    let (x, y) = (time_scale(report), Scale::linear(0.0, most, bottom, top));
    let mut svg = open(bottom + 28.0, "Peers of each node over time");
    let whole = |count: f64| if count.fract() == 0.0 { count.to_string() } else { String::new() };
    y_axis(&mut svg, (LEFT, RIGHT), y, whole);
    for (row, node) in report.nodes.iter().enumerate() {
        // Shift the lines of nodes with equal counts, so that none hides another.
        let apart = (row as f64 - report.nodes.len() as f64 / 2.0) * 2.4;
        let mut path = String::new();
        let mut last = 0.0;
        for (time, count) in thinned(marks_of_each(report), &node.peers) {
            let (at, height) = (x.at(*time as f64), y.at(f64::from(*count)) + apart);
            if path.is_empty() {
                draw!(path, "M{at:.1} {height:.1}");
            } else {
                draw!(path, "H{at:.1}V{height:.1}");
            }
            last = at;
        }
        if path.is_empty() {
            continue;
        }
        let end = node.sessions.last().map_or(last, |(_, end)| x.at(*end as f64));
        draw!(path, "H{:.1}", end.max(last));
        curve(&mut svg, "curve thin", &colour(report, &node.name), &path, &node.name);
    }
    time_axis(&mut svg, x, bottom);
    svg.push_str("</svg>");
    svg + &node_key(report)
}

/// Draws the delay until the last receiver, for each thing that spread, over time.
pub(super) fn latency(report: &Report) -> String {
    let blocks =
        report.blocks.iter().map(|block| (block.time, block.spread_ms, "--blocks", "block"));
    let trades =
        report.trades.iter().map(|trade| (trade.time, trade.spread_ms, "--trades", "trade"));
    let chat = report.chat.iter().map(|line| (line.time, line.spread_ms, "--chat", "chat line"));
    let all = blocks.chain(trades).chain(chat);
    let marks: Vec<_> = all
        .filter_map(|(time, spread, colour, kind)| Some((time, spread?.max, colour, kind)))
        .collect();
    let Some(most) = marks.iter().map(|mark| mark.1).reduce(f64::max) else {
        return nothing("Nothing went from one node to another.");
    };
    let least = marks.iter().map(|mark| mark.1).fold(most, f64::min);
    let (top, bottom) = (16.0, 260.0);
    let (x, y) = (time_scale(report), Scale::logarithmic(least, most, bottom, top));
    let mut svg = open(bottom + 28.0, "Time to the last receiver");
    y_axis(&mut svg, (LEFT, RIGHT), y, millis);
    for (time, took, colour, kind) in thinned(MARKS, &marks) {
        let title = format!("{kind} at {}: {took} ms", clock(*time));
        let place = (x.at(*time as f64), y.at(*took));
        dot(&mut svg, place, 3.5, &format!("var({colour})"), &title);
    }
    time_axis(&mut svg, x, bottom);
    svg.push_str("</svg>");
    svg + &kinds_key(&KINDS)
}

/// Draws the number of blocks of each miner, as bars.
pub(super) fn mined(report: &Report) -> String {
    const ROW: f64 = 28.0;
    let most = report.nodes.iter().map(|node| node.mined).max().unwrap_or(0);
    if most == 0 {
        return nothing("Nobody mined while these logs were written.");
    }
    let mut svg = open(ROW * report.nodes.len() as f64 + 8.0, "Blocks by miner");
    let x = Scale::linear(0.0, most as f64, LEFT, RIGHT - 120.0);
    for (row, node) in report.nodes.iter().enumerate() {
        let y = 4.0 + ROW * row as f64;
        let (top, text_y, end) = (y + 4.0, y + 17.0, x.at(node.mined as f64));
        let (name, fill) = (escape(&node.name), colour(report, &node.name));
        let name_x = LEFT - 8.0;
        draw!(svg, r#"<text class="end name" x="{name_x}" y="{text_y:.1}">{name}</text>"#);
        draw!(svg, r#"<rect style="fill:{fill}" x="{LEFT}" y="{top:.1}" "#);
        draw!(svg, r#"width="{:.1}" height="18" rx="4"/>"#, end - LEFT);
        let stale = if node.stale == 0 { String::new() } else { format!(", {} stale", node.stale) };
        let label = format!("{} ({:.0} %{stale})", node.mined, node.mined_share * 100.0);
        draw!(svg, r#"<text x="{:.1}" y="{text_y:.1}">{label}</text>"#, end + 8.0);
    }
    svg.push_str("</svg>");
    svg
}

/// Returns the legend of a plot: colours and their meanings.
fn key(entries: &[(String, String)]) -> String {
    let entries = entries.iter().map(|(colour, text)| {
        format!(r#"<li><i style="background:{colour}"></i>{}</li>"#, escape(text))
    });
    format!(r#"<ul class="key">{}</ul>"#, entries.collect::<String>())
}

/// Returns a legend of CSS variables and their meanings.
fn kinds_key(kinds: &[(&str, &str)]) -> String {
    let entries: Vec<_> = kinds
        .iter()
        .map(|(variable, text)| (format!("var({variable})"), (*text).to_owned()))
        .collect();
    key(&entries)
}

/// Returns the legend of node colours.
pub(super) fn node_key(report: &Report) -> String {
    let entries: Vec<_> =
        report.nodes.iter().map(|node| (colour(report, &node.name), node.name.clone())).collect();
    key(&entries)
}

/// Describes the period of the logs: start, end and length.
pub(super) fn period(report: &Report) -> String {
    let (Some(from), Some(until)) = (report.from, report.until) else { return String::new() };
    let seconds = until.saturating_sub(from).div_euclid(1_000);
    let length =
        if seconds < 120 { format!("{seconds} s") } else { format!("{} min", seconds / 60) };
    format!("{} to {} UTC, {length}", date(from), date(until).get(11..).unwrap_or_default())
}

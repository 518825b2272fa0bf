//! The page's plots, drawn as SVG. Colours are CSS variables of the page, so that both its themes
//! hold.

use std::{collections::HashMap, fmt::Write as _};

use super::{
    report::{BlockRow, Report},
    text::{clock, date},
};

/// Width of every plot but the chain's, in the units of its view box.
const WIDTH: f64 = 960.0;
/// Where the drawing begins; before it stand the labels of the vertical axis.
const LEFT: f64 = 88.0;
const RIGHT: f64 = WIDTH - 16.0;

/// Seconds between two labels of a time axis.
const TIME_STEPS: [f64; 14] = [
    1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_200.0, 1_800.0, 3_600.0, 21_600.0,
];

/// The chain's plot shows so many heights, the last ones.
const HEIGHTS: u32 = 150;
/// And so many blocks of one height.
const LANES: u32 = 12;
/// More marks than this make a plot no clearer and its page heavy: they are thinned evenly.
const MARKS: usize = 4_000;
/// How many colours nodes have before they repeat.
const COLOURS: usize = 8;

/// Text that may hold anything, for the inside of an element or attribute.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            character if character.is_control() => escaped.push('\u{fffd}'),
            character => escaped.push(character),
        }
    }
    escaped
}

/// Adds to a drawing. Writing to a `String` cannot fail.
macro_rules! draw {
    ($svg:expr, $($format:tt)*) => { let _ = write!($svg, $($format)*); };
}

/// Maps values to positions, straight or by their logarithm.
#[derive(Debug, Clone, Copy)]
struct Scale {
    from: f64,
    to: f64,
    start: f64,
    end: f64,
    logarithmic: bool,
}

impl Scale {
    fn linear(from: f64, to: f64, start: f64, end: f64) -> Self {
        Self { from, to: if to > from { to } else { from + 1.0 }, start, end, logarithmic: false }
    }

    /// From a power of ten to a power of ten.
    fn logarithmic(least: f64, most: f64, start: f64, end: f64) -> Self {
        let from = least.max(0.1).log10().floor();
        let to = most.max(1.0).log10().ceil().max(from + 1.0);
        Self { from, to, start, end, logarithmic: true }
    }

    fn at(&self, value: f64) -> f64 {
        let value = if self.logarithmic { value.max(0.1).log10() } else { value };
        let share = ((value - self.from) / (self.to - self.from)).clamp(0.0, 1.0);
        self.start + share * (self.end - self.start)
    }

    /// Where lines and labels stand: the powers of ten, or about five round values.
    fn ticks(&self) -> Vec<f64> {
        if self.logarithmic {
            let (mut power, mut ticks) = (self.from, Vec::new());
            while power <= self.to + 0.01 {
                ticks.push(10f64.powf(power));
                power += 1.0;
            }
            return ticks;
        }
        let step = round_step((self.to - self.from) / 5.0);
        let (mut tick, mut ticks) = ((self.from / step).ceil() * step, Vec::new());
        while tick <= self.to && ticks.len() < 20 {
            ticks.push(tick);
            tick += step;
        }
        ticks
    }
}

/// The next of 1, 2, 5, 10 … that is not smaller.
fn round_step(least: f64) -> f64 {
    let power = 10f64.powf(least.max(1e-9).log10().floor());
    let step = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= least).unwrap_or(10.0);
    step * power
}

fn millis(value: f64) -> String {
    if value >= 1_000.0 { format!("{} s", value / 1_000.0) } else { format!("{value} ms") }
}

fn open(height: f64, label: &str) -> String {
    format!(r#"<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{}">"#, escape(label))
}

/// A sentence in place of a plot that would be empty.
fn nothing(sentence: &str) -> String {
    format!(r#"<p class="nothing">{}</p>"#, escape(sentence))
}

/// Horizontal lines and their labels.
fn y_axis(svg: &mut String, scale: Scale, label: impl Fn(f64) -> String) {
    for tick in scale.ticks() {
        let y = scale.at(tick);
        draw!(svg, r#"<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y:.1}" y2="{y:.1}"/>"#);
        draw!(
            svg,
            r#"<text class="end" x="{}" y="{:.1}">{}</text>"#,
            LEFT - 8.0,
            y + 4.0,
            escape(&label(tick))
        );
    }
}

/// The times of the logs, left to right.
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
        draw!(
            svg,
            r#"<text class="middle" x="{x:.1}" y="{}">{}</text>"#,
            y + 18.0,
            label.get(..8).unwrap_or_default()
        );
        tick += seconds * 1_000.0;
    }
}

fn colour(report: &Report, name: &str) -> String {
    let position = report.nodes.iter().position(|node| node.name == name);
    position.map_or_else(
        || "var(--faint)".to_owned(),
        |position| format!("var(--n{})", position % COLOURS),
    )
}

/// Every so many of a list, so that not too many are drawn.
fn thinned<T>(marks: &[T]) -> impl Iterator<Item = &T> {
    thinned_to(MARKS, marks)
}

fn thinned_to<T>(most: usize, marks: &[T]) -> impl Iterator<Item = &T> {
    marks.iter().step_by(marks.len().div_ceil(most).max(1))
}

/// How many marks each node may have where each has its own.
fn marks_of_each(report: &Report) -> usize {
    MARKS.div_ceil(report.nodes.len().max(1))
}

/// Which share had arrived after how long: one curve for each kind.
pub(super) fn spread(report: &Report) -> String {
    let kinds = [
        ("blocks", "--blocks", &report.curves.blocks),
        ("trades and notes", "--trades", &report.curves.trades),
        ("chat", "--chat", &report.curves.chat),
    ];
    let all = || kinds.iter().flat_map(|(_, _, delays)| delays.iter().copied());
    let Some(most) = all().reduce(f64::max) else {
        return nothing("Nothing went from one node to another.");
    };
    let (top, bottom) = (16.0, 300.0);
    let x = Scale::logarithmic(all().fold(most, f64::min), most, LEFT, RIGHT);
    let y = Scale::linear(0.0, 100.0, bottom, top);
    let mut svg = open(bottom + 44.0, "Share of arrivals over time");
    y_axis(&mut svg, y, |share| format!("{share} %"));
    for tick in x.ticks() {
        let at = x.at(tick);
        draw!(svg, r#"<line class="grid" x1="{at:.1}" x2="{at:.1}" y1="{top}" y2="{bottom}"/>"#);
        draw!(
            svg,
            r#"<text class="middle" x="{at:.1}" y="{}">{}</text>"#,
            bottom + 18.0,
            millis(tick)
        );
    }
    draw!(
        svg,
        r#"<text class="middle" x="{}" y="{}">after it was made</text>"#,
        f64::midpoint(LEFT, RIGHT),
        bottom + 38.0
    );
    for (name, variable, delays) in kinds.iter().filter(|(_, _, delays)| !delays.is_empty()) {
        let mut path = format!("M{LEFT:.1} {bottom:.1}");
        let step = delays.len().div_ceil(MARKS).max(1);
        let ranks = (0..delays.len()).filter(|rank| rank % step == 0 || rank + 1 == delays.len());
        for rank in ranks {
            let share = (rank + 1) as f64 * 100.0 / delays.len() as f64;
            draw!(path, "H{:.1}V{:.1}", x.at(delays[rank]), y.at(share));
        }
        draw!(path, "H{RIGHT}");
        draw!(
            svg,
            r#"<path class="curve" style="stroke:var({variable})" d="{path}"><title>{name}</title></path>"#
        );
    }
    svg.push_str("</svg>");
    let present = kinds.iter().filter(|(_, _, delays)| !delays.is_empty());
    let entries: Vec<_> = present
        .map(|(name, variable, delays)| {
            (format!("var({variable})"), format!("{name}, {} arrivals", delays.len()))
        })
        .collect();
    svg + &key(&entries)
}

/// The last blocks by height: the best chain above, what no longer counts below it.
pub(super) fn chain(report: &Report) -> String {
    const STEP: f64 = 30.0;
    const LANE: f64 = 44.0;
    const SIZE: f64 = 22.0;
    let Some(last) = report.blocks.last().map(|block| block.height) else {
        return nothing("No block was connected while these logs were written.");
    };
    let first = last.saturating_sub(HEIGHTS - 1);
    let shown: Vec<&BlockRow> =
        report.blocks.iter().filter(|block| block.height >= first).collect();
    let start = shown.first().map_or(first, |block| block.height);
    let mut lanes: HashMap<u32, u32> = HashMap::new();
    let mut places: HashMap<&str, (f64, f64)> = HashMap::new();
    let mut deepest = 0;
    for block in &shown {
        let lane = lanes.entry(block.height).or_default();
        if block.stale && *lane == 0 {
            *lane = 1;
        }
        if *lane >= LANES {
            continue;
        }
        let (column, row) = (f64::from(block.height - start), f64::from(*lane));
        places.insert(&block.hash, (30.0 + column * STEP, 34.0 + row * LANE));
        deepest = deepest.max(*lane);
        *lane += 1;
    }
    let width = 60.0 + f64::from(last - start) * STEP + SIZE;
    let height = 34.0 + f64::from(deepest) * LANE + 60.0;
    let mut svg = format!(
        r#"<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-label="The chain and its forks">"#
    );
    for block in &shown {
        let parent = block.previous.as_deref().and_then(|previous| places.get(previous));
        let (Some((x, y)), Some((from_x, from_y))) = (places.get(block.hash.as_str()), parent)
        else {
            continue;
        };
        let bend = f64::midpoint(*x, *from_x);
        draw!(
            svg,
            r#"<path class="link" d="M{from_x} {from_y}C{bend} {from_y} {bend} {y} {x} {y}"/>"#
        );
    }
    for block in &shown {
        let Some((x, y)) = places.get(block.hash.as_str()) else { continue };
        let fill = block
            .miner
            .as_deref()
            .map_or_else(|| "var(--faint)".to_owned(), |miner| colour(report, miner));
        let miner = escape(block.miner.as_deref().unwrap_or("unknown miner"));
        let spread = block
            .spread_ms
            .map_or_else(String::new, |spread| format!(", everywhere in {} ms", spread.max));
        let (class, state) = if block.stale { ("block stale", ", stale") } else { ("block", "") };
        draw!(
            svg,
            r#"<rect class="{class}" style="--fill:{fill}" x="{}" y="{}" width="{SIZE}" height="{SIZE}" rx="6"><title>block {} by {miner}: {} transactions{spread}{state}
{}</title></rect>"#,
            x - SIZE / 2.0,
            y - SIZE / 2.0,
            block.height,
            block.transactions,
            block.hash
        );
        if block.transactions > 1 {
            let trades = block.transactions - 1;
            draw!(svg, r#"<text class="inside" x="{x}" y="{}">{trades}</text>"#, y + 4.0);
        }
    }
    let label_y = height - 14.0;
    for height in (start..=last).filter(|height| height % 5 == 0 || *height == start) {
        let x = 30.0 + f64::from(height - start) * STEP;
        draw!(svg, r#"<text class="middle" x="{x}" y="{label_y}">{height}</text>"#);
    }
    svg.push_str("</svg>");
    let mut notes = String::new();
    if report.blocks.first().is_some_and(|block| block.height < start) {
        draw!(notes, r#"<p class="note">The last {HEIGHTS} heights.</p>"#);
    }
    if places.len() < shown.len() {
        draw!(
            notes,
            r#"<p class="note">Of a height with more blocks than {LANES}, not all are drawn.</p>"#
        );
    }
    format!(r#"<div class="scroll" tabindex="0">{svg}</div>{notes}"#)
}

/// A lane for each node, with what it did when.
pub(super) fn lanes(report: &Report) -> String {
    const LANE: f64 = 30.0;
    let bottom = 12.0 + LANE * report.nodes.len() as f64;
    let x = time_scale(report);
    let mut svg = open(bottom + 28.0, "What each node did when");
    for (row, node) in report.nodes.iter().enumerate() {
        let y = 12.0 + LANE * (row as f64 + 0.5);
        let name = escape(&node.name);
        draw!(svg, r#"<text class="end name" x="{}" y="{:.1}">{name}</text>"#, LEFT - 8.0, y + 4.0);
        for (first, last) in thinned_to(marks_of_each(report), &node.sessions) {
            let (from, to) = (x.at(*first as f64), x.at(*last as f64));
            draw!(
                svg,
                r#"<rect class="session" style="fill:{}" x="{from:.1}" y="{:.1}" width="{:.1}" height="16" rx="4"><title>{name}: {} to {}</title></rect>"#,
                colour(report, &node.name),
                y - 8.0,
                (to - from).max(2.0),
                clock(*first),
                clock(*last)
            );
        }
    }
    let rows: HashMap<&str, usize> =
        report.nodes.iter().enumerate().map(|(row, node)| (node.name.as_str(), row)).collect();
    let marks: Vec<_> = report
        .timeline
        .iter()
        .filter(|moment| !matches!(moment.kind, "started" | "stopped" | "friend"))
        .collect();
    for moment in thinned(&marks) {
        let Some(row) = rows.get(moment.node.as_str()) else { continue };
        let (at, y) = (x.at(moment.time as f64), 12.0 + LANE * (*row as f64 + 0.5));
        let title = format!("{} {} {}", clock(moment.time), moment.node, moment.text);
        draw!(
            svg,
            r#"<circle class="mark {}" cx="{at:.1}" cy="{y:.1}" r="4"><title>{}</title></circle>"#,
            moment.kind,
            escape(&title)
        );
    }
    time_axis(&mut svg, x, bottom);
    svg.push_str("</svg>");
    let kinds = [
        ("--blocks", "mined a block"),
        ("--trades", "made a trade or note"),
        ("--chat", "wrote a line"),
        ("--reorganised", "reorganised"),
        ("--trouble", "trouble"),
    ];
    svg + &key(&kinds.map(|(variable, text)| (format!("var({variable})"), text.to_owned())))
}

/// How many peers each node had.
pub(super) fn peers(report: &Report) -> String {
    let counts = report.nodes.iter().flat_map(|node| node.peers.iter().map(|(_, count)| *count));
    let most = f64::from(counts.max().unwrap_or(0).max(1));
    let (top, bottom) = (16.0, 220.0);
    let (x, y) = (time_scale(report), Scale::linear(0.0, most, bottom, top));
    let mut svg = open(bottom + 28.0, "Peers of each node over time");
    y_axis(
        &mut svg,
        y,
        |count| if count.fract() == 0.0 { format!("{count}") } else { String::new() },
    );
    for (row, node) in report.nodes.iter().enumerate() {
        // Lines that would hide one another stand a little apart.
        let apart = (row as f64 - report.nodes.len() as f64 / 2.0) * 2.4;
        let mut path = String::new();
        let mut last = 0.0;
        for (time, count) in thinned_to(marks_of_each(report), &node.peers) {
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
        let (name, stroke) = (escape(&node.name), colour(report, &node.name));
        draw!(
            svg,
            r#"<path class="curve thin" style="stroke:{stroke}" d="{path}"><title>{name}</title></path>"#
        );
    }
    time_axis(&mut svg, x, bottom);
    svg.push_str("</svg>");
    svg + &node_key(report)
}

/// How long everything took to its last receiver, over time.
pub(super) fn latency(report: &Report) -> String {
    let blocks =
        report.blocks.iter().map(|block| (block.time, block.spread_ms, "--blocks", "block"));
    let trades =
        report.trades.iter().map(|trade| (trade.time, trade.spread_ms, "--trades", "trade"));
    let chat = report.chat.iter().map(|line| (line.time, line.spread_ms, "--chat", "chat line"));
    let all = blocks.chain(trades).chain(chat);
    let marks: Vec<_> = all
        .filter_map(|(time, spread, colour, what)| Some((time, spread?.max, colour, what)))
        .collect();
    let Some(most) = marks.iter().map(|mark| mark.1).reduce(f64::max) else {
        return nothing("Nothing went from one node to another.");
    };
    let least = marks.iter().map(|mark| mark.1).fold(most, f64::min);
    let (top, bottom) = (16.0, 260.0);
    let (x, y) = (time_scale(report), Scale::logarithmic(least, most, bottom, top));
    let mut svg = open(bottom + 28.0, "Time to the last receiver");
    y_axis(&mut svg, y, millis);
    for (time, took, colour, what) in thinned(&marks) {
        draw!(
            svg,
            r#"<circle class="dot" style="fill:var({colour})" cx="{:.1}" cy="{:.1}" r="3.5"><title>{what} at {}: {took} ms</title></circle>"#,
            x.at(*time as f64),
            y.at(*took),
            clock(*time)
        );
    }
    time_axis(&mut svg, x, bottom);
    svg.push_str("</svg>");
    let kinds = [("--blocks", "blocks"), ("--trades", "trades and notes"), ("--chat", "chat")];
    svg + &key(&kinds.map(|(variable, text)| (format!("var({variable})"), text.to_owned())))
}

/// Which colour is what.
fn key(entries: &[(String, String)]) -> String {
    let entries = entries.iter().map(|(colour, text)| {
        format!(r#"<li><i style="background:{colour}"></i>{}</li>"#, escape(text))
    });
    format!(r#"<ul class="key">{}</ul>"#, entries.collect::<String>())
}

/// Who mined how much.
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
        let end = x.at(node.mined as f64);
        let (name, fill) = (escape(&node.name), colour(report, &node.name));
        draw!(
            svg,
            r#"<text class="end name" x="{}" y="{:.1}">{name}</text>"#,
            LEFT - 8.0,
            y + 17.0
        );
        draw!(
            svg,
            r#"<rect style="fill:{fill}" x="{LEFT}" y="{:.1}" width="{:.1}" height="18" rx="4"/>"#,
            y + 4.0,
            end - LEFT
        );
        let stale = if node.stale == 0 { String::new() } else { format!(", {} stale", node.stale) };
        let label = format!("{} ({:.0} %{stale})", node.mined, node.mined_share * 100.0);
        draw!(svg, r#"<text x="{:.1}" y="{:.1}">{label}</text>"#, end + 8.0, y + 17.0);
    }
    svg.push_str("</svg>");
    svg
}

/// Which colour is which node's.
pub(super) fn node_key(report: &Report) -> String {
    let entries: Vec<_> =
        report.nodes.iter().map(|node| (colour(report, &node.name), node.name.clone())).collect();
    key(&entries)
}

/// From when until when, as a sentence.
pub(super) fn period(report: &Report) -> String {
    let (Some(from), Some(until)) = (report.from, report.until) else { return String::new() };
    let seconds = until.saturating_sub(from).div_euclid(1_000);
    let length =
        if seconds < 120 { format!("{seconds} s") } else { format!("{} min", seconds / 60) };
    format!("{} to {} UTC, {length}", date(from), date(until).get(11..).unwrap_or_default())
}

//! Renders the report as one self-contained page: style, plots and tables, no script.

use std::fmt::Write as _;

use super::{
    chain_plot::chain,
    plots,
    report::{Report, Spread},
    svg::escape,
    text::{clock, first_digits},
};
use crate::primitives::counted;

/// The most rows of a table on the page: the newest.
const ROWS: usize = 200;

/// The page up to its style sheet.
const HEAD: &str = concat!(
    r#"<!doctype html><html lang="en"><head><meta charset="utf-8">"#,
    r#"<meta name="viewport" content="width=device-width, initial-scale=1">"#,
    r#"<meta name="color-scheme" content="light dark">"#,
    "<title>friendchain: what the nodes saw</title>"
);

const STYLE: &str = include_str!("page.css");

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.1}"))
}

fn card(page: &mut String, figure: &str, unit: &str, name: &str) {
    let (figure, unit, name) = (escape(figure), escape(unit), escape(name));
    let _ = write!(page, "<li><b>{figure}<small>{unit}</small></b><span>{name}</span></li>");
}

fn section(page: &mut String, title: &str, text: &str, content: &str) {
    let _ = write!(
        page,
        "<section><h2>{}</h2><p>{}</p>{content}</section>",
        escape(title),
        escape(text)
    );
}

/// Returns a table with the last row first. Cells that are numbers are right-aligned.
fn table<const N: usize>(
    heads: [&str; N],
    rows: impl DoubleEndedIterator<Item = [String; N]>,
) -> String {
    let rows: Vec<_> = rows.rev().take(ROWS).collect();
    let mut html = String::from(r#"<div class="scroll" tabindex="0"><table><thead><tr>"#);
    for head in heads {
        let _ = write!(html, "<th>{}</th>", escape(head));
    }
    html.push_str("</tr></thead><tbody>");
    for row in rows {
        html.push_str("<tr>");
        for cell in row {
            let is_number = cell
                .chars()
                .all(|character| character.is_ascii_digit() || ".+-–".contains(character));
            let class = if is_number { r#" class="number""# } else { "" };
            let _ = write!(html, "<td{class}>{}</td>", escape(&cell));
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table></div>");
    html
}

fn spread_cells(spread: Option<Spread>) -> [String; 3] {
    [
        spread.map(|spread| spread.p50),
        spread.map(|spread| spread.p99),
        spread.map(|spread| spread.max),
    ]
    .map(number)
}

/// Returns the whole page.
pub(super) fn page(report: &Report) -> String {
    let mut page = String::with_capacity(256 * 1024);
    page.push_str(HEAD);
    let _ = write!(page, "<style>{STYLE}</style></head><body><header><h1>What the nodes saw</h1>");
    let _ = write!(page, "<p>{}</p></header><main>", escape(&plots::period(report)));
    cards(&mut page, report);
    sections(&mut page, report);
    block_table(&mut page, report);
    trade_table(&mut page, report);
    chat_table(&mut page, report);
    reorganisation_table(&mut page, report);
    node_table(&mut page, report);
    timeline_table(&mut page, report);
    footer(&mut page, report);
    page
}

/// Writes the key figures.
fn cards(page: &mut String, report: &Report) {
    let median = |spread: Option<Spread>| number(spread.map(|spread| spread.p50));
    page.push_str(r#"<ul class="cards">"#);
    card(page, &report.nodes.len().to_string(), "", "nodes");
    card(page, &report.blocks.len().to_string(), "", "blocks");
    card(page, &report.trades.len().to_string(), "", "trades and notes");
    card(page, &report.chat.len().to_string(), "", "chat lines");
    card(page, &median(report.block_spread_ms), "ms", "a block's median way");
    card(page, &median(report.chat_spread_ms), "ms", "a chat line's median way");
    card(page, &report.reorganisations.len().to_string(), "", "reorganisations");
    card(page, &report.stale_blocks.to_string(), "", "stale blocks");
    page.push_str("</ul>");
}

/// Writes a section for each plot.
fn sections(page: &mut String, report: &Report) {
    section(
        page,
        "What happened",
        "A lane for each node; a bar while it ran, a dot for what it did.",
        &plots::lanes(report),
    );
    section(
        page,
        "How fast things spread",
        "The share of arrivals at other nodes that were up, after a block, trade or chat line was \
         made.",
        &plots::spread(report),
    );
    section(
        page,
        "The chain and its forks",
        "Each block in the colour of its miner, with the number of its trades and notes; below \
         the chain, what no longer counts.",
        &(chain(report) + &plots::node_key(report)),
    );
    section(
        page,
        "Peers over time",
        "How many connected peers each node had.",
        &plots::peers(report),
    );
    section(
        page,
        "Latency",
        "How long each block, trade and chat line took to the last node it reached.",
        &plots::latency(report),
    );
    section(page, "Who mined", "Blocks by miner.", &plots::mined(report));
}

fn block_table(page: &mut String, report: &Report) {
    let blocks = report.blocks.iter().map(|block| {
        let [p50, p99, max] = spread_cells(block.spread_ms);
        let (miner, hash) = (block.miner.clone().unwrap_or_default(), first_digits(&block.hash));
        let state = if block.stale { "stale" } else { "" }.to_owned();
        let (height, transactions) = (block.height.to_string(), block.transactions.to_string());
        [height, hash, miner, clock(block.time), transactions, p50, p99, max, state]
    });
    let heads =
        ["height", "hash", "miner", "mined", "transactions", "p50 ms", "p99 ms", "max ms", ""];
    section(page, "Blocks", "The newest first.", &table(heads, blocks));
}

fn trade_table(page: &mut String, report: &Report) {
    if report.trades.is_empty() {
        return;
    }
    let trades = report.trades.iter().map(|trade| {
        let [p50, p99, max] = spread_cells(trade.spread_ms);
        let (from, txid) = (trade.from.clone().unwrap_or_default(), first_digits(&trade.txid));
        [clock(trade.time), txid, from, p50, p99, max]
    });
    let heads = ["time", "id", "from", "p50 ms", "p99 ms", "max ms"];
    section(page, "Trades and notes", "The newest first.", &table(heads, trades));
}

fn chat_table(page: &mut String, report: &Report) {
    if report.chat.is_empty() {
        return;
    }
    let chat = report.chat.iter().map(|line| {
        let from = line.from.clone().unwrap_or_default();
        let to = line.to.clone().unwrap_or_else(|| "all".to_owned());
        let slowest = number(line.spread_ms.map(|spread| spread.max));
        let (received, delivered) = (line.received.to_string(), number(line.delivered_ms));
        [clock(line.time), from, to, received, slowest, delivered]
    });
    let heads = ["time", "from", "to", "received by", "slowest ms", "delivered ms"];
    section(page, "Chat", "The newest first; what was said is in no log.", &table(heads, chat));
}

fn reorganisation_table(page: &mut String, report: &Report) {
    if report.reorganisations.is_empty() {
        return;
    }
    let changes = report.reorganisations.iter().map(|change| {
        let (left, joined) = (change.disconnected.to_string(), change.connected.to_string());
        let (height, tip) = (change.height.to_string(), first_digits(&change.new_tip));
        [clock(change.time), change.node.clone(), left, joined, height, tip]
    });
    let heads = ["time", "node", "left", "joined", "height", "new tip"];
    section(page, "Reorganisations", "The newest first.", &table(heads, changes));
}

fn node_table(page: &mut String, report: &Report) {
    // `table` reverses its rows, so reverse the nodes to keep their order.
    let nodes = report.nodes.iter().rev().map(|node| {
        let height = node.height.map_or_else(|| "–".to_owned(), |height| height.to_string());
        let (mined, stale, starts) =
            (node.mined.to_string(), node.stale.to_string(), node.starts.to_string());
        let (changes, warnings) = (node.reorganisations.to_string(), node.warnings.to_string());
        let clock = format!("{:+.1}", node.clock_correction_ms);
        [node.name.clone(), height, mined, stale, changes, starts, warnings, clock]
    });
    let heads = [
        "node",
        "height",
        "mined",
        "stale",
        "reorganised",
        "starts",
        "warnings",
        "clock corrected by ms",
    ];
    section(page, "Nodes", "As their logs end.", &table(heads, nodes));
}

fn timeline_table(page: &mut String, report: &Report) {
    let moments = report
        .timeline
        .iter()
        .map(|moment| [clock(moment.time), moment.node.clone(), moment.text.clone()]);
    section(page, "Time line", "The newest first.", &table(["time", "node", "what"], moments));
}

fn footer(page: &mut String, report: &Report) {
    let broken = match report.broken_lines {
        0 => String::new(),
        broken => format!(", {broken} broken ones passed over"),
    };
    let repeated = match report.repeated_lines {
        0 => String::new(),
        repeated => format!(", {repeated} that were read already"),
    };
    let suppressed = match report.suppressed_events {
        0 => String::new(),
        events => format!(
            " Left out of the logs, since there were so many: {}. How things spread is told \
             without them.",
            counted(events, "event", "events")
        ),
    };
    let _ = write!(
        page,
        "</main><footer>{} read{broken}{repeated}.{suppressed} Clocks are corrected so that \
         nothing arrives before it was made. Made by friendchain {}.</footer></body></html>",
        counted(report.lines, "line", "lines"),
        env!("CARGO_PKG_VERSION")
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{line, story::Story, text};

    fn story(lines: &[String]) -> Story {
        let mut story = Story::default();
        for text in lines {
            story.add_line(0, &line::parse(text.as_bytes()).expect("a line"));
        }
        story
    }

    #[test]
    fn each_trade_and_how_it_spread_is_in_the_text_and_on_the_page() {
        let txid = "0123456789abcdef".repeat(4);
        let line = |second: u32, node: &str, event: &str| {
            let start = format!(r#"{{"timestamp":"2026-01-01T00:00:0{second}Z","level":"INFO""#);
            format!(r#"{start},"node":"{node}",{event}}}"#)
        };
        let trade = |local| format!(r#""event":"trade_accepted","txid":"{txid}","local":{local}"#);
        let started = r#""event":"node_started""#;
        let lines = [
            line(1, "yzw", started),
            line(1, "yjf", started),
            line(2, "yzw", &trade(true)),
            line(4, "yjf", &trade(false)),
        ];
        let report = Report::of(&story(&lines));
        let page = page(&report);
        assert!(page.contains("<h2>Trades and notes</h2>"), "{page}");
        let cells = "<td>0123456789abcdef</td><td>yzw</td><td class=\"number\">2000.0</td>";
        assert!(page.contains(cells), "{page}");
        let mut text = Vec::new();
        text::write(&mut text, &report, 10).expect("written");
        let text = String::from_utf8(text).expect("text");
        let row = text.lines().find(|line| line.contains("0123456789abcdef")).expect("a row");
        assert!(row.split_whitespace().eq([
            "00:00:02.000",
            "0123456789abcdef",
            "yzw",
            "1",
            "2000",
            "2000",
            "2000"
        ]));
    }

    #[test]
    fn a_hostile_name_is_text_on_the_page_and_the_page_needs_nothing_from_elsewhere() {
        let name = "<script>alert(1)</script>'\\\"&";
        let start = r#"{"timestamp":"2026-01-01T00:00:00Z","level":"INFO""#;
        let line = format!(r#"{start},"event":"node_started","node":"{name}","peer_id":"12D3"}}"#);
        let page = page(&Report::of(&story(&[line])));
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&#39;&quot;&amp;"), "{page}");
        for foreign in ["<script", "http:", "https:", "src=", "@import"] {
            assert!(!page.contains(foreign), "{foreign}");
        }
    }
}

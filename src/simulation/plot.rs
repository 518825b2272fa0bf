//! The plot of the network's growth: three figures by the number of nodes.

use std::fmt::Write as _;

use crate::svg::{Scale, curve, dot, escape, round_step, x_label, y_axis};

/// The figures at one number of nodes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    pub(super) nodes: usize,
    /// The time until a block has reached all, in ms.
    pub(super) median: f64,
    pub(super) p99: f64,
    /// The traffic of a node in a minute.
    pub(super) kilobytes: f64,
    /// The share of stale blocks, in %.
    pub(super) stale: f64,
}

/// The positions of the panels: left, right, bottom. Each is 180 high.
const LEFT: f64 = 80.0;
const RIGHT: f64 = 680.0;
const HEIGHT: f64 = 180.0;
/// The distance from the top of one panel to the next.
const STEP: f64 = 250.0;

/// The start of the file.
const HEAD: &str = r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 800"
  font-family="sans-serif" font-size="14" fill="#222">
<style>
  .grid { stroke: #ddd }
  .end { text-anchor: end }
  .middle { text-anchor: middle }
  .curve { fill: none; stroke-width: 2.5 }
</style>
<rect width="760" height="800" fill="#fff"/>
"##;

/// A curve: its name, colour and values.
type Curve<'a> = (&'a str, &'a str, &'a dyn Fn(&Point) -> f64);

/// Returns the SVG file.
pub(super) fn draw(points: &[Point]) -> String {
    let mut svg = String::from(HEAD);
    let panels: [(&str, &[Curve<'_>]); 3] = [
        (
            "ms until a block has reached all nodes",
            &[
                ("99 %", "#c2571a", &|point| point.p99),
                ("median", "#1f5fa8", &|point| point.median),
            ],
        ),
        ("kB that a node sends in a minute", &[("", "#1f5fa8", &|point| point.kilobytes)]),
        ("% of the blocks that are stale", &[("", "#1f5fa8", &|point| point.stale)]),
    ];
    for (number, (title, curves)) in panels.iter().enumerate() {
        panel(&mut svg, number as f64 * STEP, title, curves, points);
    }
    x_label(&mut svg, (LEFT.midpoint(RIGHT), 790.0), "nodes (logarithmic)");
    svg.push_str("</svg>\n");
    svg
}

fn panel(svg: &mut String, offset: f64, title: &str, curves: &[Curve<'_>], points: &[Point]) {
    let (top, bottom) = (offset + 50.0, offset + 50.0 + HEIGHT);
    let values = curves.iter().flat_map(|(.., value)| points.iter().map(value));
    let most = values.fold(0.1, f64::max);
    let step = round_step(most / 4.0);
    let y = Scale::linear(0.0, (most / step).ceil() * step, bottom, top);
    let nodes = points.iter().map(|point| point.nodes as f64);
    let (least, most) =
        nodes.fold((f64::MAX, 1.0), |(low, high), at| (low.min(at), f64::max(high, at)));
    let x = Scale::logarithmic(least, most, LEFT, RIGHT);
    let _ = write!(svg, r#"<text x="{LEFT}" y="{}" font-size="16">{title}</text>"#, top - 20.0);
    y_axis(svg, (LEFT, RIGHT), y, |value| format!("{value}"));
    for point in points {
        x_label(svg, (x.at(point.nodes as f64), bottom + 22.0), &point.nodes.to_string());
    }
    for (name, colour, value) in curves {
        let places: Vec<_> =
            points.iter().map(|point| (x.at(point.nodes as f64), y.at(value(point)))).collect();
        let path: Vec<_> = places.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
        curve(svg, "curve", colour, &format!("M{}", path.join("L")), name);
        for (point, place) in points.iter().zip(&places) {
            let title = format!("{:.1} with {} nodes", value(point), point.nodes);
            dot(svg, *place, 4.0, colour, &title);
        }
        if let Some((x, y)) = places.last() {
            let (x, y, name) = (x + 10.0, y + 5.0, escape(name));
            let _ = write!(svg, r#"<text x="{x:.1}" y="{y:.1}" fill="{colour}">{name}</text>"#);
        }
    }
}

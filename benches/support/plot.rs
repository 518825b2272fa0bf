//! Draws speed by the number of coins, as an SVG file: a logarithmic horizontal axis and a linear
//! vertical one.

use std::fmt::Write as _;

use friendchain::svg::{Scale, curve, dot, escape, round_step, x_label, y_axis};

/// The rates measured at one number of coins, in transactions per second.
#[derive(Debug, Clone, Copy)]
pub struct Point {
    pub coins: usize,
    /// The rate of the chain.
    pub engine: f64,
    /// The rate of the processor alone.
    pub bound: f64,
}

/// The frame of the plot in pixels: left, top, right, bottom.
const FRAME: (f64, f64, f64, f64) = (80.0, 50.0, 680.0, 350.0);

/// The start of the file, up to the title.
const HEAD: &str = r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 420"
  font-family="sans-serif" font-size="14" fill="#222">
<style>
  .grid { stroke: #ddd }
  .end { text-anchor: end }
  .middle { text-anchor: middle }
  .curve { fill: none; stroke-width: 2.5 }
</style>
<rect width="760" height="420" fill="#fff"/>
<text x="80" y="28" font-size="17">Transactions connected a second, by coins on the chain</text>
"##;

/// Returns the whole file.
#[must_use]
pub fn growth(points: &[Point]) -> String {
    let (left, top, right, bottom) = FRAME;
    let most = points.iter().map(|point| point.engine.max(point.bound)).fold(1.0, f64::max);
    let step = round_step(most / 5.0);
    let y = Scale::linear(0.0, (most / step).ceil() * step, bottom, top);
    let coins = points.iter().map(|point| point.coins as f64);
    let (least, most) =
        coins.fold((f64::MAX, f64::MIN), |(low, high), at| (low.min(at), high.max(at)));
    let x = Scale::logarithmic(least, most, left, right);

    let mut svg = String::from(HEAD);
    y_axis(&mut svg, (left, right), y, |rate| format!("{:.0}k", rate / 1e3));
    for point in points {
        x_label(&mut svg, (x.at(point.coins as f64), bottom + 22.0), &count(point.coins));
    }
    x_label(&mut svg, (left.midpoint(right), 400.0), "coins (logarithmic)");
    let mut draw = |name: &str, colour: &str, rate: &dyn Fn(&Point) -> f64| {
        let places: Vec<_> =
            points.iter().map(|point| (x.at(point.coins as f64), y.at(rate(point)))).collect();
        let path: Vec<_> = places.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
        curve(&mut svg, "curve", colour, &format!("M{}", path.join("L")), name);
        for (point, place) in points.iter().zip(&places) {
            let title = format!("{:.0} a second at {} coins", rate(point), count(point.coins));
            dot(&mut svg, *place, 4.0, colour, &title);
        }
        if let Some((x, y)) = places.first() {
            let (x, y, name) = (x + 8.0, y - 10.0, escape(name));
            let _ = write!(svg, r#"<text x="{x:.1}" y="{y:.1}" fill="{colour}">{name}</text>"#);
        }
    };
    draw("the processor alone (bound)", "#c2571a", &|point| point.bound);
    draw("the chain, stored durably", "#1f5fa8", &|point| point.engine);
    svg.push_str("</svg>\n");
    svg
}

/// Formats a number of coins with a unit prefix: `10 k`, `1 M`.
fn count(coins: usize) -> String {
    match coins {
        1_000_000.. => format!("{} M", coins / 1_000_000),
        1_000.. => format!("{} k", coins / 1_000),
        _ => coins.to_string(),
    }
}

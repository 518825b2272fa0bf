//! A plot of how speed changes with the number of coins, as SVG: logarithmic to the right, linear
//! upwards.

/// What was measured at one number of coins, in transactions a second.
#[derive(Debug, Clone, Copy)]
pub struct Point {
    pub coins: usize,
    /// The chain.
    pub engine: f64,
    /// The processor alone.
    pub bound: f64,
}

/// Inside the axes, in pixels: left, top, right, bottom.
const FRAME: (f64, f64, f64, f64) = (80.0, 50.0, 680.0, 350.0);

/// The whole file.
#[must_use]
pub fn growth(points: &[Point]) -> String {
    let (left, top, right, bottom) = FRAME;
    let most = points.iter().map(|point| point.engine.max(point.bound)).fold(1.0, f64::max);
    let step = round_step(most / 5.0);
    let height = (most / step).ceil() * step;
    let decades = points.iter().map(|point| (point.coins as f64).log10());
    let (first, last) =
        decades.fold((f64::MAX, f64::MIN), |(low, high), at| (low.min(at), high.max(at)));
    let across = |coins: usize| {
        left + ((coins as f64).log10() - first) / (last - first).max(1.0) * (right - left)
    };
    let up = |rate: f64| bottom - rate / height * (bottom - top);

    let mut svg = String::from(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 420" font-family="sans-serif" font-size="14" fill="#222">
<rect width="760" height="420" fill="#fff"/>
<text x="80" y="28" font-size="17">Transactions connected a second, by coins on the chain</text>
"##,
    );
    let mut add = |line: String| {
        svg.push_str(&line);
        svg.push('\n');
    };
    let lines = (height / step).round() as u32;
    for rate in (0..=lines).map(|line| f64::from(line) * step) {
        let y = up(rate);
        add(format!(r##"<line x1="{left}" y1="{y:.1}" x2="{right}" y2="{y:.1}" stroke="#ddd"/>"##));
        add(format!(
            r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{:.0}k</text>"#,
            left - 8.0,
            y + 5.0,
            rate / 1e3
        ));
    }
    for point in points {
        let (x, y) = (across(point.coins), bottom + 22.0);
        add(format!(
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="middle">{}</text>"#,
            count(point.coins)
        ));
    }
    add(format!(
        r#"<text x="{:.1}" y="400" text-anchor="middle">coins (logarithmic)</text>"#,
        left.midpoint(right)
    ));
    let mut draw = |name: &str, colour: &str, rate: &dyn Fn(&Point) -> f64| {
        let places: Vec<_> =
            points.iter().map(|point| (across(point.coins), up(rate(point)))).collect();
        let path: Vec<_> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        add(format!(
            r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2.5"/>"#,
            path.join(" ")
        ));
        for (x, y) in &places {
            add(format!(r#"<circle cx="{x:.1}" cy="{y:.1}" r="4" fill="{colour}"/>"#));
        }
        if let Some((x, y)) = places.first() {
            add(format!(
                r#"<text x="{:.1}" y="{:.1}" fill="{colour}">{name}</text>"#,
                x + 8.0,
                y - 10.0
            ));
        }
    };
    draw("the processor alone (bound)", "#c2571a", &|point| point.bound);
    draw("the chain, stored durably", "#1f5fa8", &|point| point.engine);
    svg.push_str("</svg>\n");
    svg
}

/// 1, 2 or 5 times a power of ten, at least this much.
fn round_step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0]
        .into_iter()
        .map(|times| times * power)
        .find(|step| *step >= least)
        .unwrap_or(10.0 * power)
}

/// As people write it.
fn count(coins: usize) -> String {
    match coins {
        1_000_000.. => format!("{} M", coins / 1_000_000),
        1_000.. => format!("{} k", coins / 1_000),
        _ => coins.to_string(),
    }
}

//! Drawing of SVG plots: scales with round ticks, axes, curves and dots.
//!
//! Serves the page of `observe` and the figure of `benches/connect.rs`. Every element has a class
//! (`grid`, `end`, `middle`, `curve`, `dot`), and the document's own style sheet sets its look.

use std::fmt::Write as _;

/// Appends to a drawing. Writing to a `String` cannot fail.
macro_rules! draw {
    ($svg:expr, $($format:tt)*) => { let _ = write!($svg, $($format)*); };
}
pub(super) use draw;

/// Escapes untrusted text for the inside of an element or attribute.
#[must_use]
pub fn escape(text: &str) -> String {
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

/// A map from values to positions, linear or logarithmic.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// The least value, or its logarithm to base 10 on a logarithmic scale. The same applies to
    /// `to`.
    pub(super) from: f64,
    pub(super) to: f64,
    start: f64,
    end: f64,
    logarithmic: bool,
}

impl Scale {
    /// Returns a scale from values `from..=to` to positions `start..=end`.
    #[must_use]
    pub fn linear(from: f64, to: f64, start: f64, end: f64) -> Self {
        Self { from, to: if to > from { to } else { from + 1.0 }, start, end, logarithmic: false }
    }

    /// Returns a logarithmic scale, with both ends widened to powers of ten.
    #[must_use]
    pub fn logarithmic(least: f64, most: f64, start: f64, end: f64) -> Self {
        let from = least.max(0.1).log10().floor();
        let to = most.max(1.0).log10().ceil().max(from + 1.0);
        Self { from, to, start, end, logarithmic: true }
    }

    /// Returns the position of a value. Values beyond an end are drawn at that end.
    #[must_use]
    pub fn at(&self, value: f64) -> f64 {
        let value = if self.logarithmic { value.max(0.1).log10() } else { value };
        let share = ((value - self.from) / (self.to - self.from)).clamp(0.0, 1.0);
        self.start + share * (self.end - self.start)
    }

    /// Returns the values to label: the powers of ten, or about five round values.
    #[must_use]
    pub fn ticks(&self) -> Vec<f64> {
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

/// Returns 1, 2 or 5 times a power of ten: the least such value that is at least `least`.
#[must_use]
pub fn round_step(least: f64) -> f64 {
    let power = 10f64.powf(least.max(1e-9).log10().floor());
    let step = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= least).unwrap_or(10.0);
    step * power
}

/// Draws a horizontal line from `left` to `right` at each tick, with its label on the left.
pub fn y_axis(
    svg: &mut String,
    (left, right): (f64, f64),
    scale: Scale,
    label: impl Fn(f64) -> String,
) {
    for tick in scale.ticks() {
        let y = scale.at(tick);
        draw!(svg, r#"<line class="grid" x1="{left}" x2="{right}" y1="{y:.1}" y2="{y:.1}"/>"#);
        let label = escape(&label(tick));
        draw!(svg, r#"<text class="end" x="{}" y="{:.1}">{label}</text>"#, left - 8.0, y + 4.0);
    }
}

/// Draws a label of the horizontal axis, centred at `x`.
pub fn x_label(svg: &mut String, (x, y): (f64, f64), label: &str) {
    draw!(svg, r#"<text class="middle" x="{x:.1}" y="{y}">{}</text>"#, escape(label));
}

/// Draws a line along `path`, in SVG path syntax. Its class is `curve` and perhaps others.
pub fn curve(svg: &mut String, class: &str, stroke: &str, path: &str, title: &str) {
    draw!(svg, r#"<path class="{class}" style="stroke:{stroke}" d="{path}">"#);
    draw!(svg, "<title>{}</title></path>", escape(title));
}

/// Draws a filled circle around a measured value.
pub fn dot(svg: &mut String, (x, y): (f64, f64), radius: f64, fill: &str, title: &str) {
    draw!(svg, r#"<circle class="dot" style="fill:{fill}" cx="{x:.1}" cy="{y:.1}" r="{radius}">"#);
    draw!(svg, "<title>{}</title></circle>", escape(title));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_scale_has_about_five_round_ticks_and_clamps_what_is_outside() {
        let scale = Scale::linear(0.0, 98_000.0, 350.0, 50.0);
        assert_eq!(scale.ticks(), [0.0, 20_000.0, 40_000.0, 60_000.0, 80_000.0]);
        assert_eq!((scale.at(0.0), scale.at(49_000.0), scale.at(1e9)), (350.0, 200.0, 50.0));
    }

    #[test]
    fn a_logarithmic_scale_ends_in_powers_of_ten() {
        let scale = Scale::logarithmic(3.0, 700.0, 0.0, 300.0);
        assert_eq!(scale.ticks(), [1.0, 10.0, 100.0, 1_000.0]);
        assert_eq!((scale.at(10.0), scale.at(0.0)), (100.0, 0.0));
    }
}

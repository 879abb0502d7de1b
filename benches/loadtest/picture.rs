//! Figures as bars, as an SVG.

use std::fmt::{self, Display, Formatter};

/// Where the bars begin and end, and how far they are apart, in pixels.
const LEFT: f64 = 220.0;
const RIGHT: f64 = 640.0;
const ROW: f64 = 20.0;

/// Bars of one unit, from a power of ten to another.
pub(crate) struct Chart {
    pub(crate) title: String,
    pub(crate) bars: Vec<Bar>,
}

/// How much it is in the middle, and at least and at most.
pub(crate) struct Bar {
    name: String,
    colour: &'static str,
    spread: [f64; 3],
}

impl Bar {
    /// Nothing if it has no logarithm: there is no place for it among powers of ten.
    pub(crate) fn new(name: String, colour: &'static str, spread: [f64; 3]) -> Option<Self> {
        let has_place = spread.iter().all(|value| *value > 0.0 && value.is_finite());
        has_place.then_some(Self {
            name,
            colour,
            spread,
        })
    }

    fn draw(&self, f: &mut Formatter<'_>, axis: &Axis, top: f64) -> fmt::Result {
        let Self {
            name,
            colour,
            spread,
        } = self;
        let [end, least, most] = spread.map(|value| axis.place(value));
        let (text, line) = (top + 0.7 * ROW, top + 0.5 * ROW);
        writeln!(f, r#"<text x="10" y="{text:.1}">{name}</text>"#)?;
        let (y, width, height) = (top + 3.0, end - LEFT, ROW - 6.0);
        writeln!(
            f,
            r#"<rect x="{LEFT}" y="{y:.1}" width="{width:.1}" height="{height:.1}" fill="{colour}"/>"#
        )?;
        writeln!(
            f,
            r#"<path d="M{least:.1} {line:.1}H{most:.1}" stroke="black"/>"#
        )?;
        let (x, value) = (most + 6.0, told(spread[0]));
        writeln!(f, r#"<text x="{x:.1}" y="{text:.1}">{value}</text>"#)
    }
}

/// What can be drawn.
pub(crate) trait Pictured {
    fn charts(&self) -> Vec<Chart>;
}

/// The colours of the server, and of what it is compared with.
pub(crate) const SERVER: &str = "#4878a8";
pub(crate) const OTHER: &str = "#b8b8b8";

/// The title of what `Figures::add_times` adds.
pub(crate) const TIMES: &str = "how long it took, in microseconds";

/// Charts one below the other.
pub(crate) struct Picture(pub(crate) Vec<Chart>);

impl Display for Picture {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let charts = self.0.iter().filter(|chart| !chart.bars.is_empty());
        let height: f64 = charts.clone().map(Chart::height).sum();
        writeln!(
            f,
            r#"<svg xmlns="http://www.w3.org/2000/svg" width="760" height="{height}" font-family="sans-serif" font-size="12">"#
        )?;
        writeln!(f, r#"<rect width="100%" height="100%" fill="white"/>"#)?;
        let mut top = 0.0;
        for chart in charts {
            chart.draw(f, top)?;
            top += chart.height();
        }
        writeln!(f, "</svg>")
    }
}

impl Chart {
    fn height(&self) -> f64 {
        (self.bars.len() as f64 + 4.0) * ROW
    }

    fn draw(&self, f: &mut Formatter<'_>, top: f64) -> fmt::Result {
        let axis = self.axis();
        let (first, end) = (top + 2.0 * ROW, top + self.height() - 1.5 * ROW);
        let title = &self.title;
        let y = top + 1.2 * ROW;
        writeln!(
            f,
            r#"<text x="10" y="{y:.1}" font-weight="bold">{title}</text>"#
        )?;
        axis.draw(f, first, end)?;
        for (index, bar) in self.bars.iter().enumerate() {
            bar.draw(f, &axis, first + index as f64 * ROW)?;
        }
        Ok(())
    }

    fn axis(&self) -> Axis {
        let least = self.bars.iter().map(|bar| bar.spread[1].log10());
        let most = self.bars.iter().map(|bar| bar.spread[2].log10());
        let first = least.fold(f64::INFINITY, f64::min).floor();
        let last = most.fold(f64::NEG_INFINITY, f64::max).ceil();
        Axis {
            first,
            last: last.max(first + 1.0),
        }
    }
}

/// The powers of ten between which all bars of a chart end.
struct Axis {
    first: f64,
    last: f64,
}

impl Axis {
    fn place(&self, value: f64) -> f64 {
        let part = (value.log10() - self.first) / (self.last - self.first);
        LEFT + part * (RIGHT - LEFT)
    }

    fn draw(&self, f: &mut Formatter<'_>, begin: f64, end: f64) -> fmt::Result {
        let mut power = self.first;
        while power <= self.last {
            let value = 10_f64.powf(power);
            let (x, y) = (self.place(value), end + 0.8 * ROW);
            writeln!(
                f,
                r##"<path d="M{x:.1} {begin:.1}V{end:.1}" stroke="#cccccc"/>"##
            )?;
            writeln!(
                f,
                r#"<text x="{x:.1}" y="{y:.1}" text-anchor="middle">{value}</text>"#
            )?;
            power += 1.0;
        }
        Ok(())
    }
}

/// With three digits or so.
fn told(value: f64) -> String {
    match value {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

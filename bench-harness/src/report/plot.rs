//! Line plots as inline SVG, drawn for a page that is read on a phone and in the dark.
//!
//! No library: what is needed is three kinds of axis and a polyline, and every colour must come from the page's
//! style sheet, so that one picture serves light and dark. A plot is small in its own units and scales with
//! the column that it stands in; its legend is text of the page. Nothing here knows what is plotted.

use std::fmt::Write;

/// Width and height in units of the drawing; letters are 13 units high.
const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 230.0;
/// Room for labels around the plot's own area.
const LEFT: f64 = 46.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 28.0;

/// Of a digit, about.
const LETTER_WIDTH: f64 = 8.0;

/// Lines of more points have no labels to hover over.
const HOVER_POINTS_MAX: usize = 150;

/// How an axis runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scale {
    /// From 0.
    Linear,
    /// By decades; values of 0 and below stand at the lower end.
    Log,
    /// Shares of all, by the halvings of what lies beyond, as HdrHistogram shows percentiles: every further
    /// nine takes the same room. The value is the count of all.
    Percentile(u64),
}

/// One line.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) name: &'static str,
    pub(crate) points: Vec<(f64, f64)>,
}

/// Lines over common axes; lines of more than three names repeat the colours.
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    pub(crate) title: &'static str,
    pub(crate) x: Scale,
    pub(crate) y: Scale,
    /// Stand behind the numbers of hovered points.
    pub(crate) x_unit: &'static str,
    pub(crate) y_unit: &'static str,
    pub(crate) series: Vec<Series>,
}

impl Plot {
    /// The plot with its title and legend; empty when there is nothing to draw.
    pub(crate) fn figure(&self) -> String {
        let series: Vec<(usize, &Series)> =
            self.series.iter().enumerate().filter(|(_, series)| !series.points.is_empty()).collect();
        if series.is_empty() {
            return String::new();
        }
        let legend: String = series
            .iter()
            .map(|(index, series)| format!("<span><i class=\"s{index}\"></i>{}</span>", series.name))
            .collect();
        let title = format!("{} <small>{}</small>", self.title, self.y_unit);
        format!(
            "<figure><figcaption><b>{title}</b><span class=\"legend\">{legend}</span></figcaption>{}</figure>\n",
            self.svg(&series)
        )
    }

    fn svg(&self, series: &[(usize, &Series)]) -> String {
        let all = || series.iter().flat_map(|(_, series)| &series.points);
        let x = Axis::over(self.x, all().map(|point| point.0), LEFT, WIDTH - RIGHT, false);
        let y = Axis::over(self.y, all().map(|point| point.1), HEIGHT - BOTTOM, TOP, true);
        let mut svg =
            format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">", self.title);
        for (at, label) in y.ticks() {
            let _ = write!(
                svg,
                "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" class=\"y\">{label}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                at + 4.5
            );
        }
        let (ticks, mut free_from) = (x.ticks(), 0.0);
        let last = ticks.len().saturating_sub(1);
        for (index, (at, mut label)) in ticks.into_iter().enumerate() {
            if index == last && !self.x_unit.is_empty() {
                let _ = write!(label, " {}", self.x_unit);
            }
            let (top, bottom) = (HEIGHT - BOTTOM, HEIGHT - BOTTOM + 5.0);
            let _ = write!(svg, "<path class=\"tick\" d=\"M{at:.1} {top:.1}V{bottom:.1}\"/>");
            // A label that has no room beside the one before it is left away.
            let half = label.len() as f64 * LETTER_WIDTH / 2.0;
            let middle = at.min(WIDTH - half);
            if middle - half >= free_from {
                free_from = middle + half + LETTER_WIDTH;
                let y = HEIGHT - 8.0;
                let _ = write!(svg, "<text x=\"{middle:.1}\" y=\"{y:.1}\" class=\"x\">{label}</text>");
            }
        }
        for (index, series) in series.iter().rev() {
            self.line(&mut svg, *index, series, &x, &y);
        }
        svg.push_str("</svg>");
        svg
    }

    fn line(&self, svg: &mut String, index: usize, series: &Series, x: &Axis, y: &Axis) {
        let places: Vec<(f64, f64)> =
            series.points.iter().map(|point| (x.place(point.0), y.place(point.1))).collect();
        let path: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
        let _ = write!(svg, "<path class=\"line s{index}\" d=\"M{}\"/>", path.join("L"));
        if series.points.len() > HOVER_POINTS_MAX {
            return;
        }
        for (point, place) in series.points.iter().zip(places) {
            let _ = write!(
                svg,
                "<circle class=\"s{index}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\"><title>{}: {} {} at {}</title></circle>",
                place.0,
                place.1,
                series.name,
                exact(point.1),
                self.y_unit,
                self.x_text(point.0)
            );
        }
    }

    fn x_text(&self, value: f64) -> String {
        match self.x {
            Scale::Percentile(_) => format!("{} %", exact(value * 100.0)),
            _ => format!("{} {}", exact(value), self.x_unit),
        }
    }
}

/// An axis with its range, and where it lies on the drawing.
struct Axis {
    scale: Scale,
    /// In the scale's own coordinates, see [`Axis::coordinate`].
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// An axis that has room for the values. A rounded one ends at a round number, the other at the last value.
    fn over(scale: Scale, values: impl Iterator<Item = f64>, from: f64, to: f64, rounded: bool) -> Axis {
        let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| value.is_finite()) {
            (min, max) = (min.min(value), max.max(value));
        }
        let (low, high) = match scale {
            Scale::Linear if rounded => {
                let step = round_up(max.max(1e-9) / 6.0);
                (0.0, (max.max(1e-9) / step).ceil() * step)
            }
            Scale::Linear => (0.0, max.max(1e-9)),
            Scale::Log => {
                // What is 0 cannot be drawn; a thousandth is below everything that is measured here.
                let low = (1.0 / round_up(1.0 / min.max(1e-3))).log10();
                (low, round_up(max.max(1e-3)).log10().max(low + 1.0))
            }
            Scale::Percentile(count) => (0.0, (count.max(10) as f64).log10()),
        };
        Axis { scale, low, high, from, to }
    }

    fn coordinate(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => value,
            Scale::Log => value.max(1e-9).log10(),
            Scale::Percentile(_) => -(1.0 - value).max(1e-12).log10(),
        }
    }

    /// Where a value stands on the drawing; what lies outside stands at the end.
    fn place(&self, value: f64) -> f64 {
        let share = (self.coordinate(value) - self.low) / (self.high - self.low);
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }

    fn ticks(&self) -> Vec<(f64, String)> {
        let values: Vec<f64> = match self.scale {
            Scale::Linear => {
                let step = round_up(self.high / 6.0);
                (0..=6)
                    .map(|index| f64::from(index) * step)
                    .filter(|value| *value <= self.high * 1.0001)
                    .collect()
            }
            Scale::Log => {
                let decades = self.low.floor() as i32..=self.high.floor() as i32;
                // Few decades have room for steps between them.
                let steps: &[f64] = if self.high - self.low <= 2.5 { &[1.0, 2.0, 5.0] } else { &[1.0] };
                let all = decades.flat_map(|decade| steps.iter().map(move |step| step * 10_f64.powi(decade)));
                let shown = self.low - 1e-9..=self.high + 1e-9;
                all.filter(|value| shown.contains(&value.log10())).collect()
            }
            Scale::Percentile(_) => {
                let nines = (1..=self.high.floor() as i32).map(|nines| 1.0 - 10_f64.powi(-nines));
                [0.0, 0.5].into_iter().chain(nines).collect()
            }
        };
        values.into_iter().map(|value| (self.place(value), self.label(value))).collect()
    }

    fn label(&self, value: f64) -> String {
        match self.scale {
            Scale::Percentile(_) => {
                let decimals = (-(1.0 - value).log10() - 2.0).round().max(0.0) as usize;
                format!("{:.decimals$}%", value * 100.0)
            }
            _ => short(value),
        }
    }
}

/// The smallest of 1, 2 and 5 times a power of ten that is not below the value.
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0].map(|step| step * power);
    steps.into_iter().find(|step| *step >= value * 0.999_999).unwrap_or(power * 10.0)
}

/// A number for a tick: `0.5`, `20`, `1.5k`, `2M`.
fn short(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        large if large >= 999_999.5 => (value / 1e6, "M"),
        large if large >= 999.5 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let text = format!("{scaled:.3}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A number for whoever hovers over it.
fn exact(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        let labels = |scale, max: f64| -> Vec<String> {
            let axis = Axis::over(scale, [0.7, max].into_iter(), 0.0, 100.0, true);
            axis.ticks().into_iter().map(|(_, label)| label).collect()
        };
        assert_eq!(labels(Scale::Linear, 103_000.0), ["0", "20k", "40k", "60k", "80k", "100k", "120k"]);
        assert_eq!(labels(Scale::Linear, 0.7), ["0", "0.2", "0.4", "0.6", "0.8"]);
        assert_eq!(labels(Scale::Log, 30.0), ["0.5", "1", "2", "5", "10", "20", "50"]);
        assert_eq!(labels(Scale::Log, 900.0), ["1", "10", "100", "1k"]);
        assert_eq!(labels(Scale::Percentile(20_000), 1.0), ["0%", "50%", "90%", "99%", "99.9%", "99.99%"]);
    }

    #[test]
    fn every_nine_takes_the_same_room() {
        let axis = Axis::over(Scale::Percentile(1000), [0.0].into_iter(), 0.0, 300.0, false);
        let places = [0.0, 0.9, 0.99, 0.999, 1.0].map(|share| axis.place(share).round());
        assert_eq!(places, [0.0, 100.0, 200.0, 300.0, 300.0]);
    }

    #[test]
    fn a_plot_of_nothing_is_left_away_and_one_of_zeros_is_drawn() {
        let mut plot = Plot {
            title: "lag",
            x: Scale::Linear,
            y: Scale::Log,
            x_unit: "s",
            y_unit: "lines",
            series: vec![Series { name: "all", points: vec![] }],
        };
        assert_eq!(plot.figure(), "");
        plot.series[0].points = vec![(1.0, 0.0), (2.0, 0.0)];
        let figure = plot.figure();
        assert!(figure.contains("<svg") && !figure.contains("NaN") && !figure.contains("inf"), "{figure}");
    }
}

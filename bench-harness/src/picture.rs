//! Pictures that stand alone: one SVG file each, for a README or a folder of results.
//!
//! The page of a run draws inside its own style sheet; a picture in a README has none and is shown on light and
//! on dark ground, so it brings its colours for both and leaves the ground transparent. Two kinds are enough:
//! bars that compare, and curves over a logarithmic axis. Nothing here knows what is measured.

use std::fmt::Write;

const STYLE: &str = "<style>\
    text{font:13px system-ui,-apple-system,'Segoe UI',sans-serif;fill:#24292f}\
    .title{font-weight:600}.soft{fill:#57606a;font-size:12px}.end{text-anchor:end}.mid{text-anchor:middle}\
    .grid{stroke:#d0d7de;stroke-width:1}.bar{fill:#8c959f}.own{fill:#0969da}\
    .whisker{stroke:#24292f;stroke-width:1.5;fill:none}.bad{fill:#cf222e}\
    .curve{fill:none;stroke:#0969da;stroke-width:2}.dot{fill:#0969da}.limit{stroke:#cf222e;stroke-dasharray:5 4}\
    @media(prefers-color-scheme:dark){text{fill:#e6edf3}.soft{fill:#9198a1}.grid{stroke:#3d444d}\
    .bar{fill:#656c76}.own{fill:#4493f8}.whisker{stroke:#e6edf3}.bad{fill:#f85149}\
    .curve{stroke:#4493f8}.dot{fill:#4493f8}.limit{stroke:#f85149}}</style>";

/// One bar with its interval.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// Where the bar ends; none when there is no measurement.
    pub value: Option<f64>,
    /// The lower end of the interval.
    pub low: f64,
    /// The upper end of the interval.
    pub high: f64,
}

/// One measure of all rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// Stands above its bars.
    pub title: String,
    /// As many as there are rows.
    pub bars: Vec<Bar>,
}

/// One row through all panels.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Stands before its bars.
    pub name: String,
    /// Drawn in the colour that stands out.
    pub own: bool,
    /// What is wrong with it, in a few words.
    pub fault: Option<String>,
}

const ROW_HEIGHT: f64 = 30.0;
const NAMES_WIDTH: f64 = 118.0;
const PANEL_WIDTH: f64 = 236.0;
/// Room behind the longest bar for its number.
const NUMBER_WIDTH: f64 = 62.0;

/// Rows of bars, one panel beside the other; each panel has a linear axis of its own that begins at 0.
#[must_use]
pub fn bars(caption: &str, rows: &[Row], panels: &[Panel]) -> String {
    let width = NAMES_WIDTH + PANEL_WIDTH * panels.len() as f64;
    let height = 64.0 + ROW_HEIGHT * rows.len() as f64;
    let mut svg = open(width, height, caption);
    for (index, row) in rows.iter().enumerate() {
        let y = 36.0 + ROW_HEIGHT * index as f64;
        text(&mut svg, 0.0, y + 16.0, if row.own { "title" } else { "" }, &row.name);
        if let Some(fault) = &row.fault {
            text(&mut svg, 0.0, y + 28.0, "soft bad", fault);
        }
    }
    for (index, panel) in panels.iter().enumerate() {
        let left = NAMES_WIDTH + PANEL_WIDTH * index as f64;
        text(&mut svg, left, 18.0, "title", &panel.title);
        let longest =
            panel.bars.iter().filter(|bar| bar.value.is_some()).map(|bar| bar.high).fold(0.0, f64::max);
        let scale = (PANEL_WIDTH - NUMBER_WIDTH) / if longest > 0.0 { longest } else { 1.0 };
        for (place, (bar, row)) in panel.bars.iter().zip(rows).enumerate() {
            draw_bar(&mut svg, left, 40.0 + ROW_HEIGHT * place as f64, scale, bar, row.own);
        }
    }
    text(&mut svg, 0.0, height - 6.0, "soft", caption);
    svg.push_str("</svg>\n");
    svg
}

fn draw_bar(svg: &mut String, left: f64, top: f64, scale: f64, bar: &Bar, own: bool) {
    let Some(value) = bar.value else {
        return text(svg, left, top + 12.0, "soft", "not measured");
    };
    let class = if own { "own" } else { "bar" };
    let (low, high) = (left + bar.low * scale, left + bar.high * scale);
    let length = (value * scale).max(1.0);
    let _ = write!(
        svg,
        r#"<rect class="{class}" x="{left:.1}" y="{top:.1}" width="{length:.1}" height="16" rx="2"/>"#
    );
    if high - low >= 1.0 {
        let middle = top + 8.0;
        let _ = write!(svg, r#"<path class="whisker" d="M{low:.1} {middle:.1}H{high:.1}"/>"#);
    }
    text(svg, high.max(left + length) + 6.0, top + 12.0, "", &short(value));
}

/// A curve over a common horizontal axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Stands above it.
    pub title: String,
    /// In the order of the horizontal axis; both values above 0.
    pub points: Vec<(f64, f64)>,
    /// A horizontal line with its name: what should not be exceeded.
    pub limit: Option<(f64, String)>,
}

const PLOT_WIDTH: f64 = 400.0;
const PLOT_HEIGHT: f64 = 260.0;
const PLOT_LEFT: f64 = 48.0;
const PLOT_TOP: f64 = 34.0;
const PLOT_BOTTOM: f64 = 44.0;

/// Curves beside each other, both axes logarithmic.
#[must_use]
pub fn curves(caption: &str, unit: &str, curves: &[Curve]) -> String {
    let mut svg = open(PLOT_WIDTH * curves.len() as f64, PLOT_HEIGHT + 24.0, caption);
    for (index, curve) in curves.iter().enumerate() {
        draw_curve(&mut svg, PLOT_WIDTH * index as f64, unit, curve);
    }
    text(&mut svg, 0.0, PLOT_HEIGHT + 18.0, "soft", caption);
    svg.push_str("</svg>\n");
    svg
}

fn draw_curve(svg: &mut String, left: f64, unit: &str, curve: &Curve) {
    text(svg, left, 16.0, "title", &curve.title);
    let limit = curve.limit.as_ref().map(|limit| limit.0);
    let x =
        Decades::over(curve.points.iter().map(|point| point.0), left + PLOT_LEFT, left + PLOT_WIDTH - 24.0);
    let y = Decades::over(
        curve.points.iter().map(|point| point.1).chain(limit),
        PLOT_HEIGHT - PLOT_BOTTOM,
        PLOT_TOP,
    );
    for (value, at) in y.ticks() {
        let _ = write!(svg, r#"<path class="grid" d="M{:.1} {at:.1}H{:.1}"/>"#, x.start, x.end);
        text(svg, x.start - 6.0, at + 4.0, "soft end", &short(value));
    }
    for (value, at) in x.ticks() {
        text(svg, at, y.start + 18.0, "soft mid", &short(value));
    }
    text(svg, x.end, y.start + 34.0, "soft end", unit);
    if let Some((value, name)) = &curve.limit {
        let at = y.place(*value);
        let _ = write!(svg, r#"<path class="limit" d="M{:.1} {at:.1}H{:.1}"/>"#, x.start, x.end);
        text(svg, x.start + 4.0, at - 5.0, "soft bad", name);
    }
    let places: Vec<(f64, f64)> =
        curve.points.iter().map(|point| (x.place(point.0), y.place(point.1))).collect();
    let path: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
    if !path.is_empty() {
        let _ = write!(svg, r#"<path class="curve" d="M{}"/>"#, path.join("L"));
    }
    for ((x, y), point) in places.iter().zip(&curve.points) {
        let (value, at) = (short(point.1), short(point.0));
        let _ = write!(
            svg,
            r#"<circle class="dot" cx="{x:.1}" cy="{y:.1}" r="3.5"><title>{value} at {at} {unit}</title></circle>"#
        );
    }
}

/// A logarithmic axis that ends at whole decades, from `start` to `end` on the drawing.
struct Decades {
    low: i32,
    high: i32,
    start: f64,
    end: f64,
}

impl Decades {
    fn over(values: impl Iterator<Item = f64>, start: f64, end: f64) -> Decades {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| *value > 0.0) {
            (low, high) = (low.min(value.log10()), high.max(value.log10()));
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        let low = low.floor() as i32;
        Decades { low, high: (high.ceil() as i32).max(low + 1), start, end }
    }

    fn place(&self, value: f64) -> f64 {
        let share = (value.max(1e-12).log10() - f64::from(self.low)) / f64::from(self.high - self.low);
        self.start + share.clamp(0.0, 1.0) * (self.end - self.start)
    }

    fn ticks(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        (self.low..=self.high).map(|power| {
            let value = 10f64.powi(power);
            (value, self.place(value))
        })
    }
}

fn open(width: f64, height: f64, label: &str) -> String {
    let label = escaped(label);
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-label="{label}">{STYLE}"#
    )
}

fn text(svg: &mut String, x: f64, y: f64, class: &str, content: &str) {
    let _ = write!(svg, r#"<text class="{class}" x="{x:.1}" y="{y:.1}">{}</text>"#, escaped(content));
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A number as one reads it on a picture: three digits, thousands as `k`, millions as `M`.
#[must_use]
pub fn short(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        at if at >= 999_500.0 => (value / 1e6, "M"),
        at if at >= 9_995.0 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let digits = match scaled.abs() {
        at if at >= 99.95 => 0,
        at if at >= 9.995 => 1,
        at if at >= 0.0995 => 2,
        _ => 3,
    };
    let text = format!("{scaled:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 0.0312, 0.5, 1.0, 12.34, 123.4, 1000.0, 20_000.0, 123_456.0, 1e6, 2.5e6].map(short);
        assert_eq!(shown, ["0", "0.031", "0.5", "1", "12.3", "123", "1000", "20k", "123k", "1M", "2.5M"]);
    }

    #[test]
    fn a_picture_is_well_formed_and_carries_both_grounds() {
        let rows = [
            Row { name: "a <b>".into(), own: true, fault: None },
            Row { name: "c".into(), own: false, fault: Some("7 lost".into()) },
        ];
        let bar = |value| Bar { value, low: 0.9, high: 1.2 };
        let panels = [Panel { title: "us/line".into(), bars: vec![bar(Some(1.0)), bar(None)] }];
        let svg = bars("one & two", &rows, &panels);
        assert!(svg.contains("a &lt;b&gt;") && svg.contains("one &amp; two"), "{svg}");
        assert!(svg.contains("not measured") && svg.contains("7 lost"), "{svg}");
        assert!(svg.contains("prefers-color-scheme:dark") && svg.ends_with("</svg>\n"), "{svg}");
        assert_eq!(svg.matches("<rect").count(), 1);
    }

    #[test]
    fn a_logarithmic_axis_ends_at_whole_decades() {
        let axis = Decades::over([1500.0, 80_000.0].into_iter(), 0.0, 200.0);
        assert_eq!(axis.ticks().collect::<Vec<_>>(), [(1e3, 0.0), (1e4, 100.0), (1e5, 200.0)]);
        assert!((axis.place(31_622.8) - 150.0).abs() < 0.01);
        assert_eq!(axis.place(0.0), 0.0);
        assert_eq!(Decades::over([].into_iter(), 0.0, 1.0).ticks().count(), 2);
    }

    #[test]
    fn curves_without_points_are_drawn_empty() {
        let curve = Curve { title: "p99 ms".into(), points: Vec::new(), limit: Some((50.0, "50 ms".into())) };
        let svg = curves("nothing", "lines/s", &[curve]);
        assert!(!svg.contains("<circle") && svg.contains("limit"), "{svg}");
    }
}

//! `report.html` of a soak: the verdict, what was watched over time, and the tables.

use super::watch::{Sample, mib};
use super::{Figures, LEVEL_HEADER};
use crate::report::plot::{Plot, Scale, Series};
use crate::report::{Report, page, thousands};

/// A line of more points than this is no clearer.
const POINTS_MAX: usize = 600;

pub(super) fn html(figures: &Figures, report: &Report) -> String {
    let (failures, warnings) = report.findings();
    let warnings: Vec<&str> = warnings.iter().map(String::as_str).collect();
    let about = format!(
        "{:.0} minutes of {} lines/s into {} files, seed {}",
        figures.duration_s / 60.0,
        thousands(figures.rate),
        figures.files,
        figures.seed
    );
    let mut content = String::new();
    page::head(&mut content, failures.is_empty(), ["soak", &about], failures, &warnings);
    let wrong = &figures.verdict;
    let wrong = wrong.lost + wrong.reordered + wrong.torn + wrong.foreign;
    page::tile_row(
        &mut content,
        &[
            ("lines", thousands(figures.lines), ""),
            ("lines missing or wrong", thousands(wrong), ""),
            ("duplicated, after kills", thousands(figures.verdict.duplicated), ""),
            ("furthest behind", format!("{:.1}", figures.behind_s_max), "s"),
        ],
    );
    content += &format!("<div class=\"plots\">\n{}</div>\n", plots(&figures.samples).concat());
    page::html_table(&mut content, "What was done, and what came of it", ["what", "value"], &figures.rows());
    page::html_table(&mut content, "What stayed level", LEVEL_HEADER, &figures.level_rows());
    let events: Vec<[String; 4]> = figures
        .events
        .iter()
        .map(|event| {
            [
                event.what.clone(),
                format!("{:.0}", event.at_s),
                thousands(event.repeated),
                thousands(event.allowed),
            ]
        })
        .collect();
    page::html_table(&mut content, "Event by event", ["event", "s", "lines doubled", "allowed"], &events);
    page::document(&format!("soak: {about}"), &content)
}

fn plots(samples: &[Sample]) -> Vec<String> {
    // The worst of each stretch: a peak must not vanish between the points.
    let stretch = samples.len().div_ceil(POINTS_MAX).max(1);
    let series = |name, value: fn(&Sample) -> Option<f64>| {
        let worst = |samples: &[Sample]| {
            let values = samples.iter().filter_map(value);
            Some((samples.first()?.at_s, values.reduce(f64::max)?))
        };
        Series { name, points: samples.chunks(stretch).filter_map(worst).collect() }
    };
    let plot = |title, y, y_unit, series: Vec<Series>| {
        Plot { title, x: Scale::Linear, y, x_unit: "s", y_unit, series }.figure()
    };
    vec![
        plot(
            "Resident memory",
            Scale::Linear,
            "MiB",
            vec![
                series("agent", |sample| Some(mib(sample.agent?.rss_bytes))),
                series("judge", |sample| Some(mib(sample.harness_rss_bytes))),
            ],
        ),
        plot(
            "Descriptors and threads of the agent",
            Scale::Linear,
            "",
            vec![
                series("descriptors", |sample| Some(sample.agent?.descriptors as f64)),
                series("threads", |sample| Some(sample.agent?.threads as f64)),
            ],
        ),
        plot(
            "State folder",
            Scale::Linear,
            "KiB",
            vec![series("bytes of its files", |sample| Some(sample.state_bytes as f64 / 1024.0))],
        ),
        plot(
            "Behind the writer",
            Scale::Log,
            "s",
            vec![
                series("newest line seen", |sample| Some(sample.behind_s)),
                series("worst latency", |sample| {
                    (sample.latency_max_s > 0.0).then_some(sample.latency_max_s)
                }),
            ],
        ),
    ]
}

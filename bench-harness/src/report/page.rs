//! `report.html` of a run, and its tables for the terminal: made from the record, and from nothing else.
//!
//! One file that needs no other and no network: style sheet and plots are inside. The verdict and what speaks
//! against the numbers stand above the numbers.

use std::fmt::Write;

use super::plot::{Plot, Scale, Series};
use super::record::Record;
use super::{mib, shell_line, table, thousands};
use crate::stages::Part;
use crate::timeline::{Activity, Second};

const STYLE: &str = include_str!("page.css");

/// The whole page.
pub(crate) fn html(record: &Record) -> String {
    let mut page = String::new();
    let title = format!("{} at {}", agent_name(record), load_sentence(record));
    let warnings: Vec<&str> = record.warnings.iter().map(|note| note.text.as_str()).collect();
    let (name, about) = (agent_name(record), load_sentence(record));
    head(&mut page, record.passed, [&name, &about], &record.failures, &warnings);
    tiles(&mut page, record);
    let _ = write!(page, "<div class=\"plots\">\n{}</div>\n", plots(record).concat());
    stages(&mut page, record);
    processes(&mut page, record);
    conditions(&mut page, record);
    document(&title, &page)
}

/// A whole document around what stands in it.
pub(crate) fn document(title: &str, content: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{content}</main>\n</body>\n</html>\n",
        escape(title)
    )
}

/// The same numbers in Markdown, for the terminal and for README.md.
pub(crate) fn tables(record: &Record) -> String {
    let latency = &record.latency_ms;
    let measured = table(
        [
            "lines/s",
            "arrived/s",
            "p50 ms",
            "p90 ms",
            "p99 ms",
            "p99.9 ms",
            "max ms",
            "CPU us/line",
            "peak RSS MiB",
        ],
        [[
            thousands(record.load.rate_lines_per_second),
            thousands(record.throughput_lines_per_second.round() as u64),
            ms(latency.p50),
            ms(latency.p90),
            ms(latency.p99),
            ms(latency.p999),
            ms(latency.max),
            format!("{:.2}", record.agent.cpu_us_per_line),
            mib(record.agent.peak_rss_bytes),
        ]],
    );
    let counts = [
        record.lines_sent,
        record.lines_received,
        record.lost,
        record.duplicated,
        record.reordered,
        record.torn,
        record.foreign,
    ];
    let complete = table(
        ["lines sent", "received", "lost", "duplicated", "reordered", "torn", "foreign"],
        [counts.map(thousands)],
    );
    let stages = table(["stage", "mean ms", "p50 ms", "p99 ms", "max ms"], stage_rows(record));
    format!(
        "From the time a line was due to its consumption, {}.\n\n{measured}\n\n{complete}\n\n{stages}\n\n{}\n",
        load_sentence(record),
        instrument_sentence(record)
    )
}

/// What it is, whether it passed, why not, and what speaks against the numbers.
pub(crate) fn head(
    page: &mut String,
    passed: bool,
    [name, about]: [&str; 2],
    failures: &[String],
    warnings: &[&str],
) {
    let (class, word) = if passed { ("pass", "complete") } else { ("fail", "FAILED") };
    let _ = writeln!(
        page,
        "<header><h1>{}</h1><span class=\"verdict {class}\">{word}</span><p class=\"sub\">{}</p></header>",
        escape(name),
        escape(about)
    );
    list(page, "fail", "Why it failed", failures.iter().map(String::as_str));
    list(page, "doubt", "What speaks against these numbers", warnings.iter().copied());
}

fn list<'a>(page: &mut String, class: &str, title: &str, lines: impl ExactSizeIterator<Item = &'a str>) {
    if lines.len() == 0 {
        return;
    }
    let items: String = lines.map(|line| format!("<li>{}</li>", escape(line))).collect();
    let _ = writeln!(page, "<div class=\"box {class}\"><b>{title}</b><ul>{items}</ul></div>");
}

fn tiles(page: &mut String, record: &Record) {
    let latency = &record.latency_ms;
    let wrong = [record.lost, record.duplicated, record.reordered, record.torn, record.foreign];
    let tiles = [
        ("latency p50", ms(latency.p50), "ms"),
        ("latency p99", ms(latency.p99), "ms"),
        ("latency p99.9", ms(latency.p999), "ms"),
        ("latency, worst", ms(latency.max), "ms"),
        ("arrived", thousands(record.throughput_lines_per_second.round() as u64), "lines/s"),
        ("agent's CPU", format!("{:.2}", record.agent.cpu_us_per_line), "us/line"),
        ("agent's peak memory", mib(record.agent.peak_rss_bytes), "MiB"),
        ("lines missing or wrong", thousands(wrong.iter().sum()), ""),
    ];
    tile_row(page, &tiles);
}

/// The few numbers that matter most: name, value, unit.
pub(crate) fn tile_row(page: &mut String, tiles: &[(&str, String, &str)]) {
    page.push_str("<div class=\"tiles\">");
    for (name, value, unit) in tiles {
        let _ =
            write!(page, "<div class=\"tile\"><span>{name}</span><b>{value} <small>{unit}</small></b></div>");
    }
    page.push_str("</div>\n");
}

/// Latency by percentile, then everything over the time of the run.
fn plots(record: &Record) -> Vec<String> {
    let curve = Plot {
        title: "Latency by percentile",
        x: Scale::Percentile(record.latency_ms.lines),
        y: Scale::Log,
        x_unit: "",
        y_unit: "ms",
        series: vec![Series { name: "due to consumed", points: record.latency_curve.clone() }],
    };
    let over_time = |title, y, y_unit, series: Vec<Series>| {
        Plot { title, x: Scale::Linear, y, x_unit: "s", y_unit, series }.figure()
    };
    let of = |name, value: fn(&Second) -> Option<f64>| Series {
        name,
        points: record.timeline.iter().filter_map(|second| Some((second.at_s, value(second)?))).collect(),
    };
    vec![
        curve.figure(),
        over_time(
            "Latency over time",
            Scale::Log,
            "ms",
            vec![
                of("p50", |second| Some(second.p50_ms)),
                of("p99", |second| Some(second.p99_ms)),
                of("max", |second| Some(second.max_ms)),
            ],
        ),
        over_time(
            "Rate",
            Scale::Linear,
            "lines/s",
            vec![
                of("due", |second| Some(second.due_lines as f64)),
                of("arrived", |second| Some(second.arrived_lines as f64)),
            ],
        ),
        over_time(
            "Lag",
            Scale::Linear,
            "lines",
            vec![
                of("due, not consumed", |second| Some(second.lag_lines as f64)),
                of("in the broker", |second| second.broker_lag_lines.map(|lines| lines as f64)),
            ],
        ),
        over_time(
            "CPU",
            Scale::Linear,
            "cores",
            vec![
                of("agent", |second| Some(second.agent.cpu_cores)),
                of("broker", |second| Some(second.broker?.cpu_cores)),
            ],
        ),
        over_time(
            "Memory",
            Scale::Linear,
            "MiB",
            vec![of("agent", |second| Some(second.agent.rss_bytes as f64 / f64::from(1 << 20)))],
        ),
    ]
}

fn stages(page: &mut String, record: &Record) {
    let rows = stage_rows(record);
    html_table(page, "Where the time went", ["stage", "mean ms", "p50 ms", "p99 ms", "max ms"], &rows);
    let _ = writeln!(page, "<p class=\"note\">{} {STAGES_NOTE}</p>", instrument_sentence(record));
}

const STAGES_NOTE: &str = "The broker keeps whole milliseconds, so the parts are that coarse. What an agent does \
                           not tell is a dash.";

fn stage_rows(record: &Record) -> Vec<[String; 5]> {
    let stages = &record.stages;
    let dash = || "-".to_owned();
    let part = |name: &str, part: Option<Part>| match part {
        Some(part) => [name.to_owned(), ms(part.mean), ms(part.p50), ms(part.p99), ms(part.max)],
        None => [name.to_owned(), dash(), dash(), dash(), dash()],
    };
    let (mut acknowledged, mut read) = (part("read to acknowledged", None), part("written to read", None));
    if let Some(exported) = stages.read_to_acknowledged_ms {
        acknowledged[1..4].clone_from_slice(&[ms(exported.mean), ms(exported.p50), ms(exported.p99)]);
    }
    if let Some(mean) = stages.written_to_read_mean_ms {
        read[1] = ms(mean);
    }
    let mut written = part("due to written", None);
    written[4] = ms(stages.due_to_written.max_ms);
    vec![
        written,
        read,
        acknowledged,
        part("due to appended by the broker", stages.due_to_appended_ms),
        part("appended to consumed", stages.appended_to_consumed_ms),
    ]
}

fn processes(page: &mut String, record: &Record) {
    let sum = |of: fn(&Second) -> Option<Activity>, count: fn(&Activity) -> u64| {
        let counts: Vec<u64> =
            record.timeline.iter().filter_map(|second| Some(count(&of(second)?))).collect();
        if counts.is_empty() { "-".to_owned() } else { thousands(counts.iter().sum()) }
    };
    let row = |name: &str, cpu_s: Option<f64>, of: fn(&Second) -> Option<Activity>| {
        let cpu = cpu_s.map_or_else(|| "-".to_owned(), |cpu_s| format!("{cpu_s:.2}"));
        [
            name.to_owned(),
            cpu,
            sum(of, |activity| activity.voluntary_switches),
            sum(of, |activity| activity.involuntary_switches),
            sum(of, |activity| activity.disk_read_bytes),
            sum(of, |activity| activity.disk_write_bytes),
        ]
    };
    let rows = [
        row("agent", Some(record.agent.cpu_seconds), |second| Some(second.agent)),
        row("broker", record.broker.cpu_seconds, |second| second.broker),
        row("generator", Some(record.generator.cpu_seconds), |_| None),
        row("consumer (the harness)", Some(record.consumer.cpu_seconds), |_| None),
    ];
    let header =
        ["within the window", "CPU s", "waits", "preemptions", "disk bytes read", "disk bytes written"];
    html_table(page, "What it cost", header, &rows);
    let received: u64 = record.timeline.iter().map(|second| second.network_received_bytes).sum();
    let _ = writeln!(
        page,
        "<p class=\"note\">{} bytes went over the machine's network interfaces, loopback included: those of the agent \
         to the broker, those of the broker to the consumer, and anyone else's.</p>",
        thousands(received)
    );
}

fn conditions(page: &mut String, record: &Record) {
    let environment = &record.environment;
    let load = &record.load;
    let facts = [
        ("Command", format!("<code>logdrive-bench {}</code>", escape(&shell_line(&environment.arguments)))),
        ("Agent", format!("<code>{}</code>", escape(&environment.agent_command))),
        (
            "Load",
            format!(
                "{} lines/s of {} bytes to {} file(s), {} partition(s), {} s after {} s of warm-up; {} lines in all",
                thousands(load.rate_lines_per_second),
                escape(&load.line_bytes),
                thousands(u64::from(load.files)),
                load.partitions,
                load.duration_s,
                load.warm_up_s,
                thousands(record.lines_sent)
            ),
        ),
        ("Machine", escape(&environment.machine())),
        ("Started", escape(&environment.started)),
    ];
    page.push_str("<h2>How it was measured</h2>\n<div class=\"scroll\"><dl>");
    for (name, value) in facts {
        let _ = write!(page, "<dt>{name}</dt><dd>{value}</dd>");
    }
    page.push_str("</dl></div>\n");
}

pub(crate) fn html_table<const N: usize>(
    page: &mut String,
    title: &str,
    header: [&str; N],
    rows: &[[String; N]],
) {
    let header: String = header.iter().map(|name| format!("<th>{name}</th>")).collect();
    let _ = write!(page, "<h2>{title}</h2>\n<div class=\"scroll\"><table><tr>{header}</tr>");
    for row in rows {
        let cells: String = row.iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect();
        let _ = write!(page, "<tr>{cells}</tr>");
    }
    page.push_str("</table></div>\n");
}

fn agent_name(record: &Record) -> String {
    let environment = &record.environment;
    let program = environment.agent_command.split_whitespace().next().unwrap_or("agent");
    environment.agent.clone().unwrap_or_else(|| program.rsplit('/').next().unwrap_or(program).to_owned())
}

fn load_sentence(record: &Record) -> String {
    let load = &record.load;
    format!(
        "{} lines/s of {} bytes, {} file(s), measured for {} s",
        thousands(load.rate_lines_per_second),
        load.line_bytes,
        thousands(u64::from(load.files)),
        load.duration_s
    )
}

fn instrument_sentence(record: &Record) -> String {
    format!(
        "The instrument alone (produce singly without linger, consume): p50 {} ms, p99 {} ms, included in every latency.",
        ms(record.instrument_ms.p50),
        ms(record.instrument_ms.p99)
    )
}

fn ms(value: f64) -> String {
    format!("{value:.2}")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::record;
    use super::*;

    #[test]
    fn the_page_needs_nothing_but_itself() {
        let page = html(&record());
        for outside in ["http:", "https:", "src=", "<link", "@import", "url(", "<script"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("prefers-color-scheme: dark") && page.contains("name=\"viewport\""));
        assert_eq!(page.matches("<svg").count(), 6);
        assert!(!page.contains("NaN"), "every point can be drawn");
    }

    #[test]
    fn verdict_and_doubts_stand_above_the_numbers() {
        let page = html(&record());
        let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} is missing"));
        assert!(at("FAILED") < at("1 line lost") && at("1 line lost") < at("the instrument itself shows"));
        assert!(at("the instrument itself shows") < at("class=\"tiles\""));
        assert!(page.contains("ship &lt;a&gt; &amp; &lt;b&gt;") && !page.contains("<a>"), "text is text");
    }

    #[test]
    fn the_tables_say_what_is_not_known() {
        let tables = tables(&record());
        assert!(tables.contains("| read to acknowledged ") && tables.contains("|       - |"), "{tables}");
        assert!(tables.contains("| 80,000 ") && tables.contains("496.00"), "{tables}");
    }
}

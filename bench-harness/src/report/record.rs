//! `run.json` of one run: what `run` writes and what every later question reads, in one versioned schema.
//!
//! The page is made from a record and from nothing else, so a record that was read shows the same page. A file
//! that is damaged, of another command or of another version is refused with one line; a reader never sees
//! half a record. The fields are documented in docs/measuring.md; a change of their meaning is a new version.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use logdrive_bench::verify::Verdict;
use serde::{Deserialize, Serialize};

use super::{Environment, Note, RUN_FILE, Report, write_whole};
use crate::recorder::Quantiles;
use crate::stages::Stages;
use crate::timeline::Second;
use crate::trial::{Measured, Trial};

/// The version of the schema; a record of another one is refused.
pub(crate) const SCHEMA: u32 = 1;

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) schema: u32,
    pub(crate) command: String,
    /// Whether every line arrived once, in order and unaltered.
    pub(crate) passed: bool,
    pub(crate) load: LoadRecord,
    /// Over the whole run, warm-up included, as everything else that counts completeness.
    pub(crate) lines_sent: u64,
    pub(crate) lines_received: u64,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) reordered: u64,
    pub(crate) torn: u64,
    pub(crate) foreign: u64,
    /// Bytes of all lines with their ends.
    pub(crate) bytes_sent: u64,
    /// Within the window, as everything below.
    pub(crate) throughput_lines_per_second: f64,
    pub(crate) backlog_growth_lines: i64,
    pub(crate) latency_ms: Latency,
    /// Share of lines, and the latency in milliseconds that it does not exceed.
    pub(crate) latency_curve: Vec<(f64, f64)>,
    /// The same way without any agent.
    pub(crate) instrument_ms: Latency,
    pub(crate) stages: Stages,
    pub(crate) agent: AgentRecord,
    pub(crate) broker: BrokerRecord,
    pub(crate) generator: ProcessRecord,
    /// The harness itself.
    pub(crate) consumer: ProcessRecord,
    pub(crate) timeline: Vec<Second>,
    pub(crate) environment: Environment,
    pub(crate) warnings: Vec<Note>,
    pub(crate) failures: Vec<String>,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LoadRecord {
    pub(crate) rate_lines_per_second: u64,
    pub(crate) files: u32,
    pub(crate) line_bytes: String,
    pub(crate) generator_options: Vec<String>,
    pub(crate) partitions: i32,
    pub(crate) warm_up_s: f64,
    pub(crate) duration_s: f64,
}

/// Latency at the usual percentiles, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    /// How many lines were measured.
    pub(crate) lines: u64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

/// What the agent paid.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct AgentRecord {
    pub(crate) cpu_seconds: f64,
    pub(crate) cpu_us_per_line: f64,
    /// Over its whole life, as the two below.
    pub(crate) peak_rss_bytes: u64,
    pub(crate) voluntary_switches: u64,
    pub(crate) involuntary_switches: u64,
}

/// What the broker paid; absent where it is somebody else's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct BrokerRecord {
    pub(crate) cpu_seconds: Option<f64>,
    /// What all lines of the run take on its disk.
    pub(crate) topic_bytes: Option<u64>,
}

/// What another process paid.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ProcessRecord {
    pub(crate) cpu_seconds: f64,
    pub(crate) cpu_us_per_line: f64,
}

impl From<Quantiles> for Latency {
    fn from(quantiles: Quantiles) -> Latency {
        let Quantiles { lines, p50_ms, p90_ms, p99_ms, p99_9_ms, max_ms } = quantiles;
        Latency { lines, p50: p50_ms, p90: p90_ms, p99: p99_ms, p999: p99_9_ms, max: max_ms }
    }
}

impl Record {
    /// The record of a trial that has been run, with everything that `report` knows by now.
    pub(crate) fn new(
        trial: &Trial<'_>,
        measured: Measured,
        instrument: Quantiles,
        report: &Report,
    ) -> Record {
        let Report { command, environment, warnings, failures } = report;
        let Verdict { lines_expected, lines_received, lost, duplicated, reordered, torn, foreign, .. } =
            measured.verdict;
        let spent = measured.spent;
        let process = |cpu: std::time::Duration| ProcessRecord {
            cpu_seconds: cpu.as_secs_f64(),
            cpu_us_per_line: cpu.as_secs_f64() * 1e6 / measured.latency.lines.max(1) as f64,
        };
        Record {
            schema: SCHEMA,
            command: (*command).to_owned(),
            passed: failures.is_empty(),
            load: LoadRecord::of(trial),
            lines_sent: lines_expected,
            lines_received,
            lost,
            duplicated,
            reordered,
            torn,
            foreign,
            bytes_sent: measured.bytes_written,
            throughput_lines_per_second: measured.throughput_lines_per_second,
            backlog_growth_lines: measured.backlog_growth_lines,
            latency_ms: measured.latency.into(),
            latency_curve: measured.recorder.curve(),
            instrument_ms: instrument.into(),
            stages: measured.stages,
            agent: AgentRecord {
                cpu_seconds: spent.agent.as_secs_f64(),
                cpu_us_per_line: measured.agent_us_per_line,
                peak_rss_bytes: measured.usage.rss_bytes_max,
                voluntary_switches: measured.usage.voluntary_switches,
                involuntary_switches: measured.usage.involuntary_switches,
            },
            broker: BrokerRecord {
                cpu_seconds: spent.broker.map(|cpu| cpu.as_secs_f64()),
                topic_bytes: measured.topic_bytes,
            },
            generator: process(spent.generator),
            consumer: process(spent.harness),
            timeline: measured.timeline,
            environment: environment.clone(),
            warnings: warnings.iter().map(super::Warning::note).collect(),
            failures: failures.clone(),
        }
    }

    /// Reads the record of a run: a folder that holds one, or the file itself.
    pub(crate) fn read(path: &Path) -> Result<Record> {
        let path = file_of(path);
        let shown = path.display();
        let text = std::fs::read_to_string(&path).with_context(|| {
            format!("cannot read {shown}; a run that did not finish leaves none, so measure again")
        })?;
        let damaged = || format!("{shown} is damaged or was edited; measure again, or take another run");
        let value: serde_json::Value = serde_json::from_str(&text).with_context(damaged)?;
        let command = value["command"].as_str().unwrap_or("an unknown command");
        ensure!(command == "run", "{shown} is of `{command}`, not of `run`; name the folder of a run");
        match value["schema"].as_u64() {
            Some(schema) if schema == u64::from(SCHEMA) => {}
            Some(schema) => {
                bail!("{shown} has schema {schema}, and this harness reads {SCHEMA}; measure again")
            }
            None => bail!("{shown} has no schema; it is no record of a run"),
        }
        serde_json::from_value(value).with_context(damaged)
    }

    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let mut json = serde_json::to_vec_pretty(self).context("cannot write the record as JSON")?;
        json.push(b'\n');
        write_whole(&folder.join(RUN_FILE), &json)
    }
}

impl LoadRecord {
    fn of(trial: &Trial<'_>) -> LoadRecord {
        LoadRecord {
            rate_lines_per_second: trial.load.rate,
            files: trial.load.files,
            line_bytes: trial.load.line_bytes.clone(),
            generator_options: trial.load.options.clone(),
            partitions: trial.partitions,
            warm_up_s: trial.warm_up.as_secs_f64(),
            duration_s: trial.duration.as_secs_f64(),
        }
    }
}

fn file_of(path: &Path) -> PathBuf {
    if path.is_dir() { path.join(RUN_FILE) } else { path.to_owned() }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::stages::{Lateness, Part};
    use crate::timeline::Activity;

    /// A run of four seconds that stands still for half of one.
    pub(in crate::report) fn record() -> Record {
        let latency = Latency { lines: 40_000, p50: 3.9, p90: 101.5, p99: 460.1, p999: 496.0, max: 500.2 };
        let activity = Activity { cpu_cores: 0.5, rss_bytes: 40 << 20, ..Activity::default() };
        let second = |at: u32| Second {
            at_s: f64::from(at),
            due_lines: 10_000,
            arrived_lines: if at == 2 { 5_000 } else { 10_000 },
            lag_lines: if at == 2 { 5_000 } else { 40 },
            broker_lag_lines: (at != 3).then_some(3),
            p50_ms: 3.9,
            p99_ms: if at == 2 { 490.0 } else { 6.0 },
            max_ms: if at == 2 { 500.2 } else { 8.0 },
            agent: activity,
            broker: Some(activity),
            network_received_bytes: 7_000_000,
            network_sent_bytes: 7_000_000,
        };
        let part = Part { mean: 12.0, p50: 3.0, p99: 455.0, max: 498.5 };
        let process = ProcessRecord { cpu_seconds: 0.2, cpu_us_per_line: 5.0 };
        Record {
            schema: SCHEMA,
            command: "run".to_owned(),
            passed: false,
            load: LoadRecord {
                rate_lines_per_second: 10_000,
                files: 1,
                line_bytes: "200".to_owned(),
                generator_options: vec![],
                partitions: 1,
                warm_up_s: 3.0,
                duration_s: 4.0,
            },
            lines_sent: 80_000,
            lines_received: 79_999,
            lost: 1,
            duplicated: 0,
            reordered: 0,
            torn: 0,
            foreign: 0,
            bytes_sent: 16_080_000,
            throughput_lines_per_second: 10_000.0,
            backlog_growth_lines: 0,
            latency_ms: latency,
            latency_curve: vec![(0.0, 1.0), (0.5, 3.9), (0.9, 101.5), (0.99, 460.1), (1.0, 500.2)],
            instrument_ms: Latency { p50: 0.5, p90: 0.7, p99: 1.4, p999: 2.0, max: 2.0, lines: 500 },
            stages: Stages::put_together(Lateness::default(), Some((part, part)), None),
            agent: AgentRecord {
                cpu_seconds: 2.0,
                cpu_us_per_line: 50.0,
                peak_rss_bytes: 41 << 20,
                voluntary_switches: 5,
                involuntary_switches: 6,
            },
            broker: BrokerRecord { cpu_seconds: Some(1.0), topic_bytes: None },
            generator: process,
            consumer: process,
            timeline: (1..=4).map(second).collect(),
            environment: Environment::observe(None, "ship <a> & <b>".to_owned()),
            warnings: vec![super::super::Warning::InstrumentSlow { p50_ms: 3.0 }.note()],
            failures: vec!["1 line lost".to_owned()],
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        record().write(folder.path()).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing unfinished is left");
        assert_eq!(Record::read(folder.path()).unwrap(), record_with_same_start(folder.path()));
    }

    fn record_with_same_start(folder: &Path) -> Record {
        let environment = Record::read(&folder.join(RUN_FILE)).unwrap().environment;
        Record { environment, ..record() }
    }

    #[test]
    fn the_promised_fields_stand_at_the_top() {
        let value = serde_json::to_value(record()).unwrap();
        for name in [
            "lines_sent",
            "lines_received",
            "lost",
            "duplicated",
            "reordered",
            "torn",
            "throughput_lines_per_second",
            "stages",
            "environment",
            "warnings",
        ] {
            assert!(!value[name].is_null(), "{name}");
        }
        for name in ["p50", "p90", "p99", "p999", "max"] {
            assert!(value["latency_ms"][name].is_f64(), "{name}");
        }
        for name in ["cpu_seconds", "cpu_us_per_line", "peak_rss_bytes"] {
            assert!(value["agent"][name].is_number(), "{name}");
        }
        assert_eq!(value["warnings"][0]["kind"], "instrument_slow");
    }

    #[test]
    fn what_is_no_record_is_refused_with_one_line_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(RUN_FILE);
        let refusal = |content: Option<String>| {
            if let Some(content) = content {
                std::fs::write(&path, content).unwrap();
            }
            let error = format!("{:#}", Record::read(folder.path()).unwrap_err());
            assert!(error.contains("run.json") && !error.contains('\n'), "{error}");
            error
        };
        assert!(refusal(None).contains("cannot read"));
        let whole = serde_json::to_string(&record()).unwrap();
        assert!(refusal(Some(whole[..whole.len() / 2].to_owned())).contains("damaged"));
        assert!(refusal(Some(String::new())).contains("damaged"));
        assert!(refusal(Some("[1, 2]".to_owned())).contains("unknown command"));
        assert!(refusal(Some(r#"{"command":"latency"}"#.to_owned())).contains("`latency`"));
        assert!(refusal(Some(whole.replace(r#""schema":1"#, r#""schema":2"#))).contains("schema 2"));
        assert!(refusal(Some(whole.replace("lines_sent", "lines"))).contains("lines_sent"));
    }
}

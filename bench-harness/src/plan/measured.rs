//! Reads measured curves from what `sweep` and `run` leave behind, and refuses what does not belong together.
//!
//! Only what a plan needs is looked at, so a record may grow. What is damaged, of another command or version, of
//! lines of another size, of another machine or agent, or of a run that lost lines, is refused with one line.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Curve, Point};

/// Versions of the two records that are understood.
const SCHEMA: u64 = 1;

/// How far the measured line size may be from the planned one, as a share of it.
const LINE_BYTES_TOLERANCE: f64 = 0.25;

/// Why a record cannot be planned with.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct Refusal {
    path: PathBuf,
    reason: String,
}

#[derive(Deserialize)]
struct Environment {
    cpu_model: String,
    agent: Option<String>,
    agent_command: String,
}

/// What `sweep` writes into `figures`.
#[derive(Deserialize)]
struct Sweep {
    line_bytes_mean: f64,
    sustainable_lines_per_second: Option<u64>,
    broker_idle_cores: Option<f64>,
    steps: Vec<SweepStep>,
}

#[derive(Deserialize)]
struct SweepStep {
    rate: u64,
    holds: bool,
    agent_us_per_line: f64,
    agent_rss_bytes_max: u64,
    broker_us_per_line: Option<f64>,
    consumer_us_per_line: f64,
    stored_bytes_per_line: Option<f64>,
}

/// What `run` writes.
#[derive(Deserialize)]
struct Run {
    load: RunLoad,
    lines_sent: u64,
    bytes_sent: u64,
    latency_ms: RunLatency,
    agent: RunAgent,
    broker: RunBroker,
    consumer: RunConsumer,
}

#[derive(Deserialize)]
struct RunLoad {
    rate_lines_per_second: u64,
}

#[derive(Deserialize)]
struct RunLatency {
    lines: u64,
}

#[derive(Deserialize)]
struct RunAgent {
    cpu_us_per_line: f64,
    peak_rss_bytes: u64,
}

#[derive(Deserialize)]
struct RunBroker {
    cpu_seconds: Option<f64>,
    topic_bytes: Option<u64>,
}

#[derive(Deserialize)]
struct RunConsumer {
    cpu_us_per_line: f64,
}

/// Reads one or more records, folders or files, as one curve for lines of `line_bytes`.
///
/// # Errors
/// [`Refusal`]: a record cannot be read, cannot be planned with, or does not belong to the others.
pub fn read(paths: &[PathBuf], line_bytes: f64) -> Result<Curve, Refusal> {
    let mut whole: Option<Curve> = None;
    for path in paths {
        let path = if path.is_dir() { path.join("run.json") } else { path.clone() };
        let refuse = |reason: String| Refusal { path: path.clone(), reason };
        let curve = read_one(&path).and_then(|curve| check(curve, line_bytes)).map_err(refuse)?;
        whole = Some(match whole {
            None => curve,
            Some(before) => join(before, curve).map_err(refuse)?,
        });
    }
    let mut curve =
        whole.ok_or_else(|| Refusal { path: PathBuf::from("--from"), reason: "names no record".into() })?;
    curve.points.sort_by(|one, other| one.lines_per_second.total_cmp(&other.lines_per_second));
    Ok(curve)
}

fn read_one(path: &Path) -> Result<Curve, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    let value: Value = serde_json::from_str(&text).map_err(|error| format!("is damaged: {error}"))?;
    let failures = value["failures"].as_array().map_or(0, Vec::len);
    let curve = match value["command"].as_str() {
        Some("sweep") => {
            let sweep: Sweep = of_schema(&value["figures"], &value["figures"]["schema"])?;
            sweep.curve(environment(&value)?)
        }
        Some("run") => {
            let run: Run = of_schema(&value, &value["schema"])?;
            run.curve(environment(&value)?)
        }
        Some(other) => return Err(format!("is of `{other}`; a plan needs a record of `sweep` or `run`")),
        None => return Err("is no record of a measurement".into()),
    };
    if failures > 0 {
        return Err(
            "is of a run that failed; lines that were lost cost nothing, so it cannot be planned with".into(),
        );
    }
    Ok(curve)
}

fn of_schema<T: DeserializeOwned>(value: &Value, schema: &Value) -> Result<T, String> {
    match schema.as_u64() {
        Some(SCHEMA) => {}
        Some(other) => {
            return Err(format!("has schema {other}, and this harness reads {SCHEMA}; measure again"));
        }
        None => return Err("has no schema; measure again".into()),
    }
    T::deserialize(value).map_err(|error| format!("is damaged: {error}"))
}

fn environment(value: &Value) -> Result<Environment, String> {
    Environment::deserialize(&value["environment"])
        .map_err(|error| format!("is damaged: environment: {error}"))
}

impl Sweep {
    fn curve(self, environment: Environment) -> Curve {
        let points = self.steps.iter().filter(|step| step.holds).map(|step| Point {
            lines_per_second: step.rate as f64,
            agent_us_per_line: step.agent_us_per_line,
            agent_rss_bytes: step.agent_rss_bytes_max,
            broker_us_per_line: step.broker_us_per_line,
            consumer_us_per_line: step.consumer_us_per_line,
            stored_bytes_per_line: step.stored_bytes_per_line,
        });
        Curve {
            points: points.collect(),
            line_bytes: self.line_bytes_mean,
            machine: environment.cpu_model,
            agent: environment.agent.unwrap_or(environment.agent_command),
            sustainable_lines_per_second: self.sustainable_lines_per_second.map(|rate| rate as f64),
            broker_idle_cores: self
                .broker_idle_cores
                .filter(|cores| cores.is_finite())
                .map_or(0.0, |cores| cores.max(0.0)),
        }
    }
}

impl Run {
    fn curve(self, environment: Environment) -> Curve {
        let (sent, measured) = (self.lines_sent.max(1) as f64, self.latency_ms.lines.max(1) as f64);
        let point = Point {
            lines_per_second: self.load.rate_lines_per_second as f64,
            agent_us_per_line: self.agent.cpu_us_per_line,
            agent_rss_bytes: self.agent.peak_rss_bytes,
            broker_us_per_line: self.broker.cpu_seconds.map(|cpu| cpu * 1e6 / measured),
            consumer_us_per_line: self.consumer.cpu_us_per_line,
            stored_bytes_per_line: self.broker.topic_bytes.map(|bytes| bytes as f64 / sent),
        };
        Curve {
            points: vec![point],
            // A line's end is one byte.
            line_bytes: self.bytes_sent as f64 / sent - 1.0,
            machine: environment.cpu_model,
            agent: environment.agent.unwrap_or(environment.agent_command),
            sustainable_lines_per_second: None,
            broker_idle_cores: 0.0,
        }
    }
}

fn check(curve: Curve, line_bytes: f64) -> Result<Curve, String> {
    let positive = |value: f64| value.is_finite() && value > 0.0;
    let sound = |point: &Point| {
        positive(point.lines_per_second)
            && positive(point.agent_us_per_line)
            && positive(point.consumer_us_per_line)
            && point.broker_us_per_line.is_none_or(positive)
            && point.stored_bytes_per_line.is_none_or(positive)
    };
    if curve.points.is_empty() {
        return Err("has no rate that held; nothing can be planned from it".into());
    }
    if !curve.points.iter().all(sound) || !positive(curve.line_bytes) {
        return Err("is damaged: a rate, cost or size is not above 0".into());
    }
    if (curve.line_bytes / line_bytes - 1.0).abs() > LINE_BYTES_TOLERANCE {
        return Err(format!(
            "was measured with lines of {:.0} bytes, and {line_bytes:.0} are planned; measure with --line-bytes {line_bytes:.0}",
            curve.line_bytes
        ));
    }
    Ok(curve)
}

fn join(mut before: Curve, curve: Curve) -> Result<Curve, String> {
    for (what, one, other) in
        [("machine", &before.machine, &curve.machine), ("agent", &before.agent, &curve.agent)]
    {
        if one != other {
            return Err(format!("is of another {what} than the records before it: {other}, not {one}"));
        }
    }
    if (curve.line_bytes / before.line_bytes - 1.0).abs() > LINE_BYTES_TOLERANCE {
        return Err(format!(
            "has lines of {:.0} bytes, the records before it {:.0}",
            curve.line_bytes, before.line_bytes
        ));
    }
    before.points.extend(curve.points);
    before.sustainable_lines_per_second =
        before.sustainable_lines_per_second.or(curve.sustainable_lines_per_second);
    before.broker_idle_cores = before.broker_idle_cores.max(curve.broker_idle_cores);
    Ok(before)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sweep() -> Value {
        let step = |rate: u64, holds: bool| {
            json!({"rate": rate, "holds": holds, "agent_us_per_line": 2.0, "agent_rss_bytes_max": 1 << 25,
                   "broker_us_per_line": 1.0, "consumer_us_per_line": 0.5, "stored_bytes_per_line": 61.0})
        };
        json!({
            "command": "sweep", "failures": [],
            "environment": {"cpu_model": "a CPU", "agent": "logdrive 1", "agent_command": "x"},
            "figures": {"schema": 1, "line_bytes_mean": 200.0, "sustainable_lines_per_second": 20_000,
                        "steps": [step(20_000, true), step(1_000, true), step(40_000, false)]},
        })
    }

    fn run(machine: &str) -> Value {
        json!({
            "schema": 1, "command": "run", "failures": [],
            "environment": {"cpu_model": machine, "agent": "logdrive 1", "agent_command": "x"},
            "load": {"rate_lines_per_second": 5_000}, "lines_sent": 1_000, "bytes_sent": 201_000,
            "latency_ms": {"lines": 500}, "agent": {"cpu_us_per_line": 3.0, "peak_rss_bytes": 1 << 25},
            "broker": {"cpu_seconds": 0.001, "topic_bytes": 70_000}, "consumer": {"cpu_us_per_line": 0.6},
        })
    }

    fn read_all(values: &[Value], line_bytes: f64) -> Result<Curve, String> {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> =
            (0..values.len()).map(|index| folder.path().join(index.to_string())).collect();
        for (path, value) in paths.iter().zip(values) {
            std::fs::write(path, value.to_string()).unwrap();
        }
        read(&paths, line_bytes).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn a_sweep_and_a_run_become_one_curve_of_the_rates_that_held() {
        let curve = read_all(&[sweep(), run("a CPU")], 210.0).unwrap();
        let rates: Vec<f64> = curve.points.iter().map(|point| point.lines_per_second).collect();
        assert_eq!(rates, [1_000.0, 5_000.0, 20_000.0]);
        assert_eq!(curve.points[1].stored_bytes_per_line, Some(70.0));
        assert_eq!(curve.points[1].broker_us_per_line, Some(2.0));
        assert_eq!(curve.sustainable_lines_per_second, Some(20_000.0));
    }

    #[test]
    fn what_cannot_be_planned_with_is_refused_in_one_line() {
        let changed = |pointer: &str, value: Value| {
            let mut record = sweep();
            *record.pointer_mut(pointer).unwrap() = value;
            record
        };
        for (record, reason) in [
            (changed("/figures/schema", json!(2)), "has schema 2"),
            (changed("/figures/schema", Value::Null), "has no schema"),
            (changed("/command", json!("latency")), "is of `latency`"),
            (changed("/failures", json!(["5 lost"])), "of a run that failed"),
            (changed("/figures/steps", json!([])), "no rate that held"),
            (changed("/figures/steps/0/agent_us_per_line", json!(0.0)), "is damaged"),
            (changed("/figures/steps/0/rate", json!("fast")), "is damaged"),
            (changed("/environment", json!({})), "is damaged"),
            (changed("/figures/line_bytes_mean", json!(400.0)), "lines of 400 bytes"),
            (json!([1]), "no record of a measurement"),
        ] {
            let error = read_all(&[record], 200.0).unwrap_err();
            assert!(error.contains(reason) && !error.contains('\n'), "{error}");
        }
        let other = read_all(&[sweep(), run("another CPU")], 200.0).unwrap_err();
        assert!(other.contains("another machine"), "{other}");
        assert!(
            read(&[PathBuf::from("/nowhere")], 200.0).unwrap_err().to_string().contains("cannot be read")
        );
    }
}

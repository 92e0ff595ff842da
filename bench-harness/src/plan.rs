//! Capacity planning: from measured rates to hosts, brokers, partitions and disks.
//!
//! Pure arithmetic over a [`Curve`] that was measured, a [`Demand`] that was given and [`Assumptions`] that can
//! be changed; every number of the answer says which of the three it rests on. It is no simulation: it knows
//! neither queues nor failures, and where the measurement does not reach it takes the side that costs more and
//! says so. What the agent and the broker cost depends on how much comes from one host at a time, because that
//! decides how many lines share a request; so both are taken at the rate of one host, and the broker's cost is
//! counted once for each host.

mod brokers;
pub mod command;
mod curve;
mod measured;
mod page;

use std::time::Duration;

use serde::Serialize;

use brokers::Brokers;

pub use curve::{Check, Cost, Curve, Point};
pub use measured::{Refusal, read};
pub use page::{json, markdown};

const DAY_S: f64 = 86_400.0;

/// What is to be carried.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Demand {
    /// Over all hosts.
    pub lines_per_day: f64,
    /// Bytes of a line without its end, on average.
    pub line_bytes: f64,
    /// Hosts that share the lines evenly.
    pub hosts: f64,
    /// The highest rate over the average rate.
    pub peak_factor: f64,
    /// How long Kafka keeps a line.
    #[serde(serialize_with = "as_seconds")]
    pub retention: Duration,
    /// Copies of each line in Kafka.
    pub replication: f64,
    /// How often every line is read.
    pub consumer_groups: f64,
}

fn as_seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

/// What nobody measured here.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Assumptions {
    /// The share of cores, networks and disks that may be in use at the peak.
    pub utilisation: f64,
    /// Cores of a broker, each as fast as one of the measuring machine.
    pub broker_cores: f64,
    /// Network of a broker in each direction.
    pub broker_network_bytes_per_second: f64,
    /// Disk of a broker.
    pub broker_disk_bytes: f64,
    /// Compressed bytes that one partition should take in each second.
    pub partition_bytes_per_second: f64,
    /// What a line of a follower's copy costs its broker, beside 1 for a line of the leader's.
    pub follower_cost: f64,
    /// Brokers that may be away at the peak.
    pub brokers_spare: f64,
}

/// What a number rests on. A number that needs several of them rests on the last one in this order.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// Only on what was asked for.
    Given,
    /// Also on a measurement.
    Measured,
    /// Also on an assumption.
    Assumed,
}

/// One number of the answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// What part of the plan it belongs to.
    pub part: &'static str,
    /// What it is.
    pub name: &'static str,
    /// In `unit`.
    pub value: f64,
    /// As short as a column can be.
    pub unit: &'static str,
    /// What it rests on.
    pub basis: Basis,
    /// Where it comes from, with the numbers that went into it.
    pub from: String,
}

/// How much of something is in use at the peak.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Use {
    /// What is used.
    pub resource: &'static str,
    /// As a share of all that is there.
    pub share: f64,
    /// What it rests on.
    pub basis: Basis,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// In the order in which they are shown.
    pub figures: Vec<Figure>,
    /// The most used resource first: that is the bottleneck.
    pub uses: Vec<Use>,
    /// What to know before believing it.
    pub notes: Vec<String>,
}

impl Plan {
    /// The number called `name`; names are unique within a plan.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<f64> {
        self.figures.iter().find(|figure| figure.name == name).map(|figure| figure.value)
    }
}

/// Collects figures in their order.
#[derive(Default)]
struct Sheet {
    part: &'static str,
    figures: Vec<Figure>,
}

impl Sheet {
    fn add(&mut self, name: &'static str, value: f64, unit: &'static str, basis: Basis, from: String) -> f64 {
        self.figures.push(Figure { part: self.part, name, value, unit, basis, from });
        value
    }
}

/// What carries `demand`, given what was measured and assumed.
#[must_use]
pub fn plan(demand: &Demand, assumptions: &Assumptions, curve: &Curve) -> Plan {
    use Basis::{Assumed, Given, Measured};
    let Assumptions { utilisation, .. } = *assumptions;
    let mut sheet = Sheet { part: "load", figures: Vec::new() };
    let average = demand.lines_per_day / DAY_S;
    sheet.add("lines/s on average", average, "lines/s", Given, "lines a day / 86,400 s".into());
    let peak = average * demand.peak_factor;
    sheet.add("lines/s at the peak", peak, "lines/s", Given, format!("x {}", demand.peak_factor));
    let host_average = average / demand.hosts;
    let host_peak = peak / demand.hosts;
    sheet.add(
        "lines/s of a host at the peak",
        host_peak,
        "lines/s",
        Given,
        format!("/ {} hosts", demand.hosts),
    );

    sheet.part = "agent, each host";
    let agent = curve.agent_cost();
    let cost = agent.to_string();
    sheet.add("agent cores on average", agent.at(host_average), "cores", Measured, cost.clone());
    let host_cores = sheet.add("agent cores at the peak", agent.at(host_peak), "cores", Measured, cost);
    let memory = curve.agent_rss_bytes_max() / MIB;
    sheet.add("agent memory", memory, "MiB", Measured, "the most at any measured rate".into());
    let stored = curve.stored_bytes_per_line(host_peak);
    let (stored_bytes, stored_basis) = stored.map_or((demand.line_bytes, Assumed), |bytes| (bytes, Measured));
    let ratio = demand.line_bytes / stored_bytes;
    let ratio_from = match stored {
        Some(_) => {
            format!("{stored_bytes:.0} bytes on the broker's disk for a line of {:.0}", demand.line_bytes)
        }
        None => "the broker was not ours, so its disk was not looked at: no compression".into(),
    };
    sheet.add("compression ratio", ratio, "", stored_basis, ratio_from);
    let host_wire = host_peak * stored_bytes;
    sheet.add(
        "network of a host at the peak",
        host_wire * 8.0 / 1e6,
        "Mbit/s",
        stored_basis,
        "lines/s x bytes".into(),
    );

    let brokers = Brokers::of(demand, assumptions, curve, peak, stored_bytes);
    brokers.list(&mut sheet, demand, assumptions, stored_basis);

    let uses = uses(demand, assumptions, curve, &brokers, host_peak, host_cores, stored_basis);
    let mut notes = curve.notes(host_peak);
    if brokers.cores > 0.0 {
        notes.push(
            "the broker's cost was measured with one agent and one consumer, who hears of every request at once; many \
             hosts share fetches, so its cores are an upper bound"
                .into(),
        );
    }
    notes.push(format!(
        "assumed: at most {:.0} % of any core, network and disk in use at the peak; a core there is as fast as here ({})",
        utilisation * 100.0,
        curve.machine
    ));
    Plan { figures: sheet.figures, uses, notes }
}

const MIB: f64 = 1_048_576.0;

/// What is in use at the peak, with every broker there, the most used first.
fn uses(
    demand: &Demand,
    assumptions: &Assumptions,
    curve: &Curve,
    brokers: &Brokers,
    host_peak: f64,
    host_cores: f64,
    stored: Basis,
) -> Vec<Use> {
    use Basis::{Assumed, Measured};
    let mut uses = vec![Use { resource: "one core of a host", share: host_cores, basis: Measured }];
    if let Some(sustainable) = curve.sustainable_lines_per_second {
        uses.push(Use {
            resource: "the rate that an agent sustains",
            share: host_peak / sustainable,
            basis: Measured,
        });
    }
    let busiest = brokers.in_bytes_per_second.max(brokers.out_bytes_per_second);
    let network = brokers.count * assumptions.broker_network_bytes_per_second;
    let disk = brokers.count * assumptions.broker_disk_bytes;
    uses.push(Use { resource: "network of a broker", share: busiest / network, basis: stored.max(Assumed) });
    uses.push(Use {
        resource: "disk of a broker",
        share: brokers.disk_bytes / disk,
        basis: stored.max(Assumed),
    });
    if brokers.cores > 0.0 {
        let share = brokers.cores / (brokers.count * assumptions.broker_cores);
        uses.push(Use { resource: "cores of a broker", share, basis: Assumed });
    }
    let consumed = demand.lines_per_day / DAY_S * demand.peak_factor / brokers.consumers;
    let share = consumed / brokers.consumer_lines_per_second * assumptions.utilisation;
    uses.push(Use { resource: "one core of a consumer", share, basis: Assumed });
    uses.sort_by(|one, other| other.share.total_cmp(&one.share));
    uses
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An agent of 20 ms/s and 0.5 us a line, a broker of 10 ms/s and 0.2 us, 60 bytes a line.
    pub(super) fn curve() -> Curve {
        let points = [1_000.0, 10_000.0, 100_000.0].map(|rate| Point {
            lines_per_second: rate,
            agent_us_per_line: 20_000.0 / rate + 0.5,
            agent_rss_bytes: 32 << 20,
            broker_us_per_line: Some(10_000.0 / rate + 0.2),
            consumer_us_per_line: 0.5,
            stored_bytes_per_line: Some(60.0),
        });
        Curve {
            points: points.to_vec(),
            line_bytes: 200.0,
            machine: "a CPU".into(),
            agent: "logdrive".into(),
            broker_idle_cores: 0.002,
            sustainable_lines_per_second: Some(500_000.0),
        }
    }

    pub(super) const DEMAND: Demand = Demand {
        lines_per_day: 8.64e9,
        line_bytes: 200.0,
        hosts: 10.0,
        peak_factor: 2.0,
        retention: Duration::from_secs(7 * 86_400),
        replication: 3.0,
        consumer_groups: 1.0,
    };

    pub(super) const ASSUMPTIONS: Assumptions = Assumptions {
        utilisation: 0.5,
        broker_cores: 4.0,
        broker_network_bytes_per_second: 125e6,
        broker_disk_bytes: 4e12,
        partition_bytes_per_second: 5e6,
        follower_cost: 1.0,
        brokers_spare: 1.0,
    };

    #[test]
    fn a_plan_is_what_one_computes_by_hand() {
        let plan = plan(&DEMAND, &ASSUMPTIONS, &curve());
        let value = |name: &str| plan.value(name).unwrap();
        let close = |name: &str, expected: f64| {
            let found = value(name);
            assert!((found - expected).abs() <= 1e-6 * expected, "{name}: {found}, not {expected}");
        };
        close("lines/s on average", 100_000.0);
        close("lines/s at the peak", 200_000.0);
        close("lines/s of a host at the peak", 20_000.0);
        close("agent cores on average", 0.025);
        close("agent cores at the peak", 0.03);
        close("agent memory", 32.0);
        close("compression ratio", 200.0 / 60.0);
        close("network of a host at the peak", 9.6);
        close("into Kafka at the peak", 96.0);
        close("disk of all brokers", 8.64e9 * 7.0 * 60.0 * 3.0 / 1e12);
        close(
            "cores of all brokers at the peak",
            (0.008 + 0.2e-6 * 20_000.0) * 10.0 + 2.0 * 0.2e-6 * 200_000.0 + 7.0 * 0.002,
        );
        close("brokers for the cores", 1.0);
        close("brokers for the network", 1.0);
        close("brokers for the disk", 6.0);
        close("brokers", 7.0);
        close("network into a broker at the peak", 96.0 * 3.0 / 7.0);
        close("lines/s of a consumer", 1_000_000.0);
        close("consumers", 1.0);
        close("partitions", 7.0);
    }

    #[test]
    fn the_most_used_resource_stands_first() {
        let plan = plan(&DEMAND, &ASSUMPTIONS, &curve());
        assert_eq!(plan.uses[0].resource, "disk of a broker");
        assert!(plan.uses.windows(2).all(|pair| pair[0].share >= pair[1].share), "{:?}", plan.uses);
        assert!(plan.uses.iter().all(|used| used.share < 0.5), "{:?}", plan.uses);
    }

    #[test]
    fn twice_the_load_never_needs_less_of_anything() {
        let once = plan(&DEMAND, &ASSUMPTIONS, &curve());
        let twice =
            plan(&Demand { lines_per_day: 2.0 * DEMAND.lines_per_day, ..DEMAND }, &ASSUMPTIONS, &curve());
        for (one, two) in once.figures.iter().zip(&twice.figures) {
            let spread = one.name.ends_with("of a broker at the peak") || one.name.ends_with("of a broker");
            assert!(spread || two.value >= one.value, "{}: {} then {}", one.name, one.value, two.value);
        }
    }

    #[test]
    fn nothing_measured_at_the_broker_means_nothing_compressed_and_no_cores() {
        let mut curve = curve();
        for point in &mut curve.points {
            (point.broker_us_per_line, point.stored_bytes_per_line) = (None, None);
        }
        let plan = plan(&DEMAND, &ASSUMPTIONS, &curve);
        let ratio = plan.figures.iter().find(|figure| figure.name == "compression ratio").unwrap();
        assert_eq!((ratio.value, ratio.basis), (1.0, Basis::Assumed));
        assert_eq!(plan.value("cores of all brokers at the peak"), None);
    }
}

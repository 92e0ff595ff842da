//! Kafka's side of a plan: brokers, partitions, disks, and the consumers behind them.
//!
//! A broker is needed for the largest of what cores, network and disk ask for. It is no model of a broker: requests of
//! many hosts at once are taken as so many times those of one.

use super::{Assumptions, Basis, Curve, DAY_S, Demand, Sheet};

/// Kafka's side of a plan.
pub(super) struct Brokers {
    /// All brokers' cores that are busy at the peak; 0 when nobody measured.
    pub(super) cores: f64,
    /// Into the leaders, all together.
    pub(super) wire: f64,
    pub(super) in_bytes_per_second: f64,
    pub(super) out_bytes_per_second: f64,
    pub(super) disk_bytes: f64,
    pub(super) by_cpu: f64,
    pub(super) by_network: f64,
    pub(super) by_disk: f64,
    pub(super) count: f64,
    /// Consumers of one group, each with a core.
    pub(super) consumers: f64,
    pub(super) consumer_lines_per_second: f64,
    pub(super) partitions: f64,
}

impl Brokers {
    /// What `peak` lines a second of so many stored bytes need.
    pub(super) fn of(
        demand: &Demand,
        assumptions: &Assumptions,
        curve: &Curve,
        peak: f64,
        stored_bytes: f64,
    ) -> Brokers {
        let Assumptions {
            utilisation, broker_cores, broker_network_bytes_per_second, broker_disk_bytes, ..
        } = *assumptions;
        let idle = curve.broker_idle_cores;
        let at_work = curve.broker_cost().map_or(0.0, |cost| {
            // A leader pays for each host's requests, less what it uses anyway; a follower fetches many at once
            // and pays for lines.
            let leader = (cost.at(peak / demand.hosts) - idle).max(0.0) * demand.hosts;
            let follower = cost.us_per_line * 1e-6 * peak * assumptions.follower_cost;
            leader + (demand.replication - 1.0) * follower
        });
        let wire = peak * stored_bytes;
        let in_bytes_per_second = wire * demand.replication;
        let out_bytes_per_second = wire * (demand.replication - 1.0 + demand.consumer_groups);
        let kept_lines = demand.lines_per_day * demand.retention.as_secs_f64() / DAY_S;
        let disk_bytes = kept_lines * stored_bytes * demand.replication;
        let needed = |amount: f64, each: f64| (amount / (each * utilisation)).ceil().max(1.0);
        let by_cpu = needed(at_work, (broker_cores - idle / utilisation).max(broker_cores * 0.01));
        let by_network =
            needed(in_bytes_per_second.max(out_bytes_per_second), broker_network_bytes_per_second);
        let by_disk = needed(disk_bytes, broker_disk_bytes);
        let working = by_cpu.max(by_network).max(by_disk).max(demand.replication);
        let count = working + assumptions.brokers_spare;
        let cores = if at_work > 0.0 { at_work + count * idle } else { 0.0 };
        let consumer_lines_per_second = curve.consumer_cost().rate_within(utilisation);
        let consumers = (peak / consumer_lines_per_second).ceil().max(1.0);
        let by_bytes = (wire / assumptions.partition_bytes_per_second).ceil();
        let partitions = (by_bytes.max(consumers).max(count) / count).ceil() * count;
        Brokers {
            cores,
            wire,
            in_bytes_per_second,
            out_bytes_per_second,
            disk_bytes,
            by_cpu,
            by_network,
            by_disk,
            count,
            consumers,
            consumer_lines_per_second,
            partitions,
        }
    }

    /// Adds all of it to a sheet.
    pub(super) fn list(&self, sheet: &mut Sheet, demand: &Demand, assumptions: &Assumptions, stored: Basis) {
        use Basis::{Assumed, Measured};
        sheet.part = "kafka";
        let mbit = |bytes: f64| bytes * 8.0 / 1e6;
        sheet.add("into Kafka at the peak", mbit(self.wire), "Mbit/s", stored, "all hosts together".into());
        let from = format!(
            "{:.0} days x replication {}",
            demand.retention.as_secs_f64() / DAY_S,
            demand.replication
        );
        sheet.add("disk of all brokers", self.disk_bytes / 1e12, "TB", stored, from);
        if self.cores > 0.0 {
            let from = format!(
                "the measured cost x {} hosts, the lines of {} copies, and each broker when idle",
                demand.hosts, demand.replication
            );
            sheet.add("cores of all brokers at the peak", self.cores, "cores", Assumed, from);
            let from = format!("{} cores each", assumptions.broker_cores);
            sheet.add("brokers for the cores", self.by_cpu, "", Assumed, from);
        }
        let from = format!("{:.1} Gbit/s each", assumptions.broker_network_bytes_per_second * 8.0 / 1e9);
        sheet.add("brokers for the network", self.by_network, "", Assumed, from);
        let from = format!("{:.1} TB each", assumptions.broker_disk_bytes / 1e12);
        sheet.add("brokers for the disk", self.by_disk, "", Assumed, from);
        let from = format!("the largest of these and replication, and {} spare", assumptions.brokers_spare);
        sheet.add("brokers", self.count, "", Assumed, from);
        let (incoming, outgoing) =
            (self.in_bytes_per_second / self.count, self.out_bytes_per_second / self.count);
        sheet.add(
            "network into a broker at the peak",
            mbit(incoming),
            "Mbit/s",
            Assumed,
            "lines and copies".into(),
        );
        let from = format!("copies and {} consumer group(s)", demand.consumer_groups);
        sheet.add("network out of a broker at the peak", mbit(outgoing), "Mbit/s", Assumed, from);
        sheet.add(
            "disk of a broker",
            self.disk_bytes / self.count / 1e12,
            "TB",
            Assumed,
            "evenly spread".into(),
        );
        let each = assumptions.partition_bytes_per_second / 1e6;
        let from = format!("at most {each} MB/s each, one for each consumer, a multiple of the brokers");
        sheet.add("partitions", self.partitions, "", Assumed, from);
        sheet.part = "consumers, each group";
        let capacity = self.consumer_lines_per_second;
        let from =
            "the harness's consumer, which checks each line, on one core within the utilisation".to_owned();
        sheet.add("lines/s of a consumer", capacity, "lines/s", Measured.max(Assumed), from);
        sheet.add("consumers", self.consumers, "", Assumed, "lines/s at the peak / that".into());
    }
}

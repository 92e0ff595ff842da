//! What the kernel says about a process and about the machine.
//!
//! Parsing is pure and apart from reading. Nothing here judges: thresholds live with the warnings in
//! `report`. CPU time comes from the process's CPU clock, which counts nanoseconds of all its threads,
//! dead ones included; `/proc/<pid>/stat` counts ticks of 10 ms, too coarse for an idle agent.

use std::fs;
use std::io;
use std::time::Duration;

/// Memory of a process, from `/proc/<pid>/status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Resident now.
    pub(crate) rss_bytes: u64,
    /// The most that was ever resident since the program was started.
    pub(crate) rss_bytes_max: u64,
}

/// What a process, or several together, have used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Counters {
    pub(crate) cpu: Duration,
    /// Resident now; no counter, but read with them.
    pub(crate) rss_bytes: u64,
    /// How often a thread waited for something.
    pub(crate) voluntary_switches: u64,
    /// How often something else took a thread's core.
    pub(crate) involuntary_switches: u64,
    /// What really was fetched from a disk, not from the page cache.
    pub(crate) disk_read_bytes: u64,
    /// What was, or will be, written to a disk.
    pub(crate) disk_write_bytes: u64,
}

/// A process that cannot be mistaken for a later one with its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    pub(crate) pid: i32,
    /// When it was started, in ticks since the machine was.
    pub(crate) started_ticks: u64,
}

/// Bytes over all network interfaces of the machine (of this network namespace), loopback included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NetworkBytes {
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

/// CPU time of the whole machine since its start, in ticks, from the first line of `/proc/stat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MachineTicks {
    /// Spent for someone: user, nice, system, interrupts.
    pub(crate) busy: u64,
    /// Waited for this machine's turn on the real one.
    pub(crate) steal: u64,
    /// Everything, idle time included.
    pub(crate) total: u64,
}

impl MachineTicks {
    /// What happened since `earlier`.
    pub(crate) fn since(self, earlier: MachineTicks) -> MachineTicks {
        MachineTicks {
            busy: self.busy.saturating_sub(earlier.busy),
            steal: self.steal.saturating_sub(earlier.steal),
            total: self.total.saturating_sub(earlier.total),
        }
    }

    /// Stolen time as a share of all time.
    pub(crate) fn steal_share(self) -> f64 {
        if self.total == 0 { 0.0 } else { self.steal as f64 / self.total as f64 }
    }
}

/// The CPU time, user and system, of a process and all its threads so far.
pub(crate) fn cpu_time(pid: i32) -> io::Result<Duration> {
    let mut clock: libc::clockid_t = 0;
    // SAFETY: `clock` is a valid place for one clock id, and lives across the call.
    let code = unsafe { libc::clock_getcpuclockid(pid, &mut clock) };
    if code != 0 {
        return Err(io::Error::from_raw_os_error(code));
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for one timespec, and lives across the call.
    if unsafe { libc::clock_gettime(clock, &mut time) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// Memory of a running process. A process that has just ended has no memory: an error.
pub(crate) fn memory(pid: i32) -> io::Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    parse_memory(&status).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
}

/// The processes of a group, the leader among them, by number.
pub(crate) fn group(leader: i32) -> Vec<Identity> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let mut members: Vec<Identity> = pids
        .filter_map(|pid| {
            let stat = stat(pid)?;
            (stat.group == leader).then_some(Identity { pid, started_ticks: stat.started_ticks })
        })
        .collect();
    members.sort();
    members
}

/// The processes that this one has started, that those have started, and so on, in whatever group they are. One whose
/// parent has ended is not found: it belongs to the system then.
pub(crate) fn descendants(ancestor: i32) -> Vec<Identity> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let all: Vec<(i32, Stat)> = pids.filter_map(|pid| Some((pid, stat(pid)?))).collect();
    let mut found = Vec::new();
    let mut parents = vec![ancestor];
    while let Some(parent) = parents.pop() {
        for (pid, stat) in all.iter().filter(|(_, stat)| stat.parent == parent) {
            found.push(Identity { pid: *pid, started_ticks: stat.started_ticks });
            parents.push(*pid);
        }
    }
    found
}

/// Whether the process is still there and not only waiting for somebody to ask how it ended.
pub(crate) fn is_alive(process: Identity) -> bool {
    stat(process.pid).is_some_and(|stat| stat.started_ticks == process.started_ticks && !stat.dead)
}

/// How many descriptors a process has open.
pub(crate) fn descriptors(pid: i32) -> io::Result<u64> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64)
}

/// How many threads a process has.
pub(crate) fn threads(pid: i32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    number(&status, "Threads:").ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
}

/// What these processes have used so far, together. One that has just ended counts nothing.
pub(crate) fn counters(pids: impl IntoIterator<Item = i32>) -> Counters {
    let mut sum = Counters::default();
    for pid in pids {
        sum.cpu += cpu_time(pid).unwrap_or_default();
        sum.rss_bytes += memory(pid).unwrap_or_default().rss_bytes;
        let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
        sum.disk_read_bytes += number(&io, "read_bytes:").unwrap_or(0);
        sum.disk_write_bytes += number(&io, "write_bytes:").unwrap_or(0);
        // The process's own file counts its first thread only.
        for thread in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
            sum.voluntary_switches += number(&status, "voluntary_ctxt_switches:").unwrap_or(0);
            sum.involuntary_switches += number(&status, "nonvoluntary_ctxt_switches:").unwrap_or(0);
        }
    }
    sum
}

/// The machine's network traffic; zero where it cannot be read.
pub(crate) fn network_bytes() -> NetworkBytes {
    parse_network(&fs::read_to_string("/proc/self/net/dev").unwrap_or_default())
}

/// The machine's ticks; zero where `/proc/stat` cannot be read.
pub(crate) fn machine_ticks() -> MachineTicks {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    parse_machine_ticks(&stat).unwrap_or_default()
}

/// Length of a tick of `/proc/stat`.
pub(crate) fn tick() -> Duration {
    // SAFETY: sysconf reads a constant of the system and touches no memory of ours.
    let ticks_per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1);
    Duration::from_secs(1) / ticks_per_second as u32
}

/// The model name of the first processor.
pub(crate) fn cpu_model() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    parse_cpu_model(&cpuinfo).unwrap_or("unknown").to_owned()
}

/// Physical memory of the machine.
pub(crate) fn machine_memory_bytes() -> u64 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    kilobytes(&meminfo, "MemTotal:").unwrap_or(0)
}

fn parse_memory(status: &str) -> Option<Memory> {
    Some(Memory { rss_bytes: kilobytes(status, "VmRSS:")?, rss_bytes_max: kilobytes(status, "VmHWM:")? })
}

/// The value of a line like `VmRSS:     1684 kB`, in bytes.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(number * 1024)
}

/// The value of a line like `read_bytes: 4096`.
fn number(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
}

/// What is wanted of `/proc/<pid>/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    /// It has ended, and nobody has asked how.
    dead: bool,
    parent: i32,
    group: i32,
    started_ticks: u64,
}

fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Fields after the name, which may hold anything, blanks and brackets too: state, parent, group, ..., and as the
/// twentieth the start.
fn parse_stat(stat: &str) -> Option<Stat> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let dead = matches!(fields.next()?, "Z" | "X");
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let started_ticks = fields.nth(16)?.parse().ok()?;
    Some(Stat { dead, parent, group, started_ticks })
}

/// Two lines of headers, then `name: received-bytes` and seven more of receiving, then `sent-bytes`.
fn parse_network(dev: &str) -> NetworkBytes {
    let mut sum = NetworkBytes::default();
    for (_, counts) in dev.lines().filter_map(|line| line.split_once(':')) {
        let mut counts = counts.split_ascii_whitespace().map(|count| count.parse().unwrap_or(0));
        sum.received += counts.next().unwrap_or(0);
        sum.sent += counts.nth(7).unwrap_or(0);
    }
    sum
}

/// Fields: user nice system idle iowait irq softirq steal guest guest_nice. The last two are already
/// part of the first two.
fn parse_machine_ticks(stat: &str) -> Option<MachineTicks> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let fields: Vec<u64> = line.split_ascii_whitespace().map_while(|field| field.parse().ok()).collect();
    let field = |index: usize| fields.get(index).copied();
    let busy = field(0)? + field(1)? + field(2)? + field(5).unwrap_or(0) + field(6).unwrap_or(0);
    let waiting = field(3)? + field(4).unwrap_or(0);
    let steal = field(7).unwrap_or(0);
    Some(MachineTicks { busy, steal, total: busy + waiting + steal })
}

fn parse_cpu_model(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, model)| model.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_a_status_file() {
        let status =
            "Name:\tlog drive\nVmPeak:\t  99999 kB\nVmHWM:\t    2048 kB\nVmRSS:\t    1684 kB\nThreads:\t3\n";
        let expected = Memory { rss_bytes: 1684 * 1024, rss_bytes_max: 2048 * 1024 };
        assert_eq!(parse_memory(status), Some(expected));
    }

    #[test]
    fn a_process_that_has_ended_has_no_memory() {
        assert_eq!(parse_memory("Name:\tlogdrive\nState:\tZ (zombie)\n"), None);
        assert_eq!(parse_memory("VmRSS:\tmany kB\nVmHWM:\t1 kB\n"), None);
    }

    #[test]
    fn ticks_of_guests_are_not_counted_twice() {
        let stat = "cpu  100 10 50 800 20 1 2 17 40 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        let ticks = parse_machine_ticks(stat).unwrap();
        assert_eq!(ticks, MachineTicks { busy: 163, steal: 17, total: 1000 });
        assert_eq!(ticks.steal_share(), 0.017);
    }

    #[test]
    fn an_old_kernel_without_steal_and_a_damaged_file_are_understood() {
        let old = parse_machine_ticks("cpu  1 2 3 4\n").unwrap();
        assert_eq!(old, MachineTicks { busy: 6, steal: 0, total: 10 });
        assert_eq!(parse_machine_ticks("cpu  1 x 3 4\n"), None);
        assert_eq!(parse_machine_ticks(""), None);
        assert_eq!(MachineTicks::default().steal_share(), 0.0);
    }

    #[test]
    fn a_group_and_a_start_are_read_past_any_name() {
        let stat = "42 (a) b (c) S 1 40 40 0 -1 4194304 100 0 0 0 5 6 0 0 20 0 3 0 777 1000 200";
        let expected = Stat { dead: false, parent: 1, group: 40, started_ticks: 777 };
        assert_eq!(parse_stat(stat), Some(expected));
        assert!(parse_stat(&stat.replace(") S", ") Z")).unwrap().dead);
        assert_eq!(parse_stat("42 (cut"), None);
    }

    #[test]
    fn traffic_is_summed_over_the_interfaces() {
        let dev = "Inter-|   Receive    |  Transmit\n face |bytes packets|bytes packets\n\
                   \x20   lo: 100 1 0 0 0 0 0 0 100 1 0 0 0 0 0 0\n  eth0:50 1 0 0 0 0 0 0 7 1 0 0 0 0 0 0\n";
        assert_eq!(parse_network(dev), NetworkBytes { received: 150, sent: 107 });
    }

    #[test]
    fn this_process_is_counted_in_its_group() {
        let pid = std::process::id() as i32;
        let leader = stat(pid).unwrap().group;
        assert!(group(leader).iter().any(|member| member.pid == pid));
        let counters = counters([pid]);
        assert!(counters.cpu > Duration::ZERO && counters.rss_bytes > 0, "{counters:?}");
    }

    #[test]
    fn the_processor_is_named() {
        let cpuinfo = "processor\t: 0\nmodel name\t: AMD EPYC 9V74\nmodel name\t: other\n";
        assert_eq!(parse_cpu_model(cpuinfo), Some("AMD EPYC 9V74"));
    }

    #[test]
    fn this_process_has_cpu_time_and_memory() {
        let pid = std::process::id() as i32;
        assert!(cpu_time(pid).unwrap() > Duration::ZERO);
        assert!(descriptors(pid).unwrap() >= 3 && threads(pid).unwrap() >= 1);
        let memory = memory(pid).unwrap();
        assert!(memory.rss_bytes > 0 && memory.rss_bytes <= memory.rss_bytes_max + (1 << 20), "{memory:?}");
    }
}

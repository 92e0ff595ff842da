//! What an agent says of itself in etcd, and how it gets there.
//!
//! One key for each host, which lives as long as a lease of the agent: an agent that is gone is gone from the
//! list within the lease's time. It is written when what it says has changed, at most as often as the agent
//! tells; what it says is bounded, however many items there are. Two agents that go by the name of one host
//! do not fight for the key: the second one writes beside it, and both say so.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::error::EtcdError;
use super::gateway::{Gateway, Written};
use super::keyspace::Keyspace;
use super::mirror::Refusal;

/// How long an agent may be silent before it counts as gone.
const LEASE_SECONDS: u64 = 30;

/// The lease is renewed so often.
pub(super) const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(10);

/// Items and refusals that are told one by one: those first that something is wrong with.
const TOLD_MAX: usize = 40;

/// The longest text of somebody else's that is passed on.
const TEXT_CHARS_MAX: usize = 200;

/// How an agent is, as it tells about every five seconds.
#[derive(Clone, Debug)]
pub struct View {
    /// When it was looked at.
    pub at: Instant,
    /// The revision of etcd whose items are in force.
    pub revision: u64,
    /// Whether lines can be read and delivered.
    pub ready: bool,
    /// Why not.
    pub reason: String,
    /// Every item in force.
    pub items: Vec<ItemView>,
}

/// One item of a [`View`].
#[derive(Clone, Debug)]
pub struct ItemView {
    /// Its name.
    pub name: String,
    /// Where its lines go.
    pub topic: String,
    /// Whether etcd wants it, and not the configuration file.
    pub from_etcd: bool,
    /// How many files match it.
    pub files: u64,
    /// Bytes in them that are not acknowledged.
    pub lag_bytes: u64,
    /// Lines acknowledged since the start.
    pub lines_acked: u64,
    /// Bytes acknowledged since the start.
    pub bytes_acked: u64,
    /// What stands in its way.
    pub error: Option<String>,
}

/// What stands in etcd: the state of one agent.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// The host's name.
    pub host: String,
    /// Differs between any two agents that run at the same time.
    pub instance: String,
    /// The version that runs.
    pub version: String,
    /// Seconds since the epoch at the start.
    pub started: u64,
    /// The revision of etcd whose items are in force.
    pub revision: u64,
    /// Whether lines can be read and delivered.
    pub ready: bool,
    /// Why not.
    pub reason: String,
    /// How many items are in force.
    pub items_total: usize,
    /// How many files match them.
    pub files: u64,
    /// Bytes in them that are not acknowledged.
    pub lag_bytes: u64,
    /// Lines acknowledged a second.
    pub lines_per_second: u64,
    /// Bytes acknowledged a second.
    pub bytes_per_second: u64,
    /// How many things are wanted and not done.
    pub refused_total: usize,
    /// Items are in force that etcd has lost.
    pub holding: bool,
    /// Another agent that goes by the same name.
    pub rival: Option<String>,
    /// Some of the items: those first that something is wrong with.
    pub items: Vec<ItemReport>,
    /// Some of what is not done.
    pub refused: Vec<Refusal>,
}

/// One item of a [`Report`].
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ItemReport {
    /// Its name.
    pub name: String,
    /// Where its lines go.
    pub topic: String,
    /// Whether etcd wants it, and not the configuration file.
    pub from_etcd: bool,
    /// How many files match it.
    pub files: u64,
    /// Bytes in them that are not acknowledged.
    pub lag_bytes: u64,
    /// Lines acknowledged a second.
    pub lines_per_second: u64,
    /// Bytes acknowledged a second.
    pub bytes_per_second: u64,
    /// What stands in its way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Who is speaking.
#[derive(Clone, Debug)]
pub struct Speaker {
    /// See [`Report::host`].
    pub host: String,
    /// See [`Report::instance`].
    pub instance: String,
    /// See [`Report::version`].
    pub version: &'static str,
    /// See [`Report::started`].
    pub started: u64,
}

/// Lines and bytes that an item had acknowledged when it was looked at last.
type Acked = BTreeMap<String, (u64, u64)>;

/// Turns views into reports: what only grows becomes a rate.
#[derive(Debug, Default)]
pub(super) struct Rates {
    last: Option<(Instant, Acked)>,
}

impl Rates {
    /// The report of a view.
    pub(super) fn report(&mut self, speaker: &Speaker, view: &View, refused: &[Refusal]) -> Report {
        let (since, before) = self.last.take().unwrap_or((view.at, Acked::new()));
        let seconds = view.at.duration_since(since).as_secs_f64();
        let rate = |now: u64, then: u64| match seconds > 0.0 {
            true => (now.saturating_sub(then) as f64 / seconds).round() as u64,
            false => 0,
        };
        let items = view.items.iter().map(|item| {
            let (lines, bytes) =
                before.get(&item.name).copied().unwrap_or((item.lines_acked, item.bytes_acked));
            ItemReport {
                name: item.name.clone(),
                topic: item.topic.clone(),
                from_etcd: item.from_etcd,
                files: item.files,
                lag_bytes: item.lag_bytes,
                lines_per_second: rate(item.lines_acked, lines),
                bytes_per_second: rate(item.bytes_acked, bytes),
                error: item.error.as_deref().map(short),
            }
        });
        let mut items: Vec<ItemReport> = items.collect();
        let sum = |of: fn(&ItemReport) -> u64| items.iter().map(of).sum();
        let mut report = Report {
            host: speaker.host.clone(),
            instance: speaker.instance.clone(),
            version: speaker.version.to_owned(),
            started: speaker.started,
            revision: view.revision,
            ready: view.ready,
            reason: short(&view.reason),
            items_total: items.len(),
            files: sum(|item| item.files),
            lag_bytes: sum(|item| item.lag_bytes),
            lines_per_second: sum(|item| item.lines_per_second),
            bytes_per_second: sum(|item| item.bytes_per_second),
            refused_total: refused.len(),
            ..Report::default()
        };
        items.sort_by_key(|item| (item.error.is_none(), std::cmp::Reverse(item.lag_bytes)));
        items.truncate(TOLD_MAX);
        report.items = items;
        let told = refused.iter().take(TOLD_MAX);
        report.refused = told.map(|one| Refusal { reason: short(&one.reason), ..one.clone() }).collect();
        let acked = view.items.iter().map(|item| (item.name.clone(), (item.lines_acked, item.bytes_acked)));
        self.last = Some((view.at, acked.collect()));
        report
    }
}

fn short(text: &str) -> String {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => format!("{} ...", &text[..end]),
        None => text.to_owned(),
    }
}

/// The place where reports go.
#[derive(Debug)]
pub(super) struct Desk {
    keyspace: Keyspace,
    instance: String,
    lease: Option<String>,
    /// The last change of the host's key, if it was ours; 0 if there was none.
    mod_revision: u64,
    written: Option<Report>,
    /// It stands beside the host's key, which is another agent's.
    beside: bool,
    rival: Option<String>,
    /// How often something was written.
    pub(super) writes: u64,
}

impl Desk {
    pub(super) fn new(keyspace: Keyspace, instance: String) -> Desk {
        Desk {
            keyspace,
            instance,
            lease: None,
            mod_revision: 0,
            written: None,
            beside: false,
            rival: None,
            writes: 0,
        }
    }

    /// The other agent of the same name, in words.
    pub(super) fn rival(&self) -> Option<&str> {
        self.rival.as_deref()
    }

    /// Keeps the lease alive, and looks whether somebody else speaks for this host.
    pub(super) async fn keep_alive(&mut self, gateway: &mut Gateway) -> Result<(), EtcdError> {
        if let Some(lease) = &self.lease
            && !gateway.keep_alive(lease).await?
        {
            self.lease = None;
            self.written = None;
        }
        if !self.beside && self.written.is_some() {
            let beside = self.keyspace.agent_beside("");
            let names = gateway.names_below(&beside, 1).await?;
            let name = names.first().and_then(|name| name.rsplit('/').next());
            self.meet(name.map(|instance| format!("instance {instance}")));
        }
        Ok(())
    }

    /// Writes a report if it says something new. A lease that has ended meanwhile is replaced the next time.
    pub(super) async fn write(&mut self, gateway: &mut Gateway, report: Report) -> Result<(), EtcdError> {
        match self.try_write(gateway, report).await {
            Err(EtcdError::Refused { reason, .. }) if reason.contains("lease not found") => {
                self.lease = None;
                self.written = None;
                Ok(())
            }
            outcome => outcome,
        }
    }

    async fn try_write(&mut self, gateway: &mut Gateway, mut report: Report) -> Result<(), EtcdError> {
        report.rival.clone_from(&self.rival);
        if self.written.as_ref() == Some(&report) && !self.beside {
            return Ok(());
        }
        let lease = match &self.lease {
            Some(lease) => lease.clone(),
            None => gateway.grant(LEASE_SECONDS).await?,
        };
        self.lease = Some(lease.clone());
        let document = serde_json::to_vec(&report).expect("text and numbers always serialise");
        let key = self.keyspace.agent();
        let mut written = gateway.put_if(&key, self.mod_revision, &document, Some(&lease)).await?;
        // It is this agent's all the same: from an earlier life, or the lease has taken it away.
        let ours = match &written {
            Written::Other(other) => {
                let other_report: Report = serde_json::from_slice(&other.value).unwrap_or_default();
                (other_report.instance == self.instance).then_some(other.mod_revision)
            }
            Written::Gone => Some(0),
            Written::At(_) => None,
        };
        if let Some(mod_revision) = ours {
            written = gateway.put_if(&key, mod_revision, &document, Some(&lease)).await?;
        }
        match written {
            Written::At(revision) => {
                self.mod_revision = revision;
                self.writes += 1;
                self.written = Some(report);
                if std::mem::take(&mut self.beside) {
                    gateway.delete(&self.keyspace.agent_beside(&self.instance)).await?;
                    self.meet(None);
                }
                Ok(())
            }
            Written::Gone => Ok(()),
            Written::Other(other) => self.write_beside(gateway, &other.value, report, &lease).await,
        }
    }

    async fn write_beside(
        &mut self,
        gateway: &mut Gateway,
        other: &[u8],
        mut report: Report,
        lease: &str,
    ) -> Result<(), EtcdError> {
        let other: Report = serde_json::from_slice(other).unwrap_or_default();
        let started = std::time::UNIX_EPOCH + Duration::from_secs(other.started.min(u32::MAX.into()));
        let started = humantime::format_rfc3339_seconds(started);
        self.meet(Some(format!("instance {} since {started}", other.instance)));
        self.beside = true;
        self.mod_revision = 0;
        report.rival.clone_from(&self.rival);
        if self.written.as_ref() == Some(&report) {
            return Ok(());
        }
        let document = serde_json::to_vec(&report).expect("text and numbers always serialise");
        gateway.put(&self.keyspace.agent_beside(&self.instance), &document, Some(lease)).await?;
        self.writes += 1;
        self.written = Some(report);
        Ok(())
    }

    fn meet(&mut self, rival: Option<String>) {
        if rival == self.rival {
            return;
        }
        match &rival {
            Some(rival) => warn!(
                "another agent goes by the name of this host in etcd ({rival}, this one is instance {}): \
                 both collect its items; give one of the hosts another name with [etcd] `host`",
                self.instance
            ),
            None => info!("the other agent with the name of this host is gone from etcd"),
        }
        self.rival = rival;
    }

    /// This agent is about to end: its key goes at once and not with the time of the lease.
    pub(super) async fn withdraw(&mut self, gateway: &mut Gateway) -> Result<(), EtcdError> {
        match self.lease.take() {
            Some(lease) => gateway.revoke(&lease).await,
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(name: &str, lines: u64, error: Option<&str>) -> ItemView {
        ItemView {
            name: name.to_owned(),
            topic: "t".to_owned(),
            from_etcd: true,
            files: 1,
            lag_bytes: lines,
            lines_acked: lines,
            bytes_acked: lines * 100,
            error: error.map(str::to_owned),
        }
    }

    fn speaker() -> Speaker {
        Speaker { host: "h1".into(), instance: "i".into(), version: "1", started: 5 }
    }

    fn view(at: Instant, items: Vec<ItemView>) -> View {
        View { at, revision: 7, ready: true, reason: String::new(), items }
    }

    #[test]
    fn what_grows_becomes_a_rate() {
        let (mut rates, begin) = (Rates::default(), Instant::now());
        let first = rates.report(&speaker(), &view(begin, vec![item("a", 1000, None)]), &[]);
        assert_eq!((first.lines_per_second, first.files, first.revision), (0, 1, 7));
        let later = begin + Duration::from_secs(5);
        let second =
            rates.report(&speaker(), &view(later, vec![item("a", 1500, None), item("b", 9, None)]), &[]);
        assert_eq!((second.lines_per_second, second.bytes_per_second, second.lag_bytes), (100, 10_000, 1509));
        let same = view(later + Duration::from_secs(5), vec![item("a", 1500, None), item("b", 9, None)]);
        let third = rates.report(&speaker(), &same, &[]);
        let again = rates.report(&speaker(), &view(same.at + Duration::from_secs(5), same.items), &[]);
        assert_eq!(third, again, "nothing has changed, so nothing is written");
    }

    #[test]
    fn a_report_is_small_however_many_items_there_are() {
        let long = "x".repeat(5000);
        let items = (0..5000).map(|n| item(&format!("item-{n}"), n, (n % 2 == 0).then_some(&long[..])));
        let refused = Refusal { key: "/k".into(), item: None, reason: long.clone(), earlier_in_force: false };
        let report =
            Rates::default().report(&speaker(), &view(Instant::now(), items.collect()), &vec![refused; 5000]);
        assert_eq!((report.items_total, report.refused_total), (5000, 5000));
        assert_eq!((&report.items[0].name[..], report.items[0].error.is_some()), ("item-4998", true));
        let bytes = serde_json::to_vec(&report).unwrap().len();
        assert!(bytes < 32 * 1024, "{bytes}");
    }
}

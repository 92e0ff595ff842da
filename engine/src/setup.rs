//! From the plan to the parts: what each of them takes from the configuration.

use std::num::{NonZeroU32, NonZeroU64};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use logdrive_core::frame::Form;
use logdrive_core::plan::{ItemPolicy, Limits, ReadFrom, UnlinkedHold};
use logdrive_core::source::ItemId;

use crate::config::{self, ItemPlan, KafkaPlan, LimitsPlan, Origin, Plan};
use crate::fs::{Rules, Symlinks};
use crate::io::probe::Io;
use crate::kafka::{self, InFlightBudget, KafkaSettings, MESSAGES_MAX, Route};
use crate::state::item_hash;

/// What librdkafka needs for a record beside its bytes; measured, see docs/tuning.md.
const MESSAGE_BYTES: u64 = 256;
/// An unlinked file that is drained is released after this long without news.
const UNLINKED_GRACE: Duration = Duration::from_secs(5);
/// How long a busy file rests at its end before the next look.
const REST: Duration = Duration::from_millis(4);

/// librdkafka renders its statistics this often, with a kilobyte for each partition: seldom enough to cost nothing
/// that can be measured, often enough for the round trips in `/status`.
pub const STATISTICS_EVERY: Duration = Duration::from_secs(15);

/// The budget of `limits.in_flight`, one half for chunks and one for what librdkafka adds.
#[must_use]
pub fn limits(plan: &Plan) -> Limits {
    Limits {
        chunks_bytes: usize::try_from(plan.limits.in_flight_bytes / 2).unwrap_or(usize::MAX),
        open_files: plan.limits.open_files,
        sources: plan.limits.files_max,
        rest: REST,
        reconcile: plan.reconcile,
    }
}

/// What may be in librdkafka's queues.
#[must_use]
pub fn budget(limits: &LimitsPlan) -> InFlightBudget {
    let half = limits.in_flight_bytes / 2;
    InFlightBudget {
        messages_max: usize::try_from(half / MESSAGE_BYTES).unwrap_or(usize::MAX).clamp(1024, MESSAGES_MAX),
        bytes_max: usize::try_from(limits.in_flight_bytes).unwrap_or(usize::MAX),
    }
}

/// The reading side of an item. `first_seen_ms`: when the state saw it for the first time, milliseconds since the
/// epoch, if `read_from` holds.
#[must_use]
pub fn policy(item: &ItemPlan, first_seen_ms: Option<i64>) -> ItemPolicy {
    ItemPolicy {
        name: item_hash(&item.name),
        frame: item.frame.0.clone(),
        read_from: match (item.read_from, first_seen_ms) {
            (config::ReadFrom::End, _) => ReadFrom::End,
            (config::ReadFrom::Since(when), Some(first_seen_ms)) => {
                ReadFrom::Since(when.unix_ns(first_seen_ms))
            }
            (config::ReadFrom::Beginning | config::ReadFrom::Since(_), _) => ReadFrom::Beginning,
        },
        seen_before: first_seen_ms.is_none(),
        rate_limit: item.rate_limit.and_then(NonZeroU32::new),
        rate_limit_bytes: item.rate_limit_bytes.and_then(NonZeroU64::new),
        ignore_older: item.ignore_older,
        close_after: item.close_after,
        unlinked: UnlinkedHold {
            grace: UNLINKED_GRACE,
            undrained_max: item.rotated_hold,
            undrained_bytes_max: item.rotated_hold_bytes,
        },
    }
}

/// The Kafka side of an item.
#[must_use]
pub fn route(item: &ItemPlan) -> Route {
    Route {
        topic: item.topic.clone(),
        partition: match item.partition {
            config::Partition::Source => kafka::Partition::Source,
            config::Partition::Key => kafka::Partition::Key,
            config::Partition::Sticky { slice } => kafka::Partition::Sticky { slice },
            config::Partition::Number(number) => kafka::Partition::Number(number),
        },
        key: match item.key {
            config::RecordKey::Source => kafka::Key::Source,
            config::RecordKey::None => kafka::Key::None,
        },
        format: match &item.format {
            config::Format::Raw => kafka::Format::Raw,
            config::Format::Ecs { fields } => kafka::Format::Ecs {
                item: item.name.clone(),
                fields: fields.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            },
        },
        headers: item.headers,
        container: matches!(item.frame.form, Form::Wrapped(_)),
        on_refused: item.on_refused.map(on_refused),
    }
}

fn on_refused(planned: config::OnRefused) -> kafka::OnRefused {
    match planned {
        config::OnRefused::Drop => kafka::OnRefused::Drop,
        config::OnRefused::Truncate => kafka::OnRefused::Truncate,
        config::OnRefused::DeadLetter => kafka::OnRefused::DeadLetter,
    }
}

/// The connection.
#[must_use]
pub fn kafka(plan: &KafkaPlan) -> KafkaSettings {
    KafkaSettings {
        acks: match plan.acks {
            config::Acks::All => kafka::Acks::All,
            config::Acks::Leader => kafka::Acks::One,
            config::Acks::None => kafka::Acks::None,
        },
        compression: match plan.compression {
            config::Compression::None => kafka::Compression::None,
            config::Compression::Lz4 => kafka::Compression::Lz4 { level: plan.compression_level },
            config::Compression::Zstd => kafka::Compression::Zstd { level: plan.compression_level },
            config::Compression::Snappy => kafka::Compression::Snappy,
            config::Compression::Gzip => kafka::Compression::Gzip { level: plan.compression_level },
        },
        linger: plan.linger,
        batch_bytes: plan.batch_bytes as usize,
        message_bytes_max: plan.message_bytes_max as usize,
        producers: plan.producers,
        client_id: plan.client_id.clone(),
        tls: plan.tls.as_ref().map(tls),
        sasl: plan.sasl.as_ref().map(sasl),
        create_topics: plan.create_topics.map(|create| kafka::CreateTopics {
            partitions: create.partitions.map_or(-1, |partitions| partitions as i32),
            replication: create.replication.map_or(-1, i32::from),
        }),
        stall_timeout: plan.stall_timeout,
        statistics: Some(STATISTICS_EVERY),
        on_refused: on_refused(plan.on_refused),
        dead_letters: plan.dead_letters.as_ref().map(|dead| kafka::DeadLetters {
            place: match &dead.place {
                config::LetterPlace::Topic(topic) => kafka::LetterPlace::Topic(topic.clone()),
                config::LetterPlace::File { path, bytes_max } => {
                    kafka::LetterPlace::File { path: path.clone(), bytes_max: *bytes_max }
                }
            },
            on_failure: match dead.drop_on_failure {
                true => kafka::OnFailure::Drop,
                false => kafka::OnFailure::Wait,
            },
        }),
        options: plan.options.clone(),
        ..KafkaSettings::new(plan.brokers.clone())
    }
}

/// Encryption, as librdkafka is told of it.
#[must_use]
pub fn tls(plan: &config::TlsPlan) -> kafka::Tls {
    let own = plan.certificate.as_ref();
    kafka::Tls {
        ca: plan.ca.clone(),
        certificate: own.map(|own| own.cert.clone()),
        key: own.map(|own| own.key.clone()),
        key_password: own.and_then(|own| own.key_password.as_ref()).map(secret),
    }
}

/// Login, as librdkafka is told of it.
#[must_use]
pub fn sasl(plan: &config::SaslPlan) -> kafka::Sasl {
    kafka::Sasl {
        mechanism: match plan.mechanism {
            "SCRAM-SHA-256" => kafka::SaslMechanism::ScramSha256,
            "SCRAM-SHA-512" => kafka::SaslMechanism::ScramSha512,
            _ => kafka::SaslMechanism::Plain,
        },
        username: plan.username.clone(),
        password: secret(&plan.password),
    }
}

fn secret(secret: &config::Secret) -> kafka::Secret {
    kafka::Secret::new(secret.expose())
}

/// The rules of discovery: the plan's patterns, with items numbered as the engine numbers them.
#[derive(Debug)]
pub struct PlanRules {
    patterns: Arc<config::Patterns>,
    /// The patterns of the items that follow every link.
    following: config::Patterns,
    /// What is spelled out by whoever configures this host. What etcd spells out is not: a link on the way
    /// may be anybody's.
    spelled: Vec<PathBuf>,
    /// Indexed by the engine's [`ItemId`].
    symlinks: Vec<Symlinks>,
    /// The engine's item for each of the plan's.
    items: Vec<ItemId>,
}

impl PlanRules {
    /// The rules of a plan whose `n`-th item is the engine's `items[n]`.
    #[must_use]
    pub fn new(plan: &Plan, items: &[ItemId]) -> PlanRules {
        let mut symlinks = vec![Symlinks::Never; items.iter().map(|id| id.0 as usize + 1).max().unwrap_or(0)];
        for (id, item) in items.iter().zip(&plan.items) {
            symlinks[id.0 as usize] = match item.symlinks {
                config::Symlinks::Owner => Symlinks::Owner,
                config::Symlinks::Follow => Symlinks::Follow,
                config::Symlinks::Never => Symlinks::Never,
            };
        }
        let of_file = plan.items.iter().zip(0..).filter(|(item, _)| item.origin == Origin::File);
        let mut spelled = plan.patterns.roots_of(of_file.map(|(_, index)| ItemId(index)));
        spelled.extend(plan.etcd.iter().flat_map(|etcd| etcd.allow_paths.iter().cloned()));
        let trusting = plan.items.iter().filter(|item| item.symlinks == config::Symlinks::Follow);
        let following = trusting.map(|item| (&item.include[..], &item.exclude[..]));
        PlanRules {
            patterns: plan.patterns.clone(),
            following: config::Patterns::new(following).expect("the plan has compiled them"),
            spelled,
            symlinks,
            items: items.to_vec(),
        }
    }
}

impl Rules for PlanRules {
    fn first_match(&self, path: &[u8]) -> Option<ItemId> {
        self.patterns.first_match(path).map(|item| self.items[item.0 as usize])
    }

    fn could_match_below(&self, directory: &[u8]) -> bool {
        self.patterns.could_match_below(directory)
    }

    fn symlinks(&self, item: ItemId) -> Symlinks {
        self.symlinks.get(item.0 as usize).copied().unwrap_or(Symlinks::Never)
    }

    fn follows_below(&self, directory: &[u8]) -> bool {
        self.following.could_match_below(directory)
    }

    fn spelled_out(&self, directory: &[u8]) -> usize {
        let shared = |root: &PathBuf| shared_components(root.as_os_str().as_bytes(), directory);
        self.spelled.iter().map(shared).max().unwrap_or(0)
    }
}

/// How many leading bytes of `directory` are whole components of `root` too.
fn shared_components(root: &[u8], directory: &[u8]) -> usize {
    let same = root.iter().zip(directory).take_while(|(a, b)| a == b).count();
    let whole = |path: &[u8]| path.len() == same || path.get(same) == Some(&b'/');
    if whole(root) && whole(directory) {
        return same;
    }
    directory[..same].iter().rposition(|&byte| byte == b'/').unwrap_or(0)
}

/// How the plan wants files to be read.
#[must_use]
pub fn io(choice: config::IoChoice) -> Io {
    match choice {
        config::IoChoice::Auto => Io::Auto,
        config::IoChoice::Uring => Io::Uring,
        config::IoChoice::Blocking => Io::Blocking,
    }
}

/// Keys that a reload cannot change, as far as two plans differ in them.
#[must_use]
pub fn fixed_differences(old: &Plan, new: &Plan) -> Vec<&'static str> {
    let differs = [
        (old.io != new.io, "io"),
        (old.limits.differs_in_what_is_fixed(&new.limits), "limits"),
        (old.state != new.state, "state"),
        (old.http != new.http, "http"),
        (old.log != new.log, "log"),
        (old.reconcile != new.reconcile, "watch.reconcile"),
    ];
    differs.into_iter().filter_map(|(differs, key)| differs.then_some(key)).collect()
}

/// Directories as the engine knows them.
#[must_use]
pub fn roots(roots: Vec<PathBuf>) -> Vec<logdrive_core::discover::RawPath> {
    roots.iter().map(|root| Arc::from(root.as_os_str().as_bytes())).collect()
}

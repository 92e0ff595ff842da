//! What a configuration means: defaults in their place, files and flags together, reloads that compare.

use std::path::PathBuf;
use std::time::Duration;

use logdrive::args::{Arguments, Verb};
use logdrive::config::{
    Acks, Compression, CreateTopics, Format, Host, IoChoice, Partition, Plan, ReadFrom, RecordKey, Symlinks,
    Typed, plan_of, state_dir,
};
use logdrive::setup;
use logdrive_core::frame::{CarriageReturn, EventUnit, LongLine};
use logdrive_core::source::ItemId;

fn host() -> Host {
    Host { descriptors_max: 1024, state_dir: PathBuf::from("/var/lib/logdrive") }
}

fn read(text: &str) -> Plan {
    plan_of("a.toml", Some(text.as_bytes()), &Typed::default(), &host())
        .unwrap_or_else(|refused| panic!("{refused}"))
}

fn typed(words: &[&str]) -> Typed {
    match Arguments::read(["logdrive", "run"].iter().chain(words)).expect("a command line").verb {
        Verb::Run(run) => run.typed(),
        other => panic!("{other:?}"),
    }
}

const SMALL: &str = "[kafka]\nbrokers = 'k:9092'\n[[item]]\ninclude = ['/l/*.log']\ntopic = 't'\n";

#[test]
fn defaults_are_in_their_place() {
    let plan = read(SMALL);
    assert_eq!(plan.io, IoChoice::Auto);
    assert_eq!(plan.shutdown_timeout, Duration::from_secs(10));
    assert_eq!(plan.kafka.brokers, "k:9092");
    assert_eq!((plan.kafka.compression, plan.kafka.compression_level), (Compression::Lz4, None));
    assert_eq!((plan.kafka.acks, plan.kafka.linger), (Acks::All, Duration::from_micros(500)));
    assert_eq!((plan.kafka.batch_bytes, plan.kafka.message_bytes_max), (1_000_000, 1_048_588));
    assert_eq!((plan.kafka.producers, &plan.kafka.client_id[..]), (1, "logdrive"));
    assert_eq!(plan.kafka.stall_timeout, Duration::from_secs(120));
    assert!(plan.kafka.create_topics.is_none() && plan.kafka.tls.is_none() && plan.kafka.sasl.is_none());
    assert!(plan.kafka.options.is_empty());
    let item = plan.item(ItemId(0));
    assert_eq!((&item.name[..], &item.topic[..]), ("t", "t"));
    assert_eq!((item.read_from, item.symlinks), (ReadFrom::End, Symlinks::Owner));
    assert_eq!((item.ignore_older, item.close_after, item.rotated_hold), (None, None, None));
    assert_eq!((item.rotated_hold_bytes, item.rate_limit), (None, None));
    assert_eq!((item.key, item.headers, item.partition), (RecordKey::Source, false, Partition::Source));
    assert_eq!(item.format, Format::Raw);
    assert_eq!((item.frame.line_bytes_max, item.frame.on_long_line), (1_000_000, LongLine::Truncate));
    assert_eq!((item.frame.carriage_return, item.frame.unit), (CarriageReturn::Keep, EventUnit::Line));
    assert!(item.frame.multiline_start.is_none() && item.frame.flush_after.is_none());
    assert!(item.frame.include_lines.is_none() && item.frame.exclude_lines.is_none());
    assert_eq!(plan.limits.in_flight_bytes, 64 << 20);
    assert_eq!((plan.limits.open_files, plan.limits.files_max), (960, 100_000));
    assert_eq!(
        (plan.state.dir, plan.state.on_lost),
        (PathBuf::from("/var/lib/logdrive"), ReadFrom::Beginning)
    );
    assert_eq!(plan.http, Some("127.0.0.1:9180".parse().unwrap()));
    assert_eq!(plan.reconcile, Duration::from_secs(10));
    assert_eq!(plan.warnings, [""; 0]);
}

#[test]
fn what_is_written_is_meant() {
    let plan = read(
        r#"
        io = "blocking"
        [kafka]
        brokers = "a:1, b:2"
        compression = "zstd"
        compression_level = 3
        acks = 1
        create_topics = { partitions = 12 }
        options = { "socket.timeout.ms" = 10000 }
        [[item]]
        name = "one"
        include = ["/l/*"]
        topic = "t"
        read_from = "beginning"
        multiline = { start = '^\d' , flush_after = "never" }
        line_bytes_max = 65536
        on_long_line = "split"
        carriage_return = "strip"
        include_lines = ["a", "b"]
        partition = "sticky"
        sticky_slice = "250ms"
        key = "none"
        headers = true
        rate_limit = 50000
        rotated_hold = "1h"
        rotated_hold_bytes = "10GiB"
        [[item]]
        name = "two"
        include = ["/m/*"]
        topic = "t"
        framing = "chunk"
        exclude_lines = ["x"]
        flush_after = "2s"
        partition = 7
        [[item]]
        name = "three"
        include = ["/n/*"]
        topic = "t"
        format = "ecs"
        fields = { "service.name" = "shop" }
        [http]
        listen = "off"
        "#,
    );
    assert_eq!((plan.io, plan.http), (IoChoice::Blocking, None));
    assert_eq!((&plan.kafka.brokers[..], plan.kafka.acks), ("a:1,b:2", Acks::Leader));
    assert_eq!((plan.kafka.compression, plan.kafka.compression_level), (Compression::Zstd, Some(3)));
    assert_eq!(plan.kafka.create_topics, Some(CreateTopics { partitions: Some(12), replication: None }));
    assert_eq!(plan.kafka.options["socket.timeout.ms"], "10000");
    let [one, two, three] = &plan.items[..] else { panic!() };
    assert_eq!(one.frame.multiline_start.as_ref().unwrap().as_str(), r"^\d");
    assert_eq!((one.frame.flush_after, one.frame.line_bytes_max), (None, 65_536));
    assert_eq!((one.frame.on_long_line, one.frame.carriage_return), (LongLine::Split, CarriageReturn::Strip));
    assert_eq!(one.frame.include_lines.as_ref().unwrap().patterns(), ["a", "b"]);
    assert_eq!(one.partition, Partition::Sticky { slice: Duration::from_millis(250) });
    assert_eq!((one.key, one.headers, one.read_from), (RecordKey::None, true, ReadFrom::Beginning));
    assert_eq!((one.rate_limit, one.rotated_hold), (Some(50_000), Some(Duration::from_secs(3600))));
    assert_eq!(one.rotated_hold_bytes, Some(10 << 30));
    assert_eq!(two.frame.unit, EventUnit::Chunk { bytes_max: 60 * 1024 });
    assert_eq!((two.frame.flush_after, two.partition), (Some(Duration::from_secs(2)), Partition::Number(7)));
    let Format::Ecs { fields } = &three.format else { panic!() };
    assert_eq!((&fields["service.name"][..], three.frame.line_bytes_max), ("shop", 160_000));
    assert_eq!(plan.patterns.first_match(b"/m/x"), Some(ItemId(1)));
}

/// What is accepted here must not end the start there.
#[test]
fn the_sink_takes_every_size_and_level_that_may_be_written() {
    for (kafka, limits) in [
        ("", "in_flight = '64GiB'"),
        ("", "in_flight = '8MiB'"),
        ("compression = 'zstd'\ncompression_level = 0", ""),
        ("compression = 'zstd'\ncompression_level = 12", ""),
        ("compression = 'gzip'\ncompression_level = 0", ""),
        ("compression_level = 12", ""),
        ("message_bytes_max = 1000000000\nbatch_bytes = 100000000\nlinger = '15m'", "in_flight = '8MiB'"),
    ] {
        let plan = read(&format!(
            "[kafka]\nbrokers = 'k'\n{kafka}\n[limits]\n{limits}\n\
             [[item]]\ninclude = ['/l/*']\ntopic = 't'\n"
        ));
        let checked = setup::kafka(&plan.kafka).check(setup::budget(&plan.limits));
        assert_eq!(checked, Ok(()), "{kafka} {limits}");
    }
}

#[test]
fn multiline_waits_a_second_for_more() {
    let plan = read(&format!("{SMALL}multiline = {{ start = '^a' }}\n"));
    assert_eq!(plan.items[0].frame.flush_after, Some(Duration::from_secs(1)));
}

#[test]
fn the_quick_form_needs_no_file() {
    let typed =
        typed(&["--include", "/var/log/nginx/*.log", "--topic", "web_log", "--brokers", "localhost:9092"]);
    let plan = plan_of("command line", None, &typed, &host()).unwrap();
    assert_eq!((&plan.items[0].name[..], plan.items.len()), ("web_log", 1));
    assert_eq!(plan.items[0].read_from, ReadFrom::End);
    assert_eq!(plan.patterns.first_match(b"/var/log/nginx/a.log"), Some(ItemId(0)));
}

#[test]
fn typed_patterns_are_meant_from_the_working_directory() {
    let words = ["--include", "x/*.log", "--include", "*.txt", "--exclude", "./x/a.log", "--exclude", "*.gz"];
    let words = [&words[..], &["--topic", "t", "--brokers", "k", "--state-dir", "s"]].concat();
    let plan = plan_of("command line", None, &typed(&words), &host()).unwrap();
    let here = std::env::current_dir().unwrap();
    let matched =
        |name: &str| plan.patterns.first_match(here.join(name).to_str().unwrap().as_bytes()).is_some();
    assert!(matched("x/b.log") && matched("c.txt"));
    assert!(!matched("x/a.log") && !matched("x/c.txt") && !matched("y/x/b.log"));
    assert!(plan.items[0].exclude.contains(&"*.gz".to_owned()));
    assert_eq!(plan.state.dir, here.join("s"));
}

#[test]
fn flags_override_the_file_and_a_typed_item_comes_first() {
    let words = ["--include", "/l/a.log", "--topic", "u", "--brokers", "other:1", "--read-from", "beginning"];
    let more = [
        "--set",
        "kafka.linger=5ms",
        "--set",
        "item.headers=true",
        "--set",
        "kafka.producers=2",
        "--acks",
        "1",
    ];
    let fields = ["--set", "kafka.options={'socket.keepalive.enable' = true}", "--http", "off"];
    let typed = typed(&[&words[..], &more[..], &fields[..]].concat());
    let plan = plan_of("a.toml", Some(SMALL.as_bytes()), &typed, &host()).unwrap();
    assert_eq!((&plan.kafka.brokers[..], plan.kafka.producers), ("other:1", 2));
    assert_eq!(
        (plan.kafka.linger, plan.kafka.acks, plan.http),
        (Duration::from_millis(5), Acks::Leader, None)
    );
    assert_eq!(plan.kafka.options["socket.keepalive.enable"], "true");
    assert_eq!(plan.items.iter().map(|item| &item.name[..]).collect::<Vec<_>>(), ["u", "t"]);
    assert!(plan.items.iter().all(|item| item.read_from == ReadFrom::Beginning && item.headers));
    assert_eq!(plan.patterns.first_match(b"/l/a.log"), Some(ItemId(0)));
    assert_eq!(plan.patterns.first_match(b"/l/b.log"), Some(ItemId(1)));
}

#[test]
fn f02_a_reserve_of_descriptors_is_kept() {
    let open = |descriptors_max, wanted: &str| {
        let text = format!("{SMALL}[limits]\nopen_files = {wanted}\n");
        let host = Host { descriptors_max, ..host() };
        let plan = plan_of("a.toml", Some(text.as_bytes()), &Typed::default(), &host).unwrap();
        (plan.limits.open_files, plan.warnings.len())
    };
    assert_eq!(open(256, "'auto'"), (192, 0));
    assert_eq!(open(1024, "'auto'"), (960, 0));
    assert_eq!(open(524_288, "'auto'"), (523_264, 0));
    assert_eq!(open(u64::MAX, "'auto'"), (1_000_000, 0));
    assert_eq!(open(10, "'auto'"), (16, 0));
    assert_eq!(open(256, "100"), (100, 0));
    assert_eq!(open(256, "1000"), (192, 1));
}

#[test]
fn plans_tell_what_changed() {
    let with = |kafka: &str, item: &str| {
        read(&format!("[kafka]\nbrokers = 'k'\n{kafka}\n[[item]]\ninclude = ['/l']\ntopic = 't'\n{item}\n"))
    };
    let plan = with("", "multiline = { start = '^a' }\nexclude_lines = ['x']");
    assert_eq!(plan, with("linger = '500us'", "multiline = { start = '^a' }\nexclude_lines = ['x']"));
    let other = with("", "multiline = { start = '^b' }\nexclude_lines = ['x']");
    assert_eq!(plan.kafka, other.kafka);
    assert_ne!(plan.items, other.items);
    let other = with("producers = 2", "multiline = { start = '^a' }\nexclude_lines = ['x']");
    assert_ne!(plan.kafka, other.kafka);
    assert_eq!(plan.items, other.items);
    assert_ne!(plan.items, with("", "multiline = { start = '^a' }\nexclude_lines = ['y']").items);
    assert_ne!(plan.items, with("", "multiline = { start = '^a' }").items);
    assert_ne!(plan.patterns, with("", "exclude = ['*.gz']").patterns);
}

#[test]
fn the_state_is_found_although_other_keys_are_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.toml");
    std::fs::write(&path, "[kafka]\nbroker = 7\n[state]\ndir = '/s'\n").unwrap();
    let find = |words: &[&str]| match Arguments::read(["logdrive", "state", "list"].iter().chain(words))
        .unwrap()
        .verb
    {
        Verb::State(state) => state_dir(&state.typed(), &host()),
        other => panic!("{other:?}"),
    };
    let config = ["--config", path.to_str().unwrap()];
    assert_eq!(find(&config).unwrap(), PathBuf::from("/s"));
    assert_eq!(find(&[&config[..], &["--state-dir", "/u"]].concat()).unwrap(), PathBuf::from("/u"));
    assert_eq!(find(&[]).unwrap(), PathBuf::from("/var/lib/logdrive"));
    std::fs::write(&path, "[state]\ndir = 's'\n").unwrap();
    assert!(find(&config).is_err());
}

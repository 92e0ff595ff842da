use super::*;

const BUDGET: InFlightBudget = InFlightBudget { messages_max: 100_000, bytes_max: 64 << 20 };

fn with(options: &[(&str, &str)]) -> Result<Properties, SettingsError> {
    let mut settings = KafkaSettings::new("localhost:9092");
    settings.options = options.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    settings.properties(BUDGET)
}

fn refusal(option: &str, value: &str) -> String {
    with(&[(option, value)]).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn the_defaults_never_expire_a_message_and_keep_the_order() {
    let pairs = with(&[]).unwrap().pairs;
    for (name, value) in [
        ("acks", "all"),
        ("enable.idempotence", "true"),
        ("message.timeout.ms", "0"),
        ("compression.codec", "lz4"),
        ("linger.ms", "5"),
        ("batch.size", "1000000"),
        ("batch.num.messages", "100000"),
        ("queue.buffering.max.messages", "100000"),
        ("queue.buffering.max.kbytes", "65536"),
        ("statistics.interval.ms", "0"),
        ("allow.auto.create.topics", "false"),
        ("security.protocol", "plaintext"),
    ] {
        assert_eq!(pairs.get(name).map(String::as_str), Some(value), "{name}");
    }
}

#[test]
fn k24_weaker_acks_warn_once_and_send_one_request_at_a_time() {
    for (acks, text) in [(Acks::One, "1"), (Acks::None, "0")] {
        let mut settings = KafkaSettings::new("b:1");
        settings.acks = acks;
        let got = settings.properties(BUDGET).unwrap();
        assert_eq!(got.pairs["acks"], text);
        assert_eq!(got.pairs["enable.idempotence"], "false");
        assert_eq!(got.pairs["max.in.flight.requests.per.connection"], "1");
        assert_eq!(got.warnings.len(), 1);
    }
    assert!(with(&[]).unwrap().warnings.is_empty());
}

#[test]
fn k24_an_option_that_contradicts_a_key_is_refused_under_every_name() {
    for (option, value, key) in [
        ("metadata.broker.list", "other:9092", "brokers"),
        ("linger.ms", "50", "linger"),
        ("queue.buffering.max.ms", "50", "linger"),
        ("compression.type", "zstd", "compression"),
        ("request.required.acks", "1", "acks"),
        ("batch.size", "1", "batch_bytes"),
        ("message.max.bytes", "1", "message_bytes_max"),
        ("queue.buffering.max.messages", "1", "in_flight"),
        ("security.protocol", "ssl", "tls and sasl"),
    ] {
        assert_eq!(
            refusal(option, value),
            format!("kafka option `{option} = {value}` contradicts `{key}`; set `{key}` instead")
        );
    }
}

#[test]
fn k13_k24_an_option_that_breaks_a_promise_is_refused() {
    for (option, value) in [
        ("enable.idempotence", "false"),
        ("max.in.flight", "5"),
        ("queuing.strategy", "lifo"),
        ("message.timeout.ms", "300000"),
        ("delivery.timeout.ms", "300000"),
        ("retries", "3"),
        ("message.send.max.retries", "0"),
        ("delivery.report.only.error", "true"),
        ("transactional.id", "x"),
        ("partitioner", "random"),
    ] {
        let line = refusal(option, value);
        assert!(line.starts_with(&format!("kafka option `{option} = {value}` is refused: ")), "{line}");
    }
}

#[test]
fn an_option_that_repeats_what_is_so_is_accepted_and_others_are_passed_on() {
    let got = with(&[
        ("enable.idempotence", "TRUE"),
        ("queue.buffering.max.ms", "5"),
        ("socket.timeout.ms", "30000"),
        ("reconnect.backoff.max.ms", "10000"),
    ]);
    let pairs = got.unwrap().pairs;
    assert_eq!(pairs["enable.idempotence"], "true");
    assert_eq!(pairs["socket.timeout.ms"], "30000");
    assert_eq!(pairs["reconnect.backoff.max.ms"], "10000");
}

#[test]
fn k24_values_that_cannot_work_are_named() {
    let refused = |change: fn(&mut KafkaSettings)| {
        let mut settings = KafkaSettings::new("b:1");
        change(&mut settings);
        settings.properties(BUDGET).map(|_| ()).unwrap_err().to_string()
    };
    assert!(refused(|s| s.brokers = " ".into()).starts_with("`brokers`"));
    assert!(refused(|s| s.producers = 0).starts_with("`producers`"));
    assert!(refused(|s| s.compression = Compression::Zstd { level: Some(23) }).starts_with("`compression`"));
    assert!(refused(|s| s.statistics = Some(Duration::from_secs(1))).starts_with("`statistics`"));
    assert!(refused(|s| s.message_bytes_max = 1).starts_with("`message_bytes_max`"));
    let create = CreateTopics { partitions: 0, replication: 1 };
    let mut settings = KafkaSettings::new("b:1");
    settings.create_topics = Some(create);
    assert!(settings.properties(BUDGET).is_err());
}

#[test]
fn linger_may_be_a_fraction_of_a_millisecond() {
    let mut settings = KafkaSettings::new("b:1");
    settings.linger = Duration::from_micros(250);
    assert_eq!(settings.properties(BUDGET).unwrap().pairs["linger.ms"], "0.25");
}

#[test]
fn the_largest_message_always_fits_into_the_queue() {
    let mut settings = KafkaSettings::new("b:1");
    settings.message_bytes_max = 10_000_000;
    let budget = InFlightBudget { messages_max: 10, bytes_max: 1 };
    let kilobytes: usize =
        settings.properties(budget).unwrap().pairs["queue.buffering.max.kbytes"].parse().unwrap();
    assert!(kilobytes * 1024 >= 10_000_000);
}

#[test]
fn security_follows_from_what_is_set_and_secrets_do_not_print() {
    let mut settings = KafkaSettings::new("b:1");
    settings.sasl = Some(Sasl {
        mechanism: SaslMechanism::ScramSha512,
        username: "u".into(),
        password: Secret::new("hunter2"),
    });
    assert_eq!(settings.properties(BUDGET).unwrap().pairs["security.protocol"], "sasl_plaintext");
    settings.tls = Some(Tls { key_password: Some(Secret::new("hunter2")), ..Tls::default() });
    let pairs = settings.properties(BUDGET).unwrap().pairs;
    assert_eq!(pairs["security.protocol"], "sasl_ssl");
    assert_eq!(pairs["sasl.mechanisms"], "SCRAM-SHA-512");
    assert_eq!(pairs["sasl.password"], "hunter2");
    settings.options.insert("ssl.keystore.password".into(), "hunter2".into());
    assert!(!format!("{settings:?}").contains("hunter2"));
    settings.options.insert("sasl.password".into(), "swordfish".into());
    let refused = settings.properties(BUDGET).map(|_| ()).unwrap_err().to_string();
    assert!(!refused.contains("swordfish"), "{refused}");
}

#[test]
fn a_level_reaches_the_codec_that_it_was_written_for() {
    let level = |compression| {
        let settings = KafkaSettings { compression, ..KafkaSettings::new("k") };
        settings.properties(BUDGET).unwrap().pairs.get("compression.level").cloned()
    };
    for some in [0, 9] {
        for codec in [Compression::Lz4 { level: Some(some) }, Compression::Zstd { level: Some(some) }] {
            assert_eq!(level(codec), Some(some.to_string()), "{codec:?}");
        }
        assert_eq!(level(Compression::Gzip { level: Some(some) }), Some(some.to_string()));
    }
    assert_eq!(level(Compression::Lz4 { level: None }), None);
    let refused =
        KafkaSettings { compression: Compression::Lz4 { level: Some(13) }, ..KafkaSettings::new("k") };
    assert!(refused.check(BUDGET).is_err());
}

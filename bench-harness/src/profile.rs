//! What is known of each agent by name: its programs, its command line, its configuration, its limits.
//!
//! A profile is tuned for throughput, with lz4 and `acks=all`, raw lines as record values, and its state in
//! the folder `{state}`. Why each setting is as it is stands in docs/peers.md. A configuration is a file below
//! `profiles/`, compiled in, so that the binary needs nothing beside it; the same placeholders are filled in it
//! as in the command line. A profile does not judge: what an agent cannot do is said, not hidden.

use logdrive_bench::verify::Framing;

/// One agent that is known by name.
#[derive(Debug, PartialEq)]
pub(crate) struct Profile {
    /// As `--agent` takes it.
    pub(crate) name: &'static str,
    /// What its program may be called; the first one that is found is taken.
    pub(crate) programs: &'static [&'static str],
    /// The command line; `{agent}` is its program, `{config}` its configuration, `|` joins a feeder.
    pub(crate) command: &'static str,
    pub(crate) configuration: Option<&'static str>,
    /// Makes the program say its version.
    pub(crate) version_option: &'static str,
    /// What a record of it holds.
    pub(crate) framing: Framing,
    /// What it cannot do, where a reader of a table must know it.
    pub(crate) limit: Option<&'static str>,
}

/// Every known agent. The first one is the default.
pub(crate) const PROFILES: &[Profile] = &[
    // Every default as it is.
    Profile {
        name: LOGDRIVE,
        programs: &[LOGDRIVE],
        command: "{agent} run --include {files} --topic {topic} --brokers {brokers} --state-dir {state} \
                  --read-from beginning --http {http}",
        configuration: None,
        version_option: "--version",
        framing: Framing::Line,
        limit: None,
    },
    Profile {
        name: "rsyslog",
        programs: &["rsyslogd"],
        command: "{agent} -n -f {config} -i {state}/pid",
        configuration: Some(include_str!("../profiles/rsyslog.conf")),
        version_option: "-v",
        framing: Framing::Line,
        limit: None,
    },
    Profile {
        name: "syslog-ng",
        programs: &["syslog-ng"],
        command: "{agent} --foreground --no-caps --cfgfile {config} --persist-file {state}/persist \
                  --control {state}/control --pidfile {state}/pid",
        configuration: Some(include_str!("../profiles/syslog-ng.conf")),
        version_option: "--version",
        framing: Framing::Line,
        limit: None,
    },
    Profile {
        name: "fluent-bit",
        programs: &["fluent-bit"],
        command: "{agent} --config {config}",
        configuration: Some(include_str!("../profiles/fluent-bit.conf")),
        version_option: "--version",
        framing: Framing::Line,
        limit: None,
    },
    Profile {
        name: "otelcol",
        programs: &["otelcol-contrib", "otelcol"],
        command: "{agent} --config {config}",
        configuration: Some(include_str!("../profiles/otelcol.yaml")),
        version_option: "--version",
        framing: Framing::Quoted,
        limit: Some("a record is the line as a JSON string; it is judged after unquoting"),
    },
    Profile {
        name: "vector",
        programs: &["vector"],
        command: "{agent} --quiet --config-yaml {config}",
        configuration: Some(include_str!("../profiles/vector.yaml")),
        version_option: "--version",
        framing: Framing::Line,
        limit: None,
    },
    Profile {
        name: "kcat",
        programs: &["kcat", "kafkacat"],
        // From the first byte on, by name across rotations.
        command: "tail -q -c +1 -s 0.02 -F {file} | {agent} -P -b {brokers} -t {topic} -z lz4 -X acks=all \
                  -X enable.idempotence=true -X linger.ms=5 -X batch.num.messages=10000 \
                  -X queue.buffering.max.messages=500000 -X queue.buffering.max.kbytes=262144 \
                  -X message.timeout.ms=0",
        configuration: None,
        version_option: "-V",
        framing: Framing::Line,
        limit: Some(
            "no state: one file, and everything again after a restart; the last kilobyte waits for more, or for the end",
        ),
    },
];

/// The agent of this project.
pub(crate) const LOGDRIVE: &str = "logdrive";

/// The profile called `name`, as a parser of command lines wants it.
pub(crate) fn find(name: &str) -> Result<&'static Profile, String> {
    PROFILES.iter().find(|profile| profile.name == name).ok_or_else(|| {
        let names: Vec<&str> = PROFILES.iter().map(|profile| profile.name).collect();
        format!(
            "no agent is called `{name}`; known are {}. The path of a program goes to --agent-path, \
             any other agent to --agent-command",
            names.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_says_where_to_read_and_where_to_send() {
        for profile in PROFILES {
            let text = format!("{} {}", profile.command, profile.configuration.unwrap_or_default());
            assert!(text.contains("{agent}"), "{}", profile.name);
            assert!(["{topic}", "{brokers}"].iter().all(|part| text.contains(part)), "{}", profile.name);
            assert!(
                ["{file}", "{files}", "{pattern}"].iter().any(|part| text.contains(part)),
                "{}",
                profile.name
            );
            assert_eq!(
                profile.configuration.is_some(),
                profile.command.contains("{config}"),
                "{}",
                profile.name
            );
            let stateless = profile.limit.is_some_and(|limit| limit.contains("no state"));
            assert_eq!(text.contains("{state}"), !stateless, "{}", profile.name);
        }
    }

    #[test]
    fn every_peer_compresses_with_lz4_and_waits_for_all_replicas() {
        for profile in PROFILES.iter().filter(|profile| profile.name != LOGDRIVE) {
            let text = format!("{} {}", profile.command, profile.configuration.unwrap_or_default());
            assert!(text.contains("lz4"), "{}", profile.name);
            assert!(
                text.contains("acks") && (text.contains("all") || text.contains("-1")),
                "{}",
                profile.name
            );
        }
    }

    #[test]
    fn a_path_in_place_of_a_name_is_pointed_elsewhere() {
        assert_eq!(find("kcat").map(|profile| profile.name), Ok("kcat"));
        let error = find("target/release/logdrive").unwrap_err();
        assert!(error.contains("syslog-ng") && error.contains("--agent-path"), "{error}");
    }
}

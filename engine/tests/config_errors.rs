//! What a user sees when a configuration is wrong: every line as it is printed.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use expect_test::{Expect, expect};
use logdrive::config::{Host, Plan, Refused, Setting, Typed, load, plan_of};
use proptest::prelude::*;

fn host() -> Host {
    Host { descriptors_max: 1024, state_dir: PathBuf::from("/var/lib/logdrive") }
}

fn read(text: &[u8], typed: &Typed) -> Result<Plan, Refused> {
    plan_of("a.toml", Some(text), typed, &host())
}

fn check(text: &str, expected: Expect) {
    let shown = match read(text.as_bytes(), &Typed::default()) {
        Ok(plan) => format!("accepted; {} warnings", plan.warnings.len()),
        Err(refused) => refused.to_string(),
    };
    expected.assert_eq(&shown);
}

/// A configuration that is right, with the lines in the places of its sections.
fn with(top: &str, kafka: &str, item: &str) -> String {
    format!(
        "{top}\n[kafka]\nbrokers = 'k:9092'\n{kafka}\n[[item]]\ninclude = ['/l/*']\ntopic = 't'\n{item}\n"
    )
}

#[test]
fn g01_broken_toml() {
    check("[kafka\nbrokers = 'a'\n", expect!["error: a.toml:1:7: broken TOML: unclosed table, expected `]`"]);
    check(
        "[kafka]\nbrokers = 'a\n",
        expect!["error: a.toml:2:13: broken TOML: invalid literal string, expected `'`"],
    );
    check(
        "[kafka]\nbrokers = a\n",
        expect!["error: a.toml:2:11: broken TOML: string values must be quoted, expected literal string"],
    );
    check(
        "[kafka]\nbrokers = 'a'\nbrokers = 'b'\n",
        expect!["error: a.toml:3:1: broken TOML: duplicate key"],
    );
    check("\u{1b}[2J", expect!["error: a.toml:1:2: broken TOML: key with no value, expected `=`"]);
}

#[test]
fn g01_not_utf_8() {
    let refused = read(b"[kafka]\nbrokers = '\xc3\xbc\xff'\n", &Typed::default()).unwrap_err();
    expect!["error: a.toml:2:13: not UTF-8 from here on"].assert_eq(&refused.to_string());
}

#[test]
fn lines_of_containers_are_neither_chunks_nor_joined_by_a_pattern() {
    check(
        &with("", "", "container = 'cri'\nmultiline = { start = '^a' }"),
        expect![
            "error: a.toml:9:1: `multiline` works on the lines of the file, and `container` unwraps these; choose one"
        ],
    );
    check(
        &with("", "", "container = 'docker'\nframing = 'chunk'"),
        expect![[
            r#"error: a.toml:9:1: `framing = "chunk"` works on the lines of the file, and `container` unwraps these; choose one"#
        ]],
    );
    check(&with("", "", "container = 'cri'\nformat = 'ecs'"), expect!["accepted; 0 warnings"]);
}

#[test]
fn a_time_to_read_from_is_a_string_that_says_one() {
    let read_from = |value: &str, expected| check(&with("", "", &format!("read_from = {value}")), expected);
    read_from("'-24h'", expect!["accepted; 0 warnings"]);
    read_from("'2026-11-26 10:00'", expect!["accepted; 0 warnings"]);
    read_from(
        "2026-11-26T10:00:00Z",
        expect![[
            r#"error: a.toml:8:13: `read_from` must be a string: "beginning", "end", a span back like "-24h", or a time like "2026-11-26T10:00:00Z", "2026-11-26 10:00", "2026-11-26", not a date"#
        ]],
    );
    read_from(
        "'24h'",
        expect![[
            r#"error: a.toml:8:13: `read_from` is "24h"; it is a span without a direction; back is "-24h""#
        ]],
    );
    read_from(
        "'begining'",
        expect![[
            r#"error: a.toml:8:13: `read_from` is "begining"; allowed: "beginning", "end", a span back like "-24h", or a time like "2026-11-26T10:00:00Z", "2026-11-26 10:00", "2026-11-26" (did you mean `beginning`?)"#
        ]],
    );
    read_from(
        "'2026-13-26'",
        expect![[
            r#"error: a.toml:8:13: `read_from` is "2026-13-26"; allowed: "beginning", "end", a span back like "-24h", or a time like "2026-11-26T10:00:00Z", "2026-11-26 10:00", "2026-11-26""#
        ]],
    );
    check(
        &with("[state]\non_lost = '-24h'", "", ""),
        expect![[r#"error: a.toml:2:11: `on_lost` is "-24h"; allowed: beginning, end"#]],
    );
}

#[test]
fn g01_an_encoding_that_files_cannot_be_read_in() {
    let shown = |item: &str| read(with("", "", item).as_bytes(), &Typed::default()).unwrap_err().to_string();
    let names = ["gkb", "utf16", "cp437", "x-user-defined", "", "iso-2022-jp"];
    let mut lines: Vec<String> = names.iter().map(|name| shown(&format!("encoding = {name:?}"))).collect();
    lines.push(shown("encoding = 'gbk'\ncontainer = 'cri'"));
    lines.push(shown("encoding = 'utf-16le'\nread_from = '-1h'"));
    expect![[r#"
        error: a.toml:8:1: "gkb" is no name of an encoding (did you mean `gbk`?); names are those of the Encoding Standard, like "utf-16", "gbk" or "windows-1252"
        error: a.toml:8:1: "utf16" is no name of an encoding (did you mean `utf-16`?); names are those of the Encoding Standard, like "utf-16", "gbk" or "windows-1252"
        error: a.toml:8:1: "cp437" is no name of an encoding; names are those of the Encoding Standard, like "utf-16", "gbk" or "windows-1252"
        error: a.toml:8:1: "x-user-defined" is no name of an encoding; names are those of the Encoding Standard, like "utf-16", "gbk" or "windows-1252"
        error: a.toml:8:12: `encoding` is empty
        error: a.toml:8:1: files in "iso-2022-jp" cannot be read: what a byte means there depends on those before it, and after a restart a file is read on from its middle; have them written as "utf-8"
        error: a.toml:8:1: `encoding` is for files that are not UTF-8, and `container` for those of a container runtime, which are; choose one
        error: a.toml:9:1: `read_from` cannot look for a time in files in UTF-16; "beginning" and "end" it can"#]].assert_eq(&lines.join("\n"));
    check(&with("", "", "encoding = 'GBK'\nmultiline = { start = '^a' }"), expect!["accepted; 0 warnings"]);
    let long = "encoding = 'gbk'\nline_bytes_max = '1008kB'\nmultiline = { start = '^a' }";
    let refused =
        read(with("[limits]\nin_flight = '8MiB'", "", long).as_bytes(), &Typed::default()).unwrap_err();
    expect!["error: a.toml:2:1: `in_flight` must hold at least 4 of the longest lines (`line_bytes_max`), which need 4032014B each while they are read"].assert_eq(&refused.to_string());
}

#[test]
fn dead_letters_need_one_place_from_which_they_do_not_come_back() {
    let kept = |place: &str| with("", &format!("on_refused = 'dead_letter'\ndead_letter = {place}"), "");
    check(
        &with("", "on_refused = 'dead_letter'", ""),
        expect![
            "error: a.toml:4:1: `on_refused = \"dead_letter\"` needs `topic` or `file` in `[kafka.dead_letter]`"
        ],
    );
    check(
        &with("", "", "on_refused = 'dead_letter'"),
        expect![
            "error: a.toml:8:1: `on_refused = \"dead_letter\"` needs `topic` or `file` in `[kafka.dead_letter]`"
        ],
    );
    check(
        &kept("{}"),
        expect!["error: a.toml:5:1: missing key `topic` (or `file`) in `[kafka.dead_letter]`"],
    );
    check(
        &kept("{ topic = 'dead', file = '/v/dead' }"),
        expect!["error: a.toml:5:33: `topic` and `file` cannot both be the place of dead letters"],
    );
    check(
        &kept("{ topic = 't' }"),
        expect![[
            r#"error: a.toml:5:17: `topic` is "t", where an item sends to: what it refuses, it would refuse again"#
        ]],
    );
    check(
        &kept("{ file = '/l/dead' }"),
        expect![[
            r#"error: a.toml:5:17: `file` is "/l/dead", which an item reads: each dead letter would be sent again"#
        ]],
    );
    check(&kept("{ file = '/v/dead', on_failure = 'drop' }"), expect!["accepted; 0 warnings"]);
}

#[test]
fn g01_nothing_in_it() {
    check(
        "",
        expect![[r#"
        error: a.toml:1:1: missing key `brokers` in `[kafka]`: The brokers to ask first, as `host:port`, separated by commas.
        error: a.toml:1:1: no `[[item]]`: an item says which files to read (`include`) and where to send them (`topic`)"#]],
    );
    check(
        "# nothing\n",
        expect![[r#"
        error: a.toml:1:1: missing key `brokers` in `[kafka]`: The brokers to ask first, as `host:port`, separated by commas.
        error: a.toml:1:1: no `[[item]]`: an item says which files to read (`include`) and where to send them (`topic`)"#]],
    );
    check(
        "[kafka]\n[[item]]\n",
        expect![[r#"
        error: a.toml:1:2: missing key `brokers` in `[kafka]`: The brokers to ask first, as `host:port`, separated by commas.
        error: a.toml:2:1: missing key `include` in `[[item]]`: The files to read: absolute paths, with wildcards.
        error: a.toml:2:1: missing key `topic` in `[[item]]`: The topic to send to."#]],
    );
    check(
        "[kafka]\nbrokers = 'k'\n",
        expect![
            "error: a.toml:1:1: no `[[item]]`: an item says which files to read (`include`) and where to send them (`topic`)"
        ],
    );
    check(
        "[kafka]\nbrokers = 'k'\n[[item]]\ntopic = 't'\ninclude = []\n",
        expect!["error: a.toml:5:1: `include` is empty: the item would read nothing"],
    );
}

#[test]
fn g01_wrong_type() {
    check(
        &with(
            "io = 1\nshutdown_timeout = 10",
            "linger = 5\nproducers = '2'\nbatch_bytes = 1.5\ncompression = true\nacks = 2\ncreate_topics = 3",
            "name = 7\nheaders = 'yes'\nexclude = '*.gz'\ninclude_lines = ['a', 5]\nfields = 'x'\nmultiline = '^a'",
        ),
        expect![[r#"
            error: a.toml:1:6: `io` is "1"; allowed: auto, uring, blocking
            error: a.toml:2:20: `shutdown_timeout` must be a duration like "5ms" or "2m", not an integer
            error: a.toml:5:10: `linger` must be a duration like "5ms" or "2m", not an integer
            error: a.toml:6:13: `producers` is "2"; allowed: whole number, 1 to 16
            error: a.toml:7:15: `batch_bytes` must be a size like "64MiB", not a float
            error: a.toml:8:15: `compression` must be one of "none", "lz4", "zstd", "snappy", "gzip", not a boolean
            error: a.toml:9:8: `acks` is "2"; allowed: all, 1, 0
            error: a.toml:10:1: `kafka.create_topics` must be a table, not an integer
            error: a.toml:14:8: `name` must be a string, not an integer
            error: a.toml:15:11: `headers` must be a boolean, not a string
            error: a.toml:16:11: `exclude` must be an array of strings (globs), like ["..."], not a string
            error: a.toml:17:23: `include_lines` must hold strings (regular expressions), not an integer
            error: a.toml:18:10: `fields` must be a table of strings, not a string
            error: a.toml:19:1: `item.multiline` must be a table, not a string"#]],
    );
    check(
        "kafka = 1\nitem = 2\n",
        expect![[r#"
        error: a.toml:1:1: `kafka` must be a table, not an integer
        error: a.toml:1:1: missing key `brokers` in `[kafka]`: The brokers to ask first, as `host:port`, separated by commas.
        error: a.toml:1:1: no `[[item]]`: an item says which files to read (`include`) and where to send them (`topic`)
        error: a.toml:2:1: an item begins with `[[item]]`, since there may be several"#]],
    );
    check(
        "item = [1]\n",
        expect![[r#"
        error: a.toml:1:1: missing key `brokers` in `[kafka]`: The brokers to ask first, as `host:port`, separated by commas.
        error: a.toml:1:9: an item must be a table, not an integer
        error: a.toml:1:9: missing key `include` in `[[item]]`: The files to read: absolute paths, with wildcards.
        error: a.toml:1:9: missing key `topic` in `[[item]]`: The topic to send to."#]],
    );
    check(
        "[kafka]\nbrokers = 'k'\n[item]\ntopic = 't'\n",
        expect![[r#"
        error: a.toml:1:1: no `[[item]]`: an item says which files to read (`include`) and where to send them (`topic`)
        error: a.toml:3:2: an item begins with `[[item]]`, since there may be several"#]],
    );
}

#[test]
fn g01_wrong_value() {
    check(
        &with(
            "io = 'urin'\nshutdown_timeout = '2days'",
            "compression = 'lz5'\nlinger = '5'\nbatch_bytes = '1M'\nproducers = 0\nmessage_bytes_max = '2GB'\n\
             stall_timeout = '1s'",
            "partition = -1\nrate_limit = 'fast'\nread_from = ''\nchunk_bytes = '64KiB'\nignore_older = 'soon'\n\
             symlinks = 'Owner'",
        ),
        expect![[r#"
            error: a.toml:1:6: `io` is "urin"; allowed: auto, uring, blocking (did you mean `uring`?)
            error: a.toml:2:20: `shutdown_timeout` is 2days; allowed: duration, 0s to 1h
            error: a.toml:5:15: `compression` is "lz5"; allowed: none, lz4, zstd, snappy, gzip (did you mean `lz4`?)
            error: a.toml:6:10: `linger`: "5" needs a unit, like "5ms" or "5s"
            error: a.toml:7:15: `batch_bytes`: "1M" has an unknown unit; allowed: B, kB, KiB, MB, MiB, GB, GiB, TB, TiB
            error: a.toml:8:13: `producers` is 0; allowed: whole number, 1 to 16
            error: a.toml:9:21: `message_bytes_max` is 2GB; allowed: size in bytes, 1KiB to 1GB
            error: a.toml:10:17: `stall_timeout` is 1s; allowed: duration, 5s to 1day
            error: a.toml:14:13: `partition` is -1; allowed: whole number, 0 to 99999, or "source", "key", "sticky"
            error: a.toml:15:14: `rate_limit` is "fast"; allowed: whole number, 1 to 1000000000, or "unlimited"
            error: a.toml:16:13: `read_from` is ""; allowed: "beginning", "end", a span back like "-24h", or a time like "2026-11-26T10:00:00Z", "2026-11-26 10:00", "2026-11-26"
            error: a.toml:17:15: `chunk_bytes` is 64KiB; allowed: size in bytes, 1KiB to 65535B
            error: a.toml:18:16: `ignore_older`: "soon" is not a duration; write it like "500us", "5ms", "2m", "1h 30m", or "never"
            error: a.toml:19:12: `symlinks` is "Owner"; allowed: owner, follow, never (did you mean `owner`?)"#]],
    );
    check(
        &with("", "producers = 99999999999999999999", "line_bytes_max = -1"),
        expect![[r#"
        error: a.toml:4:13: `producers` is 99999999999999999999; allowed: whole number, 1 to 16
        error: a.toml:8:18: `line_bytes_max` is -1; allowed: size in bytes, 16B to 16MiB"#]],
    );
}

#[test]
fn g02_unknown_keys_at_every_level() {
    check(
        &with(
            "oi = 'auto'\nlinger = '1ms'\nnonsense = 1",
            "broker = 'x'\nitem = 1\ncreate_topics = { partition = 3 }\nshutdown_timeout = '1s'",
            "toppic = 'x'\nmultiline = { start = 'a', flush = '1s' }\nacks = 'all'\n[statee]\ndir = '/x'\n\
             [limits]\nin-flight = '64MiB'\n[kafka.tsl]\n[http.x]\n",
        ),
        expect![[r#"
            error: a.toml:1:1: unknown key `oi` (did you mean `io`?)
            error: a.toml:2:1: unknown key `linger` in the top of the file (it belongs into `[kafka]`)
            error: a.toml:3:1: unknown key `nonsense` in the top of the file
            error: a.toml:6:1: unknown key `broker` (did you mean `brokers`?)
            error: a.toml:7:1: unknown key `item` in `[kafka]`
            error: a.toml:8:19: unknown key `partition` (did you mean `partitions`?)
            error: a.toml:9:1: unknown key `shutdown_timeout` in `[kafka]` (it belongs into the top of the file, before the first section)
            error: a.toml:13:1: unknown key `toppic` (did you mean `topic`?)
            error: a.toml:14:28: unknown key `flush` in `[item.multiline]`
            error: a.toml:15:1: unknown key `acks` in `[[item]]` (it belongs into `[kafka]`)
            error: a.toml:16:2: unknown section `statee` (did you mean `state`?)
            error: a.toml:19:1: unknown key `in-flight` (did you mean `in_flight`?)
            error: a.toml:20:8: unknown section `tsl` (did you mean `tls`?)
            error: a.toml:21:7: unknown section `x` in `[http]`"#]],
    );
    check(
        &with("", "[kafka.sasl]\npassword = 'canary'\n[kafka.tls]\nkey_password = 'canary'", ""),
        expect![[r#"
            error: a.toml:4:8: missing key `mechanism` in `[kafka.sasl]`: How the agent proves who it is.
            error: a.toml:4:8: missing key `username` in `[kafka.sasl]`: The name to log in with.
            error: a.toml:4:8: missing key `password_file` (or `password_env`) in `[kafka.sasl]`
            error: a.toml:5:1: `password` is refused: this file is read by many and copied around; put the password into a file of mode 0600 and name it in `password_file`
            error: a.toml:7:1: `key_password` is refused: this file is read by many and copied around; put the password into a file of mode 0600 and name it in `key_password_file`"#]],
    );
}

#[test]
fn brokers_are_hosts_with_ports() {
    for (brokers, right) in [
        ("k", true),
        ("k:9092", true),
        (" a:1 , b.c-d:65535 ", true),
        ("[::1]:9092,[::1]", true),
        ("10.0.0.1:9092", true),
        ("", false),
        (",", false),
        ("k:", false),
        ("k:0", false),
        ("k:65536", false),
        ("k:+1", false),
        ("::1", false),
        ("[::1]9092", false),
        ("SSL://k:9092", false),
        ("k 9092", false),
    ] {
        let text = format!("[kafka]\nbrokers = '{brokers}'\n[[item]]\ninclude = ['/l']\ntopic = 't'\n");
        assert_eq!(read(text.as_bytes(), &Typed::default()).is_ok(), right, "{brokers}");
    }
    check(
        "[kafka]\nbrokers = 'k:9092;l:9092'\n[[item]]\ninclude = ['/l']\ntopic = 't'\n",
        expect![[
            r#"error: a.toml:2:1: `brokers` is "k:9092;l:9092", where "k:9092;l:9092" is ambiguous (write an IPv6 address in []); write host:port, separated by commas"#
        ]],
    );
}

#[test]
fn patterns_and_expressions_are_checked_where_they_stand() {
    check(
        "[kafka]\nbrokers = 'k'\n[[item]]\ninclude = [\n  '/l/*',\n  'l/*.log',\n  '/l/',\n]\n\
         exclude = ['a/b', '/l/[a']\ntopic = 't'\nmultiline = { start = '^(a' }\ninclude_lines = ['a', '[']\n\
         exclude_lines = ['(?P<x']\n",
        expect![[r#"
            error: a.toml:6:3: "l/*.log" is not an absolute path
            error: a.toml:7:3: "/l/" names a directory; name its files, like "/l/*.log"
            error: a.toml:9:12: "a/b" is not an absolute path
            error: a.toml:9:19: "/l/[a" holds a `[` without its `]`; write `\[` for the character itself
            error: a.toml:11:15: "^(a" is no valid regular expression: unclosed group
            error: a.toml:12:23: "[" is no valid regular expression: unclosed character class
            error: a.toml:13:18: "(?P<x" is no valid regular expression: unclosed capture group name"#]],
    );
}

#[test]
fn items_have_names_of_their_own() {
    let item = "[[item]]\ninclude = ['/l']\ntopic = 't'\n";
    check(
        &format!("[kafka]\nbrokers = 'k'\n{item}{item}"),
        expect![
            "error: a.toml:6:1: two items are named `t`; give each its own `name`, since positions are remembered under it"
        ],
    );
    check(&format!("[kafka]\nbrokers = 'k'\n{item}name = 'u'\n{item}"), expect!["accepted; 0 warnings"]);
    check(
        &with("", "", "name = 'a b'"),
        expect![[
            r#"error: a.toml:8:1: `name` is "a b"; allowed: 1 to 249 letters, digits, `.`, `_` and `-`"#
        ]],
    );
    check(
        "[kafka]\nbrokers = 'k'\n[[item]]\ninclude = ['/l']\ntopic = 'a/b'\n",
        expect![[
            r#"error: a.toml:5:1: `topic` is "a/b"; allowed: 1 to 249 letters, digits, `.`, `_` and `-`"#
        ]],
    );
}

#[test]
fn keys_that_contradict_each_other_are_refused() {
    check(
        &with("", "compression = 'none'\ncompression_level = 3\nbatch_bytes = '2MB'", ""),
        expect![[r#"
        error: a.toml:5:1: `compression_level` has no effect on none
        error: a.toml:6:1: `batch_bytes` (2000000) is more than `message_bytes_max` (1048588): brokers would refuse full batches"#]],
    );
    check(
        &with("", "compression = 'gzip'\ncompression_level = 10", ""),
        expect!["error: a.toml:5:1: `compression_level` is 10; allowed for gzip: 0 to 9"],
    );
    check(
        &with(
            "",
            "",
            "sticky_slice = '1s'\nchunk_bytes = 5000\nfields = { a = 'b' }\nkey = 'none'\npartition = 'key'",
        ),
        expect![[r#"
            error: a.toml:8:1: `sticky_slice` has no effect without `partition = "sticky"`
            error: a.toml:9:1: `chunk_bytes` has no effect without `framing = "chunk"`
            error: a.toml:10:1: `fields` has no effect without `format = "ecs"`
            error: a.toml:12:1: `partition = "key"` needs a key, but `key` is "none""#]],
    );
    check(
        &with("", "", "flush_after = '1s'\nmultiline = { start = 'a' }"),
        expect![
            "error: a.toml:8:1: `flush_after` and `multiline` exclude each other: write `flush_after` within `multiline`"
        ],
    );
    check(
        &with(
            "",
            "",
            "framing = 'chunk'\ncarriage_return = 'strip'\ninclude_lines = ['a']\nexclude_lines = ['b']\n\
             multiline = { start = 'c' }\nformat = 'ecs'",
        ),
        expect![[r#"
            error: a.toml:9:1: `carriage_return` works on lines, and `framing = "chunk"` sends spans of the file as they are; choose one
            error: a.toml:12:1: `multiline` works on lines, and `framing = "chunk"` sends spans of the file as they are; choose one
            error: a.toml:13:1: `format` works on lines, and `framing = "chunk"` sends spans of the file as they are; choose one"#]],
    );
    check(
        &with("", "", "format = 'ecs'\nfields = { message = 'b' }"),
        expect!["error: a.toml:9:12: `message` in `fields` is written by the agent itself"],
    );
}

#[test]
fn c02_a_legal_line_fits_into_a_record() {
    check(
        &with("", "", "line_bytes_max = '1MiB'"),
        expect![
            "error: a.toml:8:1: a line of `line_bytes_max` (1MiB) can become a record of 1081344 bytes (with key and headers), more than `message_bytes_max` in `[kafka]` (1048588); lower the one, or raise the other together with the brokers' message.max.bytes"
        ],
    );
    check(&with("", "message_bytes_max = '2MB'", "line_bytes_max = '1MiB'"), expect!["accepted; 0 warnings"]);
    check(
        &with("", "", "format = 'ecs'\nline_bytes_max = '1MB'"),
        expect![
            "error: a.toml:9:1: a line of `line_bytes_max` (1MB) can become a record of 6065536 bytes (as a JSON document, in which a byte can grow to six), more than `message_bytes_max` in `[kafka]` (1048588); lower the one, or raise the other together with the brokers' message.max.bytes"
        ],
    );
    check(&with("", "", "format = 'ecs'"), expect!["accepted; 0 warnings"]);
    check(
        &with("", "message_bytes_max = '20MB'", "line_bytes_max = '16MiB'\n[limits]\nin_flight = '32MiB'"),
        expect![
            "error: a.toml:10:1: `in_flight` must hold at least 4 of the longest lines (`line_bytes_max`), which need 16MiB each while they are read"
        ],
    );
}

#[test]
fn k24_properties_of_librdkafka_are_checked() {
    check(
        &with(
            "",
            "[kafka.options]\n'linger.ms' = 5\n'message.timeout.ms' = 1\n'sasl.password' = 'canary'\n'no.such' = 1\n\
             'socket.timeout.ms' = 'soon'\n'plugin.library.paths' = 'x'\n'opaque' = 'x'\n\
             'ssl.key.pem' = 'canary'\n'socket.keepalive.enable' = true\n",
            "",
        ),
        expect![[r#"
            error: a.toml:5:1: `linger.ms` is decided by `linger` in `[kafka]`; write it there
            error: a.toml:6:1: `message.timeout.ms` cannot be set: a record that expires is a record lost
            error: a.toml:7:1: `sasl.password` is a secret, which does not belong into this file; use a `..._file` key
            error: a.toml:8:1: librdkafka refuses `no.such`: No such configuration property: "no.such"
            error: a.toml:9:1: librdkafka refuses `socket.timeout.ms`: Invalid value for configuration property "socket.timeout.ms"
            error: a.toml:10:1: `plugin.library.paths` cannot be set: it would load foreign code into the agent
            error: a.toml:11:1: `opaque` cannot be set: the agent depends on how it is set
            error: a.toml:12:1: `ssl.key.pem` is a secret, which does not belong into this file; use a `..._file` key"#]],
    );
    check(
        &with("", "[kafka.options]\nsocket.timeout.ms = 5\n", ""),
        expect![[
            r#"error: a.toml:5:1: `socket` must be a string, not a table; a name with dots needs quotes: "socket.timeout.ms" = 10000"#
        ]],
    );
}

#[test]
fn k24_what_is_unwise_is_said() {
    let options = "options = { 'enable.ssl.certificate.verification' = false }";
    let text = with("", &format!("acks = 0\ncompression = 'none'\n{options}"), "");
    let warnings = read(text.as_bytes(), &Typed::default()).unwrap().warnings;
    expect![[r#"
        kafka.compression is none: logs usually shrink to a third with lz4
        kafka.acks is 0: what a broker does not take is lost without a word
        enable.ssl.certificate.verification = false: anybody can pretend to be a broker"#]]
    .assert_eq(&warnings.join("\n"));
}

#[test]
fn x01_only_loopback_may_listen() {
    for (listen, right) in [
        ("127.0.0.1:0", true),
        ("127.9.9.9:80", true),
        ("[::1]:9180", true),
        ("localhost:9180", true),
        ("off", true),
        ("0.0.0.0:9180", false),
        ("[::]:9180", false),
        ("[::ffff:127.0.0.1]:9180", false),
        ("10.0.0.1:9180", false),
        (":9180", false),
        ("127.0.0.1", false),
        ("", false),
    ] {
        let text = with("", "", &format!("[http]\nlisten = '{listen}'"));
        assert_eq!(read(text.as_bytes(), &Typed::default()).is_ok(), right, "{listen}");
    }
    check(
        &with("", "", "[http]\nlisten = '0.0.0.0:9180'"),
        expect![
            "error: a.toml:9:1: `listen` is 0.0.0.0:9180, which other hosts can reach; only loopback is allowed, since there is no login: put a proxy with TLS and login before it"
        ],
    );
    check(
        &with("", "", "[http]\nlisten = '9180'"),
        expect![[
            r#"error: a.toml:9:1: `listen` is "9180"; allowed: an address with a port like "127.0.0.1:9180", or "off""#
        ]],
    );
}

/// The text with the directory's name replaced, which differs from run to run.
fn secret_check(dir: &tempfile::TempDir, kafka: &str, expected: Expect) {
    let dir = dir.path().to_str().expect("a UTF-8 path");
    let shown = match read(with("", &kafka.replace("DIR", dir), "").as_bytes(), &Typed::default()) {
        Ok(plan) => format!("{:?}\n{:?}\n{:?}", plan.kafka.tls, plan.kafka.sasl, plan.warnings),
        Err(refused) => refused.to_string(),
    };
    assert!(!shown.contains("canary"), "{shown}");
    expected.assert_eq(&shown.replace(dir, "DIR"));
}

#[test]
fn g13_secrets_are_private_files_and_are_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    for (name, mode) in [("open", 0o644), ("group", 0o640), ("private", 0o600), ("pem", 0o600)] {
        std::fs::write(dir.path().join(name), "canary\n").unwrap();
        std::fs::set_permissions(dir.path().join(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let sasl = "[kafka.sasl]\nmechanism = 'PLAIN'\nusername = 'u'\n";
    secret_check(
        &dir,
        &format!("{sasl}password_file = 'DIR/open'"),
        expect![
            "error: a.toml:7:1: DIR/open holds a secret, but its mode 0644 lets others in; try: chmod 600 DIR/open"
        ],
    );
    secret_check(
        &dir,
        &format!("{sasl}password_file = 'DIR/group'"),
        expect![
            "error: a.toml:7:1: DIR/group holds a secret, but its mode 0640 lets others in; try: chmod 600 DIR/group"
        ],
    );
    secret_check(
        &dir,
        &format!("{sasl}password_file = 'DIR/absent'"),
        expect!["error: a.toml:7:1: cannot read DIR/absent: No such file or directory (os error 2)"],
    );
    secret_check(
        &dir,
        &format!("{sasl}password_file = 'private'"),
        expect!["error: a.toml:7:1: not an absolute path"],
    );
    secret_check(
        &dir,
        &format!("{sasl}password_file = 'DIR/private'"),
        expect![[r#"
        None
        Some(SaslPlan { mechanism: "PLAIN", username: "u", password: Secret(not shown) })
        ["[kafka.sasl] mechanism PLAIN without [kafka.tls]: the password crosses the network in the clear"]"#]],
    );
    secret_check(
        &dir,
        &format!("{sasl}password_env = 'LOGDRIVE_NO_SUCH_VARIABLE'"),
        expect!["error: a.toml:7:1: no variable of this name is set in the agent's environment"],
    );
    secret_check(
        &dir,
        &format!("{sasl}password_env = 'X'\npassword_file = 'DIR/private'"),
        expect!["error: a.toml:7:1: `password_file` and `password_env` cannot both hold the password"],
    );
    secret_check(
        &dir,
        sasl,
        expect!["error: a.toml:4:8: missing key `password_file` (or `password_env`) in `[kafka.sasl]`"],
    );
    secret_check(
        &dir,
        "[kafka.tls]\nca = 'DIR/absent'\ncert = 'DIR/pem'",
        expect![[r#"
        error: a.toml:5:1: cannot read DIR/absent: No such file or directory (os error 2)
        error: a.toml:6:1: `cert` has no effect without `key`"#]],
    );
    secret_check(
        &dir,
        "[kafka.tls]\ncert = 'DIR/open'\nkey = 'DIR/open'",
        expect![
            "error: a.toml:6:1: DIR/open holds a secret, but its mode 0644 lets others in; try: chmod 600 DIR/open"
        ],
    );
    secret_check(
        &dir,
        "[kafka.tls]\ncert = 'DIR/open'\nkey = 'DIR/pem'\nkey_password_file = 'DIR/private'",
        expect![[r#"
            Some(TlsPlan { ca: None, certificate: Some(Certificate { cert: "DIR/open", key: "DIR/pem", key_password: Some(Secret(not shown)) }) })
            None
            []"#]],
    );
}

#[test]
fn g13_a_file_that_others_can_write_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.toml");
    std::fs::write(&path, with("", "", "")).unwrap();
    let typed = Typed { config: Some(path.clone()), ..Typed::default() };
    for (mode, warnings) in [(0o644, 0), (0o664, 1), (0o646, 1)] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(load(&typed, &host()).unwrap().warnings.len(), warnings, "{mode:o}");
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    if std::os::unix::fs::chown(&path, Some(65_534), None).is_ok() {
        let warnings = load(&typed, &host()).unwrap().warnings;
        assert!(warnings[0].contains("belongs to user 65534"), "{warnings:?}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let typed = Typed { config: Some(PathBuf::from("/no/such\n/file.toml")), ..Typed::default() };
    expect![[r#"error: /no/such\n/file.toml: cannot read the configuration: No such file or directory (os error 2)"#]].assert_eq(&load(&typed, &host()).unwrap_err().to_string());
}

fn setting(flag: &str, path: &str, text: &str) -> Setting {
    Setting { flag: flag.to_owned(), path: path.to_owned(), text: text.to_owned() }
}

#[test]
fn typed_values_are_refused_in_the_same_words() {
    let mut shown = String::new();
    let brokers = setting("--brokers", "kafka.brokers", "k");
    let only = |settings: Vec<Setting>| Typed { settings, ..Typed::default() };
    let item = Typed { include: vec!["/l".into()], topic: Some("t".into()), ..Typed::default() };
    for typed in [
        Typed::default(),
        only(vec![brokers.clone()]),
        Typed { topic: Some("t".into()), exclude: vec!["a".into()], ..only(vec![brokers.clone()]) },
        Typed { include: vec!["/l".into()], ..only(vec![brokers.clone()]) },
        Typed { include: vec!["/l/[".into()], settings: vec![brokers.clone()], ..item.clone() },
        Typed { topic: Some("a b".into()), settings: vec![brokers.clone()], ..item.clone() },
        item.clone(),
        Typed {
            settings: vec![
                brokers,
                setting("--acks", "kafka.acks", "most"),
                setting("--set kafka.lingr", "kafka.lingr", "1"),
                setting("--set kafka.linger", "kafka.linger", "5"),
                setting("--set kafka.producers", "kafka.producers", "many"),
                setting("--set item.headers", "item.headers", "maybe"),
                setting("--set item.fields", "item.fields", "{a = 1}"),
            ],
            ..item
        },
    ] {
        let refused = plan_of("command line", None, &typed, &host()).unwrap_err();
        shown += &format!("{refused}\n\n");
    }
    expect![[r#"
        error: command line: nothing to do; name a file with --config, or give --include, --topic and --brokers

        error: command line: no `[[item]]`: an item says which files to read (`include`) and where to send them (`topic`)

        error: command line: no `[[item]]`: an item says which files to read (`include`) and where to send them (`topic`)
        error: --exclude: needs --include: from which files shall these be left out?
        error: --topic: needs --include: which files shall go to this topic?

        error: command line: no `[[item]]`: an item says which files to read (`include`) and where to send them (`topic`)
        error: --include: needs --topic: where shall these files go?

        error: --include: "/l/[" holds a `[` without its `]`; write `\[` for the character itself

        error: --topic: `topic` is "a b"; allowed: 1 to 249 letters, digits, `.`, `_` and `-`

        error: command line: missing key `brokers` in `[kafka]`: The brokers to ask first, as `host:port`, separated by commas.

        error: --acks: `acks` is "most"; allowed: all, 1, 0
        error: --set item.fields: `a` must be a string, not an integer
        error: --set item.headers: `headers` must be a boolean, not a string
        error: --set kafka.linger: `linger`: "5" needs a unit, like "5ms" or "5s"
        error: --set kafka.lingr: unknown key `kafka.lingr` (did you mean `kafka.linger`?)
        error: --set kafka.producers: `producers` is "many"; allowed: whole number, 1 to 16

    "#]].assert_eq(&shown);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes, &Typed::default()).map_err(|refused| refused.to_string());
    }

    /// Pieces of the language, so that more than the first byte is understood.
    #[test]
    fn no_text_panics(pieces in proptest::collection::vec(proptest::sample::select(vec![
        "[", "]", "[[", "]]", "{", "}", "=", "\n", "\n", ",", ".", "'", "\"", "kafka", "item", "brokers", "tls",
        "sasl", "include", "multiline", "start", "fields", "options", "partition", "linger", "headers", "'5ms'",
        "['/l/*']", "'/l'", "-1", "1", "1e9", "true", "1979-05-27", "\\", "\u{feff}", "\u{fc}", "0x10",
        "99999999999999999999", " ",
    ]), 0..40)) {
        let text = pieces.concat();
        if let Err(refused) = read(text.as_bytes(), &Typed::default()) {
            let shown = refused.to_string();
            prop_assert!(shown.lines().all(|line| line.starts_with("error: a.toml:")), "{}", shown);
        }
    }

    #[test]
    fn no_typed_text_panics(path in proptest::sample::select(
        logdrive::config::keys::KEYS.iter().map(|key| key.path).collect::<Vec<_>>()
    ), text in ".{0,12}") {
        let typed = Typed {
            include: vec!["/l".into()],
            topic: Some("t".into()),
            settings: vec![setting("--set", path, &text)],
            ..Typed::default()
        };
        let _ = plan_of("command line", None, &typed, &host());
    }
}

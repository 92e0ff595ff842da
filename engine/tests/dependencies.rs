//! Holds the dependencies against `deny.toml`, and native code against `docs/dependencies.md`.
//!
//! Not a second cargo-deny: it reads no licence texts and knows no advisories, which `scripts/dependencies` asks
//! cargo-deny for. It is what of X15 can be checked in every test run, in a second and without a network.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

#[derive(Clone, Debug, Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    /// `None` for the members of the workspace.
    source: Option<String>,
    /// The native library that it links.
    links: Option<String>,
    manifest_path: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Rules {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Debug, Deserialize)]
struct Licenses {
    allow: Vec<String>,
    exceptions: Vec<Exception>,
}

#[derive(Debug, Deserialize)]
struct Exception {
    #[serde(rename = "crate")]
    name: String,
    allow: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Bans {
    skip: Vec<Named>,
    deny: Vec<Named>,
}

/// `name`, `name@version` or `name@<version`.
#[derive(Debug, Deserialize)]
struct Named {
    #[serde(rename = "crate")]
    spec: String,
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn rules() -> Rules {
    toml::from_str(&fs::read_to_string(workspace().join("deny.toml")).unwrap()).unwrap()
}

/// Everything that a build or a test on Linux needs, with every feature.
fn packages() -> Vec<Package> {
    let options = ["metadata", "--locked", "--all-features", "--format-version", "1"];
    let target = ["--filter-platform", "x86_64-unknown-linux-gnu"];
    let output = Command::new(env!("CARGO")).args(options).args(target).current_dir(workspace()).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice::<Metadata>(&output.stdout).unwrap().packages
}

/// Numbers of a version, without what may stand behind them.
fn numbers(version: &str) -> Vec<u64> {
    let plain = version.split(['+', '-']).next().unwrap_or_default();
    plain.split('.').map(|number| number.parse().unwrap()).collect()
}

impl Named {
    fn means(&self, package: &Package) -> bool {
        let (name, wanted) = self.spec.split_once('@').unwrap_or((&self.spec, ""));
        let version = numbers(&package.version);
        package.name == name
            && match wanted.strip_prefix('<') {
                Some(bound) => version < numbers(bound),
                None if wanted.is_empty() => true,
                None => version.starts_with(&numbers(wanted)),
            }
    }
}

/// Whether an SPDX expression can be met with these licences. `OR` binds less than `AND`; a `/` is an old `OR`.
fn is_met(expression: &str, allowed: &[&str]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let met = any_of(&words, &mut at, allowed);
    assert_eq!(at, words.len(), "no licence expression: {expression}");
    met
}

fn any_of(words: &[&str], at: &mut usize, allowed: &[&str]) -> bool {
    let mut met = all_of(words, at, allowed);
    while words.get(*at).is_some_and(|word| word.eq_ignore_ascii_case("or")) {
        *at += 1;
        met |= all_of(words, at, allowed);
    }
    met
}

fn all_of(words: &[&str], at: &mut usize, allowed: &[&str]) -> bool {
    let mut met = one(words, at, allowed);
    while words.get(*at).is_some_and(|word| word.eq_ignore_ascii_case("and")) {
        *at += 1;
        met &= one(words, at, allowed);
    }
    met
}

fn one(words: &[&str], at: &mut usize, allowed: &[&str]) -> bool {
    let word = words[*at];
    *at += 1;
    if word == "(" {
        let met = any_of(words, at, allowed);
        assert_eq!(words[*at], ")");
        *at += 1;
        return met;
    }
    if words.get(*at) == Some(&"WITH") {
        // A licence with an exception is one of its own.
        *at += 2;
        return allowed.contains(&&words[*at - 3..*at].join(" ")[..]);
    }
    allowed.contains(&word)
}

/// What the rules have against these packages.
fn wrongs(packages: &[Package], rules: &Rules) -> Vec<String> {
    let mut wrongs = Vec::new();
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in packages {
        let Package { name, version, license, source, .. } = package;
        let allowed = &rules.licenses.allow;
        let more = rules.licenses.exceptions.iter().filter(|more| more.name == *name);
        let allowed: Vec<&str> =
            allowed.iter().chain(more.flat_map(|more| &more.allow)).map(|word| &word[..]).collect();
        match license {
            None => wrongs.push(format!("{name} names no licence")),
            Some(text) if !is_met(text, &allowed) => wrongs.push(format!("{name} is under {text}")),
            Some(_) => {}
        }
        if let Some(source) = source.as_deref().filter(|source| !source.ends_with("/crates.io-index")) {
            wrongs.push(format!("{name} comes from {source}"));
        }
        if rules.bans.deny.iter().any(|ban| ban.means(package)) {
            wrongs.push(format!("{name} {version} is banned"));
        }
        if !rules.bans.skip.iter().any(|skip| skip.means(package)) {
            versions.entry(name).or_default().insert(version);
        }
    }
    let twice = versions.into_iter().filter(|(_, versions)| versions.len() > 1);
    wrongs.extend(twice.map(|(name, versions)| format!("{name} is there as {versions:?}")));
    wrongs
}

#[test]
fn x15_every_dependency_is_allowed_by_its_licence_source_and_version() {
    let (packages, rules) = (packages(), rules());
    assert!(packages.len() > 100, "{} packages", packages.len());
    assert_eq!(
        wrongs(&packages, &rules),
        [""; 0],
        "deny.toml says what is allowed, and how to make an exception"
    );
    for skip in rules.bans.skip.iter() {
        let is_there = packages.iter().any(|package| skip.means(package));
        assert!(is_there, "{} is no longer there: its line in deny.toml can go", skip.spec);
    }
}

#[test]
fn x15_a_dependency_that_is_not_allowed_is_found() {
    let rules = rules();
    let good = packages().into_iter().find(|package| package.name == "memchr").unwrap();
    let with = |change: &dyn Fn(&mut Package)| {
        let mut package = good.clone();
        change(&mut package);
        wrongs(&[good.clone(), package], &rules)
    };
    let licensed = |text: &str| with(&|package| package.license = Some(text.to_owned()));
    assert_eq!(with(&|_| {}), [""; 0]);
    assert_eq!(licensed("GPL-3.0-only"), ["memchr is under GPL-3.0-only"]);
    assert_eq!(licensed("MIT AND GPL-2.0"), ["memchr is under MIT AND GPL-2.0"]);
    assert_eq!(
        licensed("MIT AND NCSA"),
        ["memchr is under MIT AND NCSA"],
        "an exception is for its crate alone"
    );
    assert_eq!(licensed("GPL-2.0 OR (MIT AND Zlib)"), [""; 0]);
    assert_eq!(licensed("GPL-2.0/MIT"), [""; 0]);
    assert_eq!(licensed("Apache-2.0 WITH LLVM-exception").len(), 1);
    assert_eq!(with(&|package| package.license = None), ["memchr names no licence"]);
    let git = with(&|package| package.source = Some("git+https://localhost/memchr".to_owned()));
    assert_eq!(git, ["memchr comes from git+https://localhost/memchr"]);
    let older = with(&|package| package.version = "0.1.0".to_owned());
    assert_eq!(older.len(), 1, "{older:?}");
    let named = |name: &str, version: &str| {
        with(&|package| (package.name, package.version) = (name.to_owned(), version.to_owned()))
    };
    assert_eq!(named("openssl-src", "300.0.1+3.5.0"), ["openssl-src 300.0.1+3.5.0 is banned"]);
    assert_eq!(named("lz4_flex", "0.11.5"), ["lz4_flex 0.11.5 is banned"]);
    assert_eq!(named("lz4_flex", "0.12.1"), [""; 0]);
}

#[test]
fn x15_every_crate_of_the_registry_has_a_checksum() {
    let lock: toml::Table =
        toml::from_str(&fs::read_to_string(workspace().join("Cargo.lock")).unwrap()).unwrap();
    for package in lock["package"].as_array().unwrap() {
        let source = package.get("source").and_then(toml::Value::as_str);
        let checksum = package.get("checksum").and_then(toml::Value::as_str);
        assert_eq!(source.is_some(), checksum.is_some_and(|sum| sum.len() == 64), "{package}");
        assert!(source.is_none_or(|source| source.starts_with("registry+")), "{package}");
    }
}

/// The table of `docs/dependencies.md`: crate, version, what it brings.
fn native_code() -> BTreeMap<String, (String, String)> {
    let document = fs::read_to_string(workspace().join("docs/dependencies.md")).unwrap();
    let rows = document.lines().filter(|line| line.starts_with("| `"));
    rows.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        (cells[0].trim_matches('`').to_owned(), (cells[1].to_owned(), cells[2].to_owned()))
    })
    .collect()
}

#[test]
fn x15_native_code_is_what_is_listed() {
    let packages = packages();
    let linking = packages.iter().filter(|package| package.links.is_some());
    let found: BTreeMap<_, _> =
        linking.map(|package| (package.name.clone(), package.version.clone())).collect();
    let listed = native_code();
    let versions = listed.iter().map(|(name, (version, _))| (name.clone(), version.clone())).collect();
    assert_eq!(found, versions, "docs/dependencies.md has a line for each crate that links native code");

    let header = |name: &str, path: &str| {
        let package = packages.iter().find(|package| package.name == name).unwrap();
        fs::read_to_string(package.manifest_path.with_file_name(path)).unwrap()
    };
    let number = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.contains(&format!("define {name} "))).unwrap();
        line.split_whitespace().nth(2).unwrap().trim_matches('"').to_owned()
    };
    let brings = |name: &str, what: String| {
        assert!(listed[name].1.contains(&what), "{name} brings {what}, and {:?} is listed", listed[name].1);
    };
    let lz4 = header("rdkafka-sys", "librdkafka/src/lz4.h");
    let part = |name| number(&lz4, &format!("LZ4_VERSION_{name}"));
    brings("rdkafka-sys", format!("lz4 {}.{}.{}", part("MAJOR"), part("MINOR"), part("RELEASE")));
    brings("libz-sys", format!("zlib {}", number(&header("libz-sys", "src/zlib/zlib.h"), "ZLIB_VERSION")));
}

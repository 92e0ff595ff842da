//! Carries one setting after the other into the draft, and keeps the report of it.
//!
//! It knows what a text, a duration or a list is in the foreign formats, and nothing of any product: which key becomes
//! which stands in the modules of the products.

use std::time::Duration;

use super::draft::Section;
use super::pattern;
use super::references::{References, Resolved};
use super::report::{Fate, Report};
use super::tree::{Node, Value};
use crate::config::{check_exclude, check_include, units};

/// Words that give away that a value is a secret, whatever it is called in full.
const SECRET_WORDS: [&str; 7] =
    ["password", "passphrase", "passwd", "secret", "token", "api_key", "credential"];

/// How a key or certificate begins that stands in a file itself.
const PEM: &str = "-----BEGIN";

/// Whether what stands under this name may be a secret.
pub(super) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('-', "_");
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// An import in progress.
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) report: Report,
    pub(super) references: References,
}

impl Transfer {
    /// Says what became of a setting.
    pub(super) fn note(&mut self, node: &Node, fate: Fate, text: &str) {
        self.report.add(&node.at, fate, format!("`{}`: {text}", node.name));
    }

    /// Takes settings that are not carried over for reasons known beforehand.
    pub(super) fn leave(&mut self, table: &Node, reasons: &[(&str, &str)]) {
        for (path, why) in reasons {
            if let Some(node) = table.take(path) {
                self.note(node, Fate::Left, why);
            }
        }
    }

    /// Reports everything that nobody has taken.
    pub(super) fn leave_rest(&mut self, tree: &Node) {
        for node in tree.untaken() {
            if !matches!(node.value, Value::Nothing) {
                self.note(node, Fate::Left, "the import knows no counterpart");
            }
        }
    }

    /// The text of a scalar, with references resolved.
    pub(super) fn text(&mut self, node: &Node) -> Option<String> {
        let Some(text) = node.text() else {
            let is_empty = matches!(node.value, Value::Nothing);
            self.note(node, Fate::Left, if is_empty { "it is empty" } else { "a single value is expected" });
            return None;
        };
        if text.contains(PEM) {
            self.note(node, Fate::Left, "a key or certificate stands here itself, and is not copied");
            return None;
        }
        match self.references.resolve(text) {
            Ok(Resolved { text, defaults }) => {
                for name in defaults {
                    let what = format!(
                        "for the variable {name} its default is taken, whatever the service is given"
                    );
                    self.note(node, Fate::Changed, &what);
                }
                Some(text)
            }
            Err(name) => {
                let what = format!(
                    "the variable {name} is not set in the file, and the import reads no environment"
                );
                self.note(node, Fate::Left, &what);
                None
            }
        }
    }

    /// The texts of a list; those that cannot be known are reported and missing.
    pub(super) fn texts(&mut self, node: &Node) -> Vec<String> {
        node.elements().iter().filter_map(|element| self.text(&element.named(&node.name))).collect()
    }

    /// The texts of a list, or of one text with commas between them.
    pub(super) fn texts_with_commas(&mut self, node: &Node) -> Vec<String> {
        let texts = self.texts(node);
        let parts = texts.iter().flat_map(|text| text.split(','));
        parts.map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
    }

    /// Sets a key of ours, with the same meaning or, where a change is named, with another one.
    pub(super) fn set(
        &mut self,
        to: &mut Section,
        path: &'static str,
        node: &Node,
        value: impl Into<toml::Value>,
        change: Option<&str>,
    ) {
        let value = value.into();
        let shown = path.strip_prefix("item.").unwrap_or(path);
        match to.set(path, value.clone()) {
            Err(why) => self.note(node, Fate::Left, &why),
            Ok(()) => match change {
                None => self.note(node, Fate::Carried, &format!("-> {shown}")),
                Some(change) => self.note(node, Fate::Changed, &format!("-> {shown} = {value}: {change}")),
            },
        }
    }

    /// A text as it is.
    pub(super) fn plain(&mut self, table: &Node, from: &str, to: &mut Section, path: &'static str) {
        if let Some(node) = table.take(from)
            && let Some(text) = self.text(node)
        {
            self.set(to, path, node, text, None);
        }
    }

    /// A text that is one of some words, with our word for each.
    pub(super) fn word(
        &mut self,
        table: &Node,
        from: &str,
        to: &mut Section,
        path: &'static str,
        words: &[(&str, &str)],
    ) {
        let Some(node) = table.take(from) else { return };
        let Some(text) = self.text(node) else { return };
        match words.iter().find(|(theirs, _)| theirs.eq_ignore_ascii_case(&text)) {
            Some((_, ours)) => self.set(to, path, node, *ours, None),
            None => self.note(node, Fate::Left, &format!("{text:?} has no counterpart")),
        }
    }

    /// A whole number.
    pub(super) fn count(&mut self, table: &Node, from: &str, to: &mut Section, path: &'static str) {
        let Some(node) = table.take(from) else { return };
        let Some(text) = self.text(node) else { return };
        match text.parse::<i64>() {
            Ok(count) => self.set(to, path, node, count, None),
            Err(_) => self.note(node, Fate::Left, &format!("{text:?} is no whole number")),
        }
    }

    /// A duration; a number without a unit has `bare`. Zero means without limit to all three, and is our default.
    pub(super) fn duration(
        &mut self,
        table: &Node,
        from: &str,
        to: &mut Section,
        path: &'static str,
        bare: Duration,
    ) {
        let Some(node) = table.take(from) else { return };
        let Some(text) = self.text(node) else { return };
        match duration_of(&text, bare) {
            None => self.note(node, Fate::Left, &format!("{text:?} is no duration")),
            Some(Duration::ZERO) => self.note(node, Fate::Carried, "off, as it is here without a key"),
            Some(duration) => self.set(to, path, node, units::duration(duration), None),
        }
    }

    /// A size in bytes.
    pub(super) fn size(&mut self, node: &Node) -> Option<u64> {
        let text = self.text(node)?;
        let size = size_of(&text);
        if size.is_none() {
            self.note(node, Fate::Left, &format!("{text:?} is no size"));
        }
        size
    }

    /// Globs of files to read or to leave out; what is none here is reported, and the others are carried over.
    pub(super) fn globs(&mut self, node: &Node, to: &mut Section, path: &'static str, globs: Vec<String>) {
        let check = if path == "item.include" { check_include } else { check_exclude };
        let (good, bad): (Vec<_>, Vec<_>) =
            globs.into_iter().map(|glob| (check(&glob), glob)).partition(|(ok, _)| ok.is_ok());
        for (why, _) in bad {
            self.note(node, Fate::Left, &why.expect_err("partitioned by it"));
        }
        let globs: Vec<String> = good.into_iter().map(|(_, glob)| glob).collect();
        if !globs.is_empty() {
            self.set(to, path, node, globs, None);
        }
    }

    /// Expressions for lines that are sent, or not.
    pub(super) fn regexes(&mut self, table: &Node, from: &str, to: &mut Section, path: &'static str) {
        let Some(node) = table.take(from) else { return };
        let mut good = Vec::new();
        for text in self.texts(node) {
            match pattern::check_regex(&text) {
                Ok(()) => good.push(text),
                Err(why) => self.note(node, Fate::Left, &format!("{text:?} is {why}")),
            }
        }
        if !good.is_empty() {
            self.set(to, path, node, good, None);
        }
    }

    /// The expression of lines that begin an event.
    pub(super) fn multiline_start(
        &mut self,
        node: &Node,
        to: &mut Section,
        regex: &str,
        change: Option<&str>,
    ) {
        if to.has("item.container") {
            return self.note(node, Fate::Left, "lines that are unwrapped are not joined by a pattern");
        }
        match pattern::check_regex(regex) {
            Ok(()) => self.set(to, "item.multiline.start", node, regex, change),
            Err(why) => self.note(node, Fate::Left, &format!("{regex:?} is {why}")),
        }
    }

    /// A secret is never copied: it has to be put where our key says.
    pub(super) fn secret(&mut self, node: &Node, to: &mut Section, path: &'static str, file: &str) {
        if to.set(path, file).is_ok() {
            let what = format!(
                "a secret, and not copied: put it into {file} (mode 0600, owned by the agent's user)"
            );
            self.note(node, Fate::ToDo, &what);
        }
    }

    /// A file of certificates or keys. What stands there itself has to be put into one; it is not shown.
    pub(super) fn tls_file(&mut self, node: &Node, to: &mut Section, path: &'static str) {
        let file = match path {
            "kafka.tls.ca" => "/etc/logdrive/kafka.ca.pem",
            "kafka.tls.cert" => "/etc/logdrive/kafka.pem",
            _ => "/etc/logdrive/kafka.key",
        };
        if node.text().is_some_and(|text| text.contains(PEM)) && to.set(path, file).is_ok() {
            self.note(
                node,
                Fate::ToDo,
                &format!("it stands here itself, and is not copied: put it into {file}"),
            );
            return;
        }
        match self.text(node) {
            Some(text) if text.starts_with('/') => self.set(to, path, node, text, None),
            Some(_) => self.note(node, Fate::Left, &format!("no absolute path: name one as {path}")),
            None => {}
        }
    }

    /// The longest line.
    pub(super) fn line_bytes_max(&mut self, table: &Node, from: &str, to: &mut Section) {
        let Some(node) = table.take(from) else { return };
        let Some(bytes) = self.size(node) else { return };
        self.set(to, "item.line_bytes_max", node, i64::try_from(bytes).unwrap_or(i64::MAX), None);
    }
}

/// `10`, `10s`, `1h30m`, `1.5h`, as Go, Fluent Bit and Vector write durations.
pub(super) fn duration_of(text: &str, bare: Duration) -> Option<Duration> {
    if let Ok(number) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(number * bare.as_secs_f64()).ok();
    }
    let scaled = |unit: &str, seconds: f64| {
        let number = text.strip_suffix(unit)?.parse::<f64>().ok()?;
        Duration::try_from_secs_f64(number * seconds).ok()
    };
    units::parse_duration(text)
        .ok()
        .or_else(|| scaled("ms", 0.001))
        .or_else(|| scaled("h", 3600.0))
        .or_else(|| scaled("m", 60.0))
        .or_else(|| scaled("s", 1.0))
}

/// `4096`, `32k`, `5MB`, `10MiB`: our units, and single letters, which are decimal.
fn size_of(text: &str) -> Option<u64> {
    let letters = text.trim_start_matches(|c: char| c.is_ascii_digit()).trim();
    let decimal = match &letters.to_ascii_uppercase()[..] {
        "K" | "KB" => "kB",
        "M" | "MB" => "MB",
        "G" | "GB" => "GB",
        _ => letters,
    };
    units::parse_size(&format!("{}{decimal}", &text[..text.len() - letters.len()])).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_of_others_are_read() {
        let seconds = |text| duration_of(text, Duration::from_secs(1)).map(|duration| duration.as_secs_f64());
        for (text, expected) in [
            ("10", Some(10.0)),
            ("0", Some(0.0)),
            ("1.5", Some(1.5)),
            ("1.5h", Some(5400.0)),
            ("1h30m", Some(5400.0)),
            ("250ms", Some(0.25)),
            ("2d", Some(172_800.0)),
            ("-1", None),
            ("soon", None),
            ("1e999", None),
            ("nan", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
        for (text, expected) in [
            ("4096", Some(4096)),
            ("32k", Some(32_000)),
            ("5MB", Some(5_000_000)),
            ("5 M", Some(5_000_000)),
            ("10MiB", Some(10 << 20)),
            ("x", None),
            ("", None),
            ("5X", None),
        ] {
            assert_eq!(size_of(text), expected, "{text}");
        }
    }

    #[test]
    fn names_of_secrets_are_known() {
        for name in ["password", "key_passphrase", "API-Key", "sasl.oauthbearer.client.secret", "authToken"] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["username", "key", "ca_file", "topic"] {
            assert!(!is_secret(name), "{name}");
        }
    }
}

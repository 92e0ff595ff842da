//! What the files hold: text in an encoding of its own, or the lines of a container runtime.
//!
//! The names of encodings are many: each product has its own beside those of the Encoding Standard, which are ours.

use logdrive_core::frame::{Charset, NoCharset};

use super::draft::Section;
use super::report::Fate;
use super::transfer::Transfer;
use super::tree::Node;

/// Names of others, in small letters, and ours.
const ENCODINGS: &[(&str, &str)] = &[
    ("utf-16-bom", "utf-16"),
    ("utf-16le-bom", "utf-16"),
    ("utf-16be-bom", "utf-16"),
    ("shift-jis", "shift_jis"),
    ("shiftjis", "shift_jis"),
    ("cp932", "shift_jis"),
    ("windows-31j", "shift_jis"),
    ("cp936", "gbk"),
    ("windows-936", "gbk"),
    ("cp54936", "gb18030"),
    ("uhc", "euc-kr"),
    ("cp949", "euc-kr"),
    ("cp950", "big5"),
    ("windows-950", "big5"),
    ("koi8r", "koi8-r"),
    ("koi8u", "koi8-u"),
    ("macintosh-cyrillic", "x-mac-cyrillic"),
    ("iso8859-6e", "iso-8859-6-e"),
    ("iso8859-6i", "iso-8859-6-i"),
    ("iso8859-8e", "iso-8859-8-e"),
    ("iso8859-8i", "iso-8859-8-i"),
    ("iso8859-16", "iso-8859-16"),
    ("win866", "ibm866"),
    ("win874", "windows-874"),
];

/// Our name of an encoding.
fn encoding_of(written: &str) -> Result<String, NoCharset> {
    let name = written.to_ascii_lowercase();
    let known = ENCODINGS.iter().find(|(theirs, _)| *theirs == name).map(|(_, ours)| (*ours).to_owned());
    // `windows1252` and `Win1252`.
    let page = name.strip_prefix("windows").or_else(|| name.strip_prefix("win"));
    let page = page.filter(|page| page.len() == 4 && page.starts_with("125"));
    let ours = known.or_else(|| page.map(|page| format!("windows-{page}"))).unwrap_or(name);
    Charset::named(&ours).map(|_| ours)
}

/// Which runtime writes the files of an item, as far as their paths say.
fn runtime_of(item: &Section) -> &'static str {
    let include = item.value("item.include").and_then(toml::Value::as_array);
    let paths = include.into_iter().flatten().filter_map(toml::Value::as_str);
    let is_docker = |path: &str| path.contains("/docker/containers/");
    if paths.clone().count() > 0 && paths.into_iter().all(is_docker) { "docker" } else { "cri" }
}

impl Transfer {
    /// The encoding of the files, if `node` says one.
    pub(super) fn encoding(&mut self, node: &Node, to: &mut Section) {
        let Some(text) = self.text(node) else { return };
        match encoding_of(&text) {
            _ if ["plain", "nop", ""].contains(&&*text.to_ascii_lowercase()) => {
                self.note(node, Fate::Carried, "the bytes are sent as they are, as here without a key");
            }
            _ if to.has("item.container") => {
                self.note(node, Fate::Left, "the lines of container runtimes are UTF-8");
            }
            Ok(ours) => {
                let is_same = ours.eq_ignore_ascii_case(&text);
                let change = (!is_same).then_some("which is its name here");
                self.set(to, "item.encoding", node, ours, change);
            }
            Err(NoCharset::Unknown) => {
                let what = format!(
                    "{text:?} is none of the encodings that are known here, those of the Encoding Standard"
                );
                self.note(node, Fate::Left, &what);
            }
            Err(NoCharset::Stateful) => {
                let what =
                    format!("{text:?} cannot be read on from the middle of a file, as after a restart");
                self.note(node, Fate::Left, &what);
            }
        }
    }

    /// The files are those of this container runtime.
    pub(super) fn container(&mut self, node: &Node, to: &mut Section, runtime: &str) {
        self.set(to, "item.container", node, runtime, None);
    }

    /// The files are those of a container runtime, which there is recognised by each line.
    pub(super) fn any_container(&mut self, node: &Node, to: &mut Section) {
        let runtime = runtime_of(to);
        let change = "here an item has one runtime; if \"docker\" writes the files, write that";
        self.set(to, "item.container", node, runtime, (runtime != "docker").then_some(change));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_others_are_found() {
        for (_, ours) in ENCODINGS {
            assert!(Charset::named(ours).is_ok(), "{ours}");
        }
        for (written, ours) in [
            ("utf-16le", "utf-16le"),
            ("UTF-16LE", "utf-16le"),
            ("gb18030", "gb18030"),
            ("windows1252", "windows-1252"),
            ("Win1251", "windows-1251"),
            ("CP1250", "cp1250"),
            ("iso8859-2", "iso8859-2"),
            ("ShiftJIS", "shift_jis"),
        ] {
            assert_eq!(encoding_of(written).as_deref(), Ok(ours), "{written}");
        }
        for unknown in ["cp437", "ebcdic-037", "auto", "windows9999", "win12"] {
            assert_eq!(encoding_of(unknown), Err(NoCharset::Unknown), "{unknown}");
        }
        assert_eq!(encoding_of("hz-gb-2312"), Err(NoCharset::Stateful));
    }
}

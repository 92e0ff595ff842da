//! Names: under which paths the generations are known, and which items have been seen before.
//!
//! Losing it costs no line. A generation without a name is shown by its number, and when the catalog is
//! lost while positions exist, every item counts as seen, so that `read_from = "end"` does not skip
//! what was written while the agent was down.

use std::collections::BTreeMap;

use logdrive_core::source::GenerationId;
use serde::{Deserialize, Serialize};

/// The version that this program writes and the newest that it reads.
pub(super) const VERSION: u32 = 1;

/// The paths of one generation, lossy where they are not UTF-8.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Names {
    /// Where it was first found: what its records are keyed and partitioned by.
    pub origin: String,
    /// Where it was found last.
    pub current: String,
}

/// An item that has been collected at least once.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Seen {
    /// Wall clock of the first time, milliseconds since the epoch.
    pub first_seen_ms: i64,
    /// The first sight lasts: where its files begin, whose `read_from` is a time, is not known of all. Not written once
    /// it is over, so that older versions read the file.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub deciding: bool,
}

/// How long the first sight of an item lasts.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Sight {
    /// Until it is asked for: what is decided depends on the moment, and must not be decided again.
    Once,
    /// Until [`super::StateStore::seen`]: what is decided does not depend on when, so that a process that follows one
    /// that was killed may go on with it.
    Lasting,
}

/// The content of `catalog.json`.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub struct Catalog {
    /// Items by name. An item stays here for good: its name is small, and forgetting it would skip lines.
    pub items: BTreeMap<String, Seen>,
    /// Paths by generation.
    pub names: BTreeMap<u64, Names>,
    /// The file was lost while positions exist: items that are not listed count as seen too.
    pub assume_seen: bool,
}

/// As stored: generations are hexadecimal, as they are shown everywhere else.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    /// crc32c of `items` and `names` in compact form: a flipped bit in the name of an item would let
    /// `read_from = "end"` skip lines.
    crc32c: String,
    items: BTreeMap<String, Seen>,
    names: BTreeMap<String, Names>,
}

impl Stored {
    fn sum(&self) -> String {
        let body = serde_json::to_vec(&(&self.items, &self.names)).expect(SERIALISES);
        format!("{:08x}", crc32c::crc32c(&body))
    }
}

const SERIALISES: &str = "strings and numbers always serialise";

/// Why a catalog cannot be read.
#[derive(Clone, Eq, PartialEq, Debug)]
pub(super) enum Unreadable {
    Newer(u32),
    Damaged(String),
}

impl Catalog {
    /// When the item was first seen, if that is now or its first sight lasts; notes it. And whether that is news.
    pub(super) fn first_sight(&mut self, item: &str, sight: Sight, wall_ms: i64) -> (Option<i64>, bool) {
        match self.items.get(item).copied() {
            Some(seen) if seen.deciding && sight == Sight::Lasting => (Some(seen.first_seen_ms), false),
            Some(_) => (None, self.seen(item)),
            None => {
                let deciding = sight == Sight::Lasting && !self.assume_seen;
                self.items.insert(item.to_owned(), Seen { first_seen_ms: wall_ms, deciding });
                ((!self.assume_seen).then_some(wall_ms), true)
            }
        }
    }

    /// Ends the first sight of an item. Whether it lasted until now.
    pub(super) fn seen(&mut self, item: &str) -> bool {
        self.items.get_mut(item).is_some_and(|seen| core::mem::take(&mut seen.deciding))
    }

    /// Notes where a generation is found; its first path stays its origin. Whether that is news.
    pub(super) fn name(&mut self, generation: GenerationId, path: &str) -> bool {
        match self.names.get_mut(&generation.0) {
            Some(names) if names.current == path => false,
            Some(names) => {
                path.clone_into(&mut names.current);
                true
            }
            None => {
                let names = Names { origin: path.to_owned(), current: path.to_owned() };
                self.names.insert(generation.0, names);
                true
            }
        }
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        let names = self.names.iter().map(|(id, names)| (format!("{id:016x}"), names.clone())).collect();
        let mut stored = Stored { version: VERSION, crc32c: String::new(), items: self.items.clone(), names };
        stored.crc32c = stored.sum();
        let mut json = serde_json::to_vec_pretty(&stored).expect(SERIALISES);
        json.push(b'\n');
        json
    }

    pub(super) fn of_json(json: &[u8]) -> Result<Catalog, Unreadable> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let damaged = |error: serde_json::Error| Unreadable::Damaged(error.to_string());
        let Version { version } = serde_json::from_slice(json).map_err(damaged)?;
        if version > VERSION {
            return Err(Unreadable::Newer(version));
        }
        let stored: Stored = serde_json::from_slice(json).map_err(damaged)?;
        if stored.sum() != stored.crc32c {
            return Err(Unreadable::Damaged("its checksum does not fit".to_owned()));
        }
        let mut names = BTreeMap::new();
        for (id, value) in stored.names {
            let number = u64::from_str_radix(&id, 16)
                .map_err(|_| Unreadable::Damaged(format!("`{id}` is no generation")))?;
            names.insert(number, value);
        }
        Ok(Catalog { items: stored.items, names, assume_seen: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_catalog_reads_back_and_its_form_is_stable() {
        let mut catalog = Catalog::default();
        assert_eq!(catalog.first_sight("web", Sight::Once, 5), (Some(5), true));
        assert_eq!(catalog.first_sight("web", Sight::Once, 9), (None, false));
        assert_eq!(catalog.first_sight("web", Sight::Lasting, 9), (None, false));
        assert!(catalog.name(GenerationId(255), "/l/a"));
        assert!(!catalog.name(GenerationId(255), "/l/a"));
        assert!(catalog.name(GenerationId(255), "/l/a.1"));
        let json = catalog.to_json();
        assert_eq!(Catalog::of_json(&json).unwrap(), catalog);
        expect_test::expect![[r#"
            {
              "version": 1,
              "crc32c": "caaf560d",
              "items": {
                "web": {
                  "first_seen_ms": 5
                }
              },
              "names": {
                "00000000000000ff": {
                  "origin": "/l/a",
                  "current": "/l/a.1"
                }
              }
            }
        "#]]
        .assert_eq(std::str::from_utf8(&json).unwrap());
    }

    #[test]
    fn a_first_sight_that_lasts_is_the_same_until_it_is_over() {
        let mut catalog = Catalog::default();
        assert_eq!(catalog.first_sight("web", Sight::Lasting, 5), (Some(5), true));
        assert_eq!(catalog.first_sight("app", Sight::Lasting, 6), (Some(6), true));
        let mut read = Catalog::of_json(&catalog.to_json()).unwrap();
        assert_eq!(read, catalog);
        assert_eq!(read.first_sight("web", Sight::Lasting, 9), (Some(5), false));
        assert!(read.seen("web") && !read.seen("web"));
        assert_eq!(read.first_sight("web", Sight::Lasting, 9), (None, false));
        // Another `read_from` was written meanwhile, which must not be applied to what came since.
        assert_eq!(read.first_sight("app", Sight::Once, 9), (None, true));
        let over = String::from_utf8(read.to_json()).unwrap();
        assert!(!over.contains("deciding"), "what older versions know: {over}");
        let mut lost = Catalog { assume_seen: true, ..Catalog::default() };
        assert_eq!(lost.first_sight("web", Sight::Lasting, 5), (None, true));
        assert_eq!(lost.first_sight("web", Sight::Lasting, 6), (None, false));
    }

    #[test]
    fn s04_every_flipped_bit_that_matters_is_refused() {
        let mut catalog = Catalog::default();
        catalog.first_sight("web", Sight::Once, 5);
        catalog.first_sight("app", Sight::Lasting, 6);
        catalog.name(GenerationId(1), "/l/a");
        let mut json = catalog.to_json();
        for bit in 0..json.len() * 8 {
            json[bit / 8] ^= 1 << (bit % 8);
            // White space and the case of a digit may change without changing what is said.
            if let Ok(read) = Catalog::of_json(&json) {
                assert_eq!(read, catalog, "bit {bit}");
            }
            json[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn s04_every_cut_of_a_catalog_is_refused_and_s06_a_newer_one_is_told_apart() {
        let mut catalog = Catalog::default();
        catalog.name(GenerationId(1), "/l/a");
        let json = catalog.to_json();
        // The last byte is the newline after the document.
        for length in 0..json.len() - 1 {
            assert!(matches!(Catalog::of_json(&json[..length]), Err(Unreadable::Damaged(_))), "{length}");
        }
        let newer = br#"{"version": 2, "anything": []}"#;
        assert_eq!(Catalog::of_json(newer), Err(Unreadable::Newer(2)));
    }
}

//! Which files belong to which item, and which directories can hold such files.
//!
//! Knows names only: it opens nothing, lists nothing and follows no link. The first item that includes
//! a path and does not exclude it has it; the others never see it.

use std::collections::HashMap;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;

use logdrive_core::source::ItemId;

use super::glob::{BareNames, Glob, compile};

/// The compiled patterns of all items. Equal when they were written alike.
#[derive(Clone, Debug)]
pub struct Patterns {
    /// Shared, since compiling them is what costs: a set of a thousand items changes one by one.
    items: Vec<Arc<ItemPatterns>>,
    /// The items, by index, that have a pattern with this root. A path is held against few of them then.
    by_root: HashMap<Vec<u8>, Vec<u32>>,
}

#[derive(Clone, Debug)]
struct ItemPatterns {
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
}

/// One pattern as written, with what it expands to.
#[derive(Clone, Debug)]
struct Pattern {
    text: String,
    globs: Vec<Glob>,
}

/// What one item says of a path, and which of its patterns says so.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Verdict<'a> {
    /// The item.
    pub item: ItemId,
    /// The first of its `include` that matches.
    pub included_by: Option<&'a str>,
    /// The first of its `exclude` that matches.
    pub excluded_by: Option<&'a str>,
}

impl Verdict<'_> {
    /// Whether the item takes the path, if no item before it does.
    #[must_use]
    pub fn takes(&self) -> bool {
        self.included_by.is_some() && self.excluded_by.is_none()
    }
}

impl PartialEq for Patterns {
    fn eq(&self, other: &Patterns) -> bool {
        let texts = |patterns: &[Pattern]| patterns.iter().map(|one| one.text.clone()).collect::<Vec<_>>();
        self.items.len() == other.items.len()
            && self.items.iter().zip(&other.items).all(|(a, b)| {
                texts(&a.include) == texts(&b.include) && texts(&a.exclude) == texts(&b.exclude)
            })
    }
}

impl Pattern {
    fn compile(text: &str, bare: BareNames) -> Result<Pattern, String> {
        let globs = compile(text, bare).map_err(|why| format!("{text:?} {why}"))?;
        Ok(Pattern { text: text.to_owned(), globs })
    }

    fn any(&self, test: impl Fn(&Glob) -> bool) -> bool {
        self.globs.iter().any(test)
    }
}

impl ItemPatterns {
    /// Whether everything in the directory and below is excluded.
    fn shuts_out(&self, directory: &[u8]) -> bool {
        self.exclude.iter().any(|pattern| pattern.any(|glob| glob.covers(directory)))
    }

    fn takes(&self, path: &[u8]) -> bool {
        let matches = |pattern: &Pattern| pattern.any(|glob| glob.matches(path));
        self.include.iter().any(matches) && !self.exclude.iter().any(matches)
    }
}

/// Checks one pattern of `include`; the error begins with the pattern.
pub(crate) fn check_include(text: &str) -> Result<(), String> {
    Pattern::compile(text, BareNames::Refused).map(|_| ())
}

/// Checks one pattern of `exclude`; the error begins with the pattern.
pub(crate) fn check_exclude(text: &str) -> Result<(), String> {
    Pattern::compile(text, BareNames::Allowed).map(|_| ())
}

impl Patterns {
    /// Compiles the patterns of items in their order, each item's `include` and `exclude`.
    pub fn new<'a>(
        items: impl IntoIterator<Item = (&'a [String], &'a [String])>,
    ) -> Result<Patterns, String> {
        let compiled = |texts: &[String], bare| -> Result<Vec<Pattern>, String> {
            texts.iter().map(|text| Pattern::compile(text, bare)).collect()
        };
        let items = items.into_iter().map(|(include, exclude)| {
            let include = compiled(include, BareNames::Refused)?;
            Ok(Arc::new(ItemPatterns { include, exclude: compiled(exclude, BareNames::Allowed)? }))
        });
        Ok(Patterns::of(items.collect::<Result<_, String>>()?))
    }

    /// All items of the parts, in their order; nothing is compiled again.
    #[must_use]
    pub fn joined<'a>(parts: impl IntoIterator<Item = &'a Patterns>) -> Patterns {
        Patterns::of(parts.into_iter().flat_map(|part| part.items.iter().cloned()).collect())
    }

    /// Those of one item, as its first and only one.
    #[must_use]
    pub fn only(&self, id: ItemId) -> Patterns {
        Patterns::of(vec![self.items[id.0 as usize].clone()])
    }

    fn of(items: Vec<Arc<ItemPatterns>>) -> Patterns {
        let mut by_root: HashMap<Vec<u8>, Vec<u32>> = HashMap::new();
        for (item, index) in items.iter().zip(0..) {
            for glob in item.include.iter().flat_map(|pattern| &pattern.globs) {
                let items = by_root.entry(glob.root().into_os_string().into_vec()).or_default();
                if items.last() != Some(&index) {
                    items.push(index);
                }
            }
        }
        Patterns { items, by_root }
    }

    /// The item that a file of this path belongs to.
    #[must_use]
    pub fn first_match(&self, path: &[u8]) -> Option<ItemId> {
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at.max(1));
        let above = slashes.filter_map(|end| self.by_root.get(&path[..end]));
        let mut candidates: Vec<u32> = above.flatten().copied().collect();
        candidates.sort_unstable();
        candidates.dedup();
        candidates.into_iter().find(|&index| self.items[index as usize].takes(path)).map(ItemId)
    }

    /// Whether a file in this directory or anywhere below may belong to an item: it must be watched.
    #[must_use]
    pub fn could_match_below(&self, directory: &[u8]) -> bool {
        self.any_include(directory, |glob| glob.could_match_below(directory))
    }

    /// Whether a file directly in this directory may belong to an item: it must be listed.
    #[must_use]
    pub fn matches_in(&self, directory: &[u8]) -> bool {
        self.any_include(directory, |glob| glob.matches_in(directory))
    }

    fn any_include(&self, directory: &[u8], test: impl Fn(&Glob) -> bool) -> bool {
        self.items
            .iter()
            .any(|item| item.include.iter().any(|pattern| pattern.any(&test)) && !item.shuts_out(directory))
    }

    /// The deepest directory above everything that each pattern can match; sorted, each once.
    #[must_use]
    pub fn roots(&self) -> Vec<PathBuf> {
        self.roots_of((0..self.items.len()).map(|index| ItemId(index as u32)))
    }

    /// The same of some items only.
    #[must_use]
    pub fn roots_of(&self, items: impl IntoIterator<Item = ItemId>) -> Vec<PathBuf> {
        let includes = items.into_iter().flat_map(|id| &self.items[id.0 as usize].include);
        let mut roots: Vec<PathBuf> = includes.flat_map(|pattern| &pattern.globs).map(Glob::root).collect();
        roots.sort();
        roots.dedup();
        roots
    }

    /// What each item says of a path, in their order.
    pub fn verdicts<'a>(&'a self, path: &'a [u8]) -> impl Iterator<Item = Verdict<'a>> {
        let first = move |patterns: &'a [Pattern]| {
            patterns
                .iter()
                .find(|pattern| pattern.any(|glob| glob.matches(path)))
                .map(|pattern| &pattern.text[..])
        };
        self.items.iter().zip(0..).map(move |(item, index)| Verdict {
            item: ItemId(index),
            included_by: first(&item.include),
            excluded_by: first(&item.exclude),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(items: &[(&[&str], &[&str])]) -> Patterns {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let items: Vec<_> = items.iter().map(|(include, exclude)| (owned(include), owned(exclude))).collect();
        Patterns::new(items.iter().map(|(include, exclude)| (&include[..], &exclude[..]))).unwrap()
    }

    #[test]
    fn the_first_item_that_takes_a_file_has_it() {
        let patterns = patterns(&[
            (&["/l/app*.log"], &["/l/app-debug.log"]),
            (&["/l/*.log", "/m/**"], &["*.gz", "/m/private/**"]),
            (&["/l/**"], &[]),
        ]);
        for (path, item) in [
            ("/l/app1.log", Some(0)),
            ("/l/app-debug.log", Some(1)),
            ("/l/b.log", Some(1)),
            ("/l/b.log.gz", Some(2)),
            ("/l/x/app1.log", Some(2)),
            ("/m/a", Some(1)),
            ("/m/a.gz", None),
            ("/m/private/a", None),
            ("/m/private/x/a", None),
            ("/k", None),
        ] {
            assert_eq!(patterns.first_match(path.as_bytes()), item.map(ItemId), "{path}");
        }
    }

    #[test]
    fn a_directory_that_is_shut_out_is_neither_listed_nor_watched() {
        let one = patterns(&[(&["/m/**"], &["/m/private/**", "*.gz", "/m/x/*"])]);
        assert!(one.could_match_below(b"/m") && one.matches_in(b"/m"));
        assert!(!one.could_match_below(b"/m/private") && !one.matches_in(b"/m/private/x"));
        assert!(one.could_match_below(b"/m/x"), "what is below may match");
        let two = patterns(&[(&["/m/**"], &["/m/private/**"]), (&["/m/private/*.log"], &[])]);
        assert!(two.could_match_below(b"/m/private"), "another item wants it");
        assert!(!two.could_match_below(b"/m/private/x"));
    }

    #[test]
    fn roots_are_the_deepest_fixed_directories() {
        let patterns = patterns(&[
            (&["/var/log/*.log", "/var/log/nginx/access.log", "/var/*/x"], &[]),
            (&["/srv/{a,b}/log/*", "/var/log/**", "/*.log"], &["/etc/*"]),
        ]);
        let roots: Vec<_> = patterns.roots().iter().map(|root| root.display().to_string()).collect();
        assert_eq!(roots, ["/", "/srv/a/log", "/srv/b/log", "/var", "/var/log", "/var/log/nginx"]);
    }

    #[test]
    fn what_is_joined_matches_as_what_was_written_together() {
        let all: &[(&[&str], &[&str])] = &[
            (&["/l/app*.log", "/m/*"], &["/l/app-debug.log"]),
            (&["/**/x.log"], &["*.gz"]),
            (&["/l/**", "/*.log"], &[]),
        ];
        let whole = patterns(all);
        let parts: Vec<Patterns> = all.iter().map(|one| patterns(&[*one])).collect();
        let joined = Patterns::joined(&parts);
        assert_eq!(joined, whole);
        for path in ["/l/app1.log", "/l/app-debug.log", "/l/d/x.log", "/x.log", "/a.log", "/m/a", "/m/d/a"] {
            let first = whole.verdicts(path.as_bytes()).find(Verdict::takes).map(|verdict| verdict.item);
            assert_eq!(whole.first_match(path.as_bytes()), first, "{path}");
            assert_eq!(joined.first_match(path.as_bytes()), first, "{path}");
        }
    }

    #[test]
    fn verdicts_name_the_pattern() {
        let patterns = patterns(&[(&["/l/*"], &["*.gz"]), (&["/l/a.*", "/l/**"], &[])]);
        let verdicts: Vec<_> = patterns.verdicts(b"/l/a.gz").collect();
        assert_eq!(
            verdicts,
            [
                Verdict { item: ItemId(0), included_by: Some("/l/*"), excluded_by: Some("*.gz") },
                Verdict { item: ItemId(1), included_by: Some("/l/a.*"), excluded_by: None },
            ]
        );
        assert_eq!(verdicts.iter().position(Verdict::takes), Some(1));
    }

    #[test]
    fn patterns_are_equal_as_they_are_written() {
        let one = || patterns(&[(&["/l/*"], &["*.gz"])]);
        assert_eq!(one(), one());
        assert_ne!(one(), patterns(&[(&["/l/*"], &[])]));
        assert_ne!(one(), patterns(&[(&["/l/*"], &["*.gz"]), (&["/m"], &[])]));
    }
}

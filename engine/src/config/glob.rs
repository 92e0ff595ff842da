//! One glob, compiled component by component.
//!
//! A path is matched as the kernel sees it: bytes between slashes. Each component of a pattern is matched
//! against one component of the path, so that nothing but `**` can cross a slash, whatever a class or an
//! alternative says; and the same components answer which directories can hold a match.
//! `{a,b}` is expanded beforehand, which may give several patterns for one text.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

use super::braces::{expand, skip_class};

/// What one component of a path must be.
#[derive(Clone, Debug)]
enum Step {
    /// Exactly this name.
    Name(Vec<u8>),
    /// A name that matches.
    Glob(GlobMatcher),
    /// `**`: any number of components, also none.
    Any,
}

impl Step {
    fn matches(&self, name: &[u8]) -> bool {
        match self {
            Step::Name(own) => own == name,
            Step::Glob(glob) => glob.is_match(Path::new(OsStr::from_bytes(name))),
            Step::Any => unreachable!("`**` is no single component"),
        }
    }
}

/// An absolute pattern without alternatives. Its last step is never `Any`.
#[derive(Clone, Debug)]
pub(super) struct Glob {
    steps: Vec<Step>,
}

/// Longer texts are refused: no path is as long (`PATH_MAX`).
const PATTERN_BYTES_MAX: usize = 4096;

/// Whether a pattern without a slash is one of a file's name in any directory.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(super) enum BareNames {
    /// It is.
    Allowed,
    /// It is a mistake: only absolute patterns are meant.
    Refused,
}

/// The patterns that `text` stands for.
pub(super) fn compile(text: &str, bare: BareNames) -> Result<Vec<Glob>, String> {
    if text.contains('\0') {
        return Err("holds a NUL, which no path can".to_owned());
    }
    if text.len() > PATTERN_BYTES_MAX {
        return Err(format!("is longer than {PATTERN_BYTES_MAX} bytes, and so than any path"));
    }
    expand(text)?.iter().map(|pattern| Glob::compile(pattern, bare)).collect()
}

impl Glob {
    fn compile(pattern: &str, bare: BareNames) -> Result<Glob, String> {
        let mut steps = Vec::new();
        if !pattern.starts_with('/') {
            if bare == BareNames::Refused || pattern.contains('/') || pattern == "**" || pattern.is_empty() {
                return Err("is not an absolute path".to_owned());
            }
            steps.push(Step::Any);
        }
        let mut rest = pattern.trim_start_matches('/');
        if rest.is_empty() {
            return Err("names a directory; name its files, like \"/*.log\"".to_owned());
        }
        if rest.ends_with('/') {
            return Err(format!("names a directory; name its files, like \"{pattern}*.log\""));
        }
        while !rest.is_empty() {
            let (component, after) = component_of(rest)?;
            if !component.is_empty() {
                let step = Self::step(component)?;
                let doubled = matches!((&step, steps.last()), (Step::Any, Some(Step::Any)));
                if !doubled {
                    steps.push(step);
                }
            }
            rest = after;
        }
        if let Some(Step::Any) = steps.last() {
            steps.push(Self::step("*")?);
        }
        Ok(Glob { steps })
    }

    fn step(component: &str) -> Result<Step, String> {
        if component == "**" {
            return Ok(Step::Any);
        }
        if component == "." || component == ".." {
            return Err(format!("holds `{component}`; write the path without it"));
        }
        if let Some(name) = literal(component) {
            return Ok(Step::Name(name.into_bytes()));
        }
        if component.contains("**") {
            return Err("holds `**` beside something else; it must stand alone between slashes".to_owned());
        }
        let glob = GlobBuilder::new(component)
            .literal_separator(true)
            .backslash_escape(true)
            .build()
            .map_err(|error| format!("is no valid glob: {}", error.kind()))?;
        Ok(Step::Glob(glob.compile_matcher()))
    }

    /// Whether the path, a file's, matches.
    pub(super) fn matches(&self, path: &[u8]) -> bool {
        walk(&self.steps, path)
    }

    /// Whether a file directly in the directory may match.
    pub(super) fn matches_in(&self, directory: &[u8]) -> bool {
        walk(self.above(), directory)
    }

    /// Whether a file in the directory or below it may match.
    pub(super) fn could_match_below(&self, directory: &[u8]) -> bool {
        let mut names = components(directory);
        for step in self.above() {
            match (step, names.next()) {
                (Step::Any, _) | (_, None) => return true,
                (step, Some(name)) if step.matches(name) => {}
                _ => return false,
            }
        }
        names.next().is_none()
    }

    /// Whether every file in the directory and below it matches: the pattern ends in `/**`.
    pub(super) fn covers(&self, directory: &[u8]) -> bool {
        let [above @ .., Step::Any, Step::Glob(last)] = &self.steps[..] else {
            return false;
        };
        if last.glob().glob() != "*" {
            return false;
        }
        // The directory itself, or one above it, is what stands before the `**`.
        let ends = (0..directory.len()).filter(|at| directory[*at] == b'/').chain([directory.len()]);
        ends.into_iter().any(|end| walk(above, &directory[..end]))
    }

    /// The deepest directory that is above every match.
    pub(super) fn root(&self) -> PathBuf {
        let mut root = PathBuf::from("/");
        for step in self.above() {
            let Step::Name(name) = step else { break };
            root.push(OsStr::from_bytes(name));
        }
        root
    }

    /// The steps of the directories.
    fn above(&self) -> &[Step] {
        &self.steps[..self.steps.len() - 1]
    }
}

fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty())
}

/// Whether the components of `path`, all of them, match the steps. Linear in their product: after a
/// failure only the last `**` takes one component more.
fn walk(steps: &[Step], path: &[u8]) -> bool {
    let mut names = components(path);
    let mut at = 0;
    let mut retry = None;
    loop {
        if let Some(Step::Any) = steps.get(at) {
            at += 1;
            retry = Some((at, names.clone()));
            continue;
        }
        match (steps.get(at), names.next()) {
            (None, None) => return true,
            (Some(step), Some(name)) if step.matches(name) => at += 1,
            _ => {
                let Some((after, from)) = &mut retry else { return false };
                if from.next().is_none() {
                    return false;
                }
                at = *after;
                names = from.clone();
            }
        }
    }
}

/// Splits the first component off, and what comes after its slash.
fn component_of(text: &str) -> Result<(&str, &str), String> {
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '/' => return Ok((&text[..at], &text[at + 1..])),
            '\\' if matches!(characters.next(), None | Some((_, '/'))) => {
                return Err(
                    "holds a `\\` with nothing to escape; write `\\\\` for the character itself".to_owned()
                );
            }
            '[' => skip_class(&mut characters)?,
            _ => {}
        }
    }
    Ok((text, ""))
}

/// The name that a component without wildcards stands for.
fn literal(component: &str) -> Option<String> {
    let mut name = String::with_capacity(component.len());
    let mut characters = component.chars();
    while let Some(character) = characters.next() {
        match character {
            '*' | '?' | '[' => return None,
            '\\' => name.extend(characters.next()),
            _ => name.push(character),
        }
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use proptest::prelude::*;

    fn glob(text: &str) -> Vec<Glob> {
        compile(text, BareNames::Allowed).unwrap()
    }

    fn matches(text: &str, path: &[u8]) -> bool {
        glob(text).iter().any(|glob| glob.matches(path))
    }

    #[test]
    fn wildcards_keep_to_their_component_and_double_stars_do_not() {
        for (text, path, expected) in [
            ("/l/a.log", "/l/a.log", true),
            ("/l/a.log", "/l/aXlog", false),
            ("/l/a.log", "/k/l/a.log", false),
            ("/l/*.log", "/l/a.log", true),
            ("/l/*.log", "/l/.log", true),
            ("/l/*.log", "/l/.hidden.log", true),
            ("/l/*.log", "/l/m/a.log", false),
            ("/l/*/a", "/l/m/a", true),
            ("/l/*/a", "/l/a", false),
            ("/l/*/a", "/l/m/n/a", false),
            ("/l/**/a", "/l/a", true),
            ("/l/**/a", "/l/m/n/a", true),
            ("/l/**/a", "/l/m/n/b", false),
            ("/l/**", "/l/a", true),
            ("/l/**", "/l/m/a", true),
            ("/l/**", "/l", false),
            ("/**/a", "/a", true),
            ("/**/m/**/a", "/l/m/x/m/y/a", true),
            ("/**/m/**/a", "/l/x/y/a", false),
            ("/l/?", "/l/a", true),
            ("/l/?", "/l/ab", false),
            ("/l/[ab]", "/l/b", true),
            ("/l/[!ab]", "/l/b", false),
            ("/l/[^ab]", "/l/c", true),
            ("/l/m[!x]n", "/l/m/n", false),
            ("/l/[]]", "/l/]", true),
            ("/l/[a-c]?.log", "/l/b7.log", true),
            ("/l/{a,b}.log", "/l/b.log", true),
            ("/l/{a,b}.log", "/l/c.log", false),
            ("/l/{a/x,b}/{1,2}", "/l/a/x/2", true),
            ("/l/{a,{b,c}d}", "/l/cd", true),
            ("/l/a{,.1}", "/l/a", true),
            ("{/l,/k}/a", "/k/a", true),
            (r"/l/\*", "/l/*", true),
            (r"/l/\*", "/l/a", false),
            (r"/l/\{a,b\}", "/l/{a,b}", true),
            (r"/l/a\b*", "/l/abc", true),
            ("//l///a", "/l/a", true),
            ("/l/A", "/l/a", false),
            ("/l/*", "/l/a\nb", true),
            ("*.gz", "/any/where/a.gz", true),
            ("*.gz", "/any.gz/a", false),
            ("a.log", "/x/a.log", true),
        ] {
            assert_eq!(matches(text, path.as_bytes()), expected, "{text} on {path:?}");
        }
    }

    #[test]
    fn names_that_are_not_utf_8_match() {
        assert!(matches("/l/*.log", b"/l/\xff\xfe.log"));
        assert!(matches("/l/?", b"/l/\x80"));
        assert!(matches("/l/**/x", b"/l/\xc3\x28/x"));
        assert!(!matches("/l/a*", b"/l/\xffa"));
    }

    #[test]
    fn bad_patterns_say_what_is_wrong() {
        let mut shown = String::new();
        for text in [
            "",
            "/",
            "/l/",
            "l/a",
            "./a",
            "/l/../a",
            "/l/./a",
            "/l/a**",
            "/l/**.log",
            "/l/[a",
            "/l/[a/b]",
            "/l/{a,b",
            "/l/a}",
            r"/l/a\",
            r"/l/a\/b",
            "/l/[z-a]",
            "/l/a\0b",
            "**",
            "/{0,1,2,3,4,5,6,7}{0,1,2,3,4,5,6,7}{0,1,2,3,4,5,6,7}{0,1,2,3,4,5,6,7}",
        ] {
            let why = compile(text, BareNames::Allowed).unwrap_err();
            shown += &format!("{text:?} {why}\n");
        }
        shown += &format!("a.log {}\n", compile("a.log", BareNames::Refused).unwrap_err());
        shown += &format!("long {}\n", compile(&"/a".repeat(3000), BareNames::Refused).unwrap_err());
        expect![[r#"
            "" is not an absolute path
            "/" names a directory; name its files, like "/*.log"
            "/l/" names a directory; name its files, like "/l/*.log"
            "l/a" is not an absolute path
            "./a" is not an absolute path
            "/l/../a" holds `..`; write the path without it
            "/l/./a" holds `.`; write the path without it
            "/l/a**" holds `**` beside something else; it must stand alone between slashes
            "/l/**.log" holds `**` beside something else; it must stand alone between slashes
            "/l/[a" holds a `[` without its `]`; write `\[` for the character itself
            "/l/[a/b]" holds a `/` between `[` and `]`
            "/l/{a,b" holds a `{` without its `}`; write `\{` for the character itself
            "/l/a}" holds a `}` without its `{`; write `\}` for the character itself
            "/l/a\\" holds a `\` with nothing to escape; write `\\` for the character itself
            "/l/a\\/b" holds a `\` with nothing to escape; write `\\` for the character itself
            "/l/[z-a]" is no valid glob: invalid range; 'z' > 'a'
            "/l/a\0b" holds a NUL, which no path can
            "**" is not an absolute path
            "/{0,1,2,3,4,5,6,7}{0,1,2,3,4,5,6,7}{0,1,2,3,4,5,6,7}{0,1,2,3,4,5,6,7}" stands for more than 1024 patterns
            a.log is not an absolute path
            long is longer than 4096 bytes, and so than any path
        "#]].assert_eq(&shown);
    }

    #[test]
    fn directories_are_asked_before_their_files() {
        let ask = |text: &str, directory: &[u8]| {
            let globs = glob(text);
            let [below, here, all] = [Glob::could_match_below, Glob::matches_in, Glob::covers]
                .map(|question| globs.iter().any(|glob| question(glob, directory)));
            (below, here, all)
        };
        for (text, directory, below, here, all) in [
            ("/var/log/*.log", "/", true, false, false),
            ("/var/log/*.log", "/var", true, false, false),
            ("/var/log/*.log", "/var/log", true, true, false),
            ("/var/log/*.log", "/var/log/", true, true, false),
            ("/var/log/*.log", "/var/log/x", false, false, false),
            ("/var/log/*.log", "/usr", false, false, false),
            ("/var/*/a", "/var/x", true, true, false),
            ("/var/**/a", "/var", true, true, false),
            ("/var/**/a", "/var/x/y", true, true, false),
            ("/var/**/x/a", "/var/y", true, false, false),
            ("/var/**/x/a", "/var/y/x", true, true, false),
            ("/var/**", "/var", true, true, true),
            ("/var/**", "/var/x/y", true, true, true),
            ("/var/**", "/", true, false, false),
            ("/var/**/cache/**", "/var/x/cache", true, true, true),
            ("/var/**/cache/**", "/var/x/cache/y/z", true, true, true),
            ("/var/**/cache/**", "/var/x", true, false, false),
            ("/**", "/", true, true, true),
            ("/*", "/", true, true, false),
        ] {
            assert_eq!(ask(text, directory.as_bytes()), (below, here, all), "{text} on {directory}");
        }
    }

    /// What a pattern without alternatives means, as directly as it can be said.
    fn naive(steps: &[&str], names: &[&str]) -> bool {
        match (steps, names) {
            ([], []) => true,
            (["**", rest @ ..], _) => (0..=names.len()).any(|skip| naive(rest, &names[skip..])),
            ([step, rest @ ..], [name, others @ ..]) => (*step == "*" || step == name) && naive(rest, others),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn any_pattern_means_what_the_naive_matcher_says(
            steps in proptest::collection::vec(proptest::sample::select(vec!["a", "b", "*", "**"]), 1..6),
            names in proptest::collection::vec(proptest::sample::select(vec!["a", "b"]), 1..7),
        ) {
            let (text, path) = (format!("/{}", steps.join("/")), format!("/{}", names.join("/")));
            let mut meant = steps.clone();
            if meant.last() == Some(&"**") {
                meant.push("*");
            }
            let globs = glob(&text);
            let hit = globs.iter().any(|glob| glob.matches(path.as_bytes()));
            prop_assert_eq!(hit, naive(&meant, &names), "{} on {}", text, path);
            for end in 0..names.len() {
                let directory = format!("/{}", names[..end].join("/"));
                let directory = directory.as_bytes();
                if hit {
                    prop_assert!(globs.iter().any(|glob| glob.could_match_below(directory)));
                }
                if globs.iter().any(|glob| glob.covers(directory)) {
                    prop_assert!(hit, "covered and not matched");
                }
            }
            let parent = format!("/{}", names[..names.len() - 1].join("/"));
            let here = naive(&meant[..meant.len() - 1], &names[..names.len() - 1]);
            prop_assert_eq!(globs.iter().any(|glob| glob.matches_in(parent.as_bytes())), here);
            prop_assert!(!hit || path.starts_with(&*globs[0].root().to_string_lossy()));
        }

        #[test]
        fn no_pattern_panics(text in r"/?[a/*?\[\]{},\\!^\-]{0,24}", path in "/[ab/]{0,12}") {
            if let Ok(globs) = compile(&text, BareNames::Allowed) {
                for glob in globs {
                    let _ = (glob.matches(path.as_bytes()), glob.could_match_below(path.as_bytes()), glob.root());
                }
            }
        }
    }
}

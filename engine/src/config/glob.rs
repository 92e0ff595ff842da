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

/// One text expands to at most so many patterns.
const ALTERNATIVES_MAX: usize = 1024;

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

/// Goes past the end of a class whose `[` is already read.
fn skip_class(characters: &mut std::str::CharIndices<'_>) -> Result<(), String> {
    let mut first = true;
    let mut after_negation = false;
    loop {
        match characters.next() {
            None => {
                return Err("holds a `[` without its `]`; write `\\[` for the character itself".to_owned());
            }
            Some((_, '/')) => return Err("holds a `/` between `[` and `]`".to_owned()),
            Some((_, ']')) if !first => return Ok(()),
            Some((_, '!' | '^')) if first && !after_negation => after_negation = true,
            Some(_) => first = false,
        }
    }
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

/// Replaces the first group of alternatives by each of them, until no group is left.
fn expand(text: &str) -> Result<Vec<String>, String> {
    let mut open = vec![text.to_owned()];
    let mut done = Vec::new();
    while let Some(pattern) = open.pop() {
        match group_of(&pattern)? {
            None => done.push(pattern),
            Some(group) => {
                let (before, after) = (&pattern[..group.start], &pattern[group.end..]);
                for alternative in group.alternatives.iter().rev() {
                    open.push(format!("{before}{alternative}{after}"));
                }
            }
        }
        if open.len() + done.len() > ALTERNATIVES_MAX {
            return Err(format!("stands for more than {ALTERNATIVES_MAX} patterns"));
        }
    }
    Ok(done)
}

/// A group `{a,b}`: the bytes that it takes with its braces, and what may stand there.
struct Group {
    start: usize,
    end: usize,
    alternatives: Vec<String>,
}

fn group_of(text: &str) -> Result<Option<Group>, String> {
    let mut characters = text.char_indices();
    let mut depth = 0;
    let (mut start, mut begin) = (0, 0);
    let mut alternatives = Vec::new();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => {
                characters.next();
            }
            '[' => skip_class(&mut characters)?,
            '{' => {
                depth += 1;
                if depth == 1 {
                    (start, begin) = (at, at + 1);
                }
            }
            ',' if depth == 1 => {
                alternatives.push(text[begin..at].to_owned());
                begin = at + 1;
            }
            '}' if depth == 0 => {
                return Err("holds a `}` without its `{`; write `\\}` for the character itself".to_owned());
            }
            '}' => {
                depth -= 1;
                if depth == 0 {
                    alternatives.push(text[begin..at].to_owned());
                    return Ok(Some(Group { start, end: at + 1, alternatives }));
                }
            }
            _ => {}
        }
    }
    if depth > 0 {
        return Err("holds a `{` without its `}`; write `\\{` for the character itself".to_owned());
    }
    Ok(None)
}

//! Regular expressions of others: as globs where we want globs, and turned round where we ask for the opposite.
//!
//! Nothing here guesses. A translation matches what the original matches, or less and says so; an expression that
//! cannot be translated is left to a person. What excludes files must never exclude more than before.

/// A glob in place of a regular expression.
#[derive(Clone, Eq, PartialEq, Debug)]
pub(super) struct Translated {
    pub(super) glob: String,
    /// Whether it matches exactly the same files; else fewer.
    pub(super) is_exact: bool,
}

/// The glob for an expression that is matched against whole paths, as Filebeat's `exclude_files` is.
pub(super) fn glob_of(regex: &str) -> Option<Translated> {
    let anchored = regex.starts_with('^');
    let mut rest = regex.strip_prefix('^').unwrap_or(regex);
    let ends = rest.ends_with('$') && !rest.ends_with(r"\$");
    if ends {
        rest = &rest[..rest.len() - 1];
    }
    let (glob, after) = concatenation(rest)?;
    if !after.is_empty() || glob.is_empty() {
        return None;
    }
    let crosses = glob.contains('*') && glob.contains('/');
    match (anchored, glob.starts_with('/'), glob.contains('/')) {
        (true, false, _) => None,
        (true, true, _) if ends => Some(Translated { is_exact: !crosses, glob }),
        (true, true, _) if glob.ends_with('/') => {
            Some(Translated { is_exact: !crosses, glob: format!("{glob}**") })
        }
        (true, true, _) => Some(Translated { is_exact: false, glob: format!("{glob}*") }),
        (false, _, false) if ends => {
            // A dot may be a slash.
            let is_exact = !glob.trim_start_matches('*').contains(['*', '?']);
            Some(Translated { is_exact, glob: tidy(&format!("*{glob}")) })
        }
        (false, _, false) => Some(Translated { is_exact: false, glob: tidy(&format!("*{glob}*")) }),
        (false, true, _) if ends => Some(Translated { is_exact: !crosses, glob: format!("/**{glob}") }),
        (false, true, _) if glob.ends_with('/') => {
            Some(Translated { is_exact: !crosses, glob: format!("/**{glob}**") })
        }
        (false, ..) => None,
    }
}

/// Stars in a row are one.
fn tidy(glob: &str) -> String {
    glob.replace("**", "*")
}

/// The glob of a concatenation, up to the end or a `|` or `)`; and what follows.
fn concatenation(regex: &str) -> Option<(String, &str)> {
    let mut glob = String::new();
    let mut rest = regex;
    while let Some(first) = rest.chars().next() {
        let after = &rest[first.len_utf8()..];
        match first {
            '|' | ')' => break,
            '.' => {
                (rest, glob) = match after.chars().next() {
                    Some('*') => (&after[1..], glob + "*"),
                    Some('+') => (&after[1..], glob + "?*"),
                    _ => (after, glob + "?"),
                };
                if rest.starts_with('?') {
                    return None;
                }
                continue;
            }
            '(' => {
                let (group, after) = group(after)?;
                glob += &group;
                rest = after;
            }
            '[' => {
                let (inner, after) = after.split_once(']')?;
                let (not, inner) = inner.strip_prefix('^').map_or(("", inner), |inner| ("!", inner));
                let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
                if inner.is_empty() || !inner.chars().all(is_plain) {
                    return None;
                }
                glob += &format!("[{not}{inner}]");
                rest = after;
            }
            '\\' => {
                let escaped = after.chars().next()?;
                match escaped {
                    'd' => glob += "[0-9]",
                    c if c.is_ascii_punctuation() => push_literal(&mut glob, c),
                    _ => return None,
                }
                rest = &after[escaped.len_utf8()..];
            }
            '^' | '$' | '*' | '+' | '?' | '{' => return None,
            literal => {
                push_literal(&mut glob, literal);
                rest = after;
            }
        }
        if rest.starts_with(['*', '+', '?', '{']) {
            return None;
        }
    }
    Some((glob, rest))
}

/// The alternatives of a group, whose `(` is behind us; and what follows its `)`.
fn group(regex: &str) -> Option<(String, &str)> {
    let mut rest = regex.strip_prefix("?:").unwrap_or(regex);
    let mut alternatives = Vec::new();
    loop {
        let (glob, after) = concatenation(rest)?;
        alternatives.push(glob);
        rest = match (after.strip_prefix('|'), after.strip_prefix(')')) {
            (Some(after), _) => after,
            (None, Some(after)) => {
                let glob = match &alternatives[..] {
                    [one] => one.clone(),
                    many => format!("{{{}}}", many.join(",")),
                };
                return Some((glob, after));
            }
            (None, None) => return None,
        };
    }
}

fn push_literal(glob: &mut String, literal: char) {
    if matches!(literal, '*' | '?' | '[' | ']' | '{' | '}' | ',' | '\\' | '!') {
        glob.push('\\');
    }
    glob.push(literal);
}

/// What begins an event, for an expression of the lines that continue one: its opposite. Expressions have no
/// opposite in general, but the usual ones, of lines that begin with white space, do.
pub(super) fn start_of_continued(regex: &str) -> Option<&'static str> {
    let class = regex.strip_prefix('^')?;
    let class = class.strip_suffix('+').unwrap_or(class);
    match class {
        r"\s" | r"[\s]" | r"(\s)" | "[[:space:]]" => Some(r"^(?:\S|$)"),
        r"[ \t]" | r"[\t ]" | r"[ |\t]" | "[[:blank:]]" => Some(r"^(?:[^ \t]|$)"),
        r"\t" | r"[\t]" => Some(r"^(?:[^\t]|$)"),
        " " | "[ ]" => Some("^(?:[^ ]|$)"),
        _ => None,
    }
}

/// Whether our own regular expressions can say it; the error says what they cannot.
pub(super) fn check_regex(text: &str) -> Result<(), String> {
    let Err(error) = regex::bytes::Regex::new(text) else { return Ok(()) };
    let message = error.to_string();
    let last = message.lines().last().unwrap_or_default();
    Err(format!("not an expression of ours: {}", last.trim_start_matches("error: ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Patterns;
    use expect_test::expect;
    use regex::bytes::Regex;

    const USUAL: [&str; 16] = [
        r"\.gz$",
        ".gz$",
        r"\.(gz|zip|xz)$",
        r"\.tar\.gz$",
        "^/var/log/app/",
        r"^/var/log/app/debug\.log$",
        "debug",
        r"/archive/.*\.log$",
        r"\.[0-9]$",
        r"(?:old|bak)$",
        r"/tmp/",
        r".*\.tmp$",
        r"^/srv/.*/x\.log$",
        r"a\[1\]$",
        r"access_[^a].log$",
        r"\.\d$",
    ];

    #[test]
    fn usual_expressions_have_globs() {
        let shown: String = USUAL
            .iter()
            .map(|regex| match glob_of(regex) {
                Some(Translated { glob, is_exact: true }) => format!("{regex} = {glob}\n"),
                Some(Translated { glob, is_exact: false }) => format!("{regex} > {glob}\n"),
                None => format!("{regex}: none\n"),
            })
            .collect();
        expect![[r#"
            \.gz$ = *.gz
            .gz$ > *?gz
            \.(gz|zip|xz)$ = *.{gz,zip,xz}
            \.tar\.gz$ = *.tar.gz
            ^/var/log/app/ = /var/log/app/**
            ^/var/log/app/debug\.log$ = /var/log/app/debug.log
            debug > *debug*
            /archive/.*\.log$ > /**/archive/*.log
            \.[0-9]$ = *.[0-9]
            (?:old|bak)$ = *{old,bak}
            /tmp/ = /**/tmp/**
            .*\.tmp$ = *.tmp
            ^/srv/.*/x\.log$ > /srv/*/x.log
            a\[1\]$ = *a\[1\]
            access_[^a].log$ > *access_[!a]?log
            \.\d$ = *.[0-9]
        "#]]
        .assert_eq(&shown);
        for regex in [
            r"\.\d+$",
            "^app",
            "a|b",
            "a*",
            r"\w",
            "(a",
            "a)",
            "[[:digit:]]",
            "",
            "$",
            "a{2}",
            "^",
            "a+b$",
            "x.*?y",
        ] {
            assert_eq!(glob_of(regex), None, "{regex}");
        }
    }

    #[test]
    fn a_glob_never_matches_more_than_its_expression() {
        let paths = [
            "/var/log/app/debug.log",
            "/var/log/app/x.gz",
            "/var/log/app/deep/x.log",
            "/a/xgz",
            "/a/b.zip",
            "/a/debug.1",
            "/a/debug/x",
            "/archive/a/b.log",
            "/s/archive/b.log",
            "/a/x.old",
            "/tmp/a",
            "/a/tmp/b",
            "/srv/a/x.log",
            "/srv/a/b/x.log",
            "/a/a[1]",
            "/a/access_b.log",
            "/a/access_axlog",
            "/a/x.7",
            "/a/.tmp",
            "/a/x.tar.gz",
            "/var/log/application",
            "/a/x.77",
        ];
        let mut compared = 0;
        for text in USUAL {
            let Some(Translated { glob, is_exact }) = glob_of(text) else { continue };
            let (include, exclude) = (["/**".to_owned()], [glob.clone()]);
            let patterns = Patterns::new([(&include[..], &exclude[..])]).unwrap();
            let regex = Regex::new(text).unwrap();
            for path in paths {
                let excluded = patterns.first_match(path.as_bytes()).is_none();
                let matched = regex.is_match(path.as_bytes());
                assert!(!excluded || matched, "{text} does not match {path}, {glob} does");
                assert!(excluded == matched || !is_exact, "{text} matches {path}, {glob} does not");
                compared += usize::from(excluded);
            }
        }
        assert!(compared > 20, "{compared}");
    }

    #[test]
    fn an_opposite_is_one() {
        for continued in [r"^\s", r"^\s+", "^[[:space:]]", r"^[ \t]+", r"^\t", "^ "] {
            let start = Regex::new(start_of_continued(continued).unwrap()).unwrap();
            let continued = Regex::new(continued).unwrap();
            for line in ["", "a", " a", "\ta", " ", "\t", "ab c", "-"] {
                assert_ne!(start.is_match(line.as_bytes()), continued.is_match(line.as_bytes()), "{line:?}");
            }
        }
        assert_eq!(start_of_continued(r"^\s*"), None, "which matches every line");
        assert_eq!(start_of_continued(r"^\s+at "), None);
    }
}

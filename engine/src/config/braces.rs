//! `{a,b}` in globs: one text, several patterns.
//!
//! Expanded before anything else, so that an alternative may hold slashes and wildcards of its own; what
//! the patterns match is none of this module's business.

/// One text expands to at most so many patterns.
const ALTERNATIVES_MAX: usize = 1024;

/// Replaces the first group of alternatives by each of them, until no group is left.
pub(super) fn expand(text: &str) -> Result<Vec<String>, String> {
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

/// Goes past the end of a class whose `[` is already read.
pub(super) fn skip_class(characters: &mut std::str::CharIndices<'_>) -> Result<(), String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternatives_multiply_in_their_order() {
        for (text, patterns) in [
            ("a", &["a"][..]),
            ("{a,b}", &["a", "b"]),
            ("x{a,b}y{1,2}", &["xay1", "xay2", "xby1", "xby2"]),
            ("{a,{b,c}d}", &["a", "bd", "cd"]),
            ("a{,.1}", &["a", "a.1"]),
            ("{a}", &["a"]),
            ("{}", &[""]),
            (r"\{a,b\}", &[r"\{a,b\}"]),
            ("[{,}]", &["[{,}]"]),
            ("{[,],b}", &["[,]", "b"]),
        ] {
            assert_eq!(expand(text).unwrap(), patterns, "{text}");
        }
    }
}

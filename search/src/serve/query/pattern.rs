//! A word with wildcards: `*` for any characters, `?` for one.

use super::words::words;
use super::{MESSAGE_PREFIX_CHARS_MIN, Problem};

/// Text and wildcards in turn. At least one of each; texts are not empty and do not follow each other.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pattern(pub Vec<Piece>);

/// A part of a pattern.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Piece {
    /// These characters.
    Text(String),
    /// Any characters, or none.
    Any,
    /// One character.
    One,
}

/// Letters that stand for wildcards while a pattern is cut into words: they are no joints of words, and no text
/// but that of a linguist holds them, who is told that there is nothing to search for.
const ANY: char = '\u{1c1}';
const ONE: char = '\u{1c2}';

impl Pattern {
    /// As OpenSearch takes it in a place for wildcards.
    #[must_use]
    pub fn escaped(&self) -> String {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => {
                    for c in text.chars() {
                        if matches!(c, '*' | '?' | '\\') {
                            out.push('\\');
                        }
                        out.push(c);
                    }
                }
                Piece::Any => out.push('*'),
                Piece::One => out.push('?'),
            }
        }
        out
    }

    /// Whether all of a text has this shape.
    #[must_use]
    pub fn matches(&self, text: &str, ignores_case: bool) -> bool {
        let fold = |text: &str| if ignores_case { text.to_lowercase() } else { text.to_owned() };
        let mut wanted = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => wanted.extend(fold(text).chars().map(Unit::Exactly)),
                Piece::Any => wanted.push(Unit::Any),
                Piece::One => wanted.push(Unit::One),
            }
        }
        matches(&wanted, &fold(text).chars().collect::<Vec<_>>())
    }

    /// The shapes of words that it means in a message, one after the other.
    ///
    /// # Errors
    /// A shape says too little about how its word begins.
    pub fn words(&self) -> Result<Vec<Shape>, Problem> {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(piece) if piece.contains([ANY, ONE]) => return Err(Problem::NoWord),
                Piece::Text(piece) => text.push_str(piece),
                Piece::Any => text.push(ANY),
                Piece::One => text.push(ONE),
            }
        }
        let found: Vec<String> = words(&text).map(|word| word.text).collect();
        let is_any = |word: &str| word.chars().all(|c| c == ANY);
        // At the end `web-*` says no more than `web`.
        let kept = found.iter().rposition(|word| !is_any(word)).map_or(0, |last| last + 1);
        if kept == 0 {
            return Err(Problem::LeadingWildcard);
        }
        found[..kept].iter().map(|word| Shape::of(word)).collect()
    }
}

/// What one word is to be, in small letters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Shape {
    /// This word.
    Word(String),
    /// One that begins so.
    Prefix(String),
    /// One of this shape.
    Like(Pattern),
}

impl Shape {
    fn of(word: &str) -> Result<Shape, Problem> {
        let Some(first) = word.find([ANY, ONE]) else { return Ok(Shape::Word(word.to_owned())) };
        let prefix = &word[..first];
        if prefix.is_empty() {
            return Err(Problem::LeadingWildcard);
        }
        // An ideograph is a word by itself; there the rule would forbid what costs nothing.
        if prefix.is_ascii() && prefix.len() < MESSAGE_PREFIX_CHARS_MIN {
            return Err(Problem::ShortPrefix);
        }
        if word[first..].chars().all(|c| c == ANY) {
            return Ok(Shape::Prefix(prefix.to_owned()));
        }
        let mut pieces = Vec::new();
        for c in word.chars() {
            match (c, pieces.last_mut()) {
                (ANY, _) => pieces.push(Piece::Any),
                (ONE, _) => pieces.push(Piece::One),
                (c, Some(Piece::Text(text))) => text.push(c),
                (c, _) => pieces.push(Piece::Text(c.to_string())),
            }
        }
        Ok(Shape::Like(Pattern(pieces)))
    }

    /// Whether a word, in small letters, is it.
    #[must_use]
    pub fn matches(&self, word: &str) -> bool {
        match self {
            Shape::Word(wanted) => word == wanted,
            Shape::Prefix(prefix) => word.starts_with(&prefix[..]),
            Shape::Like(pattern) => pattern.matches(word, false),
        }
    }
}

enum Unit {
    Exactly(char),
    Any,
    One,
}

/// Goes back to the last `*` alone, so it takes the product of both lengths at most, whatever is asked.
fn matches(wanted: &[Unit], text: &[char]) -> bool {
    let (mut at, mut read) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        match (wanted.get(at), text.get(read)) {
            (None, None) => return true,
            (Some(Unit::Any), _) => {
                at += 1;
                retry = Some((at, read));
            }
            (Some(Unit::One), Some(_)) => (at, read) = (at + 1, read + 1),
            (Some(Unit::Exactly(c)), Some(found)) if c == found => (at, read) = (at + 1, read + 1),
            _ => match &mut retry {
                Some((after, from)) if *from < text.len() => {
                    *from += 1;
                    (at, read) = (*after, *from);
                }
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pattern(text: &str) -> Pattern {
        let mut pieces = Vec::new();
        for c in text.chars() {
            match (c, pieces.last_mut()) {
                ('*', _) => pieces.push(Piece::Any),
                ('?', _) => pieces.push(Piece::One),
                (c, Some(Piece::Text(text))) => text.push(c),
                (c, _) => pieces.push(Piece::Text(c.to_string())),
            }
        }
        Pattern(pieces)
    }

    /// The definition, without regard to cost.
    fn naive(wanted: &[char], text: &[char]) -> bool {
        match wanted.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|skipped| naive(rest, &text[skipped..])),
            Some((c, rest)) => {
                text.split_first().is_some_and(|(found, text)| (*c == '?' || c == found) && naive(rest, text))
            }
        }
    }

    proptest! {
        #[test]
        fn a_pattern_matches_what_its_definition_says(wanted in "[ab*?]{0,6}", text in "[ab]{0,8}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(pattern(&wanted).matches(&text, false), naive(&chars(&wanted), &chars(&text)));
        }
    }

    #[test]
    fn a_bomb_is_none() {
        let text = "a".repeat(20_000);
        assert!(!pattern("a*a*a*a*b").matches(&text, false));
        assert!(pattern("A*a").matches(&text, true));
    }

    #[test]
    fn in_a_message_it_means_words() {
        let of = |text: &str| pattern(text).words();
        let word = |text: &str| Shape::Word(text.into());
        assert_eq!(of("Conn*"), Ok(vec![Shape::Prefix("conn".into())]));
        assert_eq!(of("web-*"), Ok(vec![word("web")]));
        assert_eq!(of("10.0.12*"), Ok(vec![word("10"), word("0"), Shape::Prefix("12".into())]));
        assert_eq!(of("错误*"), Ok(vec![word("错"), word("误")]));
        assert_eq!(of("ti?e*t"), Ok(vec![Shape::Like(pattern("ti?e*t"))]));
        assert_eq!(of("*fused"), Err(Problem::LeadingWildcard));
        assert_eq!(of("web-*fused"), Err(Problem::LeadingWildcard));
        assert_eq!(of("c*"), Err(Problem::ShortPrefix));
        assert_eq!(of("-*"), Err(Problem::LeadingWildcard));
        assert_eq!(of("a\u{1c1}b*"), Err(Problem::NoWord));
    }
}

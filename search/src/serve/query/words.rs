//! The words of a text, as the index has them: the analyzer `line` of the index template in Rust.
//!
//! What joins words in logs is a space; then the rules of Unicode for words, as Lucene's standard tokenizer has
//! them; then small letters. So a live line and an indexed one are found by the same query, and what is marked in
//! a line is what the index found there. Lucene's dictionary-free words of Thai and the like may end elsewhere.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation as _;

use crate::opensearch::JOINTS;

/// A word, and where it stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Word {
    /// In small letters.
    pub text: String,
    /// Its bytes in the text.
    pub at: Range<usize>,
}

/// The words of a text, in their order.
pub fn words(text: &str) -> impl Iterator<Item = Word> + '_ {
    let mut start = 0;
    let pieces = text.split(JOINTS).map(move |piece| {
        let at = start;
        // The joint is the one character between this piece and the next.
        start += piece.len();
        start += text[start..].chars().next().map_or(0, char::len_utf8);
        (at, piece)
    });
    pieces.flat_map(|(start, piece)| {
        let words = piece.split_word_bound_indices().filter(|(_, word)| word.contains(char::is_alphanumeric));
        words.map(move |(at, word)| Word {
            text: word.to_lowercase(),
            at: start + at..start + at + word.len(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<String> {
        words(text).map(|word| word.text).collect()
    }

    #[test]
    fn words_are_those_of_the_index() {
        for (text, expected) in [
            ("", &[][..]),
            ("-> ::", &[]),
            ("Connection refused", &["connection", "refused"]),
            ("10.0.0.1:8080", &["10", "0", "0", "1", "8080"]),
            ("java.io.IOException: it's", &["java", "io", "ioexception", "it", "s"]),
            ("user_id=42 [web-1]", &["user", "id", "42", "web", "1"]),
            ("GET /api/v1?x=%20", &["get", "api", "v1", "x", "20"]),
            ("连接被拒绝 refused", &["连", "接", "被", "拒", "绝", "refused"]),
            ("naïve ÄRGER", &["naïve", "ärger"]),
        ] {
            assert_eq!(of(text), expected, "{text}");
        }
    }

    #[test]
    fn a_word_knows_its_place() {
        let text = "a.b Größe:连x";
        for word in words(text) {
            assert_eq!(text[word.at.clone()].to_lowercase(), word.text);
        }
        assert_eq!(of(text), ["a", "b", "größe", "连", "x"]);
    }
}

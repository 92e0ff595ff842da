//! References to variables: `${NAME}` and its variants.
//!
//! The import does not look into its own environment: it is not that of the foreign service, and what is found
//! there may be a secret. A reference means what the file itself defines, or its default, or nothing.

use std::collections::BTreeMap;

/// How a product writes references.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(super) enum Style {
    /// `${NAME}`, `${NAME:default}`, `${NAME:?message}`.
    Filebeat,
    /// `${NAME}`.
    FluentBit,
    /// `$NAME`, `${NAME}`, `${NAME:-default}`, `${NAME-default}`, `${NAME:?message}`, and `$$` for the sign itself.
    Vector,
}

/// What references mean.
#[derive(Debug)]
pub(super) struct References {
    pub(super) style: Style,
    /// What the file itself defines.
    pub(super) known: BTreeMap<String, String>,
}

/// A text without references.
#[derive(Clone, Eq, PartialEq, Debug)]
pub(super) struct Resolved {
    pub(super) text: String,
    /// The variables whose defaults were taken.
    pub(super) defaults: Vec<String>,
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.'))
}

impl References {
    /// Resolves all references of a text; the error is the name of a variable that cannot be known.
    pub(super) fn resolve(&self, text: &str) -> Result<Resolved, String> {
        let mut resolved = Resolved { text: String::with_capacity(text.len()), defaults: Vec::new() };
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            resolved.text += before;
            let (length, reference) = self.reference(after);
            match reference {
                Reference::None => resolved.text.push('$'),
                Reference::To { name, default } => match (self.known.get(name), default) {
                    (Some(value), _) => resolved.text += value,
                    (None, Some(default)) => {
                        resolved.text += default;
                        resolved.defaults.push(name.to_owned());
                    }
                    (None, None) => return Err(name.to_owned()),
                },
            }
            rest = &after[length..];
        }
        resolved.text += rest;
        Ok(resolved)
    }

    /// What follows a `$`, and how much of it belongs to the reference.
    fn reference<'a>(&self, after: &'a str) -> (usize, Reference<'a>) {
        if let Some(inner) =
            after.strip_prefix('{').and_then(|inner| inner.split_once('}')).map(|(inner, _)| inner)
        {
            let (name, default) = self.name_and_default(inner);
            if is_name(name) {
                return (inner.len() + 2, Reference::To { name, default });
            }
        }
        if self.style != Style::Vector {
            return (0, Reference::None);
        }
        if after.starts_with('$') {
            return (1, Reference::None);
        }
        let length = after.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
        match &after[..length] {
            name if name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') => {
                (length, Reference::To { name, default: None })
            }
            _ => (0, Reference::None),
        }
    }

    fn name_and_default<'a>(&self, inner: &'a str) -> (&'a str, Option<&'a str>) {
        let split = match self.style {
            Style::FluentBit => None,
            Style::Filebeat => inner.split_once(':'),
            Style::Vector => inner
                .find([':', '-'])
                .map(|at| (&inner[..at], inner[at..].trim_start_matches(':').trim_start_matches('-'))),
        };
        match split {
            None => (inner, None),
            // A message for when there is no value, and so no value.
            Some((name, default)) if default.starts_with('?') => (name, None),
            Some((name, default)) => (name, Some(default)),
        }
    }
}

enum Reference<'a> {
    /// The sign stands for itself.
    None,
    To {
        name: &'a str,
        default: Option<&'a str>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_product_has_its_references() {
        let known = BTreeMap::from([("DIR".to_owned(), "/srv".to_owned())]);
        let check = |style, text: &str, expected: Result<(&str, &[&str]), &str>| {
            let resolved = References { style, known: known.clone() }.resolve(text);
            let expected = expected.map_err(str::to_owned).map(|(text, defaults)| Resolved {
                text: text.to_owned(),
                defaults: defaults.iter().map(|&name| name.to_owned()).collect(),
            });
            assert_eq!(resolved, expected, "{style:?} {text}");
        };
        for style in [Style::Filebeat, Style::FluentBit, Style::Vector] {
            check(style, r"\.gz$", Ok((r"\.gz$", &[])));
            check(style, "${DIR}/a-${DIR}", Ok(("/srv/a-/srv", &[])));
            check(style, "x${HOST}", Err("HOST"));
            check(style, "a${ b} ${} $ ${open", Ok(("a${ b} ${} $ ${open", &[])));
        }
        check(Style::Filebeat, "${HOST:kafka:9092}", Ok(("kafka:9092", &["HOST"])));
        check(Style::Filebeat, "${HOST:?set it}", Err("HOST"));
        check(Style::Filebeat, "$HOST", Ok(("$HOST", &[])));
        check(Style::FluentBit, "${HOST:kafka}", Ok(("${HOST:kafka}", &[])));
        check(Style::Vector, "${HOST:-kafka:9092},${B-b}", Ok(("kafka:9092,b", &["HOST", "B"])));
        check(Style::Vector, "${HOST:?set it}", Err("HOST"));
        check(Style::Vector, "$DIR/x $$DIR $1", Ok(("/srv/x $DIR $1", &[])));
        check(Style::Vector, "$HOST_1", Err("HOST_1"));
    }
}

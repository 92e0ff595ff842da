//! One item that stands alone, outside of any file, as etcd holds it.
//!
//! It is judged by the same code as an item of a file, and then by a little more: whoever may write into etcd
//! is trusted less than whoever may write the file, so what an item can cost is bounded.
//! Not here: which paths and topics it may name (`etcd::allow`).

use super::braces::expand;
use super::keys::key;
use super::plan::{ItemPlan, Origin, Symlinks};
use super::problem::{At, Problem, escaped};
use super::resolve;
use super::written::Section;

/// `include` and `exclude` together, with every alternative of their braces.
const GLOBS_MAX: usize = 1024;

/// `include_lines` and `exclude_lines` together.
const REGEXES_MAX: usize = 64;

/// A longer expression is no filter for lines.
const REGEX_BYTES_MAX: usize = 1024;

/// A reason is one line of a log and of a table.
const REASON_CHARS_MAX: usize = 400;

/// What the configuration of this host sets to the items of others.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct ItemLimits {
    /// The largest record that the brokers take.
    pub message_bytes_max: u64,
    /// The largest buffer that a line or a multiline event can have.
    pub line_buffer_max: usize,
}

/// The plan of an item of that name, from its text: the keys of `[[item]]` as a TOML table.
///
/// # Errors
/// All that is wrong with it, in one line.
pub fn item_of(name: &str, text: &str, limits: &ItemLimits) -> Result<ItemPlan, String> {
    let mut problems = Vec::new();
    match Section::read_item(text, &mut problems) {
        Ok(section) => {
            let plan = plan(section, name, limits, &mut problems);
            plan.filter(|_| problems.is_empty()).ok_or_else(|| reason(problems))
        }
        Err(problem) => Err(reason(vec![problem])),
    }
}

fn plan(
    mut section: Section,
    name: &str,
    limits: &ItemLimits,
    problems: &mut Vec<Problem>,
) -> Option<ItemPlan> {
    let named = section.text("item.name");
    if named.as_deref().is_some_and(|named| named != name) {
        let message = format!("`name` is {:?}, but its key says {name:?}", named.unwrap_or_default());
        problems.push(Problem::new(&section.at("item.name"), message));
    }
    if let Err(message) = affordable(&section) {
        problems.push(Problem::new(&section.at, message));
        return None;
    }
    let name_key = key("item.name").expect("a key");
    let at = section.at("item.name");
    match name_key.kind.check_text(name_key.name(), name) {
        Ok(value) => section.set(name_key, value, at),
        Err(message) => problems.push(Problem::new(&at, message)),
    }
    let mut plan = resolve::item(&section, limits.message_bytes_max, problems)?;
    if plan.symlinks == Symlinks::Follow {
        let message = "`symlinks = \"follow\"` is for whoever configures the host itself; leave it out here";
        problems.push(Problem::new(&section.at("item.symlinks"), message));
    }
    let (wanted, most) = (plan.frame.buffer_bytes_min(), limits.line_buffer_max);
    if wanted > most {
        let message = format!(
            "its longest line needs a buffer of {wanted} bytes, but this host has room for {most}; lower `line_bytes_max`"
        );
        problems.push(Problem::new(&section.at("item.line_bytes_max"), message));
    }
    plan.origin = Origin::Etcd;
    Some(plan)
}

/// Whether compiling it costs no more than it may.
fn affordable(section: &Section) -> Result<(), String> {
    let mut globs = 0;
    for path in ["item.include", "item.exclude"] {
        for text in section.texts(path) {
            // What is no pattern is refused as such later.
            globs += expand(&text.value).map_or(1, |patterns| patterns.len());
            if globs > GLOBS_MAX {
                return Err(format!("`include` and `exclude` stand for more than {GLOBS_MAX} patterns"));
            }
        }
    }
    let filters = ["item.include_lines", "item.exclude_lines"].map(|path| section.texts(path));
    let start = section.text("item.multiline.start");
    let texts = filters.iter().flatten().map(|text| &text.value).chain(&start);
    if texts.clone().count() > REGEXES_MAX {
        return Err(format!("more than {REGEXES_MAX} regular expressions"));
    }
    match texts.into_iter().any(|text| text.len() > REGEX_BYTES_MAX) {
        true => Err(format!("a regular expression is longer than {REGEX_BYTES_MAX} bytes")),
        false => Ok(()),
    }
}

fn reason(mut problems: Vec<Problem>) -> String {
    problems.sort_by(|a, b| a.at.cmp(&b.at));
    let told = problems.iter().map(|Problem { at, message }| match at {
        At::File { line, column } if *line > 1 => format!("line {line}:{column}: {message}"),
        _ => message.clone(),
    });
    let mut line = escaped(&told.collect::<Vec<_>>().join("; "));
    if let Some((end, _)) = line.char_indices().nth(REASON_CHARS_MAX) {
        line.truncate(end);
        line.push_str(" ...");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ItemLimits = ItemLimits { message_bytes_max: 1_048_588, line_buffer_max: 1_100_000 };

    fn refused(text: &str) -> String {
        item_of("web", text, &LIMITS).unwrap_err()
    }

    #[test]
    fn an_item_alone_is_what_it_is_in_a_file() {
        let text = "include = ['/l/*.log']\ntopic = 't'\nheaders = true\nline_bytes_max = '1KiB'\n[multiline]\nstart = '^x'\n";
        let plan = item_of("web", text, &LIMITS).unwrap();
        assert_eq!((&plan.name[..], &plan.topic[..], plan.headers), ("web", "t", true));
        assert_eq!(plan.origin, Origin::Etcd);
        assert!(plan.frame.multiline_start.is_some());
        assert!(item_of("web", &format!("name = 'web'\n{text}"), &LIMITS).is_ok());
    }

    #[test]
    fn g09_what_is_wrong_is_said_in_one_line() {
        let good = "include = ['/l/*.log']\ntopic = 't'\n";
        for (text, words) in [
            ("include = ['/l/*'", "broken TOML"),
            ("topic = 't'", "missing key `include`"),
            ("include = ['/l/*.log']", "missing key `topic`"),
            (&format!("{good}toppic = 'x'"), "did you mean `topic`?"),
            (&format!("{good}name = 'other'"), "its key says"),
            (&format!("{good}symlinks = 'follow'"), "for whoever configures the host"),
            (&format!("{good}line_bytes_max = '2MB'"), "`line_bytes_max`"),
            (&format!("{good}multiline.start = 'x'"), "this host has room for 1100000"),
            (&format!("{good}[kafka]\nbrokers = 'evil:9092'"), "unknown section `kafka`"),
            (&format!("{good}include_lines = ['(']"), "no valid regular expression"),
            (&format!("{good}include_lines = ['{}']", "a".repeat(2000)), "longer than 1024 bytes"),
            (&format!("{good}exclude_lines = [{}]", "'a', ".repeat(65)), "more than 64"),
            ("include = ['relative']\ntopic = 't'", "is not an absolute path"),
            ("include = ['/l/../etc/*']\ntopic = 't'", "holds `..`"),
            ("include = []\ntopic = 't'", "`include` is empty"),
            (
                &format!("include = [{}]\ntopic = 't'", "'/l/{a,b}{c,d}{e,f}{g,h}{i,j}{k,l}', ".repeat(17)),
                "more than 1024",
            ),
            (&format!("x = {}1{}", "[".repeat(5000), "]".repeat(5000)), "broken TOML"),
        ] {
            let line = refused(text);
            assert!(line.contains(words) && !line.contains('\n'), "{text:.60}: {line}");
            assert!(line.len() < 2000);
        }
    }
}

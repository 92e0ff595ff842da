//! Holds `docs/faults.md` and `SECURITY.md` against the sources: every fault is there, and every test that
//! they name exists.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Every fault that is known, by letter and number.
const FAULTS: [(char, &str); 8] = [
    ('R', "01 02 03 04 05 06 07 09 10 11 13 14 15 16 18 19"),
    ('F', "01 02 03 04 05 07 09 10 11 14 15"),
    ('C', "01 02 04 06 08 09 10 11 12 13"),
    ('S', "01 02 03 04 05 06 07 09 10 12 13 14 17 18"),
    ('K', "01 02 03 04 05 06 07 08 09 11 13 14 15 17 18 19 20 21 22 23 24 25"),
    ('I', "01 02 03 04 05"),
    ('G', "01 02 04 05 06 07 08 09 10 11 12 13"),
    ('X', "01 02 03 04 05 06 08 09 11 12 13 14 15"),
];

const STATUSES: [&str; 3] = ["tested", "limit", "not yet"];

#[derive(Debug)]
struct Row {
    text: String,
    tests: Vec<String>,
    status: String,
}

/// The rows of all tables, by id.
fn rows(document: &str) -> BTreeMap<String, Row> {
    let mut rows = BTreeMap::new();
    for line in document.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| id |")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [id, text, tests, status] = cells[..] else { panic!("four cells are wanted: {line}") };
        let tests = tests.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        let row = Row { text: text.to_owned(), tests, status: status.to_owned() };
        assert!(rows.insert(id.to_owned(), row).is_none(), "{id} is there twice");
    }
    rows
}

/// Whether a word in backticks is the name of a test: those begin with the id of a fault.
fn is_test(word: &str) -> bool {
    let id = word.split('_').next().unwrap_or_default();
    let number = id.get(1..).unwrap_or_default();
    word.len() > id.len() && number.len() == 2 && number.parse::<u8>().is_ok()
}

#[test]
fn every_test_that_the_security_page_names_exists() {
    let root = workspace();
    let mut sources = BTreeSet::new();
    functions(&root, &mut sources);
    let page = fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let named: Vec<&str> = page.split('`').skip(1).step_by(2).filter(|word| is_test(word)).collect();
    assert!(named.len() > 30, "{named:?}");
    for test in named {
        assert!(sources.contains(test), "SECURITY.md names `{test}`, which does not exist");
    }
    // Each row of its tables ends with the tests that show it.
    for line in page.lines().filter(|line| line.starts_with("| ") && !line.contains("| shown by |")) {
        let shown_by = line.trim_matches('|').rsplit('|').next().unwrap_or_default();
        let words: Vec<&str> = shown_by.split('`').skip(1).step_by(2).collect();
        assert!(!words.is_empty() && words.iter().all(|word| is_test(word)), "shown by nothing: {line}");
    }
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_path_buf()
}

/// The name of every function in every source file.
fn functions(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if entry.file_type().unwrap().is_dir() {
            if name != "target" && !name.to_string_lossy().starts_with('.') {
                functions(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).unwrap();
            found.extend(source.split("fn ").skip(1).map(|rest| {
                rest.chars().take_while(|&char| char.is_ascii_alphanumeric() || char == '_').collect()
            }));
        }
    }
}

#[test]
fn every_fault_is_documented_and_every_test_named_exists() {
    let root = workspace();
    let rows = rows(&fs::read_to_string(root.join("docs/faults.md")).unwrap());
    let known: BTreeSet<String> = FAULTS
        .iter()
        .flat_map(|(letter, numbers)| numbers.split(' ').map(move |number| format!("{letter}{number}")))
        .collect();
    let documented: BTreeSet<String> = rows.keys().cloned().collect();
    assert_eq!(documented, known);

    let mut sources = BTreeSet::new();
    functions(&root, &mut sources);
    for (id, row) in &rows {
        assert!(!row.text.is_empty(), "{id} says nothing");
        assert!(STATUSES.contains(&row.status.as_str()), "{id}: `{}` is no status", row.status);
        assert!(row.status != "tested" || !row.tests.is_empty(), "{id} is tested by nothing");
        for test in &row.tests {
            assert!(sources.contains(test), "{id} names `{test}`, which does not exist");
        }
    }
}

//! The answer for people: a page in the Markdown that GitHub shows with a job, and the table of it.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::verdict::Outcome;
use super::{Figure, Figures};
use crate::commands::instructions::changes_table;
use crate::report::table;

/// The page of a run; `lost` when lines were, which fails it whatever the figures.
pub(super) fn page(all: &Figures, lost: bool) -> String {
    let percent = all.threshold * 100.0;
    let (title, kind, sentence) = match all.outcome {
        _ if lost => (
            "failed",
            "CAUTION",
            "Lines were lost or damaged; see the report. Figures mean nothing.".to_owned(),
        ),
        Outcome::Regression => {
            ("regression", "CAUTION", format!("At least one figure is worse by more than {percent} %."))
        }
        Outcome::Inconclusive => (
            "inconclusive",
            "WARNING",
            format!(
                "Nothing is worse for sure, but the noise is too big to rule out {percent} %. Run more pairs."
            ),
        ),
        Outcome::Clean => ("no regression", "NOTE", format!("No figure is worse by more than {percent} %.")),
    };
    format!("## Logdrive: {title}\n\n> [!{kind}]\n> {sentence}\n\n{}", tables(all))
}

/// All figures, and what they are of.
pub(super) fn tables(all: &Figures) -> String {
    let mut parts = Vec::new();
    if !all.figures.is_empty() {
        let header = ["figure", "old", "new", "new / old [95 %]", "verdict"];
        parts.push(table(header, all.figures.iter().map(row)));
    }
    if !all.instructions_per_line.is_empty() {
        parts.push(changes_table(&all.instructions_per_line, all.threshold));
    }
    parts.push(all.caption());
    parts.join("\n\n") + "\n"
}

fn row(figure: &Figure) -> [String; 5] {
    let shown = |value: f64| if value >= 1000.0 { format!("{value:.0}") } else { format!("{value:.3}") };
    [
        figure.name.to_owned(),
        shown(figure.old),
        shown(figure.new),
        figure.ratio.to_string(),
        figure.verdict.to_string(),
    ]
}

/// Writes the page to `file`, or appends it to the summary of the job where there is one.
pub(super) fn write(page: &str, file: Option<&Path>) -> Result<()> {
    let of_the_job =
        || std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()).map(PathBuf::from);
    let (path, append) = match (file, of_the_job()) {
        (Some(file), _) => (file.to_owned(), false),
        (None, Some(path)) => (path, true),
        (None, None) => return Ok(()),
    };
    let mut options = std::fs::OpenOptions::new();
    options.create(true).write(true).append(append).truncate(!append);
    options
        .open(&path)
        .and_then(|mut file| file.write_all(page.as_bytes()))
        .with_context(|| format!("cannot write the summary to {}", path.display()))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::super::judge_all;
    use super::*;
    use crate::counts::Change;

    fn figures(outcome: Outcome) -> Figures {
        let change = Change { case: "frame.line_50".to_owned(), old: 100.0, new: 110.0 };
        Figures {
            outcome,
            threshold: 0.05,
            old: "main (0123456789ab)".to_owned(),
            new: "HEAD (ba9876543210)".to_owned(),
            pairs: 0,
            figures: judge_all(&[], 0.05),
            instructions_per_line: vec![change],
            runs: Vec::new(),
        }
    }

    #[test]
    fn a_regression_is_named_with_its_numbers() {
        let page = page(&figures(Outcome::Regression), false);
        let shown = page.rsplit_once("; ").unwrap().0;
        expect![[r"
            ## Logdrive: regression

            > [!CAUTION]
            > At least one figure is worse by more than 5 %.

            | instructions per line |    old |    new |   change | verdict |
            |-----------------------|--------|--------|----------|---------|
            | frame.line_50         | 100.00 | 110.00 | +10.00 % |   worse |

            old `main (0123456789ab)`, new `HEAD (ba9876543210)`; instruction counts only; threshold 5 %"]]
        .assert_eq(shown);
    }

    #[test]
    fn lost_lines_outrank_any_figure() {
        assert!(page(&figures(Outcome::Clean), true).starts_with("## Logdrive: failed"));
        assert!(page(&figures(Outcome::Clean), false).contains("> [!NOTE]"));
        assert!(page(&figures(Outcome::Inconclusive), false).contains("Run more pairs"));
    }

    #[test]
    fn a_summary_is_written_to_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("summary.md");
        write("one\n", Some(&path)).unwrap();
        write("two\n", Some(&path)).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
        assert!(
            write("x", Some(folder.path())).unwrap_err().to_string().contains("cannot write the summary")
        );
    }
}

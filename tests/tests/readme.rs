//! What README claims against the tests that show it.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};

const README: &str = include_str!("../../README.md");
const HEADING: &str = "## Against the kernel's `vxlan`";

/// The cells of the rows of the table under [`HEADING`].
fn rows() -> Result<Vec<Vec<&'static str>>> {
    let (_, section) = README.split_once(HEADING).context("the table's heading is gone")?;
    let lines =
        section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    // A bar within a cell is escaped.
    Ok(lines.skip(2).map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect()).collect())
}

#[test]
fn each_row_of_the_feature_table_names_a_test_that_is_there() -> Result<()> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let rows = rows()?;
    ensure!(rows.len() > 20, "only {} rows", rows.len());
    for row in &rows {
        let [feature, answer, how, shown] = row[..] else {
            anyhow::bail!("{row:?} has no four cells");
        };
        ensure!(["yes", "no", "not applicable", "better"].contains(&answer), "{feature}: {answer:?}");
        ensure!(!how.is_empty(), "{feature}: no word on how, or why not");
        let shown = shown.trim_end_matches('|').trim();
        ensure!(!shown.is_empty() || answer == "no", "{feature}: no test");
        if shown.is_empty() {
            continue;
        }
        let (file, name) = shown.trim_matches('`').split_once("::").with_context(|| shown.to_owned())?;
        let source =
            fs::read_to_string(tests.join(file).with_extension("rs")).with_context(|| file.to_owned())?;
        ensure!(
            source.contains(&format!("fn {name}(")) || source.contains(&format!("fn {name}<")),
            "{feature}: no {shown}"
        );
    }
    Ok(())
}

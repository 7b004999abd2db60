//! Figures that tests measure, for people to read.

use std::{fs::File, io::Write as _};

use anyhow::{Context as _, Result};

/// Names the file that figures are added to, which `cargo xtask test` prints at its end.
const FILE: &str = "OVERLAY_FIGURES";

/// Prints a line, and adds it to the file that the environment names, if it names one.
pub fn report(line: &str) -> Result<()> {
    println!("{line}");
    let Some(path) = std::env::var_os(FILE) else { return Ok(()) };
    let mut file = File::options().create(true).append(true).open(&path).context(FILE)?;
    // One write each, so that lines of tests that run side by side stay whole.
    file.write_all(format!("{line}\n").as_bytes()).context(FILE)
}

//! Commands that are refused: one line, an exit code, and nothing changed.

use anyhow::{Context as _, Result, ensure};

use crate::{overlay::Failure, topology::Host};

/// One line that begins `overlay: `, names what it is about, and comes with the code.
pub fn check(failure: &Failure, code: i32, about: &str) -> Result<()> {
    let Failure { code: found, stderr } = failure;
    let lines: Vec<_> = stderr.lines().collect();
    ensure!(lines.len() == 1, "{} lines: {stderr}", lines.len());
    ensure!(lines[0].starts_with("overlay: "), "does not begin `overlay: `: {stderr}");
    ensure!(lines[0].contains(about), "does not name {about}: {stderr}");
    ensure!(*found == code, "exit code {found} instead of {code}: {stderr}");
    Ok(())
}

/// The command is refused with `code`, and what was configured stays as it was.
pub fn refused(host: &Host, command: &str, code: i32, about: &str) -> Result<()> {
    let arguments: Vec<_> = command.split_whitespace().collect();
    let before = host.configuration()?;
    let failure = host.overlay_fails(&arguments)?;
    check(&failure, code, about).with_context(|| format!("`overlay {command}`"))?;
    let after = host.configuration()?;
    ensure!(before == after, "`overlay {command}` changed\n{before}\nto\n{after}");
    Ok(())
}

/// All of `cases`: command, exit code, and what the message has to name. Reports every one that is wrong.
pub fn all_refused(host: &Host, cases: &[(&str, i32, &str)]) -> Result<()> {
    let wrong: Vec<_> = cases
        .iter()
        .filter_map(|(command, code, about)| refused(host, command, *code, about).err())
        .map(|error| format!("{error:#}"))
        .collect();
    ensure!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    Ok(())
}

//! `cargo-deb`, which makes the Debian package.

use std::process::Command;

use anyhow::{Result, bail};

use super::programs;
use crate::{
    process::{cargo, output, quietly, say},
    version::Version,
};

const RELEASE: &str = "3.6.2";
const OLDEST: Version = Version(3, 6);

/// Builds it into cargo's own `bin` where none serves.
///
/// # Errors
///
/// When the build fails.
pub(super) fn ensure() -> Result<()> {
    let Err(why) = check() else { return Ok(()) };
    say(&format!("{why:#}"));
    let mut install = cargo();
    // Its record of an earlier one is no program.
    install.args(["install", "cargo-deb", "--version", RELEASE, "--locked", "--force"]);
    quietly(&format!("building cargo-deb {RELEASE}"), &mut install)?;
    check()
}

fn check() -> Result<()> {
    let Some(path) = programs::on_path("cargo-deb") else { bail!("cargo-deb is missing") };
    let said = output(Command::new(&path).arg("--version"))?;
    // With or without its name before.
    let release = said.split_whitespace().find_map(Version::parse);
    if release < Some(OLDEST) {
        bail!("{} is older than {OLDEST}", path.display());
    }
    Ok(())
}

//! The builds of `overlay`, which `run`, `test` and `bench` share, and of the bench.
//!
//! It is the unoptimised one: the forwarding path is optimised in any case, and the rest builds in half the time.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::process;

/// Builds it and returns where it is.
///
/// # Errors
///
/// When the build fails.
pub(crate) fn build() -> Result<PathBuf> {
    build_package("overlay-userspace", "overlay")
}

/// Builds the bench and returns where it is.
///
/// # Errors
///
/// When the build fails.
pub(crate) fn build_bench() -> Result<PathBuf> {
    build_package("overlay-bench", "overlay-bench")
}

fn build_package(package: &str, program: &str) -> Result<PathBuf> {
    process::pass(process::cargo().args(["build", "-p", package]))?;
    // Beside our own profile's directory, wherever cargo's configuration puts the target directory.
    let own = env::current_exe().context("no path of this program")?;
    let target = own.ancestors().nth(2).context("this program is in no target directory")?;
    Ok(target.join("debug").join(program))
}

/// The directory of the workspace.
pub(crate) fn workspace() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

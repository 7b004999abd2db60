//! The builds of `overlay`, which `run`, `test` and `bench` share, and of the bench.
//!
//! It is the unoptimised one: the forwarding path is optimised in any case, and the rest builds in half the time. Only where the
//! time of commands is measured it is not.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use crate::process;

/// Builds it and returns where it is.
///
/// # Errors
///
/// When the build fails.
pub(crate) fn build() -> Result<PathBuf> {
    build_package("overlay-userspace", "overlay")
}

/// Builds it with all optimisations and returns where it is: for when its own time is measured.
///
/// # Errors
///
/// When the build fails.
pub(crate) fn build_optimised() -> Result<PathBuf> {
    process::pass(process::cargo().args(["build", "--release", "-p", "overlay-userspace"]))?;
    Ok(target()?.join("release").join("overlay"))
}

/// Where what [`build`] or [`build_optimised`] made is.
///
/// # Errors
///
/// Where it made nothing yet.
pub(crate) fn built(is_debug: bool) -> Result<PathBuf> {
    let overlay = target()?.join(if is_debug { "debug" } else { "release" }).join("overlay");
    ensure!(overlay.exists(), "there is no {}; it has to be built first", overlay.display());
    Ok(overlay)
}

/// Builds the bench and returns where it is.
///
/// # Errors
///
/// When the build fails.
pub(crate) fn build_bench() -> Result<PathBuf> {
    build_package("overlay-bench", "overlay-bench")
}

/// Builds what takes pictures and returns where it is.
///
/// # Errors
///
/// When the build fails.
pub(crate) fn build_gallery() -> Result<PathBuf> {
    build_package("overlay-gallery", "overlay-gallery")
}

fn build_package(package: &str, program: &str) -> Result<PathBuf> {
    process::pass(process::cargo().args(["build", "-p", package]))?;
    Ok(target()?.join("debug").join(program))
}

/// The directory that profiles have theirs in: wherever cargo's configuration puts it, our own profile's is there too.
fn target() -> Result<PathBuf> {
    let own = env::current_exe().context("no path of this program")?;
    own.ancestors().nth(2).map(Path::to_owned).context("this program is in no target directory")
}

/// The directory of the workspace.
pub(crate) fn workspace() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

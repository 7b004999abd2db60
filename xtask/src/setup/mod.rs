//! `cargo xtask setup`: what building, testing and linting need, installed where it is missing.
//!
//! Everything is looked for where it is used (a program on `PATH`, a file) and only then asked of a package manager,
//! so that a machine set up by other means is left alone.

mod apt;
mod linker;
mod packager;
mod programs;
pub(crate) mod toolchain;

use anyhow::{Result, bail};

use self::{programs::Caller, toolchain::Compiler};
use crate::process::say;

/// What is wanted beside the compiler and `bpf-linker`, which every task needs.
#[derive(Clone, Copy)]
struct Wants {
    programs: Option<Caller>,
    clippy: bool,
    packager: bool,
}

/// Sets up for every task.
///
/// # Errors
///
/// When something is missing and cannot be installed here; says what to do.
pub(crate) fn everything() -> Result<()> {
    let compiler = ensure(Wants { programs: Some(Caller::Bench), clippy: true, packager: true })?;
    say(&format!("set up: toolchain {} is {compiler}", toolchain::NAME));
    Ok(())
}

/// Sets up for building and running, with the programs that the demo calls if wanted.
///
/// # Errors
///
/// As [`everything`].
pub(crate) fn for_running(programs: bool) -> Result<()> {
    let programs = programs.then_some(Caller::Demo);
    ensure(Wants { programs, clippy: false, packager: false }).map(drop)
}

/// Sets up for building and testing.
///
/// # Errors
///
/// As [`everything`].
pub(crate) fn for_testing() -> Result<()> {
    ensure(Wants { programs: Some(Caller::Tests), clippy: false, packager: true }).map(drop)
}

/// Sets up for building and packaging.
///
/// # Errors
///
/// As [`everything`].
pub(crate) fn for_packaging() -> Result<()> {
    ensure(Wants { programs: Some(Caller::Packager), clippy: false, packager: true }).map(drop)
}

/// Sets up for building and measuring.
///
/// # Errors
///
/// As [`everything`].
pub(crate) fn for_measuring() -> Result<()> {
    ensure(Wants { programs: Some(Caller::Bench), clippy: false, packager: false }).map(drop)
}

/// Sets up for linting.
///
/// # Errors
///
/// As [`everything`].
pub(crate) fn for_linting() -> Result<()> {
    ensure(Wants { programs: None, clippy: true, packager: false }).map(drop)
}

fn ensure(wants: Wants) -> Result<Compiler> {
    let mut packages = Vec::new();
    if let Some(caller) = wants.programs {
        packages.extend(programs::missing_packages(caller));
    }
    let found = toolchain::find()?;
    match &found {
        None => packages.extend(toolchain::debian_packages()),
        Some(compiler) if wants.clippy && !compiler.has_clippy() => {
            packages.extend(compiler.clippy_packages()?);
        }
        Some(_) => {}
    }
    apt::install(&packages)?;

    let absent = wants.programs.map(programs::missing).unwrap_or_default();
    if !absent.is_empty() {
        bail!("installed but not on PATH: {}; is /usr/sbin on it?", absent.join(", "));
    }
    let compiler = match found {
        Some(compiler) => compiler,
        None => toolchain::link_debian()?,
    };
    linker::ensure(&compiler)?;
    if wants.packager {
        packager::ensure()?;
    }
    Ok(compiler)
}

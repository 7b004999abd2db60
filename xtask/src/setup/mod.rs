//! `cargo xtask setup`: what building, testing and linting need, installed where it is missing.
//!
//! Everything is looked for where it is used (a program on `PATH`, a file) and only then asked of a package manager,
//! so that a machine set up by other means is left alone.

mod apt;
mod linker;
mod programs;
pub(crate) mod toolchain;

use anyhow::{Result, bail};

use self::toolchain::Compiler;
use crate::process::say;

/// What is wanted beside the compiler and `bpf-linker`, which every task needs.
#[derive(Clone, Copy)]
struct Wants {
    programs: bool,
    clippy: bool,
}

/// Sets up for every task.
///
/// # Errors
///
/// When something is missing and cannot be installed here; says what to do.
pub(crate) fn everything() -> Result<()> {
    let compiler = ensure(Wants { programs: true, clippy: true })?;
    say(&format!("set up: toolchain {} is {compiler}", toolchain::NAME));
    Ok(())
}

/// Sets up for building and running, with the programs that the demo and the tests call if wanted.
///
/// # Errors
///
/// As [`everything`].
pub(crate) fn for_running(programs: bool) -> Result<()> {
    ensure(Wants { programs, clippy: false }).map(drop)
}

/// Sets up for linting.
///
/// # Errors
///
/// As [`everything`].
pub(crate) fn for_linting() -> Result<()> {
    ensure(Wants { programs: false, clippy: true }).map(drop)
}

fn ensure(wants: Wants) -> Result<Compiler> {
    let mut packages = Vec::new();
    if wants.programs {
        packages.extend(programs::missing_packages());
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

    let absent = if wants.programs { programs::missing() } else { Vec::new() };
    if !absent.is_empty() {
        bail!("installed but not on PATH: {}; is /usr/sbin on it?", absent.join(", "));
    }
    let compiler = match found {
        Some(compiler) => compiler,
        None => toolchain::link_debian()?,
    };
    linker::ensure(&compiler)?;
    Ok(compiler)
}

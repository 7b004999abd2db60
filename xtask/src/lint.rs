//! `cargo xtask lint`.

use std::{
    env::consts::ARCH,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    binary, process,
    setup::{self, toolchain},
};

/// No source file may be longer: past that, an idea is missing.
const MAX_LINES: usize = 450;

/// Runs every check, so that one failure does not hide the next.
///
/// # Errors
///
/// When set-up or a check fails; names those that did.
pub(crate) fn lint() -> Result<()> {
    setup::for_linting()?;
    let mut failed = Vec::new();
    for (name, outcome) in [
        ("file lengths", lengths()),
        ("formatting", process::pass(&mut formatting())),
        ("clippy", process::pass(&mut clippy())),
        ("clippy of the eBPF programs", process::pass(&mut clippy_ebpf(""))),
        ("clippy of those that explain", process::pass(&mut clippy_ebpf("overlay-ebpf/explain"))),
    ] {
        if let Err(error) = outcome {
            process::say(&format!("{name}: {error:#}"));
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!("lint failed: {}", failed.join(", "));
    }
    process::say("lint passed");
    Ok(())
}

fn formatting() -> Command {
    let mut cargo = process::cargo();
    cargo.args(["fmt", "--all", "--check"]);
    cargo
}

fn clippy() -> Command {
    let mut cargo = process::cargo();
    cargo.args(["clippy", "--workspace", "--exclude", "overlay-ebpf"]);
    cargo.args(["--exclude", "overlay-bench-ebpf", "--all-targets"]);
    cargo.args(["--", "-D", "warnings"]);
    cargo
}

/// Clippy of the very compiler that builds the programs, for their own target and with the flags of their build:
/// lints see what is loaded, which they would not on the host's target.
fn clippy_ebpf(features: &str) -> Command {
    let target = if cfg!(target_endian = "big") { "bpfeb" } else { "bpfel" };
    let arch = if ARCH.starts_with("riscv64") { "riscv64" } else { ARCH };
    let mut command = Command::new("rustup");
    command
        .current_dir(binary::workspace())
        .args(["run", toolchain::NAME, "cargo", "clippy", "--release"])
        .args(["-p", "overlay-ebpf", "-p", "overlay-bench-ebpf"])
        .args(["--target", &format!("{target}-unknown-none"), "-Z", "build-std=core"])
        .args(["--features", features])
        .args(["--", "-D", "warnings"])
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", format!("--cfg=bpf_target_arch=\"{arch}\""))
        // Of the toolchain that runs us, where the caller set them.
        .env_remove("RUSTC")
        .env_remove("RUSTC_WORKSPACE_WRAPPER");
    command
}

fn lengths() -> Result<()> {
    let mut too_long = Vec::new();
    for path in sources(binary::workspace())? {
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let lines = text.lines().count();
        if lines > MAX_LINES {
            let path = path.strip_prefix(binary::workspace()).unwrap_or(&path);
            too_long.push(format!("{} has {lines}", path.display()));
        }
    }
    if !too_long.is_empty() {
        bail!("more than {MAX_LINES} lines: {}", too_long.join(", "));
    }
    Ok(())
}

/// Every `.rs` file below, but for hidden directories and cargo's output.
fn sources(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        if entry.file_type()?.is_dir() {
            if name != "target" && !name.to_string_lossy().starts_with('.') {
                found.extend(sources(&path)?);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(found)
}

//! `cargo xtask test`.

use std::fs;

use anyhow::{Context as _, Result, bail};

use crate::{binary, process, setup};

/// Runs every test of the workspace, which finds `overlay` in `OVERLAY_BIN`.
///
/// # Errors
///
/// When not root, or set-up, a build or a test fails.
pub(crate) fn test(args: &[String]) -> Result<()> {
    if !process::is_root() {
        bail!("tests make network namespaces and load eBPF programs: run `cargo xtask test` as root");
    }
    setup::for_testing()?;
    let mut cargo = process::cargo();
    // Those build for BPF only.
    cargo.args(["test", "--workspace", "--exclude", "overlay-ebpf", "--exclude", "overlay-bench-ebpf"]);
    let overlay = binary::build()?;
    let figures = overlay.with_file_name("figures.txt");
    let _ = fs::remove_file(&figures);
    cargo.args(args).env("OVERLAY_BIN", overlay).env("OVERLAY_FIGURES", &figures);
    let outcome = process::pass(&mut cargo).context("tests failed");
    // None are measured where `args` choose other tests.
    for line in fs::read_to_string(&figures).unwrap_or_default().lines() {
        process::say(line);
    }
    outcome?;
    process::say("all tests passed");
    Ok(())
}

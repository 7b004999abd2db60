//! `cargo xtask test`.

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
    setup::for_running(true)?;
    let mut cargo = process::cargo();
    // `overlay-ebpf` builds for BPF only.
    cargo.args(["test", "--workspace", "--exclude", "overlay-ebpf"]);
    cargo.args(args).env("OVERLAY_BIN", binary::build()?);
    process::pass(&mut cargo).context("tests failed")?;
    process::say("all tests passed");
    Ok(())
}

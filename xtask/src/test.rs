//! `cargo xtask test`.

use std::{env, fs, num::NonZero, thread};

use anyhow::{Context as _, Result, bail};

use crate::{binary, process, setup};

/// How many tests run at a time, for Rust's test harness.
const THREADS: &str = "RUST_TEST_THREADS";

/// Two for each CPU: tests wait for the kernel most of the time.
fn side_by_side() -> usize {
    2 * thread::available_parallelism().map_or(1, NonZero::get)
}

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
    // Those build for BPF only.
    cargo.args(["test", "--workspace", "--exclude", "overlay-ebpf", "--exclude", "overlay-bench-ebpf"]);
    let overlay = binary::build()?;
    let figures = overlay.with_file_name("figures.txt");
    let _ = fs::remove_file(&figures);
    if env::var_os(THREADS).is_none() {
        cargo.env(THREADS, side_by_side().to_string());
    }
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

//! `cargo xtask bench`.

use anyhow::{Result, bail};

use crate::{binary, process, setup};

/// Builds `overlay` and the bench, and becomes the bench, which finds `overlay` in `OVERLAY_BIN`.
///
/// # Errors
///
/// When not root, or set-up or a build fails; what happens after is the bench's own.
pub(crate) fn bench(args: &[String]) -> Result<()> {
    let asks_for_help = args.iter().any(|arg| arg == "--help" || arg == "-h");
    if !process::is_root() && !asks_for_help {
        bail!("the bench makes network namespaces and loads eBPF programs: run `cargo xtask bench` as root");
    }
    setup::for_measuring()?;
    let is_about_commands = args.iter().any(|arg| arg == "--scale");
    let overlay = if is_about_commands { binary::build_optimised()? } else { binary::build()? };
    let mut bench = std::process::Command::new(binary::build_bench()?);
    Err(process::become_it(bench.args(args).env("OVERLAY_BIN", overlay)))
}

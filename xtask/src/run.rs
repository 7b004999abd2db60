//! `cargo xtask run`.

use std::process::Command;

use anyhow::Result;

use crate::{binary, process, setup};

/// Builds `overlay` and becomes it.
///
/// # Errors
///
/// When set-up or build fail; what happens after is `overlay`'s own.
pub(crate) fn run(args: &[String]) -> Result<()> {
    if !process::is_root() {
        process::say(
            "not root: `overlay` will refuse what needs root; build here, then `sudo target/debug/overlay demo`",
        );
    }
    let demo = args.is_empty();
    setup::for_running(demo)?;
    let mut overlay = Command::new(binary::build()?);
    if demo {
        overlay.arg("demo");
    }
    Err(process::become_it(overlay.args(args)))
}

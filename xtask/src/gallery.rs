//! `cargo xtask gallery`.

use anyhow::{Result, bail};

use crate::{binary, process, setup};

/// Builds `overlay` and the program that takes pictures of it, and becomes that.
///
/// # Errors
///
/// When not root, or set-up or a build fails; what happens after is the program's own.
pub(crate) fn gallery(names: &[String]) -> Result<()> {
    if !process::is_root() {
        bail!("pictures are of hosts in network namespaces: run `cargo xtask gallery` as root");
    }
    setup::for_running(true)?;
    let overlay = binary::build()?;
    let mut gallery = std::process::Command::new(binary::build_gallery()?);
    gallery.arg(binary::workspace().join("docs/gallery")).args(names).env("OVERLAY_BIN", overlay);
    Err(process::become_it(&mut gallery))
}

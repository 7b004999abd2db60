//! The Debian package of the binary under test.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use anyhow::{Context as _, Result, anyhow, ensure};

use crate::{copy::Copy, declared::TempDirectory, overlay, process};

/// Its name.
pub const NAME: &str = "overlay";

/// Where it is put in a copy.
const PLACE: &str = "/var/tmp/overlay.deb";

/// The package's bytes, made once for all tests by `cargo xtask package`.
pub fn bytes() -> Result<&'static [u8]> {
    static PACKAGE: OnceLock<Result<Vec<u8>, String>> = OnceLock::new();
    let made = PACKAGE.get_or_init(|| make().map_err(|error| format!("{error:#}")));
    made.as_deref().map_err(|error| anyhow!("no package: {error}"))
}

fn make() -> Result<Vec<u8>> {
    let directory = TempDirectory::new("package");
    // Beside the binary under test, which it packs.
    let xtask = overlay::binary()?.with_file_name("xtask");
    ensure!(xtask.exists(), "there is no {}: run `cargo xtask test`", xtask.display());
    fs::create_dir(directory.path())?;
    process::checked(
        Command::new(xtask).args(["package", "--debug", "--no-build", "--output"]).arg(directory.path()),
    )?;
    let files = fs::read_dir(directory.path())?.map(|file| Ok(file?.path()));
    let files: Vec<PathBuf> = files.collect::<Result<_>>()?;
    let [file] = &files[..] else { anyhow::bail!("not one file: {files:?}") };
    fs::read(file).context("unreadable")
}

/// Puts it into a copy; where it is there.
pub fn put(copy: &Copy) -> Result<&'static str> {
    fs::write(copy.path(PLACE), bytes()?)?;
    Ok(PLACE)
}

/// Installs it in a copy, or upgrades what is there.
pub fn install(copy: &Copy) -> Result<String> {
    copy.run(&["dpkg", "--install", put(copy)?])
}

/// Puts it into a directory here; where it is.
pub fn put_here(directory: &Path) -> Result<PathBuf> {
    let path = directory.join(format!("{NAME}_{}_amd64.deb", env!("CARGO_PKG_VERSION")));
    fs::write(&path, bytes()?)?;
    Ok(path)
}

//! `cargo xtask package`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{binary, process, setup};

/// Completion scripts by shell, and what their files are called.
const COMPLETIONS: [(&str, &str); 3] = [("bash", "overlay"), ("zsh", "_overlay"), ("fish", "overlay.fish")];

/// Which build is packaged, and where the package goes.
#[derive(Debug, clap::Args)]
pub(crate) struct Package {
    /// Package the unoptimised build, which `run` and `test` use
    #[arg(long)]
    debug: bool,
    /// Package what was built before
    #[arg(long)]
    no_build: bool,
    /// The directory that the package is written to [default: target/debian]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

impl Package {
    /// Makes the Debian package: cargo-deb packs the binary, and what the binary has to say about itself. What is in it, and
    /// where, stands in `overlay-userspace/Cargo.toml`.
    ///
    /// # Errors
    ///
    /// When set-up, a build or cargo-deb fails.
    pub(crate) fn make(&self) -> Result<()> {
        setup::for_packaging()?;
        let overlay = match (self.debug, self.no_build) {
            (true, false) => binary::build()?,
            (false, false) => binary::build_optimised()?,
            (is_debug, true) => binary::built(is_debug)?,
        };
        write_parts(&overlay)?;
        let mut deb = process::cargo();
        deb.args(["deb", "--quiet", "--package", "overlay-userspace", "--no-build"]);
        if self.debug {
            // Nobody keeps it: the quickest compression will do.
            deb.args(["--profile", "dev", "--fast"]);
        }
        if let Some(directory) = &self.output {
            deb.arg("--output").arg(std::path::absolute(directory)?);
        }
        process::pass(&mut deb)
    }
}

/// Has a binary write its manual pages and completion scripts into `package` beside it, where cargo-deb is told to look.
fn write_parts(overlay: &Path) -> Result<()> {
    let parts = overlay.with_file_name("package");
    // Pages of commands that there are no more would stay.
    let _ = fs::remove_dir_all(&parts);
    let pages = parts.join("man");
    process::output(Command::new(overlay).arg("man").arg(&pages))?;
    process::output(Command::new("gzip").args(["--best", "--no-name", "--recursive"]).arg(&pages))?;
    for (shell, name) in COMPLETIONS {
        let script = process::output(Command::new(overlay).args(["completions", shell]))?;
        let path = parts.join(name);
        fs::write(&path, script).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_changelog_is_of_this_version() {
        let changelog = include_str!("../../contrib/debian/changelog");
        let (first, _) = changelog.split_once(')').expect("a version in parentheses");
        assert_eq!(first, concat!("overlay (", env!("CARGO_PKG_VERSION")));
    }
}

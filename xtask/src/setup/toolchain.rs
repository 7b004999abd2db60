//! The rustup toolchain that compiles the eBPF programs.
//!
//! `-Z build-std=core` needs the library source of the very compiler: a rustup toolchain with the component
//! `rust-src`, or Debian's compiler with its source package.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::{apt::Package, linker};
use crate::{
    process::{output, say},
    version::Version,
};

/// The name by which `overlay-userspace/build.rs` asks for it.
pub(crate) const NAME: &str = "overlay-bpf";

/// Where Debian's compiler lives.
const SYSTEM: &str = "/usr";

/// Debian's newest compiler with cargo, library source and clippy.
const DEBIAN: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "rust-web-clippy"];

/// A compiler that can build the programs.
pub(crate) struct Compiler {
    sysroot: PathBuf,
    release: Version,
    /// Major version of its LLVM.
    pub(crate) llvm: u32,
}

impl fmt::Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sysroot, release, llvm } = self;
        write!(f, "rustc {release} with LLVM {llvm} in {}", sysroot.display())
    }
}

impl Compiler {
    /// Looks at what is installed there.
    ///
    /// # Errors
    ///
    /// Why it will not do.
    fn inspect(sysroot: &Path) -> Result<Self> {
        let rustc = sysroot.join("bin/rustc");
        if !rustc.exists() || !sysroot.join("bin/cargo").exists() {
            bail!("no rustc and cargo");
        }
        let said = output(Command::new(rustc).arg("-vV"))?;
        let (release, llvm) = parse_verbose_version(&said).context("unknown version")?;
        let oldest = oldest();
        if release < oldest {
            bail!("rustc {release} is older than {oldest}");
        }
        if !sysroot.join("lib/rustlib/src/rust/library/core").exists() {
            bail!("no library source");
        }
        if !linker::LLVMS.contains(&llvm) {
            bail!("no bpf-linker for LLVM {llvm}");
        }
        let sysroot = fs::canonicalize(sysroot)?;
        Ok(Self { sysroot, release, llvm })
    }

    /// Whether clippy of the same version is beside it.
    pub(crate) fn has_clippy(&self) -> bool {
        ["cargo-clippy", "clippy-driver"]
            .iter()
            .all(|program| self.sysroot.join("bin").join(program).exists())
    }

    /// The packages that bring clippy.
    ///
    /// # Errors
    ///
    /// Where it is for rustup to bring it.
    pub(crate) fn clippy_packages(&self) -> Result<Vec<Package>> {
        if self.sysroot != Path::new(SYSTEM) {
            let toolchain = self.sysroot.file_name().unwrap_or_default().display();
            bail!("{self} has no clippy; run\n  rustup component add clippy --toolchain {toolchain}");
        }
        Ok(debian_packages())
    }
}

/// Debian's compiler, new enough.
pub(crate) fn debian_packages() -> Vec<Package> {
    DEBIAN.iter().map(|name| Package::at_least(*name, oldest())).collect()
}

/// The toolchain as it is linked, or else linked now to a compiler that is already here.
///
/// # Errors
///
/// Without rustup.
pub(crate) fn find() -> Result<Option<Compiler>> {
    let toolchains = toolchains()?;
    let link = toolchains.join(NAME);
    // A link outlives its target, and a target loses its source by an update.
    let why = match Compiler::inspect(&link) {
        Ok(compiler) => return Ok(Some(compiler)),
        Err(why) => why,
    };
    if fs::symlink_metadata(&link).is_ok() {
        say(&format!("toolchain {NAME} will not do: {why:#}"));
    }
    for sysroot in compilers(&toolchains) {
        match Compiler::inspect(&sysroot) {
            Ok(_) => return self::link(&sysroot).map(Some),
            Err(why) => say(&format!("{} will not do: {why:#}", sysroot.display())),
        }
    }
    say("Debian's compiler would do, and so would: rustup toolchain install nightly --component rust-src");
    Ok(None)
}

/// Links Debian's compiler, once it is installed.
///
/// # Errors
///
/// When it will not do after all.
pub(crate) fn link_debian() -> Result<Compiler> {
    link(Path::new(SYSTEM))
}

fn link(sysroot: &Path) -> Result<Compiler> {
    say(&format!("linking rustup toolchain {NAME} to {}", sysroot.display()));
    output(Command::new("rustup").args(["toolchain", "link", NAME]).arg(sysroot))?;
    Compiler::inspect(&toolchains()?.join(NAME))
        .with_context(|| format!("toolchain {NAME}, linked to {}, will not do", sysroot.display()))
}

/// Where rustup keeps toolchains, each a directory or a link.
fn toolchains() -> Result<PathBuf> {
    let home = output(Command::new("rustup").args(["show", "home"]))
        .context("rustup is needed: see https://rustup.rs")?;
    Ok(Path::new(home.trim()).join("toolchains"))
}

/// Compilers that may serve: rustup's, nightly first, then the system's.
fn compilers(toolchains: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(toolchains).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name()).filter(|name| name != NAME).collect();
    names.sort_by_key(|name| (!name.to_string_lossy().starts_with("nightly"), name.clone()));
    let own = names.into_iter().map(|name| toolchains.join(name));
    own.chain([PathBuf::from(SYSTEM)]).collect()
}

/// The oldest compiler that the workspace accepts.
fn oldest() -> Version {
    Version::parse(env!("CARGO_PKG_RUST_VERSION")).expect("the workspace names its rust-version")
}

/// Release and LLVM's major number, from `rustc -vV`.
fn parse_verbose_version(text: &str) -> Option<(Version, u32)> {
    let field = |name| text.lines().find_map(|line| line.strip_prefix(name));
    let release = Version::parse(field("release: ")?)?;
    let Version(llvm, _) = Version::parse(field("LLVM version: ")?)?;
    Some((release, llvm))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_verbose_version() {
        let text = "\
rustc 1.97.0-nightly (e50aa6fba 2026-05-19)
binary: rustc
commit-hash: e50aa6fba4e63ab34c72bf9acfd2c307c1155d1a
commit-date: 2026-05-19
host: x86_64-unknown-linux-gnu
release: 1.97.0-nightly
LLVM version: 22.1.4
";
        assert_eq!(parse_verbose_version(text), Some((Version(1, 97), 22)));
    }

    #[test]
    fn a_version_without_llvm_is_none() {
        assert_eq!(parse_verbose_version("rustc 1.97.0\nrelease: 1.97.0\n"), None);
        assert_eq!(parse_verbose_version(""), None);
    }

    #[test]
    fn inspects_nothing_where_nothing_is() {
        let error = Compiler::inspect(Path::new("/nonexistent")).err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some("no rustc and cargo"));
    }
}

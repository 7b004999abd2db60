//! `bpf-linker`, which turns LLVM bitcode into the eBPF object and so must know the compiler's LLVM.

use std::{
    env, fs,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::{apt, programs, toolchain::Compiler};
use crate::{
    process::{cargo, output, quietly, say},
    version::Version,
};

/// The versions of LLVM it can be built with.
pub(super) const LLVMS: RangeInclusive<u32> = 21..=23;

const RELEASE: &str = "0.13.0";
const OLDEST: Version = Version(0, 13);

/// Builds it into cargo's own `bin` where none serves.
///
/// # Errors
///
/// When what its build needs cannot be installed here, or the build fails.
pub(super) fn ensure(compiler: &Compiler) -> Result<()> {
    let Err(why) = check(compiler.llvm) else {
        return Ok(());
    };
    say(&format!("{why:#}"));
    build(compiler.llvm)?;
    check(compiler.llvm)
}

fn build(llvm: u32) -> Result<()> {
    let mut install = cargo();
    install
        .env("LLVM_PREFIX", llvm_prefix(llvm)?)
        .args(["install", "bpf-linker", "--version", RELEASE, "--locked"])
        .args(["--no-default-features", "--features", &format!("llvm-{llvm}")])
        // Cargo would take its record of an earlier one for the program.
        .arg("--force");
    quietly(&format!("building bpf-linker {RELEASE} with LLVM {llvm}"), &mut install)
}

/// Where LLVM is: as the caller says, or else as Debian installs it.
fn llvm_prefix(llvm: u32) -> Result<PathBuf> {
    if let Some(prefix) = env::var_os("LLVM_PREFIX") {
        return Ok(prefix.into());
    }
    let prefix = PathBuf::from(format!("/usr/lib/llvm-{llvm}"));
    apt::install(&missing_packages(llvm, &prefix))
        .context("bpf-linker needs LLVM; LLVM_PREFIX may name another place of it")?;
    Ok(prefix)
}

fn missing_packages(llvm: u32, prefix: &Path) -> Vec<apt::Package> {
    let files = [
        (prefix.join("bin/llvm-config"), format!("llvm-{llvm}-dev")),
        (prefix.join("lib/libPolly.a"), format!("libpolly-{llvm}-dev")),
        (PathBuf::from("/usr/include/zstd.h"), "libzstd-dev".to_owned()),
        (PathBuf::from("/usr/include/zlib.h"), "zlib1g-dev".to_owned()),
        (PathBuf::from("/usr/include/libxml2"), "libxml2-dev".to_owned()),
        (PathBuf::from("/usr/bin/c++"), "g++".to_owned()),
    ];
    files
        .into_iter()
        .filter(|(file, _)| !file.exists())
        .map(|(_, package)| apt::Package::new(package))
        .collect()
}

/// Whether the one on `PATH`, which the compiler takes, serves.
fn check(llvm: u32) -> Result<()> {
    let Some(path) = programs::on_path("bpf-linker") else {
        bail!("bpf-linker is missing");
    };
    let shown = path.display();
    let said = output(Command::new(&path).arg("--version"))?;
    let release = said.split_whitespace().nth(1).and_then(Version::parse);
    if release < Some(OLDEST) {
        bail!("{shown} is older than {OLDEST}");
    }
    // A later LLVM reads the bitcode of an earlier one. One that is linked in statically does not show.
    match linked_llvm(&fs::read(&path)?) {
        Some(own) if own < llvm => {
            bail!("{shown} is of LLVM {own} and the compiler of LLVM {llvm}")
        }
        _ => Ok(()),
    }
}

/// The major version in the name of the shared LLVM library that a program asks for.
fn linked_llvm(program: &[u8]) -> Option<u32> {
    const NAME: &[u8] = b"libLLVM.so.";
    let start = program.windows(NAME.len()).position(|bytes| bytes == NAME)? + NAME.len();
    let digits: Vec<u8> = program[start..].iter().copied().take_while(u8::is_ascii_digit).collect();
    String::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_llvm_a_program_is_linked_with() {
        for (program, expected) in [
            (&b"\x7fELF..libc.so.6\0libLLVM.so.22.1\0"[..], Some(22)),
            (b"libLLVM.so.9", Some(9)),
            (b"libLLVM.so.x", None),
            (b"libLLVM.so.", None),
            (b"libc.so.6\0", None),
            (b"", None),
        ] {
            assert_eq!(linked_llvm(program), expected, "{program:?}");
        }
    }
}

//! Compiles the eBPF programs: into `$OUT_DIR/overlay-ebpf`, and those that explain into `$OUT_DIR/overlay-ebpf-explain`.

use std::{env, fs, path::Path};

use anyhow::{Context as _, Result};
use aya_build::{Package, Toolchain};

/// The rustup toolchain that `cargo xtask setup` links: a compiler with its library source beside it.
const BPF_TOOLCHAIN: &str = "overlay-bpf";

/// What `aya_build` calls its output, whatever the features.
const OUTPUT: &str = "overlay-ebpf";
/// What we call that with the feature `explain`.
const EXPLAINING: &str = "overlay-ebpf-explain";

fn main() -> Result<()> {
    println!("cargo:rerun-if-changed=../overlay-common/src");
    // SAFETY: a build script is single-threaded here; nothing reads the environment meanwhile.
    unsafe { std::env::set_var("RUSTC_BOOTSTRAP", "1") };
    compile(&["explain"])?;
    let out = env::var_os("OUT_DIR").context("OUT_DIR is not set")?;
    let out = Path::new(&out);
    fs::rename(out.join(OUTPUT), out.join(EXPLAINING)).context("the explaining programs are not there")?;
    compile(&[])
}

fn compile(features: &[&str]) -> Result<()> {
    let package = Package {
        name: "overlay-ebpf",
        root_dir: concat!(env!("CARGO_MANIFEST_DIR"), "/../overlay-ebpf"),
        features,
        ..Package::default()
    };
    aya_build::build_ebpf([package], Toolchain::Custom(BPF_TOOLCHAIN))
        .context("the eBPF programs did not build; `cargo xtask setup` installs what that needs")
}

//! Compiles the eBPF programs into `$OUT_DIR/overlay-ebpf`.

use anyhow::{Context as _, Result};
use aya_build::{Package, Toolchain};

/// The rustup toolchain that `cargo xtask setup` links: a compiler with its library source beside it.
const BPF_TOOLCHAIN: &str = "overlay-bpf";

fn main() -> Result<()> {
    println!("cargo:rerun-if-changed=../overlay-common/src");
    // SAFETY: a build script is single-threaded here; nothing reads the environment meanwhile.
    unsafe { std::env::set_var("RUSTC_BOOTSTRAP", "1") };
    let package = Package {
        name: "overlay-ebpf",
        root_dir: concat!(env!("CARGO_MANIFEST_DIR"), "/../overlay-ebpf"),
        ..Package::default()
    };
    aya_build::build_ebpf([package], Toolchain::Custom(BPF_TOOLCHAIN))
        .context("the eBPF programs did not build; `cargo xtask setup` installs what that needs")
}

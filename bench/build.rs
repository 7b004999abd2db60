//! Compiles the peers' programs into `$OUT_DIR/overlay-bench-ebpf`.

use anyhow::{Context as _, Result};
use aya_build::{Package, Toolchain};

/// The rustup toolchain that `cargo xtask setup` links: a compiler with its library source beside it.
const BPF_TOOLCHAIN: &str = "overlay-bpf";

fn main() -> Result<()> {
    // SAFETY: a build script is single-threaded here; nothing reads the environment meanwhile.
    unsafe { std::env::set_var("RUSTC_BOOTSTRAP", "1") };
    let package = Package {
        name: "overlay-bench-ebpf",
        root_dir: concat!(env!("CARGO_MANIFEST_DIR"), "/ebpf"),
        ..Package::default()
    };
    aya_build::build_ebpf([package], Toolchain::Custom(BPF_TOOLCHAIN))
        .context("the bench's eBPF programs did not build; `cargo xtask setup` installs what that needs")
}

//! The bench's own eBPF programs.

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, EbpfLoader, include_bytes_aligned,
    programs::{SchedClassifier, TcAttachType, Xdp},
};
use overlay_tests::netns::NetNs;

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/overlay-bench-ebpf"));

/// The programs with globals of their own. What is attached is detached when this is dropped.
pub(crate) struct Programs {
    ebpf: Ebpf,
}

impl Programs {
    /// Reads them; `globals` are numbers of `overlay-bench-ebpf`.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the object.
    pub(crate) fn new(globals: &[(&str, u32)]) -> Result<Self> {
        let mut loader = EbpfLoader::new();
        for (name, value) in globals {
            loader.override_global(name, value, true);
        }
        Ok(Self { ebpf: loader.load(OBJECT).context("the bench's own programs")? })
    }

    /// A TC program, loaded.
    ///
    /// # Errors
    ///
    /// When the kernel refuses it.
    pub(crate) fn tc(&mut self, name: &str) -> Result<&mut SchedClassifier> {
        let program: &mut SchedClassifier =
            self.ebpf.program_mut(name).context("no such program")?.try_into()?;
        if program.fd().is_err() {
            program.load().with_context(|| format!("the program {name}"))?;
        }
        Ok(program)
    }

    /// An XDP program, loaded.
    ///
    /// # Errors
    ///
    /// When the kernel refuses it.
    pub(crate) fn xdp(&mut self, name: &str) -> Result<&mut Xdp> {
        let program: &mut Xdp = self.ebpf.program_mut(name).context("no such program")?.try_into()?;
        if program.fd().is_err() {
            program.load().with_context(|| format!("the program {name}"))?;
        }
        Ok(program)
    }

    /// Loads a TC program and puts it on the ingress of a device.
    ///
    /// # Errors
    ///
    /// When the kernel refuses it. Linux before 6.6 has no TCX, and a filter of clsact is not tried: the bench is for
    /// kernels on which `overlay` uses TCX too.
    pub(crate) fn attach(&mut self, name: &str, netns: &NetNs, device: &str) -> Result<()> {
        let program = self.tc(name)?;
        netns.enter(|| {
            program
                .attach(device, TcAttachType::Ingress)
                .map(drop)
                .with_context(|| format!("{name} on {device}"))
        })
    }
}

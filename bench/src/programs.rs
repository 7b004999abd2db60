//! The bench's own eBPF programs.

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, EbpfLoader, include_bytes_aligned,
    maps::PerCpuArray,
    programs::{SchedClassifier, TcAttachType, Xdp, XdpMode},
};
use overlay_tests::netns::NetNs;

/// All of them.
pub(crate) static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/overlay-bench-ebpf"));

/// What the programs are told; see there. Those that a program does not read do not matter.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Globals {
    /// `OUT`.
    pub(crate) out: u32,
    /// `PORT`.
    pub(crate) port: u32,
    /// `REMOTE`.
    pub(crate) remote: [u32; 4],
    /// `FAMILY`.
    pub(crate) family: u64,
    /// `VNI`.
    pub(crate) vni: u32,
}

/// The programs with globals of their own. What is attached is detached when this is dropped.
pub(crate) struct Programs {
    ebpf: Ebpf,
}

impl Programs {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the object.
    pub(crate) fn new(globals: &Globals) -> Result<Self> {
        let Globals { out, port, remote, family, vni } = globals;
        let mut loader = EbpfLoader::new();
        for (name, value) in [("OUT", out), ("PORT", port), ("VNI", vni)] {
            loader.override_global(name, value, true);
        }
        loader.override_global("REMOTE", remote, true).override_global("FAMILY", family, true);
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

    /// Loads an XDP program and puts it on a device, in its driver.
    ///
    /// # Errors
    ///
    /// When the kernel refuses it.
    pub(crate) fn attach_xdp(&mut self, name: &str, netns: &NetNs, device: &str) -> Result<()> {
        let program = self.xdp(name)?;
        netns.enter(|| {
            program.attach(device, XdpMode::Driver).map(drop).with_context(|| format!("{name} on {device}"))
        })
    }

    /// How many frames the program `count` has seen.
    ///
    /// # Errors
    ///
    /// When its map is not there.
    pub(crate) fn counted(&self) -> Result<u64> {
        let map = self.ebpf.map("COUNTED").context("no counter")?;
        let counted: PerCpuArray<_, u64> = map.try_into()?;
        Ok(counted.get(&0, 0)?.iter().sum())
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

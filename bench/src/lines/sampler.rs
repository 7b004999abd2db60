//! Looking at what CPUs are at.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{MapError, PerCpuHashMap, PerCpuValues},
    programs::{
        PerfEvent,
        perf_event::{PerfEventConfig, PerfEventScope, SamplePolicy, SoftwareEvent},
    },
    util::online_cpus,
};

use crate::programs;

/// From one look to the next, in nanoseconds of the clock of a CPU: a prime, so that nothing keeps time with it.
pub(super) const PERIOD_NS: u64 = 99_991;

/// Looks until it is dropped.
pub(super) struct Sampler {
    ebpf: Ebpf,
}

impl Sampler {
    /// Begins to look, on all CPUs.
    pub(super) fn start() -> Result<Self> {
        let mut ebpf = Ebpf::load(programs::OBJECT).context("the bench's own programs")?;
        let program: &mut PerfEvent = ebpf.program_mut("sample").context("no such program")?.try_into()?;
        program.load().context("the program sample")?;
        for cpu in online_cpus().map_err(|(what, error)| anyhow::anyhow!("{what}: {error}"))? {
            program
                .attach(
                    PerfEventConfig::Software(SoftwareEvent::CpuClock),
                    PerfEventScope::AllProcessesOneCpu { cpu },
                    SamplePolicy::Period(PERIOD_NS),
                    false,
                )
                .context("the kernel's clock of a CPU")?;
        }
        Ok(Self { ebpf })
    }

    /// How often the CPUs were at an address of the kernel; 0 stands for user space.
    pub(super) fn end(self) -> Result<BTreeMap<u64, u64>> {
        let samples: PerCpuHashMap<_, u64, u64> =
            self.ebpf.map("SAMPLES").context("no samples")?.try_into()?;
        let sum = |entry: Result<(u64, PerCpuValues<u64>), MapError>| -> Result<(u64, u64)> {
            let (address, counts) = entry?;
            Ok((address, counts.iter().sum()))
        };
        samples.iter().map(sum).collect()
    }
}

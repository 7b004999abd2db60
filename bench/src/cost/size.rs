//! How large programs are.

use std::fs;

use anyhow::{Context as _, Result};
use aya::programs::ProgramInfo;
use overlay_tests::overlay::Instance;
use serde::Serialize;

/// Bytes of an instruction (`struct bpf_insn` in `include/uapi/linux/bpf.h`).
const INSTRUCTION: u32 = 8;

/// The size of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Size {
    /// Its name.
    pub(crate) program: String,
    /// Instructions that the kernel runs.
    pub(crate) instructions: u32,
    /// Instructions that its verifier walked.
    pub(crate) verified: u32,
}

/// Those of all programs of an instance, by name.
pub(super) fn all(instance: &Instance<'_>) -> Result<Vec<Size>> {
    let mut sizes = Vec::new();
    for entry in fs::read_dir(instance.pins().join("programs"))? {
        let entry = entry?;
        let info = ProgramInfo::from_pin(entry.path())?;
        sizes.push(Size {
            program: entry.file_name().to_string_lossy().into_owned(),
            instructions: info.size_translated().context("the kernel does not tell a program's size")?
                / INSTRUCTION,
            verified: info.verified_instruction_count().context("nor what it verified")?,
        });
    }
    sizes.sort_by(|one, other| one.program.cmp(&other.program));
    Ok(sizes)
}

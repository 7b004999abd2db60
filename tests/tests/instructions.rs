//! The size of every program, against a budget.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, Result, ensure};
use aya::programs::ProgramInfo;
use overlay_tests::{figures, listening::Listening, overlay::Instance, topology::Lab};

const BUDGET: &str = include_str!("../instruction-budget.txt");

/// Bytes of an instruction (`struct bpf_insn` in `include/uapi/linux/bpf.h`).
const INSTRUCTION: u32 = 8;

/// Instructions that the kernel runs, and that its verifier walked.
#[derive(Clone, Copy, Debug)]
struct Size {
    instructions: u32,
    verified: u32,
}

fn budgets() -> Result<BTreeMap<&'static str, Size>> {
    let lines = BUDGET.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let mut words = line.split_whitespace();
            let name = words.next().context("an empty line")?;
            let mut number = || words.next().context(line)?.parse::<u32>().context(line);
            Ok((name, Size { instructions: number()?, verified: number()? }))
        })
        .collect()
}

fn sizes(instance: &Instance<'_>) -> Result<BTreeMap<String, Size>> {
    let mut sizes = BTreeMap::new();
    for entry in fs::read_dir(instance.pins().join("programs"))? {
        let entry = entry?;
        let info = ProgramInfo::from_pin(entry.path())?;
        let bytes = info.size_translated().context("the kernel does not tell a program's size")?;
        let verified = info.verified_instruction_count().context("nor what it verified")?;
        let name = entry.file_name().to_string_lossy().into_owned();
        sizes.insert(name, Size { instructions: bytes / INSTRUCTION, verified });
    }
    Ok(sizes)
}

#[test]
fn every_program_keeps_its_budget() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let instance = Instance::up(host, &[])?;
    // Some programs are there only then.
    Listening::start(host, &["capture"])?.end()?;
    let (sizes, budgets) = (sizes(&instance)?, budgets()?);
    for (name, size) in &sizes {
        let Size { instructions, verified } = size;
        figures::report(&format!("{name}: {instructions} instructions, {verified} verified"))?;
    }
    for (name, size) in &sizes {
        let budget = budgets.get(name.as_str()).with_context(|| format!("{name} has no budget"))?;
        ensure!(
            size.instructions <= budget.instructions && size.verified <= budget.verified,
            "{name}: {size:?} is over {budget:?}"
        );
    }
    for name in budgets.keys() {
        ensure!(sizes.contains_key(*name), "there is no program {name}, but a budget for it");
    }
    Ok(())
}

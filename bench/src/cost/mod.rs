//! What the programs cost by themselves.

mod path;
mod size;
pub(crate) mod timing;
mod traffic;

use anyhow::Result;
use overlay_tests::bench::{self, Bench};
use serde::Serialize;

use crate::{
    cli::Plan,
    cpus::Cpus,
    programs::{Globals, Programs},
};

pub(crate) use self::{path::PathCost, size::Size, timing::Quartiles, traffic::TrafficCost};

/// How often each path is taken.
const TIMES: usize = 20_000;
/// The same in a quick run.
const QUICK_TIMES: usize = 4_000;

/// Everything about the programs.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Cost {
    /// Each path of each program, alone.
    pub(crate) paths: Vec<PathCost>,
    /// Each program's size.
    pub(crate) sizes: Vec<Size>,
    /// Programs as traffic runs them.
    pub(crate) traffic: Vec<TrafficCost>,
}

/// Measures it.
///
/// # Errors
///
/// When an instance does not come up, a path is not the one it should be, or a signal asks to stop.
pub(crate) fn measure(plan: &Plan, cpus: Cpus) -> Result<Cost> {
    if !plan.cost {
        return Ok(Cost::default());
    }
    let lab = bench::lab()?;
    // On veth, native XDP makes the kernel take the uplink as the device of test runs. TC programs do not notice.
    let bench: Bench<'_> = Bench::new(&lab, &["--xdp", "native"])?;
    let mut nothing = Programs::new(&Globals::default())?;
    let sizes = size::all(&bench.instance)?;
    let paths = path::measure(&bench, &mut nothing, if plan.quick { QUICK_TIMES } else { TIMES })?;
    bench.instance.down()?;
    drop(bench.stations);
    let traffic = if plan.quick { Vec::new() } else { traffic::measure(plan, cpus)? };
    Ok(Cost { paths, sizes, traffic })
}

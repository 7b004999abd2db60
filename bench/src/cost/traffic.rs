//! Nanoseconds of the programs while traffic runs them, by the kernel's own statistics.
//!
//! The kernel looks at the clock twice for each run to keep them, so figures of throughput are taken in runs of their own.

use anyhow::{Context as _, Result};
use aya::{
    programs::ProgramInfo,
    sys::{Stats, enable_stats},
};
use overlay_tests::{overlay::Instance, topology::Lab};
use serde::Serialize;

use crate::{
    cli::Plan,
    cpus::Cpus,
    peer::{Peer, Site},
    probe::{Place, Probe},
    setting::Setting,
    stop,
};

/// What is run for it.
const TRAFFIC: [Probe; 2] = [Probe::Tcp1, Probe::Udp64];

/// The programs that every packet takes, and the host that packets of bulk traffic take them on: its place in the lab.
const PROGRAMS: [(&str, usize); 2] = [("from_port", 0), ("from_uplink", 1)];

/// A program under traffic.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TrafficCost {
    /// How the underlay carries packets.
    pub(crate) setting: Setting,
    /// The traffic.
    pub(crate) traffic: &'static str,
    /// The program.
    pub(crate) program: &'static str,
    /// How often it ran.
    pub(crate) runs: u64,
    /// How long each run took on average.
    pub(crate) nanoseconds: f64,
}

/// Measures it in every setting.
pub(super) fn measure(plan: &Plan, cpus: Cpus) -> Result<Vec<TrafficCost>> {
    let mut costs = Vec::new();
    for &setting in &plan.settings {
        let lab = Lab::with(2, setting.underlay(plan.outer))?;
        let site = Site::build(Peer::OURS, &lab)?;
        for probe in TRAFFIC {
            let place = Place { site: &site, cpus, seconds: plan.seconds, trials: 1 };
            costs.extend(under(setting, probe, &place)?);
        }
        site.down()?;
    }
    Ok(costs)
}

fn under(setting: Setting, probe: Probe, place: &Place<'_>) -> Result<Vec<TrafficCost>> {
    let instances = place.site.instances();
    let readings = || {
        PROGRAMS.iter().map(|(program, host)| reading(&instances[*host], program)).collect::<Result<Vec<_>>>()
    };
    let before = readings()?;
    let statistics = enable_stats(Stats::RunTime).context("the kernel's statistics of programs")?;
    let outcome = probe.measure(place);
    drop(statistics);
    if outcome.is_err() {
        // What was measured does not matter, only that the programs ran.
        stop::check()?;
    }
    let costs = PROGRAMS.iter().zip(before).zip(readings()?).map(|(((program, _), before), after)| {
        let (runs, nanoseconds) = (after.0 - before.0, after.1 - before.1);
        TrafficCost { setting, traffic: probe.name(), program, runs, nanoseconds: nanoseconds / runs as f64 }
    });
    Ok(costs.filter(|cost| cost.runs > 0).collect())
}

/// How often a program ran, and how many nanoseconds in all, while the statistics were on.
fn reading(instance: &Instance<'_>, program: &str) -> Result<(u64, f64)> {
    let info =
        ProgramInfo::from_pin(instance.pins().join("programs").join(program)).context("a program's pin")?;
    Ok((info.run_count(), info.run_time().as_secs_f64() * 1e9))
}

//! `cargo xtask bench`: `overlay` against the kernel's own ways to do the same, on one machine.

#![expect(clippy::cast_precision_loss, reason = "no count here is large enough, and three digits are shown")]

mod baseline;
mod cli;
mod cost;
mod cpus;
mod figure;
mod lines;
mod live;
mod peer;
mod probe;
mod programs;
mod progress;
mod report;
mod results;
mod rounds;
mod scale;
mod setting;
mod stats;
mod stop;
mod targets;

use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use clap::Parser as _;
use nix::unistd::Uid;

use crate::{baseline::Baseline, cli::Options, cpus::Cpus, report::Run, scale::Scale};

fn main() -> ExitCode {
    match perform(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(options: &Options) -> Result<()> {
    ensure!(Uid::effective().is_root(), "network namespaces and eBPF programs take root: run it as root");
    // Before all the measuring, not after it.
    overlay_tests::overlay::binary().context("this is for `cargo xtask bench` to run")?;
    let plan = options.plan();
    if let Some(path) = &options.check {
        Baseline::load(path)?.fits(&plan)?;
    }
    stop::watch()?;
    let cpus = Cpus::choose()?;
    let mut results = rounds::run(&plan, cpus)?;
    live::measure(&plan, cpus, &mut results)?;
    let cost = cost::measure(&plan, cpus)?;
    let scale = if plan.scale { scale::measure(&plan)? } else { Scale::default() };
    let lines = lines::measure(&plan, cpus)?;
    let run = Run { plan: &plan, cpus, results: &results, cost: &cost, lines: &lines, scale: &scale };
    report::report(&run, options)
}

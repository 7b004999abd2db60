//! Showing what was measured.

mod costs;
mod json;
mod plot;
mod table;

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use crate::{
    baseline::Baseline,
    cli::{Options, Plan},
    cost::Cost,
    cpus::Cpus,
    results::Results,
    targets,
};

/// Everything that a run found out.
pub(crate) struct Run<'a> {
    /// What was to be measured,
    pub(crate) plan: &'a Plan,
    /// where,
    pub(crate) cpus: Cpus,
    /// what came of it,
    pub(crate) results: &'a Results,
    /// and of the programs by themselves.
    pub(crate) cost: &'a Cost,
}

/// Writes, draws and compares as the options say.
///
/// # Errors
///
/// When a file cannot be read or written, or the run is worse than the baseline.
pub(crate) fn report(run: &Run<'_>, options: &Options) -> Result<()> {
    let Run { plan, cpus, results, cost } = *run;
    let outcomes = targets::outcomes(results);
    let to_stdout = options.json.as_deref() == Some(Path::new("-"));
    if let Some(path) = &options.json {
        let text = json::render(plan, cpus, results, &outcomes, cost)?;
        if to_stdout {
            print!("{text}");
        } else {
            fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
        }
    }
    if !to_stdout {
        tables(run, &outcomes);
    }
    if let Some(path) = &options.plot {
        plot::draw(path, plan, results)?;
    }
    if let Some(path) = &options.save {
        Baseline::of(results, options.margin).save(path)?;
    }
    if let Some(path) = &options.check {
        let agreement = Baseline::load(path)?.check(plan, results, options.margin)?;
        eprintln!("bench: {agreement} of {}", path.display());
    }
    Ok(())
}

fn tables(Run { plan, cpus, results, cost }: &Run<'_>, outcomes: &[targets::Outcome]) {
    if !plan.probes.is_empty() {
        println!(
            "{} rounds of {} s each, peers in turn; {}.\nMedian (least to most); below, the median of each round's ratio to \
             kernel (k) and floor (f).",
            plan.rounds,
            plan.seconds,
            cpus.describe()
        );
        for &setting in &plan.settings {
            println!("\n{}", table::figures(plan, results, setting));
        }
        for (setting, peer, probe, why) in results.troubles() {
            let what = probe.map_or("cannot run".to_owned(), |probe| format!("{probe} failed"));
            println!("{setting}, {peer}: {what}: {why}");
        }
    }
    for table in costs::tables(cost) {
        println!("\n{table}");
    }
    if !plan.probes.is_empty() {
        println!("\n{}", table::targets(outcomes));
    }
}

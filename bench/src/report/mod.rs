//! Showing what was measured.

mod costs;
mod json;
mod lines;
mod live;
mod plot;
mod scale;
mod table;

use std::{
    fs,
    io::{self, Write as _},
};

use anyhow::{Context as _, Result};

use crate::{
    baseline::Baseline,
    cli::{Options, Plan},
    cost::Cost,
    cpus::Cpus,
    lines::Lines,
    probe::{CONGESTION_CONTROL, WINDOW},
    results::Results,
    scale::Scale,
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
    /// of the programs by themselves,
    pub(crate) cost: &'a Cost,
    /// of each line of theirs,
    pub(crate) lines: &'a [Lines],
    /// and of size.
    pub(crate) scale: &'a Scale,
}

/// Writes, draws and compares as the options say.
///
/// # Errors
///
/// When a file cannot be read or written, or the run is worse than the baseline.
pub(crate) fn report(run: &Run<'_>, options: &Options) -> Result<()> {
    let Run { plan, results, .. } = *run;
    let outcomes = targets::outcomes(results);
    let mut shown = tables(run, &outcomes);
    if let Some(path) = &options.json {
        let text = json::render(run, &outcomes)?;
        if path == "-" {
            shown = text;
        } else {
            fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
        }
    }
    io::stdout().write_all(shown.as_bytes()).context("writing to stdout")?;
    if let Some(path) = &options.plot {
        plot::draw(path, plan, results)?;
    }
    if let Some(path) = &options.save {
        Baseline::of(plan, results, options.margin).save(path)?;
    }
    if let Some(path) = &options.check {
        let agreement = Baseline::load(path)?.check(plan, results, options.margin)?;
        eprintln!("bench: {agreement} of {}", path.display());
    }
    Ok(())
}

/// Everything that people read.
fn tables(
    Run { plan, cpus, results, cost, lines, scale }: &Run<'_>,
    outcomes: &[targets::Outcome],
) -> String {
    let mut parts = Vec::new();
    if !plan.probes.is_empty() || plan.live {
        parts.push(format!(
            "Tunnels over {}; {} of {} s each, peers in turn; {}; TCP in bulk is {CONGESTION_CONTROL}, {WINDOW} of it under way.\n\
             Below the median the least and the most, and the median of each round's ratio to kernel (k) and floor (f).",
            plan.outer,
            if plan.rounds == 1 { "1 round".to_owned() } else { format!("{} rounds", plan.rounds) },
            plan.seconds,
            cpus.describe()
        ));
    }
    if !plan.probes.is_empty() {
        parts.extend(plan.settings.iter().map(|&setting| table::figures(plan, results, setting).to_string()));
    }
    if plan.live {
        parts.push(live::table(results).to_string());
    }
    parts.push(troubles(results));
    parts.extend(costs::tables(cost).iter().map(ToString::to_string));
    parts.extend(lines::tables(lines).iter().map(ToString::to_string));
    parts.extend(scale::tables(scale).iter().map(ToString::to_string));
    if !plan.probes.is_empty() || plan.live {
        parts.push(table::targets(outcomes).to_string());
    }
    parts.retain(|part| !part.is_empty());
    parts.join("\n\n") + "\n"
}

fn troubles(results: &Results) -> String {
    let lines = results.troubles().map(|(setting, peer, probe, why)| {
        let what = probe.map_or("cannot run".to_owned(), |probe| format!("{probe} failed"));
        format!("{setting}, {peer}: {what}: {why}")
    });
    lines.collect::<Vec<_>>().join("\n")
}

//! The order of measurements: round by round, peers in turn.

use anyhow::{Context as _, Result};
use overlay_tests::topology::Lab;

use crate::{
    cli::Plan,
    cpus::Cpus,
    peer::{Peer, Site},
    probe::Place,
    progress::Progress,
    results::Results,
    setting::Setting,
    stop,
};

/// Measures what the plan says.
///
/// # Errors
///
/// When no lab can be built, something of it is left, or a signal asks to stop. A peer that cannot run, or a measurement
/// that fails, is no error but a result.
pub(crate) fn run(plan: &Plan, cpus: Cpus) -> Result<Results> {
    let mut results = Results::default();
    if plan.probes.is_empty() {
        return Ok(results);
    }
    let progress = Progress::of(plan);
    for &setting in &plan.settings {
        in_setting(plan, setting, cpus, &progress, &mut results)?;
    }
    progress.finish();
    Ok(results)
}

fn in_setting(
    plan: &Plan,
    setting: Setting,
    cpus: Cpus,
    progress: &Progress,
    results: &mut Results,
) -> Result<()> {
    let mut labs = Vec::new();
    for &peer in &plan.peers {
        stop::check()?;
        progress.say(format!("{setting}: setting up {peer}"));
        labs.push((
            peer,
            Lab::with(2, setting.underlay(peer.outer(plan.outer))).context("a lab of two hosts")?,
        ));
    }
    let mut sites = Vec::new();
    for (peer, lab) in &labs {
        stop::check()?;
        match Site::build(*peer, lab) {
            Ok(site) => sites.push((*peer, site)),
            Err(why) => results.unable(setting, *peer, format!("{why:#}")),
        }
    }
    stop::check()?;
    progress.skip((plan.peers.len() - sites.len()) * plan.probes.len() * plan.rounds as usize);
    for round in 0..plan.rounds as usize {
        for &probe in &plan.probes {
            for (peer, site) in rotated(&sites, round) {
                progress.say(format!("{setting}, round {} of {}: {probe}, {peer}", round + 1, plan.rounds));
                let place = Place { site, cpus, seconds: plan.seconds, trials: plan.trials() };
                match probe.measure(&place) {
                    Ok(values) => results.add(setting, *peer, round, values),
                    Err(why) => {
                        stop::check()?;
                        results.failed(setting, *peer, probe, format!("{why:#}"));
                    }
                }
                progress.step();
            }
        }
    }
    take_down(sites)
}

/// Takes all down, whatever fails.
pub(crate) fn take_down<'a>(sites: impl IntoIterator<Item = (Peer, Site<'a>)>) -> Result<()> {
    let mut outcome = Ok(());
    for (peer, site) in sites {
        let down = site.down().with_context(|| format!("taking down {peer}"));
        outcome = outcome.and(down);
    }
    outcome
}

/// Each round starts with another peer, so that none is always the first after a pause.
pub(crate) fn rotated<T>(all: &[T], round: usize) -> impl Iterator<Item = &T> {
    all.iter().cycle().skip(round % all.len().max(1)).take(all.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_starts_with_another() {
        let order = |round| rotated(&[1, 2, 3], round).copied().collect::<Vec<_>>();
        assert_eq!(order(0), [1, 2, 3]);
        assert_eq!(order(1), [2, 3, 1]);
        assert_eq!(order(5), [3, 1, 2]);
        assert_eq!(rotated(&[0; 0], 4).count(), 0);
    }
}

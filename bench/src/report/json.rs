//! Everything as JSON. Keys are added, never changed.

use anyhow::{Context as _, Result};
use nix::sys::utsname::uname;
use serde::Serialize;

use super::Run;
use crate::{
    cost::Cost,
    figure::{Better, Figure},
    lines::Lines,
    peer::Peer,
    probe::{CONGESTION_CONTROL, Probe, WINDOW},
    results::Results,
    scale::Scale,
    setting::{Outer, Setting},
    stats::Summary,
    targets::Outcome,
};

/// The whole run.
#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    kernel: String,
    outer: Outer,
    pinning: String,
    congestion_control: &'static str,
    window: &'static str,
    rounds: u32,
    seconds: u32,
    peers: Vec<Status<'a>>,
    figures: Vec<Row<'a>>,
    targets: &'a [Outcome],
    failures: Vec<Failure<'a>>,
    cost: &'a Cost,
    lines: &'a [Lines],
    scale: &'a Scale,
}

/// Whether a peer could run.
#[derive(Serialize)]
struct Status<'a> {
    setting: Setting,
    peer: Peer,
    ran: bool,
    why: Option<&'a str>,
}

/// A figure of a peer.
#[derive(Serialize)]
struct Row<'a> {
    setting: Setting,
    peer: Peer,
    figure: Figure,
    unit: &'static str,
    better: Better,
    /// By round; null where the measurement failed.
    values: &'a [Option<f64>],
    summary: Option<Summary>,
    /// Ratios, round by round.
    to_kernel: Option<Summary>,
    to_floor: Option<Summary>,
}

/// A measurement that failed.
#[derive(Serialize)]
struct Failure<'a> {
    setting: Setting,
    peer: Peer,
    measurement: String,
    why: &'a str,
}

/// Writes it.
///
/// # Errors
///
/// When the kernel has no name.
pub(crate) fn render(run: &Run<'_>, targets: &[Outcome]) -> Result<String> {
    let Run { plan, cpus, results, cost, lines, scale } = *run;
    let every = plan.settings.iter().flat_map(|&setting| plan.peers.iter().map(move |&peer| (setting, peer)));
    let status = |(setting, peer)| {
        let why = results.why_unable(setting, peer);
        Status { setting, peer, ran: why.is_none() && !plan.probes.is_empty(), why }
    };
    let failure = |(setting, peer, probe, why): (_, _, Option<Probe>, _)| {
        Some(Failure { setting, peer, measurement: probe?.to_string(), why })
    };
    let document = Document {
        version: 1,
        kernel: uname().context("uname")?.release().to_string_lossy().into_owned(),
        outer: plan.outer,
        pinning: cpus.describe(),
        congestion_control: CONGESTION_CONTROL,
        window: WINDOW,
        rounds: plan.rounds,
        seconds: plan.seconds,
        peers: every.map(status).collect(),
        figures: results.keys().map(|key| row(results, key)).collect(),
        targets,
        failures: results.troubles().filter_map(failure).collect(),
        cost,
        lines,
        scale,
    };
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

fn row(results: &Results, key: (Setting, Peer, Figure)) -> Row<'_> {
    let (setting, peer, figure) = key;
    Row {
        setting,
        peer,
        figure,
        unit: figure.unit(),
        better: figure.better(),
        values: results.rounds(key),
        summary: results.summary(key),
        to_kernel: results.ratio(key, Peer::Kernel),
        to_floor: results.ratio(key, Peer::Floor),
    }
}

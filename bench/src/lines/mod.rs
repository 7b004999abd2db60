//! Where the time of a packet goes: while datagrams are sent as fast as they go, each CPU is looked at again and again, and what it
//! is at is counted: lines of our programs, and functions of the kernel.

mod code;
mod sampler;
mod symbols;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use overlay_tests::{overlay::Instance, topology::Lab};
use serde::Serialize;
use serde_json::Value;

use self::{code::Code, sampler::Sampler, symbols::Symbols};
use crate::{
    cli::Plan,
    cpus::Cpus,
    peer::{Peer, Site},
    probe::{Place, Probe},
    setting::Setting,
    stop,
};

/// The programs that each packet takes, and the host on which: its place in the lab.
const PROGRAMS: [(&str, usize); 2] = [("from_port", 0), ("from_uplink", 1)];

/// How long packets are sent, in seconds.
const SECONDS: u32 = 10;

/// Functions of the kernel that are told of.
const FUNCTIONS: usize = 24;

/// What a packet costs, in a setting.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Lines {
    /// How the underlay carries packets.
    pub(crate) setting: Setting,
    /// Packets that were sent.
    pub(crate) packets: u64,
    /// Nanoseconds of all CPUs for each, whatever they did.
    pub(crate) nanoseconds: f64,
    /// Our programs.
    pub(crate) programs: Vec<Program>,
    /// Functions of the kernel that took most, dearest first, and nanoseconds for each packet.
    pub(crate) functions: Vec<(String, f64)>,
}

/// A program of ours.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Program {
    /// Its name.
    pub(crate) name: &'static str,
    /// Nanoseconds of its own instructions for each packet.
    pub(crate) nanoseconds: f64,
    /// Its lines, dearest first.
    pub(crate) lines: Vec<Line>,
}

/// A line of a program, wherever it was inlined.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Line {
    /// The file's name, and the line.
    pub(crate) place: String,
    /// What stands there.
    pub(crate) text: String,
    /// Instructions that the compiler made of it, in all places.
    pub(crate) instructions: u32,
    /// Nanoseconds for each packet.
    pub(crate) nanoseconds: f64,
}

/// Looks at it in every setting.
///
/// # Errors
///
/// When an instance does not come up, the kernel does not let itself be looked at, or a signal asks to stop.
pub(crate) fn measure(plan: &Plan, cpus: Cpus) -> Result<Vec<Lines>> {
    if !plan.lines {
        return Ok(Vec::new());
    }
    let mut all = Vec::new();
    for &setting in &plan.settings {
        let lab = Lab::with(2, setting.underlay(plan.outer))?;
        let site = Site::build(Peer::OURS, &lab)?;
        all.push(look(setting, &Place { site: &site, cpus, seconds: SECONDS, trials: 1 })?);
        site.down()?;
    }
    Ok(all)
}

fn look(setting: Setting, place: &Place<'_>) -> Result<Lines> {
    let instances = place.site.instances();
    let before = sent(&instances[0])?;
    let sampler = Sampler::start()?;
    let outcome = Probe::Udp64.measure(place);
    let seen = sampler.end()?;
    if outcome.is_err() {
        // How many were lost does not matter, only that they were sent.
        stop::check()?;
    }
    let packets = sent(&instances[0])? - before;
    ensure!(packets > 0, "no packet went into the tunnel");
    let each = |count: u64| count as f64 * sampler::PERIOD_NS as f64 / packets as f64;
    let total = seen.values().sum();
    let (mut elsewhere, mut programs) = (seen, Vec::new());
    for (name, host) in PROGRAMS {
        let code = Code::read(&instances[host], name)?;
        let (own, others) =
            elsewhere.into_iter().partition::<BTreeMap<u64, u64>, _>(|(address, _)| code.has(*address));
        elsewhere = others;
        let mut lines = lines(&code, &own, each);
        lines.sort_by(|one, other| other.nanoseconds.total_cmp(&one.nanoseconds));
        programs.push(Program { name, nanoseconds: each(own.values().sum()), lines });
    }
    Ok(Lines {
        setting,
        packets,
        nanoseconds: each(total),
        programs,
        functions: functions(&elsewhere, each)?,
    })
}

fn lines(code: &Code, samples: &BTreeMap<u64, u64>, each: impl Fn(u64) -> f64) -> Vec<Line> {
    let mut counts: BTreeMap<(&str, u32), u64> = BTreeMap::new();
    for (address, count) in samples {
        if let Some(line) = code.line(*address) {
            *counts.entry(line).or_default() += count;
        }
    }
    let line = |((file, number), count): ((&str, u32), u64)| {
        let (text, instructions) = code.about(file, number);
        Line { place: format!("{file}:{number}"), text, instructions, nanoseconds: each(count) }
    };
    counts.into_iter().map(line).collect()
}

fn functions(samples: &BTreeMap<u64, u64>, each: impl Fn(u64) -> f64) -> Result<Vec<(String, f64)>> {
    let symbols = Symbols::read()?;
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for (address, count) in samples {
        *counts.entry(symbols.function(*address)).or_default() += count;
    }
    let mut all: Vec<_> = counts.into_iter().map(|(name, count)| (name.to_owned(), each(count))).collect();
    all.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    all.truncate(FUNCTIONS);
    Ok(all)
}

/// Packets that went into tunnels.
fn sent(instance: &Instance<'_>) -> Result<u64> {
    let stats = instance.host.overlay_json(&["stats"])?;
    let rows = stats["segments"].as_array().context("no segments")?;
    Ok(rows
        .iter()
        .filter(|row| !row["remote"].is_null())
        .filter_map(|row: &Value| row["tx_packets"].as_u64())
        .sum())
}

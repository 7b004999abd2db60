//! What size costs: packets, memory and time with up to a million stations, and ten thousand remote VTEPs and segments.
//!
//! Each run of a program is a test run of its own, as in [`crate::cost`], to a destination drawn from all there are, so that
//! caches miss as they do; and to one and the same, which is what a single flow has.

mod changes;
mod draw;
mod memory;
mod segments;
mod stations;
mod vteps;
mod way;

use anyhow::Result;
use overlay_tests::process;
use serde::Serialize;

use crate::{
    cli::Plan,
    cost::Quartiles,
    programs::{Globals, Programs},
    stop,
    targets::Bound,
};

pub(crate) use self::changes::Change;

/// Room for stations, at every number of them, so that tables are of one size.
const ROOM: u32 = 1 << 20;

/// How many stations there are.
const STATIONS: [u32; 4] = [1, 1_000, 100_000, 1_000_000];
/// How many remote VTEPs, and then how many segments.
const OTHERS: [u32; 3] = [1, 100, 10_000];

/// How often each program runs for a figure.
const TIMES: usize = 20_000;
/// The same in a quick run.
const QUICK_TIMES: usize = 4_000;

/// Everything about size.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Scale {
    /// Packets.
    pub(crate) packets: Vec<Packet>,
    /// Stations that were loaded.
    pub(crate) loads: Vec<Load>,
    /// Changes of what was loaded.
    pub(crate) changes: Vec<Change>,
    /// What is to be reached.
    pub(crate) targets: Vec<Target>,
}

/// What a packet costs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Packet {
    /// Of what there are many.
    pub(crate) of: &'static str,
    /// How many.
    pub(crate) count: u32,
    /// The program, or more than that.
    pub(crate) program: &'static str,
    /// Whether every packet has a destination of its own.
    pub(crate) random: bool,
    /// Nanoseconds; of a program, alone.
    pub(crate) nanoseconds: Quartiles,
}

/// What stations cost.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Load {
    /// How many were loaded.
    pub(crate) stations: u32,
    /// How long that took, from command to prompt.
    pub(crate) seconds: f64,
    /// Bytes of the kernel's memory for each, besides what an empty table takes.
    pub(crate) bytes_each: f64,
    /// Bytes of all tables of stations, divided by their number.
    pub(crate) bytes_in_all: f64,
}

/// What is to be reached.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Target {
    /// What it is about.
    pub(crate) what: String,
    /// How it shall be,
    pub(crate) bound: Bound,
    /// and how it is.
    pub(crate) measured: f64,
    /// Whether that is as it shall be.
    pub(crate) reached: bool,
}

/// Measures it.
///
/// # Errors
///
/// When an instance does not come up, a frame does not go where it should, or a signal asks to stop.
pub(crate) fn measure(plan: &Plan) -> Result<Scale> {
    // Each CPU keeps what it found out for itself.
    process::stay_on_one_cpu()?;
    let mut nothing = Programs::new(&Globals::default())?;
    let mut scale = Scale::default();
    let times = if plan.quick { QUICK_TIMES } else { TIMES };
    for count in STATIONS {
        begin(count, stations::OF)?;
        stations::measure(count, times, &mut nothing, &mut scale)?;
    }
    for count in OTHERS {
        begin(count, vteps::OF)?;
        vteps::measure(count, times, &mut nothing, &mut scale)?;
    }
    for count in OTHERS {
        begin(count, segments::OF)?;
        segments::measure(count, times, &mut nothing, &mut scale)?;
    }
    scale.targets = targets(&scale);
    Ok(scale)
}

/// Says what is next, unless a signal asks to stop.
fn begin(count: u32, of: &str) -> Result<()> {
    stop::check()?;
    eprintln!("bench: {count} {of}");
    Ok(())
}

/// How a million stands to one, and what a million takes.
fn targets(scale: &Scale) -> Vec<Target> {
    let (one, most) = (STATIONS[0], STATIONS[STATIONS.len() - 1]);
    let median = |program: &str, random: bool, count: u32| {
        let is_it = |packet: &&Packet| {
            let which = (packet.of, packet.program, packet.random, packet.count);
            which == (stations::OF, program, random, count)
        };
        scale.packets.iter().find(is_it).map(|packet| packet.nanoseconds.median)
    };
    let target = |what: String, bound: Bound, measured: Option<f64>| {
        measured.map(|measured| Target { what, bound, measured, reached: bound.holds(measured) })
    };
    let ratio = |program: &str, random: bool| {
        let both = median(program, random, most).zip(median(program, random, one));
        let to = if random { "to any of them" } else { "to one of them" };
        let what = format!("{program}, {to}: ns at {most} stations to those at {one}");
        target(what, Bound::AtMost(1.3), both.map(|(most, one)| most / one))
    };
    let load = scale.loads.iter().find(|load| load.stations == most);
    [
        ratio("from_port", false),
        ratio("from_uplink", false),
        ratio("from_port", true),
        ratio("from_uplink", true),
        ratio("the whole way", true),
        target(format!("s to load {most} stations"), Bound::AtMost(3.0), load.map(|load| load.seconds)),
        target(
            "bytes of memory a station".to_owned(),
            Bound::AtMost(128.0),
            load.map(|load| load.bytes_in_all),
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

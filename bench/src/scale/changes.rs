//! Changes of what was loaded, as commands make them.

use std::time::Instant;

use anyhow::Result;
use overlay_tests::bench::{Bench, SECOND_PORT, VNI};
use serde::Serialize;

use super::stations::far;

/// Where the VTEP is that all move to.
const ELSEWHERE: &str = "10.0.0.77";

/// A change, and how long its command takes.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Change {
    /// What is changed.
    pub(crate) what: &'static str,
    /// How many stations there are.
    pub(crate) stations: u32,
    /// From command to prompt.
    pub(crate) seconds: f64,
}

/// Changes one station of all, and the path to the VTEP that half of them are behind. What `overlay apply` takes for a change
/// of one belongs here, too.
pub(super) fn measure(bench: &Bench<'_>, stations: u32) -> Result<[Change; 2]> {
    let (host, vni) = (bench.host(), VNI.to_string());
    let timed = |what, arguments: &[&str]| -> Result<Change> {
        let begin = Instant::now();
        host.overlay(arguments)?;
        Ok(Change { what, stations, seconds: begin.elapsed().as_secs_f64() })
    };
    let one = far(0).to_string();
    let remote = bench.lab.host(2).vtep.to_string();
    Ok([
        timed("one station elsewhere", &["fdb", "replace", "--vni", &vni, &one, "--port", SECOND_PORT])?,
        timed("the VTEP of half of them elsewhere", &["tunnel", "replace", &remote, "--remote", ELSEWHERE])?,
    ])
}

//! What XDP forwards, by live frames: the kernel makes frames and gives them to a program as if an uplink had received
//! them, and does what the program says (`BPF_F_TEST_XDP_LIVE_FRAMES`). So a CPU does nothing but forward, and the first
//! half of the path, a NIC and its driver, costs every peer the same.
//!
//! Each peer gets the same tunnel packets of one flow on one CPU, which also receives them behind the port: frames are
//! counted and dropped there by XDP, which is the least that a workload can do with one.

mod line;

use anyhow::Result;
use overlay_tests::topology::Lab;

use self::line::Line;
use crate::{
    cli::Plan,
    cpus::{self, Cpus},
    figure::Figure,
    peer::{Peer, Site},
    results::Results,
    rounds::{rotated, take_down},
    setting::Setting,
    stop,
};

/// Those that are measured, whichever peers are chosen for the rest: the kernel's device gets what XDP passes, the floor is a
/// redirect to the port and nothing else, and ours is as `overlay up --xdp native` and `port add --xdp-redirect on` have it.
pub(crate) const PEERS: [Peer; 3] = [Peer::Kernel, Peer::Floor, Peer::OursNative];

/// Their uplink: it gets frames with right checksums, as a NIC does, and its receive queue is ready for XDP.
pub(crate) const SETTING: Setting = Setting::Wire;

/// Measures them in turn, round by round.
///
/// # Errors
///
/// When no lab can be built, something of it is left, or a signal asks to stop.
pub(crate) fn measure(plan: &Plan, cpus: Cpus, results: &mut Results) -> Result<()> {
    if !plan.live {
        return Ok(());
    }
    let labs = PEERS.map(|peer| (peer, Lab::with(2, SETTING.underlay(plan.outer))));
    let mut sites = Vec::new();
    for (peer, lab) in &labs {
        stop::check()?;
        let lab = lab.as_ref().map_err(|why| anyhow::anyhow!("a lab of two hosts: {why:#}"))?;
        match Site::build(*peer, lab) {
            Ok(site) => sites.push((*peer, lab, site)),
            Err(why) => results.unable(SETTING, *peer, format!("{why:#}")),
        }
    }
    let measured = in_turn(plan, cpus, &sites, results);
    take_down(sites.into_iter().map(|(peer, _, site)| (peer, site))).and(measured)
}

fn in_turn(plan: &Plan, cpus: Cpus, sites: &[(Peer, &Lab, Site<'_>)], results: &mut Results) -> Result<()> {
    let mut lines = Vec::new();
    for (peer, lab, site) in sites {
        match Line::lay(*peer, lab, site, plan.outer) {
            Ok(line) => lines.push((*peer, line)),
            Err(why) => results.unable(SETTING, *peer, format!("live frames: {why:#}")),
        }
    }
    let order: Vec<usize> = (0..lines.len()).collect();
    for round in 0..plan.rounds as usize {
        for at in rotated(&order, round) {
            stop::check()?;
            let (peer, line) = &mut lines[*at];
            // A thread of its own: the CPU that it stays on shall not be that of all that comes later.
            let rate = std::thread::scope(|scope| {
                let worker = scope.spawn(|| {
                    cpus::pin_here(cpus.receiver)?;
                    line.rate(plan.seconds)
                });
                worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            });
            match rate {
                Ok(rate) => results.add(SETTING, *peer, round, vec![(Figure::LiveFrames, rate / 1e6)]),
                Err(why) => results.unable(SETTING, *peer, format!("live frames: {why:#}")),
            }
        }
    }
    Ok(())
}

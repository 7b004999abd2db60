//! TCP across the overlay against the kernel's `vxlan` with a bridge, on the same cores, in turn.

use std::{net::IpAddr, sync::Mutex};

use anyhow::{Result, anyhow, ensure};
use overlay_tests::{
    figures,
    frame::Network,
    mesh, over_both_families,
    peer::{Peer, Segment},
    topology::{Lab, Plan, Underlay, Workload},
    traffic,
};

const VNI: u32 = 100;
/// Rounds of either, in turn.
const ROUNDS: usize = 3;
/// How long each measurement takes.
const SECONDS: u32 = 2;

/// Measurements at the same time would disturb each other.
static TURN: Mutex<()> = Mutex::new(());

over_both_families!(tcp_is_at_least_as_fast_as_the_kernels);

/// The kernel's device as fast as it can be.
const OPTIONS: &[&str] = &["udp6zerocsumtx", "udp6zerocsumrx"];

fn kernel_workloads(lab: &Lab) -> Result<Vec<Workload>> {
    let (one, two) = (lab.host(1), lab.host(2));
    [(one, two), (two, one)]
        .into_iter()
        .map(|(host, other)| {
            let peer = Peer::join(host, &Segment::new(host, VNI, &[other]).options(OPTIONS))?;
            let workload = host.workload(&Plan::new(VNI, host.number))?;
            peer.attach(&workload)?;
            Ok(workload)
        })
        .collect()
}

fn rate(workloads: &[Workload]) -> Result<f64> {
    let address = IpAddr::V4(workloads[1].v4);
    traffic::ping(&workloads[0].netns, address, 2)?;
    traffic::iperf3(&workloads[0].netns, &workloads[1].netns, address, SECONDS)
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn tcp_is_at_least_as_fast_as_the_kernels<N: Network>() -> Result<()> {
    let _turn = TURN.lock().map_err(|_| anyhow!("the other measurement panicked"))?;
    let underlay = Underlay::over(N::FAMILY);
    let (ours_lab, kernel_lab) = (Lab::with(2, underlay)?, Lab::with(2, underlay)?);
    let instances = mesh::up(&ours_lab, &[])?;
    let ours_workloads = mesh::segment(&instances, VNI)?;
    let kernel_workloads = kernel_workloads(&kernel_lab)?;
    let (mut ours, mut kernel) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        kernel.push(rate(&kernel_workloads)?);
        ours.push(rate(&ours_workloads)?);
    }
    let family = N::FAMILY;
    figures::report(&format!("TCP over {family:?}, Gbit/s of ours {ours:.1?}, of the kernel {kernel:.1?}"))?;
    let (ours, kernel) = (median(ours), median(kernel));
    ensure!(ours >= kernel, "median of ours {ours:.1} Gbit/s, of the kernel {kernel:.1} Gbit/s");
    Ok(())
}

//! TCP across the overlay against the kernel's `vxlan` with a bridge, on the same cores, in turn.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use overlay_tests::{
    figures, mesh,
    peer::{Peer, Segment},
    topology::{Lab, Plan, Workload},
    traffic,
};

const VNI: u32 = 100;
/// Rounds of either, in turn.
const ROUNDS: usize = 3;
/// How long each measurement takes.
const SECONDS: u32 = 2;

fn kernel_workloads(lab: &Lab) -> Result<Vec<Workload>> {
    let (one, two) = (lab.host(1), lab.host(2));
    [(one, two), (two, one)]
        .into_iter()
        .map(|(host, other)| {
            let peer = Peer::join(host, &Segment::new(host, VNI, &[other]))?;
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

#[test]
fn tcp_is_at_least_as_fast_as_the_kernels() -> Result<()> {
    let (ours_lab, kernel_lab) = (Lab::new(2)?, Lab::new(2)?);
    let instances = mesh::up(&ours_lab, &[])?;
    let ours_workloads = mesh::segment(&instances, VNI)?;
    let kernel_workloads = kernel_workloads(&kernel_lab)?;
    let (mut ours, mut kernel) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        kernel.push(rate(&kernel_workloads)?);
        ours.push(rate(&ours_workloads)?);
    }
    figures::report(&format!("TCP, Gbit/s of ours {ours:.1?}, of the kernel {kernel:.1?}"))?;
    let (ours, kernel) = (median(ours), median(kernel));
    ensure!(ours >= kernel, "median of ours {ours:.1} Gbit/s, of the kernel {kernel:.1} Gbit/s");
    Ok(())
}

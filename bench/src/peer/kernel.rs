//! The kernel's `vxlan` device in a bridge.

use anyhow::Result;
use overlay_tests::{
    peer::{Peer as KernelHost, Segment},
    process,
    topology::{Lab, Workload},
};

use super::{Parts, VNI};

/// As fast as it can be: no outer UDP checksums, which IPv6 has by default.
const OPTIONS: &[&str] = &["udp6zerocsumtx", "udp6zerocsumrx"];

/// One on each host. Where stations are is fixed, so that neither floods nor moves.
pub(super) fn build<'a>(lab: &'a Lab, workloads: &[Workload; 2]) -> Result<Parts<'a>> {
    let hosts = [lab.host(1), lab.host(2)];
    for ((host, other), (own, far)) in
        [(hosts[0], hosts[1]), (hosts[1], hosts[0])].into_iter().zip([(0, 1), (1, 0)])
    {
        let segment = Segment { learning: false, ..Segment::new(host, VNI, &[other]).options(OPTIONS) };
        let kernel = KernelHost::join(host, &segment)?;
        kernel.attach(&workloads[own])?;
        let fdb = format!(
            "fdb replace {far} dev {device} dst {remote} static self\n\
             fdb replace {far} dev {device} master static\n\
             fdb replace {own} dev {port} master static\n",
            far = workloads[far].mac,
            own = workloads[own].mac,
            device = kernel.device,
            remote = other.vtep,
            port = workloads[own].port,
        );
        process::feed(host.netns.command("bridge").args(["-batch", "-"]), &fdb)?;
    }
    Ok(Parts::Devices)
}

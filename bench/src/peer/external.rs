//! The kernel's `vxlan external` device, which encapsulates as a TC program tells it for each packet: the way of Cilium.

use std::net::IpAddr;

use anyhow::{Result, bail};
use overlay_tests::{
    frame::VXLAN_PORT,
    topology::{Lab, Workload},
};

use super::{Parts, VNI};
use crate::programs::Programs;

/// The name of the device.
const DEVICE: &str = "vx";

/// A device and two programs on each host.
pub(super) fn build<'a>(lab: &'a Lab, workloads: &[Workload; 2]) -> Result<Parts<'a>> {
    let mut all = Vec::new();
    for ((host, other), workload) in
        [(lab.host(1), lab.host(2)), (lab.host(2), lab.host(1))].into_iter().zip(workloads)
    {
        let netns = &host.netns;
        let IpAddr::V4(remote) = other.vtep else { bail!("the tunnel key is written for IPv4") };
        netns.ip(&format!(
            "link add {DEVICE} type vxlan external dstport {VXLAN_PORT}\n\
             link set {DEVICE} addrgenmode none\n\
             link set {DEVICE} up"
        ))?;
        let mut programs = Programs::new(&[
            ("OUT", netns.ifindex(DEVICE)?),
            ("PORT", netns.ifindex(&workload.port)?),
            ("REMOTE", remote.to_bits()),
            ("VNI", VNI),
        ])?;
        programs.attach("key_from_port", netns, &workload.port)?;
        programs.attach("key_from_device", netns, DEVICE)?;
        all.push(programs);
    }
    Ok(Parts::Programs(all))
}

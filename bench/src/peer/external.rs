//! The kernel's `vxlan external` device, which encapsulates as a TC program tells it for each packet: the way of Cilium.

use std::net::IpAddr;

use anyhow::Result;
use overlay_tests::{
    frame::VXLAN_PORT,
    topology::{Lab, Workload},
};

use super::{Parts, VNI};
use crate::programs::{Globals, Programs};

/// The name of the device.
const DEVICE: &str = "vx";

/// A device and two programs on each host.
pub(super) fn build<'a>(lab: &'a Lab, workloads: &[Workload; 2]) -> Result<Parts<'a>> {
    let mut all = Vec::new();
    for ((host, other), workload) in
        [(lab.host(1), lab.host(2)), (lab.host(2), lab.host(1))].into_iter().zip(workloads)
    {
        let netns = &host.netns;
        netns.ip(&format!(
            "link add {DEVICE} type vxlan external dstport {VXLAN_PORT} udp6zerocsumrx\n\
             link set {DEVICE} addrgenmode none\n\
             link set {DEVICE} up"
        ))?;
        let (remote, family) = key_of(other.vtep);
        let (out, port) = (netns.ifindex(DEVICE)?, netns.ifindex(&workload.port)?);
        let mut programs = Programs::new(&Globals { out, port, remote, family, vni: VNI })?;
        programs.attach("key_from_port", netns, &workload.port)?;
        programs.attach("key_from_device", netns, DEVICE)?;
        all.push(programs);
    }
    Ok(Parts::Programs(all))
}

/// An address as a tunnel key has it, and the flag that says which kind it is (`struct bpf_tunnel_key`, `linux/bpf.h`).
fn key_of(address: IpAddr) -> ([u32; 4], u64) {
    /// `BPF_F_TUNINFO_IPV6`.
    const IPV6: u64 = 1;
    match address {
        IpAddr::V4(address) => ([address.to_bits(), 0, 0, 0], 0),
        IpAddr::V6(address) => {
            let octets = address.octets();
            let word =
                |at: usize| u32::from_ne_bytes([octets[at], octets[at + 1], octets[at + 2], octets[at + 3]]);
            ([word(0), word(4), word(8), word(12)], IPV6)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_as_the_kernel_reads_them() {
        assert_eq!(key_of([10, 0, 0, 2].into()), ([0x0a00_0002, 0, 0, 0], 0));
        let (words, flag) = key_of([0xfd00, 1, 0, 0, 0, 0, 0, 2].into());
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert_eq!((bytes, flag), (vec![0xfd, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2], 1));
    }
}

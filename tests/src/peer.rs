//! The other side of interoperability: the kernel's own `vxlan` device and bridge.

use std::{fmt::Write as _, net::IpAddr};

use anyhow::Result;

use crate::{
    frame::VXLAN_PORT,
    topology::{Host, Workload},
};

/// How a kernel host joins a segment. [`Segment::new`] has the usual.
#[derive(Clone, Debug)]
pub struct Segment<'a> {
    /// The VNI.
    pub vni: u32,
    /// The other VTEPs, which get what is flooded; of the same family as `local`.
    pub remotes: Vec<IpAddr>,
    /// The host's own VTEP address.
    pub local: IpAddr,
    /// The UDP port.
    pub port: u16,
    /// Whether addresses are learned from what arrives.
    pub learning: bool,
    /// More words for `ip link add ... type vxlan`, such as `udpcsum`.
    pub options: &'a [&'a str],
}

impl<'a> Segment<'a> {
    /// Segment `vni`, with learning, to `remotes`.
    #[must_use]
    pub fn new(host: &Host, vni: u32, remotes: &[&Host]) -> Self {
        Self {
            vni,
            remotes: remotes.iter().map(|remote| remote.vtep).collect(),
            local: host.vtep,
            port: VXLAN_PORT,
            learning: true,
            options: &[],
        }
    }

    /// The same, with more words for `ip link add ... type vxlan`.
    #[must_use]
    pub fn options(self, options: &'a [&'a str]) -> Self {
        Self { options, ..self }
    }
}

/// A segment as the kernel does it: a `vxlan` device in a bridge, on one host.
#[derive(Debug)]
pub struct Peer<'a> {
    host: &'a Host,
    /// The name of the `vxlan` device.
    pub device: String,
    /// The name of the bridge.
    pub bridge: String,
}

impl<'a> Peer<'a> {
    /// Sets the segment up on `host`. It goes away with the host.
    pub fn join(host: &'a Host, segment: &Segment<'_>) -> Result<Self> {
        let (device, bridge) = (format!("vx{}", segment.vni), format!("br{}", segment.vni));
        let learning = if segment.learning { "learning" } else { "nolearning" };
        host.netns.ip(&format!(
            "link add {device} type vxlan id {} local {} dstport {} {learning} {}\n\
             link add {bridge} type bridge mcast_snooping 0\n\
             link set {bridge} addrgenmode none\n\
             link set {device} addrgenmode none\n\
             link set {device} master {bridge}\n\
             link set {device} up\n\
             link set {bridge} up",
            segment.vni,
            segment.local,
            segment.port,
            segment.options.join(" ")
        ))?;
        let mut fdb = String::new();
        for remote in &segment.remotes {
            writeln!(fdb, "fdb append 00:00:00:00:00:00 dev {device} dst {remote}")?;
        }
        crate::process::feed(host.netns.command("bridge").args(["-batch", "-"]), &fdb)?;
        Ok(Self { host, device, bridge })
    }

    /// Makes the workload a port of the segment.
    pub fn attach(&self, workload: &Workload) -> Result<()> {
        self.host.netns.ip(&format!("link set {} master {}", workload.port, self.bridge))
    }
}

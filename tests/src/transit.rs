//! A VTEP in the middle of two, which sends on what one has for the other.

use std::net::IpAddr;

use anyhow::Result;
use overlay_common::Family;

use crate::{
    bench::{Bench, VNI},
    frame::{Ipv4, Ipv6, Mac, Network, Outer},
    topology::Lab,
};

/// A station behind the second remote VTEP.
pub const BEYOND: Mac = Mac([2, 0, 0, 0, 3, 1]);
/// That VTEP's MAC address.
pub const SECOND_VTEP: Mac = Mac([2, 0, 0x0a, 0, 0, 3]);
/// The UDP source port that [`Outer::new`] has.
pub const SOURCE_PORT: u16 = 0xc001;

/// Fields that both families have.
pub trait Fields: Network {
    /// TTL and TOS byte, or hop limit and traffic class.
    fn set(&mut self, ttl: u8, tos: u8);
    /// What tells flows apart where nobody looks at ports.
    fn set_label(&mut self, label: u32);
}

impl Fields for Ipv4 {
    fn set(&mut self, ttl: u8, tos: u8) {
        (self.ttl, self.tos) = (ttl, tos);
    }

    fn set_label(&mut self, _: u32) {}
}

impl Fields for Ipv6 {
    fn set(&mut self, ttl: u8, tos: u8) {
        (self.hop_limit, self.traffic_class) = (ttl, tos);
    }

    fn set_label(&mut self, label: u32) {
        self.flow_label = label;
    }
}

/// The second remote VTEP over a family.
#[must_use]
pub fn second(family: Family) -> IpAddr {
    match family {
        Family::Ipv4 => Bench::<Ipv4>::other_vtep(),
        Family::Ipv6 => Bench::<Ipv6>::other_vtep(),
    }
}

/// A bench with a second remote VTEP over a family, and transit on.
pub fn relay<'a, N: Network>(lab: &'a Lab, xdp: &str, family: Family) -> Result<Bench<'a, N>> {
    let arguments: &[&str] = match (N::FAMILY, family) {
        (Family::Ipv4, Family::Ipv4) | (Family::Ipv6, Family::Ipv6) => &[],
        (_, Family::Ipv4) => &["--local", "10.0.0.1"],
        (_, Family::Ipv6) => &["--local", "fd00::1"],
    };
    let host = lab.host(1);
    if N::FAMILY != family && family == Family::Ipv4 {
        host.netns.ip("addr add 10.0.0.1/24 dev u1")?;
    }
    let bench = Bench::<N>::over(lab, &[&["--xdp", xdp], arguments].concat())?;
    let remote = second(family);
    host.netns.ip(&format!("neigh replace {remote} lladdr {SECOND_VTEP} dev u1 nud permanent"))?;
    bench.add_tunnel(VNI, &remote.to_string())?;
    bench.add_station(VNI, BEYOND, ["--remote", &remote.to_string()])?;
    bench.set(&["--transit", "on"])?;
    Ok(bench)
}

/// Lets host 1's uplink send from XDP, which the other end of the cable decides.
pub fn sending(lab: &Lab, on: bool) -> Result<()> {
    let word = if on { "on" } else { "off" };
    lab.host(2).netns.run(&["ethtool", "-K", "u2", "gro", word])?;
    lab.host(1).overlay(&["status"]).map(drop)
}

/// The packet in which `inner` goes on with that TTL.
pub fn sent<N: Fields>(lab: &Lab, inner: &[u8], ttl: u8, tos: u8) -> Result<Vec<u8>> {
    let host = lab.host(1);
    let local: IpAddr = match N::FAMILY {
        Family::Ipv4 => host.v4.into(),
        Family::Ipv6 => host.v6.into(),
    };
    let mut outer = Outer::<N>::new((host.mac, local), (SECOND_VTEP, second(N::FAMILY)), VNI)?;
    outer.ip.set(ttl, tos);
    outer.ip.set_label(SOURCE_PORT.into());
    Ok(outer.frame(inner))
}

//! Hosts, the underlay between them, and the workloads behind them.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use anyhow::{Context as _, Result, ensure};
use overlay_common::{
    Family,
    header::{eth, outer},
};

use crate::{frame::Mac, netns::NetNs};

/// What the underlay is like.
#[derive(Clone, Copy, Debug)]
pub struct Underlay {
    /// The family of the hosts' VTEP addresses. With IPv6, hosts have no IPv4 addresses.
    pub family: Family,
    /// Segmentation, aggregation and checksum offloads of the links between hosts. Off, every frame on
    /// them is at most one MTU long and has real checksums, as on a wire.
    pub offloads: bool,
    /// Whether hosts merge received packets of a flow (GRO), even where `offloads` are off.
    pub aggregation: bool,
    /// Whether hosts know each other's MAC addresses from the start, instead of by ARP and ND.
    pub static_neighbours: bool,
    /// MTU of the links between hosts.
    pub mtu: u32,
}

impl Default for Underlay {
    fn default() -> Self {
        Self::over(Family::Ipv4)
    }
}

impl Underlay {
    /// A plain underlay, with offloads, an MTU of 1500, and neighbours to be found.
    #[must_use]
    pub const fn over(family: Family) -> Self {
        Self { family, offloads: true, aggregation: false, static_neighbours: false, mtu: 1500 }
    }

    /// The same, with frames of at most one MTU with real checksums, as on a wire.
    #[must_use]
    pub const fn wire(family: Family) -> Self {
        Self { offloads: false, ..Self::over(family) }
    }

    /// The same, with hosts that know each other's MAC addresses from the start.
    #[must_use]
    pub const fn known(family: Family) -> Self {
        Self { static_neighbours: true, ..Self::over(family) }
    }
}

/// A host: a namespace with one uplink into the underlay.
#[derive(Debug)]
pub struct Host {
    /// Its namespace.
    pub netns: NetNs,
    /// Its number, from 1.
    pub number: u8,
    /// The name of its uplink device, `u<number>`.
    pub uplink: String,
    /// The MAC address of the uplink.
    pub mac: Mac,
    /// Its underlay address, `10.0.0.<number>`, if the underlay is IPv4.
    pub v4: Ipv4Addr,
    /// Its IPv6 underlay address, `fd00::<number>`.
    pub v6: Ipv6Addr,
    /// The one of the two that other VTEPs reach it by.
    pub vtep: IpAddr,
    /// The MTU of workloads whose frames fit the underlay.
    pub inner_mtu: u32,
}

/// Hosts with an underlay between them: a cable for two, a switch for more.
#[derive(Debug)]
pub struct Lab {
    /// The hosts, number 1 first.
    pub hosts: Vec<Host>,
    /// The switch, where there are more than two hosts.
    pub switch: Option<NetNs>,
}

impl Lab {
    /// `count` hosts on a plain underlay.
    pub fn new(count: u8) -> Result<Self> {
        Self::with(count, Underlay::default())
    }

    /// `count` hosts on the given underlay.
    pub fn with(count: u8, underlay: Underlay) -> Result<Self> {
        ensure!(count >= 2, "a lab has two hosts or more");
        let hosts = (1..=count).map(|number| Host::new(number, underlay)).collect::<Result<Vec<_>>>()?;
        let switch = if count > 2 { Some(NetNs::new("switch")?) } else { None };
        let lab = Self { hosts, switch };
        lab.wire_up(underlay)?;
        for host in &lab.hosts {
            host.address(underlay)?;
            if underlay.static_neighbours {
                host.know(&lab.hosts)?;
            }
        }
        for host in &lab.hosts {
            host.netns.settle(&host.uplink)?;
        }
        Ok(lab)
    }

    /// Host `number`, from 1.
    #[must_use]
    pub fn host(&self, number: u8) -> &Host {
        &self.hosts[usize::from(number) - 1]
    }

    fn wire_up(&self, underlay: Underlay) -> Result<()> {
        match &self.switch {
            None => {
                let (one, two) = (self.host(1), self.host(2));
                cable(&one.netns, (&one.uplink, Some(one.mac)), &two.netns, (&two.uplink, Some(two.mac)))?;
            }
            Some(switch) => {
                switch.ip(&format!(
                    "link add sw mtu {} type bridge mcast_snooping 0\nlink set sw up",
                    underlay.mtu
                ))?;
                for host in &self.hosts {
                    cable(switch, (&host.uplink, None), &host.netns, (&host.uplink, Some(host.mac)))?;
                    switch.ip(&format!(
                        "link set {0} mtu {1} master sw\nlink set {0} up",
                        host.uplink, underlay.mtu
                    ))?;
                    set_offloads(switch, &host.uplink, underlay.offloads)?;
                }
            }
        }
        for host in &self.hosts {
            set_offloads(&host.netns, &host.uplink, underlay.offloads)?;
            if underlay.aggregation {
                host.netns.run(&["ethtool", "-K", &host.uplink, "gro", "on"])?;
            }
        }
        Ok(())
    }
}

impl Host {
    fn new(number: u8, underlay: Underlay) -> Result<Self> {
        let (v4, v6) =
            (Ipv4Addr::new(10, 0, 0, number), Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number.into()));
        let overhead = u32::try_from(outer::overhead(underlay.family) + eth::LEN)?;
        Ok(Self {
            netns: NetNs::new(&format!("h{number}"))?,
            number,
            uplink: format!("u{number}"),
            mac: Mac([0x02, 0, 0x0a, 0, 0, number]),
            v4,
            v6,
            vtep: match underlay.family {
                Family::Ipv4 => v4.into(),
                Family::Ipv6 => v6.into(),
            },
            inner_mtu: underlay.mtu - overhead,
        })
    }

    fn address(&self, underlay: Underlay) -> Result<()> {
        let Self { uplink, v4, v6, .. } = self;
        let mut script =
            format!("link set {uplink} mtu {} up\naddr add {v6}/64 dev {uplink} nodad\n", underlay.mtu);
        if underlay.family == Family::Ipv4 {
            writeln!(script, "addr add {v4}/24 dev {uplink}")?;
        }
        self.netns.ip(&script)
    }

    fn know(&self, hosts: &[Self]) -> Result<()> {
        let mut script = String::new();
        for other in hosts.iter().filter(|other| other.number != self.number) {
            for address in [IpAddr::V4(other.v4), IpAddr::V6(other.v6)] {
                writeln!(
                    script,
                    "neigh replace {address} lladdr {} dev {} nud permanent",
                    other.mac, self.uplink
                )?;
            }
        }
        self.netns.ip(&script)
    }

    /// A workload behind this host, not yet attached to any segment.
    pub fn workload(&self, plan: &Plan) -> Result<Workload> {
        Workload::new(self, plan)
    }
}

/// What a workload looks like. [`Plan::new`] fills in all of it from a VNI and a number.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The segment it is meant for, part of the port's name.
    pub vni: u32,
    /// Its number in the segment, from 1.
    pub number: u8,
    /// The MAC address of its device.
    pub mac: Mac,
    /// Its overlay address, in a /24.
    pub v4: Ipv4Addr,
    /// Its IPv6 overlay address, in a /64.
    pub v6: Ipv6Addr,
    /// The MTU of its device and of the port, if not what fits the underlay.
    pub mtu: Option<u32>,
    /// Segmentation, aggregation and checksum offloads of its device and of the port.
    pub offloads: bool,
}

impl Plan {
    /// Workload `number` of segment `vni`: `10.1.0.<number>`, `fd01::<number>`, `02:00:00:00:00:<number>`.
    #[must_use]
    pub fn new(vni: u32, number: u8) -> Self {
        Self {
            vni,
            number,
            mac: Mac([0x02, 0, 0, 0, 0, number]),
            v4: Ipv4Addr::new(10, 1, 0, number),
            v6: Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, u16::from(number)),
            mtu: None,
            offloads: true,
        }
    }
}

/// A workload: a namespace with `eth0`, whose other end is a port device on its host.
#[derive(Debug)]
pub struct Workload {
    /// Its namespace.
    pub netns: NetNs,
    /// The name of the host side of its veth, `p<vni>-<number>`.
    pub port: String,
    /// The MAC address of `eth0`.
    pub mac: Mac,
    /// Its overlay address.
    pub v4: Ipv4Addr,
    /// Its IPv6 overlay address.
    pub v6: Ipv6Addr,
}

impl Workload {
    /// The workload's own device.
    pub const DEVICE: &str = "eth0";

    fn new(host: &Host, plan: &Plan) -> Result<Self> {
        let port = format!("p{}-{}", plan.vni, plan.number);
        ensure!(port.len() < libc::IFNAMSIZ, "{port} is too long for a device");
        let netns = NetNs::new(&format!("w{}-{}", plan.vni, plan.number))?;
        cable(&host.netns, (&port, None), &netns, (Self::DEVICE, Some(plan.mac)))?;
        let mtu = plan.mtu.unwrap_or(host.inner_mtu);
        host.netns.ip(&format!("link set {port} mtu {mtu} up"))?;
        netns.ip(&format!(
            "link set eth0 mtu {mtu} up\naddr add {}/24 dev eth0\naddr add {}/64 dev eth0 nodad",
            plan.v4, plan.v6
        ))?;
        set_offloads(&host.netns, &port, plan.offloads)?;
        set_offloads(&netns, Self::DEVICE, plan.offloads)?;
        netns.settle(Self::DEVICE)?;
        host.netns.settle(&port)?;
        Ok(Self { netns, port, mac: plan.mac, v4: plan.v4, v6: plan.v6 })
    }
}

/// Lays a veth pair between two namespaces, each end with a name and, where it matters, a MAC address.
pub fn cable(
    one: &NetNs,
    one_end: (&str, Option<Mac>),
    two: &NetNs,
    two_end: (&str, Option<Mac>),
) -> Result<()> {
    let address = |mac: Option<Mac>| mac.map(|mac| format!("address {mac}")).unwrap_or_default();
    one.ip(&format!(
        "link add {} {} type veth peer name {} {} netns {}",
        one_end.0,
        address(one_end.1),
        two_end.0,
        address(two_end.1),
        two.name()
    ))
    .with_context(|| format!("a cable to {}", two.name()))
}

fn set_offloads(netns: &NetNs, device: &str, on: bool) -> Result<()> {
    if on {
        return Ok(());
    }
    netns.run(&["ethtool", "-K", device, "tso", "off", "gso", "off", "gro", "off", "tx", "off"]).map(drop)
}

//! What the kernel says of a `vxlan` device, its bridge and the stations there, and whether frames may go around them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::IpAddr,
};

use aya::programs::{SchedClassifier, TcAttachType};
use overlay_common::{
    IfIndex, MacAddr, Vni,
    header::{
        policy::{DEFAULT_TTL, Field, Policy},
        source_ports::SourcePorts,
    },
    maps::{adopted::Adopted, segment::Segment},
};

use crate::{
    datapath::{self, ADOPTED_FROM_PORT},
    error::{Error, Result},
    hook,
    instance::Instance,
    maps,
    netlink::{
        Bridge, BridgePort, Forwarding, Knower, Link, LinkKind, Netlink, Vxlan, has_bridge_rules, has_rules,
    },
};

/// The kernel's devices, bridges and stations at one moment.
pub(super) struct Host {
    links: Vec<Link>,
    ports: BTreeMap<IfIndex, BridgePort>,
    forwarding: Vec<Forwarding>,
    /// Queueing disciplines by their devices.
    queues: Vec<(IfIndex, String)>,
}

/// A remote VTEP, as a `vxlan` device reaches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Remote {
    pub(super) addr: IpAddr,
    /// Its UDP port, host byte order.
    pub(super) port: u16,
}

/// Where the kernel knows a station.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Where {
    Port(IfIndex),
    Remote(Remote),
}

/// What a segment is to be.
pub(super) struct Wanted {
    pub(super) vni: Vni,
    /// With a lease that is over.
    pub(super) adopted: Adopted,
    pub(super) vxlan: Vxlan,
    /// Bridge members whose frames are looked at, and whether theirs may go straight to their peer.
    pub(super) ports: BTreeMap<IfIndex, (Link, bool)>,
    pub(super) stations: BTreeMap<MacAddr, Where>,
}

impl Host {
    /// Asks the kernel.
    pub(super) async fn look(netlink: &Netlink) -> Result<Self> {
        Ok(Self {
            links: netlink.links().await?,
            ports: netlink.bridge_ports().await?.into_iter().collect(),
            forwarding: netlink.forwarding().await?,
            queues: netlink.queues().await?,
        })
    }

    /// The device of that index.
    pub(super) fn link(&self, index: IfIndex) -> Option<&Link> {
        self.links.iter().find(|link| link.index == index)
    }

    /// What the segment of a device is to be.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] where frames may not go around the device or its bridge, in words.
    pub(super) async fn wanted(&self, instance: &Instance, netlink: &Netlink, link: &Link) -> Result<Wanted> {
        let name = &link.name;
        let vxlan = netlink.vxlan(link.index).await?.ok_or_else(|| {
            Error::Failed(format!(
                "{name} is no vxlan device of the kernel; `ip link show type vxlan` lists those"
            ))
        })?;
        let vni = check_vxlan(instance, link, &vxlan)?;
        if self.busy(instance, netlink, link).await?.is_busy() {
            return Err(Error::Failed(format!(
                "{name} has a queueing discipline or TC programs, which all of its frames have to pass"
            )));
        }
        let Some(bridge) = link.bridge.and_then(|bridge| self.link(bridge)) else {
            return self.routed(netlink, link, (vni, vxlan)).await;
        };
        let settings = netlink.bridge(bridge.index).await?.unwrap_or_default();
        check_bridge(bridge, settings)?;
        let own = self.ports.get(&link.index).copied().unwrap_or_default();
        if !link.is_up || !own.is_forwarding {
            return Err(Error::Failed(format!("{name} is not up, or its bridge has it blocked")));
        }
        let ports = self.eligible(instance, netlink, link, own).await?;
        let answers = vxlan.proxy || own.answers || ports.keys().any(|port| self.ports[port].answers);
        let segment = segment(link, &vxlan, settings)?.with_suppress(answers);
        let adopted = Adopted::new(link.index, Some(bridge.index), name, segment);
        let stations = self.stations(link.index, bridge.index, &vxlan, &ports);
        Ok(Wanted { vni, adopted, vxlan, ports, stations })
    }

    /// What the segment of a device is to be that is in no bridge: the host itself sends by it.
    async fn routed(&self, netlink: &Netlink, link: &Link, (vni, vxlan): (Vni, Vxlan)) -> Result<Wanted> {
        let name = &link.name;
        if link.controller.is_some() {
            return Err(Error::Failed(format!(
                "{name} is part of a device that is no bridge, which its frames have to pass"
            )));
        }
        if !netlink.addresses().await?.iter().any(|addr| addr.device == link.index) {
            return Err(Error::Failed(format!(
                "{name} is no member of a bridge, nor has it an address by which the host sends"
            )));
        }
        if !link.is_up {
            return Err(Error::Failed(format!("{name} is not up")));
        }
        let segment = segment(link, &vxlan, Bridge::default())?.with_suppress(vxlan.proxy);
        let adopted = Adopted::new(link.index, None, name, segment);
        let mut stations: BTreeMap<_, _> = self
            .remotes(link.index, &vxlan)
            .into_iter()
            .filter_map(|(mac, remotes)| Some((mac, only(&remotes)?)))
            .filter(|(mac, _)| *mac != MacAddr::default() && !mac.is_group())
            .collect();
        stations.insert(link.mac, Where::Port(link.index));
        let ports = BTreeMap::from([(link.index, (link.clone(), false))]);
        Ok(Wanted { vni, adopted, vxlan, ports, stations })
    }

    /// The bridge members whose frames may go around the bridge.
    async fn eligible(
        &self,
        instance: &Instance,
        netlink: &Netlink,
        vxlan: &Link,
        own: BridgePort,
    ) -> Result<BTreeMap<IfIndex, (Link, bool)>> {
        let uplinks = maps::uplinks(instance)?.entries()?;
        let mut eligible = BTreeMap::new();
        for link in self.links.iter().filter(|link| link.bridge.is_some() && link.bridge == vxlan.bridge) {
            let Some(port) = self.ports.get(&link.index) else { continue };
            let is_apart = port.is_isolated && own.is_isolated;
            let is_plain = link.is_up && port.is_forwarding && !port.is_locked && !is_apart;
            let is_other = link.vxlan.is_none()
                && link.kind != LinkKind::NotEthernet
                && !uplinks.contains_key(&link.index.get())
                && instance.refuse_port(link).is_ok();
            if !is_plain || !is_other {
                continue;
            }
            let busy = self.busy(instance, netlink, link).await?;
            if !busy.has_programs {
                let peer = link.kind == LinkKind::VethPeer && !busy.has_queues;
                eligible.insert(link.index, (link.clone(), peer));
            }
        }
        Ok(eligible)
    }

    /// Whether there are TC programs of others on a device, or a queueing discipline.
    async fn busy(&self, instance: &Instance, netlink: &Netlink, link: &Link) -> Result<Busy> {
        let ours = datapath::classifier_id(instance, ADOPTED_FROM_PORT)?;
        let tcx = [TcAttachType::Ingress, TcAttachType::Egress].into_iter().any(|hook| {
            hook::has_tcx()
                && SchedClassifier::query_tcx(&link.name, hook)
                    .is_ok_and(|(_, attached)| attached.iter().any(|info| info.id() != ours))
        });
        let mut busy = Busy { has_programs: tcx, has_queues: false };
        for (_, kind) in self.queues.iter().filter(|(device, _)| *device == link.index) {
            match kind.as_str() {
                "noqueue" => {}
                "clsact" | "ingress" => {
                    busy.has_programs |= netlink.has_other_filters(link.index, ours).await?;
                }
                _ => busy.has_queues = true,
            }
        }
        Ok(busy)
    }

    /// Where a device sends what is for a station; `None`: what is more than an address and a port.
    fn remotes(&self, device: IfIndex, vxlan: &Vxlan) -> BTreeMap<MacAddr, Vec<Option<Remote>>> {
        let mut remotes: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for entry in self.forwarding.iter().filter(|entry| entry.device == device) {
            if let Knower::Vxlan { remote, port } = entry.knower {
                let port = port.unwrap_or(vxlan.port);
                remotes.entry(entry.mac).or_default().push(remote.map(|addr| Remote { addr, port }));
            }
        }
        remotes
    }

    /// The stations that bridge and device both know to be in one place.
    fn stations(
        &self,
        device: IfIndex,
        bridge: IfIndex,
        vxlan: &Vxlan,
        ports: &BTreeMap<IfIndex, (Link, bool)>,
    ) -> BTreeMap<MacAddr, Where> {
        let remotes = self.remotes(device, vxlan);
        let rest = remotes.get(&MacAddr::default());
        let mut stations = BTreeMap::new();
        for entry in self.forwarding.iter().filter(|entry| entry.knower == Knower::Bridge(bridge)) {
            if entry.mac.is_group() {
                continue;
            }
            let place = if entry.device == device {
                match remotes.get(&entry.mac).or(rest).and_then(|remotes| only(remotes)) {
                    Some(place) => place,
                    None => continue,
                }
            } else if ports.contains_key(&entry.device) {
                Where::Port(entry.device)
            } else {
                continue;
            };
            stations.insert(entry.mac, place);
        }
        stations
    }
}

/// The one remote VTEP that a station is behind: of several, each gets a copy.
fn only(remotes: &[Option<Remote>]) -> Option<Where> {
    match remotes {
        [Some(remote)] if !remote.addr.is_multicast() => Some(Where::Remote(*remote)),
        _ => None,
    }
}

/// What is in the way of a device's frames.
#[derive(Clone, Copy, Debug, Default)]
struct Busy {
    has_programs: bool,
    has_queues: bool,
}

impl Busy {
    const fn is_busy(self) -> bool {
        self.has_programs || self.has_queues
    }
}

fn check_vxlan(instance: &Instance, link: &Link, vxlan: &Vxlan) -> Result<Vni> {
    let name = &link.name;
    if let Some(oddity) = vxlan.oddity {
        return Err(Error::Failed(format!(
            "{name} has the option {oddity}, which only the kernel serves; it cannot be adopted"
        )));
    }
    let vni = Vni::new(vxlan.vni).ok_or_else(|| {
        Error::Failed(format!("{name} has VNI {}, which is no segment's; it cannot be adopted", vxlan.vni))
    })?;
    let config = instance.config()?;
    if vxlan.port != config.port() {
        return Err(Error::Failed(format!(
            "{name} has UDP port {port}, instance {} has {}; `overlay up --port {port}` brings up one that fits",
            instance.name(),
            config.port(),
            port = vxlan.port
        )));
    }
    if let Some(local) = vxlan.local
        && !local.is_unspecified()
        && !config.locals().contains(&local.into())
    {
        return Err(Error::Failed(format!(
            "{name} sends from {local}, which is no address of the local VTEP; `overlay up --local {local}` has it"
        )));
    }
    if maps::segments(instance)?.get(vni.get())?.is_some() {
        return Err(Error::Conflict(format!(
            "VNI {vni} of {name} is a segment of instance {} already; `overlay vni del {vni}` removes it",
            instance.name()
        )));
    }
    Ok(vni)
}

fn check_bridge(bridge: &Link, settings: Bridge) -> Result<()> {
    let name = &bridge.name;
    if settings.filters_vlans {
        return Err(Error::Failed(format!(
            "bridge {name} filters VLANs, which only the kernel does; turn vlan_filtering off to adopt"
        )));
    }
    if has_bridge_rules() {
        return Err(Error::Failed(format!(
            "frames of bridge {name} pass the rules of `nft list tables bridge`; delete those to adopt"
        )));
    }
    if (settings.calls_netfilter || host_calls_netfilter()) && has_rules() {
        return Err(Error::Failed(format!(
            "frames of bridge {name} pass the rules of iptables; turn bridge-nf-call-iptables and its like off to adopt"
        )));
    }
    Ok(())
}

/// Whether frames of all bridges pass the packet filter. Where `br_netfilter` is not loaded, there are no such files.
fn host_calls_netfilter() -> bool {
    ["iptables", "ip6tables", "arptables"].iter().any(|what| {
        fs::read_to_string(format!("/proc/sys/net/bridge/bridge-nf-call-{what}"))
            .is_ok_and(|value| value.trim() != "0")
    })
}

/// The settings by which the programs send as the device does.
fn segment(link: &Link, vxlan: &Vxlan, bridge: Bridge) -> Result<Segment> {
    let (first, last) = vxlan.source_ports.or_else(host_ports).unwrap_or((32768, 60998));
    let ports = SourcePorts::new(first, last).ok_or_else(|| {
        Error::Failed(format!("{} has no source ports to send from; set srcport to adopt it", link.name))
    })?;
    let ttl = vxlan.ttl.unwrap_or_else(|| Field::Fixed(host_ttl().unwrap_or(DEFAULT_TTL)));
    let policy = Policy::DEFAULT
        .with_ttl(ttl)
        .with_dscp(vxlan.dscp)
        .with_dont_fragment(vxlan.df)
        .with_source_ports(ports);
    let ages: BTreeSet<u32> = [bridge.ageing, vxlan.ageing].into_iter().filter(|age| *age != 0).collect();
    Ok(Segment::default()
        .with_learning(false)
        .with_flood(false)
        .with_ageing(ages.first().copied().unwrap_or_default())
        .with_policy(policy)
        .with_mtu(u16::try_from(link.mtu).ok()))
}

/// The ports that the kernel takes where a device names none; it leaves out the last.
fn host_ports() -> Option<(u16, u16)> {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut ends = range.split_whitespace().filter_map(|end| end.parse::<u16>().ok());
    Some((ends.next()?, ends.next()?.checked_sub(1)?))
}

fn host_ttl() -> Option<u8> {
    fs::read_to_string("/proc/sys/net/ipv4/ip_default_ttl").ok()?.trim().parse().ok().filter(|ttl| *ttl != 0)
}

//! The steps of an explanation, as people and programs read them.

use std::{fmt, net::IpAddr};

use serde::Serialize;

/// A step that the programs took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "fields are named after what they hold")]
pub enum Line {
    /// The guards that hold for every frame of a workload.
    Guards { source: String, is_station: bool, vlans: Vec<u16> },
    /// A port was looked up.
    Port { device: String, found: bool },
    /// A segment was looked up.
    Segment { vni: u32, found: bool },
    /// The segment of a VLAN of a trunk port was looked up.
    Vlan { device: String, vid: u16, vni: Option<u32> },
    /// The VLAN of a segment on a trunk port was looked up.
    Tag { device: String, vni: u32, vid: Option<u16> },
    /// What would become of the FDB.
    Learning { vni: u32, mac: Option<String>, outcome: &'static str, because: Option<&'static str> },
    /// A station was looked up.
    Fdb { vni: u32, mac: String, entry: Option<Entry> },
    /// A VTEP was looked up among the members of a segment.
    Member { vni: u32, vtep: Option<IpAddr>, is_member: bool },
    /// A sender would become a member.
    Admit { vni: u32, source: IpAddr },
    /// An address was looked up among the neighbours.
    Neighbour { vni: u32, address: Option<IpAddr>, found: bool },
    /// A request for a neighbour would be answered here, or not.
    Request { answered: bool },
    /// A flood list was looked up.
    FloodList { vni: u32, ports: u32, remotes: u32 },
    /// The limit of what a port may have flooded.
    BumRate { device: String, allowed: bool },
    /// Whom a frame is flooded to.
    Audience { audience: &'static str },
    /// Another program takes the frame on.
    Program { name: &'static str },
    /// A remote VTEP is to get a packet.
    Remote { remote: Option<IpAddr> },
    /// The way to a remote VTEP.
    NextHop { uplink: Option<String>, mtu: Option<u16>, resolved: bool },
    /// The largest IP packet of the workload that fits.
    Fits { largest: u32 },
    /// Whether somebody else on this host takes the packet.
    Foreign { taken: bool },
    /// The underlay's word on how much it carries would be believed.
    PathMtu { remote: Option<IpAddr>, mtu: u16 },
    /// A packet is in transit between two VTEPs.
    Transit { vni: u32, from: Option<IpAddr>, to: Option<IpAddr> },
    /// What goes on with a packet in transit: the TTL or hop limit that it came with, that it leaves with, and its UDP source port.
    Journey { ttl: u8, leaves_with: u8, source_port: u16 },
    /// The frame of a packet in transit comes out of its tunnel first.
    Anew { because: &'static str },
    /// A segment was looked up among those that are adopted.
    Adopted { vni: u32, outcome: &'static str },
    /// A device was looked up among the members of bridges whose frames are looked at.
    BridgePort { device: String, vni: Option<u32> },
    /// The kernel has the frame as it came.
    Left { because: &'static str },
    /// What XDP makes of the packet before TC has it.
    Early { program: &'static str, outcome: &'static str },
    /// The frame would be sent.
    Send { device: String, how: &'static str },
    /// A copy would be sent.
    Copy { device: String, length: u32, remote: Option<IpAddr> },
    /// The frame or a copy would be dropped.
    Drop { reason: &'static str },
    /// Something would be counted besides.
    Notice { notice: &'static str },
}

/// Where a station is, and who says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The device of its port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// The remote VTEP that it is behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<IpAddr>,
    /// Who made the entry: `static`, `control` or `learned`.
    pub origin: &'static str,
    /// Seconds since a frame of a learned station was seen.
    pub age_s: Option<u64>,
}

impl Line {
    /// The word that it is about.
    const fn label(&self) -> &'static str {
        match self {
            Self::Guards { .. } => "guards",
            Self::Port { .. } => "port",
            Self::Segment { .. } => "segment",
            Self::Vlan { .. } | Self::Tag { .. } => "VLAN",
            Self::Learning { .. } => "learning",
            Self::Fdb { .. } => "FDB",
            Self::Member { .. } | Self::Admit { .. } => "member",
            Self::Neighbour { .. } | Self::Request { .. } => "neighbour",
            Self::FloodList { .. } | Self::BumRate { .. } | Self::Audience { .. } => "flood",
            Self::Program { .. } => "program",
            Self::Remote { .. } => "tunnel",
            Self::Adopted { .. } | Self::BridgePort { .. } => "adopted",
            Self::Left { .. } => "kernel",
            Self::Early { .. } => "XDP",
            Self::Transit { .. } | Self::Journey { .. } | Self::Anew { .. } => "transit",
            Self::NextHop { .. } => "next hop",
            Self::Fits { .. } | Self::PathMtu { .. } => "MTU",
            Self::Foreign { .. } => "others",
            Self::Send { .. } => "send",
            Self::Copy { .. } => "copy",
            Self::Drop { .. } => "drop",
            Self::Notice { .. } => "notice",
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Guards { source, is_station: false, .. } => format!("{source} can be no station's address"),
            Self::Guards { source, vlans, .. } if vlans.is_empty() => {
                format!("source {source} is a station's address; no VLAN tag")
            }
            Self::Guards { source, vlans, .. } => {
                let vlans: Vec<_> = vlans.iter().map(u16::to_string).collect();
                format!("source {source} is a station's address; VLAN tag {}", vlans.join(", then "))
            }
            Self::Port { device, found } => format!("{device} is {} port of this instance", a_or_no(*found)),
            Self::Segment { vni, found } => format!("{vni} is {} segment of this instance", a_or_no(*found)),
            Self::Vlan { device, vid, vni: Some(vni) } => format!("VLAN {vid} of {device} is segment {vni}"),
            Self::Vlan { device, vid, vni: None } => format!("VLAN {vid} of {device} is no segment"),
            Self::Tag { device, vni, vid: Some(vid) } => format!("segment {vni} is VLAN {vid} on {device}"),
            Self::Tag { device, vni, vid: None } => format!("segment {vni} is no VLAN on {device}"),
            Self::Learning { mac, outcome, because, .. } => {
                let mac = mac.as_deref().unwrap_or("its source");
                format!("{mac} {outcome}{}", because.map(|why| format!(" ({why})")).unwrap_or_default())
            }
            Self::Fdb { vni, mac, entry: Some(entry) } => format!("{mac} in {vni} is {entry}"),
            Self::Fdb { vni, mac, entry: None } => format!("{mac} in {vni} is not known"),
            Self::Member { vni, vtep, is_member } => {
                let vtep = vtep.map_or("that VTEP".to_owned(), |vtep| vtep.to_string());
                format!("{vtep} is {} of segment {vni}", if *is_member { "a member" } else { "no member" })
            }
            Self::Admit { vni, source } => {
                format!("{source} becomes a member of segment {vni}, by its group")
            }
            Self::Neighbour { vni, address, found } => {
                let address = address.map_or("it".to_owned(), |address| address.to_string());
                format!("{address} in {vni} is {}", if *found { "known" } else { "not known" })
            }
            Self::Request { answered: true } => "the request is answered here".to_owned(),
            Self::Request { answered: false } => "the request is not answered here".to_owned(),
            Self::FloodList { vni, ports, remotes } => {
                format!("segment {vni} has {} and {}", count(*ports, "port"), count(*remotes, "remote VTEP"))
            }
            Self::BumRate { device, allowed } => {
                format!("the limit of {device} {} it", if *allowed { "allows" } else { "does not allow" })
            }
            Self::Audience { audience } => format!("to {audience}"),
            Self::Program { name } => format!("goes on in {name}"),
            Self::Remote { remote } => remote.map_or("to nobody".to_owned(), |to| format!("to {to}")),
            Self::NextHop { uplink, mtu, resolved } => {
                let uplink = uplink.as_deref().unwrap_or("?");
                let mtu = mtu.map(|mtu| format!(", MTU {mtu}")).unwrap_or_default();
                let unresolved = if *resolved { "" } else { "; the kernel has to resolve it first" };
                format!("by {uplink}{mtu}{unresolved}")
            }
            Self::Fits { largest: 0 } => "nobody knows what fits".to_owned(),
            Self::Fits { largest } => {
                format!("the largest IP packet of the workload that fits has {largest} bytes")
            }
            Self::Foreign { taken: true } => "a socket on this host listens on the UDP port".to_owned(),
            Self::Foreign { taken: false } => "nobody else on this host listens on the UDP port".to_owned(),
            Self::PathMtu { remote, mtu } => {
                let to = remote.map_or("a VTEP".to_owned(), |to| to.to_string());
                format!("the underlay carries {mtu} bytes to {to}, and that is believed")
            }
            Self::Adopted { vni, outcome } => format!("segment {vni} {outcome}"),
            Self::BridgePort { device, vni: Some(vni) } => format!("{device} is in segment {vni}"),
            Self::BridgePort { device, vni: None } => format!("{device} is no member of an adopted bridge"),
            Self::Left { because } => format!("has it as it came: {because}"),
            Self::Early { program, outcome } => format!("{program} {outcome}"),
            Self::Transit { vni, from, to } => {
                let name = |vtep: &Option<IpAddr>| vtep.map_or("?".to_owned(), |vtep| vtep.to_string());
                format!("from {} on to {} in segment {vni}", name(from), name(to))
            }
            Self::Journey { ttl, leaves_with: 0, .. } => format!("came with TTL {ttl}, and goes no further"),
            Self::Journey { ttl, leaves_with, source_port } => {
                format!(
                    "came with TTL {ttl}, and leaves with {leaves_with}; its source port stays {source_port}"
                )
            }
            Self::Anew { because } => format!("its frame comes out of the tunnel first: {because}"),
            Self::Send { device, how } => format!("{how} {device}"),
            Self::Copy { device, length, remote } => {
                let to = remote.map(|to| format!(" to {to}")).unwrap_or_default();
                format!("{length} bytes by {device}{to}")
            }
            Self::Drop { reason } => (*reason).to_owned(),
            Self::Notice { notice } => (*notice).to_owned(),
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<10} {}", self.label(), self.text())
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.port, &self.remote) {
            (Some(port), _) => write!(f, "behind port {port}")?,
            (None, Some(remote)) => write!(f, "behind {remote}")?,
            (None, None) => f.write_str("nowhere")?,
        }
        write!(f, ", {}", self.origin)?;
        self.age_s.map_or(Ok(()), |age| write!(f, " {age}s ago"))
    }
}

const fn a_or_no(found: bool) -> &'static str {
    if found { "a" } else { "no" }
}

fn count(number: u32, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

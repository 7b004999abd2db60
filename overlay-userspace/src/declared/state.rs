//! What an instance is told: the same of a file and of one that is up, so that both can be compared.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use overlay_common::{
    MacAddr, OverlayAddr, Vni,
    maps::{
        config::{Merging, TcHook},
        device::XdpChoice,
        segment::Segment,
    },
};

use crate::{datapath::Room, fdb::At, neigh, port::Limits, trunk::VlanMap, tunnel, up};

/// What an instance is told. What it learns is no part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The local VTEP; `None`: the instance is not up.
    pub vtep: Option<Vtep>,
    /// Devices of the kernel whose segments are adopted.
    pub adopted: BTreeSet<String>,
    /// Segments and their settings.
    pub segments: BTreeMap<Vni, Segment>,
    /// Tunnels, by segment and remote address, groups included.
    pub tunnels: BTreeMap<(Vni, IpAddr), Tunnel>,
    /// Ports, by the name of their device.
    pub ports: BTreeMap<String, Port>,
    /// Where stations are.
    pub stations: BTreeMap<(Vni, MacAddr), At>,
    /// Which stations have which addresses.
    pub neighbours: BTreeMap<(Vni, OverlayAddr), neigh::Station>,
    /// Who listens to which group.
    pub listeners: BTreeSet<(Vni, IpAddr, At)>,
}

/// The local VTEP, and how it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vtep {
    /// Its uplinks, in the order in which they give it addresses.
    pub uplinks: Vec<String>,
    /// Its addresses; none: those of the uplinks.
    pub locals: Vec<IpAddr>,
    /// Its UDP port, host byte order.
    pub port: u16,
    /// How XDP serves the uplinks.
    pub xdp: XdpChoice,
    /// Whether the kernel merges tunnel packets as they come in.
    pub merging: Merging,
    /// How TC programs are attached.
    pub tc: TcHook,
    /// How much there is room for.
    pub room: Room,
}

/// How a segment reaches a remote VTEP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// The UDP port that it listens on, host byte order.
    pub port: u16,
    /// Whether it gets UDP checksums.
    pub udp_checksum: bool,
    /// The uplink that a group is joined on; `None`: that of the route, or no group.
    pub device: Option<String>,
}

/// A port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its segment; of a trunk port, that of frames without a tag.
    pub vni: Option<Vni>,
    /// Which VLANs are which segments; `None`: it is no trunk.
    pub vlans: Option<VlanMap>,
    /// What it may do.
    pub limits: Limits,
    /// The host's own device that is made with it.
    pub created: Option<Created>,
}

/// A device of the host itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// Its name.
    pub name: String,
    /// Its addresses and the lengths of their prefixes.
    pub addresses: BTreeSet<(IpAddr, u8)>,
    /// Its MTU, in bytes; `None`: whatever it is.
    pub mtu: Option<u32>,
}

impl Vtep {
    /// As `overlay up` takes it.
    #[must_use]
    pub fn settings(&self) -> up::Settings {
        up::Settings {
            uplinks: self.uplinks.clone(),
            locals: self.locals.clone(),
            port: self.port,
            xdp: self.xdp,
            merging: self.merging,
            tc: Some(self.tc),
            room: self.room,
        }
    }

    /// The names of its uplinks, in order.
    #[must_use]
    pub fn uplink_names(&self) -> BTreeSet<&str> {
        self.uplinks.iter().map(String::as_str).collect()
    }
}

impl Tunnel {
    /// As `overlay tunnel add` takes it.
    #[must_use]
    pub const fn settings(&self) -> tunnel::Settings {
        tunnel::Settings { udp_checksum: self.udp_checksum, port: Some(self.port) }
    }
}

impl Port {
    /// A port of one segment, without settings.
    #[must_use]
    pub fn plain(vni: Vni) -> Self {
        Self { vni: Some(vni), vlans: None, limits: Limits::default(), created: None }
    }

    /// Whether it is in a segment.
    #[must_use]
    pub fn is_of(&self, vni: Vni) -> bool {
        self.vnis().any(|other| other == vni)
    }

    /// The segments that it is in.
    pub fn vnis(&self) -> impl Iterator<Item = Vni> {
        let vlans = self.vlans.iter().flat_map(VlanMap::iter).map(|(_, vni)| vni);
        self.vni.into_iter().chain(vlans)
    }
}

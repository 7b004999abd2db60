//! The configuration file as it is written. Each setting has the name of the option that it is on the command line, and what
//! it can be is for the command line's own parsers to say.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;
pub use super::value::{OneOrMore, Scalar, Word, word};

/// A whole configuration file.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Configuration of overlay")]
pub struct File {
    /// The local VTEP, and how its uplinks are served; what `overlay up` takes.
    pub vtep: Vtep,
    /// The agent, `overlay run -c`; other commands pass over it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<Agent>,
    /// Ports with settings, trunk ports, and devices for the host itself. A plain port can stand in its segment's `ports`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub port: Vec<Port>,
    /// Segments, and what is in them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vni: Vec<Vni>,
}

/// The local VTEP.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Vtep {
    /// Devices that face the underlay.
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub uplinks: Vec<Word>,
    /// Addresses of the local VTEP, IPv4 or IPv6, one or several. By default the first of each family on each uplink.
    #[serde(default, skip_serializing_if = "OneOrMore::is_empty")]
    #[schemars(with = "schema::OneOrMore")]
    pub local: OneOrMore,
    /// UDP port of the VTEP. By default 4789.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u16>", range(min = 1))]
    pub port: Option<Word>,
    /// How XDP serves the uplinks, besides TC. By default `auto`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Xdp>")]
    pub xdp: Option<Word>,
    /// Whether the kernel merges tunnel packets as they come in. By default `auto`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::TunnelGro>")]
    pub tunnel_gro: Option<Word>,
    /// How TC programs are attached. By default `auto`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Tc>")]
    pub tc: Option<Word>,
    /// Stations that the FDB holds. By default 262144.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u32>", range(min = 1, max = 16_777_216))]
    pub fdb_size: Option<Word>,
    /// Remote VTEPs that there is room for. By default 3071.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u32>", range(min = 1, max = 64_511))]
    pub max_vteps: Option<Word>,
    /// `vxlan` devices of the kernel whose known frames are forwarded, as long as an agent runs; what `overlay adopt` takes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub adopt: Vec<Word>,
}

/// The agent.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Agent {
    /// Address and port where metrics are served by HTTP, as in "127.0.0.1:9477"; `true`: there. By default `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::SwitchOrText>")]
    pub metrics: Option<Word>,
}

/// A device that faces a workload.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Port {
    /// Name of the device; with `create`, of the host's own device, whose other end is the port.
    #[schemars(with = "String")]
    pub name: Word,
    /// Number of the segment; with `vlan`, that of frames without a tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u32>", range(min = 1, max = 16_777_215))]
    pub vni: Option<Word>,
    /// Makes it a trunk port: `VID:VNI,FIRST-LAST:VNI,...`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub vlan: Option<Word>,
    /// Learn no more stations behind it at a time; 0: any number. By default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u32>")]
    pub learn_limit: Option<Word>,
    /// Packets per second that it may have flooded, as a number or as in "20k"; 0: any number. By default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::NumberOrText>")]
    pub bum_rate: Option<Word>,
    /// Send frames out of tunnels straight to the device from XDP. By default `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Switch>")]
    pub xdp_redirect: Option<Word>,
    /// Make a veth pair, so that the host itself is in the segment.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub create: bool,
    /// Addresses of the host's own device, as in "10.1.0.1/24"; with `create`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub address: Vec<Word>,
    /// Largest IP packet of the host's own device, in bytes; with `create`. By default what fits the uplinks.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u32>")]
    pub mtu: Option<Word>,
}

/// A segment, and what is in it.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Vni {
    /// Number of the segment.
    #[schemars(with = "u32", range(min = 1, max = 16_777_215))]
    pub id: Word,
    /// Learn where stations are out of their frames. By default on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Switch>")]
    pub learning: Option<Word>,
    /// Flood frames to stations that are not known. By default on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Switch>")]
    pub flood: Option<Word>,
    /// Seconds after which a learned station that sends nothing is forgotten; 0: never. By default 300.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u32>")]
    pub ageing: Option<Word>,
    /// Largest IP packet of a workload that goes into tunnels, in bytes, or `auto`: what their paths carry. By default `auto`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::NumberOrText>")]
    pub mtu: Option<Word>,
    /// Lower the MSS of TCP handshakes to what fits the path (on), or to a number. By default off.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::SwitchOrNumber>")]
    pub clamp_mss: Option<Word>,
    /// Learn no more stations at a time; 0: any number. By default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u32>")]
    pub learn_limit: Option<Word>,
    /// Moves within the window by which a station flaps; 0: none do. By default 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u16>")]
    pub flap_moves: Option<Word>,
    /// That window, in seconds. By default 180.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u32>", range(min = 1))]
    pub flap_window: Option<Word>,
    /// Seconds that a station that flaps stays where it is; 0: it moves on. By default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u32>")]
    pub flap_freeze: Option<Word>,
    /// What becomes of frames with VLAN tags. By default `drop`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Vlan>")]
    pub vlan: Option<Word>,
    /// TTL or hop limit of outer headers, 1 to 255, or `inherit`. By default 64.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::NumberOrText>")]
    pub ttl: Option<Word>,
    /// DSCP of outer headers, 0 to 63, or `inherit`. By default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::NumberOrText>")]
    pub dscp: Option<Word>,
    /// Don't-fragment bit of outer IPv4 headers. By default `set`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Df>")]
    pub df: Option<Word>,
    /// UDP source ports, of which each flow gets one, as in "49152-65535", which is the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub source_ports: Option<Word>,
    /// What becomes of packets with reserved bits in their VXLAN header. By default `ignore`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Reserved>")]
    pub reserved: Option<Word>,
    /// Carry the packet mark in the VXLAN header. By default off.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Switch>")]
    pub gbp: Option<Word>,
    /// Answer ARP and ND for stations whose addresses are known. By default off.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Switch>")]
    pub suppress: Option<Word>,
    /// What becomes of ARP and ND requests for addresses that are not known; with `suppress`. By default `flood`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Unknown>")]
    pub suppress_unknown: Option<Word>,
    /// Learn addresses from DHCP servers too; with `suppress`. By default off.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Switch>")]
    pub snoop_dhcp: Option<Word>,
    /// Send multicast to those only who listen. By default off.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Switch>")]
    pub mcast_snooping: Option<Word>,
    /// Send frames out of tunnels on to the VTEP that their destination is known behind. By default off.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Switch>")]
    pub transit: Option<Word>,
    /// Devices that are ports of the segment, without settings of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub ports: Vec<Word>,
    /// Remote VTEPs that the segment reaches, without settings of their own; multicast groups of the underlay too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub remotes: Vec<Word>,
    /// Remote VTEPs with settings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tunnel: Vec<Tunnel>,
    /// Where stations are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fdb: Vec<Station>,
    /// Which stations have which addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub neigh: Vec<Neighbour>,
    /// Who listens to which multicast group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mdb: Vec<Listener>,
}

/// A remote VTEP that a segment reaches, and that may send into it.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Tunnel {
    /// Address of the remote VTEP, or multicast group of the underlay.
    #[schemars(with = "String")]
    pub remote: Word,
    /// UDP port that the remote VTEP listens on. By default that of the local VTEP.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u16>", range(min = 1))]
    pub port: Option<Word>,
    /// Send UDP checksums to it, over IPv6.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub udp6_csum: bool,
    /// Uplink to join the group on. By default that of the route to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub dev: Option<Word>,
}

/// Where a station is: behind a remote VTEP or a port.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Station {
    /// Its MAC address.
    #[schemars(with = "String")]
    pub mac: Word,
    /// Address of the remote VTEP that it is behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub remote: Option<Word>,
    /// Device of the port that it is behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub port: Option<Word>,
}

/// Which station has an address.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Neighbour {
    /// The IP address.
    #[schemars(with = "String")]
    pub ip: Word,
    /// The station's MAC address.
    #[schemars(with = "String")]
    pub mac: Word,
    /// The station is a router (IPv6).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub router: bool,
}

/// Who listens to a multicast group: somebody behind a remote VTEP or a port.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Address of the group.
    #[schemars(with = "String")]
    pub group: Word,
    /// Address of the remote VTEP.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub remote: Option<Word>,
    /// Device of the port.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub port: Option<Word>,
}

impl Vni {
    /// A segment with default settings that nothing is in.
    #[must_use]
    pub fn new(id: overlay_common::Vni) -> Self {
        Self {
            id: word(id.get()),
            learning: None,
            flood: None,
            ageing: None,
            mtu: None,
            clamp_mss: None,
            learn_limit: None,
            flap_moves: None,
            flap_window: None,
            flap_freeze: None,
            vlan: None,
            ttl: None,
            dscp: None,
            df: None,
            source_ports: None,
            reserved: None,
            gbp: None,
            suppress: None,
            suppress_unknown: None,
            snoop_dhcp: None,
            mcast_snooping: None,
            transit: None,
            ports: Vec::new(),
            remotes: Vec::new(),
            tunnel: Vec::new(),
            fdb: Vec::new(),
            neigh: Vec::new(),
            mdb: Vec::new(),
        }
    }
}

//! `SEGMENTS`: the settings of each segment.

use bytemuck::{Pod, Zeroable};

use super::{fdb::FlapRule, map_data};
use crate::{Family, VtepId, header::policy::Policy};

/// The map's name: a hash of VNI (`u32`) to [`Segment`].
pub const NAME: &str = "SEGMENTS";

/// Segments an instance can have.
pub const MAX_ENTRIES: usize = 1 << 14;

/// Seconds after which a learned station that sends nothing is forgotten, as the kernel's bridge has it.
pub const DEFAULT_AGEING: u32 = 300;

const LEARNING: u32 = 1;
const FLOOD: u32 = 1 << 1;
/// The MSS of TCP handshakes is lowered.
const CLAMP_MSS: u32 = 1 << 8;
/// To what fits the path, not to a fixed size.
const CLAMP_MSS_TO_PATH: u32 = 1 << 9;
const MCAST_SNOOPING: u32 = 1 << 16;
/// Frames go on from tunnel to tunnel.
const TRANSIT: u32 = 1 << 17;

// Of the word `neighbours`.
const SUPPRESS: u32 = 1;
const DROP_UNKNOWN: u32 = 1 << 1;
const SNOOP_DHCP: u32 = 1 << 2;

/// Of the field `vlan`: VLAN tags of frames are kept.
const KEEP: u32 = 1;
/// Of the field `vlan`: a trunk port has a VLAN for the segment.
const TRUNKS: u32 = 1 << 1;

/// The settings of a segment.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Segment {
    flags: u32,
    ageing: u32,
    learn_limit: u32,
    flap_moves: u32,
    flap_window: u32,
    flap_freeze: u32,
    vlan: u32,
    policy: Policy,
    neighbours: u32,
    mtu: u16,
    mss: u16,
    /// The groups of the underlay that stand for VTEPs, over IPv4 and over IPv6.
    groups: [u16; 2],
}

map_data!(Segment);

impl Default for Segment {
    /// Learns and floods; learned stations age in [`DEFAULT_AGEING`] seconds; headers as [`Policy`] has them by default.
    fn default() -> Self {
        Self { flags: LEARNING | FLOOD, ageing: DEFAULT_AGEING, ..Self::zeroed() }
            .with_flap_rule(FlapRule::default())
            .with_policy(Policy::DEFAULT)
    }
}

impl Segment {
    /// Whether source addresses are learned.
    #[inline(always)]
    #[must_use]
    pub const fn learning(self) -> bool {
        self.flags & LEARNING != 0
    }

    /// Whether unknown unicast is flooded; broadcast and multicast always are.
    #[inline(always)]
    #[must_use]
    pub const fn flood(self) -> bool {
        self.flags & FLOOD != 0
    }

    /// Seconds after which a learned station that sends nothing is forgotten; 0: never.
    #[inline(always)]
    #[must_use]
    pub const fn ageing(self) -> u32 {
        self.ageing
    }

    /// The same with another ageing time in seconds; 0: never.
    #[must_use]
    pub const fn with_ageing(self, seconds: u32) -> Self {
        Self { ageing: seconds, ..self }
    }

    /// The same with learning on or off.
    #[must_use]
    pub const fn with_learning(self, on: bool) -> Self {
        self.with(LEARNING, on)
    }

    /// The same with flooding of unknown unicast on or off.
    #[must_use]
    pub const fn with_flood(self, on: bool) -> Self {
        self.with(FLOOD, on)
    }

    /// Whether frames keep their VLAN tags; otherwise those with one are dropped (RFC 7348, section 6.1).
    #[inline(always)]
    #[must_use]
    pub const fn keeps_vlan(self) -> bool {
        self.vlan & KEEP != 0
    }

    /// Whether a trunk port has a VLAN for the segment.
    #[inline(always)]
    #[must_use]
    pub const fn has_trunks(self) -> bool {
        self.vlan & TRUNKS != 0
    }

    /// The same with VLAN tags kept or not.
    #[must_use]
    pub const fn with_vlan_kept(self, keep: bool) -> Self {
        Self { vlan: if keep { self.vlan | KEEP } else { self.vlan & !KEEP }, ..self }
    }

    /// The same, noting whether a trunk port has a VLAN for the segment.
    #[must_use]
    pub const fn with_trunks(self, any: bool) -> Self {
        Self { vlan: if any { self.vlan | TRUNKS } else { self.vlan & !TRUNKS }, ..self }
    }

    /// How many stations can be learned in the segment at a time; 0: any number.
    #[inline(always)]
    #[must_use]
    pub const fn learn_limit(&self) -> u32 {
        self.learn_limit
    }

    /// The same with another limit of learned stations; 0: any number.
    #[must_use]
    pub const fn with_learn_limit(self, stations: u32) -> Self {
        Self { learn_limit: stations, ..self }
    }

    /// When a station moves too often.
    #[inline(always)]
    #[must_use]
    pub const fn flap_rule(&self) -> FlapRule {
        FlapRule { moves: self.flap_moves as u16, window: self.flap_window, freeze: self.flap_freeze }
    }

    /// The same with another rule of when a station moves too often.
    #[must_use]
    pub const fn with_flap_rule(self, rule: FlapRule) -> Self {
        Self { flap_moves: rule.moves as u32, flap_window: rule.window, flap_freeze: rule.freeze, ..self }
    }

    /// How outer headers are filled in, and what is taken on receipt.
    #[inline(always)]
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The same with another policy for headers.
    #[must_use]
    pub const fn with_policy(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    /// Whether ARP and ND are snooped, and answered where the answer is known.
    #[inline(always)]
    #[must_use]
    pub const fn suppress(&self) -> bool {
        self.neighbours & SUPPRESS != 0
    }

    /// Whether a request for a station that no neighbour is known for is dropped instead of flooded.
    #[inline(always)]
    #[must_use]
    pub const fn drops_unknown_neighbour(&self) -> bool {
        self.neighbours & DROP_UNKNOWN != 0
    }

    /// Whether DHCP acknowledgements are snooped too.
    #[inline(always)]
    #[must_use]
    pub const fn snoop_dhcp(&self) -> bool {
        self.neighbours & SNOOP_DHCP != 0
    }

    /// The same with suppression of ARP and ND on or off.
    #[must_use]
    pub const fn with_suppress(self, on: bool) -> Self {
        self.with_neighbours(SUPPRESS, on)
    }

    /// The same with requests for unknown stations dropped or flooded.
    #[must_use]
    pub const fn with_unknown_neighbour_dropped(self, on: bool) -> Self {
        self.with_neighbours(DROP_UNKNOWN, on)
    }

    /// The same with snooping of DHCP on or off.
    #[must_use]
    pub const fn with_snoop_dhcp(self, on: bool) -> Self {
        self.with_neighbours(SNOOP_DHCP, on)
    }

    const fn with_neighbours(self, flag: u32, on: bool) -> Self {
        Self { neighbours: if on { self.neighbours | flag } else { self.neighbours & !flag }, ..self }
    }

    /// Whether the receivers of multicast are learned, and only they get it.
    #[inline(always)]
    #[must_use]
    pub const fn mcast_snooping(&self) -> bool {
        self.flags & MCAST_SNOOPING != 0
    }

    /// The same with receivers of multicast learned or not.
    #[must_use]
    pub const fn with_mcast_snooping(self, on: bool) -> Self {
        self.with(MCAST_SNOOPING, on)
    }

    /// Whether a frame out of a tunnel goes on to the VTEP that its destination is known behind; otherwise it is dropped.
    #[inline(always)]
    #[must_use]
    pub const fn transit(&self) -> bool {
        self.flags & TRANSIT != 0
    }

    /// The same with frames going on from tunnel to tunnel or not.
    #[must_use]
    pub const fn with_transit(self, on: bool) -> Self {
        self.with(TRANSIT, on)
    }

    /// The multicast group of the underlay that stands for the segment's VTEPs over `family`: whoever speaks to the
    /// segment over it becomes a member.
    #[inline(always)]
    #[must_use]
    pub const fn group(&self, family: Family) -> Option<VtepId> {
        VtepId::new(self.groups[slot(family)])
    }

    /// The same with another group over `family`, or none.
    #[must_use]
    pub const fn with_group(mut self, family: Family, group: Option<VtepId>) -> Self {
        self.groups[slot(family)] = match group {
            Some(id) => id.get(),
            None => 0,
        };
        self
    }

    const fn with(self, flag: u32, on: bool) -> Self {
        Self { flags: if on { self.flags | flag } else { self.flags & !flag }, ..self }
    }
}

/// What the MSS of TCP handshakes is lowered to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClampMss {
    /// Nothing.
    #[default]
    Off,
    /// What fits the path.
    ToPath,
    /// So many bytes.
    To(u16),
}

impl Segment {
    /// The largest IP packet that goes into tunnels, in bytes; `None`: what their paths carry.
    #[inline(always)]
    #[must_use]
    pub const fn mtu(self) -> Option<u16> {
        if self.mtu == 0 { None } else { Some(self.mtu) }
    }

    /// The same with another MTU.
    #[must_use]
    pub fn with_mtu(self, mtu: Option<u16>) -> Self {
        Self { mtu: mtu.unwrap_or(0), ..self }
    }

    /// Whether the MSS of TCP handshakes is lowered.
    #[inline(always)]
    #[must_use]
    pub const fn clamps_mss(self) -> bool {
        self.flags & CLAMP_MSS != 0
    }

    /// What the MSS of TCP handshakes is lowered to.
    #[inline(always)]
    #[must_use]
    pub const fn clamp_mss(self) -> ClampMss {
        if self.flags & CLAMP_MSS == 0 {
            ClampMss::Off
        } else if self.flags & CLAMP_MSS_TO_PATH != 0 {
            ClampMss::ToPath
        } else {
            ClampMss::To(self.mss)
        }
    }

    /// The same, lowering the MSS of TCP handshakes or not.
    #[must_use]
    pub const fn with_clamp_mss(self, clamp: ClampMss) -> Self {
        let mss = if let ClampMss::To(mss) = clamp { mss } else { 0 };
        let same = self
            .with(CLAMP_MSS, !matches!(clamp, ClampMss::Off))
            .with(CLAMP_MSS_TO_PATH, matches!(clamp, ClampMss::ToPath));
        Self { mss, ..same }
    }
}

const fn slot(family: Family) -> usize {
    match family {
        Family::Ipv4 => 0,
        Family::Ipv6 => 1,
    }
}

#[cfg(test)]
mod tests;

//! `JUMPS`: programs that others hand a frame to by a tail call, so that what is rare does not lengthen the hot path.

/// The map's name: an array of programs, indexed by [`Jump::index`].
pub const NAME: &str = "JUMPS";

/// The map of that kind for XDP programs: of one, [`TRANSIT_XDP`], in slot 0.
pub const XDP_NAME: &str = "XDP_JUMPS";

/// The program that native XDP on an uplink hands packets to that may be in transit.
pub const TRANSIT_XDP: &str = "transit_from_uplink_xdp";

/// One slot for each.
pub const MAX_ENTRIES: usize = Jump::ALL.len();

/// A program that is reached by a tail call only.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jump {
    /// Sends a frame from a port to where it goes, with no closer look at it any more.
    ForwardFromPort,
    /// Sends copies of a frame from a port to everybody behind the other ports of its segment.
    FloodFromPort,
    /// Sends copies of a frame from a port to everybody behind the tunnels of its segment.
    FloodToTunnels,
    /// Sends a frame out of a tunnel, whose outer headers are off, to where it goes.
    ForwardFromTunnel,
    /// Sends copies of such a frame to everybody behind the ports of its segment.
    FloodFromTunnel,
    /// Takes the VLAN tags off a frame from a port, and finds its segment.
    TaggedFromPort,
    /// Takes a packet from the underlay whose inner frame has VLAN tags out of its tunnel.
    TaggedFromUplink,
    /// Puts the VLAN tags on a frame that a port's workload shall see, and sends it there.
    DeliverToPort,
    /// Has a look at a frame from a port that may be ARP, ND or DHCP; answers it, or sends it on by `ForwardFromPort`.
    SuppressFromPort,
    /// Has a look at a frame out of a tunnel that may be ARP, ND or DHCP, and sends it on by `ForwardFromTunnel`.
    SnoopFromTunnel,
    /// Tells a workload that its packet is too big.
    TooBigFromPort,
    /// Takes note of what the underlay says about our packets, and lets it pass.
    PathMtuFromUplink,
    /// Lowers the MSS option in what a workload sends.
    ClampMssFromPort,
    /// Lowers the MSS option in what comes out of a tunnel.
    ClampMssFromTunnel,
    /// Starts over with a packet from the underlay.
    FromUplink,
    /// Lets the sender of a packet in, if its segment takes whoever speaks to it.
    AdmitFromUplink,
    /// Learns from IGMP and MLD out of a port who receives what.
    GroupsFromPort,
    /// The same from what came out of a tunnel.
    GroupsFromTunnel,
    /// Sends a packet that is still a tunnel packet on to another VTEP.
    TransitFromUplink,
    /// Takes the outer headers of such a packet off, where more is to be done than to write others.
    UnwrapFromUplink,
    /// Sends a frame out of a tunnel, whose outer headers are off, on to another VTEP.
    TransitFromTunnel,
    /// Tells the workload behind a tunnel that its packet is too big for another tunnel.
    TooBigFromTunnel,
    /// Starts over with a frame from a port that is to be captured. It is there only once somebody has captured.
    CaptureFromPort,
    /// The same with a packet from the underlay.
    CaptureFromUplink,
    /// Delivers a packet for a segment that a `vxlan` device of the kernel serves as well, or lets it pass.
    AdoptedFromUplink,
    /// Sends a frame of such a segment into a tunnel, or lets it pass.
    ForwardAdopted,
}

impl Jump {
    /// All of them, in the order of their slots.
    pub const ALL: [Self; 26] = [
        Self::ForwardFromPort,
        Self::FloodFromPort,
        Self::FloodToTunnels,
        Self::ForwardFromTunnel,
        Self::FloodFromTunnel,
        Self::TaggedFromPort,
        Self::TaggedFromUplink,
        Self::DeliverToPort,
        Self::SuppressFromPort,
        Self::SnoopFromTunnel,
        Self::TooBigFromPort,
        Self::PathMtuFromUplink,
        Self::ClampMssFromPort,
        Self::ClampMssFromTunnel,
        Self::FromUplink,
        Self::AdmitFromUplink,
        Self::GroupsFromPort,
        Self::GroupsFromTunnel,
        Self::TransitFromUplink,
        Self::UnwrapFromUplink,
        Self::TransitFromTunnel,
        Self::TooBigFromTunnel,
        Self::CaptureFromPort,
        Self::CaptureFromUplink,
        Self::AdoptedFromUplink,
        Self::ForwardAdopted,
    ];

    /// The slot in `JUMPS`.
    #[inline(always)]
    #[must_use]
    pub const fn index(self) -> u32 {
        self as u32
    }

    /// Whether the program is there only once somebody has captured.
    #[must_use]
    pub const fn is_for_capture(self) -> bool {
        matches!(self, Self::CaptureFromPort | Self::CaptureFromUplink)
    }

    /// The program's name.
    #[must_use]
    pub const fn program(self) -> &'static str {
        match self {
            Self::ForwardFromPort => "forward_from_port",
            Self::FloodFromPort => "flood_from_port",
            Self::FloodToTunnels => "flood_to_tunnels",
            Self::ForwardFromTunnel => "forward_from_tunnel",
            Self::FloodFromTunnel => "flood_from_tunnel",
            Self::TaggedFromPort => "tagged_from_port",
            Self::TaggedFromUplink => "tagged_from_uplink",
            Self::DeliverToPort => "deliver_to_port",
            Self::SuppressFromPort => "suppress_from_port",
            Self::SnoopFromTunnel => "snoop_from_tunnel",
            Self::TooBigFromPort => "too_big_from_port",
            Self::PathMtuFromUplink => "path_mtu_from_uplink",
            Self::ClampMssFromPort => "clamp_mss_from_port",
            Self::ClampMssFromTunnel => "clamp_mss_from_tunnel",
            Self::FromUplink => "from_uplink",
            Self::AdmitFromUplink => "admit_from_uplink",
            Self::GroupsFromPort => "groups_from_port",
            Self::GroupsFromTunnel => "groups_from_tunnel",
            Self::TransitFromUplink => "transit_from_uplink",
            Self::UnwrapFromUplink => "unwrap_from_uplink",
            Self::TransitFromTunnel => "transit_from_tunnel",
            Self::TooBigFromTunnel => "too_big_from_tunnel",
            Self::CaptureFromPort => "capture_from_port",
            Self::CaptureFromUplink => "capture_from_uplink",
            Self::AdoptedFromUplink => "adopted_from_uplink",
            Self::ForwardAdopted => "forward_adopted",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_in_order() {
        for (index, jump) in (0..).zip(Jump::ALL) {
            assert_eq!(jump.index(), index);
        }
    }
}

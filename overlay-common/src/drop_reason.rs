use core::fmt;

macro_rules! drop_reasons {
    ($($(#[$doc:meta])+ $variant:ident = $name:literal,)+) => {
        /// Why a frame was dropped. Counted per CPU in the map `DROPS`, one slot each.
        #[repr(u8)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum DropReason {
            $($(#[$doc])+ $variant,)+
        }

        impl DropReason {
            /// Every reason, in the order of the slots of `DROPS`.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            /// The name that commands print.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

drop_reasons! {
    /// A frame on a port, or inside a tunnel packet, is shorter than an Ethernet header.
    InnerTruncated = "inner-truncated",
    /// The inner source MAC is a group address or zero.
    BadSourceMac = "bad-source-mac",
    /// The inner frame carries a VLAN tag (RFC 7348, section 6.1).
    InnerVlan = "inner-vlan",
    /// The program runs on a device that is no port of this instance.
    UnknownPort = "unknown-port",
    /// The destination is behind the port the frame came from.
    SamePort = "same-port",
    /// The destination MAC is unknown and the segment does not flood.
    UnknownUnicast = "unknown-unicast",
    /// A station asks for one that no neighbour is known for, and the segment is set not to flood such requests.
    NeighbourUnknown = "neighbour-unknown",
    /// The kernel would not let an answer to ARP or ND be written.
    AnswerFailed = "answer-failed",
    /// A frame to be flooded, in a segment with nobody else in it.
    NoReceivers = "no-receivers",
    /// An entry names a remote VTEP that is gone.
    UnknownVtep = "unknown-vtep",
    /// The underlay has no route to the remote VTEP.
    NoRoute = "no-route",
    /// The route to the remote VTEP leaves by a device that is no uplink.
    NotAnUplink = "not-an-uplink",
    /// The next hop's MAC is not resolved yet; the kernel is at it.
    NextHopUnresolved = "next-hop-unresolved",
    /// The frame and its outer headers exceed the MTU of the path to the remote VTEP.
    TooBig = "too-big",
    /// The kernel carries several packets as one in a way that cannot be taken apart again behind or before the tunnel:
    /// UDP in one piece out of a tunnel, several tunnel packets as one, a workload's own tunnel.
    Merged = "merged",
    /// A program that another one hands frames to is not where it should be.
    NoProgram = "no-program",
    /// The kernel would not make room for the outer headers.
    EncapFailed = "encap-failed",
    /// The kernel would not remove the outer headers.
    DecapFailed = "decap-failed",
    /// The kernel would not send a copy to a device.
    RedirectFailed = "redirect-failed",
    /// A packet for our VTEP ends within its outer headers, or its IP length exceeds it.
    OuterTruncated = "outer-truncated",
    /// A packet for our VTEP is a fragment; VTEPs must not fragment (RFC 7348, section 4.3).
    OuterFragment = "outer-fragment",
    /// A packet of another VLAN of the underlay: the tag beside its bytes was seen only after XDP took its headers off.
    OuterVlan = "outer-vlan",
    /// The outer IPv4 header checksum is wrong.
    OuterChecksum = "outer-checksum",
    /// The outer UDP length does not fit the IP length.
    UdpLength = "udp-length",
    /// The I flag of the VXLAN header is clear (RFC 7348, section 5).
    NoVniFlag = "no-vni-flag",
    /// A packet for our VTEP names a VNI that is no segment here, nor served by another VXLAN on this host.
    UnknownVni = "unknown-vni",
    /// A packet for our VTEP comes from an address that is no member of its segment.
    NotAMember = "not-a-member",
    /// A frame out of a tunnel whose destination is behind a tunnel, in a segment without transit: it must not go back into one.
    TunnelToTunnel = "tunnel-to-tunnel",
    /// The underlay marked congestion on a packet whose inner sender does not know ECN (RFC 6040, section 4.2).
    Ecn = "ecn",
    /// The kernel carries several packets as one, their VTEP wants UDP checksums, and the devices that cut them up before
    /// those are made are not there, or leave them whole.
    GsoChecksum = "gso-checksum",
    /// A packet for our VTEP has reserved bits set in its VXLAN header, and its segment refuses that.
    ReservedBits = "reserved-bits",
    /// A frame without a VLAN tag on a trunk port that has no segment for such.
    UntaggedFrame = "untagged-frame",
    /// The VLAN tag of a frame on a trunk port is none that the port's map has; or the port's map, or the port itself, has
    /// lost the segment that a frame for it is of.
    UnmappedVlan = "unmapped-vlan",
    /// A VLAN tag that its segment keeps would be taken for a VLAN that the trunk port's map has for another segment.
    VlanClash = "vlan-clash",
    /// The kernel would not put a VLAN tag on a frame, or take it off.
    VlanFailed = "vlan-failed",
    /// A frame to be flooded exceeds the limit of the port that it came from.
    BumRate = "bum-rate",
    /// A frame to a multicast group that nobody in the segment listens to.
    NoListeners = "no-listeners",
    /// A VTEP that spoke to a segment with a multicast group, when as many had come by themselves as there can be.
    TooManyMembers = "too-many-members",
    /// Something on a device that we made for a purpose of our own, and that does not serve it.
    Stray = "stray",
    /// A frame to a group that is for one link only, as PAUSE, LACP, 802.1X and LLDP are (IEEE 802.1Q, table 8-1).
    ReservedMac = "reserved-mac",
    /// A frame in transit whose destination is behind the very VTEP that it came from.
    SameVtep = "same-vtep",
    /// A packet in transit that has come over as many VTEPs and routers as its outer TTL or hop limit allows.
    TtlExpired = "ttl-expired",
}

impl DropReason {
    /// How many reasons there are: the size of `DROPS`.
    pub const COUNT: usize = Self::ALL.len();

    /// The slot in `DROPS`.
    #[inline(always)]
    #[must_use]
    pub const fn index(self) -> u32 {
        self as u32
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_in_order_and_names_differ() {
        for (index, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index() as usize, index);
            assert_eq!(DropReason::ALL.iter().filter(|other| other.name() == reason.name()).count(), 1);
        }
    }
}

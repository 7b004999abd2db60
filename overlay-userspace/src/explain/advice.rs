//! What to do about a frame that is dropped.

use overlay_common::DropReason;

/// What the reason says, and what to do about it.
pub(super) const fn advice(reason: DropReason) -> &'static str {
    use DropReason as R;
    match reason {
        R::InnerTruncated => "the frame ends within its Ethernet header; whoever sent it is broken",
        R::BadSourceMac => "a source has to be a station's address, no group's nor zero; mend the workload",
        R::InnerVlan => {
            "the segment takes no VLAN tags; `vni set --vlan keep`, or a trunk port (`port add --vlan`)"
        }
        R::UnknownPort => "the device is no port of this instance; `port add` makes it one",
        R::SamePort => "source and destination are behind the same port, which need not send it here",
        R::UnknownUnicast => {
            "nobody knows the station and the segment does not flood; `fdb add`, or `vni set --flood on`"
        }
        R::NeighbourUnknown => {
            "nobody knows the address that is asked for; `neigh add`, or `vni set --suppress-unknown flood`"
        }
        R::AnswerFailed => "the kernel would not let the answer be written",
        R::NoReceivers => "nobody else is in the segment; `tunnel add` or `port add` brings somebody in",
        R::UnknownVtep => "the entry names a remote VTEP that is gone; `fdb replace` or `tunnel add`",
        R::NoRoute => "the host has no route to the remote VTEP; `ip route get ADDR` says why",
        R::NotAnUplink => {
            "the route to the remote VTEP leaves by a device that is no uplink; mend the route, or `up --uplink` names that device too"
        }
        R::NextHopUnresolved => {
            "the kernel is still resolving the next hop; look at `ip neigh` if that lasts"
        }
        R::TooBig => {
            "the packet does not fit the path or the segment's MTU; lower the workload's MTU, or raise the underlay's"
        }
        R::Merged => {
            "the kernel carries several packets as one that cannot be taken apart; turn that offload off in the workload"
        }
        R::NoProgram => "a program is missing from its slot; `overlay down` and `up` load them anew",
        R::EncapFailed => "the kernel would not make room for the outer headers",
        R::DecapFailed => "the kernel would not take the outer headers off",
        R::RedirectFailed => "the kernel would not send to the device; is it up?",
        R::OuterTruncated => {
            "the packet ends within its outer headers, or is shorter than it says; look for a cut capture or a broken sender"
        }
        R::OuterFragment => {
            "the packet is a fragment, which VTEPs must not send; raise the underlay's MTU or lower the workloads'"
        }
        R::OuterVlan => "the packet is of another VLAN of the underlay",
        R::OuterChecksum => {
            "the outer IPv4 header's checksum is wrong; the sender or something on the way is broken"
        }
        R::UdpLength => "the outer UDP length does not fit the IP length; the sender is broken",
        R::NoVniFlag => {
            "the VXLAN header names no segment (its I flag is clear); the sender is broken, or speaks another protocol"
        }
        R::UnknownVni => "the segment is none of this instance, nor of a `vxlan` device; `vni add` makes it",
        R::NotAMember => "the sender may not send into the segment; `tunnel add --remote` lets it",
        R::TunnelToTunnel => {
            "the destination is behind a tunnel, and what came out of one goes into another only where the segment is so set; whoever sent it here had an outdated entry, or `vni set --transit on`"
        }
        R::SameVtep => {
            "the destination is behind the VTEP that sent the frame; one of both has an outdated entry"
        }
        R::TtlExpired => {
            "the packet went from VTEP to VTEP until its TTL was used up; their entries lead in a circle, `fdb show` on each says how"
        }
        R::Ecn => {
            "the underlay is congested, and the workloads do not know ECN: it is dropped as RFC 6040 says"
        }
        R::GsoChecksum => {
            "the devices that cut such frames up for a VTEP with checksums are not there; any command repairs that"
        }
        R::ReservedBits => {
            "reserved bits of the VXLAN header are set; `vni set --reserved ignore` takes such packets"
        }
        R::UntaggedFrame => {
            "the trunk port has no segment for frames without a tag; `port add --vni` names one"
        }
        R::UnmappedVlan => "the trunk port has no segment for this VLAN; `port vlan add` names one",
        R::VlanClash => {
            "the tag that the segment keeps is another segment's VLAN on that trunk port; choose other VLANs"
        }
        R::VlanFailed => "the kernel would not put the VLAN tag on or take it off",
        R::BumRate => "the port has had flooded as much as it may; `port set --bum-rate` raises that",
        R::NoListeners => "nobody in the segment listens to the group; `mdb show` says who listens to what",
        R::TooManyMembers => {
            "as many VTEPs came by themselves as there can be; `tunnel add` names those that shall stay"
        }
        R::Stray => "the device serves a purpose of its own, and no other traffic",
        R::ReservedMac => {
            "the destination is a group of one link only (PAUSE, LACP, LLDP), which no bridge forwards"
        }
    }
}

//! What the outcomes of steps are called.

use overlay_common::explain::{Anew, Learning, Lease, Left, Unlearned, Whom};

/// What becomes of the FDB by a frame's source.
pub(super) const fn learning(learning: Learning) -> &'static str {
    match learning {
        Learning::Off => "is not looked at: the segment does not learn",
        Learning::Known => "is known there",
        Learning::Kept => "stays where the FDB has it",
        Learning::Learned => "would be learned",
        Learning::Moved => "would move here",
        Learning::Flaps => "moves too often",
        Learning::NoRoom => "would not be learned",
    }
}

/// Why a source is not learned.
pub(super) const fn unlearned(what: Unlearned) -> &'static str {
    match what {
        Unlearned::Full => "the FDB is full",
        Unlearned::Limit => "the segment or the port is at its limit",
        Unlearned::Unmoved => "it stays where it is",
        Unlearned::Flaps => "it flaps",
    }
}

/// Whom a frame is flooded to.
pub(super) const fn audience(whom: Whom) -> &'static str {
    match whom {
        Whom::Everyone => "everyone",
        Whom::Routers => "multicast routers",
        Whom::Listeners => "listeners to the group, and multicast routers",
    }
}

/// Why a frame in transit comes out of its tunnel.
pub(super) const fn anew(why: Anew) -> &'static str {
    match why {
        Anew::Family => "the other VTEP has an address of the other family",
        Anew::Headers => {
            "its outer headers cannot be written over (IP options, bytes behind it, checksums to be made)"
        }
        Anew::Congestion => "it met congestion, which goes into the frame",
        Anew::Looked => "the segment has such frames looked at more closely",
        Anew::TooBig => "it does not fit, which whoever sent it is told",
    }
}

/// Whether a segment is adopted.
pub(super) const fn lease(lease: Lease) -> &'static str {
    match lease {
        Lease::None => "is not adopted",
        Lease::Good => "is adopted",
        Lease::Over => "is adopted, but nobody follows what the kernel knows of it",
    }
}

/// Why the kernel has a frame.
pub(super) const fn left(why: Left) -> &'static str {
    match why {
        Left::NoMember => "the device is no bridge member whose frames are looked at",
        Left::Lease => "nobody follows what the kernel knows of the segment; `overlay run` does",
        Left::Tag => "it has a VLAN tag, or comes by no device",
        Left::Frame => "it has a VLAN tag, no station's address as its source, or no whole Ethernet header",
        Left::Protocol => "it is neither IPv4 nor IPv6, or neighbour discovery that the kernel answers",
        Left::SourceUnknown => "the kernel does not know its source, or not for long",
        Left::SourceElsewhere => "the kernel knows its source elsewhere",
        Left::SourceDue => {
            "the kernel is to see a frame of its source now and then, so that it does not forget it"
        }
        Left::DestinationUnknown => "the kernel does not know its destination, or floods it",
        Left::DestinationHere => "its destination is on the side that it comes from",
        Left::DestinationDue => "the kernel is to see a frame to its destination now and then",
        Left::Congested => "it met congestion",
        Left::Merged => "it stands for several packets that cannot be carried as one",
        Left::TooBig => "it does not fit, which the kernel tells whoever sent it",
        Left::NoWay => "there is no way to the remote VTEP",
        Left::Unresolved => "the kernel has to resolve the next hop first",
        Left::Headers => "its outer headers are not plain: lengths, reserved bits, a group's address",
        Left::Sender => "the kernel knows nobody behind the VTEP that sent it",
    }
}

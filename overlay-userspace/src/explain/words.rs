//! What the outcomes of steps are called.

use overlay_common::explain::{Anew, Learning, Unlearned, Whom};

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

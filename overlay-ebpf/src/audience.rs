//! Whom in a segment a frame is flooded to.

use network_types::ip::{Ipv4Hdr, Ipv6Hdr};
use overlay_common::{
    DropReason, Family, UnderlayAddr, Vni,
    explain::{Step, Whom},
    header::eth,
    maps::mdb::{Group, Listener, MdbKey, Subject},
};

use crate::{
    explain,
    maps::mdb,
    packet::Packet as _,
    skb::Skb,
    verdict::{Outcome, Verdict},
};

/// Whom a frame is flooded to. Its kind is handed over with the frame, in the bits above the VNI, to the programs that flood
/// it; the group is the frame's destination.
///
/// Plain words: the verifier and the stack of the programs have little patience for more.
#[derive(Clone, Copy)]
pub(crate) struct Audience {
    kind: u32,
    group: [u32; 4],
}

/// Bits of a VNI; those above tell the kind of audience.
const VNI_BITS: u32 = 24;
const EVERYONE: u32 = 0;
const ROUTERS_IPV4: u32 = 1;
const ROUTERS_IPV6: u32 = 2;
const LISTENERS_IPV4: u32 = 3;
const LISTENERS_IPV6: u32 = 4;
/// Some of the audience have had the frame already.
const HAS_COPIES: u32 = 1 << 31;
/// The port's limit of what is flooded has been applied.
const IS_PAID: u32 = 1 << 30;

/// Notes in what is handed over with a frame that some of its audience have had it.
#[inline(always)]
pub(crate) fn note_copies(skb: &mut Skb) {
    skb.hand_over(skb.handed_over() | HAS_COPIES);
}

/// Whether that was noted.
#[inline(always)]
pub(crate) fn has_copies(skb: &Skb) -> bool {
    skb.handed_over() & HAS_COPIES != 0
}

/// Notes in what is handed over with a frame that the port's limit has been applied.
#[inline(always)]
pub(crate) fn note_paid(skb: &mut Skb) {
    skb.hand_over(skb.handed_over() | IS_PAID);
}

/// Whether that was noted.
#[inline(always)]
pub(crate) fn is_paid(skb: &Skb) -> bool {
    skb.handed_over() & IS_PAID != 0
}

/// The multicast group of IP that a frame is to.
#[inline(always)]
pub(crate) fn group_of(skb: &Skb, family: Family) -> Option<Group> {
    Group::new(match family {
        Family::Ipv4 => UnderlayAddr::from_ipv4(skb.get::<Ipv4Hdr>(eth::LEN)?.dst_addr),
        Family::Ipv6 => UnderlayAddr::from_ipv6(skb.get::<Ipv6Hdr>(eth::LEN)?.dst_addr),
    })
}

impl Audience {
    /// Everyone.
    pub(crate) const EVERYONE: Self = Self { kind: EVERYONE, group: [0; 4] };

    /// Routers: others must not hear a report, which would keep them from reporting too.
    #[inline(always)]
    pub(crate) fn routers(family: Family) -> Self {
        let kind = match family {
            Family::Ipv4 => ROUTERS_IPV4,
            Family::Ipv6 => ROUTERS_IPV6,
        };
        Self { kind, group: [0; 4] }
    }

    /// Those who listen to the group that the frame is to, and routers.
    #[inline(always)]
    pub(crate) fn listeners(group: Group) -> Self {
        let kind = match group.family() {
            Family::Ipv4 => LISTENERS_IPV4,
            Family::Ipv6 => LISTENERS_IPV6,
        };
        Self { kind, group: group.addr().words() }
    }

    /// Whether it is some listeners only.
    #[inline(always)]
    pub(crate) fn is_listeners(&self) -> bool {
        self.kind == LISTENERS_IPV4 || self.kind == LISTENERS_IPV6
    }

    /// Leaves the audience of a frame of segment `vni` for the program that the frame is handed to.
    #[inline(always)]
    pub(crate) fn hand_over(self, skb: &mut Skb, vni: Vni) {
        explain::note(|| {
            Step::Audience(match self.kind {
                EVERYONE => Whom::Everyone,
                ROUTERS_IPV4 | ROUTERS_IPV6 => Whom::Routers,
                _ => Whom::Listeners,
            })
        });
        skb.hand_over(vni.get() | self.kind << VNI_BITS);
    }

    /// What was handed over with a frame. A group that cannot be read has everyone listening.
    #[inline(always)]
    pub(crate) fn handed_over(skb: &Skb) -> Self {
        let kind = (skb.handed_over() & !(HAS_COPIES | IS_PAID)) >> VNI_BITS;
        let family = match kind {
            LISTENERS_IPV4 => Family::Ipv4,
            LISTENERS_IPV6 => Family::Ipv6,
            _ => return Self { kind, group: [0; 4] },
        };
        group_of(skb, family).map_or(Self::EVERYONE, Self::listeners)
    }

    /// The segment of a frame that was handed over with its audience.
    #[inline(always)]
    pub(crate) fn segment(skb: &Skb) -> Option<Vni> {
        Vni::new(skb.handed_over() & Vni::MAX.get())
    }

    /// Whether somebody at a place in segment `vni` belongs to it at `now`, nanoseconds of the monotonic clock.
    #[inline(always)]
    pub(crate) fn has(&self, vni: Vni, place: Listener, now: u64) -> bool {
        let family = match self.kind {
            EVERYONE => return true,
            ROUTERS_IPV4 => Family::Ipv4,
            ROUTERS_IPV6 => Family::Ipv6,
            _ => {
                let group = Group::from_words(self.group);
                if mdb::holds(&MdbKey::new(vni, Subject::Listener(group, place)), now) {
                    return true;
                }
                group.family()
            }
        };
        mdb::holds(&MdbKey::new(vni, Subject::Router(family, place)), now)
    }

    /// What becomes of a frame when there are no more copies to make; `is_served`: somebody had one.
    #[inline(always)]
    pub(crate) fn outcome(&self, is_served: bool) -> Outcome {
        if is_served {
            Ok(Verdict::Copied)
        } else if self.is_listeners() {
            Err(DropReason::NoListeners)
        } else if self.kind == EVERYONE {
            Err(DropReason::NoReceivers)
        } else {
            // A report has said what it had to say.
            Ok(Verdict::Copied)
        }
    }
}

//! Whom in a segment a frame is flooded to.

use overlay_common::{
    Family, Vni,
    maps::mdb::{Group, Listener, MdbKey, Subject},
};

use crate::{maps::mdb, skb::Skb};

/// Whom a frame is flooded to. It is handed over with the frame to the program that floods it.
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
const LISTENERS: u32 = 3;
/// Some of the audience have had the frame already.
const HAS_COPIES: u32 = 1 << 31;

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

    /// Those who listen to a group, and routers.
    #[inline(always)]
    pub(crate) fn listeners(group: Group) -> Self {
        Self { kind: LISTENERS, group: group.addr().words() }
    }

    /// Whether it is some listeners only.
    #[inline(always)]
    pub(crate) fn is_listeners(&self) -> bool {
        self.kind == LISTENERS
    }

    /// Whether it is everyone.
    #[inline(always)]
    pub(crate) fn is_everyone(&self) -> bool {
        self.kind == EVERYONE
    }

    /// Leaves the audience of a frame of segment `vni` for the program that the frame is handed to.
    #[inline(always)]
    pub(crate) fn hand_over(self, skb: &mut Skb, vni: Vni) {
        skb.hand_over(vni.get() | self.kind << VNI_BITS);
        if self.is_listeners() {
            skb.hand_over_words(self.group);
        }
    }

    /// What was handed over with a frame.
    #[inline(always)]
    pub(crate) fn handed_over(skb: &Skb) -> Self {
        let kind = (skb.handed_over() & !HAS_COPIES) >> VNI_BITS;
        Self { kind, group: skb.handed_over_words() }
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
}

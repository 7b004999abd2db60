//! `MDB`: who in a segment listens to which multicast group, as IGMP and MLD said.

mod group;

pub use group::Group;

use bytemuck::{Pod, Zeroable};

use super::{fdb::Place, map_data};
use crate::{Family, IfIndex, UnderlayAddr, Vni, VtepId};

/// The map's name: a hash of [`MdbKey`] to [`MdbEntry`].
///
/// Where it is full, groups whose listeners it cannot hold are flooded.
pub const NAME: &str = "MDB";

/// Entries there can be.
pub const MAX_ENTRIES: usize = 1 << 14;

const SECOND_NS: u64 = 1_000_000_000;

/// How long a listener counts that says nothing (RFC 3376, section 8.4, and RFC 3810, section 9.4, with their defaults).
pub const LISTENER_NS: u64 = 260 * SECOND_NS;
/// How long a querier counts that says nothing (RFC 3376, section 8.5; RFC 3810, section 9.5).
pub const QUERIER_NS: u64 = 255 * SECOND_NS;
/// How long listeners count on at least that do not answer when they are asked about their group (RFC 3376, sections 8.8 to
/// 8.10, and RFC 3810, sections 9.8 to 9.10, with their defaults).
pub const LEFT_NS: u64 = 2 * SECOND_NS;
/// How often they are asked before they are taken to have left.
pub const LAST_QUERIES: u64 = 2;

/// Where somebody listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Listener {
    /// Behind that port.
    Port(IfIndex),
    /// Behind that remote VTEP.
    Vtep(VtepId),
}

impl From<Place> for Listener {
    fn from(place: Place) -> Self {
        match place {
            Place::Port { device, .. } => Self::Port(device),
            Place::Vtep(id) => Self::Vtep(id),
        }
    }
}

impl Listener {
    const VTEP: u32 = 1 << 31;

    #[inline(always)]
    const fn word(self) -> u32 {
        match self {
            Self::Port(device) => device.get(),
            Self::Vtep(id) => Self::VTEP | id.index(),
        }
    }

    const fn from_word(word: u32) -> Option<Self> {
        if word & Self::VTEP != 0 {
            match VtepId::new(word as u16) {
                Some(id) => Some(Self::Vtep(id)),
                None => None,
            }
        } else {
            match IfIndex::new(word) {
                Some(device) => Some(Self::Port(device)),
                None => None,
            }
        }
    }
}

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// Somebody listens to a group there.
    Listener(Group, Listener),
    /// The listeners to a group are known.
    Group(Group),
    /// A router is there, which gets all multicast of the family.
    Router(Family, Listener),
    /// Somebody asks for listeners to groups of the family.
    Querier(Family),
}

/// A segment, a group or a family, and a place.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
pub struct MdbKey {
    vni: u32,
    place: u32,
    group: UnderlayAddr,
}

impl MdbKey {
    /// The key of what is about `subject` in segment `vni`.
    #[inline(always)]
    #[must_use]
    pub const fn new(vni: Vni, subject: Subject) -> Self {
        let (group, place) = match subject {
            Subject::Listener(group, listener) => (group.addr(), listener.word()),
            Subject::Group(group) => (group.addr(), 0),
            Subject::Router(family, listener) => (any(family), listener.word()),
            Subject::Querier(family) => (any(family), 0),
        };
        Self { vni: vni.get(), place, group }
    }

    /// Makes the key of a listener that of the group.
    #[inline(always)]
    pub const fn set_subject_to_group(&mut self) {
        self.place = 0;
    }

    /// The segment.
    #[must_use]
    pub const fn vni(self) -> Option<Vni> {
        Vni::new(self.vni)
    }

    /// Where somebody is; `None`: the entry is about the segment as a whole.
    #[must_use]
    pub const fn listener(self) -> Option<Listener> {
        Listener::from_word(self.place)
    }

    /// What the entry is about.
    #[must_use]
    pub const fn subject(self) -> Subject {
        match (Group::new(self.group), self.listener()) {
            (Some(group), Some(listener)) => Subject::Listener(group, listener),
            (Some(group), None) => Subject::Group(group),
            (None, Some(listener)) => Subject::Router(self.group.family(), listener),
            (None, None) => Subject::Querier(self.group.family()),
        }
    }
}

/// What stands for all groups of a family.
#[inline(always)]
const fn any(family: Family) -> UnderlayAddr {
    match family {
        Family::Ipv4 => UnderlayAddr::from_ipv4([0; 4]),
        Family::Ipv6 => UnderlayAddr::from_ipv6([0; 16]),
    }
}

/// Until when something holds. Times are nanoseconds of the monotonic clock.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct MdbEntry {
    from: u64,
    until: u64,
}

map_data!(MdbKey, MdbEntry);

impl MdbEntry {
    /// Holds for good.
    pub const STATIC: Self = Self { from: 0, until: u64::MAX };

    /// Holds `from` one time `until` another.
    #[inline(always)]
    #[must_use]
    pub const fn new(from: u64, until: u64) -> Self {
        Self { from, until }
    }

    /// Whether it holds at `now`.
    #[inline(always)]
    #[must_use]
    pub const fn holds(&self, now: u64) -> bool {
        self.from <= now && now < self.until
    }

    /// Whether it will never hold again, as of `now`.
    #[inline(always)]
    #[must_use]
    pub const fn is_over(&self, now: u64) -> bool {
        self.until <= now
    }

    /// Whether a command made it.
    #[inline(always)]
    #[must_use]
    pub const fn is_static(&self) -> bool {
        self.until == u64::MAX
    }

    /// Until when it holds.
    #[must_use]
    pub const fn until(&self) -> u64 {
        self.until
    }

    /// Lets it hold until another time, unless it holds for good.
    #[inline(always)]
    pub const fn set_until(&mut self, until: u64) {
        if !self.is_static() {
            self.until = until;
        }
    }

    /// Lets it hold from a later time only; an earlier one changes nothing.
    #[inline(always)]
    pub const fn set_from(&mut self, from: u64) {
        if from > self.from {
            self.from = from;
        }
    }
}

#[cfg(test)]
mod tests {
    use core::net::IpAddr;

    use proptest::prelude::*;

    use super::*;

    fn addr(text: &str) -> UnderlayAddr {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn times() {
        let mut entry = MdbEntry::new(5, 10);
        assert!(!entry.holds(4) && entry.holds(5) && entry.holds(9) && !entry.holds(10));
        assert!(entry.is_over(10) && !entry.is_over(9) && !entry.is_static());
        entry.set_until(20);
        assert!(entry.holds(15));
        entry.set_from(12);
        entry.set_from(7);
        assert!(!entry.holds(11) && entry.holds(12));
        let mut fixed = MdbEntry::STATIC;
        fixed.set_until(3);
        assert!(fixed.is_static() && fixed.holds(4));
    }

    #[test]
    fn layout() {
        assert_eq!((size_of::<MdbKey>(), size_of::<MdbEntry>()), (24, 16));
    }

    proptest! {
        #[test]
        fn key_round_trip(vni in 1u32..=0x00ff_ffff, id in 1u16.., device in 1u32..1 << 31, last: u8, kind in 0usize..8) {
            let groups = [addr("239.1.1.0"), addr("ff05::1")].map(|group| {
                let mut bytes = group.bytes();
                bytes[15] = last;
                Group::new(UnderlayAddr::from_ipv6(bytes)).unwrap()
            });
            let places = [Listener::Port(IfIndex::new(device).unwrap()), Listener::Vtep(VtepId::new(id).unwrap())];
            let (group, place) = (groups[kind & 1], places[kind >> 1 & 1]);
            let vni = Vni::new(vni).unwrap();
            for subject in [
                Subject::Listener(group, place),
                Subject::Group(group),
                Subject::Router(group.family(), place),
                Subject::Querier(group.family()),
            ] {
                let key = MdbKey::new(vni, subject);
                prop_assert_eq!((key.vni(), key.subject()), (Some(vni), subject));
            }
            let mut key = MdbKey::new(vni, Subject::Listener(group, place));
            key.set_subject_to_group();
            prop_assert_eq!(key.subject(), Subject::Group(group));
        }
    }
}

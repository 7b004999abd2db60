//! VLAN tags (IEEE 802.1Q, section 9): a protocol, 802.1Q or 802.1ad, and control information.

use bytemuck::{Pod, Zeroable};

use super::{checksum, eth::EtherType};
use crate::Vid;

/// Bytes that a tag adds to a frame.
pub const LEN: usize = 4;

/// How many tags of a frame can be kept inside a tunnel.
pub const MAX_KEPT: usize = 2;

/// The `EtherType` of an 802.1Q tag.
const DOT1Q: [u8; 2] = [0x81, 0x00];
/// The `EtherType` of an 802.1ad tag.
const DOT1AD: [u8; 2] = [0x88, 0xa8];

/// Marks a word as that of a tag.
const PRESENT: u32 = 1 << 31;
/// Marks the word of an 802.1ad tag.
const SERVICE: u32 = 1 << 16;
/// The bits of a VLAN's id in the control information.
const VID: u16 = 0xfff;

/// A tag, in a word that is never 0.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag(u32);

impl Tag {
    /// A tag by the bytes of its protocol (TPID), and its control information (TCI: priority, DEI, VLAN id) as a number.
    /// `None` if that protocol is not one of VLANs.
    #[inline(always)]
    #[must_use]
    pub const fn new(protocol: [u8; 2], control: u16) -> Option<Self> {
        const Q: u16 = EtherType::Ieee8021q as u16;
        const AD: u16 = EtherType::Ieee8021ad as u16;
        match u16::from_ne_bytes(protocol) {
            Q => Some(Self(PRESENT | control as u32)),
            AD => Some(Self(PRESENT | SERVICE | control as u32)),
            _ => None,
        }
    }

    /// The 802.1Q tag of a VLAN, with priority 0.
    #[inline(always)]
    #[must_use]
    pub const fn of(vid: Vid) -> Self {
        Self(PRESENT | vid.get() as u32)
    }

    /// The bytes of its protocol.
    #[inline(always)]
    #[must_use]
    pub const fn protocol(self) -> [u8; 2] {
        if self.0 & SERVICE == 0 { DOT1Q } else { DOT1AD }
    }

    /// Its control information.
    #[inline(always)]
    #[must_use]
    pub const fn control(self) -> u16 {
        self.0 as u16
    }

    /// The VLAN that it names, if it is an 802.1Q tag that names one.
    #[inline(always)]
    #[must_use]
    pub const fn vid(self) -> Option<Vid> {
        if self.0 & SERVICE == 0 { Vid::new(self.control() & VID) } else { None }
    }

    /// Whether it says a priority, but no VLAN.
    #[inline(always)]
    #[must_use]
    pub const fn is_priority(self) -> bool {
        self.control() & VID == 0
    }
}

/// The tags of a frame that are kept, the outer one first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    outer: u32,
    inner: u32,
}

impl Tags {
    /// None.
    pub const NONE: Self = Self { outer: 0, inner: 0 };

    /// The tags that two words of [`Self::words`] stand for. Without an outer tag the second word says nothing.
    #[inline(always)]
    #[must_use]
    pub const fn from_words([outer, inner]: [u32; 2]) -> Self {
        // Without branches, each of which the kernel's verifier would follow to the end of a program.
        Self { outer, inner: inner & 0_u32.wrapping_sub(outer / PRESENT) }
    }

    /// One word for each tag; 0: none.
    #[inline(always)]
    #[must_use]
    pub const fn words(self) -> [u32; 2] {
        [self.outer, self.inner]
    }

    /// The same with one more tag behind them; `None` if that is too many.
    #[inline(always)]
    #[must_use]
    pub const fn and(self, tag: Tag) -> Option<Self> {
        if self.outer == 0 {
            return Some(Self { outer: tag.0, inner: 0 });
        }
        if self.inner == 0 {
            return Some(Self { outer: self.outer, inner: tag.0 });
        }
        None
    }

    /// Whether they are a single one, which says a priority, but no VLAN.
    #[inline(always)]
    #[must_use]
    pub const fn is_priority(self) -> bool {
        self.outer != 0 && self.outer as u16 & VID == 0 && self.inner == 0
    }

    /// Whether there are none.
    #[inline(always)]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.outer == 0
    }

    /// The outer tag.
    #[inline(always)]
    #[must_use]
    pub const fn outer(self) -> Option<Tag> {
        if self.outer == 0 { None } else { Some(Tag(self.outer)) }
    }

    /// The tag behind the outer one.
    #[inline(always)]
    #[must_use]
    pub const fn inner(self) -> Option<Tag> {
        if self.inner == 0 { None } else { Some(Tag(self.inner)) }
    }

    /// What they add to a checksum over the frame.
    #[inline(always)]
    #[must_use]
    pub fn sum(self) -> u32 {
        let of = |word: u32| {
            let [[a, b], [c, d]] = [Tag(word).protocol(), Tag(word).control().to_be_bytes()];
            // Without a tag nothing.
            checksum::sum(&[a, b, c, d]) & 0_u32.wrapping_sub(word / PRESENT)
        };
        of(self.outer) + of(self.inner)
    }

    /// The VLANs that they name.
    #[inline(always)]
    #[must_use]
    pub const fn vlans(self) -> Vlans {
        Vlans(Vlans::named_by(self.outer) | Vlans::named_by(self.inner) << Vlans::INNER_SHIFT)
    }

    /// How many bytes they add to a frame.
    #[inline(always)]
    #[must_use]
    pub const fn len(self) -> usize {
        (self.outer / PRESENT + self.inner / PRESENT) as usize * LEN
    }
}

/// The VLANs that a frame's tags name, the outer one first, whatever priorities those say. A tag that only says a priority
/// names none, as if it were not there.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Vlans(u32);

impl Vlans {
    /// None.
    pub const NONE: Self = Self(0);

    const INNER_SHIFT: u32 = 16;
    /// Marks the VLAN of an 802.1ad tag, next to its id.
    const SERVICE: u32 = 1 << 12;

    /// The VLAN that the tag of this word names, in 13 bits; 0: none. Without branches, for the kernel's verifier.
    #[inline(always)]
    const fn named_by(word: u32) -> u32 {
        let vid = word & VID as u32;
        let names_one = (vid + VID as u32) / Self::SERVICE;
        vid | ((word & SERVICE) / (SERVICE / Self::SERVICE) * names_one)
    }

    /// A number that no others have; 0: there are none.
    #[inline(always)]
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// Their ids, the outer one first.
    #[must_use]
    pub fn vids(self) -> [Option<Vid>; MAX_KEPT] {
        [self.0, self.0 >> Self::INNER_SHIFT].map(|vlan| Vid::new(vlan as u16 & VID))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn tags_round_trip(control: u16, service: bool, second: Option<u16>) {
            let tag = Tag::new(if service { DOT1AD } else { DOT1Q }, control).unwrap();
            prop_assert_eq!(tag.control(), control);
            prop_assert_eq!(tag.protocol(), if service { DOT1AD } else { DOT1Q });
            prop_assert_eq!(tag.vid(), if service { None } else { Vid::new(control & 0xfff) });
            let mut tags = Tags::NONE.and(tag).unwrap();
            prop_assert_eq!(tags.len(), 4);
            if let Some(second) = second.and_then(|control| Tag::new(DOT1Q, control)) {
                tags = tags.and(second).unwrap();
                prop_assert_eq!(tags.inner(), Some(second));
                prop_assert_eq!(tags.len(), 8);
                prop_assert_eq!(tags.and(second), None);
            }
            prop_assert_eq!(tags.outer(), Some(tag));
            prop_assert_eq!(Tags::from_words(tags.words()), tags);
        }
    }

    proptest! {
        #[test]
        fn vlans_are_the_same_whatever_the_priority(
            outer: (bool, u16), inner: Option<(bool, u16)>, priorities: (u16, u16),
        ) {
            let tag = |(service, control): (bool, u16)| {
                Tag::new(if service { DOT1AD } else { DOT1Q }, control).unwrap()
            };
            let vlans = |outer, inner: Option<_>| {
                let tags = Tags::NONE.and(tag(outer)).unwrap();
                inner.map_or(Some(tags), |inner| tags.and(tag(inner))).unwrap().vlans()
            };
            let with = |(service, control): (bool, u16), priority: u16| {
                (service, control & VID | priority & !VID)
            };
            let found = vlans(outer, inner);
            prop_assert_eq!(found, vlans(with(outer, priorities.0), inner.map(|tag| with(tag, priorities.1))));
            let vid = |(_, control): (bool, u16)| Vid::new(control & VID);
            prop_assert_eq!(found.vids(), [vid(outer), inner.and_then(vid)]);
            // Other ones, others.
            if vid(outer).is_some() {
                prop_assert_ne!(found, vlans((!outer.0, outer.1), inner));
                prop_assert_ne!(found, vlans((outer.0, outer.1 ^ 0x800), inner));
                prop_assert_ne!(found, vlans((outer.0, 0), inner));
            }
            if let Some(inner) = inner.filter(|inner| vid(*inner).is_some()) {
                prop_assert_ne!(found, vlans(outer, None));
                prop_assert_ne!(found, vlans(outer, Some((!inner.0, inner.1))));
            }
        }
    }

    #[test]
    fn what_names_no_vlan_counts_for_nothing() {
        for protocol in [DOT1Q, DOT1AD] {
            let tags = Tags::NONE.and(Tag::new(protocol, 0xf000).unwrap()).unwrap();
            assert_eq!((tags.vlans(), tags.vlans().number()), (Vlans::NONE, 0));
        }
        assert_eq!(Tags::NONE.vlans(), Vlans::NONE);
    }

    #[test]
    fn none_and_others() {
        assert_eq!(Tag::new([0x08, 0x00], 1), None);
        assert_eq!(Tags::from_words([0, 7]), Tags::NONE);
        let two =
            Tags::NONE.and(Tag::new(DOT1AD, 0x1234).unwrap()).and_then(|tags| tags.and(Tag::of(Vid::MAX)));
        let bytes = [0x88, 0xa8, 0x12, 0x34, 0x81, 0x00, 0x0f, 0xfe];
        assert_eq!((Tags::NONE.sum(), two.unwrap().sum()), (0, checksum::sum(&bytes)));
        assert!(Tags::NONE.is_empty() && Tags::NONE.outer().is_none());
        let tag = Tag::of(Vid::MAX);
        assert_eq!((tag.protocol(), tag.control(), tag.vid()), (DOT1Q, 4094, Some(Vid::MAX)));
        assert!(!tag.is_priority() && Tag::new(DOT1Q, 0xe000).is_some_and(Tag::is_priority));
    }
}

//! How a segment has the fields of outer headers chosen, and what it takes on receipt.

use bytemuck::{Pod, Zeroable};

use super::{source_ports::SourcePorts, traits::Traits};

/// Hops a tunnel packet may take, as the kernel's `vxlan` device has it (`drivers/net/vxlan`).
pub const DEFAULT_TTL: u8 = 64;

/// The DSCP bits of the IPv4 TOS byte and the IPv6 traffic class (RFC 2474, section 3); the others are ECN (RFC 3168).
const DSCP: u8 = 0xfc;
const ECN: u8 = 0x03;
/// Don't fragment, in the first byte of the IPv4 flags-and-offset field.
pub const DONT_FRAGMENT: u8 = 0x40;

/// It is dropped what comes with reserved bits set in its VXLAN header.
const REFUSE_RESERVED: u8 = 1;
/// The VXLAN header carries the packet mark.
const GBP: u8 = 1 << 1;

/// A field of the outer header: always the same, or what the inner header has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// This number.
    Fixed(u8),
    /// What the inner IP header has.
    Inherit,
}

/// The don't-fragment bit of the outer IPv4 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DontFragment {
    /// Set: a VTEP must not fragment (RFC 7348, section 4.3).
    Set,
    /// Clear: routers on the way may fragment, and the packet has an id.
    Unset,
    /// As in the inner IPv4 header; set for IPv6, which never fragments on the way; clear for what is not IP.
    Inherit,
}

/// How a segment has the fields of outer headers chosen, and what it takes on receipt.
///
/// It is kept in the form that the programs need: masks and values instead of choices.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Policy {
    /// 0: as the inner header has it.
    ttl: u8,
    /// Bits of the outer TOS byte that are always set.
    tos: u8,
    /// Bits that are taken from the inner one: those of ECN always.
    inherited_tos: u8,
    /// The don't-fragment bit, if it is always set.
    df: u8,
    /// The don't-fragment bit, if it is taken from the inner header.
    inherited_df: u8,
    flags: u8,
    source_ports: SourcePorts,
    pad: [u8; 2],
}

impl Default for Policy {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Policy {
    /// TTL 64, DSCP 0, DF set, dynamic source ports, reserved bits ignored, no mark.
    pub const DEFAULT: Self = Self {
        ttl: DEFAULT_TTL,
        tos: 0,
        inherited_tos: ECN,
        df: DONT_FRAGMENT,
        inherited_df: 0,
        flags: 0,
        source_ports: SourcePorts::DYNAMIC,
        pad: [0; 2],
    };

    /// What the outer header of a frame gets: TTL, DSCP and don't-fragment bit as set, ECN copied (RFC 6040, section 4.1).
    ///
    /// An inner header's TTL of 0 is not taken over.
    #[inline(always)]
    #[must_use]
    pub const fn outer(&self, inner: Traits) -> Traits {
        let ttl = match (self.ttl, inner.ttl()) {
            (0, 0) => DEFAULT_TTL,
            (0, inherited) => inherited,
            (fixed, _) => fixed,
        };
        let tos = self.tos | (inner.tos() & self.inherited_tos);
        Traits::new(tos, ttl, self.df | (inner.df() & self.inherited_df))
    }

    /// Whether what comes with reserved bits set is dropped.
    #[inline(always)]
    #[must_use]
    pub const fn refuses_reserved(&self) -> bool {
        self.flags & REFUSE_RESERVED != 0
    }

    /// Whether the VXLAN header carries the packet mark (VXLAN-GBP).
    #[inline(always)]
    #[must_use]
    pub const fn gbp(&self) -> bool {
        self.flags & GBP != 0
    }

    /// The TTL; never `Fixed(0)`.
    #[must_use]
    pub const fn ttl(&self) -> Field {
        if self.ttl == 0 { Field::Inherit } else { Field::Fixed(self.ttl) }
    }

    /// The DSCP, 0 to 63.
    #[must_use]
    pub const fn dscp(&self) -> Field {
        if self.inherited_tos == ECN { Field::Fixed(self.tos >> 2) } else { Field::Inherit }
    }

    /// The don't-fragment bit.
    #[must_use]
    pub const fn dont_fragment(&self) -> DontFragment {
        match (self.df, self.inherited_df) {
            (0, 0) => DontFragment::Unset,
            (0, _) => DontFragment::Inherit,
            _ => DontFragment::Set,
        }
    }

    /// The UDP source ports.
    #[inline(always)]
    #[must_use]
    pub const fn source_ports(&self) -> SourcePorts {
        self.source_ports
    }

    /// The same with another TTL; a fixed one of 0 is that of the inner header.
    #[must_use]
    pub const fn with_ttl(self, ttl: Field) -> Self {
        let ttl = match ttl {
            Field::Fixed(ttl) => ttl,
            Field::Inherit => 0,
        };
        Self { ttl, ..self }
    }

    /// The same with another DSCP; of a fixed one the lower six bits count.
    #[must_use]
    pub const fn with_dscp(self, dscp: Field) -> Self {
        let (tos, inherited_tos) = match dscp {
            Field::Fixed(dscp) => (dscp << 2, ECN),
            Field::Inherit => (0, DSCP | ECN),
        };
        Self { tos, inherited_tos, ..self }
    }

    /// The same with another choice of the don't-fragment bit.
    #[must_use]
    pub const fn with_dont_fragment(self, choice: DontFragment) -> Self {
        let (df, inherited_df) = match choice {
            DontFragment::Set => (DONT_FRAGMENT, 0),
            DontFragment::Unset => (0, 0),
            DontFragment::Inherit => (0, DONT_FRAGMENT),
        };
        Self { df, inherited_df, ..self }
    }

    /// The same with other UDP source ports.
    #[must_use]
    pub const fn with_source_ports(self, ports: SourcePorts) -> Self {
        Self { source_ports: ports, ..self }
    }

    /// The same, dropping what comes with reserved bits set, or not.
    #[must_use]
    pub const fn with_reserved_refused(self, on: bool) -> Self {
        self.with(REFUSE_RESERVED, on)
    }

    /// The same, with the packet mark in the VXLAN header, or not.
    #[must_use]
    pub const fn with_gbp(self, on: bool) -> Self {
        self.with(GBP, on)
    }

    const fn with(self, flag: u8, on: bool) -> Self {
        Self { flags: if on { self.flags | flag } else { self.flags & !flag }, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INNER: Traits = Traits::new(0xbb, 7, 0);

    #[test]
    fn what_is_chosen_reads_back() {
        let policy = Policy::default();
        assert_eq!(policy.ttl(), Field::Fixed(64));
        assert_eq!(policy.with_ttl(Field::Fixed(1)).ttl(), Field::Fixed(1));
        assert_eq!(policy.with_ttl(Field::Inherit).ttl(), Field::Inherit);
        assert_eq!(policy.dscp(), Field::Fixed(0));
        assert_eq!(policy.with_dscp(Field::Fixed(63)).dscp(), Field::Fixed(63));
        assert_eq!(policy.with_dscp(Field::Inherit).dscp(), Field::Inherit);
        for choice in [DontFragment::Set, DontFragment::Unset, DontFragment::Inherit] {
            assert_eq!(policy.with_dont_fragment(choice).dont_fragment(), choice);
        }
        assert!(policy.with_gbp(true).gbp() && !policy.with_gbp(true).refuses_reserved());
        assert!(!policy.with_gbp(true).with_gbp(false).gbp());
        assert!(policy.with_reserved_refused(true).refuses_reserved());
    }

    #[test]
    fn fixed_inherited_and_of_no_ip() {
        let policy = Policy::default();
        let inherits = policy.with_ttl(Field::Inherit).with_dscp(Field::Inherit);
        let fixed = policy.with_ttl(Field::Fixed(9)).with_dscp(Field::Fixed(46));
        for (policy, inner, tos, ttl) in [
            (policy, INNER, 0x03, 64),
            (inherits, INNER, 0xbb, 7),
            (fixed, INNER, 0xbb, 9),
            (policy, Traits::NONE, 0, 64),
            (inherits, Traits::NONE, 0, 64),
            (fixed, Traits::NONE, 0xb8, 9),
        ] {
            assert_eq!(policy.outer(inner), Traits::new(tos, ttl, DONT_FRAGMENT));
        }
    }

    #[test]
    fn dont_fragment() {
        let set = Traits::new(INNER.tos(), INNER.ttl(), DONT_FRAGMENT);
        for (choice, of_clear, of_set) in [
            (DontFragment::Set, DONT_FRAGMENT, DONT_FRAGMENT),
            (DontFragment::Unset, 0, 0),
            (DontFragment::Inherit, 0, DONT_FRAGMENT),
        ] {
            let policy = Policy::default().with_dont_fragment(choice);
            assert_eq!((policy.outer(INNER).df(), policy.outer(set).df()), (of_clear, of_set), "{choice:?}");
        }
    }

    #[test]
    fn layout() {
        assert_eq!(size_of::<Policy>(), 12);
    }
}

//! The UDP source ports of tunnel packets.

use core::fmt;

use bytemuck::{Pod, Zeroable};

/// A range of UDP source ports, host byte order, both ends included.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct SourcePorts {
    first: u16,
    last: u16,
}

impl SourcePorts {
    /// The dynamic range (RFC 6335), which RFC 7348, section 5, recommends.
    pub const DYNAMIC: Self = Self { first: 49152, last: 65535 };

    /// From `first` to `last`; `None` where `first` is 0, or more than `last`.
    #[must_use]
    pub const fn new(first: u16, last: u16) -> Option<Self> {
        if first == 0 || first > last { None } else { Some(Self { first, last }) }
    }

    /// The source port of a tunnel packet: entropy for the underlay's hashing, out of a flow hash of the inner frame (RFC 7348,
    /// section 5). One flow keeps one port.
    #[inline(always)]
    #[must_use]
    pub const fn of_flow(self, flow_hash: u32) -> u16 {
        let mixed = (flow_hash ^ (flow_hash >> 16)) & 0xffff;
        let count = self.last.wrapping_sub(self.first) as u32 + 1;
        self.first.wrapping_add(((mixed * count) >> 16) as u16)
    }

    /// Whether a packet of ours can have that one.
    #[inline(always)]
    #[must_use]
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }

    /// The first.
    #[must_use]
    pub const fn first(self) -> u16 {
        self.first
    }

    /// The last.
    #[must_use]
    pub const fn last(self) -> u16 {
        self.last
    }
}

impl fmt::Display for SourcePorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges() {
        assert_eq!(SourcePorts::new(0, 9), None);
        assert_eq!(SourcePorts::new(9, 8), None);
        assert_eq!(std::format!("{}", SourcePorts::new(9, 10).unwrap()), "9-10");
    }

    #[test]
    fn every_port_of_a_range_is_used() {
        for (first, last) in [(49152, 65535), (1, 65535), (7, 7), (1000, 1001), (32768, 60999)] {
            let range = SourcePorts::new(first, last).unwrap();
            let ports: HashSet<u16> = (0..=0xffff).map(|hash| range.of_flow(hash)).collect();
            assert_eq!(ports, (first..=last).collect());
        }
    }

    proptest! {
        #[test]
        fn a_source_port_is_of_its_range(hash: u32, first in 1u16.., more: u16) {
            let ports = SourcePorts::new(first, first.saturating_add(more)).unwrap();
            prop_assert!((ports.first()..=ports.last()).contains(&ports.of_flow(hash)));
        }
    }
}

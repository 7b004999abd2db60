//! A hash that tells flows apart: for what has to stay the same within a flow, and to differ between flows, on the underlay.
//!
//! It is no defence: whoever knows it can make flows that meet.

use super::ipv4::IpProto;
use crate::{MacAddr, UnderlayAddr};

/// Bytes of the ports of TCP and UDP, source and destination, right where their headers start.
pub const PORTS_LEN: usize = 4;

/// Whether what IP carries begins with ports.
#[inline(always)]
#[must_use]
pub const fn has_ports(protocol: u8) -> bool {
    protocol == IpProto::Tcp as u8 || protocol == IpProto::Udp as u8
}

/// An odd number whose bits are as good as random (Knuth, volume 3, section 6.4: the golden ratio).
const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

/// A hash that is being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowHash(u64);

impl FlowHash {
    /// Begins with the addresses of two stations.
    #[inline(always)]
    #[must_use]
    pub fn of_stations(source: MacAddr, destination: MacAddr) -> Self {
        let [first, second] = source.pair(destination);
        Self(0).and(first).and(second)
    }

    /// Adds two addresses.
    #[inline(always)]
    #[must_use]
    pub fn and_addresses(self, source: UnderlayAddr, destination: UnderlayAddr) -> Self {
        let ([a, b], [c, d]) = (source.long_words(), destination.long_words());
        self.and(a).and(b).and(c).and(d)
    }

    /// Adds a protocol and its ports; zeros where there are none.
    #[inline(always)]
    #[must_use]
    pub const fn and_ports(self, protocol: u8, ports: [u8; PORTS_LEN]) -> Self {
        self.and((protocol as u64) << 32 | u32::from_ne_bytes(ports) as u64)
    }

    /// The hash.
    #[inline(always)]
    #[must_use]
    pub const fn finish(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[inline(always)]
    const fn and(self, word: u64) -> Self {
        Self((self.0.rotate_left(32) ^ word).wrapping_mul(ODD))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 1]);
    const TWO: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 2]);

    fn flow(last: u8, port: u16) -> u32 {
        let [high, low] = port.to_be_bytes();
        FlowHash::of_stations(ONE, TWO)
            .and_addresses(UnderlayAddr::from_ipv4([10, 0, 0, 1]), UnderlayAddr::from_ipv4([10, 0, 0, last]))
            .and_ports(17, [high, low, 0x12, 0x34])
            .finish()
    }

    #[test]
    fn a_flow_keeps_its_own() {
        assert_eq!(flow(2, 4000), flow(2, 4000));
    }

    /// Of flows thrown at as many places at random, 63 % of the places are hit.
    fn spreads(hash: impl Fn(u16) -> u32, bits: u32) {
        for shift in [0, 16, 32 - bits] {
            let mut hit = [false; 1 << 10];
            for number in 0..1 << bits {
                hit[(hash(number) >> shift & ((1 << bits) - 1)) as usize] = true;
            }
            let count = hit.iter().filter(|hit| **hit).count();
            assert!(count * 2 > 1 << bits, "{count} of {} at bit {shift}", 1 << bits);
        }
    }

    #[test]
    fn ports_spread() {
        spreads(|number| flow(2, 32768 + number), 10);
    }

    #[test]
    fn addresses_spread() {
        spreads(|last| flow(last as u8, 4000), 8);
    }

    #[test]
    fn stations_spread() {
        let station = |last| FlowHash::of_stations(MacAddr::new([2, 0, 0, 0, 0, last as u8]), TWO);
        spreads(|last| station(last).finish(), 8);
    }

    #[test]
    fn the_two_ways_of_a_flow_differ() {
        assert_ne!(FlowHash::of_stations(ONE, TWO), FlowHash::of_stations(TWO, ONE));
    }
}

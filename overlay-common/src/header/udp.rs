//! UDP (RFC 768) as [`network_types`] has it, and the source port of a tunnel packet.

pub use network_types::udp::UdpHdr;

/// Bytes of the header.
pub const LEN: usize = UdpHdr::LEN;

/// The port that IANA gave to VXLAN (RFC 7348, section 8).
pub const VXLAN_PORT: u16 = 4789;

/// First port of the dynamic range 49152..=65535 (RFC 6335), which RFC 7348, section 5, recommends for the source.
const DYNAMIC_FIRST: u16 = 49152;

/// The source port of a tunnel packet, host byte order: entropy for the underlay's hashing, out of a flow hash of the
/// inner frame (RFC 7348, section 5). One flow keeps one port.
#[inline(always)]
#[must_use]
pub const fn source_port(flow_hash: u32) -> u16 {
    let mixed = (flow_hash ^ (flow_hash >> 16)) as u16;
    DYNAMIC_FIRST | (mixed & !DYNAMIC_FIRST)
}

/// Whether [`source_port`] can be that.
#[inline(always)]
#[must_use]
pub const fn is_source_port(port: u16) -> bool {
    port >= DYNAMIC_FIRST
}

/// The destination port, host byte order.
#[inline(always)]
#[must_use]
pub const fn destination_port(header: &UdpHdr) -> u16 {
    u16::from_be_bytes(header.dst)
}

/// The length field: bytes of header and payload, host byte order.
#[inline(always)]
#[must_use]
pub const fn len(header: &UdpHdr) -> u16 {
    u16::from_be_bytes(header.len)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_dynamic_port_is_used() {
        let ports: HashSet<u16> = (0..0x4000).map(source_port).collect();
        assert_eq!(ports.len(), 0x4000);
    }

    proptest! {
        #[test]
        fn source_port_is_dynamic(hash: u32) {
            prop_assert!(source_port(hash) >= DYNAMIC_FIRST && is_source_port(source_port(hash)));
        }
    }
}

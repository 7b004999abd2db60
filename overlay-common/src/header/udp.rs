//! UDP (RFC 768) as [`network_types`] has it, and the questions we ask of it.

pub use network_types::udp::UdpHdr;

/// Bytes of the header.
pub const LEN: usize = UdpHdr::LEN;

/// The port that IANA gave to VXLAN (RFC 7348, section 8).
pub const VXLAN_PORT: u16 = 4789;

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

//! IPv6 (RFC 8200) as [`network_types`] has it, and the questions we ask of it.

pub use network_types::ip::Ipv6Hdr;

use network_types::ip::IpProto;

/// Bytes of the header without extension headers.
pub const LEN: usize = Ipv6Hdr::LEN;

/// Bytes of a fragment header (RFC 8200, section 4.5).
pub const FRAGMENT_LEN: usize = 8;

/// What follows the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// UDP.
    Udp,
    /// A fragment header.
    Fragment,
    /// Anything else, other extension headers among it.
    Other,
}

/// Classifies what follows the header; `None` where the version says that it is no IPv6 header.
#[inline(always)]
#[must_use]
pub const fn next(header: &Ipv6Hdr) -> Option<Next> {
    const UDP: u8 = IpProto::Udp as u8;
    const FRAGMENT: u8 = IpProto::Ipv6Frag as u8;
    if header.vcf[0] >> 4 != 6 {
        return None;
    }
    Some(match header.next_hdr {
        UDP => Next::Udp,
        FRAGMENT => Next::Fragment,
        _ => Next::Other,
    })
}

/// Whether a fragment header is that of the first fragment of a UDP packet: its payload starts with the UDP header.
#[inline(always)]
#[must_use]
pub const fn is_first_of_udp(fragment: &[u8; FRAGMENT_LEN]) -> bool {
    const OFFSET: u16 = 0xfff8;
    fragment[0] == IpProto::Udp as u8 && u16::from_be_bytes([fragment[2], fragment[3]]) & OFFSET == 0
}

/// The flow label (RFC 6437): 20 bits.
#[inline(always)]
#[must_use]
pub const fn flow_label(header: &Ipv6Hdr) -> u32 {
    u32::from_be_bytes(header.vcf) & 0x000f_ffff
}

/// The payload length field: bytes behind the header, host byte order.
#[inline(always)]
#[must_use]
pub const fn payload_len(header: &Ipv6Hdr) -> u16 {
    u16::from_be_bytes(header.payload_len)
}

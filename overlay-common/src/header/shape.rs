//! What of a packet's headers tells that packets are alike: words at fixed places, and masks on them.

use super::{eth, ipv4, ipv6, outer};
use crate::Family;

/// Words that the longest shape of a tunnel packet has.
pub const TUNNEL_WORDS: usize = 11;

/// Words that the shape of a frame of IPv4 has.
pub const IPV4_FRAME_WORDS: usize = 5;

/// Words that the shape of a frame of IPv6 has.
pub const IPV6_FRAME_WORDS: usize = 8;

/// Which bytes of a packet without IP options are compared: words of 8 bytes, by their offset, and masks on them. Words that
/// nothing of is compared come last.
#[derive(Debug)]
pub struct Shape<const N: usize> {
    /// Bytes of all headers that are looked at.
    pub len: usize,
    offsets: [usize; N],
    /// In the packet's order of bytes.
    masks: [[u8; 8]; N],
}

/// Of tunnel packets, up to the inner Ethernet header. Left out are the UDP checksum and source port, and of IP lengths, id, TTL, DF,
/// DSCP, checksum and flow label.
impl Shape<TUNNEL_WORDS> {
    const IPV4_TUNNEL: Self = Self {
        len: outer::IPV4_LEN + eth::LEN,
        offsets: [0, 8, 16, 24, 32, 40, 48, 56, 0, 0, 0],
        masks: [
            [0xff; 8],
            // The end of the source, the type, version and length, and of the TOS byte what ECN says.
            [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x03],
            // Not the length, the id, DF and the TTL.
            [0, 0, 0, 0, 0xbf, 0xff, 0, 0xff],
            // Not the checksum.
            [0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            // Not the source port and the length.
            [0xff, 0xff, 0, 0, 0xff, 0xff, 0, 0],
            // Not UDP's checksum.
            [0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            [0xff; 8],
            [0xff; 8],
            [0; 8],
            [0; 8],
            [0; 8],
        ],
    };

    const IPV6_TUNNEL: Self = Self {
        len: outer::IPV6_LEN + eth::LEN,
        offsets: [0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 76],
        masks: [
            [0xff; 8],
            // The end of the source, the type, version, and of the traffic class what ECN says.
            [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xf0, 0x30],
            // Not the flow label, the length and the hop limit.
            [0, 0, 0, 0, 0xff, 0, 0xff, 0xff],
            [0xff; 8],
            [0xff; 8],
            [0xff; 8],
            // The end of the destination; not the source port.
            [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0],
            // The port; not length and checksum of UDP.
            [0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff],
            [0xff; 8],
            [0xff; 8],
            [0xff; 8],
        ],
    };

    /// That of tunnel packets over a family.
    #[inline(always)]
    #[must_use]
    pub const fn of_tunnel(family: Family) -> &'static Self {
        match family {
            Family::Ipv4 => &Self::IPV4_TUNNEL,
            Family::Ipv6 => &Self::IPV6_TUNNEL,
        }
    }
}

/// Of a workload's frames of TCP and UDP in IPv4, up to the ports. Left out are length, id and checksum.
impl Shape<IPV4_FRAME_WORDS> {
    /// The shape.
    pub const IPV4_FRAME: Self = Self {
        len: eth::LEN + ipv4::LEN + 4,
        offsets: [0, 8, 16, 24, 30],
        masks: [
            [0xff; 8],
            [0xff; 8],
            // Not the length and the id.
            [0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
            // Not the checksum.
            [0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            [0xff; 8],
        ],
    };
}

/// Of a workload's frames of TCP and UDP in IPv6, up to the ports. Left out is the length.
impl Shape<IPV6_FRAME_WORDS> {
    /// The shape.
    pub const IPV6_FRAME: Self = Self {
        len: eth::LEN + ipv6::LEN + 4,
        offsets: [0, 8, 16, 24, 32, 40, 48, 50],
        masks: [
            [0xff; 8],
            [0xff; 8],
            // Not the length.
            [0xff, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff],
            [0xff; 8],
            [0xff; 8],
            [0xff; 8],
            [0xff; 8],
            [0xff; 8],
        ],
    };
}

impl<const N: usize> Shape<N> {
    /// Where the word `at` lies, and what of it counts, in this machine's order of bytes; `None`: nothing does.
    #[inline(always)]
    #[must_use]
    pub const fn word(&self, at: usize) -> Option<(usize, u64)> {
        match u64::from_ne_bytes(self.masks[at]) {
            0 => None,
            mask => Some((self.offsets[at], mask)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For each byte of a packet, which of its bits are compared.
    fn compared<const N: usize>(shape: &Shape<N>) -> [u8; 84] {
        let mut bytes = [0; 84];
        for (offset, mask) in shape.offsets.iter().zip(shape.masks) {
            for (byte, mask) in bytes[*offset..].iter_mut().zip(mask) {
                *byte |= mask;
            }
        }
        assert!(bytes[shape.len..].iter().all(|mask| *mask == 0));
        bytes
    }

    /// Asserts that all bytes are compared but those at `out`, and of these some bits where `in_part` says which.
    fn assert_left_out<const N: usize>(shape: &Shape<N>, out: &[usize], in_part: &[(usize, u8)]) {
        let bytes = compared(shape);
        for (at, mask) in bytes[..shape.len].iter().enumerate() {
            assert_eq!(*mask != 0xff, out.contains(&at), "byte {at}");
        }
        for at in out {
            let part = in_part.iter().find(|(part, _)| part == at).map_or(0, |(_, bits)| *bits);
            assert_eq!(bytes[*at], part, "byte {at}");
        }
    }

    #[test]
    fn shapes_of_tunnel_packets_leave_out_what_they_say_and_nothing_else() {
        // TOS, length, id, DF, TTL, checksum; source port, length and checksum of UDP.
        let out = [15, 16, 17, 18, 19, 20, 22, 24, 25, 34, 35, 38, 39, 40, 41];
        assert_left_out(Shape::of_tunnel(Family::Ipv4), &out, &[(15, 0x03), (20, 0xbf)]);
        // Traffic class, flow label, length, hop limit; source port, length and checksum of UDP.
        let out = [14, 15, 16, 17, 18, 19, 21, 54, 55, 58, 59, 60, 61];
        assert_left_out(Shape::of_tunnel(Family::Ipv6), &out, &[(14, 0xf0), (15, 0x30)]);
    }

    #[test]
    fn shapes_of_frames_leave_out_what_they_say_and_nothing_else() {
        // Length, id, checksum.
        assert_left_out(&Shape::IPV4_FRAME, &[16, 17, 18, 19, 24, 25], &[]);
        // Length.
        assert_left_out(&Shape::IPV6_FRAME, &[18, 19], &[]);
    }
}

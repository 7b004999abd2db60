//! Transport checksums that are still to be filled in: the kernel leaves the sum of the pseudo header in their place, and
//! notes beside the packet that somebody has yet to add up the rest (`CHECKSUM_PARTIAL`, `include/linux/skbuff.h`). XDP
//! does not see that note, and what goes on from there loses it. But the bytes tell.

use super::ipv4::IpProto;

/// Where the checksum is in a transport header, in bytes from its start. `None`: this protocol's is not known here.
#[inline(always)]
#[must_use]
pub const fn field(protocol: u8) -> Option<usize> {
    const TCP: u8 = IpProto::Tcp as u8;
    const UDP: u8 = IpProto::Udp as u8;
    match protocol {
        TCP => Some(16),
        UDP => Some(6),
        _ => None,
    }
}

/// Whether the kernel makes the checksums of a protocol at once, and never leaves one open.
#[inline(always)]
#[must_use]
pub const fn is_never_open(protocol: u8) -> bool {
    protocol == IpProto::Icmp as u8 || protocol == IpProto::Ipv6Icmp as u8
}

/// Whether a checksum field can be one that is still open. `addresses` are source and destination as they are in the header, in words,
/// `len` the bytes of transport header and payload, `field` the bytes of the checksum.
///
/// One that is right looks like that in one of 65536 packets. 0, which says in UDP that there is none, counts as open: such
/// packets carry others (RFC 6935), whose checksums nobody can tell of.
#[inline(always)]
#[must_use]
pub fn may_be_open<const WORDS: usize>(
    addresses: [u64; WORDS],
    len: u16,
    protocol: u8,
    field: [u8; 2],
) -> bool {
    let field = u16::from_ne_bytes(field);
    // The order of bytes does not matter to a sum, if it is the same everywhere (RFC 1071, section 2).
    let ends = [len.to_be_bytes(), [0, protocol]].map(|word| u64::from(u16::from_ne_bytes(word)));
    let sum =
        addresses.iter().fold(ends[0] + ends[1], |sum, &word| sum + (word & 0xffff_ffff) + (word >> 32));
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    // There are two zeros.
    field == 0 || field == sum as u16 || (field == 0xffff && sum == 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::header::checksum;

    /// The sum of a pseudo header, as RFC 9293, section 3.1, has it.
    fn pseudo(addresses: &[u8], len: u16, protocol: u8) -> u16 {
        checksum::fold(checksum::sum(addresses) + u32::from(len) + u32::from(protocol))
    }

    fn words<const N: usize>(bytes: &[u8]) -> [u64; N] {
        let mut words = [0; N];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_ne_bytes(*bytes);
        }
        words
    }

    #[test]
    fn fields_are_where_the_rfcs_have_them() {
        assert_eq!((field(6), field(17), field(132)), (Some(16), Some(6), None));
        assert!(is_never_open(1) && is_never_open(58) && !is_never_open(6) && !is_never_open(17));
    }

    proptest! {
        #[test]
        fn the_sum_of_the_pseudo_header_is_open_and_nothing_else(
            addresses: [u8; 32], len: u16, protocol: u8, other: u16,
        ) {
            let is_open = |field: u16| {
                let field = field.to_be_bytes();
                let [six, four] = [pseudo(&addresses, len, protocol), pseudo(&addresses[..8], len, protocol)];
                [
                    (six, may_be_open::<4>(words(&addresses), len, protocol, field)),
                    (four, may_be_open::<1>(words(&addresses), len, protocol, field)),
                ]
            };
            for field in [other, 0, pseudo(&addresses, len, protocol), pseudo(&addresses[..8], len, protocol)] {
                for (open, found) in is_open(field) {
                    prop_assert_eq!(found, field == 0 || field % 0xffff == open % 0xffff);
                }
            }
        }
    }
}

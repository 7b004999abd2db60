//! The Internet checksum (RFC 1071).

/// The sum of `bytes` as 16-bit words in network byte order, not folded; an odd last byte counts as a high one.
///
/// Cannot overflow below 128 KiB.
#[inline(always)]
#[must_use]
pub fn sum(bytes: &[u8]) -> u32 {
    let (words, tail) = bytes.as_chunks::<2>();
    let tail = tail.first().map_or(0, |&byte| u32::from(byte) << 8);
    words.iter().fold(tail, |sum, &word| sum + u32::from(u16::from_be_bytes(word)))
}

/// Folds the carries of a sum into 16 bits (RFC 1071, section 1).
#[inline(always)]
#[must_use]
pub const fn fold(sum: u32) -> u16 {
    let once = (sum & 0xffff) + (sum >> 16);
    ((once & 0xffff) + (once >> 16)) as u16
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rfc_1071_section_3_example() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(sum(&bytes), 0x2_ddf0);
        assert_eq!(fold(sum(&bytes)), 0xddf2);
    }

    proptest! {
        #[test]
        fn a_checksummed_message_sums_to_ones(mut bytes in prop::collection::vec(any::<u8>(), 2..1500usize)) {
            let even: Vec<u8> = { bytes.truncate(bytes.len() & !1); bytes };
            let check = !fold(sum(&even));
            prop_assert_eq!(fold(sum(&even) + u32::from(check)), 0xffff);
        }
    }
}

//! TCP (RFC 9293) as [`network_types`] has it, and its MSS option.

pub use network_types::tcp::TcpHdr;

/// Bytes of the header without options.
pub const LEN: usize = TcpHdr::LEN;

/// Options there can be at most: one byte each.
pub const MAX_OPTIONS: u32 = 40;

/// Where the checksum is.
pub const CHECKSUM_AT: usize = 16;

/// The smallest MSS that is ever written, as the kernel has it (`TCP_MIN_MSS` of `include/net/tcp.h`).
pub const MIN_MSS: u16 = 88;

/// Bytes of the MSS option.
pub const MSS_OPTION_LEN: usize = MSS_LEN as usize;

const SYN: u8 = 0x02;
const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const MSS: u8 = 2;
const MSS_LEN: u8 = 4;

/// Whether it is the SYN or the SYN-ACK of a handshake.
#[inline(always)]
#[must_use]
pub const fn is_syn(header: &[u8; LEN]) -> bool {
    header[13] & SYN != 0
}

/// Bytes of the header with its options; `None` where the data offset says that it is no TCP header.
#[inline(always)]
#[must_use]
pub const fn header_len(header: &[u8; LEN]) -> Option<usize> {
    let len = (header[12] >> 4) as usize * 4;
    if len >= LEN { Some(len) } else { None }
}

/// What an option says about the search for the MSS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is this one.
    Mss,
    /// The next option begins so many bytes after this one.
    Other(usize),
    /// There is no other, or the options are malformed.
    End,
}

/// Judges an option by its first two bytes; the second is meaningless where the first is all there is.
#[inline(always)]
#[must_use]
pub const fn option([kind, len]: [u8; 2]) -> Found {
    match (kind, len) {
        (NO_OPERATION, _) => Found::Other(1),
        (MSS, MSS_LEN) => Found::Mss,
        (END, _) | (_, 0 | 1) => Found::End,
        (_, len) => Found::Other(len as usize),
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use proptest::prelude::*;

    use super::*;

    /// Reads options one after the other, as RFC 9293, section 3.1, has it.
    fn one_after_the_other(options: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            match *options.get(at)? {
                END => return None,
                NO_OPERATION => at += 1,
                kind => {
                    let len = usize::from(*options.get(at + 1)?);
                    if kind == MSS && len == 4 {
                        return (at + 4 <= options.len()).then_some(at);
                    }
                    if len < 2 {
                        return None;
                    }
                    at += len;
                }
            }
        }
    }

    /// Searches as the programs do.
    fn find(options: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at + MSS_OPTION_LEN <= options.len() {
            match option([options[at], options[at + 1]]) {
                Found::Mss => return Some(at),
                Found::Other(len) => at += len,
                Found::End => return None,
            }
        }
        None
    }

    #[test]
    fn finds_it_wherever_it_is() {
        assert_eq!(find(&[2, 4, 5, 0xb4]), Some(0));
        assert_eq!(find(&[1, 2, 4, 5, 0xb4, 0, 0, 0]), Some(1));
        assert_eq!(find(&[4, 2, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 2, 4, 5, 0xb4]), Some(12));
        assert_eq!(find(&[3, 3, 7, 1]), None);
        assert_eq!(find(&[]), None);
        assert_eq!(find(&[0, 2, 4, 5, 0xb4, 0, 0, 0]), None, "behind the end");
        assert_eq!(find(&[9, 0, 2, 4, 5, 0xb4, 0, 0]), None, "behind an option of no length");
        assert_eq!(find(&[2, 3, 5, 0xb4]), None, "too short");
        assert_eq!(find(&[1, 1, 2, 4]), None, "cut off");
    }

    proptest! {
        #[test]
        fn as_one_would_read_them(options in prop::collection::vec(prop_oneof![0u8..12, any::<u8>()], 0..=40)) {
            prop_assert_eq!(find(&options), one_after_the_other(&options));
        }
    }
}

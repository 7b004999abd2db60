//! IGMP, versions 1 to 3 (RFC 1112, appendix I; RFC 2236; RFC 3376).

use super::membership::Message;
use crate::UnderlayAddr;

/// Bytes that every message has.
pub const LEN: usize = 8;

/// Its protocol number.
pub const PROTOCOL: u8 = 2;

/// Bytes of a query of version 3 without sources.
const V3_QUERY_LEN: usize = 12;

const TENTH_NS: u64 = 100_000_000;

/// Reads the first bytes of a message of `len` bytes; `None` if it says nothing about groups.
#[inline(always)]
#[must_use]
pub const fn parse(bytes: &[u8; LEN], len: usize) -> Option<Message> {
    let [kind, code, _, _, rest @ ..] = *bytes;
    let group = UnderlayAddr::from_ipv4(rest);
    if len < LEN {
        return None;
    }
    Some(match kind {
        // Lengths between those of version 2 and 3 are no query (RFC 3376, section 7.1).
        0x11 if len == LEN || len >= V3_QUERY_LEN => {
            let within = within(code, len) * TENTH_NS;
            if u32::from_ne_bytes(rest) == 0 {
                Message::Query { within }
            } else {
                Message::GroupQuery { group, within }
            }
        }
        0x12 | 0x16 => Message::Join(group),
        0x17 => Message::Leave(group),
        0x22 => Message::Records(u16::from_be_bytes([rest[2], rest[3]])),
        _ => return None,
    })
}

/// The time to answer in, in tenths of a second (RFC 3376, section 4.1.1).
#[inline(always)]
const fn within(code: u8, len: usize) -> u64 {
    match code {
        // Version 1 has no such field, and means ten seconds (RFC 2236, section 4).
        0 if len == LEN => 100,
        128.. if len > LEN => ((code & 0x0f | 0x10) as u64) << ((code >> 4 & 7) + 3),
        code => code as u64,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(kind: u8, code: u8, rest: [u8; 4], len: usize) -> Option<Message> {
        let [a, b, c, d] = rest;
        parse(&[kind, code, 0, 0, a, b, c, d], len)
    }

    #[test]
    fn messages() {
        let group = UnderlayAddr::from_ipv4([239, 1, 2, 3]);
        let query = |tenths: u64| Some(Message::Query { within: tenths * TENTH_NS });
        assert_eq!(message(0x11, 0, [0; 4], 8), query(100));
        assert_eq!(
            message(0x11, 10, [239, 1, 2, 3], 8),
            Some(Message::GroupQuery { group, within: 10 * TENTH_NS })
        );
        assert_eq!(message(0x11, 0x80, [0; 4], 8), query(128));
        assert_eq!(message(0x11, 0x80, [0; 4], 12), query(128));
        assert_eq!(message(0x11, 0xff, [0; 4], 12), query(31744));
        assert_eq!(message(0x11, 0, [0; 4], 12), query(0));
        assert_eq!(message(0x11, 10, [0; 4], 11), None);
        assert_eq!(message(0x12, 0, [239, 1, 2, 3], 8), Some(Message::Join(group)));
        assert_eq!(message(0x16, 0, [239, 1, 2, 3], 8), Some(Message::Join(group)));
        assert_eq!(message(0x17, 0, [239, 1, 2, 3], 8), Some(Message::Leave(group)));
        assert_eq!(message(0x22, 0, [0, 0, 1, 2], 16), Some(Message::Records(258)));
        assert_eq!(message(0x13, 0, [0; 4], 8), None);
        assert_eq!(message(0x16, 0, [239, 1, 2, 3], 7), None);
    }

    proptest! {
        #[test]
        fn any_bytes_will_do(bytes: [u8; LEN], len in 0usize..70_000) {
            let _ = parse(&bytes, len);
        }
    }
}

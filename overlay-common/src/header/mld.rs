//! MLD, versions 1 and 2 (RFC 2710, RFC 3810): messages of `ICMPv6`.

use super::{checksum, membership::Message};
use crate::UnderlayAddr;

/// Bytes of a message of version 1.
pub const LEN: usize = 24;

/// Bytes of a report of version 2 without records.
pub const REPORT_LEN: usize = 8;

/// The protocol number of `ICMPv6`.
pub const PROTOCOL: u8 = 58;

/// Bytes of a query of version 2 without sources.
const V2_QUERY_LEN: usize = 28;

const MILLISECOND_NS: u64 = 1_000_000;

/// Reads the first bytes of a message of `len` bytes; what lies behind its end is taken as zeros. `None` if it says
/// nothing about groups.
#[inline(always)]
#[must_use]
pub const fn parse(bytes: &[u8; LEN], len: usize) -> Option<Message> {
    let [kind, _, _, _, delay_high, delay_low, count_high, count_low, group @ ..] = *bytes;
    let group = UnderlayAddr::from_ipv6(group);
    Some(match kind {
        // Lengths between those of version 1 and 2 are no query (RFC 3810, section 8.1).
        130 if len == LEN || len >= V2_QUERY_LEN => {
            let code = u16::from_be_bytes([delay_high, delay_low]);
            let within = within(code, len) * MILLISECOND_NS;
            let [a, b, c, d] = group.words();
            if a | b | c | d == 0 { Message::Query { within } } else { Message::GroupQuery { group, within } }
        }
        131 if len >= LEN => Message::Join(group),
        132 if len >= LEN => Message::Leave(group),
        143 if len >= REPORT_LEN => Message::Records(u16::from_be_bytes([count_high, count_low])),
        _ => return None,
    })
}

/// The time to answer in, in milliseconds (RFC 3810, section 5.1.3).
#[inline(always)]
const fn within(code: u16, len: usize) -> u64 {
    match code {
        0x8000.. if len > LEN => ((code & 0x0fff | 0x1000) as u64) << ((code >> 12 & 7) + 3),
        code => code as u64,
    }
}

/// The sum over the pseudo-header in front of a message of `len` bytes (RFC 8200, section 8.1), not folded.
#[inline(always)]
#[must_use]
pub fn pseudo_sum(source: &[u8; 16], destination: &[u8; 16], len: u16) -> u32 {
    checksum::sum(source) + checksum::sum(destination) + u32::from(len) + u32::from(PROTOCOL)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(kind: u8, fields: [u8; 4], group: u8, len: usize) -> Option<Message> {
        let mut bytes = [0; LEN];
        bytes[0] = kind;
        bytes[4..8].copy_from_slice(&fields);
        (bytes[8], bytes[23]) = (if group == 0 { 0 } else { 0xff }, group);
        parse(&bytes, len)
    }

    #[test]
    fn messages() {
        let mut group = [0; 16];
        (group[0], group[15]) = (0xff, 7);
        let group = UnderlayAddr::from_ipv6(group);
        let query = |ms: u64| Some(Message::Query { within: ms * MILLISECOND_NS });
        assert_eq!(message(130, [0x27, 0x10, 0, 0], 0, 24), query(10_000));
        assert_eq!(
            message(130, [0, 1, 0, 0], 7, 28),
            Some(Message::GroupQuery { group, within: MILLISECOND_NS })
        );
        assert_eq!(message(130, [0x80, 0, 0, 0], 0, 28), query(32768));
        assert_eq!(message(130, [0xff, 0xff, 0, 0], 0, 28), query(8_387_584));
        assert_eq!(message(130, [0; 4], 0, 25), None);
        assert_eq!(message(131, [0; 4], 7, 24), Some(Message::Join(group)));
        assert_eq!(message(132, [0; 4], 7, 24), Some(Message::Leave(group)));
        assert_eq!(message(131, [0; 4], 7, 23), None);
        assert_eq!(message(143, [0, 0, 1, 2], 0, 28), Some(Message::Records(258)));
        assert_eq!(message(143, [0, 0, 1, 2], 0, 7), None);
        assert_eq!(message(135, [0; 4], 7, 24), None);
    }

    proptest! {
        #[test]
        fn any_bytes_will_do(bytes: [u8; LEN], len in 0usize..70_000) {
            let _ = parse(&bytes, len);
        }
    }
}

//! Explicit congestion notification across a tunnel (RFC 6040).

use crate::DropReason;

/// The ECN bits of the IPv4 TOS byte and the IPv6 traffic class (RFC 3168, section 5).
pub const MASK: u8 = 0b11;

/// Not ECN-capable.
const NOT_ECT: u8 = 0b00;
/// ECN-capable, codepoint 1.
const ECT_1: u8 = 0b01;
/// Congestion experienced.
const CE: u8 = 0b11;

/// Whether an outer field can change the inner one: only ECT(1) and CE can.
#[inline(always)]
#[must_use]
pub const fn matters(outer_tos: u8) -> bool {
    outer_tos & 1 != 0
}

/// The ECN bits that the inner header leaves a tunnel with (RFC 6040, section 4.2, figure 4). Both arguments may be whole
/// TOS bytes.
///
/// # Errors
///
/// [`DropReason::Ecn`] for congestion of which a sender that does not know ECN cannot be told.
#[inline(always)]
pub const fn decapsulate(outer_tos: u8, inner_tos: u8) -> Result<u8, DropReason> {
    match (inner_tos & MASK, outer_tos & MASK) {
        (NOT_ECT, CE) => Err(DropReason::Ecn),
        (NOT_ECT, _) => Ok(NOT_ECT),
        (inner @ CE, _) => Ok(inner),
        (_, outer @ (ECT_1 | CE)) => Ok(outer),
        (inner, _) => Ok(inner),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ECT_0: u8 = 0b10;

    /// RFC 6040, figure 4: a line for each inner field; columns are outer Not-ECT, ECT(0), ECT(1), CE.
    const FIGURE_4: [(u8, [Option<u8>; 4]); 4] = [
        (NOT_ECT, [Some(NOT_ECT), Some(NOT_ECT), Some(NOT_ECT), None]),
        (ECT_0, [Some(ECT_0), Some(ECT_0), Some(ECT_1), Some(CE)]),
        (ECT_1, [Some(ECT_1), Some(ECT_1), Some(ECT_1), Some(CE)]),
        (CE, [Some(CE), Some(CE), Some(CE), Some(CE)]),
    ];

    #[test]
    fn all_sixteen_combinations() {
        for (inner, line) in FIGURE_4 {
            for (outer, expected) in [NOT_ECT, ECT_0, ECT_1, CE].into_iter().zip(line) {
                let got = decapsulate(0xb8 | outer, 0x04 | inner);
                assert_eq!(got, expected.ok_or(DropReason::Ecn), "inner {inner:02b}, outer {outer:02b}");
                assert!(matters(outer) || got == Ok(inner), "inner {inner:02b}, outer {outer:02b}");
            }
        }
    }
}

//! VXLAN (RFC 7348, section 5) as [`network_types`] has it.

pub use network_types::vxlan::VxlanHdr;

use crate::{DropReason, Vni};

/// Bytes of the header.
pub const LEN: usize = VxlanHdr::LEN;

/// The I flag: the VNI is valid. The other flags are reserved: sent as 0.
pub const I_FLAG: u8 = 0x08;

/// The first bytes of a header: flags, and what is reserved or a group policy.
pub type Flags = [u8; 4];

/// A header's first bytes as RFC 7348 has them.
pub const PLAIN: Flags = [I_FLAG, 0, 0, 0];

/// The G flag: a group policy follows (draft-smith-vxlan-group-policy, section 2.1).
const G_FLAG: u8 = 0x80;
/// The D and A flags in the second byte: don't learn, policy applied.
const D_AND_A: u8 = 0x48;

/// A header's first bytes with a packet mark as group policy, as `vxlan_build_gbp_hdr` in `drivers/net/vxlan` has them: the
/// policy id is the mark's lower 16 bits, D is bit 22, and A is bit 19. There is none for a mark of 0.
#[inline(always)]
#[must_use]
pub const fn flags_of_mark(mark: u32) -> Flags {
    if mark == 0 {
        return PLAIN;
    }
    let [_, flags, high, low] = mark.to_be_bytes();
    [I_FLAG | G_FLAG, flags & D_AND_A, high, low]
}

/// The packet mark that a header's group policy stands for, as `vxlan_parse_gbp_hdr` in `drivers/net/vxlan` has it; `None`
/// where the G flag is clear.
#[inline(always)]
#[must_use]
pub const fn mark(header: &[u8; LEN]) -> Option<u32> {
    if header[0] & G_FLAG == 0 {
        return None;
    }
    Some(u32::from_be_bytes([0, header[1] & D_AND_A, header[2], header[3]]))
}

/// Whether bits are set that RFC 7348 reserves; with `gbp`, those of a group policy are not.
#[inline(always)]
#[must_use]
pub const fn has_reserved_bits(header: &[u8; LEN], gbp: bool) -> bool {
    const RFC_7348: u64 = !u64::from_be_bytes([I_FLAG, 0, 0, 0, 0xff, 0xff, 0xff, 0]);
    const WITH_GBP: u64 = !u64::from_be_bytes([I_FLAG | G_FLAG, D_AND_A, 0xff, 0xff, 0xff, 0xff, 0xff, 0]);
    let reserved = if gbp { WITH_GBP } else { RFC_7348 };
    u64::from_be_bytes(*header) & reserved != 0
}

/// The segment a header names.
///
/// # Errors
///
/// [`DropReason::NoVniFlag`] where the I flag is clear, [`DropReason::UnknownVni`] for VNI 0, which no segment has.
#[inline(always)]
pub fn segment(header: &VxlanHdr) -> Result<Vni, DropReason> {
    if header.flags & I_FLAG == 0 {
        return Err(DropReason::NoVniFlag);
    }
    Vni::from_be_bytes(header.vni).ok_or(DropReason::UnknownVni)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_as_the_kernel_has_them() {
        assert_eq!(flags_of_mark(0), [0x08, 0, 0, 0]);
        assert_eq!(flags_of_mark(0x1234), [0x88, 0, 0x12, 0x34]);
        assert_eq!(flags_of_mark(0xffff_ffff), [0x88, 0x48, 0xff, 0xff]);
        // VXLAN_GBP_DONT_LEARN is bit 22, VXLAN_GBP_POLICY_APPLIED bit 19 (include/net/vxlan.h).
        assert_eq!(flags_of_mark(1 << 22), [0x88, 0x40, 0, 0]);
        assert_eq!(flags_of_mark(1 << 19), [0x88, 0x08, 0, 0]);
        assert_eq!(mark(&[0x08, 0x48, 1, 2, 0, 0, 1, 0]), None);
        assert_eq!(mark(&[0x88, 0x48, 1, 2, 0, 0, 1, 0]), Some(1 << 22 | 1 << 19 | 0x0102));
        assert_eq!(mark(&[0x88, 0xff, 0, 0, 0, 0, 1, 0]), Some(1 << 22 | 1 << 19));
    }

    #[test]
    fn every_bit_is_reserved_or_not() {
        for bit in 0..64 {
            let header = (0x0800_0000_0000_0000_u64 | 1 << 63 >> bit).to_be_bytes();
            let is_vni = (32..56).contains(&bit);
            // G, D, A and the policy id.
            let is_policy = matches!(bit, 0 | 9 | 12 | 16..32);
            assert_eq!(has_reserved_bits(&header, false), !(bit == 4 || is_vni), "bit {bit}");
            assert_eq!(has_reserved_bits(&header, true), !(bit == 4 || is_vni || is_policy), "bit {bit}");
        }
    }
}

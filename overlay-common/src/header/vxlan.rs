//! VXLAN (RFC 7348, section 5) as [`network_types`] has it.

pub use network_types::vxlan::VxlanHdr;

use crate::{DropReason, Vni};

/// Bytes of the header.
pub const LEN: usize = VxlanHdr::LEN;

/// The I flag: the VNI is valid. The other flags are reserved, sent as 0 and ignored on receipt.
pub const I_FLAG: u8 = 0x08;

/// The header of a frame of segment `vni`.
#[inline(always)]
#[must_use]
pub const fn header(vni: Vni) -> [u8; LEN] {
    let [a, b, c] = vni.to_be_bytes();
    [I_FLAG, 0, 0, 0, a, b, c, 0]
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

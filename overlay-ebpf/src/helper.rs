//! What the kernel's helpers return.

/// The kernel refused.
pub(crate) struct Refused;

/// Turns the return code of a helper, 0 or a negative error, into a result.
#[inline(always)]
pub(crate) fn done(code: i64) -> Result<(), Refused> {
    if code == 0 { Ok(()) } else { Err(Refused) }
}

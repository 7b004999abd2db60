//! The Internet checksum of what is too long for a loop, by the kernel's help.

use core::ptr;

use aya_ebpf::helpers::bpf_csum_diff;

/// The most bytes that kernels before 6.13 sum at once.
const MOST: usize = 512;

/// A sum of 16-bit words as they are in memory (RFC 1071, section 2: the byte order makes no difference).
#[derive(Clone, Copy)]
pub(crate) struct Sum(u32);

impl Sum {
    pub(crate) const ZERO: Self = Self(0);

    /// The sum with `bytes`, which are a multiple of four, on top.
    #[inline(always)]
    pub(crate) fn with<const N: usize>(self, bytes: &[u8; N]) -> Self {
        const { assert!(N.is_multiple_of(4)) };
        let mut sum = self;
        let mut at = 0;
        while at < N {
            let len = if N - at > MOST { MOST } else { N - at };
            sum = sum.with_part(&bytes[at..at + len]);
            at += MOST;
        }
        sum
    }

    #[inline(always)]
    fn with_part(self, bytes: &[u8]) -> Self {
        let (pointer, len) = (bytes.as_ptr().cast_mut().cast(), bytes.len() as u32);
        // SAFETY: the pointer is to so many bytes, which the helper only reads; it reads none from the null pointer.
        Self(unsafe { bpf_csum_diff(ptr::null_mut(), 0, pointer, len, self.0) } as u32)
    }

    /// The checksum, ready to be written.
    #[inline(always)]
    pub(crate) fn checksum(self) -> [u8; 2] {
        (!overlay_common::header::checksum::fold(self.0)).to_ne_bytes()
    }
}

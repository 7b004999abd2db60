//! Packet bytes, bounds-checked: the one place where pointers into packets are made.

use core::mem;

use aya_ebpf::{
    EbpfContext as _,
    helpers::{bpf_skb_load_bytes, bpf_xdp_load_bytes},
    programs::XdpContext,
};
use network_types::{
    arp::ArpHdr,
    eth::EthHdr,
    ip::{Ipv4Hdr, Ipv6Hdr},
    udp::UdpHdr,
    vxlan::VxlanHdr,
};

use overlay_common::header::nd;

use crate::helper::{Refused, done};
use crate::skb::Skb;

/// Types that any bytes of a packet are a valid value of.
///
/// # Safety
///
/// Every bit pattern is valid, there is no padding, and the alignment is at most 2: headers start at even addresses.
pub(crate) unsafe trait Bytes {}

// SAFETY: bytes.
unsafe impl<const N: usize> Bytes for [u8; N] {}
// SAFETY: byte arrays and one `u16`, `repr(C)` without padding.
unsafe impl Bytes for EthHdr {}
// SAFETY: byte arrays, `repr(C)`.
unsafe impl Bytes for Ipv4Hdr {}
// SAFETY: bytes and byte arrays, `repr(C)`.
unsafe impl Bytes for Ipv6Hdr {}
// SAFETY: byte arrays, `repr(C)`.
unsafe impl Bytes for UdpHdr {}
// SAFETY: byte arrays, `repr(C)`.
unsafe impl Bytes for VxlanHdr {}
// SAFETY: bytes and byte arrays, `repr(C)`.
unsafe impl Bytes for ArpHdr {}
// SAFETY: the same.
unsafe impl Bytes for nd::Packet {}
// SAFETY: the same.
unsafe impl Bytes for nd::Answer {}

/// A packet whose bytes can be read in place.
pub(crate) trait Packet {
    /// Addresses of the first byte, and of the one after the last that can be read in place.
    fn bounds(&self) -> (usize, usize);

    /// Bytes of the whole packet, those that cannot be read in place included.
    fn len(&self) -> usize;

    /// Whether the kernel carries several packets as one, whose outer lengths then say nothing.
    fn is_gso(&self) -> bool;

    /// Copies `len` bytes at `offset` to the front of `buffer`, also where they cannot be read in place.
    fn load<const N: usize>(&self, offset: usize, buffer: &mut [u8; N], len: usize) -> Result<(), Refused>;

    /// The `T` at `offset`, if the packet holds it.
    #[inline(always)]
    fn get<T: Bytes>(&self, offset: usize) -> Option<&T> {
        let pointer = checked::<T>(self.bounds(), offset)?;
        // SAFETY: in bounds; `T` takes any bytes; the packet stays as it is while `self` is borrowed.
        Some(unsafe { &*pointer })
    }

    /// The `T` at `offset`, to be written, if the packet holds it.
    #[inline(always)]
    fn get_mut<T: Bytes>(&mut self, offset: usize) -> Option<&mut T> {
        let pointer = checked::<T>(self.bounds(), offset)?;
        // SAFETY: in bounds; `T` takes any bytes; `self` is borrowed mutably.
        Some(unsafe { &mut *pointer })
    }
}

/// The address of a `T` at `offset`, compared with the end in the form that the verifier follows.
#[inline(always)]
fn checked<T>((start, end): (usize, usize), offset: usize) -> Option<*mut T> {
    if start + offset + mem::size_of::<T>() > end {
        return None;
    }
    Some((start + offset) as *mut T)
}

impl Packet for Skb {
    #[inline(always)]
    fn bounds(&self) -> (usize, usize) {
        Skb::bounds(self)
    }

    #[inline(always)]
    fn len(&self) -> usize {
        Skb::len(self) as usize
    }

    #[inline(always)]
    fn is_gso(&self) -> bool {
        self.gso_size() != 0
    }

    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize, buffer: &mut [u8; N], len: usize) -> Result<(), Refused> {
        let len = len.min(N) as u32;
        // SAFETY: the context is valid, and `buffer` holds `len` bytes.
        done(unsafe {
            bpf_skb_load_bytes(self.as_ptr().cast(), offset as u32, buffer.as_mut_ptr().cast(), len)
        })
    }
}

impl Packet for XdpContext {
    #[inline(always)]
    fn bounds(&self) -> (usize, usize) {
        (self.data(), self.data_end())
    }

    #[inline(always)]
    fn len(&self) -> usize {
        self.data_end() - self.data()
    }

    #[inline(always)]
    fn is_gso(&self) -> bool {
        false
    }

    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize, buffer: &mut [u8; N], len: usize) -> Result<(), Refused> {
        let len = len.min(N) as u32;
        // SAFETY: the context is valid, and `buffer` holds `len` bytes.
        done(unsafe { bpf_xdp_load_bytes(self.ctx, offset as u32, buffer.as_mut_ptr().cast(), len) })
    }
}

/// The 8 bytes at `at`, a constant, as a word in this machine's order, in one load; 0 past the end. Compilers for this target
/// make eight of it where they do not know the alignment, which the kernel asks of a packet's bytes only on CPUs that need it.
#[inline(always)]
pub(crate) fn word<const LEN: usize>(bytes: &[u8; LEN], at: usize) -> u64 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, load)
}

#[cfg(target_arch = "bpf")]
#[inline(always)]
fn load(bytes: &[u8; 8]) -> u64 {
    let found: u64;
    // SAFETY: a reference is valid for as many bytes; nothing is written.
    unsafe {
        core::arch::asm!(
            "{found} = *(u64 *)({from} + 0)",
            from = in(reg) bytes,
            found = lateout(reg) found,
            options(pure, readonly, nostack),
        );
    }
    found
}

/// The same on a host, where the programs are only checked.
#[cfg(not(target_arch = "bpf"))]
fn load(bytes: &[u8; 8]) -> u64 {
    u64::from_ne_bytes(*bytes)
}

/// Writes the 8 bytes at `at`, a constant, from a word in this machine's order, in one store; nothing past the end.
#[inline(always)]
pub(crate) fn put_word<const LEN: usize>(bytes: &mut [u8; LEN], at: usize, word: u64) {
    if let Some(bytes) = bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        store(bytes, word);
    }
}

#[cfg(target_arch = "bpf")]
#[inline(always)]
fn store(bytes: &mut [u8; 8], word: u64) {
    // SAFETY: a reference is valid for as many bytes.
    unsafe {
        core::arch::asm!(
            "*(u64 *)({to} + 0) = {word}",
            to = in(reg) bytes,
            word = in(reg) word,
            options(nostack),
        );
    }
}

/// The same on a host, where the programs are only checked.
#[cfg(not(target_arch = "bpf"))]
fn store(bytes: &mut [u8; 8], word: u64) {
    *bytes = word.to_ne_bytes();
}

/// The `T` in a metadata area, to be written, if the area holds one.
#[inline(always)]
pub(crate) fn metadata_mut<'a, T: Copy>(bounds: (usize, usize)) -> Option<&'a mut T> {
    let pointer = checked::<T>(bounds, 0)?;
    // SAFETY: in bounds; the kernel aligns the area to 4 bytes; the program runs alone on the packet.
    Some(unsafe { &mut *pointer })
}

//! Changing a frame's bytes so that what the kernel knows of their checksums stays right.

use aya_ebpf::{
    EbpfContext as _,
    bindings::{BPF_F_INVALIDATE_HASH, BPF_F_RECOMPUTE_CSUM},
    helpers::{bpf_l4_csum_replace, bpf_skb_store_bytes},
};

use crate::{
    helper::{Refused, done},
    skb::Skb,
};

impl Skb {
    /// Writes `bytes` over the first ones, which were another packet's.
    #[inline(always)]
    pub(crate) fn rewrite<const N: usize>(&mut self, bytes: &[u8; N]) -> Result<(), Refused> {
        const FLAGS: u64 = (BPF_F_RECOMPUTE_CSUM | BPF_F_INVALIDATE_HASH) as u64;
        let (skb, from) = (self.as_ptr().cast(), bytes.as_ptr().cast());
        // SAFETY: the context is valid, and so are `N` bytes.
        done(unsafe { bpf_skb_store_bytes(skb, 0, from, N as u32, FLAGS) })
    }

    /// Has the Internet checksum at `offset` follow a change of a word, in network byte order, that it covers. One that is
    /// still to be filled in stays as it is.
    #[inline(always)]
    pub(crate) fn replace_in_checksum(&mut self, offset: usize, from: u16, to: u16) -> Result<(), Refused> {
        const WORD: u64 = 2;
        let (from, to) = (u64::from(from), u64::from(to));
        // SAFETY: the context is valid.
        done(unsafe { bpf_l4_csum_replace(self.as_ptr().cast(), offset as u32, from, to, WORD) })
    }
}

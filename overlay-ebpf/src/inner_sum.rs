//! What an inner frame adds to the UDP checksum around it, for VTEPs over IPv6 that insist on one.

use core::{ffi::c_void, ptr};

use aya_ebpf::{EbpfContext as _, bindings::__sk_buff, helpers::bpf_loop, programs::TcContext};
use network_types::{eth::EthHdr, ip::Ipv4Hdr};
use overlay_common::header::{
    checksum,
    eth::{self, Payload},
    inner_sum,
    ipv4::{self, IpProto},
    ipv6,
};

use crate::{packet::Packet as _, skb::Skb};

/// Bytes that are summed up at a time, where all have to be.
const CHUNK: usize = 64;
/// Chunks of the longest frame.
const CHUNKS: u32 = (1 << 17) / CHUNK as u32;

/// The sum over a frame that was handed over, with the VLAN tags that it keeps, for so many `users`; without any it is 0.
///
/// A transport checksum within may be pending: then the device fills it in after us. So what TCP and UDP add is found
/// without looking at them.
#[inline(always)]
pub(crate) fn of(skb: &Skb, users: u32) -> u16 {
    find(skb.as_ptr().cast(), users) as u16
}

/// In a stack frame of its own, and not once for each caller.
#[inline(never)]
fn find(skb: *mut __sk_buff, users: u32) -> u32 {
    if users == 0 {
        return 0;
    }
    let skb = &Skb::new(TcContext::new(skb));
    u32::from(checksum::fold(behind::<0>(skb) + skb.tags_handed_over().sum()))
}

/// The sum over the frame behind the first `AT` bytes of a packet, an even number; not folded.
#[inline(always)]
pub(crate) fn behind<const AT: usize>(skb: &Skb) -> u32 {
    match of_headers(skb, AT) {
        Some(sum) => sum,
        None => of_all(skb, AT),
    }
}

#[inline(always)]
fn of_headers(skb: &Skb, at: usize) -> Option<u32> {
    let network = at + eth::LEN;
    let len = (skb.len() as usize).checked_sub(network)?;
    let packet = match eth::payload(skb.get::<EthHdr>(at)?) {
        Payload::Ipv4 => {
            let header = skb.get::<Ipv4Hdr>(network)?;
            let transport = network + ipv4::header_len(header)?;
            with_checksum(skb, header.proto, transport)?;
            inner_sum::ipv4(header, skb.get(network)?, len)?
        }
        Payload::Ipv6 => {
            let header = skb.get::<[u8; ipv6::LEN]>(network)?;
            with_checksum(skb, header[6], network + ipv6::LEN)?;
            inner_sum::ipv6(header, len)?
        }
        Payload::Vlan | Payload::Other => return None,
    };
    Some(checksum::sum(skb.get::<[u8; eth::LEN]>(at)?) + packet)
}

/// Nothing where the packet is UDP without a checksum.
#[inline(always)]
fn with_checksum(skb: &Skb, protocol: u8, transport: usize) -> Option<()> {
    if protocol == IpProto::Udp as u8 && *skb.get::<[u8; 2]>(transport + 6)? == [0; 2] {
        return None;
    }
    Some(())
}

/// A sum over all bytes.
#[inline(always)]
fn of_all(skb: &Skb, at: usize) -> u32 {
    let mut walk = Walk { skb, at, left: skb.len().saturating_sub(at as u32), sum: 0 };
    // SAFETY: `add_chunk` takes the `Walk` that it is given here, which outlives the loop.
    unsafe { bpf_loop(CHUNKS, add_chunk as *mut c_void, ptr::from_mut(&mut walk).cast(), 0) };
    walk.sum
}

struct Walk<'a> {
    skb: &'a Skb,
    /// Where the first chunk is.
    at: usize,
    left: u32,
    sum: u32,
}

/// Ends the loop.
const BREAK: i64 = 1;

unsafe extern "C" fn add_chunk(index: u64, walk: *mut c_void) -> i64 {
    // SAFETY: `of_all` passes a `Walk`.
    let walk = unsafe { &mut *walk.cast::<Walk<'_>>() };
    let len = (walk.left as usize).min(CHUNK);
    let mut chunk = [0; CHUNK];
    if len == 0 || walk.skb.load(walk.at + index as usize * CHUNK, &mut chunk, len).is_err() {
        return BREAK;
    }
    walk.left -= len as u32;
    walk.sum += checksum::sum(&chunk);
    0
}

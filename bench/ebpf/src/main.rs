//! Programs of the peers that the bench compares `overlay` with. Each does the least that its way of forwarding needs, and
//! knows a single destination, so that a peer is as fast as it can be.

#![no_std]
#![no_main]
#![expect(clippy::cast_possible_truncation, reason = "the kernel's codes are 32 bits, registers 64")]
#![expect(clippy::needless_pass_by_value, reason = "entry points take what the kernel passes")]

use aya_ebpf::{
    EbpfContext as _, Global,
    bindings::{
        BPF_F_ZERO_CSUM_TX, TC_ACT_OK, TC_ACT_SHOT, bpf_tunnel_key, bpf_tunnel_key__bindgen_ty_1,
        xdp_action::{XDP_DROP, XDP_PASS},
    },
    btf_maps::{PerCpuArray, PerCpuHashMap},
    helpers::{
        bpf_get_stack, bpf_redirect, bpf_redirect_peer, bpf_skb_get_tunnel_key, bpf_skb_set_tunnel_key,
    },
    macros::{btf_map, classifier, perf_event, xdp},
    programs::{PerfEventContext, TcContext, XdpContext},
};

/// The device that faces the other host: the uplink, or a `vxlan external` device.
#[unsafe(no_mangle)]
static OUT: Global<u32> = Global::new(0);
/// The host side of the workload's veth.
#[unsafe(no_mangle)]
static PORT: Global<u32> = Global::new(0);
/// The other host's address: IPv4 in the first word, in host byte order, or IPv6, in network byte order.
#[unsafe(no_mangle)]
static REMOTE: Global<[u32; 4]> = Global::new([0; 4]);
/// `BPF_F_TUNINFO_IPV6` if that is IPv6.
#[unsafe(no_mangle)]
static FAMILY: Global<u64> = Global::new(0);
/// The segment.
#[unsafe(no_mangle)]
static VNI: Global<u32> = Global::new(0);

/// The kernel takes shorter, older forms of it too (`bpf_skb_set_tunnel_key` in `net/core/filter.c`).
const KEY_LEN: u32 = size_of::<bpf_tunnel_key>() as u32;

/// TTL of outer packets.
const TTL: u8 = 64;

/// Floor, TC ingress of the port: out of the uplink as it is.
#[classifier]
fn floor_from_port(_: TcContext) -> i32 {
    // SAFETY: the helper takes plain numbers.
    unsafe { bpf_redirect(OUT.load(), 0) as i32 }
}

/// Floor, TC ingress of the uplink: into the workload as it is.
#[classifier]
fn floor_from_uplink(_: TcContext) -> i32 {
    // SAFETY: the helper takes plain numbers.
    unsafe { bpf_redirect_peer(PORT.load(), 0) as i32 }
}

/// TC ingress of the port: says where to, and leaves encapsulation to the `vxlan external` device.
#[classifier]
fn key_from_port(context: TcContext) -> i32 {
    let mut key = bpf_tunnel_key {
        tunnel_id: VNI.load(),
        __bindgen_anon_1: bpf_tunnel_key__bindgen_ty_1 { remote_ipv6: REMOTE.load() },
        tunnel_ttl: TTL,
        // SAFETY: all zeros are a key.
        ..unsafe { core::mem::zeroed() }
    };
    let flags = u64::from(BPF_F_ZERO_CSUM_TX) | FAMILY.load();
    // SAFETY: the key is as long as said.
    let set = unsafe { bpf_skb_set_tunnel_key(context.as_ptr().cast(), &raw mut key, KEY_LEN, flags) };
    if set != 0 {
        return TC_ACT_SHOT;
    }
    // SAFETY: the helper takes plain numbers.
    unsafe { bpf_redirect(OUT.load(), 0) as i32 }
}

/// TC ingress of the `vxlan external` device, which has decapsulated: into the workload of the segment.
#[classifier]
fn key_from_device(context: TcContext) -> i32 {
    // SAFETY: all zeros are a key.
    let mut key: bpf_tunnel_key = unsafe { core::mem::zeroed() };
    // SAFETY: the key is as long as said.
    let got =
        unsafe { bpf_skb_get_tunnel_key(context.as_ptr().cast(), &raw mut key, KEY_LEN, FAMILY.load()) };
    if got != 0 || key.tunnel_id != VNI.load() {
        return TC_ACT_SHOT;
    }
    // SAFETY: the helper takes plain numbers.
    unsafe { bpf_redirect_peer(PORT.load(), 0) as i32 }
}

/// Floor, XDP on the uplink: to the port as it is.
#[xdp]
fn floor_from_uplink_xdp(_: XdpContext) -> u32 {
    // SAFETY: the helper takes plain numbers.
    unsafe { bpf_redirect(PORT.load(), 0).cast_unsigned() as u32 }
}

/// How many frames [`count`] has seen.
#[btf_map]
static COUNTED: PerCpuArray<u64, 1> = PerCpuArray::new();

/// XDP on a workload's device: counts what arrives, and does nothing else with it.
#[xdp]
fn count(_: XdpContext) -> u32 {
    if let Some(counted) = COUNTED.get_ptr_mut(0) {
        // SAFETY: the slot is this CPU's own, and the map outlives the program.
        unsafe { *counted += 1 };
    }
    XDP_DROP
}

/// How often a CPU was at an address of the kernel; 0 stands for user space.
#[btf_map]
static SAMPLES: PerCpuHashMap<u64, u64, ADDRESSES> = PerCpuHashMap::new();

/// Addresses there is room for: more than instructions that packets take.
const ADDRESSES: usize = 1 << 16;

/// On each CPU's clock: notes what the CPU is at.
#[perf_event]
fn sample(context: PerfEventContext) -> u32 {
    let mut address = 0_u64;
    // SAFETY: the context is the program's own, and there is room for one address.
    unsafe { bpf_get_stack(context.as_ptr(), (&raw mut address).cast(), size_of::<u64>() as u32, 0) };
    if let Some(count) = SAMPLES.get_ptr_mut(address) {
        // SAFETY: the value is this CPU's own, and the map outlives the program.
        unsafe { *count += 1 };
    } else {
        // Where the map is full, it is not counted.
        let _ = SAMPLES.insert(address, 1, 0);
    }
    0
}

/// Does nothing: what calling a TC program costs.
#[classifier]
fn nothing(_: TcContext) -> i32 {
    TC_ACT_OK
}

/// Does nothing: what calling an XDP program costs.
#[xdp]
fn nothing_xdp(_: XdpContext) -> u32 {
    XDP_PASS
}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

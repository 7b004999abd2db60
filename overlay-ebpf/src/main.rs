//! The forwarding path of `overlay`: entry points only. A packet's way can be read off the modules' names.

#![no_std]
#![no_main]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "the kernel's fields and codes are 32 bits, registers and sizes 64"
)]
#![expect(
    clippy::needless_pass_by_value,
    reason = "entry points take what the kernel passes, and outcomes end here"
)]

mod admit;
mod adopted;
mod arrival;
mod atomic;
mod audience;
mod checksum;
mod checksum_cut;
mod clamp_mss;
mod clock;
mod decap;
mod deliver;
mod departure;
mod early_transit;
mod ecn;
mod encap;
mod examine;
mod explain;
mod flood_to_ports;
mod flood_to_tunnels;
mod flow_hash;
mod foreign;
mod forget;
mod frame;
mod from_port;
mod from_tunnel;
mod from_uplink;
mod from_uplink_xdp;
mod group_message;
mod group_query;
mod groups;
mod gso;
mod handover;
mod hear;
mod helper;
mod inner_sum;
mod learn;
mod maps;
mod mark;
mod message_sum;
mod neighbour;
mod next_hop;
mod open_sum;
mod packet;
mod path_mtu;
mod pattern;
mod place;
mod reclaim;
mod redirect;
mod rewrite;
mod send;
mod sighting;
mod skb;
mod snoop;
mod suppress;
mod sweep;
mod tagged;
mod too_big;
mod transit;
mod verdict;
mod vlan;
mod watch;

use aya_ebpf::{
    bindings::{
        TC_ACT_SHOT, TC_ACT_UNSPEC,
        xdp_action::{XDP_DROP, XDP_PASS, XDP_REDIRECT, XDP_TX},
    },
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};

use overlay_common::DropReason;

use crate::{
    from_uplink_xdp::Early,
    maps::drops,
    skb::Skb,
    verdict::{Outcome, Verdict},
};

/// TC ingress of a port: what a workload sends.
#[classifier]
fn from_port(context: TcContext) -> i32 {
    let skb = &mut Skb::new(context);
    act_first(from_port::handle(skb), skb)
}

/// TC ingress of an uplink: what the underlay brings.
#[classifier]
fn from_uplink(context: TcContext) -> i32 {
    let skb = &mut Skb::new(context);
    act_first(from_uplink::handle(skb), skb)
}

/// Reached from programs that had a closer look at a frame of a port.
#[classifier]
fn forward_from_port(context: TcContext) -> i32 {
    let skb = &mut Skb::new(context);
    act(from_port::handle_again(skb), skb)
}

/// Reached from `from_port`: what everybody in the segment gets, for those behind ports.
#[classifier]
fn flood_from_port(context: TcContext) -> i32 {
    let skb = &mut Skb::new(context);
    act(flood_to_ports::from_port(skb), skb)
}

/// Reached from `flood_from_port`: the same, for those behind tunnels.
#[classifier]
fn flood_to_tunnels(context: TcContext) -> i32 {
    let skb = &mut Skb::new(context);
    act(flood_to_tunnels::handle(skb), skb)
}

/// Reached from `from_uplink`: what is not just for one station.
#[classifier]
fn forward_from_tunnel(context: TcContext) -> i32 {
    let skb = &mut Skb::new(context);
    act(from_tunnel::handle(skb), skb)
}

/// Reached from `from_port`: a frame on a trunk port, or with VLAN tags.
#[classifier]
fn tagged_from_port(context: TcContext) -> i32 {
    let skb = &mut Skb::new(context);
    act(tagged::handle(skb), skb)
}

/// Reached from `forward_from_tunnel`: what everybody in the segment gets.
#[classifier]
fn flood_from_tunnel(context: TcContext) -> i32 {
    let skb = &mut Skb::new(context);
    act(flood_to_ports::from_tunnel(skb), skb)
}

/// Reached from `from_uplink`: a packet whose inner frame keeps its VLAN tags.
#[classifier]
fn tagged_from_uplink(context: TcContext) -> i32 {
    let skb = &mut Skb::new(context);
    act(from_uplink::handle_tagged(skb), skb)
}

/// Reached from whatever sends a frame to a port that needs VLAN tags on it.
#[classifier]
fn deliver_to_port(context: TcContext) -> i32 {
    let skb = &mut Skb::new(context);
    act(deliver::handle(skb), skb)
}

/// Reached from `from_port`: what may be ARP, ND or DHCP, in a segment that suppresses them.
#[classifier]
fn suppress_from_port(context: TcContext) -> i32 {
    let skb = &mut Skb::new(context);
    act(suppress::from_port(skb), skb)
}

/// Reached from `from_uplink`: the same out of a tunnel.
#[classifier]
fn snoop_from_tunnel(context: TcContext) -> i32 {
    let skb = &mut Skb::new(context);
    act(snoop::from_tunnel(skb), skb)
}

/// Reached from what sends a frame of a port into a tunnel: it does not fit.
#[classifier]
fn too_big_from_port(context: TcContext) -> i32 {
    let skb = &mut Skb::new(context);
    act(too_big::handle(skb), skb)
}

/// Reached from `from_uplink`: what the underlay says about packets that did not fit.
#[classifier]
fn path_mtu_from_uplink(context: TcContext) -> i32 {
    let skb = &mut Skb::new(context);
    act(Ok(path_mtu::handle(skb)), skb)
}

/// Reached from `from_port`: a handshake of TCP.
#[classifier]
fn clamp_mss_from_port(context: TcContext) -> i32 {
    let skb = &mut Skb::new(context);
    act(clamp_mss::from_port(skb), skb)
}

/// Reached from `from_uplink`: the same.
#[classifier]
fn clamp_mss_from_tunnel(context: TcContext) -> i32 {
    let skb = &mut Skb::new(context);
    act(clamp_mss::from_tunnel(skb), skb)
}

/// Reached from `from_uplink`: a packet whose sender is no member of its segment.
#[classifier]
fn admit_from_uplink(context: TcContext) -> i32 {
    let skb = &mut Skb::new(context);
    act(admit::handle(skb), skb)
}

/// Reached from `from_port`: what a workload says about multicast groups.
#[classifier]
fn groups_from_port(context: TcContext) -> i32 {
    let skb = &mut Skb::new(context);
    act(groups::from_port(skb), skb)
}

/// Reached from `from_uplink`: what came out of a tunnel about multicast groups.
#[classifier]
fn groups_from_tunnel(context: TcContext) -> i32 {
    let skb = &mut Skb::new(context);
    act(groups::from_tunnel(skb), skb)
}

/// Reached from `from_uplink`: a packet whose frame's destination is behind another VTEP.
#[classifier]
fn transit_from_uplink(context: TcContext) -> i32 {
    let skb = &mut Skb::new(context);
    act(transit::whole(skb), skb)
}

/// Reached from `transit_from_uplink`: a packet that needs more than other outer headers.
#[classifier]
fn unwrap_from_uplink(context: TcContext) -> i32 {
    let skb = &mut Skb::new(context);
    act(transit::unwrap(skb), skb)
}

/// Reached from `forward_from_tunnel`: such a frame without its outer headers.
#[classifier]
fn transit_from_tunnel(context: TcContext) -> i32 {
    let skb = &mut Skb::new(context);
    act(transit::anew(skb), skb)
}

/// Reached from `transit_from_tunnel`: it does not fit.
#[classifier]
fn too_big_from_tunnel(context: TcContext) -> i32 {
    let skb = &mut Skb::new(context);
    act(too_big::from_tunnel(skb), skb)
}

/// TC ingress of a member of a bridge that a `vxlan` device of the kernel is in, or TC egress of such a device that is in none: what the
/// programs know the way of.
#[classifier]
fn adopted_from_port(context: TcContext) -> i32 {
    let skb = &mut Skb::new(context);
    act_first(adopted::from_port(skb), skb)
}

/// Reached from `adopted_from_port`: a frame like none before it.
#[classifier]
fn forward_adopted(context: TcContext) -> i32 {
    let skb = &mut Skb::new(context);
    act(adopted::forward(skb), skb)
}

/// Reached from `from_uplink`: a packet for a segment that a `vxlan` device of the kernel serves as well.
#[classifier]
fn adopted_from_uplink(context: TcContext) -> i32 {
    let skb = &mut Skb::new(context);
    act(adopted::from_uplink(skb), skb)
}

/// TC ingress of the device behind which packets have been cut up: puts UDP checksums in.
#[classifier]
fn checksum_cut(context: TcContext) -> i32 {
    let skb = &mut Skb::new(context);
    act(checksum_cut::handle(skb), skb)
}

/// TC ingress of the device that only has the kernel listen for tunnel packets: nothing gets to the host by it.
#[classifier]
fn from_listener(context: TcContext) -> i32 {
    let skb = &mut Skb::new(context);
    act(Err(DropReason::Stray), skb)
}

/// Reached from `from_port` while somebody captures.
#[classifier]
fn capture_from_port(context: TcContext) -> i32 {
    let skb = &mut Skb::new(context);
    act(from_port::handle_captured(skb), skb)
}

/// Reached from `from_uplink` while somebody captures.
#[classifier]
fn capture_from_uplink(context: TcContext) -> i32 {
    let skb = &mut Skb::new(context);
    act(from_uplink::handle_captured(skb), skb)
}

/// Begins a generation in which packets are captured. Run as `fdb_remove` is; looks at no frame, and returns 1 if it did.
#[classifier]
fn capture_begin(_context: TcContext) -> i32 {
    i32::from(maps::generation::begin_capture())
}

/// XDP on an uplink: takes outer headers off early, where that is safe, and feeds ports that are so set. Takes packets in several buffers, so that it can be
/// on a device with a large MTU.
#[xdp(frags)]
fn from_uplink_xdp(context: XdpContext) -> u32 {
    act_early(from_uplink_xdp::handle::<true>(&context))
}

/// Reached from `from_uplink_xdp`: a packet that may be in transit.
#[xdp(frags)]
fn transit_from_uplink_xdp(context: XdpContext) -> u32 {
    act_early(early_transit::handle(context))
}

/// The same as `from_uplink_xdp` for the generic hook, which copies packets for a program that takes several buffers, and then forgets the
/// length of their Ethernet header, so that TC finds it cut off (Linux 6.18, `netif_skb_check_for_xdp`).
#[xdp]
fn from_uplink_xdp_generic(context: XdpContext) -> u32 {
    act_early(from_uplink_xdp::handle::<false>(&context))
}

/// Removes an FDB entry, so that the counts of what is learned stay right. Commands run it, no hook does. The "frame" is an
/// Ethernet header and a `Removal` of one station; returns how many entries it removed, or -1 if it was not asked right.
#[classifier]
fn fdb_remove(context: TcContext) -> i32 {
    forget::handle(&Skb::new(context)).map_or(-1, |removed| removed as i32)
}

/// Puts entries into the FDB, and has those that were learned make way where it is full; or removes some. Run as `fdb_remove`
/// is, with one `Placing` or more; returns a `Report`, or -1 if it was not asked right.
#[classifier]
fn fdb_edit(context: TcContext) -> i32 {
    place::handle(&Skb::new(context)).map_or(-1, |report| report.code() as i32)
}

/// Removes stations that have aged, of the next few in the queue. Run as `fdb_remove` is; looks at no frame, and returns a
/// `Swept`.
#[classifier]
fn fdb_sweep(context: TcContext) -> i32 {
    reclaim::sweep(&Skb::new(context)).code() as i32
}

/// Puts or removes a neighbour. Run as `fdb_remove` is, with an `Edit`; returns what that says, or -1 if it was not asked
/// right.
#[classifier]
fn neigh_edit(context: TcContext) -> i32 {
    neighbour::edit(&Skb::new(context)).map_or(-1, |done| done as i32)
}

/// What the kernel shall do with a packet before TC has it.
#[inline(always)]
fn act_early(outcome: Early) -> u32 {
    match outcome {
        Early::Untouched | Early::Stripped => XDP_PASS,
        Early::Redirected => XDP_REDIRECT,
        Early::Returned => XDP_TX,
        Early::Broken => {
            drops::count(DropReason::DecapFailed);
            XDP_DROP
        }
        Early::Refused => {
            drops::count(DropReason::RedirectFailed);
            XDP_DROP
        }
    }
}

/// What the kernel shall do with a frame for which a program on a hook came to `outcome`. What is captured goes on from another program.
#[inline(always)]
fn act_first(outcome: Outcome, skb: &Skb) -> i32 {
    match outcome {
        Ok(verdict) => action(&verdict),
        Err(reason) => {
            watch::dropped_at_first(skb, reason);
            TC_ACT_SHOT
        }
    }
}

/// The same for another program, and the end of its capture.
#[inline(always)]
fn act(outcome: Outcome, skb: &Skb) -> i32 {
    let action = match outcome {
        Ok(verdict) => {
            watch::done(skb, &verdict);
            action(&verdict)
        }
        Err(reason) => {
            watch::dropped(skb, reason);
            TC_ACT_SHOT
        }
    };
    watch::forget();
    action
}

/// `TC_ACT_UNSPEC` lets the next program on the hook have the frame.
#[inline(always)]
fn action(verdict: &Verdict) -> i32 {
    match *verdict {
        Verdict::NotOurs => TC_ACT_UNSPEC,
        Verdict::Redirected(action) => action,
        Verdict::Copied => TC_ACT_SHOT,
    }
}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

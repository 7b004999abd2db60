use core::{ffi::c_void, ptr};

use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_CURRENT_CPU},
    btf_maps::{Array, PerCpuArray, PerfEventByteArray},
    helpers::{bpf_ktime_get_ns, bpf_perf_event_output},
    macros::btf_map,
};
use overlay_common::{
    Notice,
    maps::event::{Desk, Event, Kind, Listener, Rate, SLOTS},
};

use super::notices;

/// `-ENOSPC`.
const ENOSPC: i64 = -28;

/// The most that a length of the packet can be said with (`BPF_F_CTXLEN_MASK`).
const LENGTH: u64 = 0xf_ffff;

#[btf_map]
static EVENTS_0: PerfEventByteArray = PerfEventByteArray::new();
#[btf_map]
static EVENTS_1: PerfEventByteArray = PerfEventByteArray::new();
#[btf_map]
static EVENTS_2: PerfEventByteArray = PerfEventByteArray::new();
#[btf_map]
static EVENTS_3: PerfEventByteArray = PerfEventByteArray::new();

#[btf_map]
static LISTENERS: Array<Listener, SLOTS> = Array::new();

#[btf_map]
static EVENT_DESK: PerCpuArray<Desk, 1> = PerCpuArray::new();

#[btf_map]
static EVENT_RATES: PerCpuArray<Rate, { Kind::COUNT }> = PerCpuArray::new();

#[btf_map]
static EVENTS_LOST: PerCpuArray<u64, SLOTS> = PerCpuArray::new();

/// Where this CPU writes its events.
#[inline(always)]
pub(crate) fn desk() -> Option<&'static mut Desk> {
    let desk = EVENT_DESK.get_ptr_mut(0)?;
    // SAFETY: it is this CPU's own, programs on one CPU do not interrupt each other, and the map outlives them.
    Some(unsafe { &mut *desk })
}

/// The listeners that want events of the kind with that number at `now`, nanoseconds of the monotonic clock: a bit for each.
#[inline(always)]
pub(crate) fn who_wants(kind: u8, now: u64) -> u32 {
    let mut wanted = 0;
    for slot in 0..SLOTS as u32 {
        wanted |= LISTENERS.get(slot).map_or(0, |listener| listener.wants(kind, now)) << slot;
    }
    wanted
}

/// Whether this CPU may tell another event of that kind at `now`; where it may not, that is counted.
#[inline(always)]
pub(crate) fn is_within_rate(kind: u8, now: u64) -> bool {
    let Some(rate) = EVENT_RATES.get_ptr_mut(u32::from(kind)) else { return false };
    // SAFETY: the slot is this CPU's own, and the map outlives the program.
    let is_within = unsafe { (*rate).allows(now) };
    if !is_within {
        notices::count(Notice::EventWithheld);
    }
    is_within
}

/// Tells the event on this CPU's desk to the listeners with a bit in `to`; those that it reached. What found no room is counted.
/// Exported, so that the verifier walks it once.
#[inline(never)]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn tell_event(skb: *mut __sk_buff, to: u32, len: u32) -> u32 {
    let Some(desk) = desk() else { return 0 };
    let event = &mut desk.event;
    // SAFETY: the helper takes nothing.
    event.time = unsafe { bpf_ktime_get_ns() };
    event.len = len;
    tell_one(skb, &EVENTS_0, event, to, 0)
        | tell_one(skb, &EVENTS_1, event, to, 1)
        | tell_one(skb, &EVENTS_2, event, to, 2)
        | tell_one(skb, &EVENTS_3, event, to, 3)
}

#[inline(always)]
fn tell_one(
    skb: *mut __sk_buff,
    map: &'static PerfEventByteArray,
    event: &mut Event,
    to: u32,
    slot: u32,
) -> u32 {
    if to & (1 << slot) == 0 {
        return 0;
    }
    let Some(listener) = LISTENERS.get(slot).filter(|listener| listener.wants_segment(event.vni)) else {
        return 0;
    };
    event.bytes = if Kind::has_packet(event.kind) { listener.bytes().min(event.len) } else { 0 };
    let flags = (u64::from(event.bytes) & LENGTH) << 32 | u64::from(BPF_F_CURRENT_CPU as u32);
    // SAFETY: the context and the event are valid, and the kernel copies no more of the packet than there is.
    let code = unsafe {
        bpf_perf_event_output(
            skb.cast(),
            ptr::from_ref(map).cast_mut().cast::<c_void>(),
            flags,
            ptr::from_mut(event).cast(),
            Event::LEN as u64,
        )
    };
    match code {
        0 => 1 << slot,
        ENOSPC => {
            if let Some(lost) = EVENTS_LOST.get_ptr_mut(slot) {
                // SAFETY: the slot is this CPU's own, and the map outlives the program.
                unsafe { *lost += 1 };
            }
            notices::count(Notice::EventLost);
            0
        }
        // Nobody reads it on this CPU.
        _ => 0,
    }
}

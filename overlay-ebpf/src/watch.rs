//! Telling those who listen what happens. Nothing of this is on the way of a packet whose flow is known.
//!
//! Each function that is called from many places is one of its own, with numbers as arguments, and writes to this CPU's desk: the
//! callers' stacks are short. They are exported, so that the verifier walks each once, and not for each state of each caller
//! (`Documentation/bpf/verifier.rst`, global functions): their arguments and what they return are any numbers to it.

use aya_ebpf::{bindings::__sk_buff, programs::TcContext};
use overlay_common::{
    DropReason, IfIndex, MacAddr, OverlayAddr, Vni,
    explain::Step,
    maps::{
        event::{Event, Kind, Verdict},
        fdb::Place,
    },
};

use crate::{
    clock, explain,
    maps::{
        drops,
        events::{self, desk, who_wants},
        generation, ports,
    },
    skb::Skb,
    verdict::Verdict as Fate,
};

/// Programs that explain do not tell: nobody listens to what did not happen.
const IS_SILENT: bool = cfg!(feature = "explain");

/// Counts a dropped packet, and tells of it.
#[inline(always)]
pub(crate) fn dropped(skb: &Skb, reason: DropReason) {
    explain::note(|| Step::Drop(reason));
    dropped_for(skb, reason.index());
}

/// The same by the number of the reason, for what was explained already. That goes by the desk, so that the verifier takes all reasons for the same, and walks what
/// follows once.
#[inline(always)]
pub(crate) fn dropped_for(skb: &Skb, reason: u32) {
    if IS_SILENT {
        drops::count_number(reason);
    } else if let Some(desk) = desk() {
        desk.reason = reason;
        tell_drop(skb.raw());
    }
}

/// The same in a program that is on a hook: what was captured on this CPU before is not this packet.
#[inline(always)]
pub(crate) fn dropped_at_first(skb: &Skb, reason: DropReason) {
    forget();
    dropped(skb, reason);
}

/// Tells that a station was learned, forgotten, and so on.
#[inline(always)]
pub(crate) fn station(skb: &Skb, kind: u8, vni: Vni, mac: MacAddr, place: Place) {
    if IS_SILENT {
        return;
    }
    let [device, vtep] = Event::words(place);
    tell_station(
        skb.raw(),
        u64::from(kind) << 32 | u64::from(vni.get()),
        mac.word(),
        u64::from(device) << 32 | u64::from(vtep),
    );
}

/// Tells that an address has another MAC now.
#[inline(always)]
pub(crate) fn neighbour(skb: &Skb, vni: Vni, mac: MacAddr, address: OverlayAddr) {
    if !IS_SILENT && let Some(desk) = desk() {
        desk.event.set_address(address);
        let what = u64::from(Kind::Neighbour as u8) << 32 | u64::from(vni.get());
        tell_station(skb.raw(), what, mac.word(), 0);
    }
}

/// Notes where a station was before it moved, for [`station`].
#[inline(always)]
pub(crate) fn moves_from(place: Place) {
    if !IS_SILENT && let Some(desk) = desk() {
        desk.event.from = Event::words(place);
    }
}

/// Tells that nobody knows where a station is, to which a frame goes.
#[inline(always)]
pub(crate) fn missed(skb: &Skb, vni: Vni, mac: MacAddr) {
    if IS_SILENT {
        return;
    }
    tell_station(skb.raw(), u64::from(Kind::Missed as u8) << 32 | u64::from(vni.get()), mac.word(), 0);
}

/// Captures a packet, if somebody wants it. Where nobody captures any more, the next packets go their usual way again.
#[inline(always)]
pub(crate) fn captured(skb: &Skb, vni: Option<Vni>) {
    if !IS_SILENT {
        tell_frame(skb.raw(), vni.map_or(0, Vni::get));
    }
}

/// The same in a program that only some packets come to, if this one was not captured before.
#[inline(always)]
pub(crate) fn captured_once(skb: &Skb) {
    if !IS_SILENT
        && generation::is_capturing(generation::now())
        && desk().is_some_and(|desk| desk.captured == 0)
    {
        captured(skb, None);
    }
}

/// Tells where a captured packet goes, or a copy of it.
#[inline(always)]
pub(crate) fn sent_to(skb: &Skb, vni: Vni, place: Place) {
    if IS_SILENT {
        return;
    }
    let [device, vtep] = Event::words(place);
    tell_place(skb.raw(), vni.get(), device, vtep);
}

/// The same for the port `device`.
#[inline(always)]
pub(crate) fn sent_to_port(skb: &Skb, vni: Vni, device: IfIndex) {
    if !IS_SILENT {
        tell_place(skb.raw(), vni.get(), device.get(), 0);
    }
}

/// Ends the capture of a packet that is not dropped, by what becomes of it where that was not told.
#[inline(always)]
pub(crate) fn done(skb: &Skb, verdict: &Fate) {
    if IS_SILENT {
        return;
    }
    let Some(desk) = desk().filter(|desk| desk.captured != 0) else { return };
    let verdict = match verdict {
        Fate::NotOurs => Verdict::Passed,
        Fate::Redirected(_) if desk.has_verdict == 0 => Verdict::Answered,
        Fate::Redirected(_) | Fate::Copied => return,
    };
    tell_verdict(skb.raw(), verdict as u32, 0);
}

/// Whatever is captured next is another packet.
#[inline(always)]
pub(crate) fn forget() {
    if !IS_SILENT && let Some(desk) = desk() {
        desk.captured = 0;
    }
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn tell_drop(skb: *mut __sk_buff) -> u32 {
    let now = clock::now();
    let Some(desk) = desk() else { return 0 };
    let reason = desk.reason;
    drops::count_number(reason);
    if desk.captured != 0 {
        tell_verdict(skb, Verdict::Dropped as u32, reason);
    }
    let kind = Kind::Dropped as u8;
    let wanted = who_wants(kind, now) & !desk.captured;
    if wanted == 0 || !events::is_within_rate(kind, now) {
        return 0;
    }
    let skb = Skb::new(TcContext::new(skb));
    let device = skb.device();
    let vni = device.and_then(ports::get).and_then(|port| port.vni()).map_or(0, Vni::get);
    desk.event =
        Event { kind, reason: reason as u8, vni, device: device.map_or(0, IfIndex::get), ..Event::default() };
    events::tell_event(skb.raw(), wanted, skb.len())
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn tell_station(skb: *mut __sk_buff, what: u64, mac: u64, place: u64) -> u32 {
    let (now, kind) = (clock::now(), (what >> 32) as u8);
    let wanted = who_wants(kind, now);
    let Some(desk) = desk() else { return 0 };
    if wanted == 0 || !events::is_within_rate(kind, now) {
        return 0;
    }
    let skb = Skb::new(TcContext::new(skb));
    // Field by field, since there is no stack for a whole one.
    let event = &mut desk.event;
    if kind != Kind::Neighbour as u8 {
        event.place = [(place >> 32) as u32, place as u32];
        if kind != Kind::Moved as u8 {
            event.from = [0; 2];
        }
    }
    (event.kind, event.reason, event.verdict, event.number) = (kind, 0, 0, 0);
    event.vni = what as u32;
    event.device = skb.device().map_or(0, IfIndex::get);
    event.mac = MacAddr::from_word(mac);
    events::tell_event(skb.raw(), wanted, skb.len())
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn tell_frame(skb: *mut __sk_buff, vni: u32) -> u32 {
    let Some(desk) = desk() else { return 0 };
    desk.captured = 0;
    let wanted = who_wants(Kind::Frame as u8, clock::now());
    if wanted == 0 {
        generation::end_capture();
        return 0;
    }
    let skb = Skb::new(TcContext::new(skb));
    desk.number = desk.number.wrapping_add(1);
    desk.has_verdict = 0;
    desk.event = Event {
        kind: Kind::Frame as u8,
        vni,
        device: skb.device().map_or(0, IfIndex::get),
        number: desk.number,
        ..Event::default()
    };
    desk.captured = events::tell_event(skb.raw(), wanted, skb.len());
    desk.captured
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn tell_place(skb: *mut __sk_buff, vni: u32, device: u32, vtep: u32) -> u32 {
    let Some(desk) = desk().filter(|desk| desk.captured != 0) else { return 0 };
    desk.has_verdict = 1;
    desk.event = Event {
        kind: Kind::Verdict as u8,
        verdict: Verdict::Sent as u8,
        vni,
        place: [device, vtep],
        number: desk.number,
        ..Event::default()
    };
    let to = desk.captured;
    events::tell_event(skb, to, 0)
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn tell_verdict(skb: *mut __sk_buff, verdict: u32, reason: u32) -> u32 {
    let Some(desk) = desk() else { return 0 };
    desk.has_verdict = 1;
    desk.event = Event {
        kind: Kind::Verdict as u8,
        verdict: verdict as u8,
        reason: reason as u8,
        number: desk.number,
        ..Event::default()
    };
    let to = desk.captured;
    events::tell_event(skb, to, 0)
}

//! Listening to what workloads say about multicast groups, by IGMP and MLD (RFC 4541).

use core::{ffi::c_void, ptr};

use aya_ebpf::helpers::bpf_loop;
use overlay_common::{
    DropReason, Family, UnderlayAddr, Vni,
    header::{
        eth::Payload,
        igmp,
        membership::{Change, Message, Record},
        mld,
    },
    maps::{
        jump::Jump,
        mdb::{Group, LISTENER_NS, Listener, MdbEntry, MdbKey, QUERIER_NS, Subject},
        segment::Segment,
    },
};

use crate::{
    audience::{self, Audience},
    clock,
    frame::Frame,
    group_message::{self, Found},
    group_query, hear,
    maps::{bum_rates, flooding, jumps, mdb},
    packet::Packet as _,
    skb::Skb,
    verdict::Outcome,
};

/// Records of one report that are read; where more follow, everybody gets everything for a while.
const MAX_RECORDS: u32 = 512;

/// How much of a group's time may pass before a frame to it renews it, in nanoseconds.
const RENEW_NS: u64 = 1_000_000_000;

/// Whether a frame is to a group, or about one, in a segment that looks after who listens to which. What is behind VLAN tags
/// that are kept is of a network of its own, where perhaps nobody asks.
#[inline(always)]
pub(crate) fn concerns(segment: &Segment, frame: &Frame) -> bool {
    segment.mcast_snooping()
        && frame.destination().is_group()
        && frame.tags_len() == 0
        && matches!(frame.payload(), Payload::Ipv4 | Payload::Ipv6)
}

/// Hears what a workload behind a port says about groups, and passes on to whom it concerns what it sends.
#[inline(always)]
pub(crate) fn from_port(skb: &mut Skb) -> Outcome {
    let device = skb.device().ok_or(DropReason::UnknownPort)?;
    let vni = Vni::new(skb.handed_over()).ok_or(DropReason::UnknownVni)?;
    // Before anything is noted: nobody would hear a query that is not flooded.
    if !bum_rates::allows(device, skb.packets(), clock::now()) {
        return Err(DropReason::BumRate);
    }
    let audience = judge(skb, vni, Listener::Port(device));
    audience.hand_over(skb, vni);
    audience::note_paid(skb);
    jumps::jump(skb, Jump::FloodFromPort)
}

/// The same of a workload behind a remote VTEP.
#[inline(always)]
pub(crate) fn from_tunnel(skb: &mut Skb) -> Outcome {
    let vni = Vni::new(skb.handed_over()).ok_or(DropReason::UnknownVni)?;
    let vtep = skb.handed_over_vtep().ok_or(DropReason::UnknownVtep)?;
    let audience = judge(skb, vni, Listener::Vtep(vtep));
    audience.hand_over(skb, vni);
    jumps::jump(skb, Jump::ForwardFromTunnel)
}

/// Finds out whom a frame concerns; of a message about groups, notes what it says first.
#[inline(always)]
fn judge(skb: &mut Skb, vni: Vni, place: Listener) -> Audience {
    hear::pull(skb, group_message::HEADERS_LEN);
    let now = clock::now();
    let family = match Frame::parse(skb, 0).map(|frame| frame.payload()) {
        Ok(Payload::Ipv4) => Family::Ipv4,
        Ok(Payload::Ipv6) => Family::Ipv6,
        _ => return Audience::EVERYONE,
    };
    let is_report = match group_message::find(skb, family) {
        Some(found) => match hear(skb, vni, place, &found, now) {
            Heard::Query => return Audience::EVERYONE,
            Heard::Report => true,
            Heard::Nothing => false,
        },
        None => false,
    };
    // Nobody is left out while no querier sees to it that all listeners are known.
    if !mdb::holds(&MdbKey::new(vni, Subject::Querier(family)), now) {
        return Audience::EVERYONE;
    }
    if is_report {
        return Audience::routers(family);
    }
    match audience::group_of(skb, family) {
        Some(group) if is_known(vni, group, now) => Audience::listeners(group),
        _ => Audience::EVERYONE,
    }
}

/// Whether the listeners to a group are known. It stays known while there are frames to it: nobody who listens is silent
/// for long.
#[inline(always)]
fn is_known(vni: Vni, group: Group, now: u64) -> bool {
    let Some(entry) = mdb::entry_mut(&MdbKey::new(vni, Subject::Group(group))) else {
        return false;
    };
    if !entry.holds(now) {
        return false;
    }
    if entry.until() < now + LISTENER_NS - RENEW_NS {
        entry.set_until(now + LISTENER_NS);
    }
    true
}

/// What kind of message was heard.
enum Heard {
    Query,
    Report,
    Nothing,
}

/// Notes what a message says.
#[inline(always)]
fn hear(skb: &Skb, vni: Vni, place: Listener, found: &Found, now: u64) -> Heard {
    let Some(message) = group_message::read(skb, found) else {
        return Heard::Nothing;
    };
    let mut said = Said { skb, vni, place, family: found.family, now, at: 0, end: 0 };
    match message {
        Message::Query { within } => {
            if group_query::is_heard(skb, found, None) {
                said.query(within);
            }
            return Heard::Query;
        }
        Message::GroupQuery { group, within } => {
            group_query::hear(skb, vni, found, (group, within), now);
            return Heard::Query;
        }
        Message::Join(group) => said.change(group, Change::Join),
        Message::Leave(group) => said.change(group, Change::Leave),
        Message::Records(count) => {
            let (head, record): (_, Step) = match found.family {
                Family::Ipv4 => (igmp::LEN, record_ipv4),
                Family::Ipv6 => (mld::REPORT_LEN, record_ipv6),
            };
            (said.at, said.end) = ((found.at + head) as u32, (found.at + found.len) as u32);
            let count = u32::from(count);
            // SAFETY: the callback takes the `Said` that it is given here, which outlives the loop.
            unsafe {
                bpf_loop(count.min(MAX_RECORDS), record as *mut c_void, ptr::from_mut(&mut said).cast(), 0)
            };
            if count > MAX_RECORDS && said.at < said.end {
                said.give_up(LISTENER_NS);
            }
        }
    }
    Heard::Report
}

/// A report or query, by whom, and how far it has been read.
struct Said<'a> {
    skb: &'a Skb,
    vni: Vni,
    place: Listener,
    family: Family,
    now: u64,
    at: u32,
    end: u32,
}

type Step = unsafe extern "C" fn(u64, *mut c_void) -> i64;

/// Goes on with the loop, or ends it.
const CONTINUE: i64 = 0;
const BREAK: i64 = 1;

unsafe extern "C" fn record_ipv4(_: u64, said: *mut c_void) -> i64 {
    // SAFETY: `hear` passes a `Said`.
    let said = unsafe { &mut *said.cast::<Said<'_>>() };
    if said.next_ipv4().is_some() { CONTINUE } else { BREAK }
}

unsafe extern "C" fn record_ipv6(_: u64, said: *mut c_void) -> i64 {
    // SAFETY: `hear` passes a `Said`.
    let said = unsafe { &mut *said.cast::<Said<'_>>() };
    if said.next_ipv6().is_some() { CONTINUE } else { BREAK }
}

impl Said<'_> {
    /// Reads a record of IGMP, if there is another one.
    #[inline(always)]
    fn next_ipv4(&mut self) -> Option<()> {
        let head = self.next_word()?;
        let group = self.next_word()?;
        let record = Record::parse(head.to_ne_bytes(), 4);
        self.at += record.rest;
        self.change(UnderlayAddr::from_ipv4(group.to_ne_bytes()), record.change);
        Some(())
    }

    /// Reads a record of MLD, if there is another one.
    #[inline(always)]
    fn next_ipv6(&mut self) -> Option<()> {
        let head = self.next_word()?;
        let group = [self.next_word()?, self.next_word()?, self.next_word()?, self.next_word()?];
        let record = Record::parse(head.to_ne_bytes(), 16);
        self.at += record.rest;
        self.change(UnderlayAddr::from_words(group), record.change);
        Some(())
    }

    /// Reads four bytes of the message, if it has so many more.
    #[inline(always)]
    fn next_word(&mut self) -> Option<u32> {
        const LEN: u32 = size_of::<u32>() as u32;
        if self.at + LEN > self.end {
            return None;
        }
        let mut bytes = [0; LEN as usize];
        self.skb.load(self.at as usize, &mut bytes, LEN as usize).ok()?;
        self.at += LEN;
        Some(u32::from_ne_bytes(bytes))
    }

    /// Notes what becomes of a listener.
    #[inline(always)]
    fn change(&self, group: UnderlayAddr, change: Change) {
        let (Some(group), Some(key)) = (Group::new(group), flooding::mdb_key()) else {
            return;
        };
        *key = MdbKey::new(self.vni, Subject::Listener(group, self.place));
        match change {
            // Others may listen at its place: those who ask about the group find out.
            Change::Leave | Change::None => {}
            Change::Join => {
                let is_noted = self.lasts(key, LISTENER_NS);
                key.set_subject_to_group();
                if is_noted {
                    self.lasts(key, LISTENER_NS);
                } else if let Some(known) = mdb::entry_mut(key) {
                    // There is no room to note it: everybody gets the group.
                    known.set_from(self.now + LISTENER_NS);
                } else {
                    self.give_up(LISTENER_NS);
                }
            }
        }
    }

    /// Lets an entry hold for so long; whether there is room for it.
    #[inline(always)]
    fn lasts(&self, key: &MdbKey, time: u64) -> bool {
        let until = self.now + time;
        if let Some(entry) = mdb::entry_mut(key) {
            entry.set_until(until);
            return true;
        }
        mdb::add(key, &MdbEntry::new(0, until))
    }

    /// Notes a query: somebody looks after the listeners. When that is new, they are all known only after they have
    /// answered.
    #[inline(always)]
    fn query(&self, within: u64) {
        let key = MdbKey::new(self.vni, Subject::Querier(self.family));
        let (from, until) = (self.now + within, self.now + QUERIER_NS);
        if let Some(entry) = mdb::entry_mut(&key) {
            if entry.is_over(self.now) {
                entry.set_from(from);
            }
            entry.set_until(until);
        } else {
            mdb::add(&key, &MdbEntry::new(from, until));
        }
        if !self.lasts(&MdbKey::new(self.vni, Subject::Router(self.family, self.place)), QUERIER_NS) {
            self.give_up(QUERIER_NS);
        }
    }

    /// Has everybody get everything for so long: there is somebody who cannot be noted.
    #[inline(always)]
    fn give_up(&self, time: u64) {
        let Some(key) = flooding::mdb_key() else { return };
        *key = MdbKey::new(self.vni, Subject::Querier(self.family));
        if let Some(querier) = mdb::entry_mut(key) {
            querier.set_from(self.now + time);
        }
    }
}

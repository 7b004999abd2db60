//! What programs write down that explain what they do with a frame: a trace of steps, in the order in which they were taken.
//!
//! Only the explaining build of the programs has the trace; it is no map of an instance.

mod outcome;

use bytemuck::{Pod, Zeroable};

pub use self::outcome::{Anew, Hand, Learning, Lease, Left, Unlearned, Whom};
use crate::{
    DropReason, IfIndex, MacAddr, Notice, OverlayAddr, UnderlayAddr, Vid, Vni, VtepId,
    maps::{fdb::Standing, jump::Jump},
};

/// Steps there is room for; later ones are only counted.
pub const MAX_STEPS: usize = 4096;

/// Copies there is room for: more than the longest flood list has receivers.
pub const MAX_COPIES: usize = 1536;

/// Bytes of a copy that are kept: no outer headers are longer, the inner Ethernet header with two tags included.
pub const HEAD: usize = 96;

/// A trace. The programs have it in their `.bss` section.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct Trace {
    /// How many steps were taken.
    pub step_count: u32,
    /// How many copies were made.
    pub copy_count: u32,
    /// The first steps.
    pub steps: [Record; MAX_STEPS],
    /// The first copies.
    pub copies: [[u8; HEAD]; MAX_COPIES],
}

impl Trace {
    /// Nothing yet.
    // SAFETY: numbers, of which zero is one.
    pub const EMPTY: Self = unsafe { core::mem::zeroed() };
}

#[cfg(feature = "user")]
// SAFETY: `bytemuck::Pod` is the stronger promise.
unsafe impl aya::Pod for Trace {}

/// A step as it is written down: its kind, and words whose meaning that tells.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Record {
    kind: u32,
    word: u32,
    data: [u64; 3],
}

/// A step. What names something "found" is `None`, 0 or false where it was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The frame was handed to another program for good.
    Jump(Jump),
    /// A port was looked up.
    Port(IfIndex, bool),
    /// A segment's settings were looked up.
    Segment(Option<Vni>, bool),
    /// The segment of a VLAN of a trunk port was looked up.
    Vlan(IfIndex, Option<Vid>, Option<Vni>),
    /// The VLAN of a segment on a trunk port was looked up.
    Tag(IfIndex, Option<Vni>, Option<Vid>),
    /// It was decided what becomes of the FDB by the frame's source.
    Learn(Option<Vni>, Learning),
    /// It was counted that a station was not learned, or moved too often.
    Unlearned(Unlearned),
    /// A station was looked up; where it is, if it is known.
    Station(Option<Vni>, MacAddr, Standing),
    /// A VTEP was looked up among the members of a segment; its id, if it is one.
    Member(Option<Vni>, Option<VtepId>),
    /// A VTEP would become a member.
    Admit(Option<Vni>, UnderlayAddr),
    /// An address was looked up among the neighbours of a segment.
    Neighbour(Option<Vni>, Option<OverlayAddr>, bool),
    /// A request for a neighbour was counted, answered here or not.
    Asked(bool),
    /// A flood list was looked up: how many ports and remote VTEPs it has.
    Flood(Option<Vni>, u32, u32),
    /// The limit of what a port may have flooded was applied; whether it allows the frame.
    BumRate(IfIndex, bool),
    /// Whom a frame is flooded to.
    Audience(Whom),
    /// A remote VTEP is to get a packet.
    Vtep(Option<VtepId>),
    /// The way to it was found: by that uplink, for outer IP packets of so many bytes at most (0: not known), resolved or not.
    NextHop(Option<IfIndex>, u16, bool),
    /// The largest IP packet of the workload that fits was asked for, in bytes; 0: nobody knows.
    Room(u32),
    /// Whether somebody else on this host takes a packet that no segment was found for.
    Foreign(bool),
    /// The underlay said how much it carries to a remote VTEP, and was believed.
    PathMtu(Option<VtepId>, u16),
    /// The frame was redirected to a device.
    Redirect(IfIndex, Hand),
    /// A copy was made for a device: of so many bytes, by its place among the copies.
    Copy(IfIndex, u32, u32),
    /// A frame or a copy was dropped.
    Drop(DropReason),
    /// Something was done besides.
    Notice(Notice),
    /// A packet is in transit in a segment: from that VTEP to the other one.
    Transit(Option<Vni>, Option<VtepId>, Option<VtepId>),
    /// What goes on with a packet in transit: its TTL, as it came, and its UDP source port.
    Journey(u8, u16),
    /// The frame of a packet in transit has to come out of its tunnel first.
    Anew(Anew),
    /// A segment was looked up among those that are adopted.
    Adopted(Option<Vni>, Lease),
    /// A device was looked up among the bridge members whose frames are looked at; its segment.
    BridgePort(IfIndex, Option<Vni>),
    /// The kernel shall have the frame.
    Left(Left),
}

const JUMP: u32 = 1;
const PORT: u32 = 2;
const SEGMENT: u32 = 3;
const VLAN: u32 = 4;
const TAG: u32 = 5;
const LEARN: u32 = 6;
const UNLEARNED: u32 = 7;
const STATION: u32 = 8;
const MEMBER: u32 = 9;
const ADMIT: u32 = 10;
const NEIGHBOUR: u32 = 11;
const ASKED: u32 = 12;
const FLOOD: u32 = 13;
const BUM_RATE: u32 = 14;
const AUDIENCE: u32 = 15;
const VTEP: u32 = 16;
const NEXT_HOP: u32 = 17;
const ROOM: u32 = 18;
const FOREIGN: u32 = 19;
const PATH_MTU: u32 = 20;
const REDIRECT: u32 = 21;
const COPY: u32 = 22;
const DROP: u32 = 23;
const NOTICE: u32 = 24;
const TRANSIT: u32 = 25;
const JOURNEY: u32 = 26;
const ANEW: u32 = 27;
const ADOPTED: u32 = 28;
const BRIDGE_PORT: u32 = 29;
const LEFT: u32 = 30;

impl Record {
    /// Writes a step down.
    #[inline(always)]
    #[must_use]
    pub fn new(step: Step) -> Self {
        let of = |kind, word, data| Self { kind, word, data };
        match step {
            Step::Jump(jump) => of(JUMP, jump.index(), [0; 3]),
            Step::Port(device, found) => of(PORT, device.get(), [found.into(), 0, 0]),
            Step::Segment(vni, found) => of(SEGMENT, number(vni), [found.into(), 0, 0]),
            Step::Vlan(device, vid, vni) => of(VLAN, device.get(), [vid_of(vid), number(vni).into(), 0]),
            Step::Tag(device, vni, vid) => of(TAG, device.get(), [vid_of(vid), number(vni).into(), 0]),
            Step::Learn(vni, what) => of(LEARN, number(vni), [what as u64, 0, 0]),
            Step::Unlearned(what) => of(UNLEARNED, what as u32, [0; 3]),
            Step::Station(vni, mac, standing) => {
                of(STATION, number(vni), [mac_word(mac), standing.word(), 0])
            }
            Step::Member(vni, id) => of(MEMBER, number(vni), [id_of(id), 0, 0]),
            Step::Admit(vni, addr) => {
                let [a, b] = long_words(addr.words());
                of(ADMIT, number(vni), [a, b, 0])
            }
            Step::Neighbour(vni, addr, found) => {
                let [a, b] = addr.map_or([0; 2], |addr| bytemuck::cast(addr.bytes()));
                of(NEIGHBOUR, number(vni), [a, b, found.into()])
            }
            Step::Asked(answered) => of(ASKED, answered.into(), [0; 3]),
            Step::Flood(vni, ports, vteps) => of(FLOOD, number(vni), [ports.into(), vteps.into(), 0]),
            Step::BumRate(device, allowed) => of(BUM_RATE, device.get(), [allowed.into(), 0, 0]),
            Step::Audience(audience) => of(AUDIENCE, audience as u32, [0; 3]),
            Step::Vtep(id) => of(VTEP, id_of(id) as u32, [0; 3]),
            Step::NextHop(uplink, mtu, resolved) => {
                of(NEXT_HOP, uplink.map_or(0, IfIndex::get), [mtu.into(), resolved.into(), 0])
            }
            Step::Room(mtu) => of(ROOM, mtu, [0; 3]),
            Step::Foreign(taken) => of(FOREIGN, taken.into(), [0; 3]),
            Step::PathMtu(id, mtu) => of(PATH_MTU, id_of(id) as u32, [mtu.into(), 0, 0]),
            Step::Redirect(device, hand) => of(REDIRECT, device.get(), [hand as u64, 0, 0]),
            Step::Copy(device, len, at) => of(COPY, device.get(), [len.into(), at.into(), 0]),
            Step::Drop(reason) => of(DROP, reason.index(), [0; 3]),
            Step::Notice(notice) => of(NOTICE, notice.index(), [0; 3]),
            Step::Transit(vni, from, to) => of(TRANSIT, number(vni), [id_of(from), id_of(to), 0]),
            Step::Journey(ttl, port) => of(JOURNEY, ttl.into(), [port.into(), 0, 0]),
            Step::Anew(why) => of(ANEW, why as u32, [0; 3]),
            Step::Adopted(vni, lease) => of(ADOPTED, number(vni), [lease as u64, 0, 0]),
            Step::BridgePort(device, vni) => of(BRIDGE_PORT, device.get(), [number(vni).into(), 0, 0]),
            Step::Left(why) => of(LEFT, why as u32, [0; 3]),
        }
    }

    /// The step; `None` for what no program writes.
    #[must_use]
    pub fn step(self) -> Option<Step> {
        let Self { kind, word, data: [a, b, c] } = self;
        let (vni, device, id) = (Vni::new(word), IfIndex::new(word), VtepId::new(word as u16));
        let vid = u16::try_from(a).ok().and_then(Vid::new);
        Some(match kind {
            JUMP => Step::Jump(*Jump::ALL.get(word as usize)?),
            PORT => Step::Port(device?, a != 0),
            SEGMENT => Step::Segment(vni, a != 0),
            VLAN => Step::Vlan(device?, vid, Vni::new(b as u32)),
            TAG => Step::Tag(device?, Vni::new(b as u32), vid),
            LEARN => Step::Learn(vni, Learning::of(a)?),
            UNLEARNED => Step::Unlearned(Unlearned::of(word)?),
            STATION => Step::Station(vni, mac_of(a), Standing::from_word(b)),
            MEMBER => Step::Member(vni, VtepId::new(a as u16)),
            ADMIT => Step::Admit(vni, address(a, b)),
            NEIGHBOUR => Step::Neighbour(vni, OverlayAddr::from_ip(address(a, b).ip()), c != 0),
            ASKED => Step::Asked(word != 0),
            FLOOD => Step::Flood(vni, a as u32, b as u32),
            BUM_RATE => Step::BumRate(device?, a != 0),
            AUDIENCE => Step::Audience(Whom::of(word)),
            VTEP => Step::Vtep(id),
            NEXT_HOP => Step::NextHop(device, a as u16, b != 0),
            ROOM => Step::Room(word),
            FOREIGN => Step::Foreign(word != 0),
            PATH_MTU => Step::PathMtu(id, a as u16),
            REDIRECT => Step::Redirect(device?, Hand::of(a)),
            COPY => Step::Copy(device?, a as u32, b as u32),
            DROP => Step::Drop(*DropReason::ALL.get(word as usize)?),
            NOTICE => Step::Notice(*Notice::ALL.get(word as usize)?),
            TRANSIT => Step::Transit(vni, VtepId::new(a as u16), VtepId::new(b as u16)),
            JOURNEY => Step::Journey(word as u8, a as u16),
            ANEW => Step::Anew(Anew::of(word)?),
            ADOPTED => Step::Adopted(vni, Lease::of(a)?),
            BRIDGE_PORT => Step::BridgePort(device?, Vni::new(a as u32)),
            LEFT => Step::Left(*Left::ALL.get(word as usize)?),
            _ => return None,
        })
    }
}

#[inline(always)]
fn number(vni: Option<Vni>) -> u32 {
    vni.map_or(0, Vni::get)
}

#[inline(always)]
fn id_of(id: Option<VtepId>) -> u64 {
    id.map_or(0, |id| id.index().into())
}

#[inline(always)]
fn vid_of(vid: Option<Vid>) -> u64 {
    // 0 is a VLAN's id for none.
    vid.map_or(0, |vid| vid.get().into())
}

#[inline(always)]
fn mac_word(mac: MacAddr) -> u64 {
    let [a, b, c, d, e, f] = mac.bytes();
    u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

fn mac_of(word: u64) -> MacAddr {
    let [_, _, a, b, c, d, e, f] = word.to_be_bytes();
    MacAddr::new([a, b, c, d, e, f])
}

/// The halves of an address, in the order of memory.
#[inline(always)]
fn long_words(words: [u32; 4]) -> [u64; 2] {
    bytemuck::cast(words)
}

fn address(a: u64, b: u64) -> UnderlayAddr {
    UnderlayAddr::from_words(bytemuck::cast([a, b]))
}

#[cfg(test)]
mod tests {
    extern crate std;

    use core::net::IpAddr;
    use std::vec::Vec;

    use super::*;
    use crate::maps::fdb::{Origin, Place};

    #[test]
    fn every_step_is_read_as_it_was_written() {
        let device = IfIndex::new(7).unwrap();
        let (vni, id, vid) = (Vni::new(0x01_0203), VtepId::new(0x1234), Vid::new(5));
        let mac = MacAddr::new([2, 1, 3, 4, 5, 6]);
        let addresses = ["10.1.2.3", "2001:db8::1:2:3"].map(|text| text.parse::<IpAddr>().unwrap());
        let place = Place::Port { device, peer: true };
        let mut steps: Vec<Step> = [
            Step::Port(device, true),
            Step::Segment(vni, false),
            Step::Segment(None, false),
            Step::Vlan(device, vid, vni),
            Step::Vlan(device, vid, None),
            Step::Tag(device, vni, None),
            Step::Station(vni, mac, Standing::at(vni.unwrap(), place, Origin::Static)),
            Step::Station(vni, mac, Standing::NOWHERE),
            Step::Member(vni, id),
            Step::Member(vni, None),
            Step::Asked(true),
            Step::Flood(vni, 256, 1024),
            Step::BumRate(device, false),
            Step::Audience(Whom::Listeners),
            Step::Vtep(id),
            Step::NextHop(Some(device), 1500, false),
            Step::Room(1400),
            Step::Foreign(true),
            Step::PathMtu(id, 1300),
            Step::Redirect(device, Hand::Neighbour),
            Step::Redirect(device, Hand::Host),
            Step::Copy(device, 1514, 1279),
            Step::Transit(vni, id, VtepId::new(7)),
            Step::Journey(255, 0xc001),
            Step::BridgePort(device, vni),
            Step::BridgePort(device, None),
        ]
        .to_vec();
        for address in addresses {
            steps.push(Step::Admit(vni, address.into()));
            steps.push(Step::Neighbour(vni, OverlayAddr::from_ip(address), true));
        }
        steps.extend(Jump::ALL.map(Step::Jump));
        steps.extend(DropReason::ALL.map(Step::Drop));
        steps.extend(Notice::ALL.map(Step::Notice));
        steps.extend((0..7).map(|at| Step::Learn(vni, Learning::of(at).unwrap())));
        steps.extend((0..4).map(|at| Step::Unlearned(Unlearned::of(at).unwrap())));
        steps.extend((0..5).map(|at| Step::Anew(Anew::of(at).unwrap())));
        steps.extend((0..3).map(|at| Step::Adopted(vni, Lease::of(at).unwrap())));
        steps.extend(Left::ALL.map(Step::Left));
        for step in steps {
            assert_eq!(Record::new(step).step(), Some(step));
        }
        assert_eq!(Record::default().step(), None);
    }
}

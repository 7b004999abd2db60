//! `EVENTS`: what programs tell those who listen. Each listener has a map of its own, `EVENTS_0` and so on, so that each hears
//! all that it asked for. `LISTENERS` says who listens, to what, and until when; `EVENT_DESK` and `EVENT_RATES` are the programs' own.

use core::net::{IpAddr, Ipv6Addr};

use bytemuck::{Pod, Zeroable};

use super::{fdb::Place, map_data};
use crate::{IfIndex, MacAddr, OverlayAddr, Vni, VtepId};

/// The names of the maps: perf event arrays, a buffer for each CPU.
pub const NAMES: [&str; SLOTS] = ["EVENTS_0", "EVENTS_1", "EVENTS_2", "EVENTS_3"];

/// The map's name: a per-CPU array of counts (`u64`), one for each of [`NAMES`]: events that found no room there.
pub const LOST: &str = "EVENTS_LOST";

/// How many can listen at once.
pub const SLOTS: usize = 4;

/// The map's name: an array of [`Listener`], one for each of [`NAMES`].
pub const LISTENERS: &str = "LISTENERS";

/// The map's name: a per-CPU array of one [`Desk`].
pub const DESK: &str = "EVENT_DESK";

/// The map's name: a per-CPU array of [`Rate`], indexed by [`Kind`].
pub const RATES: &str = "EVENT_RATES";

/// Events of a kind that each CPU tells in a second. Those of captured frames are not counted.
pub const PER_SECOND: u32 = 1000;

/// How long a listener is believed to be there, in nanoseconds, unless it says so again.
pub const LEASE_NS: u64 = 3_000_000_000;

/// The most bytes of a packet that an event can carry: the kernel's records are of less than 64 KiB.
pub const MOST_BYTES: u32 = 60_000;

macro_rules! kinds {
    ($($(#[$doc:meta])+ $variant:ident = $name:literal,)+) => {
        /// What an event tells.
        #[repr(u8)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[$doc])+ $variant,)+
        }

        impl Kind {
            /// All of them, in order.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            /// The name that commands print.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

kinds! {
    /// A station was learned.
    Learned = "learned",
    /// A learned station is elsewhere.
    Moved = "moved",
    /// A learned station was forgotten: it was silent for too long.
    Aged = "aged",
    /// A command removed a station, or it made way for one that a command put there.
    Removed = "removed",
    /// A command put a station somewhere.
    Placed = "placed",
    /// A station was not learned: its segment or port is at its limit.
    Limit = "limit",
    /// A station was not learned: the FDB is full.
    Full = "full",
    /// A station moves too often.
    Flaps = "flaps",
    /// A learned neighbour has another MAC address now.
    Neighbour = "neighbour",
    /// A frame is flooded, because nobody knows where its destination is.
    Missed = "missed",
    /// A packet was dropped.
    Dropped = "dropped",
    /// A packet as a program saw it first.
    Frame = "frame",
    /// What became of that packet, or of one copy of it.
    Verdict = "verdict",
}

impl Kind {
    /// How many there are: the size of `EVENT_RATES`.
    pub const COUNT: usize = Self::ALL.len();

    /// The kind with that number.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// Its bit among those that a listener wants.
    #[inline(always)]
    #[must_use]
    pub const fn bit(self) -> u32 {
        1 << self as u32
    }

    /// Whether events of the kind with that number carry the packet's bytes.
    #[inline(always)]
    #[must_use]
    pub const fn has_packet(code: u8) -> bool {
        const MISSED: u8 = Kind::Missed as u8;
        const DROPPED: u8 = Kind::Dropped as u8;
        const FRAME: u8 = Kind::Frame as u8;
        matches!(code, MISSED | DROPPED | FRAME)
    }
}

/// What became of a captured packet.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It, or a copy, goes where the event says.
    Sent,
    /// It was dropped, and the event says why.
    Dropped,
    /// It was answered here.
    Answered,
    /// It is not ours, and passed.
    Passed,
}

impl Verdict {
    /// The verdict with that number.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Sent),
            1 => Some(Self::Dropped),
            2 => Some(Self::Answered),
            3 => Some(Self::Passed),
            _ => None,
        }
    }
}

/// Who listens: to what, and until when.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Listener {
    until: u64,
    wants: u32,
    vni: u32,
    bytes: u32,
    pad: u32,
}

/// An event, as it stands in the buffers; the packet's bytes follow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Event {
    /// When: nanoseconds of the monotonic clock.
    pub time: u64,
    /// What: a [`Kind`].
    pub kind: u8,
    /// Of a drop: the index of its reason.
    pub reason: u8,
    /// Of a [`Kind::Verdict`]: a [`Verdict`].
    pub verdict: u8,
    /// Nothing.
    pub pad: u8,
    /// The segment; 0: not known.
    pub vni: u32,
    /// The device on whose hook the program runs; 0: not known.
    pub device: u32,
    /// Bytes of the packet.
    pub len: u32,
    /// How many of them follow.
    pub bytes: u32,
    /// Where a station is, or a packet goes: device and VTEP id, one of them 0. Of a neighbour, the first half of its IP address.
    pub place: [u32; 2],
    /// Where it was before; or the other half.
    pub from: [u32; 2],
    /// Which captured packet of this CPU a [`Kind::Frame`] or [`Kind::Verdict`] is about.
    pub number: u32,
    /// The station.
    pub mac: MacAddr,
    /// Nothing.
    pub pad2: [u8; 10],
}

/// Where a CPU writes its events, and what it notes of the packet that it captures.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct Desk {
    /// The event being written.
    pub event: Event,
    /// Which listeners have the packet that is on its way, a bit for each: they get its verdict.
    pub captured: u32,
    /// Whether they have one.
    pub has_verdict: u32,
    /// How many packets were captured.
    pub number: u32,
    /// The index of the reason why a packet is being dropped.
    pub reason: u32,
}

/// How many events of a kind a CPU told in a second.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct Rate {
    second: u64,
    count: u64,
}

map_data!(Listener, Event, Desk, Rate);

impl Listener {
    /// One that wants the kinds whose [`Kind::bit`] is in `wants`, of one segment or all, with so many bytes of a packet, until
    /// that time, nanoseconds of the monotonic clock.
    #[must_use]
    pub fn new(wants: u32, vni: Option<Vni>, bytes: u32, until: u64) -> Self {
        Self { until, wants, vni: vni.map_or(0, Vni::get), bytes: bytes.min(MOST_BYTES), pad: 0 }
    }

    /// 1 if it is there at `now`, and wants the kind with that number; else 0. Without a branch, since the kernel's verifier walks
    /// each way that those of several listeners can go together.
    #[inline(always)]
    #[must_use]
    pub const fn wants(&self, kind: u8, now: u64) -> u32 {
        let is_there = now.wrapping_sub(self.until) >> 63;
        self.wants >> (kind & 31) & is_there as u32
    }

    /// Whether it wants what is about segment `vni`; 0: that is not known, and may be any.
    #[inline(always)]
    #[must_use]
    pub const fn wants_segment(&self, vni: u32) -> bool {
        self.vni == 0 || vni == 0 || self.vni == vni
    }

    /// Bytes of a packet that it wants.
    #[inline(always)]
    #[must_use]
    pub const fn bytes(&self) -> u32 {
        self.bytes
    }
}

impl Rate {
    /// Whether there may be another one at `now`, nanoseconds of the monotonic clock; if so, it is counted.
    #[inline(always)]
    pub const fn allows(&mut self, now: u64) -> bool {
        // Somewhat more than a second, without a division.
        let second = now >> 30;
        if self.second != second {
            *self = Self { second, count: 0 };
        }
        if self.count >= PER_SECOND as u64 {
            return false;
        }
        self.count += 1;
        true
    }
}

impl Event {
    /// Bytes of an event in a buffer, without those of a packet.
    pub const LEN: usize = size_of::<Self>();

    /// An event out of a buffer, and the bytes of the packet; `None` if it is cut off.
    #[cfg(feature = "user")]
    #[must_use]
    pub fn read(record: &[u8]) -> Option<(Self, &[u8])> {
        let (head, rest) = record.split_at_checked(Self::LEN)?;
        let event: Self = bytemuck::pod_read_unaligned(head);
        Some((event, rest.get(..event.bytes as usize)?))
    }

    /// Notes the address of a neighbour.
    #[inline(always)]
    pub fn set_address(&mut self, address: OverlayAddr) {
        let bytes = address.bytes();
        let word = |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        (self.place, self.from) = ([word(0), word(4)], [word(8), word(12)]);
    }

    /// The address of a neighbour.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        let mut bytes = [0; 16];
        for (four, word) in bytes.chunks_exact_mut(4).zip(self.place.iter().chain(&self.from)) {
            four.copy_from_slice(&word.to_ne_bytes());
        }
        Ipv6Addr::from(bytes).to_canonical()
    }

    /// A place as an event has it.
    #[inline(always)]
    #[must_use]
    pub const fn words(place: Place) -> [u32; 2] {
        match place {
            Place::Port { device, .. } => [device.get(), 0],
            Place::Vtep(id) => [0, id.index()],
        }
    }
}

/// A place as an event tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Whereabouts {
    /// Behind the port with that device.
    Port(IfIndex),
    /// Behind that remote VTEP.
    Vtep(VtepId),
}

impl Whereabouts {
    /// What those words say; `None`: nothing.
    #[must_use]
    pub fn of([device, vtep]: [u32; 2]) -> Option<Self> {
        let vtep = u16::try_from(vtep).ok().and_then(VtepId::new).map(Self::Vtep);
        IfIndex::new(device).map(Self::Port).or(vtep)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout() {
        assert_eq!((size_of::<Event>(), size_of::<Desk>(), size_of::<Listener>()), (64, 80, 24));
    }

    #[test]
    fn kinds_are_in_order_and_names_differ() {
        for (code, kind) in (0..).zip(Kind::ALL) {
            assert_eq!((kind as u8, Kind::from_code(code)), (code, Some(kind)));
            assert_eq!(Kind::ALL.iter().filter(|other| other.name() == kind.name()).count(), 1);
        }
    }

    #[test]
    fn a_second_has_so_many_events() {
        let mut rate = Rate::default();
        let allowed = (0..5000).filter(|_| rate.allows(7)).count();
        assert_eq!(allowed, PER_SECOND as usize);
        assert!(rate.allows(2_000_000_000));
    }

    #[test]
    fn listeners_want_what_they_said() {
        let listener = Listener::new(Kind::Moved.bit(), Vni::new(5), u32::MAX, 100);
        let wants = |kind: Kind, now| listener.wants(kind as u8, now);
        assert_eq!((wants(Kind::Moved, 99), wants(Kind::Moved, 100), wants(Kind::Learned, 99)), (1, 0, 0));
        assert!(listener.wants_segment(5) && listener.wants_segment(0) && !listener.wants_segment(6));
        assert_eq!(listener.bytes(), MOST_BYTES);
    }
}

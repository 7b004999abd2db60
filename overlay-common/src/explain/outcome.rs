//! What steps say besides numbers.

/// What becomes of the FDB by a frame's source.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learning {
    /// Nothing: the segment does not learn.
    Off = 0,
    /// Nothing: the station is known there.
    Known = 1,
    /// Nothing: the entry is not learned, or holds.
    Kept = 2,
    /// The station is learned.
    Learned = 3,
    /// It moves.
    Moved = 4,
    /// It moves once too often.
    Flaps = 5,
    /// There is no room for it.
    NoRoom = 6,
}

/// What learning did not do, or did too often.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unlearned {
    /// The FDB is full.
    Full = 0,
    /// The segment or the port is at its limit.
    Limit = 1,
    /// A station was not moved.
    Unmoved = 2,
    /// A station flaps.
    Flaps = 3,
}

/// Whom a frame is flooded to.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// Everyone in the segment.
    Everyone = 0,
    /// Multicast routers.
    Routers = 1,
    /// Those who listen to the group, and routers.
    Listeners = 2,
}

/// How a frame is handed on.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hand {
    /// Sent by the device.
    Device = 0,
    /// Straight to the device's peer.
    Peer = 1,
    /// By the device, to a neighbour that the kernel resolves.
    Neighbour = 2,
}

/// What has the frame of a packet in transit come out of its tunnel first.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anew {
    /// The other VTEP has an address of the other family.
    Family = 0,
    /// Its outer headers cannot be written over.
    Headers = 1,
    /// It met congestion, which the frame is to say.
    Congestion = 2,
    /// Its segment has such frames looked at more closely.
    Looked = 3,
    /// It does not fit, which whoever sent it is to hear.
    TooBig = 4,
}

impl Learning {
    pub(super) fn of(number: u64) -> Option<Self> {
        const ALL: [Learning; 7] = [
            Learning::Off,
            Learning::Known,
            Learning::Kept,
            Learning::Learned,
            Learning::Moved,
            Learning::Flaps,
            Learning::NoRoom,
        ];
        ALL.get(usize::try_from(number).ok()?).copied()
    }
}

impl Unlearned {
    pub(super) fn of(number: u32) -> Option<Self> {
        [Self::Full, Self::Limit, Self::Unmoved, Self::Flaps].get(number as usize).copied()
    }
}

impl Whom {
    pub(super) const fn of(number: u32) -> Self {
        match number {
            0 => Self::Everyone,
            1 => Self::Routers,
            _ => Self::Listeners,
        }
    }
}

impl Hand {
    pub(super) const fn of(number: u64) -> Self {
        match number {
            0 => Self::Device,
            1 => Self::Peer,
            _ => Self::Neighbour,
        }
    }
}

impl Anew {
    pub(super) fn of(number: u32) -> Option<Self> {
        const ALL: [Anew; 5] = [Anew::Family, Anew::Headers, Anew::Congestion, Anew::Looked, Anew::TooBig];
        ALL.get(number as usize).copied()
    }
}

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
    /// To the host, as if it came in by the device.
    Host = 3,
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

/// Whether the segment of a `vxlan` device of the kernel is adopted.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// It is not.
    None = 0,
    /// It is.
    Good = 1,
    /// It is, but nobody follows what the kernel knows any more.
    Over = 2,
}

/// Why the kernel shall have a frame of a segment that is adopted.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// It comes by no bridge member that is looked at.
    NoMember = 0,
    /// The segment is not adopted, or its lease is over.
    Lease = 1,
    /// It has a VLAN tag beside its bytes.
    Tag = 2,
    /// Its Ethernet header has a tag, or a source that is no station, or is not there.
    Frame = 3,
    /// It is neither IPv4 nor IPv6, or neighbour discovery that the kernel answers.
    Protocol = 4,
    /// Its source is not known.
    SourceUnknown = 5,
    /// Its source is known elsewhere.
    SourceElsewhere = 6,
    /// The kernel is to see a frame of its source now and then.
    SourceDue = 7,
    /// Its destination is not known.
    DestinationUnknown = 8,
    /// Its destination is on the side that it comes from.
    DestinationHere = 9,
    /// The kernel is to see a frame to its destination now and then.
    DestinationDue = 10,
    /// It met congestion.
    Congested = 11,
    /// It stands for several packets that cannot be carried as one.
    Merged = 12,
    /// It does not fit.
    TooBig = 13,
    /// There is no way to the remote VTEP.
    NoWay = 14,
    /// The next hop is not resolved.
    Unresolved = 15,
    /// Its outer headers are not plain.
    Headers = 16,
    /// Nobody is known behind the VTEP that sent it.
    Sender = 17,
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
            3 => Self::Host,
            _ => Self::Neighbour,
        }
    }
}

impl Lease {
    pub(super) fn of(number: u64) -> Option<Self> {
        [Self::None, Self::Good, Self::Over].get(usize::try_from(number).ok()?).copied()
    }
}

impl Left {
    /// All of them, in the order of their numbers.
    pub(super) const ALL: [Self; 18] = [
        Self::NoMember,
        Self::Lease,
        Self::Tag,
        Self::Frame,
        Self::Protocol,
        Self::SourceUnknown,
        Self::SourceElsewhere,
        Self::SourceDue,
        Self::DestinationUnknown,
        Self::DestinationHere,
        Self::DestinationDue,
        Self::Congested,
        Self::Merged,
        Self::TooBig,
        Self::NoWay,
        Self::Unresolved,
        Self::Headers,
        Self::Sender,
    ];
}

impl Anew {
    pub(super) fn of(number: u32) -> Option<Self> {
        const ALL: [Anew; 5] = [Anew::Family, Anew::Headers, Anew::Congestion, Anew::Looked, Anew::TooBig];
        ALL.get(number as usize).copied()
    }
}

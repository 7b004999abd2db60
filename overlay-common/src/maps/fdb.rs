//! `FDB`: where the station with a MAC address is.

mod moves;
mod placing;
mod removal;
mod swept;
#[cfg(test)]
mod tests;

use core::ptr;

use bytemuck::{Pod, Zeroable};

pub use self::{
    moves::FlapRule,
    placing::{Placed, Placing, Report},
    removal::Removal,
    swept::Swept,
};

use super::map_data;
use crate::{IfIndex, MacAddr, Vni, VtepId};

/// The map's name: a hash of [`FdbKey`] to [`FdbEntry`].
pub const NAME: &str = "FDB";

/// Entries unless `up --fdb-size` says otherwise. Memory is taken as entries come.
pub const DEFAULT_ENTRIES: u32 = 1 << 18;

/// A station: its segment and its address in it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
pub struct FdbKey {
    vni: u32,
    mac: MacAddr,
    pad: [u8; 2],
}

/// Where a station is, who says so, when it was last seen, and how it moves.
///
/// Place, origin and VNI share one word, so that a program on another CPU never sees half a change, and never takes an
/// entry for one of its segment whose memory the kernel has meanwhile given to another. Zero: it is being removed.
///
/// With the kernel's own 56 bytes and the key's 16, this just fits the 96 bytes that the kernel's allocator has for it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct FdbEntry {
    place: u64,
    /// In ticks of [`moves::TICK_SHIFT`].
    last_seen: u32,
    moves: u32,
    /// When the window began that `recent` counts moves in; or, marked with [`moves::FROZEN`], until when the station stays
    /// where it is. In such ticks.
    window: u32,
    recent: u16,
    tag: u16,
}

map_data!(FdbKey, FdbEntry);

/// The one word of an entry that says where its station is, who says so, and of which segment the entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing(u64);

/// Where a station is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Behind a port of this host.
    Port {
        /// The port's device.
        device: IfIndex,
        /// Whether frames may go straight to the device's peer in another namespace (`bpf_redirect_peer`).
        peer: bool,
    },
    /// Behind a remote VTEP.
    Vtep(VtepId),
}

/// Who made an entry. Learning touches learned entries only.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Learned from a frame.
    Learned = 0,
    /// Put there by a command.
    Static = 1,
    /// Put there by a control plane.
    Control = 2,
}

impl Origin {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Learned, Self::Static, Self::Control];

    /// Its name, for people and programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Learned => "learned",
            Self::Static => "static",
            Self::Control => "control",
        }
    }

    /// The origin in the two low bits of a word.
    #[inline(always)]
    pub(super) const fn of_bits(word: u64) -> Self {
        match word & 3 {
            0 => Self::Learned,
            1 => Self::Static,
            _ => Self::Control,
        }
    }

    /// Whether an entry of this origin was learned, and not seen for longer than `ageing` seconds; 0: never. Times are
    /// nanoseconds of the monotonic clock.
    #[inline(always)]
    pub(super) const fn is_aged(self, last_seen: u64, ageing: u32, now: u64) -> bool {
        const NANOSECONDS: u64 = 1_000_000_000;
        ageing != 0
            && matches!(self, Self::Learned)
            && now.saturating_sub(last_seen) > ageing as u64 * NANOSECONDS
    }
}

// The word: device index or VTEP id in the low half, then two flags, the origin, and the VNI on top. Zero: nowhere.
const PEER: u64 = 1 << 32;
const VTEP: u64 = 1 << 33;
const ORIGIN_SHIFT: u32 = 34;
const ORIGIN: u64 = 3 << ORIGIN_SHIFT;
const VNI_SHIFT: u32 = 40;

impl FdbKey {
    /// The station `mac` of segment `vni`.
    #[inline(always)]
    #[must_use]
    pub const fn new(vni: Vni, mac: MacAddr) -> Self {
        Self { vni: vni.get(), mac, pad: [0; 2] }
    }

    /// The segment.
    #[must_use]
    pub const fn vni(self) -> Option<Vni> {
        Vni::new(self.vni)
    }

    /// The address.
    #[must_use]
    pub const fn mac(self) -> MacAddr {
        self.mac
    }

    /// The same station with the tag of its entry, as [`super::ageing`] has it.
    #[inline(always)]
    #[must_use]
    pub const fn with_tag(self, tag: u16) -> Self {
        Self { pad: tag.to_ne_bytes(), ..self }
    }

    /// The station, and the tag of its entry.
    #[inline(always)]
    #[must_use]
    pub const fn split_tag(self) -> (Self, u16) {
        (Self { pad: [0; 2], ..self }, u16::from_ne_bytes(self.pad))
    }
}

impl Place {
    /// The port's device; `None`: it is behind a remote VTEP.
    #[inline(always)]
    #[must_use]
    pub const fn port(self) -> Option<IfIndex> {
        match self {
            Self::Port { device, .. } => Some(device),
            Self::Vtep(_) => None,
        }
    }

    #[inline(always)]
    const fn word(self, vni: Vni, origin: Origin) -> u64 {
        let place = match self {
            Self::Port { device, peer: false } => device.get() as u64,
            Self::Port { device, peer: true } => device.get() as u64 | PEER,
            Self::Vtep(vtep) => vtep.index() as u64 | VTEP,
        };
        place | (origin as u64) << ORIGIN_SHIFT | (vni.get() as u64) << VNI_SHIFT
    }
}

impl Standing {
    /// Of an entry that is being removed.
    pub const NOWHERE: Self = Self(0);

    /// Of an entry of segment `vni` that `origin` made.
    #[inline(always)]
    #[must_use]
    pub const fn at(vni: Vni, place: Place, origin: Origin) -> Self {
        Self(place.word(vni, origin))
    }

    /// Of a learned entry of segment `vni`.
    #[inline(always)]
    #[must_use]
    pub const fn learned_at(vni: Vni, place: Place) -> Self {
        Self(place.word(vni, Origin::Learned))
    }

    /// The word itself.
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> u64 {
        self.0
    }

    /// What that word says.
    #[inline(always)]
    #[must_use]
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// The segment that the entry is of.
    #[inline(always)]
    #[must_use]
    pub const fn vni(self) -> Option<Vni> {
        Vni::new((self.0 >> VNI_SHIFT) as u32)
    }

    /// Where the station is. `None` if the entry is not, or no longer, one of segment `vni`, or is being removed.
    #[inline(always)]
    #[must_use]
    pub const fn place(self, vni: Vni) -> Option<Place> {
        if self.0 >> VNI_SHIFT != vni.get() as u64 {
            return None;
        }
        let number = self.0 as u32;
        if self.0 & VTEP != 0 {
            return match VtepId::new(number as u16) {
                Some(vtep) => Some(Place::Vtep(vtep)),
                None => None,
            };
        }
        match IfIndex::new(number) {
            Some(device) => Some(Place::Port { device, peer: self.0 & PEER != 0 }),
            None => None,
        }
    }

    /// Who made the entry.
    #[inline(always)]
    #[must_use]
    pub const fn origin(self) -> Origin {
        Origin::of_bits((self.0 & ORIGIN) >> ORIGIN_SHIFT)
    }
}

impl FdbEntry {
    /// An entry of segment `vni`; `last_seen` is nanoseconds of the monotonic clock.
    #[inline(always)]
    #[must_use]
    pub const fn new(vni: Vni, place: Place, origin: Origin, last_seen: u64) -> Self {
        Self::standing_as(Standing(place.word(vni, origin)), last_seen)
    }

    /// An entry that stands so.
    #[inline(always)]
    #[must_use]
    pub const fn standing_as(standing: Standing, last_seen: u64) -> Self {
        let last_seen = moves::tick(last_seen);
        Self { place: standing.0, last_seen, moves: 0, window: 0, recent: 0, tag: 0 }
    }

    /// The same with a tag that tells it from an earlier entry of the same station.
    #[inline(always)]
    #[must_use]
    pub const fn with_tag(self, tag: u16) -> Self {
        Self { tag, ..self }
    }

    /// What tells it from an earlier entry of the same station.
    #[inline(always)]
    #[must_use]
    pub const fn tag(&self) -> u16 {
        self.tag
    }

    /// Where the station is. `None` if it is not, or no longer, an entry of segment `vni`.
    #[inline(always)]
    #[must_use]
    pub const fn place(&self, vni: Vni) -> Option<Place> {
        Standing(self.place).place(vni)
    }

    /// Who made the entry.
    #[inline(always)]
    #[must_use]
    pub const fn origin(&self) -> Origin {
        Standing(self.place).origin()
    }

    /// Its standing at this moment, read once.
    #[inline(always)]
    #[must_use]
    pub fn standing(&self) -> Standing {
        // SAFETY: a reference is valid and aligned.
        Standing(unsafe { ptr::read_volatile(&raw const self.place) })
    }

    /// Whether this is the entry for just that place, whoever made it: the common case of learning, one comparison.
    #[inline(always)]
    #[must_use]
    pub const fn is_at(&self, vni: Vni, place: Place) -> bool {
        (self.place ^ place.word(vni, Origin::Learned)) & !ORIGIN == 0
    }

    /// Whether it was learned, and no frame of the station seen for longer than `ageing` seconds; 0: never.
    #[inline(always)]
    #[must_use]
    pub const fn is_aged(&self, ageing: u32, now: u64) -> bool {
        self.origin().is_aged(self.last_seen(), ageing, now)
    }

    /// Until when it holds if no frame of the station is seen from now on, nanoseconds of the monotonic clock.
    #[inline(always)]
    #[must_use]
    pub const fn holds_until(&self, ageing: u32) -> u64 {
        if ageing == 0 || !matches!(self.origin(), Origin::Learned) {
            return u64::MAX;
        }
        self.last_seen().saturating_add(ageing as u64 * 1_000_000_000)
    }

    /// When a frame of the station was last seen: nanoseconds of the monotonic clock, up to an eighth of a second late.
    #[inline(always)]
    #[must_use]
    pub const fn last_seen(&self) -> u64 {
        moves::end_of(self.last_seen)
    }

    /// Notes that a frame of the station was seen.
    #[inline(always)]
    pub const fn touch(&mut self, now: u64) {
        self.last_seen = moves::tick(now);
    }

    /// The word of its standing, for programs to change by compare and exchange: of several that try at once, one
    /// succeeds.
    #[inline(always)]
    #[must_use]
    pub const fn standing_word(&mut self) -> *mut u64 {
        &raw mut self.place
    }
}

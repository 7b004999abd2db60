//! `FDB`: where the station with a MAC address is.

use bytemuck::{Pod, Zeroable};

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

/// Where a station is, who says so, and when it was last seen.
///
/// Place, origin and VNI share one word, so that a program on another CPU never sees half a change, and never takes an
/// entry for one of its segment whose memory the kernel has meanwhile given to another.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct FdbEntry {
    place: u64,
    last_seen: u64,
    sequence: u32,
    pad: u32,
}

map_data!(FdbKey, FdbEntry);

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

// The word of a place: device index or VTEP id in the low half, then two flags, the origin, and the VNI on top.
const PEER: u64 = 1 << 32;
const VTEP: u64 = 1 << 33;
const ORIGIN_SHIFT: u32 = 34;
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
}

impl Place {
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

impl FdbEntry {
    /// An entry of segment `vni`; `last_seen` is nanoseconds of the monotonic clock.
    #[inline(always)]
    #[must_use]
    pub const fn new(vni: Vni, place: Place, origin: Origin, last_seen: u64) -> Self {
        Self { place: place.word(vni, origin), last_seen, sequence: 0, pad: 0 }
    }

    /// Where the station is. `None` if it is not, or no longer, an entry of segment `vni`.
    #[inline(always)]
    #[must_use]
    pub const fn place(&self, vni: Vni) -> Option<Place> {
        let word = self.place;
        if word >> VNI_SHIFT != vni.get() as u64 {
            return None;
        }
        let number = word as u32;
        if word & VTEP != 0 {
            return match VtepId::new(number as u16) {
                Some(vtep) => Some(Place::Vtep(vtep)),
                None => None,
            };
        }
        match IfIndex::new(number) {
            Some(device) => Some(Place::Port { device, peer: word & PEER != 0 }),
            None => None,
        }
    }

    /// Who made the entry.
    #[inline(always)]
    #[must_use]
    pub const fn origin(&self) -> Origin {
        match (self.place >> ORIGIN_SHIFT) & 3 {
            0 => Origin::Learned,
            1 => Origin::Static,
            _ => Origin::Control,
        }
    }

    /// Whether this is a learned entry for just that place: the common case of learning, one comparison.
    #[inline(always)]
    #[must_use]
    pub const fn is_learned_at(&self, vni: Vni, place: Place) -> bool {
        self.place == place.word(vni, Origin::Learned)
    }

    /// Whether it was learned, and no frame of the station seen for longer than `ageing` seconds; 0: never.
    #[inline(always)]
    #[must_use]
    pub const fn is_aged(&self, ageing: u32, now: u64) -> bool {
        const NANOSECONDS: u64 = 1_000_000_000;
        ageing != 0
            && matches!(self.origin(), Origin::Learned)
            && now.saturating_sub(self.last_seen) > ageing as u64 * NANOSECONDS
    }

    /// When a frame of the station was last seen: nanoseconds of the monotonic clock.
    #[inline(always)]
    #[must_use]
    pub const fn last_seen(&self) -> u64 {
        self.last_seen
    }

    /// How often the station has moved.
    #[must_use]
    pub const fn sequence(&self) -> u32 {
        self.sequence
    }

    /// Notes that a frame of the station was seen.
    #[inline(always)]
    pub const fn touch(&mut self, now: u64) {
        self.last_seen = now;
    }

    /// Moves a learned entry.
    #[inline(always)]
    pub const fn move_to(&mut self, vni: Vni, place: Place, now: u64) {
        self.place = place.word(vni, Origin::Learned);
        self.last_seen = now;
        self.sequence = self.sequence.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn places() -> impl Strategy<Value = Place> {
        prop_oneof![
            (1u32.., any::<bool>())
                .prop_map(|(index, peer)| Place::Port { device: IfIndex::new(index).unwrap(), peer }),
            (1u16..).prop_map(|id| Place::Vtep(VtepId::new(id).unwrap())),
        ]
    }

    fn origins() -> impl Strategy<Value = Origin> {
        prop_oneof![Just(Origin::Learned), Just(Origin::Static), Just(Origin::Control)]
    }

    proptest! {
        #[test]
        fn entry_round_trip(number in 1u32..0x00ff_ffff, place in places(), other in places(), origin in origins(), now: u64) {
            let vni = Vni::new(number).unwrap();
            let mut entry = FdbEntry::new(vni, place, origin, now);
            prop_assert_eq!(entry.place(vni), Some(place));
            prop_assert_eq!(entry.place(Vni::new(number + 1).unwrap()), None);
            prop_assert_eq!(entry.origin(), origin);
            prop_assert_eq!(entry.last_seen(), now);
            prop_assert_eq!(entry.is_learned_at(vni, other), origin == Origin::Learned && place == other);
            entry.move_to(vni, other, now);
            prop_assert!(entry.is_learned_at(vni, other));
            prop_assert_eq!(entry.sequence(), 1);
        }

        #[test]
        fn key_round_trip(vni in 1u32..=0x00ff_ffff, mac: [u8; 6]) {
            let (vni, mac) = (Vni::new(vni).unwrap(), MacAddr::new(mac));
            let key = FdbKey::new(vni, mac);
            prop_assert_eq!((key.vni(), key.mac()), (Some(vni), mac));
        }
    }

    #[test]
    fn only_learned_entries_age() {
        const SECOND: u64 = 1_000_000_000;
        let place = Place::Vtep(VtepId::FIRST);
        let learned = FdbEntry::new(Vni::MAX, place, Origin::Learned, SECOND);
        assert!(!learned.is_aged(2, 3 * SECOND));
        assert!(learned.is_aged(2, 3 * SECOND + 1));
        assert!(!learned.is_aged(0, u64::MAX));
        assert!(!learned.is_aged(2, 0));
        assert!(!FdbEntry::new(Vni::MAX, place, Origin::Static, 0).is_aged(2, u64::MAX));
    }

    #[test]
    fn layout() {
        assert_eq!((size_of::<FdbKey>(), size_of::<FdbEntry>()), (12, 24));
    }
}

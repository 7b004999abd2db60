//! `NEIGHBOURS`: which MAC address the station with an IP address has.

mod edit;

use core::ptr;

use bytemuck::{Pod, Zeroable};

pub use self::edit::{Edit, Wish};

use super::{fdb::Origin, map_data};
use crate::{
    MacAddr, OverlayAddr, Vni,
    header::claim::{Claim, Strength},
};

/// The map's name: a hash of [`NeighbourKey`] to [`Neighbour`].
pub const NAME: &str = "NEIGHBOURS";

/// Neighbours an instance can know. Memory is taken as entries come.
pub const MAX_ENTRIES: usize = 1 << 17;

/// Neighbours that can be learned in all; the last places are for what commands say.
pub const LEARNED: u32 = MAX_ENTRIES as u32 - (1 << 12);

/// Neighbours that can be learned in all, but for those of segments that have less than [`OF_EACH`].
pub const SHARED: u32 = MAX_ENTRIES as u32 / 2;

/// Neighbours that can be learned in one segment.
pub const OF_ONE: u32 = MAX_ENTRIES as u32 / 4;

/// Neighbours that a segment can learn whatever [`SHARED`] others have: at least 60 segments each.
pub const OF_EACH: u32 = 1 << 10;

/// An IP address in a segment.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
pub struct NeighbourKey {
    vni: u32,
    address: OverlayAddr,
}

/// The MAC address of a neighbour, who says so, and when it was last said.
///
/// MAC address, origin and whether it is a router share one word, so that a program on another CPU never sees half a
/// change, with a few bits of the key: so that an entry is not taken for one whose memory the kernel has meanwhile given
/// to another.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Neighbour {
    word: u64,
    last_seen: u64,
}

map_data!(NeighbourKey, Neighbour);

// The word: the MAC address in the low 48 bits, then a flag, the origin, and the bits of the key.
const MAC: u64 = (1 << 48) - 1;
const ROUTER: u64 = 1 << 48;
const ORIGIN_SHIFT: u32 = 49;
const TAG_SHIFT: u32 = 51;

/// The word of an entry that is being removed. No station has that address.
const NOWHERE: u64 = u64::MAX;

impl NeighbourKey {
    /// The address `address` of segment `vni`.
    #[inline(always)]
    #[must_use]
    pub const fn new(vni: Vni, address: OverlayAddr) -> Self {
        Self { vni: vni.get(), address }
    }

    /// The segment.
    #[must_use]
    pub const fn vni(self) -> Option<Vni> {
        Vni::new(self.vni)
    }

    /// The address.
    #[must_use]
    pub const fn address(self) -> OverlayAddr {
        self.address
    }

    /// 13 bits that differ between keys, more often than not.
    #[inline(always)]
    const fn tag(self) -> u64 {
        let address = u128::from_be_bytes(self.address.bytes());
        let folded = (address >> 64) as u64 ^ address as u64 ^ (self.vni as u64) << 7;
        folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> TAG_SHIFT
    }
}

/// What a claim does to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It says what is known.
    Same,
    /// It takes the place of what is known.
    Replaced,
    /// It is not good enough to.
    Ignored,
    /// It says other than what a command or a control plane says.
    Refused,
}

impl Neighbour {
    /// The entry of `key`; `last_seen` is nanoseconds of the monotonic clock.
    #[inline(always)]
    #[must_use]
    pub const fn new(key: NeighbourKey, mac: MacAddr, router: bool, origin: Origin, last_seen: u64) -> Self {
        let [a, b, c, d, e, f] = mac.bytes();
        let flag = if router { ROUTER } else { 0 };
        let mac = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        Self { word: mac | flag | (origin as u64) << ORIGIN_SHIFT | key.tag() << TAG_SHIFT, last_seen }
    }

    /// The neighbour's MAC address, and whether it is a router. `None` if this is not, or no longer, the entry of `key`.
    #[inline(always)]
    #[must_use]
    pub const fn station(&self, key: NeighbourKey) -> Option<(MacAddr, bool)> {
        let word = self.word;
        if word >> TAG_SHIFT != key.tag() || word == NOWHERE {
            return None;
        }
        let [_, _, a, b, c, d, e, f] = (word & MAC).to_be_bytes();
        Some((MacAddr::new([a, b, c, d, e, f]), word & ROUTER != 0))
    }

    /// An entry that is being removed: nobody's.
    #[must_use]
    pub const fn nowhere() -> Self {
        Self { word: NOWHERE, last_seen: 0 }
    }

    /// The entry at this moment, its word read once.
    #[inline(always)]
    #[must_use]
    pub fn snapshot(&self) -> Self {
        // SAFETY: a reference is valid and aligned.
        Self { word: unsafe { ptr::read_volatile(&raw const self.word) }, last_seen: self.last_seen }
    }

    /// The word that says all but when it was last heard of.
    #[inline(always)]
    #[must_use]
    pub const fn word(&self) -> u64 {
        self.word
    }

    /// That word, for programs to change by compare and exchange: of several that try at once, one succeeds.
    #[inline(always)]
    #[must_use]
    pub const fn word_mut(&mut self) -> *mut u64 {
        &raw mut self.word
    }

    /// Who made the entry.
    #[inline(always)]
    #[must_use]
    pub const fn origin(&self) -> Origin {
        Origin::of_bits(self.word >> ORIGIN_SHIFT)
    }

    /// Whether it was learned, and not heard of again for longer than `ageing` seconds; 0: never.
    #[inline(always)]
    #[must_use]
    pub const fn is_aged(&self, ageing: u32, now: u64) -> bool {
        self.origin().is_aged(self.last_seen, ageing, now)
    }

    /// When it was last heard of: nanoseconds of the monotonic clock.
    #[inline(always)]
    #[must_use]
    pub const fn last_seen(&self) -> u64 {
        self.last_seen
    }

    /// What `claim` does to this entry of `key`. One that has aged holds nothing against a claim.
    #[inline(always)]
    #[must_use]
    pub fn effect(&self, key: NeighbourKey, claim: &Claim, is_aged: bool) -> Effect {
        let Some((mac, router)) = self.station(key) else { return Effect::Ignored };
        let same_mac = mac == claim.mac;
        if self.origin() != Origin::Learned {
            return if same_mac { Effect::Same } else { Effect::Refused };
        }
        if same_mac && claim.router.is_none_or(|claimed| claimed == router) {
            return Effect::Same;
        }
        match claim.strength {
            Strength::Replaces => Effect::Replaced,
            Strength::Adds if same_mac || is_aged => Effect::Replaced,
            Strength::Confirms if same_mac => Effect::Replaced,
            Strength::Adds | Strength::Confirms => Effect::Ignored,
        }
    }

    /// Notes that it was heard of.
    #[inline(always)]
    pub const fn touch(&mut self, now: u64) {
        self.last_seen = now;
    }

    /// Has `claim` take the place of what is known. Whether a station that does not say so is a router is kept with its
    /// MAC address.
    #[inline(always)]
    pub fn replace(&mut self, key: NeighbourKey, claim: &Claim, now: u64) {
        let known = matches!(self.station(key), Some((mac, true)) if mac == claim.mac);
        *self = Self::new(key, claim.mac, claim.router.unwrap_or(known), Origin::Learned, now);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(vni: u32, last: u8) -> NeighbourKey {
        NeighbourKey::new(Vni::new(vni).unwrap(), OverlayAddr::from_ipv4([10, 1, 0, last]).unwrap())
    }

    fn claim(last: u8, strength: Strength, router: Option<bool>) -> Claim {
        let mac = MacAddr::new([2, 0, 0, 0, 0, last]);
        Claim { address: OverlayAddr::from_ipv4([10, 1, 0, 1]).unwrap(), mac, strength, router }
    }

    fn entry(origin: Origin) -> Neighbour {
        Neighbour::new(key(1, 1), claim(1, Strength::Adds, None).mac, false, origin, 0)
    }

    proptest! {
        #[test]
        fn round_trip(vni in 1u32..=0x00ff_ffff, address: [u8; 4], mac: [u8; 6], router: bool, now: u64) {
            let address = OverlayAddr::from_ipv4(address);
            prop_assume!(address.is_some());
            let key = NeighbourKey::new(Vni::new(vni).unwrap(), address.unwrap());
            for origin in [Origin::Learned, Origin::Static, Origin::Control] {
                let entry = Neighbour::new(key, MacAddr::new(mac), router, origin, now);
                prop_assert_eq!(entry.station(key), Some((MacAddr::new(mac), router)));
                prop_assert_eq!((entry.origin(), entry.last_seen()), (origin, now));
            }
        }
    }

    #[test]
    fn an_entry_is_of_its_key() {
        let entry = entry(Origin::Learned);
        let others = (1..=254).map(|last| key(1, last)).chain((2..=100).map(|vni| key(vni, 1)));
        let taken = others.filter(|other| *other != key(1, 1) && entry.station(*other).is_some()).count();
        assert!(taken <= 2, "{taken} of 352 keys take it for theirs");
    }

    #[test]
    fn claims() {
        use Strength::{Adds, Confirms, Replaces};
        let learned = entry(Origin::Learned);
        let effect = |claim: Claim| learned.effect(key(1, 1), &claim, false);
        for strength in [Replaces, Adds, Confirms] {
            assert_eq!(effect(claim(1, strength, None)), Effect::Same);
            assert_eq!(effect(claim(1, strength, Some(true))), Effect::Replaced);
            for origin in [Origin::Static, Origin::Control] {
                let fixed = entry(origin);
                assert_eq!(fixed.effect(key(1, 1), &claim(2, strength, None), false), Effect::Refused);
                assert_eq!(fixed.effect(key(1, 1), &claim(1, strength, Some(true)), false), Effect::Same);
            }
        }
        assert_eq!(effect(claim(2, Replaces, None)), Effect::Replaced);
        assert_eq!(effect(claim(2, Adds, None)), Effect::Ignored);
        assert_eq!(learned.effect(key(1, 1), &claim(2, Adds, None), true), Effect::Replaced);
        assert_eq!(learned.effect(key(1, 1), &claim(2, Confirms, None), true), Effect::Ignored);
    }

    #[test]
    fn a_router_stays_one_until_it_says_otherwise_or_is_another() {
        let mut entry = entry(Origin::Learned);
        let is_router = |entry: &Neighbour| entry.station(key(1, 1)).unwrap().1;
        for (last, says, is) in
            [(1, Some(true), true), (1, None, true), (2, None, false), (2, Some(true), true)]
        {
            entry.replace(key(1, 1), &claim(last, Strength::Replaces, says), 7);
            assert_eq!((is_router(&entry), entry.last_seen()), (is, 7));
        }
    }

    #[test]
    fn only_learned_entries_age() {
        const SECOND: u64 = 1_000_000_000;
        assert!(entry(Origin::Learned).is_aged(2, 2 * SECOND + 1));
        assert!(!entry(Origin::Learned).is_aged(2, 2 * SECOND));
        assert!(!entry(Origin::Learned).is_aged(0, u64::MAX));
        assert!(!entry(Origin::Static).is_aged(2, u64::MAX));
    }

    #[test]
    fn layout() {
        assert_eq!((size_of::<NeighbourKey>(), size_of::<Neighbour>()), (20, 16));
    }
}

//! `NEIGHBOURS`: which MAC address the station with an IP address has.

mod edit;

use core::ptr;

use bytemuck::{Pod, Zeroable};

pub use self::edit::{Edit, Wish};

use super::{fdb::Origin, map_data};
use crate::{
    MacAddr, OverlayAddr, Vni,
    header::{
        claim::{Claim, Strength},
        vlan::Vlans,
    },
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

/// The MAC address of a neighbour, who says so, in which VLANs, and when it was last said.
///
/// MAC address, origin and whether it is a router share one word, so that a program on another CPU never sees half a
/// change, with a few bits of key and VLANs: so that an entry is not taken for one whose memory the kernel has meanwhile
/// given to another, nor a word for one of other VLANs.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Neighbour {
    word: u64,
    last_seen: u64,
    vlans: Vlans,
    padding: u32,
}

map_data!(NeighbourKey, Neighbour);

// The word: the MAC address in the low 48 bits, then a flag, the origin, and the bits of key and VLANs.
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

    /// 13 bits that differ between keys, and the VLANs that a segment keeps apart, more often than not.
    #[inline(always)]
    const fn tag(self, vlans: Vlans) -> u64 {
        let address = u128::from_be_bytes(self.address.bytes());
        let folded =
            (address >> 64) as u64 ^ address as u64 ^ (self.vni as u64) << 7 ^ (vlans.number() as u64) << 35;
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
    /// The entry of `key`, which holds for its whole segment; `last_seen` is nanoseconds of the monotonic clock.
    #[inline(always)]
    #[must_use]
    pub const fn new(key: NeighbourKey, mac: MacAddr, router: bool, origin: Origin, last_seen: u64) -> Self {
        Self::within(Vlans::NONE, key, mac, router, origin, last_seen)
    }

    /// The entry of `key` that `claim` makes, which was heard at `now` in these VLANs.
    #[inline(always)]
    #[must_use]
    pub fn learned(key: NeighbourKey, claim: &Claim, vlans: Vlans, now: u64) -> Self {
        Self::within(vlans, key, claim.mac, claim.router.unwrap_or(false), Origin::Learned, now)
    }

    #[inline(always)]
    const fn within(
        vlans: Vlans,
        key: NeighbourKey,
        mac: MacAddr,
        router: bool,
        origin: Origin,
        last_seen: u64,
    ) -> Self {
        let [a, b, c, d, e, f] = mac.bytes();
        let flag = if router { ROUTER } else { 0 };
        let mac = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        let word = mac | flag | (origin as u64) << ORIGIN_SHIFT | key.tag(vlans) << TAG_SHIFT;
        Self { word, last_seen, vlans, padding: 0 }
    }

    /// The neighbour's MAC address, and whether it is a router. `None` if this is not, or no longer, the entry of `key`.
    #[inline(always)]
    #[must_use]
    pub const fn station(&self, key: NeighbourKey) -> Option<(MacAddr, bool)> {
        let word = self.word;
        if word >> TAG_SHIFT != key.tag(self.vlans) || word == NOWHERE {
            return None;
        }
        let [_, _, a, b, c, d, e, f] = (word & MAC).to_be_bytes();
        Some((MacAddr::new([a, b, c, d, e, f]), word & ROUTER != 0))
    }

    /// Whether it is the neighbour of those in `vlans`: of all, if a command or a control plane says so, else of those in
    /// the VLANs that it was heard in. Other VLANs may use the same addresses.
    #[inline(always)]
    #[must_use]
    pub fn is_in(&self, vlans: Vlans) -> bool {
        self.origin() != Origin::Learned || self.vlans == vlans
    }

    /// The VLANs that it was heard in.
    #[inline(always)]
    #[must_use]
    pub const fn vlans(&self) -> Vlans {
        self.vlans
    }

    /// An entry that is being removed: nobody's.
    #[must_use]
    pub const fn nowhere() -> Self {
        Self { word: NOWHERE, last_seen: 0, vlans: Vlans::NONE, padding: 0 }
    }

    /// The entry at this moment, its word read once.
    #[inline(always)]
    #[must_use]
    pub fn snapshot(&self) -> Self {
        // SAFETY: a reference is valid and aligned.
        Self { word: unsafe { ptr::read_volatile(&raw const self.word) }, ..*self }
    }

    /// The word that says all but when it was last heard of.
    #[inline(always)]
    #[must_use]
    pub const fn word(&self) -> u64 {
        self.word
    }

    /// Has the rest of `new` follow its word.
    #[inline(always)]
    pub const fn follow(&mut self, new: &Self) {
        (self.last_seen, self.vlans) = (new.last_seen, new.vlans);
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

    /// What `claim` does, heard in `vlans`, to this entry of `key`. One that has aged holds nothing against a claim.
    #[inline(always)]
    #[must_use]
    pub fn effect(&self, key: NeighbourKey, claim: &Claim, vlans: Vlans, is_aged: bool) -> Effect {
        let Some((mac, router)) = self.station(key) else { return Effect::Ignored };
        let same_mac = mac == claim.mac && self.is_in(vlans);
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

    /// Has `claim`, heard in `vlans`, take the place of what is known. Whether a station that does not say so is a router
    /// is kept with its MAC address.
    #[inline(always)]
    pub fn replace(&mut self, key: NeighbourKey, claim: &Claim, vlans: Vlans, now: u64) {
        let known = matches!(self.station(key), Some((mac, true)) if mac == claim.mac);
        *self = Self::within(vlans, key, claim.mac, claim.router.unwrap_or(known), Origin::Learned, now);
    }
}

#[cfg(test)]
mod tests;

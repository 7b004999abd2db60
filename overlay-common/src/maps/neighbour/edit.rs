//! What a command changes: what the program `neigh_edit` is asked.

use bytemuck::{Pod, Zeroable};

use super::{Neighbour, NeighbourKey};
use crate::{OverlayAddr, Vni};

/// A change to one entry. The program `neigh_edit` gets it as the bytes of a frame, behind an Ethernet header. It returns
/// what is [`super::super::fdb::Placed`] for an entry to be put, and else how many it removed.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Edit {
    entry: Neighbour,
    key: NeighbourKey,
    /// What makes way where the map is full; segment 0: nothing.
    way: NeighbourKey,
    what: u32,
    pad: u32,
}

const PUT: u32 = 0;
const REMOVE: u32 = 1;
const REMOVE_LEARNED: u32 = 2;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The entry is to stand.
    Put,
    /// None is to be there.
    Remove,
    /// None that was learned is to be there.
    RemoveLearned,
}

impl Edit {
    /// Bytes of it.
    pub const LEN: usize = size_of::<Self>();

    /// Puts `entry`, whatever was learned; where the map is full, that of `way` makes way if it was learned.
    #[must_use]
    pub fn put(key: NeighbourKey, entry: Neighbour, way: Option<NeighbourKey>) -> Self {
        Self { entry, key, way: way.unwrap_or_else(NeighbourKey::zeroed), what: PUT, pad: 0 }
    }

    /// Removes the entry of `key`; only if it was learned, where that is said.
    #[must_use]
    pub fn remove(key: NeighbourKey, only_learned: bool) -> Self {
        let what = if only_learned { REMOVE_LEARNED } else { REMOVE };
        Self { key, what, ..Self::zeroed() }
    }

    /// Reads it.
    #[inline(always)]
    #[must_use]
    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        bytemuck::cast(bytes)
    }

    /// What is asked for; `None`: nothing that there is.
    #[inline(always)]
    #[must_use]
    pub const fn wish(&self) -> Option<Wish> {
        match self.what {
            PUT => Some(Wish::Put),
            REMOVE => Some(Wish::Remove),
            REMOVE_LEARNED => Some(Wish::RemoveLearned),
            _ => None,
        }
    }

    /// Of which neighbour.
    #[inline(always)]
    #[must_use]
    pub const fn key(&self) -> NeighbourKey {
        self.key
    }

    /// The entry to be put.
    #[inline(always)]
    #[must_use]
    pub const fn entry(&self) -> Neighbour {
        self.entry
    }

    /// Which neighbour makes way where the map is full.
    #[inline(always)]
    #[must_use]
    pub const fn way(&self) -> Option<(Vni, OverlayAddr)> {
        match self.way.vni() {
            Some(vni) => Some((vni, self.way.address)),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::fdb::Origin, *};
    use crate::MacAddr;

    #[test]
    fn round_trip() {
        let vni = Vni::new(7).unwrap();
        let key = |last| NeighbourKey::new(vni, OverlayAddr::from_ipv4([10, 1, 0, last]).unwrap());
        let entry = Neighbour::new(key(1), MacAddr::new([2, 0, 0, 0, 0, 1]), false, Origin::Static, 7);
        let read = |edit: Edit| Edit::from_bytes(bytemuck::cast(edit));
        let put = read(Edit::put(key(1), entry, Some(key(2))));
        assert_eq!((put.wish(), put.key(), put.entry()), (Some(Wish::Put), key(1), entry));
        assert_eq!(put.way(), Some((vni, key(2).address())));
        assert_eq!(read(Edit::put(key(1), entry, None)).way(), None);
        assert_eq!(read(Edit::remove(key(1), false)).wish(), Some(Wish::Remove));
        assert_eq!(read(Edit::remove(key(1), true)).wish(), Some(Wish::RemoveLearned));
        assert_eq!(Edit { what: 3, ..put }.wish(), None);
        assert_eq!(Edit::LEN, 72);
    }
}

//! Where a station is to be: what the program `fdb_put` is asked, and answers.

use bytemuck::{Pod, Zeroable};

use super::{FdbEntry, FdbKey};

/// An entry that is to stand for a station, whatever was learned of it. The program `fdb_put` gets it as the bytes of a
/// frame, behind an Ethernet header, and returns what is [`Placed`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Placing {
    entry: FdbEntry,
    key: FdbKey,
    pad: [u8; 4],
}

/// What came of it.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// The entry stands.
    Done = 0,
    /// It does not: another CPU was quicker. The next try may succeed.
    Again = 1,
    /// It does not: the FDB is full, and nothing that could make way is learned.
    Full = 2,
}

impl Placing {
    /// Bytes of it.
    pub const LEN: usize = size_of::<Self>();

    /// `entry` for the station of `key`.
    #[must_use]
    pub const fn new(key: FdbKey, entry: FdbEntry) -> Self {
        Self { entry, key, pad: [0; 4] }
    }

    /// Reads it.
    #[inline(always)]
    #[must_use]
    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        bytemuck::cast(bytes)
    }

    /// The station.
    #[inline(always)]
    #[must_use]
    pub const fn key(&self) -> FdbKey {
        self.key
    }

    /// Its entry.
    #[inline(always)]
    #[must_use]
    pub const fn entry(&self) -> &FdbEntry {
        &self.entry
    }
}

impl Placed {
    /// What the program returned; `None`: it was not asked right.
    #[must_use]
    pub const fn from_code(code: u32) -> Option<Self> {
        match code {
            0 => Some(Self::Done),
            1 => Some(Self::Again),
            2 => Some(Self::Full),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Origin, Place},
        *,
    };
    use crate::{MacAddr, Vni, VtepId};

    #[test]
    fn round_trip() {
        let key = FdbKey::new(Vni::MAX, MacAddr::new([2, 0, 0, 0, 0, 1]));
        let entry = FdbEntry::new(Vni::MAX, Place::Vtep(VtepId::FIRST), Origin::Static, 7);
        let placing = Placing::from_bytes(bytemuck::cast(Placing::new(key, entry)));
        assert_eq!((placing.key(), *placing.entry()), (key, entry));
        assert_eq!(Placing::LEN, 48);
        for placed in [Placed::Done, Placed::Again, Placed::Full] {
            assert_eq!(Placed::from_code(placed as u32), Some(placed));
        }
        assert_eq!(Placed::from_code(u32::MAX), None);
    }
}

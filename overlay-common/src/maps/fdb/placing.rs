//! Where stations are to be: what the program `fdb_edit` is asked, and answers.

use bytemuck::{Pod, Zeroable};

use super::{FdbKey, Origin, Place, Standing};
use crate::{MacAddr, Vni};

/// How a station is to stand, whatever was learned of it; or that it is to go, if it still stands so. The program `fdb_edit`
/// gets up to [`Placing::MOST`] of them as the bytes of a frame, behind an Ethernet header, and returns a [`Report`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Placing {
    standing: u64,
    mac: MacAddr,
    goes: u16,
}

/// How far a run of the program came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report(u32);

/// What came of a placing.
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

    /// How many one run takes: what the kernel takes for a frame fits one page of 4096 bytes, together with what it puts in
    /// front of it and behind (`bpf_prog_test_run_skb` in `net/bpf/test_run.c`).
    pub const MOST: usize = 224;

    /// The station `mac` of segment `vni` is to be at `place`, because `origin` says so.
    #[must_use]
    pub const fn new(vni: Vni, mac: MacAddr, place: Place, origin: Origin) -> Self {
        Self { standing: Standing::at(vni, place, origin).word(), mac, goes: 0 }
    }

    /// The station `mac` is to be forgotten, if it still stands as it was `seen`.
    #[must_use]
    pub const fn removal(mac: MacAddr, seen: Standing) -> Self {
        Self { standing: seen.word(), mac, goes: 1 }
    }

    /// Reads it.
    #[inline(always)]
    #[must_use]
    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        bytemuck::cast(bytes)
    }

    /// How the station is to stand, or is to stand no more.
    #[inline(always)]
    #[must_use]
    pub const fn standing(&self) -> Standing {
        Standing(self.standing)
    }

    /// Whether the station is to be forgotten.
    #[inline(always)]
    #[must_use]
    pub const fn is_removal(&self) -> bool {
        self.goes != 0
    }

    /// The station; `None` if it is of no segment, or nowhere.
    #[inline(always)]
    #[must_use]
    pub const fn station(&self) -> Option<(Vni, FdbKey)> {
        let standing = self.standing();
        match standing.vni() {
            Some(vni) if standing.place(vni).is_some() => Some((vni, FdbKey::new(vni, self.mac))),
            _ => None,
        }
    }
}

impl Report {
    /// That the first `done` placings stand, and what came of the next one, if there is one.
    #[inline(always)]
    #[must_use]
    pub const fn new(done: u32, next: Placed) -> Self {
        Self(done << 8 | next as u32)
    }

    /// As the program returns it.
    #[inline(always)]
    #[must_use]
    pub const fn code(self) -> u32 {
        self.0
    }

    /// What the program returned; `None`: it was not asked right.
    #[must_use]
    pub const fn from_code(code: u32) -> Option<Self> {
        let report = Self(code);
        if matches!(code & 0xff, 0..=2) && report.done() <= Placing::MOST { Some(report) } else { None }
    }

    /// How many placings stand.
    #[must_use]
    pub const fn done(self) -> usize {
        (self.0 >> 8) as usize
    }

    /// What came of the one after those.
    #[must_use]
    pub const fn next(self) -> Placed {
        match self.0 & 0xff {
            0 => Placed::Done,
            1 => Placed::Again,
            _ => Placed::Full,
        }
    }
}

impl Placed {
    /// What a program returned; `None`: it was not asked right.
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
    use super::*;
    use crate::VtepId;

    const MAC: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 1]);

    #[test]
    fn round_trip() {
        let place = Place::Vtep(VtepId::FIRST);
        let placing = Placing::from_bytes(bytemuck::cast(Placing::new(Vni::MAX, MAC, place, Origin::Static)));
        assert_eq!(placing.station(), Some((Vni::MAX, FdbKey::new(Vni::MAX, MAC))));
        assert_eq!(placing.standing(), Standing::at(Vni::MAX, place, Origin::Static));
        assert!(!placing.is_removal());
        let removal = Placing::from_bytes(bytemuck::cast(Placing::removal(MAC, placing.standing())));
        assert!(removal.is_removal() && removal.station() == placing.station());
        assert_eq!(Placing::removal(MAC, Standing::NOWHERE).station(), None);
        assert_eq!(Placing::LEN, 16);
    }

    #[test]
    fn reports() {
        for placed in [Placed::Done, Placed::Again, Placed::Full] {
            assert_eq!(Placed::from_code(placed as u32), Some(placed));
            let report = Report::from_code(Report::new(224, placed).code()).unwrap();
            assert_eq!((report.done(), report.next()), (224, placed));
        }
        assert_eq!(Placed::from_code(u32::MAX), None);
        assert_eq!(Report::from_code(u32::MAX), None);
    }
}

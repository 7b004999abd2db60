//! Which entries to remove.

use bytemuck::{Pod, Zeroable};

use super::{FdbEntry, FdbKey, Origin, Place};
use crate::{IfIndex, MacAddr, Vni, VtepId};

/// Which entries to remove: those that all conditions hold of. The program `fdb_remove` gets one that is about a single station
/// as the bytes of a frame, behind an Ethernet header, and returns how many it removed.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Removal {
    vni: u32,
    conditions: u32,
    /// A device index or a VTEP id.
    place: u32,
    mac: MacAddr,
    pad: [u8; 2],
}

// Conditions: one bit for each origin that is to stay, and what else there is to compare.
const MAC: u32 = 1 << 8;
const PORT: u32 = 1 << 9;
const VTEP: u32 = 1 << 10;

impl Removal {
    /// Bytes of it.
    pub const LEN: usize = size_of::<Self>();

    /// Every entry.
    pub const ALL: Self = Self { vni: 0, conditions: 0, place: 0, mac: MacAddr::new([0; 6]), pad: [0; 2] };

    /// Of segment `vni`.
    #[must_use]
    pub const fn vni(self, vni: Vni) -> Self {
        Self { vni: vni.get(), ..self }
    }

    /// Of the station `mac`.
    #[must_use]
    pub const fn mac(self, mac: MacAddr) -> Self {
        Self { mac, ..self.with(MAC) }
    }

    /// Of that origin only.
    #[must_use]
    pub const fn origin(self, origin: Origin) -> Self {
        self.with(0b111 & !(1 << origin as u32))
    }

    /// Behind the port `device`.
    #[must_use]
    pub const fn port(self, device: IfIndex) -> Self {
        Self { place: device.get(), ..self.with(PORT) }
    }

    /// Behind the remote VTEP `id`.
    #[must_use]
    pub const fn vtep(self, id: VtepId) -> Self {
        Self { place: id.index(), ..self.with(VTEP) }
    }

    const fn with(self, conditions: u32) -> Self {
        Self { conditions: self.conditions | conditions, ..self }
    }

    /// Reads it.
    #[inline(always)]
    #[must_use]
    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        bytemuck::cast(bytes)
    }

    /// The single station that it is about, if it is about one.
    #[inline(always)]
    #[must_use]
    pub const fn station(&self) -> Option<FdbKey> {
        match Vni::new(self.vni) {
            Some(vni) if self.conditions & MAC != 0 => Some(FdbKey::new(vni, self.mac)),
            _ => None,
        }
    }

    /// Whether all conditions hold of the entry of a station in segment `vni`.
    #[inline(always)]
    #[must_use]
    pub fn holds(&self, vni: Vni, mac: MacAddr, entry: &FdbEntry) -> bool {
        let Some(place) = entry.place(vni) else { return false };
        let is_there = match place {
            Place::Port { device, .. } if self.conditions & PORT != 0 => device.get() == self.place,
            Place::Vtep(id) if self.conditions & VTEP != 0 => id.index() == self.place,
            Place::Port { .. } | Place::Vtep(_) => self.conditions & (PORT | VTEP) == 0,
        };
        is_there
            && (self.vni == 0 || self.vni == vni.get())
            && (self.conditions & MAC == 0 || self.mac == mac)
            && self.conditions & (1 << entry.origin() as u32) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions() {
        const ONE: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 1]);
        const TWO: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 2]);
        let (vni, other) = (Vni::new(7).unwrap(), Vni::new(8).unwrap());
        let device = IfIndex::new(1).unwrap();
        let behind_port = FdbEntry::new(vni, Place::Port { device, peer: true }, Origin::Learned, 0);
        let behind_vtep = FdbEntry::new(vni, Place::Vtep(VtepId::FIRST), Origin::Static, 0);
        let both = |removal: Removal| {
            let removal = Removal::from_bytes(bytemuck::cast(removal));
            (removal.holds(vni, ONE, &behind_port), removal.holds(vni, TWO, &behind_vtep))
        };
        assert_eq!(both(Removal::ALL), (true, true));
        assert_eq!(both(Removal::ALL.vni(vni)), (true, true));
        assert_eq!(both(Removal::ALL.vni(other)), (false, false));
        assert_eq!(both(Removal::ALL.mac(TWO)), (false, true));
        assert_eq!(both(Removal::ALL.origin(Origin::Learned)), (true, false));
        assert_eq!(both(Removal::ALL.origin(Origin::Static)), (false, true));
        assert_eq!(both(Removal::ALL.origin(Origin::Control)), (false, false));
        assert_eq!(both(Removal::ALL.port(device)), (true, false));
        assert_eq!(both(Removal::ALL.vtep(VtepId::FIRST)), (false, true));
        assert_eq!(both(Removal::ALL.vni(vni).vtep(VtepId::FIRST).origin(Origin::Learned)), (false, false));
        assert!(!Removal::ALL.holds(other, ONE, &behind_port), "its memory was given to another segment");
        assert_eq!(Removal::ALL.mac(ONE).station(), None);
        assert_eq!(Removal::ALL.vni(vni).mac(ONE).station(), Some(FdbKey::new(vni, ONE)));
    }
}

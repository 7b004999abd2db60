//! `VLANS` and `TAGS`: which VLANs of a trunk port are which segments, and back.

use bytemuck::{Pod, Zeroable};

use super::map_data;
use crate::{IfIndex, Vid, Vni};

/// The name of the way in: a hash of [`VlanKey`] to VNI (`u32`).
pub const NAME: &str = "VLANS";

/// The name of the way out: a hash of [`TagKey`] to VLAN id (`u32`).
pub const TAGS_NAME: &str = "TAGS";

/// VLANs that all trunk ports of an instance can have together.
pub const MAX_ENTRIES: usize = 1 << 16;

/// A VLAN of a trunk port.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
pub struct VlanKey {
    device: u32,
    vid: u32,
}

/// A segment that a trunk port has a VLAN for.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
pub struct TagKey {
    device: u32,
    vni: u32,
}

map_data!(VlanKey, TagKey);

impl VlanKey {
    /// The VLAN `vid` of the trunk port `device`.
    #[inline(always)]
    #[must_use]
    pub const fn new(device: IfIndex, vid: Vid) -> Self {
        Self { device: device.get(), vid: vid.get() as u32 }
    }

    /// The trunk port.
    #[must_use]
    pub const fn device(self) -> Option<IfIndex> {
        IfIndex::new(self.device)
    }

    /// The VLAN.
    #[must_use]
    pub const fn vid(self) -> Option<Vid> {
        Vid::new(self.vid as u16)
    }
}

impl TagKey {
    /// The segment `vni` on the trunk port `device`.
    #[inline(always)]
    #[must_use]
    pub const fn new(device: IfIndex, vni: Vni) -> Self {
        Self { device: device.get(), vni: vni.get() }
    }

    /// The trunk port.
    #[must_use]
    pub const fn device(self) -> Option<IfIndex> {
        IfIndex::new(self.device)
    }

    /// The segment.
    #[must_use]
    pub const fn vni(self) -> Option<Vni> {
        Vni::new(self.vni)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_round_trip(index in 1u32.., vid in 1u16..=4094, vni in 1u32..=0x00ff_ffff) {
            let (device, vid, vni) = (IfIndex::new(index).unwrap(), Vid::new(vid).unwrap(), Vni::new(vni).unwrap());
            let key = VlanKey::new(device, vid);
            prop_assert_eq!((key.device(), key.vid()), (Some(device), Some(vid)));
            let key = TagKey::new(device, vni);
            prop_assert_eq!((key.device(), key.vni()), (Some(device), Some(vni)));
        }
    }

    #[test]
    fn layout() {
        assert_eq!((size_of::<VlanKey>(), size_of::<TagKey>()), (8, 8));
    }
}

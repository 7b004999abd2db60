//! What an instance dropped, read from its map.

use std::cell::Cell;

use anyhow::{Context as _, Result};
use aya::maps::{Map, MapData, PerCpuArray};
use overlay_common::{DropReason, maps::drops};

use crate::overlay::Instance;

/// `DROPS`, and what was read last.
pub(crate) struct Drops {
    map: PerCpuArray<MapData, u64>,
    last: Cell<[u64; DropReason::COUNT]>,
}

impl Drops {
    /// Reads the map of an instance by itself: a command would take its time.
    pub(crate) fn open(instance: &Instance<'_>) -> Result<Self> {
        let path = instance.pins().join("maps").join(drops::NAME);
        let data = MapData::from_pin(&path).with_context(|| path.display().to_string())?;
        let map = PerCpuArray::try_from(Map::PerCpuArray(data))?;
        Ok(Self { map, last: Cell::new([0; DropReason::COUNT]) })
    }

    /// What has been counted since the last time.
    pub(crate) fn read(&self) -> Result<Vec<(DropReason, u64)>> {
        let mut now = [0; DropReason::COUNT];
        for (slot, reason) in now.iter_mut().zip(DropReason::ALL) {
            *slot = self.map.get(&reason.index(), 0)?.iter().sum();
        }
        let last = self.last.replace(now);
        let counts = DropReason::ALL.into_iter().zip(now.iter().zip(last).map(|(now, last)| now - last));
        Ok(counts.filter(|(_, count)| *count > 0).collect())
    }
}

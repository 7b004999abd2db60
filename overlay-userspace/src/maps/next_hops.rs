//! `NEXT_HOPS`.

use aya::{
    maps::{MapData, PerCpuArray, PerCpuValues},
    util::nr_cpus,
};
use bytemuck::Zeroable as _;
use overlay_common::{
    VtepId,
    maps::next_hop::{NAME, NextHop},
};

use super::open;
use crate::{
    error::{Context as _, Result},
    instance::Instance,
};

/// What each CPU last used for a remote VTEP.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn read(instance: &Instance, vtep: VtepId) -> Result<Vec<NextHop>> {
    let map: PerCpuArray<MapData, NextHop> = open(instance, NAME)?;
    let values = map.get(&vtep.index(), 0).context(|| format!("cannot read map {NAME}"))?;
    Ok(values.iter().copied().collect())
}

/// Makes every CPU ask the kernel again.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn forget(instance: &Instance, vtep: VtepId) -> Result<()> {
    let mut map: PerCpuArray<MapData, NextHop> = open(instance, NAME)?;
    let cpus = nr_cpus().map_err(|(what, error)| crate::Error::failed(what, error))?;
    let none =
        PerCpuValues::try_from(vec![NextHop::zeroed(); cpus]).context(|| "cannot forget a next hop")?;
    map.set(vtep.index(), none, 0).context(|| format!("cannot write map {NAME}"))
}

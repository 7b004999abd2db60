//! `PATH_MTUS`.

use aya::maps::{Array, MapData};
use overlay_common::{
    VtepId,
    maps::path_mtu::{NAME, PathMtu},
};

use super::open;
use crate::{
    error::{Context as _, Result},
    instance::Instance,
};

/// What the underlay said about packets to a remote VTEP.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn read(instance: &Instance, vtep: VtepId) -> Result<PathMtu> {
    let map: Array<MapData, PathMtu> = open(instance, NAME)?;
    map.get(&vtep.index(), 0).context(|| format!("cannot read map {NAME}"))
}

/// Forgets it.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn forget(instance: &Instance, vtep: VtepId) -> Result<()> {
    let mut map: Array<MapData, PathMtu> = open(instance, NAME)?;
    map.set(vtep.index(), PathMtu::default(), 0).context(|| format!("cannot write map {NAME}"))
}

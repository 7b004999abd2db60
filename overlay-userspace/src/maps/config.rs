//! `CONFIG`.

use aya::maps::{Array, MapData};
use overlay_common::maps::config::{Config, INDEX, NAME};

use super::open;
use crate::{
    error::{Context as _, Result},
    instance::Instance,
};

/// Reads it.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn read(instance: &Instance) -> Result<Config> {
    let map: Array<MapData, Config> = open(instance, NAME)?;
    map.get(&INDEX, 0).context(|| format!("cannot read map {NAME}"))
}

/// Writes it.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn write(instance: &Instance, config: &Config) -> Result<()> {
    let mut map: Array<MapData, Config> = open(instance, NAME)?;
    map.set(INDEX, config, 0).context(|| format!("cannot write map {NAME}"))
}

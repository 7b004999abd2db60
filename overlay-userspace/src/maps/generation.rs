//! `GENERATION`.

use aya::maps::{Array, MapData};
use overlay_common::maps::flow::{GENERATION, OF_COMMANDS};

use super::open;
use crate::{
    error::{Context as _, Result},
    instance::Instance,
};

/// Makes void what programs found out about flows: what they go by has changed. The instance is locked.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn begin(instance: &Instance) -> Result<()> {
    let mut map: Array<MapData, u64> = open(instance, GENERATION)?;
    let count = map.get(&OF_COMMANDS, 0).context(|| format!("cannot read map {GENERATION}"))?;
    map.set(OF_COMMANDS, count.wrapping_add(1), 0).context(|| format!("cannot write map {GENERATION}"))
}

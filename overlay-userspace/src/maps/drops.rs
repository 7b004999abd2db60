//! `DROPS`.

use aya::maps::{MapData, PerCpuArray};
use overlay_common::{DropReason, maps::drops::NAME};

use super::open;
use crate::{
    error::{Context as _, Result},
    instance::Instance,
};

/// How many frames were dropped for each reason.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn read(instance: &Instance) -> Result<Vec<(DropReason, u64)>> {
    let map: PerCpuArray<MapData, u64> = open(instance, NAME)?;
    DropReason::ALL
        .into_iter()
        .map(|reason| {
            let values = map.get(&reason.index(), 0).context(|| format!("cannot read map {NAME}"))?;
            Ok((reason, values.iter().sum()))
        })
        .collect()
}

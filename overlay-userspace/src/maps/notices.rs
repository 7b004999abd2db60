//! `NOTICES`.

use aya::maps::{MapData, PerCpuArray};
use overlay_common::{Notice, maps::notices::NAME};

use super::open;
use crate::{
    error::{Context as _, Result},
    instance::Instance,
};

/// How often the programs did what is neither forwarding nor dropping.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn read(instance: &Instance) -> Result<Vec<(Notice, u64)>> {
    let map: PerCpuArray<MapData, u64> = open(instance, NAME)?;
    Notice::ALL
        .into_iter()
        .map(|notice| {
            let values = map.get(&notice.index(), 0).context(|| format!("cannot read map {NAME}"))?;
            Ok((notice, values.iter().sum()))
        })
        .collect()
}

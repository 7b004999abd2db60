//! `NEIGHBOURS`.

use overlay_common::maps::neighbour::{NAME, Neighbour, NeighbourKey};

use super::Table;
use crate::{error::Result, instance::Instance};

/// Opens it: address to station.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn open(instance: &Instance) -> Result<Table<NeighbourKey, Neighbour>> {
    Table::open(instance, NAME)
}

/// Removes the entries that `unwanted` holds of; how many there were.
///
/// # Errors
///
/// Fails if the kernel does.
pub fn remove_where(
    instance: &Instance,
    unwanted: impl Fn(NeighbourKey, &Neighbour) -> bool,
) -> Result<usize> {
    let mut map = open(instance)?;
    let keys: Vec<_> = map.entries()?.into_iter().filter(|(key, entry)| unwanted(*key, entry)).collect();
    for (key, _) in &keys {
        map.remove(*key)?;
    }
    Ok(keys.len())
}

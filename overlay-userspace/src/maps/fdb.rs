//! `FDB`.

use overlay_common::maps::fdb::{FdbEntry, FdbKey, NAME};

use super::Table;
use crate::{error::Result, instance::Instance};

/// Opens it: station to place.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn open(instance: &Instance) -> Result<Table<FdbKey, FdbEntry>> {
    Table::open(instance, NAME)
}

/// Removes the entries that `unwanted` holds of; how many there were.
///
/// # Errors
///
/// Fails if the kernel does.
pub fn remove_where(instance: &Instance, unwanted: impl Fn(FdbKey, &FdbEntry) -> bool) -> Result<usize> {
    let mut fdb = open(instance)?;
    let keys: Vec<_> = fdb.entries()?.into_iter().filter(|(key, entry)| unwanted(*key, entry)).collect();
    for (key, _) in &keys {
        fdb.remove(*key)?;
    }
    Ok(keys.len())
}

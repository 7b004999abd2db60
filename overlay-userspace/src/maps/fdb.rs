//! `FDB`.

use aya::{
    maps::MapInfo,
    programs::{TestRun as _, TestRunOptions},
};
use overlay_common::{
    header::eth,
    maps::fdb::{FdbEntry, FdbKey, NAME, Removal},
};

use super::Table;
use crate::{
    datapath::{self, FDB_REMOVE},
    error::{Context as _, Error, Result},
    instance::Instance,
};

/// Opens it: station to place. Entries are removed by [`remove`] only, which keeps count of what is learned.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn open(instance: &Instance) -> Result<Table<FdbKey, FdbEntry>> {
    Table::open(instance, NAME)
}

/// How many stations it has room for.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn size(instance: &Instance) -> Result<u32> {
    let info = MapInfo::from_pin(instance.maps().join(NAME)).context(|| format!("cannot open map {NAME}"))?;
    Ok(info.max_entries())
}

/// Removes the entries that `removal` describes, in one system call; how many there were.
///
/// # Errors
///
/// Fails if the kernel does.
pub fn remove(instance: &Instance, removal: Removal) -> Result<u32> {
    let frame = [&[0; eth::LEN][..], bytemuck::bytes_of(&removal)].concat();
    let mut options = TestRunOptions::new();
    options.data_in = Some(&frame);
    let result = datapath::classifier(instance, FDB_REMOVE)?
        .test_run(options)
        .context(|| format!("cannot run program {FDB_REMOVE}"))?;
    match result.return_value {
        u32::MAX => Err(Error::Failed(format!("program {FDB_REMOVE} does not understand this command"))),
        removed => Ok(removed),
    }
}

/// The same where nothing adds such entries any more: none of them is left.
///
/// # Errors
///
/// Fails if the kernel does.
pub fn purge(instance: &Instance, removal: Removal) -> Result<()> {
    // A walk misses an entry if the kernel uses the memory of a removed one again meanwhile.
    while remove(instance, removal)? > 0 {}
    Ok(())
}

//! `FLOOD`.

use overlay_common::{
    Vni,
    maps::flood::{FloodList, Full, NAME},
};

use super::Table;
use crate::{
    error::{Error, Result},
    instance::Instance,
};

/// Opens it: VNI to receivers.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn open(instance: &Instance) -> Result<Table<u32, FloodList>> {
    Table::open(instance, NAME)
}

/// Changes the list of a segment.
///
/// # Errors
///
/// Fails if the list is full, or the segment is gone.
pub fn change(
    instance: &Instance,
    vni: Vni,
    change: impl FnOnce(&mut FloodList) -> Result<(), Full>,
) -> Result<()> {
    let mut table = open(instance)?;
    let mut list = table.get(vni.get())?.ok_or_else(|| Error::Missing(format!("there is no VNI {vni}")))?;
    change(&mut list).map_err(|Full| Error::Failed(format!("the flood list of VNI {vni} is full")))?;
    table.put(vni.get(), &list)
}

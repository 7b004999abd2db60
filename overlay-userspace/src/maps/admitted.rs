//! `ADMITTED` and `FREE_VTEPS`.

use aya::maps::{MapData, Queue};
use overlay_common::{
    VtepId,
    maps::{
        admitted::{Admitted, FREE_NAME, NAME, ids},
        member::MemberKey,
    },
};

use super::{Table, open as open_map};
use crate::{
    error::{Context as _, Result},
    instance::Instance,
};

/// Opens it: which VTEPs became members by themselves, and when.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn open(instance: &Instance) -> Result<Table<MemberKey, Admitted>> {
    Table::open(instance, NAME)
}

/// Fills the queue of free ids of a new instance.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn fill(instance: &Instance) -> Result<()> {
    ids().try_for_each(|id| give_back(instance, id))
}

/// Gives back the id of a VTEP that came by itself.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn give_back(instance: &Instance, id: VtepId) -> Result<()> {
    let mut queue: Queue<MapData, u32> = open_map(instance, FREE_NAME)?;
    queue.push(id.index(), 0).context(|| format!("cannot write map {FREE_NAME}"))
}

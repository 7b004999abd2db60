//! `NEIGHBOURS`.

use overlay_common::maps::{
    fdb::Placed,
    neighbour::{Edit, NAME, Neighbour, NeighbourKey},
};

use super::{
    Table,
    fdb::{misunderstood, run},
};
use crate::{
    datapath::{self, NEIGH_EDIT},
    error::Result,
    instance::Instance,
};

/// Opens it: address to station. Entries are put and removed by [`put`], [`remove`] and [`remove_where`] only, which keep
/// count of what is learned.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn open(instance: &Instance) -> Result<Table<NeighbourKey, Neighbour>> {
    Table::open(instance, NAME)
}

/// Puts an entry, whatever was learned of its neighbour; where the map is full, that of `way` makes way if it was learned.
/// One try, as [`super::fdb::put`] is.
///
/// # Errors
///
/// Fails if the kernel does.
pub fn put(
    instance: &Instance,
    key: NeighbourKey,
    entry: &Neighbour,
    way: Option<NeighbourKey>,
) -> Result<Placed> {
    let code = edit(instance, &[Edit::put(key, *entry, way)])?;
    Placed::from_code(code).ok_or_else(|| misunderstood(NEIGH_EDIT))
}

/// Removes an entry; `false`: there is none, or another CPU was about to change it.
///
/// # Errors
///
/// Fails if the kernel does.
pub fn remove(instance: &Instance, key: NeighbourKey) -> Result<bool> {
    Ok(edit(instance, &[Edit::remove(key, false)])? > 0)
}

/// The sum of what the program returns.
fn edit(instance: &Instance, edits: &[Edit]) -> Result<u32> {
    let program = datapath::classifier(instance, NEIGH_EDIT)?;
    let mut done = 0;
    for edit in edits {
        match run(&program, NEIGH_EDIT, bytemuck::bytes_of(edit))? {
            u32::MAX => return Err(misunderstood(NEIGH_EDIT)),
            code => done += code,
        }
    }
    Ok(done)
}

/// Removes the entries that `unwanted` holds of, only learned ones where that is said; how many there were.
///
/// # Errors
///
/// Fails if the kernel does.
pub fn remove_where(
    instance: &Instance,
    only_learned: bool,
    unwanted: impl Fn(NeighbourKey, &Neighbour) -> bool,
) -> Result<usize> {
    let unwanted = open(instance)?.entries()?.into_iter().filter(|(key, entry)| unwanted(*key, entry));
    let edits: Vec<_> = unwanted.map(|(key, _)| Edit::remove(key, only_learned)).collect();
    edit(instance, &edits).map(|removed| removed as usize)
}

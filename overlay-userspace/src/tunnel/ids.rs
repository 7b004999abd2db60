//! The ids of remote VTEPs: each VTEP has one, whether a command named it or it came by itself, and however many segments
//! reach it.

use overlay_common::{
    UnderlayAddr, Vni, VtepId,
    maps::{
        admitted,
        fdb::{Origin, Place, Removal},
        mdb::{Listener, MdbKey, Subject},
        member::{self, MemberKey},
        vtep::Vtep,
    },
};

use crate::{
    error::Result,
    fdb, grace,
    instance::Instance,
    maps::{self, vteps::Vteps},
};

/// Whether a segment still reaches a VTEP.
pub(super) fn is_used(instance: &Instance, id: VtepId) -> Result<bool> {
    Ok(maps::members(instance)?.entries()?.into_values().any(|other| member::id(other) == Some(id)))
}

/// Puts a VTEP into a free slot of those for VTEPs that commands name. From now on it is found there.
pub(super) fn claim(instance: &Instance, vtep: &Vtep) -> Result<VtepId> {
    let mut vteps = Vteps::open(instance)?;
    let id = vteps.free()?;
    maps::next_hops::forget(instance, id)?;
    if vtep.is_multipath() {
        maps::next_hops::forget_flows(instance)?;
    }
    maps::path_mtus::forget(instance, id)?;
    vteps.put(id, vtep)?;
    Ok(id)
}

/// Makes `id` the only one of the VTEP at `remote`, which programs may have given another one: every segment that it came
/// to by itself knows it by `id` from then on.
pub(super) fn unify(instance: &Instance, remote: UnderlayAddr, id: VtepId) -> Result<()> {
    let segments = maps::segments(instance)?.entries()?;
    if segments.into_values().all(|segment| segment.group(remote.family()).is_none()) {
        return Ok(());
    }
    // From then on nobody is given another one.
    grace::wait(instance)?;
    let vteps = Vteps::open(instance)?;
    for other in vteps.of(remote)?.into_iter().filter(|other| *other != id) {
        hand_over(instance, remote, other, id)?;
    }
    Ok(())
}

/// Frees the slot of a VTEP that no segment reaches any more.
pub(super) fn drop_vtep(instance: &Instance, id: VtepId) -> Result<()> {
    let mut vteps = Vteps::open(instance)?;
    let Some(vtep) = vteps.get(id)? else { return Ok(()) };
    if is_used(instance, id)? {
        return Ok(());
    }
    // Nobody is given it any more; then it shows whether somebody was just before.
    vteps.unlist(id, vtep.remote())?;
    grace::wait(instance)?;
    if !is_used(instance, id)? {
        return free(instance, &mut vteps, id);
    }
    match vteps.list(id, vtep.remote())? {
        Some(other) => hand_over(instance, vtep.remote(), id, other),
        None => Ok(()),
    }
}

/// Has the segments that know the VTEP at `remote` by an id which nobody is given any more know it by another one, and
/// frees the slot of the first.
fn hand_over(instance: &Instance, remote: UnderlayAddr, from: VtepId, to: VtepId) -> Result<()> {
    let mut members = maps::members(instance)?;
    let is_moved = |key: &MemberKey, id: u32| key.remote() == remote && id == from.index();
    let moved: Vec<_> = members.entries()?.into_iter().filter(|(key, id)| is_moved(key, *id)).collect();
    for (key, _) in &moved {
        if let Some(vni) = key.vni() {
            maps::counters::start(instance, vni, Some(to))?;
        }
        members.put(*key, &to.index())?;
    }
    grace::wait(instance)?;
    for vni in moved.iter().filter_map(|(key, _)| key.vni()) {
        move_listeners(instance, vni, from, to)?;
        move_stations(instance, vni, from, to)?;
        maps::counters::stop(instance, vni, Some(from))?;
    }
    free(instance, &mut Vteps::open(instance)?, from)
}

fn move_listeners(instance: &Instance, vni: Vni, from: VtepId, to: VtepId) -> Result<()> {
    let mut mdb = maps::mdb(instance)?;
    for (key, entry) in mdb.entries()? {
        if key.vni() != Some(vni) || key.listener() != Some(Listener::Vtep(from)) {
            continue;
        }
        let moved = match key.subject() {
            Subject::Listener(group, _) => Subject::Listener(group, Listener::Vtep(to)),
            Subject::Router(family, _) => Subject::Router(family, Listener::Vtep(to)),
            Subject::Group(_) | Subject::Querier(_) => continue,
        };
        mdb.remove(key)?;
        mdb.add(MdbKey::new(vni, moved), &entry)?;
    }
    Ok(())
}

/// Those that are learned are learned again with their next frame.
fn move_stations(instance: &Instance, vni: Vni, from: VtepId, to: VtepId) -> Result<()> {
    for (key, entry) in maps::fdb::open(instance)?.entries()? {
        let is_moved = key.vni() == Some(vni) && entry.place(vni) == Some(Place::Vtep(from));
        if is_moved && entry.origin() != Origin::Learned {
            fdb::put(instance, vni, key.mac(), (Place::Vtep(to), entry.origin()), fdb::Known::Moves)?;
        }
    }
    maps::fdb::purge(instance, Removal::ALL.vni(vni).vtep(from))
}

/// Empties a slot that nobody knows of any more, and gives its id back if it is of those that programs give.
fn free(instance: &Instance, vteps: &mut Vteps, id: VtepId) -> Result<()> {
    if vteps.get(id)?.is_none() {
        return Ok(());
    }
    vteps.clear(id)?;
    maps::next_hops::forget(instance, id)?;
    maps::path_mtus::forget(instance, id)?;
    if admitted::is_one(id) { maps::admitted::give_back(instance, id) } else { Ok(()) }
}

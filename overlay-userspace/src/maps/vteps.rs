//! `VTEPS`.

use std::os::fd::{AsFd as _, OwnedFd};

use aya::maps::{Array, Map, MapData, MapInfo};
use overlay_common::{
    UnderlayAddr, VtepId,
    maps::{
        admitted, member,
        vtep::{self, NAME, Vtep},
    },
};

use super::{Added, Table, batch, data, vtep_ids};
use crate::{
    error::{Context as _, Error, Result},
    instance::Instance,
};

/// The remote VTEPs, and `VTEP_IDS`, by which they are found.
pub struct Vteps {
    map: Array<MapData, Vtep>,
    fd: OwnedFd,
    ids: Table<UnderlayAddr, u32>,
}

impl Vteps {
    /// Opens the map.
    ///
    /// # Errors
    ///
    /// Fails if it is gone.
    pub fn open(instance: &Instance) -> Result<Self> {
        let what = || format!("cannot open map {NAME}");
        let data = data(instance, NAME)?;
        let fd = data.fd().as_fd().try_clone_to_owned().context(what)?;
        let map = Map::from_map_data(data).and_then(Array::try_from).context(what)?;
        Ok(Self { map, fd, ids: vtep_ids(instance)? })
    }

    /// All slots, by id, those that are empty included.
    fn slots(&self) -> Result<Vec<(VtepId, Vtep)>> {
        let mut slots = Vec::new();
        let visit = |keys: &[u32], values: &[Vtep]| {
            let id = |key: u32| u16::try_from(key).ok().and_then(VtepId::new);
            slots.extend(keys.iter().zip(values).filter_map(|(key, vtep)| Some((id(*key)?, *vtep))));
        };
        batch::for_each(self.fd.as_fd(), visit).context(|| format!("cannot read map {NAME}"))?;
        Ok(slots)
    }

    /// The VTEP with that id, if there is one.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does.
    pub fn get(&self, id: VtepId) -> Result<Option<Vtep>> {
        let vtep = self.map.get(&id.index(), 0).context(|| format!("cannot read map {NAME}"))?;
        Ok(vtep.is_some().then_some(vtep))
    }

    /// All of them.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does.
    pub fn all(&self) -> Result<Vec<(VtepId, Vtep)>> {
        let listed = self.ids.entries()?;
        let is_listed = |id: VtepId, vtep: &Vtep| listed.get(&vtep.remote()) == Some(&id.index());
        Ok(self.slots()?.into_iter().filter(|(id, vtep)| vtep.is_some() && is_listed(*id, vtep)).collect())
    }

    /// The VTEP at `remote` and its id, if there is one.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does.
    pub fn find(&self, remote: UnderlayAddr) -> Result<Option<(VtepId, Vtep)>> {
        let Some(id) = self.ids.get(remote)?.and_then(member::id) else { return Ok(None) };
        Ok(self.get(id)?.filter(|vtep| vtep.remote() == remote).map(|vtep| (id, vtep)))
    }

    /// An id that no VTEP has, nor will have by coming by itself.
    ///
    /// # Errors
    ///
    /// Fails if there are as many as there can be.
    pub fn free(&self) -> Result<VtepId> {
        let is_free = |(id, vtep): &(VtepId, Vtep)| !vtep.is_some() && !admitted::is_one(*id);
        self.slots()?.into_iter().find(is_free).map(|(id, _)| id).ok_or_else(|| {
            Error::Failed(format!(
                "map {NAME} is full; remove tunnels first, or take `overlay up --max-vteps`"
            ))
        })
    }

    /// Writes the VTEP with that id, first how it is found: an id that nothing came of does not count.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does.
    pub fn put(&mut self, id: VtepId, vtep: &Vtep) -> Result<()> {
        self.ids.put(vtep.remote(), &id.index())?;
        self.set(id, vtep)
    }

    fn set(&mut self, id: VtepId, vtep: &Vtep) -> Result<()> {
        self.map.set(id.index(), vtep, 0).context(|| format!("cannot write map {NAME}"))
    }

    /// Empties the slot of an id.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does.
    pub fn clear(&mut self, id: VtepId) -> Result<()> {
        let Some(vtep) = self.get(id)? else { return Ok(()) };
        self.set(id, &Vtep::none())?;
        self.unlist(id, vtep.remote())
    }

    /// Lets the VTEP at `remote` be found by that id no more, if it is.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does.
    pub fn unlist(&mut self, id: VtepId, remote: UnderlayAddr) -> Result<()> {
        if self.ids.get(remote)? == Some(id.index()) {
            self.ids.remove(remote)?;
        }
        Ok(())
    }

    /// Lets the VTEP at `remote` be found by that id, unless it is by another one, which is returned.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does.
    pub fn list(&mut self, id: VtepId, remote: UnderlayAddr) -> Result<Option<VtepId>> {
        match self.ids.add(remote, &id.index())? {
            Added::Known => Ok(self.ids.get(remote)?.and_then(member::id).filter(|other| *other != id)),
            Added::New | Added::Full => Ok(None),
        }
    }

    /// All slots that have the VTEP at `remote`; normally one.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does.
    pub fn of(&self, remote: UnderlayAddr) -> Result<Vec<VtepId>> {
        let is_it = |(id, vtep): (VtepId, Vtep)| (vtep.remote() == remote).then_some(id);
        Ok(self.slots()?.into_iter().filter_map(is_it).collect())
    }
}

/// How many remote VTEPs commands can name.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn size(instance: &Instance) -> Result<u32> {
    let info = MapInfo::from_pin(instance.maps().join(NAME)).context(|| format!("cannot open map {NAME}"))?;
    Ok(vtep::named(info.max_entries()))
}

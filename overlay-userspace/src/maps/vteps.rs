//! `VTEPS`.

use aya::maps::{Array, MapData};
use overlay_common::{
    UnderlayAddr, VtepId,
    maps::{
        admitted, member,
        vtep::{MAX_ENTRIES, NAME, Vtep},
    },
};

use super::{Added, Table, open, vtep_ids};
use crate::{
    error::{Context as _, Error, Result},
    instance::Instance,
};

/// The remote VTEPs, and `VTEP_IDS`, by which they are found.
pub struct Vteps {
    map: Array<MapData, Vtep>,
    ids: Table<UnderlayAddr, u32>,
}

impl Vteps {
    /// Opens the map.
    ///
    /// # Errors
    ///
    /// Fails if it is gone.
    pub fn open(instance: &Instance) -> Result<Self> {
        Ok(Self { map: open(instance, NAME)?, ids: vtep_ids(instance)? })
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
        let mut all = Vec::new();
        for (remote, id) in self.ids.entries()? {
            let Some(id) = member::id(id) else { continue };
            if let Some(vtep) = self.get(id)?.filter(|vtep| vtep.remote() == remote) {
                all.push((id, vtep));
            }
        }
        all.sort_unstable_by_key(|(id, _)| *id);
        Ok(all)
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
        for id in ids().filter(|id| !admitted::is_one(*id)) {
            if self.get(id)?.is_none() {
                return Ok(id);
            }
        }
        Err(Error::Failed(format!("map {NAME} is full; remove tunnels first")))
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
        let mut all = Vec::new();
        for id in ids() {
            if self.get(id)?.is_some_and(|vtep| vtep.remote() == remote) {
                all.push(id);
            }
        }
        Ok(all)
    }
}

/// Every id there can be.
fn ids() -> impl Iterator<Item = VtepId> {
    (1..u16::try_from(MAX_ENTRIES).unwrap_or(u16::MAX)).filter_map(VtepId::new)
}

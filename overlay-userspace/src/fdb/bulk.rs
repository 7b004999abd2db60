//! Many stations at once, all or none.

use std::collections::{BTreeMap, HashSet};

use overlay_common::{
    MacAddr, Vni,
    maps::fdb::{FdbEntry, FdbKey, Origin, Place, Placing},
};

use super::{
    Known,
    edit::{Incomplete, edit},
    refuse_elsewhere, refuse_group,
};
use crate::{
    error::{Error, Result},
    instance::Instance,
    maps,
};

/// More keys than this are looked up by reading the whole map.
const FEW: usize = 256;

/// What is to become of a station.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its segment.
    pub vni: Vni,
    /// Its address.
    pub mac: MacAddr,
    /// Where it is to be.
    pub to: To,
}

/// Where a station is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// There, whatever it was before, or not.
    Place(Place, Known),
    /// Nowhere: it is to be forgotten.
    Nowhere {
        /// Whether it need not be there.
        missing_ok: bool,
    },
}

/// Why changes were not made: none of them is.
#[derive(Debug)]
pub struct Fault {
    /// Which of the changes was the reason, counted from 0; `None`: none in particular.
    pub at: Option<usize>,
    /// What was wrong with it.
    pub error: Error,
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        fault.error
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self { at: None, error }
    }
}

impl Change {
    const fn key(&self) -> FdbKey {
        FdbKey::new(self.vni, self.mac)
    }
}

/// Puts stations where they are said to be for good, and forgets some: in some 300 ns each, in order, and all or none. Frames
/// go by the old entry or the new one of a station all along. Places have to be those of ports and tunnels of their segments,
/// as [`super::place`] finds them.
///
/// # Errors
///
/// Nothing is changed where a station is named twice, cannot be one, is not there to be forgotten ([`Error::Missing`]), or is
/// there and [`Known::Stays`] ([`Error::Exists`], [`Error::Conflict`]). Where there is no room for all, what was done is undone,
/// but for stations that were learned: those are learned again.
pub fn change_all(instance: &Instance, changes: &[Change]) -> Result<(), Fault> {
    refuse_twice(changes)?;
    let waiting = maps::parked(instance)?.entries()?;
    let before = known(instance, changes)?;
    let at = |at: usize| move |error| Fault { at: Some(at), error };
    let mut placings = Vec::with_capacity(changes.len());
    for (index, change) in changes.iter().enumerate() {
        let known = before.get(&change.key());
        let is_waiting = waiting.contains_key(&change.key());
        placings.extend(placing(change, known, is_waiting).map_err(at(index))?);
    }
    if let Err(Incomplete { done, error }) = edit(instance, &placings) {
        undo(instance, &placings[..done], &before);
        // Stations that wait for a port, and are to be forgotten, have no placing of their own.
        let is_each = placings.len() == changes.len();
        return Err(Fault { at: Some(done).filter(|_| is_each), error });
    }
    let mut parked = maps::parked(instance)?;
    for change in changes.iter().filter(|change| waiting.contains_key(&change.key())) {
        parked.remove(change.key())?;
    }
    Ok(())
}

fn refuse_twice(changes: &[Change]) -> Result<(), Fault> {
    let mut seen = HashSet::with_capacity(changes.len());
    for (index, change) in changes.iter().enumerate() {
        if !seen.insert(change.key()) {
            let error =
                Error::Usage(format!("{} of VNI {} is named twice; name it once", change.mac, change.vni));
            return Err(Fault { at: Some(index), error });
        }
    }
    Ok(())
}

/// The entries that there are of the stations.
fn known(instance: &Instance, changes: &[Change]) -> Result<BTreeMap<FdbKey, FdbEntry>> {
    let fdb = maps::fdb::open(instance)?;
    if changes.len() > FEW {
        return fdb.entries();
    }
    let mut known = BTreeMap::new();
    for change in changes {
        if let Some(entry) = fdb.get(change.key())? {
            known.insert(change.key(), entry);
        }
    }
    Ok(known)
}

/// What the program is asked to do, if that is anything.
fn placing(change: &Change, known: Option<&FdbEntry>, is_waiting: bool) -> Result<Option<Placing>> {
    let Change { vni, mac, to } = *change;
    let (place, policy) = match (to, known) {
        (To::Place(place, policy), _) => (place, policy),
        (To::Nowhere { .. }, Some(entry)) => return Ok(Some(Placing::removal(mac, entry.standing()))),
        (To::Nowhere { missing_ok }, None) if missing_ok || is_waiting => return Ok(None),
        (To::Nowhere { .. }, None) => return Err(super::missing(vni, mac)),
    };
    refuse_group(mac)?;
    if policy != Known::Moves {
        match refuse_elsewhere(vni, mac, place, known) {
            Err(Error::Exists(_)) if policy == Known::StaysIfSame => return Ok(None),
            refused => refused?,
        }
    }
    Ok(Some(Placing::new(vni, mac, place, Origin::Static)))
}

/// Takes back what was done. Its own failures have nobody left to tell.
fn undo(instance: &Instance, done: &[Placing], before: &BTreeMap<FdbKey, FdbEntry>) {
    let back = |placing: &Placing| {
        let (vni, key) = placing.station()?;
        let known = before.get(&key).filter(|entry| entry.origin() != Origin::Learned);
        match known.and_then(|entry| Some((entry.place(vni)?, entry.origin()))) {
            Some((place, origin)) => Some(Placing::new(vni, key.mac(), place, origin)),
            None => Some(Placing::removal(key.mac(), placing.standing())),
        }
    };
    let back: Vec<Placing> = done.iter().rev().filter_map(back).collect();
    let _ = edit(instance, &back);
}

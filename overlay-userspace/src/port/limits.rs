//! What a port may do: how many stations can be learned behind it, and how much it may have flooded.

use overlay_common::{
    IfIndex,
    maps::{bum_rate::BumRate, device::DeviceName, learned::LearnedKey, port::Port},
};

use super::find;
use crate::{
    error::{Error, Result},
    fdb,
    instance::Instance,
    maps,
    membership::Membership,
};

/// What a port may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// How many stations can be learned behind it at a time; 0: any number.
    pub stations: u32,
    /// Packets per second that it may have flooded, up to [`MAX_RATE`](overlay_common::maps::bum_rate::MAX_RATE); 0: any number.
    pub bum_rate: u32,
}

impl Limits {
    pub(super) const fn of(self, port: Port) -> Port {
        port.with_learn_limit(self.stations).with_bum_rate(self.bum_rate)
    }

    /// Refuses a name that is wanted already: as a conflict, if it is a port with other limits than these, where there are any.
    pub(super) fn refuse_taken(
        self,
        member: &Membership,
        instance: &Instance,
        key: DeviceName,
    ) -> Result<()> {
        let taken = member.refuse_taken(instance, key);
        let Err(Error::Exists(message)) = taken else { return taken };
        let (_, _, port) = find(instance, key.as_str())?;
        let is_other = |asked: u32, has: u32| asked != 0 && asked != has;
        let others = is_other(self.stations, port.learn_limit()) || is_other(self.bum_rate, port.bum_rate());
        Err(if others {
            Error::Conflict(format!(
                "{} is a port already with other limits; `overlay port set` changes them",
                key.as_str()
            ))
        } else {
            Error::Exists(message)
        })
    }
}

/// Changes the limits of a port; `None` leaves one as it is.
///
/// # Errors
///
/// [`Error::Missing`] if it is no port; [`Error::Failed`] if more stations are learned than shall be.
pub fn set(instance: &Instance, name: &str, stations: Option<u32>, bum_rate: Option<u32>) -> Result<()> {
    let (key, device, port) = find(instance, name)?;
    let settings = Limits {
        stations: stations.unwrap_or(port.learn_limit()),
        bum_rate: bum_rate.unwrap_or(port.bum_rate()),
    }
    .of(port);
    if let Some(index) = device.index() {
        if let Some(limit) = stations {
            let learned = maps::learned::count(instance, LearnedKey::port(index))?;
            fdb::check_limit(limit, learned, name, &format!("--port {name}"))?;
        }
        maps::ports(instance)?.put(index.get(), &settings)?;
        if bum_rate.is_some() {
            apply(instance, index, settings)?;
        }
    }
    maps::devices(instance)?.put(key, &device.with_port(settings))
}

/// Limits what the port at a device may have flooded.
pub(super) fn apply(instance: &Instance, device: IfIndex, port: Port) -> Result<()> {
    let mut rates = maps::bum_rates(instance)?;
    match BumRate::new(port.bum_rate()) {
        Some(rate) => rates.put(device.get(), &rate),
        None => rates.remove(device.get()).map(drop),
    }
}

//! What a port may do: how many stations can be learned behind it, how much it may have flooded, and whether XDP feeds it.

use overlay_common::{
    IfIndex,
    maps::{bum_rate::BumRate, device::DeviceName, learned::LearnedKey, port::Port},
};

use super::{feed, find};
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
    /// Whether frames out of tunnels go straight to its device from XDP.
    pub xdp_redirect: bool,
}

/// What shall become of what a port may do; `None` leaves it as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// As [`Limits::stations`].
    pub stations: Option<u32>,
    /// As [`Limits::bum_rate`].
    pub bum_rate: Option<u32>,
    /// As [`Limits::xdp_redirect`].
    pub xdp_redirect: Option<bool>,
}

impl Limits {
    /// What has to become of these for them to be those.
    pub(crate) fn change_to(self, other: Self) -> Change {
        Change {
            stations: (self.stations != other.stations).then_some(other.stations),
            bum_rate: (self.bum_rate != other.bum_rate).then_some(other.bum_rate),
            xdp_redirect: (self.xdp_redirect != other.xdp_redirect).then_some(other.xdp_redirect),
        }
    }

    pub(super) const fn of(self, port: Port) -> Port {
        port.with_learn_limit(self.stations).with_bum_rate(self.bum_rate).with_xdp_redirect(self.xdp_redirect)
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
        let others = is_other(self.stations, port.learn_limit())
            || is_other(self.bum_rate, port.bum_rate())
            || self.xdp_redirect && !port.xdp_redirect();
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

/// Changes what a port may do.
///
/// # Errors
///
/// [`Error::Missing`] if it is no port; [`Error::Failed`] if more stations are learned than shall be, or XDP cannot feed it.
pub fn set(instance: &Instance, name: &str, change: Change) -> Result<()> {
    let Change { stations, bum_rate, xdp_redirect } = change;
    let (key, device, port) = find(instance, name)?;
    let mut settings = Limits {
        stations: stations.unwrap_or(port.learn_limit()),
        bum_rate: bum_rate.unwrap_or(port.bum_rate()),
        xdp_redirect: xdp_redirect.unwrap_or(port.xdp_redirect()),
    }
    .of(port);
    if let Some(index) = device.index() {
        if xdp_redirect == Some(true) {
            feed::check(key.as_str(), index, settings)?;
        }
        settings = feed::noted(index, settings);
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

//! Tunnels that are asked for again.

use std::net::IpAddr;

use overlay_common::{
    MacAddr, UnderlayAddr, Vni,
    maps::{
        config::Config,
        fdb::{Place, Removal},
        member::{self, MemberKey},
    },
};

use super::{Settings, refuse_other, refuse_other_port};
use crate::{
    error::{Error, Result},
    fdb,
    instance::Instance,
    maps::{self, vteps::Vteps},
    undo::Undo,
};

/// Refuses settings that are not those of the VTEP of a tunnel that is there.
pub(super) fn refuse_changed(
    instance: &Instance,
    config: &Config,
    remote: IpAddr,
    settings: Settings,
) -> Result<()> {
    let Some((_, vtep)) = Vteps::open(instance)?.find(UnderlayAddr::from(remote))? else { return Ok(()) };
    refuse_other(&vtep, remote, settings)?;
    refuse_other_port(&vtep, remote, settings.port.unwrap_or(config.port()))
}

/// Puts those of `macs` behind the remote VTEP of a tunnel that are not there yet.
///
/// # Errors
///
/// [`Error::Conflict`], with nothing changed, if a command or a control plane put one of them elsewhere;
/// [`Error::Missing`] if there is no such tunnel.
pub fn complete(instance: &Instance, vni: Vni, remote: IpAddr, macs: &[MacAddr]) -> Result<()> {
    let remote = remote.to_canonical();
    let id = maps::members(instance)?.get(MemberKey::new(vni, remote.into()))?.and_then(member::id);
    let id = id.ok_or_else(|| Error::Missing(format!("VNI {vni} has no tunnel to {remote} any more")))?;
    let mut undo = Undo::new();
    for mac in macs {
        match fdb::add_static(instance, vni, *mac, Place::Vtep(id)) {
            Ok(()) => undo.push(move || {
                let _ = maps::fdb::remove(instance, Removal::ALL.vni(vni).mac(*mac));
            }),
            Err(Error::Exists(_)) => {}
            Err(error) => return Err(error),
        }
    }
    undo.disarm();
    Ok(())
}

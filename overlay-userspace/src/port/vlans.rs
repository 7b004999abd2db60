//! The VLANs of trunk ports: they wait where a port's device goes away.

use overlay_common::{
    IfIndex, Vid, Vni,
    maps::{
        device::{Device, DeviceName},
        parked::ParkedVlan,
        port::Port,
    },
};

use crate::{
    error::Result,
    instance::Instance,
    maps::{self, Added},
    trunk::{self, VlanMap},
};

/// Which VLANs of the port of that name are which segments; `None`: it is no trunk. Where its device is gone, they wait.
pub(crate) fn of(
    instance: &Instance,
    name: DeviceName,
    device: &Device,
    port: Port,
) -> Result<Option<VlanMap>> {
    match device.index() {
        Some(index) => trunk::map_of(instance, index, port),
        None if port.is_trunk() => waiting(instance, name).map(Some),
        None => Ok(None),
    }
}

/// Notes the VLANs of a trunk port's device as waiting for the port of that name; how many do not fit.
pub(crate) fn park(instance: &Instance, name: DeviceName, device: IfIndex, port: Port) -> Result<usize> {
    let mut parked = maps::parked_vlans(instance)?;
    let mut lost = 0;
    for (vid, vni) in trunk::map_of(instance, device, port)?.iter().flat_map(VlanMap::iter) {
        let key = ParkedVlan::new(name, vid);
        match parked.add(key, &vni.get())? {
            Added::New => {}
            Added::Known => parked.put(key, &vni.get())?,
            Added::Full => lost += 1,
        }
    }
    Ok(lost)
}

/// Lets the VLANs that wait for the port of that name into their segments by its device.
pub(crate) fn unpark(instance: &Instance, name: DeviceName, device: IfIndex) -> Result<()> {
    let vlans = waiting(instance, name)?;
    if let Err(error) = trunk::map(instance, device, &vlans) {
        let _ = trunk::withdraw(instance, device, &vlans);
        return Err(error);
    }
    forget_parked(instance, name)
}

/// Forgets the VLANs that wait for the port of that name.
pub(crate) fn forget_parked(instance: &Instance, name: DeviceName) -> Result<()> {
    let mut parked = maps::parked_vlans(instance)?;
    for (vid, _) in waiting(instance, name)?.iter() {
        parked.remove(ParkedVlan::new(name, vid))?;
    }
    Ok(())
}

/// The trunk ports that VLANs of a segment wait for.
pub(crate) fn waited_for(instance: &Instance, vni: Vni) -> Result<Vec<DeviceName>> {
    let all = maps::parked_vlans(instance)?.entries()?.into_iter();
    Ok(all.filter(|(_, of)| *of == vni.get()).map(|(key, _)| key.port()).collect())
}

fn waiting(instance: &Instance, name: DeviceName) -> Result<VlanMap> {
    let pair = |(key, vni): (ParkedVlan, u32)| -> Option<(Vid, Vni)> {
        let pair = (key.vid()?, Vni::new(vni)?);
        (key.port() == name).then_some(pair)
    };
    Ok(maps::parked_vlans(instance)?.entries()?.into_iter().filter_map(pair).collect())
}

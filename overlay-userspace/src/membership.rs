//! Which segments a port is in.

use overlay_common::{
    Vni,
    maps::{
        device::{DeviceName, Role},
        port::{Port, PortKind},
    },
};

use crate::{
    error::{Error, Result},
    instance::Instance,
    maps,
    port::vlans,
    trunk::VlanMap,
};

/// Which segments a port shall be in.
#[derive(Clone, Debug)]
pub enum Membership {
    /// One.
    Segment(Vni),
    /// One for each of its VLANs, and perhaps one for frames without a tag.
    Trunk(Option<Vni>, VlanMap),
}

impl Membership {
    /// The port.
    pub(crate) fn port(&self, kind: PortKind) -> Port {
        match self {
            Self::Segment(vni) => Port::new(*vni, kind),
            Self::Trunk(native, _) => Port::trunk(*native, kind),
        }
    }

    /// All of the segments.
    pub(crate) fn vnis(&self) -> impl Iterator<Item = Vni> {
        let (native, vlans) = match self {
            Self::Segment(vni) => (Some(*vni), None),
            Self::Trunk(native, vlans) => (*native, Some(vlans)),
        };
        native.into_iter().chain(vlans.into_iter().flat_map(VlanMap::iter).map(|(_, vni)| vni))
    }

    /// Refuses a name that is wanted by this instance already.
    pub(crate) fn refuse_taken(&self, instance: &Instance, key: DeviceName) -> Result<()> {
        let name = key.as_str();
        let Some(device) = maps::devices(instance)?.get(key)? else { return Ok(()) };
        let Role::Port(port) = device.role() else {
            return Err(Error::Failed(format!("{name} is an uplink, and cannot be a port too")));
        };
        let vlans = vlans::of(instance, key, &device, port)?;
        let same = match self {
            Self::Segment(vni) => !port.is_trunk() && port.vni() == Some(*vni),
            Self::Trunk(native, map) => port.vni() == *native && vlans.as_ref() == Some(map),
        };
        let what = match (port.vni(), vlans) {
            (Some(own), None) => format!("a port of VNI {own}"),
            _ => "a trunk port".to_owned(),
        };
        let message = format!("{name} is {what} already; `overlay port del {name}` first");
        Err(if same { Error::Exists(message) } else { Error::Conflict(message) })
    }
}

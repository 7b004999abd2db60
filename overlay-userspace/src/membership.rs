//! Which segments a port is in.

use overlay_common::{
    Vni,
    maps::port::{Port, PortKind},
};

use crate::{
    error::{Error, Result},
    instance::Instance,
    maps,
    netlink::Link,
    trunk::{self, VlanMap},
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

    /// Refuses a device that is a port of this instance already.
    pub(crate) fn refuse_taken(&self, instance: &Instance, link: &Link) -> Result<()> {
        let Some(port) = maps::ports(instance)?.get(link.index.get())? else { return Ok(()) };
        let vlans = trunk::map_of(instance, link.index, port)?;
        let same = match self {
            Self::Segment(vni) => !port.is_trunk() && port.vni() == Some(*vni),
            Self::Trunk(native, map) => port.vni() == *native && vlans.as_ref() == Some(map),
        };
        let name = &link.name;
        let what = match (port.vni(), vlans) {
            (Some(own), None) => format!("a port of VNI {own}"),
            _ => "a trunk port".to_owned(),
        };
        let message = format!("{name} is {what} already; `overlay port del {name}` first");
        Err(if same { Error::Exists(message) } else { Error::Conflict(message) })
    }
}

//! Which remote VTEPs a way leads to, as repair looks at it, but changing nothing.

use std::collections::BTreeMap;

use overlay_common::{IfIndex, UnderlayAddr};

use crate::{
    error::Result,
    instance::Instance,
    maps::{self, vteps::Vteps},
    netlink::Netlink,
};

/// Remote VTEPs that are looked at; there may be ten thousand, and each is a question to the kernel.
const MOST: usize = 1024;

/// Whether packets can get to a remote VTEP, as far as the host's routes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// A route by an uplink leads there.
    Reached,
    /// No route does.
    NoRoute,
    /// The route leaves by a device that is no uplink.
    NotAnUplink,
    /// It is a multicast group.
    Group,
}

impl Reach {
    /// In a word or two.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Reached => "yes",
            Self::NoRoute => "no route",
            Self::NotAnUplink => "no uplink",
            Self::Group => "group",
        }
    }

    /// Whether packets get nowhere.
    pub(crate) const fn is_amiss(self) -> bool {
        matches!(self, Self::NoRoute | Self::NotAnUplink)
    }
}

/// Looks at them, [`MOST`] at most.
///
/// # Errors
///
/// Fails if a map is gone.
pub(crate) async fn look(name: &str, netlink: &Netlink) -> Result<BTreeMap<UnderlayAddr, Reach>> {
    let instance = Instance::watch(name)?;
    let uplinks = maps::uplinks(&instance)?.entries()?;
    let is_uplink = |device: IfIndex| uplinks.contains_key(&device.get());
    let mut all = BTreeMap::new();
    for (_, vtep) in Vteps::open(&instance)?.all()?.into_iter().take(MOST) {
        let remote = vtep.remote();
        let reach = if vtep.is_group() { Reach::Group } else { of(remote, netlink, is_uplink).await };
        all.insert(remote, reach);
    }
    Ok(all)
}

async fn of(remote: UnderlayAddr, netlink: &Netlink, is_uplink: impl Fn(IfIndex) -> bool) -> Reach {
    match netlink.route(remote.ip()).await {
        None => Reach::NoRoute,
        Some(route) if is_uplink(route.device) => Reach::Reached,
        Some(_) => {
            let ways = netlink.equal_routes(remote.ip()).await;
            let is_served = ways.iter().any(|way| is_uplink(way.device));
            if is_served { Reach::Reached } else { Reach::NotAnUplink }
        }
    }
}

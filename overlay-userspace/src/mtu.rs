//! What fits into the tunnels of a segment, as far as the uplinks' own MTUs tell.

use std::collections::BTreeSet;

use overlay_common::{
    Vni, VtepId,
    header::{eth, outer},
    maps::config::Config,
};

use crate::{
    error::{Error, Result},
    instance::Instance,
    maps::{self, vteps::Vteps},
    netlink::{Link, Netlink},
    segment::Change,
};

/// The smallest MTU of IPv4 (RFC 791, section 3.2).
pub const SMALLEST: u16 = 68;

/// What an uplink leaves for a workload's packets.
pub(crate) struct Fit<'a> {
    /// Bytes of the largest IP packet of a workload.
    pub(crate) room: u32,
    pub(crate) uplink: &'a Link,
}

impl<'a> Fit<'a> {
    fn new(uplink: &'a Link, overhead: usize) -> Option<Self> {
        let overhead = u32::try_from(overhead + eth::LEN).ok()?;
        Some(Self { room: uplink.mtu.checked_sub(overhead)?, uplink })
    }
}

/// What fits each tunnel of some segments; where they have none, the best tunnel that they could have.
pub(crate) fn fits<'a>(instance: &Instance, links: &'a [Link], vnis: &[Vni]) -> Result<Vec<Fit<'a>>> {
    let link = |index: u32| links.iter().find(move |link| link.index.get() == index);
    let vteps = Vteps::open(instance)?;
    let mut fits = Vec::new();
    for (key, id) in maps::members(instance)?.entries()? {
        let id = u16::try_from(id).ok().and_then(VtepId::new);
        let Some(id) = id.filter(|_| key.vni().is_some_and(|vni| vnis.contains(&vni))) else { continue };
        let Some(vtep) = vteps.get(id)? else { continue };
        let uplink = vtep.uplink().and_then(|uplink| link(uplink.get()));
        fits.extend(uplink.and_then(|uplink| Fit::new(uplink, outer::overhead(vtep.family()))));
    }
    if fits.is_empty() {
        let uplinks = maps::uplinks(instance)?.entries()?.into_keys().collect();
        fits.extend(possible(&instance.config()?, &uplinks, links));
    }
    Ok(fits)
}

/// What fits the best tunnel that there could be by some uplinks.
fn possible<'a>(config: &Config, uplinks: &BTreeSet<u32>, links: &'a [Link]) -> Option<Fit<'a>> {
    let overhead = config.locals().iter().map(|local| outer::overhead(local.family())).min()?;
    let served = links.iter().filter(|link| uplinks.contains(&link.index.get()));
    served.filter_map(|uplink| Fit::new(uplink, overhead)).max_by_key(|fit| fit.room)
}

/// Checks that some tunnel of the segment can have the MTU that it shall get.
///
/// # Errors
///
/// [`Error::Failed`] if none can.
pub async fn check(instance: &Instance, netlink: &Netlink, vni: Vni, change: &Change) -> Result<()> {
    if let None | Some(None) = change.mtu {
        return Ok(());
    }
    let links = netlink.links().await?;
    refuse(change, fits(instance, &links, &[vni])?.iter().max_by_key(|fit| fit.room))
}

/// The same for an instance that is not up yet, with that configuration and those uplinks.
///
/// # Errors
///
/// [`Error::Failed`] if no tunnel could have that MTU.
pub(crate) fn check_planned(
    config: &Config,
    uplinks: &BTreeSet<u32>,
    links: &[Link],
    change: &Change,
) -> Result<()> {
    refuse(change, possible(config, uplinks, links).as_ref())
}

fn refuse(change: &Change, best: Option<&Fit<'_>>) -> Result<()> {
    let Some(Some(mtu)) = change.mtu else { return Ok(()) };
    match best {
        Some(Fit { room, uplink }) if u32::from(mtu) > *room => Err(Error::Failed(format!(
            "--mtu {mtu}: tunnels by {} (MTU {}) carry IP packets of at most {room}; name that or less",
            uplink.name, uplink.mtu
        ))),
        _ => Ok(()),
    }
}

/// What to say if packets as large as a port's device allows do not fit into the tunnels of its segments.
///
/// # Errors
///
/// Fails if the kernel does.
pub async fn warning(
    instance: &Instance,
    netlink: &Netlink,
    vnis: &[Vni],
    port: &str,
) -> Result<Option<String>> {
    let links = netlink.links().await?;
    let fits = fits(instance, &links, vnis)?;
    let Some(Fit { room, uplink }) = fits.into_iter().min_by_key(|fit| fit.room) else { return Ok(None) };
    let port = links.iter().find(|link| link.name == port && link.mtu > room);
    Ok(port.map(|Link { name, mtu, .. }| {
        format!(
            "{name} has an MTU of {mtu}, and tunnels by {} (MTU {}) carry IP packets of at most {room}; \
             set that in the workload, or {} on {0}",
            uplink.name,
            uplink.mtu,
            uplink.mtu + (mtu - room),
        )
    }))
}

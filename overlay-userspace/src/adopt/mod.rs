//! Segments of the kernel's `vxlan` devices whose known frames the programs forward: `overlay adopt`.
//!
//! The kernel's bridge and device stay as they are, and have every frame that the programs do not know the way of. So nothing is
//! lost when a device is adopted, when it is released, nor when nobody follows the kernel's FDB any more: then the lease is over.

mod host;
mod sync;

use overlay_common::{
    IfIndex, Vni,
    maps::{adopted::Adopted, fdb::FdbKey},
};
use tokio::task::spawn_blocking;

pub(crate) use self::sync::side;

use self::host::Host;
use crate::{
    error::{Context as _, Error, Result},
    fdb, grace,
    instance::Instance,
    maps,
    netlink::{Link, Netlink},
    netns, tunnel,
};

/// A device that is adopted.
#[derive(Clone, Debug)]
pub struct View {
    /// Its name.
    pub name: String,
    /// Its segment.
    pub vni: Vni,
    /// The bridge that it is a member of; `None`: the host itself sends by it.
    pub bridge: Option<IfIndex>,
    /// The members of the bridge whose frames the programs look at, or the device itself.
    pub ports: Vec<IfIndex>,
    /// How many remote VTEPs the programs send to.
    pub vteps: usize,
    /// How many stations they know the way to.
    pub stations: usize,
    /// Whether somebody follows what the kernel knows; otherwise the kernel has all frames.
    pub is_followed: bool,
}

/// Adopts the segment of a `vxlan` device.
///
/// # Errors
///
/// [`Error::Exists`] if it is adopted already; [`Error::Failed`] and [`Error::Conflict`] if it cannot be, in words.
pub async fn adopt(instance: &Instance, netlink: &Netlink, name: &str) -> Result<Vec<String>> {
    let _claim = netns::claim_devices()?;
    let link = netlink.link(name).await?;
    for one in std::iter::once(None).chain(instance.others()?.iter().map(Some)) {
        refuse_adopted(one.unwrap_or(instance), &link, one.is_none())?;
    }
    let wanted = Host::look(netlink).await?.wanted(instance, netlink, &link).await?;
    let vni = wanted.vni;
    maps::counters::start(instance, vni, None)?;
    maps::adopted(instance)?.put(vni.get(), &wanted.adopted)?;
    let done = sync::sync(instance, netlink, &wanted).await;
    if done.is_err() {
        let _ = forget(instance, netlink, vni).await;
    }
    done
}

/// Refuses a device that an instance has adopted.
fn refuse_adopted(instance: &Instance, link: &Link, is_own: bool) -> Result<()> {
    let adopted = maps::adopted(instance)?.entries()?;
    if !adopted.values().any(|adopted| adopted.device() == Some(link.index)) {
        return Ok(());
    }
    let name = &link.name;
    Err(if is_own {
        Error::Exists(format!("{name} is adopted already; `overlay adopt` lists what is"))
    } else {
        Error::Conflict(format!(
            "instance {} has adopted {name}; `overlay adopt --release` there",
            instance.name()
        ))
    })
}

/// Refuses to change a segment that is adopted: the kernel has the say there.
///
/// # Errors
///
/// [`Error::Conflict`] if it is one.
pub(crate) fn refuse(instance: &Instance, vni: Vni) -> Result<()> {
    match maps::adopted(instance)?.get(vni.get())? {
        None => Ok(()),
        Some(adopted) => Err(Error::Conflict(format!(
            "VNI {vni} is adopted from {0}, and follows the kernel; `bridge fdb` changes it, `overlay adopt --release {0}` ends that",
            adopted.name()
        ))),
    }
}

/// Leaves the segment of a `vxlan` device to the kernel again.
///
/// # Errors
///
/// [`Error::Missing`] if it is not adopted.
pub async fn release(instance: &Instance, netlink: &Netlink, name: &str) -> Result<()> {
    let link = netlink.link(name).await.ok();
    let is_it = |adopted: &Adopted| match &link {
        Some(link) => adopted.device() == Some(link.index),
        None => adopted.name() == name,
    };
    let adopted = maps::adopted(instance)?.entries()?;
    let vni = adopted.iter().find(|(_, adopted)| is_it(adopted)).and_then(|(vni, _)| Vni::new(*vni));
    let vni =
        vni.ok_or_else(|| Error::Missing(format!("{name} is not adopted; `overlay adopt` lists what is")))?;
    forget(instance, netlink, vni).await
}

/// From the first step on the kernel has all frames.
async fn forget(instance: &Instance, netlink: &Netlink, vni: Vni) -> Result<()> {
    let mut adopted = maps::adopted(instance)?;
    let device = adopted.get(vni.get())?.and_then(|adopted| adopted.device());
    adopted.remove(vni.get())?;
    for port in sync::ports_of(instance, vni)? {
        sync::detach(instance, netlink, port, side(device, port)).await?;
    }
    grace::wait(instance)?;
    let mut stations = maps::adopted_stations(instance)?;
    let mut gone = Vec::new();
    stations.for_each(|key: &FdbKey, _| gone.extend((key.vni() == Some(vni)).then_some(*key)))?;
    for key in gone {
        stations.remove(key)?;
    }
    for (key, id) in sync::members_of(instance, vni)? {
        tunnel::dismiss(instance, key, id)?;
    }
    maps::counters::stop(instance, vni, None)?;
    tunnel::tidy_neighbours(instance, netlink).await
}

/// All that is adopted, by segment.
///
/// # Errors
///
/// Fails if a map is gone.
pub fn show(instance: &Instance) -> Result<Vec<View>> {
    let now = fdb::now()?;
    let mut views = Vec::new();
    for (vni, adopted) in maps::adopted(instance)?.entries()? {
        let Some(vni) = Vni::new(vni) else { continue };
        let mut stations = 0;
        maps::adopted_stations(instance)?
            .for_each(|key: &FdbKey, _| stations += usize::from(key.vni() == Some(vni)))?;
        views.push(View {
            name: adopted.name().to_owned(),
            vni,
            bridge: adopted.bridge(),
            ports: sync::ports_of(instance, vni)?,
            vteps: sync::members_of(instance, vni)?.len(),
            stations,
            is_followed: adopted.lease() > now,
        });
    }
    Ok(views)
}

/// What following found.
#[derive(Debug, Default)]
pub struct Followed {
    /// What was done beyond following, in words.
    pub done: Vec<String>,
    /// What stays with the kernel, and why, in words.
    pub notes: Vec<String>,
    /// Whether nothing is adopted any more.
    pub is_over: bool,
}

/// Has the instance of that name know what the kernel knows of all that is adopted, and lends that to the programs for a while.
///
/// # Errors
///
/// Fails if the kernel does, or if the instance is gone.
pub async fn follow(name: &str, netlink: &Netlink) -> Result<Followed> {
    let over = Followed { is_over: true, ..Followed::default() };
    let Some(glance) = Instance::glance(name) else { return Ok(over) };
    if maps::adopted(&glance)?.count()? == 0 {
        return Ok(over);
    }
    let name = name.to_owned();
    // Another command may have the lock for a while.
    let opened = spawn_blocking(move || Instance::open(&name)).await;
    let instance = opened.context(|| "cannot wait for the instance")??;
    let host = Host::look(netlink).await?;
    let mut followed = Followed::default();
    for (vni, adopted) in maps::adopted(&instance)?.entries()? {
        let Some(vni) = Vni::new(vni) else { continue };
        follow_one(&instance, netlink, &host, (vni, &adopted), &mut followed).await?;
    }
    followed.is_over = maps::adopted(&instance)?.count()? == 0;
    Ok(followed)
}

async fn follow_one(
    instance: &Instance,
    netlink: &Netlink,
    host: &Host,
    (vni, adopted): (Vni, &Adopted),
    followed: &mut Followed,
) -> Result<()> {
    let name = adopted.name();
    let Some(link) =
        adopted.device().and_then(|device| host.link(device)).filter(|link| link.vxlan.is_some())
    else {
        forget(instance, netlink, vni).await?;
        followed
            .done
            .push(format!("{name} is gone, and VNI {vni} with it: nothing of it is adopted any more"));
        return Ok(());
    };
    match host.wanted(instance, netlink, link).await {
        Ok(wanted) if wanted.vni == vni => {
            let late = fdb::now()?.saturating_sub(adopted.lease());
            if late > 0 && adopted.lease() != 0 {
                followed.done.push(format!(
                    "nobody followed {name} in time: the kernel had all of its frames for {} ms",
                    late / 1_000_000
                ));
            }
            followed.notes.extend(sync::sync(instance, netlink, &wanted).await?);
        }
        Ok(wanted) => {
            forget(instance, netlink, vni).await?;
            followed.done.push(format!("{name} has VNI {} now, and is not adopted any more", wanted.vni));
        }
        Err(error) => {
            maps::adopted(instance)?.put(vni.get(), &adopted.with_lease(0))?;
            followed.notes.push(format!("the kernel has all frames of {name} for now: {error}"));
        }
    }
    Ok(())
}

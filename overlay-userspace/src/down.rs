//! Taking an instance down.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use aya::programs::TcAttachType;
use overlay_common::{
    IfIndex,
    maps::{
        config::{Config, Families, TcHook},
        device::{Device, DeviceName},
    },
};

use crate::{
    adopt,
    agent::presence,
    bpffs, cutter,
    datapath::{self, ADOPTED_FROM_PORT, FROM_PORT, FROM_UPLINK},
    declared::confirm,
    error::{Error, Result},
    forwarding, hook,
    instance::Instance,
    listener, maps,
    netlink::{Link, Netlink},
    orphan, preflight, tunnel,
};

/// Takes an instance down: nothing of it stays behind.
///
/// # Errors
///
/// [`Error::Missing`] if it is not up. What cannot be undone is skipped, and the first such failure reported.
pub async fn down(name: &str) -> Result<()> {
    preflight::capabilities()?;
    let instance = Instance::find(name)?
        .ok_or_else(|| Error::Missing(format!("instance {name} is not up; there is nothing to take down")))?;
    take_down(instance).await
}

/// The same with an instance that is locked already.
pub(crate) async fn take_down(instance: Instance) -> Result<()> {
    let name = instance.name().to_owned();
    let config = instance.config_if_any()?;
    let mut failures = Vec::new();
    // Without a configuration, bringing it up was cut off before anything was attached.
    if config != Config::default() {
        instance.check_version(&config)?;
        if !orphan::is_one(&instance, &config)? {
            instance.check(&config)?;
            detach(&instance, &config, &mut failures).await?;
        }
    }
    failures.extend(instance.remove().err());
    // Other instances may be there.
    let _ = fs::remove_dir(bpffs::ROOT);
    confirm::forget(&name);
    presence::tidy(&name);
    failures.into_iter().next().map_or(Ok(()), Err)
}

/// Detaches the programs and undoes what else was done outside the instance's pins.
async fn detach(instance: &Instance, config: &Config, failures: &mut Vec<Error>) -> Result<()> {
    let netlink = Netlink::connect()?;
    let links = netlink.links().await?;
    let mut attempt = |step: Result<()>| failures.extend(step.err());
    let wanted = maps::devices(instance)?.entries()?;
    let ports = maps::ports(instance)?.entries()?.into_keys().map(|index| (index, FROM_PORT));
    let uplinks = maps::uplinks(instance)?.entries()?.into_keys().map(|index| (index, FROM_UPLINK));
    let adopted =
        maps::adopted_ports(instance)?.entries()?.into_keys().map(|index| (index, ADOPTED_FROM_PORT));
    let routed: BTreeSet<_> =
        maps::adopted(instance)?.entries()?.into_values().filter_map(|adopted| adopted.device()).collect();
    for (index, program) in ports.chain(uplinks).chain(adopted) {
        let Some(device) = IfIndex::new(index) else { continue };
        let side = adopt::side(Some(device).filter(|device| routed.contains(device)), device);
        attempt(hook::detach_xdp(instance, device));
        // Another device may have got the index of one that is gone. That it runs our program tells it is ours.
        let link = links.iter().find(|link| link.index == device);
        if !is_held(instance, &netlink, (config.tc(), side), link, program).await {
            attempt(hook::forget_tc(instance, config.tc(), device, program));
            if !link.is_some_and(|link| is_wanted(&wanted, link)) {
                hook::forget_qdisc(instance, device);
            }
            attempt(hook::tidy(instance, &netlink, device).await);
            continue;
        }
        attempt(hook::detach_tc(instance, config.tc(), device, program));
        attempt(hook::tidy(instance, &netlink, device).await);
        let is_made = |one: &Device| one.is_created() && one.index() == Some(device);
        if wanted.values().any(is_made) {
            attempt(netlink.delete_link(device).await);
        }
    }
    attempt(cutter::remove(instance, &netlink).await);
    for family in listener::FAMILIES {
        attempt(listener::remove(instance, &netlink, family).await);
    }
    attempt(tunnel::release_neighbours(instance, &netlink).await);
    attempt(hand_forwarding_on(instance, config.forwarding_to_restore()));
    Ok(())
}

/// Whether our program is on a device.
async fn is_held(
    instance: &Instance,
    netlink: &Netlink,
    (hook, side): (TcHook, TcAttachType),
    link: Option<&Link>,
    program: &str,
) -> bool {
    match (link, datapath::classifier_id(instance, program)) {
        (Some(link), Ok(id)) => hook::is_attached_at(netlink, hook, side, link, id).await,
        _ => false,
    }
}

/// Whether a device is the one that was served by its name.
fn is_wanted(wanted: &BTreeMap<DeviceName, Device>, link: &Link) -> bool {
    let device = DeviceName::new(&link.name).and_then(|name| wanted.get(&name));
    device.is_some_and(|device| device.index() == Some(link.index))
}

/// Turns the loopback device's forwarding off again for `families`, or leaves that to another instance that needs it.
fn hand_forwarding_on(instance: &Instance, families: Families) -> Result<()> {
    if families == Families::NONE {
        return Ok(());
    }
    let others = instance.others()?;
    let Some(heir) = others.first() else {
        return forwarding::turn_off(families);
    };
    let config = heir.config()?;
    let all = config.forwarding_to_restore().or(families);
    maps::config::write(heir, &config.with_forwarding_to_restore(all))
}

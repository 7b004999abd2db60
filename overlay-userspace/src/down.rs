//! Taking an instance down.

use std::fs;

use overlay_common::{
    IfIndex,
    maps::config::{Config, Families},
};

use crate::{
    bpffs, cutter,
    datapath::{FROM_PORT, FROM_UPLINK},
    devices,
    error::{Error, Result},
    forwarding, hook,
    instance::Instance,
    maps,
    netlink::Netlink,
    preflight, tunnel,
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
    let config = instance.config().unwrap_or_default();
    let mut failures = Vec::new();
    // Without a configuration, bringing it up was cut off before anything was attached.
    if config != Config::default() {
        instance.check(&config)?;
        detach(&instance, &config, &mut failures).await?;
    }
    failures.extend(instance.remove().err());
    // Other instances may be there.
    let _ = fs::remove_dir(bpffs::ROOT);
    failures.into_iter().next().map_or(Ok(()), Err)
}

/// Detaches the programs and undoes what else was done outside the instance's pins.
async fn detach(instance: &Instance, config: &Config, failures: &mut Vec<Error>) -> Result<()> {
    let netlink = Netlink::connect()?;
    let links = netlink.links().await?;
    let mut attempt = |step: Result<()>| failures.extend(step.err());
    let ports = maps::ports(instance)?.entries()?.into_keys().map(|index| (index, FROM_PORT));
    let uplinks = maps::uplinks(instance)?.entries()?.into_keys().map(|index| (index, FROM_UPLINK));
    for (index, program) in ports.chain(uplinks) {
        let Some(device) = IfIndex::new(index) else { continue };
        attempt(hook::detach_xdp(instance, device));
        attempt(hook::detach_tc(instance, config.tc(), device, program));
        if links.iter().any(|link| link.index == device) {
            attempt(hook::tidy(instance, &netlink, device).await);
        }
    }
    for (_, device, _) in devices::ports(instance)?.into_iter().filter(|(_, device, _)| device.is_created()) {
        if let Some(index) = device.index().filter(|index| links.iter().any(|link| link.index == *index)) {
            attempt(netlink.delete_link(index).await);
        }
    }
    attempt(cutter::remove(instance, &netlink).await);
    attempt(tunnel::release_neighbours(instance, &netlink).await);
    attempt(hand_forwarding_on(instance, config.forwarding_to_restore()));
    Ok(())
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

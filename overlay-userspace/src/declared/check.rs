//! What a host may refuse, found before anything is changed. The commands' own checks say so.

use std::{collections::BTreeSet, ops::Range};

use overlay_common::{
    Vni,
    maps::{config::Config, learned::LearnedKey, segment::Segment},
};

use super::{
    Declared,
    diff::{Delta, Diff, is_remade},
    settings,
    state::{Port, State, Vtep},
    vtep,
};
use crate::{
    error::{Error, Result},
    fdb,
    instance::Instance,
    maps, mtu,
    netlink::{Link, Netlink},
    port, segment, tunnel, up,
};

/// What is known of the host.
struct Check<'a> {
    declared: &'a Declared,
    netlink: &'a Netlink,
    /// Where it is up.
    instance: Option<&'a Instance>,
    links: Vec<Link>,
    /// As it will be.
    config: Config,
    uplinks: BTreeSet<u32>,
}

/// Refuses a difference that cannot be made, with nothing changed.
///
/// # Errors
///
/// What a command would say, and where the file has it.
pub(crate) async fn check(
    declared: &Declared,
    netlink: &Netlink,
    instance: Option<&Instance>,
    diff: &Diff,
) -> Result<()> {
    let state = declared.state();
    let Some(wanted) = &state.vtep else { return Ok(()) };
    let at_vtep = |error| declared.placed(Some(&declared.places().vtep), error);
    let config = planned(netlink, instance, diff, wanted).await.map_err(at_vtep)?;
    let links = netlink.links().await?;
    let of = |name: &String| links.iter().find(|link| link.name == *name).map(|link| link.index.get());
    let mut uplinks: BTreeSet<u32> = wanted.uplinks.iter().filter_map(of).collect();
    if let Some(instance) = instance {
        let kept = maps::uplinks(instance)?.entries()?.into_keys();
        uplinks.extend(kept.filter(|_| diff.vtep.is_none()));
    }
    let check = Check { declared, netlink, instance, links, config, uplinks };
    Check::room(state).map_err(at_vtep)?;
    check.segments(diff)?;
    check.tunnels(state, diff).await?;
    for delta in &diff.ports {
        let place = declared.places().ports.get(&delta.key);
        check.port(delta).await.map_err(|error| declared.placed(place, error))?;
    }
    Ok(())
}

/// The configuration as it will be.
async fn planned(
    netlink: &Netlink,
    instance: Option<&Instance>,
    diff: &Diff,
    wanted: &Vtep,
) -> Result<Config> {
    let Some(instance) = instance else {
        let planned = up::plan(netlink, &wanted.settings()).await?;
        up::refuse_shared(
            &crate::instance::of_namespace(planned.config.netns_cookie())?,
            wanted.port,
            &planned.uplinks,
        )?;
        return Ok(planned.config);
    };
    let config = instance.config()?;
    let Some((before, after)) = diff.vtep.as_ref().and_then(Delta::change) else { return Ok(config) };
    vtep::refuse_fixed(before, after)?;
    for name in after.uplink_names().difference(&before.uplink_names()) {
        vtep::check_uplink(instance, netlink, name, after.port).await?;
    }
    if vtep::is_readdressed(before, after) {
        vtep::readdressed(config, netlink, after).await
    } else {
        Ok(config)
    }
}

impl Check<'_> {
    fn room(state: &State) -> Result<()> {
        let (stations, size) =
            (state.stations.len(), state.vtep.as_ref().map_or(0, |vtep| vtep.room.stations));
        if stations <= size as usize {
            return Ok(());
        }
        Err(Error::Failed(format!("there are {stations} stations, and fdb-size is {size}; make it larger")))
    }

    fn segments(&self, diff: &Diff) -> Result<()> {
        for Delta { key: vni, before, after } in &diff.segments {
            let place = self.declared.places().segments.get(vni);
            let Some(after) = after else { continue };
            let checked = if before.is_some() {
                self.learn_limit(*vni, after)
            } else {
                segment::refuse_foreign(self.config.port(), &self.links, *vni)
            };
            let change = settings::change(after);
            checked
                .and_then(|()| mtu::check_planned(&self.config, &self.uplinks, &self.links, &change))
                .map_err(|error| self.declared.placed(place, error))?;
        }
        Ok(())
    }

    fn learn_limit(&self, vni: Vni, after: &Segment) -> Result<()> {
        let Some(instance) = self.instance else { return Ok(()) };
        let learned = maps::learned::count(instance, LearnedKey::segment(vni))?;
        fdb::check_limit(after.learn_limit(), learned, &format!("VNI {vni}"), &format!("--vni {vni}"))
    }

    /// All of them where the local VTEP changes, for then any may be out of its reach.
    async fn tunnels(&self, state: &State, diff: &Diff) -> Result<()> {
        let changed: BTreeSet<_> = diff.tunnels.iter().map(|delta| delta.key).collect();
        let mut seen = BTreeSet::new();
        for (key, tunnel) in &state.tunnels {
            let (_, remote) = *key;
            if (diff.vtep.is_none() && !changed.contains(key)) || !seen.insert(remote) {
                continue;
            }
            let place = self.declared.places().tunnels.get(key);
            let how = (tunnel.settings(), tunnel.device.as_deref());
            tunnel::check(&self.config, &self.uplinks, self.netlink, remote, how)
                .await
                .map_err(|error| self.declared.placed(place, error))?;
        }
        Ok(())
    }

    async fn port(&self, Delta { key: name, before, after }: &Delta<String, Port>) -> Result<()> {
        let Some(after) = after else { return Ok(()) };
        match before {
            Some(before) if !is_remade(before, after) => self.changed_port(name, before, after),
            _ if after.created.is_some() => self.created_port(name, before.as_ref(), after),
            _ => self.new_port(name, before.is_some()).await,
        }
    }

    fn changed_port(&self, name: &str, before: &Port, after: &Port) -> Result<()> {
        let Some(instance) = self.instance else { return Ok(()) };
        let (_, device, _) = port::find(instance, name)?;
        match device.index() {
            Some(index) if before.limits.stations != after.limits.stations => {
                let learned = maps::learned::count(instance, LearnedKey::port(index))?;
                fdb::check_limit(after.limits.stations, learned, name, &format!("--port {name}"))
            }
            None if before.vlans != after.vlans || before.created != after.created => {
                Err(Error::Missing(format!("port {name} is gone; what it is can be changed when it is back")))
            }
            _ => Ok(()),
        }
    }

    fn created_port(&self, name: &str, before: Option<&Port>, after: &Port) -> Result<()> {
        let Some(created) = &after.created else { return Ok(()) };
        let own = before.and_then(|before| before.created.as_ref());
        let is_own = own.is_some_and(|own| own.name == created.name);
        let is_taken = |link: &&Link| link.name == created.name || link.name == name;
        match self.links.iter().find(is_taken).filter(|_| !is_own) {
            None => Ok(()),
            Some(link) => {
                Err(Error::Conflict(format!("there is a device {} already; choose another name", link.name)))
            }
        }
    }

    async fn new_port(&self, name: &str, is_one: bool) -> Result<()> {
        let link = self.netlink.link(name).await?;
        if self.uplinks.contains(&link.index.get()) {
            return Err(Error::Failed(format!("{name} is an uplink, and cannot be a port too")));
        }
        match self.instance {
            Some(_) if is_one => Ok(()),
            Some(instance) => port::checked(instance, &link).map(drop),
            None => port::kind(&link)
                .map(drop)
                .ok_or_else(|| Error::Failed(format!("{name} is no Ethernet device, and cannot be a port"))),
        }
    }
}

impl Declared {
    /// An error, and where the file has what it is about.
    pub(crate) fn placed(&self, place: Option<&Range<usize>>, error: Error) -> Error {
        let place = self.text().place(place.unwrap_or(&(0..0)));
        match error {
            Error::Usage(message) => Error::Usage(format!("{place}: {message}")),
            other => Error::Failed(format!("{place}: {other}")),
        }
    }
}

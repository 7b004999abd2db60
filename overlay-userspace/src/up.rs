//! Bringing an instance up.

use std::{
    fs::{self, File},
    io::Read as _,
    net::IpAddr,
};

use overlay_common::{
    UnderlayAddr,
    maps::{
        config::{Config, Families, MAX_LOCALS, Merging, TcHook},
        device::{Device, DeviceName, Role, XdpChoice},
    },
};

use crate::{
    bpffs,
    datapath::{self, FROM_UPLINK, Room},
    devices,
    error::{Context as _, Error, Result},
    forwarding, hook,
    instance::Instance,
    maps,
    netlink::{Address, Link, LinkKind, Netlink},
    netns, preflight,
    repair::repair,
    undo::Undo,
    uplink,
};

/// What an instance shall be.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The devices that face the underlay.
    pub uplinks: Vec<String>,
    /// The addresses of the local VTEP; none: the first of each family on each uplink.
    pub locals: Vec<IpAddr>,
    /// Its UDP port, host byte order.
    pub port: u16,
    /// How uplinks shall be served.
    pub xdp: XdpChoice,
    /// Whether the kernel shall merge tunnel packets as they come in.
    pub merging: Merging,
    /// How TC programs shall be attached; `None`: TCX where the kernel has it.
    pub tc: Option<TcHook>,
    /// How much there shall be room for.
    pub room: Room,
}

/// Brings an instance up.
///
/// # Errors
///
/// Nothing is left behind if it fails.
pub async fn up(name: &str, settings: &Settings) -> Result<()> {
    bring_up(name, settings).await.map(drop)
}

/// What an instance would be.
pub(crate) struct Planned {
    /// What would hold for the whole of it.
    pub(crate) config: Config,
    /// The devices that would be uplinks.
    pub(crate) uplinks: Vec<Link>,
}

/// Checks that an instance can be as the settings say; nothing is touched.
///
/// # Errors
///
/// Fails if it cannot.
pub(crate) async fn plan(netlink: &Netlink, settings: &Settings) -> Result<Planned> {
    let uplinks = uplinks(netlink, settings).await?;
    let locals = locals(netlink, settings, &uplinks).await?;
    let tc = settings.tc.unwrap_or_else(|| if hook::has_tcx() { TcHook::Tcx } else { TcHook::Clsact });
    let config = Config::new(netns::cookie()?, secret()?, &locals, settings.port)
        .ok_or_else(|| Error::Usage(format!("a VTEP has 1 to {MAX_LOCALS} local addresses")))?
        .with_tc(tc)
        .with_merging(settings.merging)
        .with_following(settings.locals.is_empty());
    Ok(Planned { config, uplinks })
}

/// Brings an instance up, and keeps it locked.
pub(crate) async fn bring_up(name: &str, settings: &Settings) -> Result<Instance> {
    preflight::capabilities()?;
    preflight::kernel()?;
    let netlink = Netlink::connect()?;
    let Planned { config, uplinks } = plan(&netlink, settings).await?;
    let tc = config.tc();
    bpffs::ensure()?;
    let instance = Instance::create(name)?;
    let done = open(&instance, &netlink, config, settings, &uplinks).await;
    if let Err(error) = done {
        for uplink in &uplinks {
            let _ = hook::detach_tc(&instance, tc, uplink.index, FROM_UPLINK);
            let _ = hook::tidy(&instance, &netlink, uplink.index).await;
        }
        let _ = instance.remove();
        let _ = fs::remove_dir(bpffs::ROOT);
        return Err(error);
    }
    Ok(instance)
}

/// A number that nobody can guess.
fn secret() -> Result<u64> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context(|| "cannot read /dev/urandom")?;
    Ok(u64::from_ne_bytes(bytes))
}

/// Lets packets into a new instance, and has the FIB answer its programs.
async fn open(
    instance: &Instance,
    netlink: &Netlink,
    config: Config,
    settings: &Settings,
    uplinks: &[Link],
) -> Result<()> {
    refuse_shared(&instance.others()?, config.port(), uplinks)?;
    datapath::load(instance, settings.room)?;
    let turned_on = fill(instance, config, settings, uplinks)?;
    // Notes which address is whose uplink's.
    repair(instance, netlink).await.map(drop).inspect_err(|_| {
        let _ = forwarding::turn_off(turned_on);
    })
}

/// Fills a new instance's maps, and then lets packets in; for which families it turned forwarding on.
fn fill(instance: &Instance, config: Config, settings: &Settings, uplinks: &[Link]) -> Result<Families> {
    let _claim = netns::claim_devices()?;
    // Another may have come up while the programs were loaded.
    refuse_shared(&instance.others()?, config.port(), uplinks)?;
    let off = forwarding::off()?;
    // First the note: whoever ends this process, `down` restores what it had changed.
    maps::config::write(instance, &config.with_forwarding_to_restore(off))?;
    let mut undo = Undo::new();
    undo.push(|| {
        let _ = forwarding::turn_off(off);
    });
    forwarding::turn_on()?;
    for link in uplinks {
        let device = Device::new(Role::Uplink(settings.xdp)).with_index(Some(link.index));
        maps::devices(instance)?.put(devices::name(&link.name)?, &device)?;
        uplink::attach(instance, config.tc(), link, settings.xdp)?;
    }
    undo.disarm();
    Ok(off)
}

/// A device that can be an uplink.
pub(crate) async fn uplink(netlink: &Netlink, name: &str) -> Result<Link> {
    let link = netlink.link(name).await?;
    if link.kind == LinkKind::NotEthernet {
        return Err(Error::Failed(format!("{name} is no Ethernet device, and cannot be an uplink")));
    }
    Ok(link)
}

/// The devices that shall be uplinks.
async fn uplinks(netlink: &Netlink, settings: &Settings) -> Result<Vec<Link>> {
    let mut links: Vec<Link> = Vec::new();
    for name in &settings.uplinks {
        let link = uplink(netlink, name).await?;
        if links.iter().any(|other| other.index == link.index) {
            return Err(Error::Usage(format!("--uplink names {name} twice")));
        }
        links.push(link);
    }
    Ok(links)
}

/// The addresses of the local VTEP.
async fn locals(netlink: &Netlink, settings: &Settings, uplinks: &[Link]) -> Result<Vec<UnderlayAddr>> {
    let addresses = netlink.addresses().await?;
    if !settings.locals.is_empty() {
        return settings.locals.iter().map(|local| named(&addresses, *local)).collect();
    }
    let mut locals = Vec::new();
    for link in uplinks {
        let of_link =
            || addresses.iter().filter(|address| address.device == link.index && address.is_lasting);
        let firsts = [
            of_link().find(|address| address.addr.is_ipv4()),
            of_link().find(|address| address.addr.is_ipv6()),
        ];
        if firsts == [None, None] {
            return Err(Error::Failed(format!(
                "uplink {0} has no IPv4 or IPv6 address that reaches beyond its link and is there to stay; \
                 `ip address add ADDR/LEN dev {0}` gives it one",
                link.name
            )));
        }
        locals.extend(firsts.into_iter().flatten().map(|address| UnderlayAddr::from(address.addr)));
    }
    if locals.len() > MAX_LOCALS {
        return Err(Error::Usage(format!(
            "the uplinks have {} addresses, and a VTEP has {MAX_LOCALS} at most; choose with --local",
            locals.len()
        )));
    }
    Ok(locals)
}

/// An address of the local VTEP that the user named.
fn named(addresses: &[Address], local: IpAddr) -> Result<UnderlayAddr> {
    let local = local.to_canonical();
    if let IpAddr::V6(addr) = local
        && addr.is_unicast_link_local()
    {
        return Err(Error::Usage(format!(
            "--local {addr} reaches no further than its link; name another address"
        )));
    }
    if addresses.iter().any(|address| address.addr == local) {
        return Ok(local.into());
    }
    Err(Error::Failed(format!("--local {local} is no address of this host; `ip address` shows those")))
}

/// Refuses uplinks that another instance of this namespace has as ports, or serves on the same UDP port.
pub(crate) fn refuse_shared(others: &[Instance], port: u16, uplinks: &[Link]) -> Result<()> {
    for other in others {
        let taken = maps::uplinks(other)?.entries()?;
        let is_same_port = other.config()?.port() == port;
        for link in uplinks {
            other.refuse_port(link)?;
            if is_same_port && taken.contains_key(&link.index.get()) {
                return Err(Error::Conflict(format!(
                    "{} is an uplink of instance {} already; `overlay --instance {1} down` takes that down",
                    link.name,
                    other.name()
                )));
            }
        }
    }
    Ok(())
}

/// Whether an instance that is up is what the settings say: same uplinks, same VTEP. Those that are gone count, too.
///
/// # Errors
///
/// [`Error::Conflict`] if it is not.
pub async fn check_same(instance: &Instance, netlink: &Netlink, settings: &Settings) -> Result<()> {
    let config = instance.config()?;
    let wanted: Vec<DeviceName> = devices::uplinks(instance)?.into_iter().map(|(name, _)| name).collect();
    let mut asked = Vec::new();
    for name in &settings.uplinks {
        // It may have been named by an alternative name; and it may be gone.
        asked.push(match netlink.link(name).await {
            Ok(link) => devices::name(&link.name)?,
            Err(_) => devices::name(name)?,
        });
    }
    asked.sort_unstable();
    let locals: Vec<UnderlayAddr> = settings.locals.iter().map(|local| local.to_canonical().into()).collect();
    let same_locals = if locals.is_empty() { config.is_following() } else { config.locals() == locals };
    if wanted == asked && same_locals && config.port() == settings.port {
        return Ok(());
    }
    Err(Error::Conflict(format!(
        "instance {} is up with other uplinks or another VTEP; `overlay status` shows them, `overlay down` takes it down",
        instance.name()
    )))
}

/// Whether an instance that is up serves its uplinks as the settings say, and has as much room.
///
/// # Errors
///
/// [`Error::Conflict`] if it does not.
pub fn check_served(instance: &Instance, settings: &Settings) -> Result<()> {
    let uplinks = devices::uplinks(instance)?;
    let config = instance.config()?;
    let same_tc = settings.tc.is_none_or(|tc| config.tc() == tc);
    let flag = if !uplinks.iter().all(|(_, device)| device.role() == Role::Uplink(settings.xdp)) {
        "--xdp"
    } else if !same_tc {
        "--tc"
    } else if config.merging() != settings.merging {
        "--tunnel-gro"
    } else if maps::fdb::size(instance)? != settings.room.stations {
        "--fdb-size"
    } else if maps::vteps::size(instance)? != settings.room.vteps {
        "--max-vteps"
    } else {
        return Ok(());
    };
    Err(Error::Conflict(format!(
        "instance {} is up with another {flag}; `overlay down` takes it down",
        instance.name()
    )))
}

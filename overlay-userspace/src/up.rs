//! Bringing an instance up.

use std::{
    fs::{self, File},
    io::Read as _,
    net::IpAddr,
};

use aya::programs::XdpMode;
use overlay_common::{
    UnderlayAddr,
    maps::{
        config::{Config, MAX_LOCALS, TcHook},
        uplink::{Uplink, XdpHook, XdpReason},
    },
};

use crate::{
    bpffs,
    datapath::{self, FROM_UPLINK},
    error::{Context as _, Error, Result},
    forwarding,
    hook::{self, XdpRefusal},
    instance::{self, Instance},
    maps,
    netlink::{Link, LinkKind, Netlink},
    netns, preflight,
};

/// How uplinks shall be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpChoice {
    /// By whatever measures faster on the device.
    Auto,
    /// By the driver's XDP hook.
    Native,
    /// By the generic XDP hook.
    Generic,
    /// By TC alone.
    Off,
}

/// What an instance shall be.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The devices that face the underlay.
    pub uplinks: Vec<String>,
    /// The addresses of the local VTEP; none: those of the uplinks.
    pub locals: Vec<IpAddr>,
    /// Its UDP port, host byte order.
    pub port: u16,
    /// How uplinks shall be served.
    pub xdp: XdpChoice,
    /// How TC programs shall be attached; `None`: TCX where the kernel has it.
    pub tc: Option<TcHook>,
    /// Stations that the FDB shall hold.
    pub fdb_entries: u32,
}

/// Brings an instance up.
///
/// # Errors
///
/// Nothing is left behind if it fails.
pub async fn up(name: &str, settings: &Settings) -> Result<()> {
    preflight::capabilities()?;
    preflight::kernel()?;
    let netlink = Netlink::connect()?;
    let uplinks = uplinks(&netlink, settings).await?;
    let locals = locals(&netlink, settings, &uplinks).await?;
    let cookie = netns::cookie()?;
    bpffs::ensure()?;

    let tc = settings.tc.unwrap_or_else(|| if hook::has_tcx() { TcHook::Tcx } else { TcHook::Clsact });
    let config = Config::new(cookie, secret()?, &locals, settings.port)
        .ok_or_else(|| Error::Usage(format!("a VTEP has 1 to {MAX_LOCALS} local addresses")))?
        .with_tc(tc);
    let instance = Instance::create(name)?;
    let done = open(&instance, config, settings, &uplinks);
    if done.is_err() {
        for uplink in &uplinks {
            let _ = hook::detach_tc(&instance, tc, uplink.index, FROM_UPLINK);
            let _ = hook::tidy(&instance, &netlink, uplink.index).await;
        }
        let _ = instance.remove();
        let _ = fs::remove_dir(bpffs::ROOT);
    }
    done
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
fn open(instance: &Instance, config: Config, settings: &Settings, uplinks: &[Link]) -> Result<()> {
    refuse_shared(config.netns_cookie(), config.port(), uplinks)?;
    let turned_on = forwarding::turn_on()?;
    let done = fill(instance, &config.with_forwarding_to_restore(turned_on), settings, uplinks);
    if done.is_err() && turned_on {
        let _ = forwarding::turn_off();
    }
    done
}

/// Loads a new instance's programs, fills its maps, and then lets packets in.
fn fill(instance: &Instance, config: &Config, settings: &Settings, uplinks: &[Link]) -> Result<()> {
    datapath::load(instance, settings.fdb_entries)?;
    maps::config::write(instance, config)?;
    let mut table = maps::uplinks(instance)?;
    for link in uplinks {
        table.put(link.index.get(), &Uplink::new(link.mac, XdpHook::Off, XdpReason::Asked))?;
        hook::attach_tc(instance, config.tc(), link, FROM_UPLINK)?;
        let (xdp, why) = serve(instance, link, settings.xdp)?;
        table.put(link.index.get(), &Uplink::new(link.mac, xdp, why))?;
    }
    Ok(())
}

/// Attaches XDP to an uplink as it was chosen; what became of it.
fn serve(instance: &Instance, link: &Link, choice: XdpChoice) -> Result<(XdpHook, XdpReason)> {
    let (mode, served) = match choice {
        XdpChoice::Off => return Ok((XdpHook::Off, XdpReason::Asked)),
        _ if link.has_xdp => return Ok(taken(link)),
        XdpChoice::Auto if link.kind != LinkKind::Hardware => return Ok((XdpHook::Off, XdpReason::Virtual)),
        XdpChoice::Auto => (XdpMode::Driver, (XdpHook::Native, XdpReason::Driver)),
        XdpChoice::Native => (XdpMode::Driver, (XdpHook::Native, XdpReason::Asked)),
        XdpChoice::Generic => (XdpMode::Skb, (XdpHook::Generic, XdpReason::Asked)),
    };
    match hook::attach_xdp(instance, link, mode)? {
        Ok(()) => Ok(served),
        Err(XdpRefusal::Taken) => Ok(taken(link)),
        Err(XdpRefusal::Unsupported) if choice == XdpChoice::Auto => {
            Ok((XdpHook::Off, XdpReason::Unsupported))
        }
        Err(XdpRefusal::Unsupported) => Err(Error::Failed(format!(
            "the driver of {} refuses XDP in that mode; try --xdp generic or --xdp off",
            link.name
        ))),
    }
}

/// Says that the XDP hook of an uplink is somebody else's, and how the uplink is served then.
fn taken(link: &Link) -> (XdpHook, XdpReason) {
    eprintln!("overlay: the XDP hook of {} is taken by another program; TC alone serves it", link.name);
    (XdpHook::Off, XdpReason::Taken)
}

/// The devices that shall be uplinks.
async fn uplinks(netlink: &Netlink, settings: &Settings) -> Result<Vec<Link>> {
    let mut links: Vec<Link> = Vec::new();
    for name in &settings.uplinks {
        let link = netlink.link(name).await?;
        if link.kind == LinkKind::NotEthernet {
            return Err(Error::Failed(format!("{name} is no Ethernet device, and cannot be an uplink")));
        }
        if links.iter().any(|other| other.index == link.index) {
            return Err(Error::Usage(format!("--uplink names {name} twice")));
        }
        links.push(link);
    }
    Ok(links)
}

/// The addresses of the local VTEP.
async fn locals(netlink: &Netlink, settings: &Settings, uplinks: &[Link]) -> Result<Vec<UnderlayAddr>> {
    let addresses = netlink.ipv4_addresses().await?;
    if settings.locals.is_empty() {
        let first_of = |link: &Link| {
            addresses
                .iter()
                .find(|(device, _)| *device == link.index)
                .map(|(_, addr)| IpAddr::V4(*addr).into())
                .ok_or_else(|| {
                    Error::Failed(format!(
                        "uplink {0} has no IPv4 address; `ip address add ADDR/LEN dev {0}` gives it one",
                        link.name
                    ))
                })
        };
        return uplinks.iter().map(first_of).collect();
    }
    for local in &settings.locals {
        if !addresses.iter().any(|(_, addr)| IpAddr::V4(*addr) == *local) {
            return Err(Error::Failed(format!(
                "--local {local} is no IPv4 address of this host; `ip address` shows those"
            )));
        }
    }
    Ok(settings.locals.iter().copied().map(UnderlayAddr::from).collect())
}

/// Refuses uplinks that another instance of this namespace has as ports, or serves on the same UDP port.
fn refuse_shared(cookie: u64, port: u16, uplinks: &[Link]) -> Result<()> {
    for other in instance::of_namespace(cookie)? {
        let taken = maps::uplinks(&other)?.entries()?;
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

/// Whether an instance that is up is what the settings say: same uplinks, same VTEP.
///
/// # Errors
///
/// [`Error::Conflict`] if it is not.
pub async fn check_same(instance: &Instance, settings: &Settings) -> Result<()> {
    let netlink = Netlink::connect()?;
    let uplinks = uplinks(&netlink, settings).await?;
    let locals = locals(&netlink, settings, &uplinks).await?;
    let config = instance.config()?;
    let served: Vec<u32> = maps::uplinks(instance)?.entries()?.into_keys().collect();
    let mut asked: Vec<u32> = uplinks.iter().map(|link| link.index.get()).collect();
    asked.sort_unstable();
    if served == asked && config.locals() == locals && config.port() == settings.port {
        return Ok(());
    }
    Err(Error::Conflict(format!(
        "instance {} is up with other uplinks or another VTEP; `overlay status` shows them, `overlay down` takes it down",
        instance.name()
    )))
}

//! Bringing an instance up.

use std::{fs, net::IpAddr};

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
    error::{Error, Result},
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
    refuse_shared(cookie, settings.port, &uplinks)?;
    bpffs::ensure()?;

    let tc = settings.tc.unwrap_or_else(|| if hook::has_tcx() { TcHook::Tcx } else { TcHook::Clsact });
    let config = Config::new(cookie, &locals, settings.port)
        .ok_or_else(|| Error::Usage(format!("a VTEP has 1 to {MAX_LOCALS} local addresses")))?
        .with_tc(tc);
    let instance = Instance::create(name)?;
    let restore = forwarding::turn_on().unwrap_or(false);
    let done = fill(&instance, &config.with_forwarding_to_restore(restore), settings, &uplinks);
    if done.is_err() {
        if restore {
            let _ = forwarding::turn_off();
        }
        for uplink in &uplinks {
            let _ = hook::detach_tc(&instance, tc, uplink.index, Some(&uplink.name), FROM_UPLINK);
            let _ = hook::tidy(&instance, &netlink, uplink.index).await;
        }
        let _ = instance.remove();
        let _ = fs::remove_dir(bpffs::ROOT);
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
        _ if link.has_xdp => {
            eprintln!(
                "overlay: the XDP hook of {} is taken by another program; TC alone serves it",
                link.name
            );
            return Ok((XdpHook::Off, XdpReason::Taken));
        }
        XdpChoice::Auto if link.kind != LinkKind::Hardware => return Ok((XdpHook::Off, XdpReason::Virtual)),
        XdpChoice::Auto => (XdpMode::Driver, (XdpHook::Native, XdpReason::Driver)),
        XdpChoice::Native => (XdpMode::Driver, (XdpHook::Native, XdpReason::Asked)),
        XdpChoice::Generic => (XdpMode::Skb, (XdpHook::Generic, XdpReason::Asked)),
    };
    match hook::attach_xdp(instance, link, mode)? {
        Ok(()) => Ok(served),
        Err(XdpRefusal::Taken) => {
            eprintln!(
                "overlay: the XDP hook of {} is taken by another program; TC alone serves it",
                link.name
            );
            Ok((XdpHook::Off, XdpReason::Taken))
        }
        Err(XdpRefusal::Unsupported) if choice == XdpChoice::Auto => {
            Ok((XdpHook::Off, XdpReason::Unsupported))
        }
        Err(XdpRefusal::Unsupported) => Err(Error::Failed(format!(
            "the driver of {} refuses XDP in that mode; try --xdp generic or --xdp off",
            link.name
        ))),
    }
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

/// Refuses uplinks that another instance of this namespace serves on the same UDP port.
fn refuse_shared(cookie: u64, port: u16, uplinks: &[Link]) -> Result<()> {
    for name in instance::all()? {
        let Ok(Some(other)) = Instance::find(&name) else { continue };
        let Ok(config) = other.config() else { continue };
        if config.netns_cookie() != cookie || config.port() != port {
            continue;
        }
        let taken = maps::uplinks(&other)?.entries()?;
        if let Some(link) = uplinks.iter().find(|link| taken.contains_key(&link.index.get())) {
            return Err(Error::Exists(format!(
                "{} is an uplink of instance {name} already; `overlay --instance {name} down` takes that down",
                link.name
            )));
        }
    }
    Ok(())
}

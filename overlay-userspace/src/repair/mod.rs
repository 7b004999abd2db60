//! Bringing an instance in line with what the host has become: devices that are gone, back, renamed or changed,
//! programs that somebody detached, addresses and routes that moved.
//!
//! What is wanted stands in `DEVICES`, by name, and outlives the devices. Every command repairs before it does its own
//! work, and the agent whenever the kernel says that something has changed.

mod cutter;
mod devices;
mod forwarding;
mod groups;
mod listener;
mod locals;
mod paths;
mod ports;
mod uplinks;

use std::fmt;

use overlay_common::{
    Family, IfIndex, UnderlayAddr,
    maps::{
        config::Config,
        device::{Device, DeviceName, Role},
    },
};

pub use cutter::Flaw;
pub use paths::Path;

use crate::{
    error::{Error, Result},
    fdb,
    instance::Instance,
    mdb,
    netlink::{Link, Netlink},
    tunnel,
};

/// Something that was not as it was wanted, and what was done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// A wanted device is gone. It waits, and nothing is sent to it any more.
    Gone(Kind, DeviceName),
    /// A wanted device appeared, and is served.
    Back(Kind, DeviceName, IfIndex),
    /// Somebody had detached a program from a wanted device; it is attached again.
    Attached(Kind, DeviceName),
    /// A device that is served has another name, by which it is wanted from now on.
    Renamed(Kind, DeviceName, DeviceName),
    /// The device of this port is gone, and another that is served has its name by now: it is not wanted any more.
    Ousted(DeviceName),
    /// An uplink's MAC address changed.
    Mac(DeviceName),
    /// An uplink's XDP hook was not as it was noted.
    Xdp(DeviceName),
    /// An uplink's device sends what XDP tells it to by now, or does not any more.
    Sends(DeviceName, bool),
    /// Frames are handed to a port in another way, because the other end of its veth moved.
    HandedOver(DeviceName),
    /// A port's device takes frames from XDP by now, or does not any more.
    Fed(DeviceName, bool),
    /// An address of the local VTEP followed that of its uplink; the first is the one it had.
    Local(DeviceName, Option<UnderlayAddr>, UnderlayAddr),
    /// The route to a remote VTEP leaves by another uplink.
    Path(UnderlayAddr, IfIndex),
    /// Equal-cost routes lead to a remote VTEP, or none do any more.
    Ways(UnderlayAddr, bool),
    /// The kernel had left a multicast group of the underlay on that uplink; it joined it again.
    Joined(UnderlayAddr, IfIndex),
    /// The loopback device's forwarding was off.
    Forwarding,
    /// The device that has the kernel merge tunnel packets of a family was gone, or no longer as it was made.
    Listener(Family),
    /// Something was wrong with the pair that cuts packets up for VTEPs that want UDP checksums.
    Cutter(Flaw),
}

/// The kinds of repairs, as [`Repair::kind`] names them.
pub const KINDS: [&str; 17] = [
    "gone",
    "back",
    "attached",
    "renamed",
    "ousted",
    "mac",
    "xdp",
    "sends",
    "handed-over",
    "fed",
    "local",
    "path",
    "ways",
    "joined",
    "forwarding",
    "listener",
    "cutter",
];

impl Repair {
    /// Its kind, in a word: one of [`KINDS`].
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Gone(..) => "gone",
            Self::Back(..) => "back",
            Self::Attached(..) => "attached",
            Self::Renamed(..) => "renamed",
            Self::Ousted(_) => "ousted",
            Self::Mac(_) => "mac",
            Self::Xdp(_) => "xdp",
            Self::Sends(..) => "sends",
            Self::HandedOver(_) => "handed-over",
            Self::Fed(..) => "fed",
            Self::Local(..) => "local",
            Self::Path(..) => "path",
            Self::Ways(..) => "ways",
            Self::Joined(..) => "joined",
            Self::Forwarding => "forwarding",
            Self::Listener(_) => "listener",
            Self::Cutter(_) => "cutter",
        }
    }
}

/// What a device is wanted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An uplink.
    Uplink,
    /// A port.
    Port,
}

impl Kind {
    /// What that device is wanted as.
    #[must_use]
    pub const fn of(device: &Device) -> Self {
        match device.role() {
            Role::Uplink(_) => Self::Uplink,
            Role::Port(_) => Self::Port,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uplink => "uplink",
            Self::Port => "port",
        })
    }
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone(kind, name) => write!(f, "{kind} {} is gone, and waited for", name.as_str()),
            Self::Back(kind, name, index) => {
                write!(f, "{kind} {} is back, as device {index}", name.as_str())
            }
            Self::Attached(kind, name) => {
                write!(f, "{kind} {} had lost its program; attached it again", name.as_str())
            }
            Self::Renamed(kind, from, to) => {
                write!(f, "{kind} {} is called {} now", from.as_str(), to.as_str())
            }
            Self::Ousted(name) => {
                write!(f, "forgot {}, which is gone: another device has its name", name.as_str())
            }
            Self::Mac(name) => write!(f, "uplink {} has another MAC address", name.as_str()),
            Self::Xdp(name) => write!(f, "uplink {} had lost its XDP program", name.as_str()),
            Self::Sends(name, true) => write!(f, "uplink {} sends from XDP now", name.as_str()),
            Self::Sends(name, false) => {
                write!(f, "uplink {} sends nothing from XDP any more; TC serves transit by it", name.as_str())
            }
            Self::HandedOver(name) => {
                write!(f, "port {}: the other end of its veth moved", name.as_str())
            }
            Self::Fed(name, true) => write!(f, "port {} takes frames from XDP now", name.as_str()),
            Self::Fed(name, false) => {
                write!(f, "port {} takes no frames from XDP any more; TC serves it", name.as_str())
            }
            Self::Local(name, None, addr) => {
                write!(f, "uplink {} has the address {addr}, which is ours now", name.as_str())
            }
            Self::Local(name, Some(from), to) => {
                write!(f, "uplink {} has the address {to} instead of {from}, and so have we", name.as_str())
            }
            Self::Path(remote, uplink) => write!(f, "the route to {remote} leaves by device {uplink} now"),
            Self::Ways(remote, true) => write!(f, "equal-cost routes lead to {remote} now"),
            Self::Ways(remote, false) => write!(f, "one route leads to {remote} now"),
            Self::Joined(group, uplink) => write!(f, "joined the group {group} on device {uplink} again"),
            Self::Forwarding => f.write_str("turned forwarding of the loopback device on again"),
            Self::Listener(family) => write!(
                f,
                "the device that has the kernel merge tunnel packets over {} was not as it was made; mended",
                family.name()
            ),
            Self::Cutter(flaw) => {
                write!(f, "the veth pair that cuts packets up for --udp6-csum {flaw}; mended")
            }
        }
    }
}

/// What a repair did, and what it could not do.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What it did.
    pub repairs: Vec<Repair>,
    /// What is off all the same, in words.
    pub warnings: Vec<String>,
    /// How the remote VTEPs are reached now.
    pub paths: Vec<Path>,
}

/// One repair at work.
struct Pass<'a> {
    instance: &'a Instance,
    netlink: &'a Netlink,
    config: Config,
    links: Vec<Link>,
    report: Report,
}

/// Brings a locked instance in line with the host. What cannot be mended is a warning, and no error.
///
/// # Errors
///
/// Fails if a map cannot be read, or the kernel does not say what there is.
pub async fn repair(instance: &Instance, netlink: &Netlink) -> Result<Report> {
    let links = netlink.links().await?;
    let config = instance.config()?;
    let mut pass = Pass { instance, netlink, config, links, report: Report::default() };
    pass.forwarding()?;
    pass.devices().await?;
    pass.stations()?;
    pass.locals().await?;
    fdb::sweep(instance)?;
    tunnel::sweep(instance)?;
    pass.paths().await?;
    pass.cutter().await?;
    pass.listeners().await?;
    mdb::sweep(instance)?;
    Ok(pass.report)
}

impl Pass<'_> {
    fn did(&mut self, repair: Repair) {
        self.report.repairs.push(repair);
    }

    fn warn(&mut self, warning: impl Into<String>) {
        self.report.warnings.push(warning.into());
    }

    /// Notes a failure that shall not keep the rest from being mended.
    fn attempt(&mut self, step: Result<(), Error>) {
        if let Err(error) = step {
            self.warn(error.to_string());
        }
    }

    fn link(&self, index: IfIndex) -> Option<&Link> {
        self.links.iter().find(|link| link.index == index)
    }
}

//! `overlay explain`: what the data path would do with a frame, by running the programs on it.
//!
//! Those that run are built of the same source, with the feature `explain`: they write down each step, send no copies, and
//! write to maps of their own ([`programs`]). Nothing of the instance changes.

mod advice;
mod early;
mod explanation;
mod frame;
mod headers;
mod input;
mod line;
mod programs;
mod stations;
mod story;
mod words;

use overlay_common::{IfIndex, maps::uplink::XdpHook};

use self::{
    early::Early,
    programs::Programs,
    stations::Stations,
    story::{Names, Scene},
};
pub use self::{
    explanation::{Copy, Explanation, Packet, Reason, Target, Verdict},
    frame::{Protocol, Sketch},
    headers::{Header, dump},
    input::{Captured, hex},
    line::{Entry, Line},
    stations::behind,
};
use crate::{
    error::{Error, Result},
    instance::Instance,
    maps,
    netlink::{Link, Netlink},
};

/// Where a frame comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A workload, by a port.
    Port,
    /// A member of a bridge that an adopted `vxlan` device is in.
    Member,
    /// The underlay, by an uplink.
    Uplink,
}

/// How like what was meant a name has to be to be named (Jaro-Winkler): two letters of three.
const LIKE: f64 = 0.7;

/// The port of that name, or the member of a bridge that an adopted device is in.
///
/// # Errors
///
/// Fails if it is none, saying which there are.
pub async fn port(instance: &Instance, netlink: &Netlink, name: &str) -> Result<(Side, Link)> {
    let (ports, members) = (maps::ports(instance)?.entries()?, maps::adopted_ports(instance)?.entries()?);
    let is_one = |index: IfIndex| ports.contains_key(&index.get()) || members.contains_key(&index.get());
    let link = find(netlink, name, "port", is_one).await?;
    let side = if ports.contains_key(&link.index.get()) { Side::Port } else { Side::Member };
    Ok((side, link))
}

/// The uplink of that name; without one, the only uplink.
///
/// # Errors
///
/// Fails if it is none, saying which there are.
pub async fn uplink(instance: &Instance, netlink: &Netlink, name: Option<&str>) -> Result<Link> {
    let uplinks = maps::uplinks(instance)?.entries()?;
    if let Some(name) = name {
        return find(netlink, name, "uplink", |index| uplinks.contains_key(&index.get())).await;
    }
    let mut links: Vec<_> = netlink.links().await?;
    links.retain(|link| uplinks.contains_key(&link.index.get()));
    match &links[..] {
        [one] => Ok(one.clone()),
        [] => Err(Error::Failed("this instance has no uplink at the moment".to_owned())),
        [..] => Err(Error::Usage(format!("name one of the uplinks with --from-uplink: {}", names(&links)))),
    }
}

async fn find(netlink: &Netlink, name: &str, what: &str, is_one: impl Fn(IfIndex) -> bool) -> Result<Link> {
    let mut links: Vec<_> = netlink.links().await?;
    links.retain(|link| is_one(link.index));
    if let Some(link) = links.iter().find(|link| link.name == name) {
        return Ok(link.clone());
    }
    let near = links
        .iter()
        .map(|link| (strsim::jaro_winkler(name, &link.name), &link.name))
        .filter(|(likeness, _)| *likeness > LIKE)
        .max_by(|one, other| one.0.total_cmp(&other.0));
    let hint = match near {
        Some((_, near)) => format!("; did you mean {near}?"),
        None if links.is_empty() => "; there is none".to_owned(),
        None => format!("; there is {}", names(&links)),
    };
    Err(Error::Missing(format!("{name} is no {what} of this instance{hint}")))
}

fn names(links: &[Link]) -> String {
    let mut names: Vec<_> = links.iter().map(|link| &link.name[..]).collect();
    names.sort_unstable();
    names.join(", ")
}

/// Says what would become of a frame that `device` receives.
///
/// # Errors
///
/// Fails if the kernel refuses the programs or the frame.
pub async fn explain(
    instance: &Instance,
    netlink: &Netlink,
    (side, device): (Side, &Link),
    frame: &[u8],
) -> Result<Explanation> {
    let names = Names::read(instance, netlink.links().await?)?;
    let stations = Stations::read(instance, side, frame)?;
    let hook = if side == Side::Uplink { early::hook(instance, device)? } else { XdpHook::Off };
    let mut before = None;
    if let Some(program) = early::program(hook) {
        match Programs::load_early(instance, hook, &stations)?.run_early(program, device.index, frame)? {
            Early::Done(run) => {
                let scene = Scene { program, side, device, frame, before: None };
                return Ok(story::tell(&names, &stations, &scene, &run));
            }
            Early::Passed(outcome) => before = Some(Line::Early { program, outcome }),
        }
    }
    let run = Programs::load(instance, side, &stations)?.run(device.index, frame)?;
    let scene = Scene { program: side.entry(), side, device, frame, before };
    Ok(story::tell(&names, &stations, &scene, &run))
}

//! Our programs where they have to be, and other people's in front of them.

use aya::programs::{SchedClassifier, TcAttachType, links::LinkType, loaded_links};
use overlay_common::{
    Family,
    maps::{
        config::TcHook,
        device::{Device, DeviceName, Role, XdpChoice},
        uplink::{XdpHook, XdpReason},
    },
};

use super::{
    finding::{Finding, Fix},
    scene::{Scene, Up},
    shell::Shell,
};
use crate::{
    cutter,
    datapath::{self, FROM_PORT, FROM_UPLINK},
    error::Result,
    forwarding, hook,
    listener::{self, Merger},
    netlink::Link,
    uplink,
};

/// A program of somebody else, and what holds it on its hook.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stranger {
    program: String,
    id: u32,
    /// The link that holds it, if one does.
    link: Option<u32>,
}

pub(super) async fn check(scene: &Scene) -> Result<Vec<Finding>> {
    let Some(up) = &scene.up else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for (name, device) in &up.devices {
        match wanted(scene, up, *name, device).await? {
            Ok(link) => found.extend(others(scene, up, link, device).await?),
            Err(finding) => found.push(finding),
        }
    }
    found.extend(helpers(scene, up).await?);
    if found.is_empty() {
        found.push(Finding::fine(
            "programs",
            &scene.name,
            "every program is where it has to be, and nobody's is in front",
        ));
    }
    Ok(found)
}

/// The device that serves as what is wanted, with our program on it.
async fn wanted<'a>(
    scene: &'a Scene,
    up: &Up,
    name: DeviceName,
    device: &Device,
) -> Result<Result<&'a Link, Finding>> {
    let (kind, program, lost) = match device.role() {
        Role::Uplink(_) => ("uplink", FROM_UPLINK, "what comes by it out of tunnels reaches no workload"),
        Role::Port(_) => ("port", FROM_PORT, "nothing that its workload sends gets anywhere"),
    };
    let name = name.as_str();
    let repair = scene.shell.overlay("status");
    let by_name = scene.links.iter().find(|link| link.name == name);
    let Some(link) = device.index().and_then(|index| scene.link(index)).or(by_name) else {
        let what = format!("{kind} {name} is gone");
        return Ok(Err(Finding::problem("device-gone", name, what)
            .why(format!("{lost}; it is served again when a device of that name appears, by the agent or the next command"))
            .mend(match device.role() {
                Role::Port(_) => scene.shell.overlay(format_args!("port del {name}")),
                Role::Uplink(_) => scene.shell.host(format_args!("ip link show {name}")),
            })));
    };
    let id = datapath::classifier_id(&up.instance, program)?;
    if !hook::is_attached(&scene.netlink, up.config.tc(), link, id).await {
        let what = format!("{kind} {name} has lost its program");
        return Ok(Err(Finding::problem("program-detached", name, what)
            .why(format!("{lost}; somebody detached it, or made the device anew, and no agent runs"))
            .mend(repair)
            .fix(Fix::Repair)));
    }
    let noted = up.uplinks.get(&link.index.get()).copied();
    if let Some(noted) = noted
        && !uplink::has_noted_xdp(&up.instance, link, noted)?
    {
        let what = format!("uplink {name} is not served by XDP as it was");
        return Ok(Err(Finding::problem("xdp-detached", name, what)
            .why("somebody changed its XDP hook: what is fed or sent by XDP is slower, or stays away")
            .mend(repair)
            .fix(Fix::Repair)));
    }
    if link.name != name || noted.is_some_and(|noted| noted.mac() != link.mac) {
        let what = format!("{kind} {name} was renamed, or has another MAC address");
        return Ok(Err(Finding::problem("device-changed", name, what)
            .why("packets leave with the old address until somebody repairs the instance")
            .mend(repair)
            .fix(Fix::Repair)));
    }
    Ok(Ok(link))
}

/// Other people's programs that packets meet before ours.
async fn others(scene: &Scene, up: &Up, link: &Link, device: &Device) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    let own = match device.role() {
        Role::Uplink(_) => datapath::classifier_id(&up.instance, FROM_UPLINK)?,
        Role::Port(_) => datapath::classifier_id(&up.instance, FROM_PORT)?,
    };
    let in_front = match up.config.tc() {
        TcHook::Tcx => before(&tcx(link), own),
        TcHook::Clsact => {
            let mut all = tcx(link);
            let filters = scene.netlink.filters(link.index).await?;
            all.extend(filters.into_iter().map(|(id, name)| Stranger { program: name, id, link: None }));
            before(&all, own)
        }
    };
    found.extend(in_front.iter().map(|stranger| judge_tc(&scene.shell, link, stranger)));
    if let (Role::Uplink(choice), Some(noted)) = (device.role(), up.uplinks.get(&link.index.get())) {
        let is_taken = noted.why() == XdpReason::Taken && noted.xdp() == XdpHook::Off;
        if is_taken && choice != XdpChoice::Off {
            let id = link.xdp.first().copied().unwrap_or_default();
            let stranger = Stranger { program: String::new(), id, link: holder(id, LinkType::Xdp) };
            found.push(judge_xdp(&scene.shell, link, &stranger));
        }
    }
    Ok(found)
}

/// The programs at the TCX ingress of a device, in their order.
fn tcx(link: &Link) -> Vec<Stranger> {
    let Ok((_, programs)) = SchedClassifier::query_tcx(&link.name, TcAttachType::Ingress) else {
        return Vec::new();
    };
    let stranger = |info: aya::programs::ProgramInfo| Stranger {
        program: info.name_as_str().unwrap_or_default().to_owned(),
        id: info.id(),
        link: holder(info.id(), LinkType::Tcx),
    };
    programs.into_iter().map(stranger).collect()
}

/// The link that holds a program on a hook.
fn holder(program: u32, kind: LinkType) -> Option<u32> {
    let mut links = loaded_links().filter_map(std::result::Result::ok);
    links
        .find(|info| info.program_id() == program && info.link_type().is_ok_and(|one| one == kind))
        .map(|info| info.id())
}

/// Those before the program with that id.
fn before(all: &[Stranger], own: u32) -> Vec<Stranger> {
    all.iter().take_while(|one| one.id != own).cloned().collect()
}

fn judge_tc(shell: &Shell, link: &Link, stranger: &Stranger) -> Finding {
    let Link { name, .. } = link;
    let mend = match stranger.link {
        Some(id) => format!("bpftool link detach id {id}"),
        None => shell.host(format_args!("bpftool net detach tcx_ingress dev {name}")),
    };
    Finding::advice(
        "foreign-tc",
        name,
        format!("program {} ({}) runs on {name} before ours", stranger.id, stranger.program),
    )
    .why("it sees each packet first, and what it drops, redirects or accepts never gets to us")
    .mend(mend)
}

fn judge_xdp(shell: &Shell, link: &Link, stranger: &Stranger) -> Finding {
    let Link { name, .. } = link;
    let detach = match stranger.link {
        Some(id) => format!("bpftool link detach id {id}"),
        None => shell.host(format_args!("ip link set {name} xdp off")),
    };
    Finding::advice(
        "foreign-xdp",
        name,
        format!("the XDP hook of {name} is taken by program {} of somebody else", stranger.id),
    )
    .why("it sees each packet first, and may drop it; TC alone serves the uplink, which is slower on a NIC")
    .mend(format!("{detach} && {}", shell.overlay("status")))
}

/// The devices that we make for ourselves, and forwarding.
async fn helpers(scene: &Scene, up: &Up) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    let mend = |finding: Finding| finding.mend(scene.shell.overlay("status")).fix(Fix::Repair);
    for family in listener::FAMILIES {
        let merger = Merger::of(&up.instance, &up.config, &scene.links, family)?;
        let is_whole = match up.config.listener(family).and_then(|index| scene.link(index)) {
            Some(link) => listener::is_whole(&up.instance, &scene.netlink, link, family).await?,
            None => false,
        };
        if merger == Merger::Ours && !is_whole && !scene.is_taken(family) {
            found.push(mend(judge_listener(family, up.config.port())));
        }
    }
    if cutter::is_wanted(&up.instance)? && !is_cutter_whole(scene, up).await? {
        let what = "the veth pair that cuts packets up for --udp6-csum is not as it was made";
        found.push(mend(Finding::problem("cutter", "ovl…-i", what).why(
            "what workloads have the kernel carry in one piece is dropped on its way to such VTEPs (gso-checksum)",
        )));
    }
    let off = forwarding::off()?;
    for (is_off, family) in [(off.ipv4, "ipv4"), (off.ipv6, "ipv6")] {
        if is_off {
            let setting = format!("net.{family}.conf.lo.forwarding");
            let what = format!("{setting} is off");
            found.push(
                Finding::problem("forwarding", &setting, what)
                    .why("the kernel's FIB does not answer the programs: next hops that change are not followed")
                    .mend(scene.shell.host(format_args!("sysctl -w {setting}=1")))
                    .fix(Fix::Repair),
            );
        }
    }
    Ok(found)
}

fn judge_listener(family: Family, port: u16) -> Finding {
    let what = format!("no device of ours listens on UDP port {port} over {}", family.name());
    Finding::advice("tunnel-gro", family.name(), what)
        .why("the kernel does not merge tunnel packets as they come in, and TCP is slower")
}

async fn is_cutter_whole(scene: &Scene, up: &Up) -> Result<bool> {
    let names = cutter::Names::of(&up.instance)?;
    let Some(pair) = up.config.cutter() else { return Ok(false) };
    let (Some(entrance), Some(exit)) = (scene.link(pair.entrance), scene.link(pair.exit)) else {
        return Ok(false);
    };
    let is_named = entrance.name == names.entrance.as_str() && exit.name == names.exit.as_str();
    let program = datapath::classifier_id(&up.instance, datapath::CHECKSUM_CUT)?;
    Ok(is_named
        && entrance.is_up
        && exit.is_up
        && cutter::cuts(names)?
        && hook::is_attached(&scene.netlink, up.config.tc(), exit, program).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stranger(id: u32) -> Stranger {
        Stranger { program: "theirs".to_owned(), id, link: None }
    }

    #[test]
    fn only_what_is_in_front_is_told() {
        let all = [stranger(1), stranger(2), stranger(3)];
        assert_eq!(before(&all, 1), []);
        assert_eq!(before(&all, 3), [stranger(1), stranger(2)]);
    }
}

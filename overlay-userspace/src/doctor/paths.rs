//! The ways to the remote VTEPs: uplinks, addresses, routes, next hops, what fits, and whether anything ever came back.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use overlay_common::{
    IfIndex, UnderlayAddr, Vni, VtepId,
    header::{eth, outer},
    maps::{device::Role, vtep::Vtep},
};

use super::{
    finding::Finding,
    probe::{self, Answer, Target},
    scene::{Scene, Up},
    shell::Shell,
};
use crate::{
    error::Result,
    maps,
    netlink::{Address, Link, Resolution},
};

/// Packets that somebody has to have been sent before it is odd that none came back.
const ENOUGH: u64 = 16;
/// How long the kernel may ask for a neighbour before that counts as no answer.
const PATIENCE: Duration = Duration::from_millis(1500);
const PAUSE: Duration = Duration::from_millis(50);

/// A remote VTEP and what there is on the way to it.
struct Remote<'a> {
    id: VtepId,
    vtep: &'a Vtep,
    /// The device that the route to it leaves by, and the next hop; `None`: there is no route.
    route: Option<(IfIndex, IpAddr)>,
    vnis: Vec<Vni>,
}

pub(super) async fn check(scene: &Scene, probes: bool) -> Result<Vec<Finding>> {
    let Some(up) = &scene.up else { return Ok(Vec::new()) };
    let mut found = uplinks(scene, up);
    let remotes = remotes(scene, up).await;
    found.extend(sizes(scene, up, &remotes, probes)?);
    found.extend(hops(scene, up, &remotes).await?);
    found.extend(silent(up, &remotes)?);
    if found.is_empty() && !remotes.is_empty() {
        let how = if probes { "answers" } else { "has a route" };
        found.push(Finding::fine(
            "paths",
            &scene.name,
            format!("every remote VTEP {how}, as far as it can be asked"),
        ));
    }
    Ok(found)
}

/// The remote VTEPs that commands named, and those that came by a group.
async fn remotes<'a>(scene: &Scene, up: &'a Up) -> Vec<Remote<'a>> {
    let mut all = Vec::new();
    for (id, vtep) in up.vteps.iter().filter(|(_, vtep)| !vtep.is_group()) {
        let route = scene.netlink.route(vtep.remote().ip()).await;
        let vnis: Vec<Vni> = up.segments_to(*id).map(|(vni, _)| vni).collect();
        if !vnis.is_empty() {
            all.push(Remote { id: *id, vtep, route: route.map(|route| (route.device, route.via)), vnis });
        }
    }
    all
}

/// Uplinks that carry nothing, and addresses that the host has not got.
fn uplinks(scene: &Scene, up: &Up) -> Vec<Finding> {
    let mut found = Vec::new();
    for device in up.devices.values() {
        let (kind, lost) = match device.role() {
            Role::Uplink(_) => ("uplink", "no tunnel by it carries anything"),
            Role::Port(_) => ("port", "its workload is cut off"),
        };
        let Some(link) = device.index().and_then(|index| scene.link(index)) else { continue };
        found.extend(judge_link(&scene.shell, kind, lost, link));
    }
    let names: Vec<&str> = up.uplinks(scene).map(|(link, _)| link.name.as_str()).collect();
    for local in up.config.locals() {
        found.extend(judge_local(&scene.shell, *local, &scene.addresses, &names));
    }
    found
}

fn judge_link(shell: &Shell, kind: &str, lost: &str, link: &Link) -> Option<Finding> {
    let name = &link.name;
    if !link.is_up {
        let finding = Finding::problem("link-down", name, format!("{kind} {name} is down")).why(lost);
        return Some(finding.mend(shell.host(format_args!("ip link set {name} up"))));
    }
    (!link.has_carrier).then(|| {
        Finding::problem("no-carrier", name, format!("{kind} {name} has no carrier"))
            .why(format!("{lost}: the other end is unplugged or down"))
            .mend(shell.host(format_args!("ethtool {name}")))
    })
}

fn judge_local(
    shell: &Shell,
    local: UnderlayAddr,
    addresses: &[Address],
    uplinks: &[&str],
) -> Option<Finding> {
    if addresses.iter().any(|address| UnderlayAddr::from(address.addr) == local) {
        return None;
    }
    let (uplink, bits) =
        (uplinks.first().copied().unwrap_or("DEV"), if local.ip().is_ipv4() { 32 } else { 128 });
    // As long a prefix as those that are there: the network is likely the same.
    let is_like =
        |address: &&Address| address.addr.is_ipv4() == local.ip().is_ipv4() && address.prefix < bits;
    let prefix = addresses.iter().find(is_like).map_or(bits, |address| address.prefix);
    Some(
        Finding::problem("local-address", local, format!("our address {local} is none of this host's"))
            .why("what other VTEPs send there does not come here, and they may refuse what we send from it")
            .mend(shell.host(format_args!("ip address add {local}/{prefix} dev {uplink}"))),
    )
}

/// What fits the path to each.
fn sizes(scene: &Scene, up: &Up, remotes: &[Remote<'_>], probes: bool) -> Result<Vec<Finding>> {
    let mtu =
        |remote: &Remote<'_>| remote.route.and_then(|(device, _)| scene.link(device)).map(|link| link.mtu);
    let asked: Vec<(&Remote<'_>, Target)> = remotes
        .iter()
        .filter_map(|remote| {
            let mtu = u16::try_from(mtu(remote)?).unwrap_or(u16::MAX);
            Some((remote, Target { local: remote.vtep.local(), remote: remote.vtep.remote(), mtu }))
        })
        .collect();
    let targets: Vec<Target> = asked.iter().map(|(_, target)| *target).collect();
    let answers = if probes { probe::probe(&targets) } else { vec![Answer::Silent; targets.len()] };
    let now = crate::fdb::now()?;
    let mut found = Vec::new();
    for ((remote, target), answer) in asked.iter().zip(answers) {
        let told = maps::path_mtus::read(&up.instance, remote.id)?.mtu(now);
        let bounds = up.segments_to(remote.id).map(|(vni, segment)| (vni, segment.mtu())).collect::<Vec<_>>();
        found.extend(judge_size(&scene.shell, target, answer, told, &bounds));
    }
    Ok(found)
}

/// Whether the segments of a remote VTEP send more than gets there. They come with the MTU that they are set to.
fn judge_size(
    shell: &Shell,
    target: &Target,
    answer: Answer,
    told: Option<u16>,
    segments: &[(Vni, Option<u16>)],
) -> Option<Finding> {
    let (remote, mtu) = (target.remote, target.mtu);
    let (carries, is_told, how) = match (answer, told) {
        (Answer::Less(size, is_told), told) => {
            (size, is_told || told.is_some_and(|told| told <= size), "got there, and larger ones did not")
        }
        (Answer::Silent, Some(told)) if told < mtu => (told, true, "fit the path, as the underlay told"),
        _ => return None,
    };
    let overhead = u16::try_from(outer::overhead(remote.family()) + eth::LEN).ok()?;
    let room = carries.saturating_sub(overhead);
    let too_large: Vec<Vni> =
        segments.iter().filter(|(_, set)| set.is_none_or(|set| set > room)).map(|(vni, _)| *vni).collect();
    if too_large.is_empty() {
        return None;
    }
    let what = format!("packets of {carries} bytes to {remote} {how}; the uplink sends up to {mtu}");
    let finding = if is_told {
        Finding::advice("path-mtu", remote, what)
            .why("workloads are told once they have sent more; each first large packet is lost")
    } else {
        Finding::problem("path-mtu", remote, what)
            .why("larger ones vanish, and nobody on the way says so: connections hang once much is sent")
    };
    let set = |vni: &Vni| shell.overlay(format_args!("vni set {vni} --mtu {room}"));
    Some(too_large.iter().map(set).fold(finding, Finding::mend))
}

/// Whether packets to each find a way out, and somebody who takes them.
async fn hops(scene: &Scene, up: &Up, remotes: &[Remote<'_>]) -> Result<Vec<Finding>> {
    let states = resolutions(scene, remotes).await?;
    let mut found = Vec::new();
    for remote in remotes {
        let state = remote.route.map(|hop| {
            let name = scene.name_of(hop.0);
            (name, up.uplinks.contains_key(&hop.0.get()), hop.1, states.get(&hop).copied())
        });
        found.extend(judge_hop(&scene.shell, remote.vtep.remote(), &remote.vnis, state));
    }
    Ok(found)
}

/// The neighbours' states, once the kernel has asked for as long as it takes.
async fn resolutions(
    scene: &Scene,
    remotes: &[Remote<'_>],
) -> Result<HashMap<(IfIndex, IpAddr), Resolution>> {
    let mut waited = Duration::ZERO;
    loop {
        let mut states = scene.netlink.resolutions(false).await?;
        states.extend(scene.netlink.resolutions(true).await?);
        let is_asking = |remote: &Remote<'_>| {
            remote.route.is_some_and(|hop| states.get(&hop) == Some(&Resolution::Asking))
        };
        if waited >= PATIENCE || !remotes.iter().any(is_asking) {
            return Ok(states);
        }
        tokio::time::sleep(PAUSE).await;
        waited += PAUSE;
    }
}

/// `hop`: the device of the route, whether it is an uplink, the next hop, and what the kernel knows of that.
fn judge_hop(
    shell: &Shell,
    remote: UnderlayAddr,
    vnis: &[Vni],
    hop: Option<(String, bool, IpAddr, Option<Resolution>)>,
) -> Option<Finding> {
    let gone = |finding: Finding| {
        let del = |vni: &Vni| shell.overlay(format_args!("tunnel del --vni {vni} --remote {remote}"));
        vnis.iter().map(del).fold(finding, Finding::mend)
    };
    let Some((device, is_uplink, via, resolution)) = hop else {
        let finding = Finding::problem("no-route", remote, format!("there is no route to {remote}"));
        return Some(gone(finding.why(
            "packets for it are dropped (no-route); give the host a route, or if it is gone for good:",
        )));
    };
    if !is_uplink {
        let what = format!("the route to {remote} leaves by {device}, which is no uplink");
        // `export` writes the names of all uplinks in one line.
        let add = format!(
            "{} | sed 's/^uplinks = \\[/&\"{device}\", /' | {}",
            shell.overlay("export"),
            shell.overlay("apply -f -")
        );
        return Some(
            Finding::problem("not-an-uplink", remote, what)
                .why("packets for it are dropped (not-an-uplink); mend the route, or make the device an uplink:")
                .mend(add),
        );
    }
    if matches!(resolution, Some(Resolution::Failed | Resolution::Asking)) {
        let asks = if via.is_ipv4() { "ARP" } else { "ND" };
        let who = if remote.ip() == via { String::new() } else { format!(", the next hop to {remote},") };
        let what = format!("{via}{who} does not answer {asks} on {device}");
        let why = "packets for it are dropped (next-hop-unresolved): the host is down, or a firewall drops what it says; if it \
                   is gone for good:";
        return Some(gone(Finding::problem("unreachable", remote, what).why(why)));
    }
    None
}

/// Who was sent something and never sent anything.
fn silent(up: &Up, remotes: &[Remote<'_>]) -> Result<Vec<Finding>> {
    let mut counts: HashMap<VtepId, (u64, u64)> = HashMap::new();
    for ((_, vtep), one) in maps::counters::read(&up.instance)? {
        let Some(sum) = vtep.map(|vtep| counts.entry(vtep).or_default()) else { continue };
        *sum = (sum.0 + one.tx_packets, sum.1 + one.rx_packets);
    }
    let judge = |remote: &Remote<'_>| {
        let (sent, received) = counts.get(&remote.id).copied().unwrap_or_default();
        judge_silence(remote.vtep, &remote.vnis, sent, received, up.config.port())
    };
    Ok(remotes.iter().filter_map(judge).collect())
}

fn judge_silence(vtep: &Vtep, vnis: &[Vni], sent: u64, received: u64, port: u16) -> Option<Finding> {
    if received > 0 || sent < ENOUGH {
        return None;
    }
    let (remote, local) = (vtep.remote(), vtep.local());
    let what = format!("{remote} was sent {sent} packets, and none came back");
    let why = format!(
        "it may not know us as a member, or a firewall drops UDP port {port} on the way; on that host, if it runs overlay:"
    );
    let add = |vni: &Vni| format!("overlay tunnel add --vni {vni} --remote {local} --exist-ok");
    let finding = Finding::advice("never-sent", remote, what).why(why);
    Some(vnis.iter().map(add).fold(finding, Finding::mend))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Severity;

    fn addr(text: &str) -> UnderlayAddr {
        text.parse::<IpAddr>().unwrap().into()
    }

    fn target(mtu: u16) -> Target {
        Target { local: addr("10.0.0.1"), remote: addr("10.0.0.2"), mtu }
    }

    fn vni(number: u32) -> Vni {
        Vni::new(number).unwrap()
    }

    #[test]
    fn a_path_that_carries_less_than_a_segment_sends_is_told() {
        let shell = Shell::default();
        let judge = |answer, told, set| {
            judge_size(&shell, &target(1500), answer, told, &[(vni(100), set)])
                .map(|finding| (finding.severity, finding.mend))
        };
        let mend = vec!["overlay vni set 100 --mtu 1350".to_owned()];
        assert_eq!(judge(Answer::Less(1400, false), None, None), Some((Severity::Problem, mend.clone())));
        assert_eq!(judge(Answer::Less(1400, true), None, None), Some((Severity::Advice, mend.clone())));
        assert_eq!(
            judge(Answer::Less(1400, false), Some(1400), None),
            Some((Severity::Advice, mend.clone()))
        );
        assert_eq!(judge(Answer::Silent, Some(1400), None), Some((Severity::Advice, mend.clone())));
        assert_eq!(judge(Answer::Less(1400, false), None, Some(1351)), Some((Severity::Problem, mend)));
        for (answer, told, set) in [
            (Answer::Less(1400, false), None, Some(1350)),
            (Answer::Whole, None, None),
            // What the underlay told some time ago holds no more, or not for these.
            (Answer::Whole, Some(1400), None),
            (Answer::Silent, None, None),
            (Answer::Silent, Some(1500), None),
        ] {
            assert_eq!(judge(answer, told, set), None, "{answer:?} {told:?} {set:?}");
        }
    }

    #[test]
    fn a_next_hop_has_to_answer() {
        let shell = Shell::default();
        let via: IpAddr = "10.0.0.2".parse().unwrap();
        let check = |hop| judge_hop(&shell, addr("10.0.0.2"), &[vni(7)], hop).map(|one| one.check);
        assert_eq!(check(None), Some("no-route"));
        let hop = |is_uplink, state| Some(("u1".to_owned(), is_uplink, via, state));
        assert_eq!(check(hop(false, None)), Some("not-an-uplink"));
        assert_eq!(check(hop(true, Some(Resolution::Failed))), Some("unreachable"));
        assert_eq!(check(hop(true, Some(Resolution::Known))), None);
        // Nothing was to be sent there yet.
        assert_eq!(check(hop(true, None)), None);
    }

    #[test]
    fn an_address_that_is_gone_is_told_with_the_prefix_of_others() {
        let address = |text: &str, prefix| Address {
            device: IfIndex::new(3).unwrap(),
            addr: text.parse().unwrap(),
            prefix,
            is_lasting: true,
            is_forever: true,
        };
        let (shell, there) = (Shell::default(), [address("10.0.0.9", 24), address("fd00::9", 64)]);
        assert_eq!(judge_local(&shell, addr("10.0.0.9"), &there, &["u1"]), None);
        let found = judge_local(&shell, addr("10.0.0.1"), &there, &["u1"]).unwrap();
        assert_eq!(found.mend, ["ip address add 10.0.0.1/24 dev u1"]);
        let found = judge_local(&shell, addr("10.0.0.1"), &[], &["u1"]).unwrap();
        assert_eq!(found.mend, ["ip address add 10.0.0.1/32 dev u1"]);
    }

    #[test]
    fn silence_counts_once_enough_was_sent() {
        let uplink = IfIndex::new(3).unwrap();
        let vtep = Vtep::new(addr("10.0.0.1"), addr("10.0.0.2"), 4789, uplink).unwrap();
        let judge = |sent, received| judge_silence(&vtep, &[vni(7)], sent, received, 4789);
        assert_eq!(judge(ENOUGH - 1, 0), None);
        assert_eq!(judge(ENOUGH, 1), None);
        let found = judge(ENOUGH, 0).unwrap();
        assert_eq!(found.mend, ["overlay tunnel add --vni 7 --remote 10.0.0.1 --exist-ok"]);
    }
}

//! Others on our UDP port, our segments and our uplinks.

use std::collections::BTreeSet;

use overlay_common::{header::udp::VXLAN_PORT, maps::config::Merging};

use super::{
    finding::Finding,
    scene::Scene,
    shell::Shell,
    sockets::{Owner, Socket},
};
use crate::{error::Result, listener, maps, netlink::ForeignVxlan};

pub(super) fn check(scene: &Scene) -> Result<Vec<Finding>> {
    let port = scene.up.as_ref().map_or(VXLAN_PORT, |up| up.config.port());
    let wants_to_listen = scene.up.as_ref().is_none_or(|up| up.config.merging() != Merging::Never);
    let in_the_way = scene.sockets.iter().filter(|_| wants_to_listen);
    let mut found: Vec<Finding> = in_the_way.map(|(socket, owner)| judge_socket(socket, owner)).collect();
    let Some(up) = &scene.up else { return Ok(found) };
    let ours = listener::FAMILIES.map(|family| up.config.listener(family));
    let segments: BTreeSet<u32> = up.segments.keys().copied().collect();
    for link in scene.links.iter().filter(|link| link.is_up && !ours.contains(&Some(link.index))) {
        found.extend(
            link.vxlan.and_then(|vxlan| judge_vxlan(&scene.shell, &link.name, vxlan, port, &segments)),
        );
    }
    for other in up.instance.others()? {
        let taken: BTreeSet<u32> = maps::uplinks(&other)?.entries()?.into_keys().collect();
        let shared = up.uplinks(scene).filter(|(link, _)| taken.contains(&link.index.get()));
        let names: Vec<&str> = shared.map(|(link, _)| link.name.as_str()).collect();
        found.extend(judge_instance(other.name(), other.config()?.port() == port, &names));
    }
    if found.is_empty() {
        found.push(Finding::fine("udp-port", port, format!("nobody else wants UDP port {port}")));
    }
    Ok(found)
}

fn judge_socket(socket: &Socket, owner: &Owner) -> Finding {
    let (port, family, Owner { pid, name }) = (socket.port, socket.family.name(), owner);
    Finding::advice("udp-port", port, format!("{name} (process {pid}) listens on UDP port {port} over {family}"))
        .why("the kernel cannot merge tunnel packets as they come in, and TCP is slower; ours do not go to that process")
        .mend(format!("kill {pid}"))
}

fn judge_vxlan(
    shell: &Shell,
    name: &str,
    vxlan: ForeignVxlan,
    port: u16,
    segments: &BTreeSet<u32>,
) -> Option<Finding> {
    let both = match vxlan.vni {
        Some(vni) => {
            segments.contains(&vni).then(|| format!("serves VNI {vni} on UDP port {port}, and so do we"))?
        }
        None => format!("serves every VNI on UDP port {port}"),
    };
    (vxlan.port == port && !segments.is_empty()).then(|| {
        Finding::problem("vxlan", name, format!("the kernel's vxlan device {name} {both}"))
            .why("packets of our segments go to us alone: whoever is behind that device hears nothing")
            .mend(shell.host(format_args!("ip link del {name}")))
    })
}

fn judge_instance(other: &str, is_same_port: bool, shared: &[&str]) -> Option<Finding> {
    (is_same_port && !shared.is_empty()).then(|| {
        let what = format!("instance {other} serves {} on the same UDP port", shared.join(" "));
        Finding::problem("two-instances", other, what)
            .why("tunnel packets go to the one whose programs come first, and the other one hears nothing")
            .mend(format!("overlay --instance {other} down"))
    })
}

#[cfg(test)]
mod tests {
    use overlay_common::maps::config::Families;

    use super::*;

    #[test]
    fn a_vxlan_device_with_our_vni_and_port_is_in_the_way() {
        let families = Families { ipv4: true, ipv6: false };
        let judge = |vni, port, segments: &[u32]| {
            let segments = segments.iter().copied().collect();
            judge_vxlan(&Shell::default(), "vx", ForeignVxlan { vni, port, families }, 4789, &segments)
        };
        assert_eq!(judge(Some(100), 4789, &[100]).unwrap().mend, ["ip link del vx"]);
        assert!(judge(None, 4789, &[100]).is_some());
        assert_eq!(judge(Some(100), 8472, &[100]), None);
        assert_eq!(judge(Some(100), 4789, &[200]), None);
        assert_eq!(judge(None, 4789, &[]), None);
    }

    #[test]
    fn two_instances_share_no_uplink_on_one_port() {
        assert_eq!(judge_instance("b", true, &["u1"]).unwrap().mend, ["overlay --instance b down"]);
        assert_eq!(judge_instance("b", false, &["u1"]), None);
        assert_eq!(judge_instance("b", true, &[]), None);
    }
}

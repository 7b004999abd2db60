//! Whether what workloads send fits: their MTUs, those of ports, segments and uplinks.

use overlay_common::{IfIndex, Vni};

use super::{
    finding::{Finding, Fix},
    scene::Scene,
    shell::Shell,
    sight::{Sight, Workload},
};
use crate::{error::Result, mtu, netlink::Link};

/// The smallest MTU of IPv6 (RFC 8200, section 5).
const IPV6_MIN: u32 = 1280;

/// A segment with tunnels, and what fits them.
#[derive(Clone, Copy, Debug)]
struct Segment<'a> {
    vni: Vni,
    /// As it was set.
    mtu: Option<u32>,
    /// Bytes of a workload's IP packet that the widest and the narrowest tunnel carry, and the uplink of that.
    widest: u32,
    narrowest: u32,
    uplink: &'a str,
    uplink_mtu: u32,
}

impl Segment<'_> {
    /// The largest packet of a workload that goes everywhere unasked.
    fn room(&self) -> u32 {
        self.mtu.map_or(self.narrowest, |mtu| mtu.min(self.narrowest))
    }

    /// What bounds that.
    fn bound(&self) -> String {
        let Self { vni, uplink, uplink_mtu, .. } = self;
        if self.room() < self.narrowest {
            return format!("segment {vni} is set to carry packets of");
        }
        format!("tunnels of segment {vni} by {uplink} (MTU {uplink_mtu}) carry packets of")
    }
}

/// A port in such a segment.
struct Port<'a> {
    name: &'a str,
    index: IfIndex,
    mtu: u32,
    workload: Option<Workload>,
}

pub(super) async fn check(scene: &Scene) -> Result<Vec<Finding>> {
    let Some(up) = &scene.up else { return Ok(Vec::new()) };
    let sight = Sight::new(&scene.netlink, &scene.links).await;
    let mut found = Vec::new();
    for (vni, settings) in &up.segments {
        let Some(vni) = Vni::new(*vni).filter(|vni| up.tunnels.iter().any(|view| view.vni == *vni)) else {
            continue;
        };
        let fits = mtu::fits(&up.instance, &scene.links, &[vni])?;
        let (Some(narrowest), Some(widest)) =
            (fits.iter().min_by_key(|fit| fit.room), fits.iter().map(|fit| fit.room).max())
        else {
            continue;
        };
        let segment = Segment {
            vni,
            mtu: settings.mtu().map(u32::from),
            widest,
            narrowest: narrowest.room,
            uplink: &narrowest.uplink.name,
            uplink_mtu: narrowest.uplink.mtu,
        };
        found.extend(judge_segment(&scene.shell, &segment));
        for (index, port) in &up.ports {
            let is_in = port.vni() == Some(vni) && !port.is_trunk();
            let link = IfIndex::new(*index).filter(|_| is_in).and_then(|index| scene.link(index));
            let Some(link) = link else { continue };
            found.extend(judge_port(&scene.shell, &segment, &seen(scene, &sight, link)));
        }
    }
    if found.is_empty() && !up.segments.is_empty() {
        found.push(Finding::fine("mtu", &scene.name, "what workloads can send fits their tunnels"));
    }
    Ok(found)
}

fn seen<'a>(scene: &Scene, sight: &Sight, link: &'a Link) -> Port<'a> {
    let workload = sight.workload(&scene.links, link);
    Port { name: &link.name, index: link.index, mtu: link.mtu, workload }
}

fn judge_segment(shell: &Shell, segment: &Segment<'_>) -> Vec<Finding> {
    let Segment { vni, widest, narrowest, uplink, uplink_mtu, .. } = *segment;
    let mut found = Vec::new();
    if let Some(mtu) = segment.mtu.filter(|mtu| *mtu > widest) {
        let what = format!(
            "segment {vni} is set to an MTU of {mtu}, and no tunnel of it carries more than {widest}"
        );
        found.push(
            Finding::advice("segment-mtu", vni, what)
                .why("workloads are told of what fits only after they have sent what does not")
                .mend(shell.overlay(format_args!("vni set {vni} --mtu auto"))),
        );
    }
    if narrowest < IPV6_MIN {
        let needed = IPV6_MIN + uplink_mtu - narrowest;
        let what = format!(
            "tunnels of segment {vni} by {uplink} (MTU {uplink_mtu}) carry packets of at most {narrowest}"
        );
        found.push(
            Finding::advice("uplink-mtu", uplink, what)
                .why("IPv6 workloads need 1280 (RFC 8200): what they send of that size is lost")
                .mend(shell.host(format_args!("ip link set {uplink} mtu {needed}"))),
        );
    }
    found
}

fn judge_port(shell: &Shell, segment: &Segment<'_>, port: &Port<'_>) -> Vec<Finding> {
    let room = segment.room();
    let mut found = Vec::new();
    let (mtu, whose) = match &port.workload {
        Some(workload) => {
            (workload.mtu, format!("{} of the workload at port {}", workload.device, port.name))
        }
        None => (port.mtu, format!("port {}", port.name)),
    };
    if mtu > room {
        let command = |device: &str| format!("ip link set {device} mtu {room}");
        let mend = match &port.workload {
            Some(workload) => workload.command(shell, command(&workload.device)),
            None => format!("in the workload: {}", command("DEV")),
        };
        let what = format!("{whose} has an MTU of {mtu}, and {} at most {room}", segment.bound());
        found.push(
            Finding::advice("port-mtu", port.name, what)
                .why("each first large packet is lost and answered with ICMP; what ignores that never gets through")
                .mend(mend),
        );
    }
    if port.workload.is_some() && mtu > port.mtu {
        let what = format!("{whose} has an MTU of {mtu}, and the port one of {}", port.mtu);
        found.push(
            Finding::problem("veth-mtu", port.name, what)
                .why("the veth drops larger frames of the workload, and tells nobody")
                .mend(shell.host(format_args!("ip link set {} mtu {mtu}", port.name)))
                .fix(Fix::Mtu(port.index, mtu)),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(mtu: Option<u32>, uplink_mtu: u32) -> Segment<'static> {
        let room = uplink_mtu - 50;
        let vni = Vni::new(100).unwrap();
        Segment { vni, mtu, widest: room, narrowest: room, uplink: "u1", uplink_mtu }
    }

    fn port(mtu: u32) -> Port<'static> {
        Port { name: "p1", index: IfIndex::new(7).unwrap(), mtu, workload: None }
    }

    fn checks(found: &[Finding]) -> Vec<(&'static str, &str)> {
        found.iter().map(|one| (one.check, one.mend[0].as_str())).collect()
    }

    #[test]
    fn a_segment_has_to_fit_its_tunnels() {
        let shell = Shell::default();
        assert_eq!(judge_segment(&shell, &segment(None, 1500)), []);
        assert_eq!(judge_segment(&shell, &segment(Some(1450), 1500)), []);
        let found = judge_segment(&shell, &segment(Some(1451), 1500));
        assert_eq!(checks(&found), [("segment-mtu", "overlay vni set 100 --mtu auto")]);
        let found = judge_segment(&shell, &segment(None, 1300));
        assert_eq!(checks(&found), [("uplink-mtu", "ip link set u1 mtu 1330")]);
        assert_eq!(judge_segment(&shell, &segment(None, 1330)), []);
    }

    #[test]
    fn a_port_counts_where_its_workload_is_not_seen() {
        let shell = Shell::default();
        assert_eq!(judge_port(&shell, &segment(None, 1500), &port(1450)), []);
        let found = judge_port(&shell, &segment(None, 1500), &port(1500));
        assert_eq!(checks(&found), [("port-mtu", "in the workload: ip link set DEV mtu 1450")]);
        let found = judge_port(&shell, &segment(Some(1400), 1500), &port(1450));
        assert_eq!(checks(&found), [("port-mtu", "in the workload: ip link set DEV mtu 1400")]);
    }
}

//! What devices and the kernel do for packets of ours, or do not.

use overlay_common::maps::{
    device::DeviceName,
    uplink::{Uplink, XdpHook, XdpReason},
};

use super::{
    finding::{Finding, Fix},
    scene::Scene,
    shell::Shell,
};
use crate::{
    devices,
    netlink::LinkKind,
    offload::{Feature, Features},
};

/// The kernel's names.
const GRO: &str = "rx-gro";
const LRO: &str = "rx-lro";
const TSO: &str = "tx-tcp-segmentation";
const TUNNEL_TSO: &str = "tx-udp_tnl-segmentation";

/// What an uplink does.
#[derive(Clone, Debug)]
struct Facts {
    name: DeviceName,
    kind: LinkKind,
    gro: Option<Feature>,
    lro: Option<Feature>,
    tso: Option<Feature>,
    tunnel_tso: Option<Feature>,
    /// Whether native XDP was wanted, and the driver refused it.
    refuses_xdp: bool,
}

pub(super) fn check(scene: &Scene) -> Vec<Finding> {
    let Some(up) = &scene.up else { return Vec::new() };
    let facts = up.uplinks(scene).filter_map(|(link, noted)| {
        let name = devices::name(&link.name).ok()?;
        let features = Features::of(name).ok()?;
        let is_refused = |one: &Uplink| one.xdp() == XdpHook::Off && one.why() == XdpReason::Unsupported;
        Some(Facts {
            name,
            kind: link.kind,
            gro: features.get(GRO),
            lro: features.get(LRO),
            tso: features.get(TSO),
            tunnel_tso: features.get(TUNNEL_TSO),
            refuses_xdp: noted.is_some_and(is_refused),
        })
    });
    let mut found = Vec::new();
    for facts in facts {
        let about = judge(&scene.shell, &facts);
        if about.is_empty() {
            let what = format!("uplink {} merges and cuts up packets as it can", facts.name.as_str());
            found.push(Finding::fine("offloads", facts.name.as_str(), what));
        }
        found.extend(about);
    }
    found
}

fn judge(shell: &Shell, facts: &Facts) -> Vec<Finding> {
    let name = facts.name.as_str();
    let is_on = |feature: Option<Feature>| feature.is_some_and(|feature| feature.is_on);
    let can_be = |feature: Option<Feature>| feature.is_some_and(|one| !one.is_on && one.is_changeable);
    let set = |what: &str| shell.host(format_args!("ethtool -K {name} {what}"));
    let mut found = Vec::new();
    // A virtual device that sends packets whole gets them whole: there is nothing to be merged.
    if can_be(facts.gro) && (facts.kind == LinkKind::Hardware || !is_on(facts.tso)) {
        found.push(
            Finding::advice(
                "gro",
                name,
                format!("uplink {name} does not merge what it receives (GRO is off)"),
            )
            .why("TCP out of tunnels comes to workloads frame by frame, at a fraction of the rate")
            .mend(set("gro on"))
            .fix(Fix::TurnOn(facts.name, GRO)),
        );
    }
    if is_on(facts.tso) && can_be(facts.tunnel_tso) {
        let what = format!("uplink {name} cuts up plain TCP and not that of tunnels ({TUNNEL_TSO} is off)");
        found.push(
            Finding::advice("tunnel-segmentation", name, what)
                .why("the kernel cuts up each large packet itself before it is sent")
                .mend(set(&format!("{TUNNEL_TSO} on")))
                .fix(Fix::TurnOn(facts.name, TUNNEL_TSO)),
        );
    }
    if facts.refuses_xdp && is_on(facts.lro) {
        let what = format!(
            "the driver of {name} refuses native XDP, and LRO is on, which many drivers refuse it for"
        );
        found.push(
            Finding::advice("lro", name, what)
                .why("TC alone serves the uplink, which is slower on a NIC")
                .mend(set("lro off"))
                .mend(shell.anew(None)),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const ON: Option<Feature> = Some(Feature { is_on: true, is_changeable: true });
    const OFF: Option<Feature> = Some(Feature { is_on: false, is_changeable: true });
    const NEVER: Option<Feature> = Some(Feature { is_on: false, is_changeable: false });

    fn veth() -> Facts {
        Facts {
            name: DeviceName::new("u1").unwrap(),
            kind: LinkKind::VethPeer,
            gro: OFF,
            lro: NEVER,
            tso: ON,
            tunnel_tso: ON,
            refuses_xdp: false,
        }
    }

    fn mends(facts: &Facts) -> Vec<String> {
        judge(&Shell::default(), facts).into_iter().flat_map(|finding| finding.mend).collect()
    }

    #[test]
    fn gro_matters_where_packets_come_one_by_one() {
        assert_eq!(mends(&veth()), [""; 0]);
        let gro_on = ["ethtool -K u1 gro on"];
        assert_eq!(mends(&Facts { kind: LinkKind::Hardware, ..veth() }), gro_on);
        assert_eq!(mends(&Facts { tso: OFF, ..veth() }), gro_on);
        assert_eq!(mends(&Facts { tso: OFF, gro: NEVER, ..veth() }), [""; 0]);
    }

    #[test]
    fn segmentation_of_tunnels_matters_where_there_is_one_of_tcp() {
        let off = Facts { tunnel_tso: OFF, ..veth() };
        assert_eq!(mends(&off), ["ethtool -K u1 tx-udp_tnl-segmentation on"]);
        assert_eq!(mends(&Facts { tunnel_tso: NEVER, ..off.clone() }), [""; 0]);
        assert_eq!(mends(&Facts { tso: OFF, gro: ON, ..off }), [""; 0]);
    }

    #[test]
    fn lro_matters_where_the_driver_refuses_xdp() {
        let lro = Facts { lro: ON, ..veth() };
        assert_eq!(mends(&lro), [""; 0]);
        let refused = mends(&Facts { refuses_xdp: true, ..lro });
        assert_eq!(refused[0], "ethtool -K u1 lro off");
    }
}

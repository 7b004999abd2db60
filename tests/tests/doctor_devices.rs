//! `overlay doctor`: offloads, MTUs, other people's programs and firewalls, and what real traffic says about them.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use overlay_common::Family;
use overlay_tests::{
    doctor::{finds, is_sound, mend, report},
    foreign::Foreign,
    mesh,
    netns::NetNs,
    overlay::Instance,
    process,
    topology::{Host, Lab, Underlay, Workload},
    traffic,
};

const VNI: u32 = 100;

/// Pings with packets of so many bytes that must not be fragmented; whether they are answered.
fn large_ping(from: &NetNs, to: IpAddr, length: u32) -> Result<bool> {
    let size = (length - 28).to_string();
    let words = ["-q", "-M", "do", "-i", "0.05", "-W", "1", "-c", "3", "-s", &size];
    Ok(process::output(from.command("ping").args(words).arg(to.to_string()))?.status.success())
}

#[test]
fn offloads_that_are_off_are_turned_on() -> Result<()> {
    let lab = Lab::with(2, Underlay { aggregation: true, ..Underlay::wire(Family::Ipv4) })?;
    let instances = mesh::up(&lab, &[])?;
    let workloads = mesh::segment(&instances, VNI)?;
    let host = lab.host(1);
    is_sound(host)?;
    host.netns.run(&["ethtool", "-K", "u1", "gro", "off"])?;
    let found = finds(host, "gro", "advice")?;
    ensure!(found["mend"][0] == "ethtool -K u1 gro on", "{found:#}");
    mend(host, &found)?;
    host.netns.run(&["ethtool", "-K", "u1", "gro", "off"])?;
    let fixed = report(host, &["--fix"])?;
    ensure!(fixed["fixed"][0] == "turned rx-gro of u1 on", "{fixed:#}");
    is_sound(host)?;
    traffic::tcp(&workloads[1].netns, &workloads[0].netns, workloads[0].v4.into(), 4 << 20)
}

#[test]
fn segmentation_of_tunnels_is_turned_on() -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    let workloads = mesh::segment(&instances, VNI)?;
    let host = lab.host(1);
    for by_hand in [true, false] {
        host.netns.run(&["ethtool", "-K", "u1", "tx-udp_tnl-segmentation", "off"])?;
        let found = finds(host, "tunnel-segmentation", "advice")?;
        if by_hand {
            mend(host, &found)?;
        } else {
            report(host, &["--fix"])?;
        }
        is_sound(host)?;
    }
    traffic::tcp(&workloads[0].netns, &workloads[1].netns, workloads[1].v4.into(), 4 << 20)
}

#[test]
fn a_workload_with_too_large_an_mtu_gets_the_right_one() -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    let workloads = mesh::segment(&instances, VNI)?;
    let (host, to) = (lab.host(1), workloads[1].v4.into());
    for device in [(&host.netns, workloads[0].port.as_str()), (&workloads[0].netns, Workload::DEVICE)] {
        device.0.ip(&format!("link set {} mtu 1500", device.1))?;
    }
    ensure!(!large_ping(&workloads[0].netns, to, 1500)?, "it fits");
    let found = finds(host, "port-mtu", "advice")?;
    ensure!(found["mend"][0].to_string().contains(workloads[0].netns.name()), "{found:#}");
    mend(host, &found)?;
    ensure!(large_ping(&workloads[0].netns, to, 1450)?, "it does not fit");
    Ok(())
}

#[test]
fn a_port_that_takes_less_than_its_workload_sends_is_found() -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    let workloads = mesh::segment(&instances, VNI)?;
    let (host, to, port) = (lab.host(1), workloads[1].v4.into(), &workloads[0].port);
    for by_hand in [true, false] {
        host.netns.ip(&format!("link set {port} mtu 1300"))?;
        ensure!(!large_ping(&workloads[0].netns, to, 1450)?, "the veth takes it");
        let found = finds(host, "veth-mtu", "problem")?;
        if by_hand {
            mend(host, &found)?;
        } else {
            report(host, &["--fix"])?;
        }
        is_sound(host)?;
        ensure!(large_ping(&workloads[0].netns, to, 1450)?, "it is still lost");
    }
    Ok(())
}

#[test]
fn a_segment_that_is_set_to_more_than_its_tunnels_carry_is_found() -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    mesh::connect(&instances, VNI)?;
    let host = lab.host(1);
    host.overlay(&["vni", "set", "100", "--mtu", "1450"])?;
    is_sound(host)?;
    host.netns.ip("link set u1 mtu 1400")?;
    lab.host(2).netns.ip("link set u2 mtu 1400")?;
    mend(host, &finds(host, "segment-mtu", "advice")?)
}

#[test]
fn a_strange_xdp_program_is_found_and_taken_off() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let stranger = Foreign::xdp(&host.netns, "u1")?;
    let instances = mesh::up(&lab, &[])?;
    let workloads = mesh::segment(&instances, VNI)?;
    let found = finds(host, "foreign-xdp", "advice")?;
    traffic::ping(&workloads[0].netns, workloads[1].v4.into(), 1)?;
    let seen = stranger.seen()?;
    ensure!(seen > 0, "it was not on the hook");
    mend(host, &found)?;
    traffic::ping(&workloads[0].netns, workloads[1].v4.into(), 1)?;
    ensure!(stranger.seen()? == seen, "it is still there");
    Ok(())
}

fn strange_tc(tc: &str, attach: impl Fn(&NetNs, &str) -> Result<Foreign>) -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let stranger = attach(&host.netns, "u1")?;
    let instances = mesh::up(&lab, &["--tc", tc])?;
    let workloads = mesh::segment(&instances, VNI)?;
    traffic::ping(&workloads[0].netns, workloads[1].v4.into(), 1)?;
    let found = finds(host, "foreign-tc", "advice")?;
    mend(host, &found)?;
    let seen = stranger.seen()?;
    ensure!(seen > 0, "it was not in front");
    traffic::ping(&workloads[0].netns, workloads[1].v4.into(), 1)?;
    ensure!(stranger.seen()? == seen, "it is still in front");
    // Behind ours it sees nothing of ours, and nobody need know.
    drop(stranger);
    let _behind = Foreign::tcx(&host.netns, "u1")?;
    if tc == "tcx" { is_sound(host) } else { Ok(()) }
}

#[test]
fn a_strange_tcx_program_in_front_is_found_and_taken_off() -> Result<()> {
    strange_tc("tcx", Foreign::tcx)
}

#[test]
fn a_strange_tcx_program_in_front_of_a_filter_is_found_and_taken_off() -> Result<()> {
    strange_tc("clsact", Foreign::tcx)
}

/// Reads rules of nftables, on a host.
fn nft(host: &Host, rules: &str) -> Result<()> {
    process::feed(host.netns.command("nft").args(["-f", "-"]), rules).map(drop)
}

#[test]
fn rules_of_the_uplink_and_of_ip_are_not_in_the_way() -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    let workloads = mesh::segment(&instances, VNI)?;
    let host = lab.host(1);
    // Known by then: rules that drop all would have nobody answer ARP.
    traffic::ping(&workloads[0].netns, workloads[1].v4.into(), 1)?;
    nft(
        host,
        "table netdev t {\n\
           chain in { type filter hook ingress device u1 priority 0; udp dport 4789 counter drop; }\n\
           chain out { type filter hook egress device u1 priority 0; udp dport 4789 counter drop; }\n\
         }\n\
         table inet t {\n\
           chain pre { type filter hook prerouting priority -300; udp dport 4789 counter drop; }\n\
           chain input { type filter hook input priority 0; udp dport 4789 counter drop; }\n\
           chain output { type filter hook output priority 0; udp dport 4789 counter drop; }\n\
           chain forward { type filter hook forward priority 0; policy drop; }\n\
         }\n",
    )?;
    mesh::exchange(&workloads[0], &workloads[1], 1 << 20)?;
    let rules = host.netns.run(&["nft", "list", "ruleset"])?;
    ensure!(rules.matches("counter packets 0 bytes 0 drop").count() == 5, "{rules}");
    is_sound(host)
}

#[test]
fn rules_of_a_device_below_the_uplink_are_in_the_way() -> Result<()> {
    let lab = Lab::new(2)?;
    let (host, other) = (lab.host(1), lab.host(2));
    host.netns.ip(&format!(
        "link add b1 address {} type bridge\nlink set b1 up\naddress flush dev u1\nlink set u1 master b1\n\
         address add 10.0.0.1/24 dev b1\naddress add fd00::1/64 dev b1 nodad",
        host.mac
    ))?;
    host.netns.settle("b1")?;
    host.overlay(&["up", "--uplink", "b1"])?;
    let instances = [Instance::adopt(host)?, Instance::up(other, &[])?];
    let workloads = mesh::segment(&instances, VNI)?;
    traffic::ping(&workloads[0].netns, workloads[1].v4.into(), 1)?;
    is_sound(host)?;
    for (hook, chain) in [
        ("ingress device u1 priority 0", "netdev"),
        ("egress device u1 priority 0", "netdev"),
        ("input priority 0", "bridge"),
        ("output priority 0", "bridge"),
    ] {
        nft(
            host,
            &format!("table {chain} t {{\nchain c {{ type filter hook {hook}; udp dport 4789 drop; }}\n}}\n"),
        )?;
        traffic::no_ping(&workloads[0].netns, workloads[1].v4.into())?;
        let found = finds(host, "firewall", "problem")?;
        mend(host, &found)?;
        traffic::ping(&workloads[0].netns, workloads[1].v4.into(), 1)?;
        nft(host, &format!("delete table {chain} t\n"))?;
    }
    Ok(())
}

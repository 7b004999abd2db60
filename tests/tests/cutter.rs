//! The pair of devices that cuts packets up: when it is there, that nothing speaks by it, and that it is mended.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use overlay_common::Family;
use overlay_tests::{
    agent,
    cutter::{self, Pair},
    frame::{ETHER_EXPERIMENT, Ethernet, Mac},
    mending::{mends, quiet, status, warns},
    mesh,
    objects::Objects,
    overlay::Instance,
    process::wait_until,
    refusal,
    topology::{Host, Lab, Underlay, Workload},
    traffic,
    wire::{Direction, Wire},
};

const EXISTS: i32 = 3;
const MENDED: Duration = Duration::from_secs(4);

fn add(host: &Host, vni: u32, remote: &str) -> Result<()> {
    let vni = vni.to_string();
    host.overlay(&["tunnel", "add", "--vni", &vni, "--remote", remote, "--udp6-csum"]).map(drop)
}

fn del(host: &Host, vni: u32, remote: &str) -> Result<()> {
    host.overlay(&["tunnel", "del", "--vni", &vni.to_string(), "--remote", remote]).map(drop)
}

/// A workload behind each of two instances that send each other checksums.
fn talk<'a>(lab: &'a Lab, arguments: &[&str]) -> Result<(Vec<Workload>, Vec<Instance<'a>>)> {
    let instances = mesh::up(lab, arguments)?;
    add(lab.host(1), 100, "fd00::2")?;
    add(lab.host(2), 100, "fd00::1")?;
    let workloads = instances
        .iter()
        .map(|instance| mesh::workload(instance, 100, instance.host.number))
        .collect::<Result<_>>()?;
    Ok((workloads, instances))
}

fn whole_packets(workloads: &[Workload]) -> Result<()> {
    traffic::tcp(&workloads[0].netns, &workloads[1].netns, workloads[1].v4.into(), 4 << 20)
}

#[test]
fn the_pair_is_there_as_long_as_a_vtep_wants_checksums() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let before = host.netns.devices()?;
    let instance = Instance::up(host, &[])?;
    host.overlay(&["tunnel", "add", "--vni", "100", "--remote", "fd00::3"])?;
    ensure!(cutter::find(host)?.is_none(), "a pair without need");
    add(host, 100, "fd00::2")?;
    let pair = cutter::of(host)?;
    add(host, 200, "fd00::2")?;
    add(host, 200, "fd00::4")?;
    host.overlay(&["tunnel", "add", "--vni", "300", "--remote", "ff05::1", "--udp6-csum", "--dev", "u1"])?;
    for (vni, remote) in [(100, "fd00::2"), (200, "fd00::2"), (200, "fd00::4")] {
        del(host, vni, remote)?;
        ensure!(cutter::of(host)? == pair, "another pair");
    }
    quiet(host)?;
    del(host, 300, "ff05::1")?;
    ensure!(cutter::find(host)?.is_none(), "a pair without need");
    instance.down()?;
    ensure!(host.netns.devices()? == before, "devices are left");
    Ok(())
}

#[test]
fn a_tunnel_that_cannot_be_added_leaves_no_pair() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let _instance = Instance::up(host, &[])?;
    add(host, 100, "fd00::3")?;
    host.overlay(&["fdb", "add", "--vni", "100", "02:00:00:00:00:07", "--remote", "fd00::3"])?;
    del(host, 100, "fd00::3")?;
    host.overlay(&["tunnel", "add", "--vni", "100", "--remote", "fd00::3"])?;
    host.overlay(&["fdb", "add", "--vni", "100", "02:00:00:00:00:07", "--remote", "fd00::3"])?;
    let taken = "tunnel add --vni 100 --remote fd00::2 --udp6-csum --mac 02:00:00:00:00:07";
    refusal::refused(host, taken, EXISTS, "02:00:00:00:00:07")?;
    ensure!(cutter::find(host)?.is_none(), "a pair is left");
    Ok(())
}

fn down_leaves_no_pair(arguments: &[&str]) -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let before = host.netns.devices()?;
    let instance = Instance::up(host, arguments)?;
    add(host, 100, "fd00::2")?;
    ensure!(cutter::find(host)?.is_some(), "no pair");
    let objects = Objects::of(&instance)?;
    instance.down()?;
    objects.gone()?;
    ensure!(host.netns.devices()? == before, "devices are left");
    Ok(())
}

#[test]
fn down_leaves_no_pair_by_tcx() -> Result<()> {
    down_leaves_no_pair(&["--tc", "tcx"])
}

#[test]
fn down_leaves_no_pair_by_clsact() -> Result<()> {
    down_leaves_no_pair(&["--tc", "clsact"])
}

#[test]
fn nothing_speaks_by_the_pair() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    // A router joins groups on each of its devices.
    host.netns.sysctl("ipv6/conf/all/forwarding", "1")?;
    let _instance = Instance::up(host, &[])?;
    add(host, 100, "fd00::2")?;
    let Pair { entrance, exit } = cutter::of(host)?;
    for device in [&entrance, &exit] {
        let addresses = host.netns.run(&["ip", "-o", "address", "show", "dev", device])?;
        ensure!(addresses.is_empty(), "{addresses}");
        let path = format!("/proc/sys/net/ipv6/conf/{device}/disable_ipv6");
        let disabled = host.netns.enter(|| Ok(fs::read_to_string(&path)?))?;
        ensure!(disabled.trim() == "1", "{device} speaks IPv6");
        let counted = host.netns.run(&["ip", "-s", "-j", "link", "show", "dev", device])?;
        let counted: serde_json::Value = serde_json::from_str(&counted)?;
        ensure!(counted[0]["stats64"]["tx"]["packets"] == 0, "{counted}");
    }
    // Nor is anything let in that somebody else sends there.
    let frame = Ethernet::new(Mac([2, 0, 0, 0, 0, 1]), Mac::BROADCAST, ETHER_EXPERIMENT).frame(&[1; 60]);
    Wire::open(&host.netns, &entrance, Direction::Both)?.send(&frame)?;
    wait_until(Instant::now() + traffic::PATIENCE, || Ok((host.drops()?["stray"] == 1).then_some(())))
}

#[test]
fn names_that_others_have_are_one_error() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let _instance = Instance::up(host, &[])?;
    add(host, 100, "fd00::2")?;
    let Pair { entrance, exit } = cutter::of(host)?;
    del(host, 100, "fd00::2")?;
    for taken in [&entrance, &exit] {
        host.netns.ip(&format!("link add {taken} type bridge"))?;
        refusal::refused(host, "tunnel add --vni 100 --remote fd00::2 --udp6-csum", EXISTS, taken)?;
        let devices = host.netns.devices()?;
        ensure!(devices.iter().filter(|name| name.starts_with("ovl")).eq([taken]), "{devices:?}");
        host.netns.ip(&format!("link del {taken}"))?;
    }
    add(host, 100, "fd00::2")
}

#[test]
fn two_instances_have_a_pair_each() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let _first = Instance::up(host, &[])?;
    add(host, 100, "fd00::2")?;
    let pair = cutter::of(host)?;
    let other = |arguments: &[&str]| host.overlay(&[&["--instance", "other"], arguments].concat());
    other(&["up", "--uplink", "u1", "--port", "8472"])?;
    other(&["tunnel", "add", "--vni", "100", "--remote", "fd00::2", "--udp6-csum"])?;
    let devices = host.netns.devices()?;
    ensure!(devices.iter().filter(|name| name.starts_with("ovl")).count() == 4, "{devices:?}");
    other(&["down"])?;
    ensure!(cutter::of(host)? == pair, "it is not the first one's that is left");
    Ok(())
}

#[test]
fn whatever_is_wrong_with_the_pair_is_mended() -> Result<()> {
    let lab = Lab::with(2, Underlay::over(Family::Ipv6))?;
    let (workloads, instances) = talk(&lab, &[])?;
    let one = lab.host(1);
    one.netns.ip(&format!("link del {}", cutter::of(one)?.exit))?;
    mends(one, "was gone")?;
    whole_packets(&workloads)?;
    let Pair { entrance, exit } = cutter::of(one)?;
    for (device, offload) in [(&entrance, "tx"), (&exit, "gro")] {
        one.netns.run(&["ethtool", "-K", device, offload, "on"])?;
        mends(one, "had offloads on")?;
        whole_packets(&workloads)?;
    }
    for device in [&entrance, &exit] {
        one.netns.ip(&format!("link set {device} down"))?;
        mends(one, "was down")?;
        whole_packets(&workloads)?;
    }
    fs::remove_file(pinned(&instances[0], one, &exit)?)?;
    mends(one, "had lost its program")?;
    whole_packets(&workloads)
}

#[test]
fn by_clsact_it_works_and_is_mended_too() -> Result<()> {
    let lab = Lab::with(2, Underlay::over(Family::Ipv6))?;
    let (workloads, _instances) = talk(&lab, &["--tc", "clsact"])?;
    let one = lab.host(1);
    whole_packets(&workloads)?;
    one.netns.run(&["tc", "filter", "del", "dev", &cutter::of(one)?.exit, "ingress"])?;
    mends(one, "had lost its program")?;
    whole_packets(&workloads)?;
    one.netns.ip(&format!("link del {}", cutter::of(one)?.exit))?;
    mends(one, "was gone")?;
    whole_packets(&workloads)
}

/// The pin of the link of the program on a device.
fn pinned(instance: &Instance<'_>, host: &Host, device: &str) -> Result<PathBuf> {
    let index = host.netns.ifindex(device)?;
    Ok(instance.pins().join("links").join(format!("{index}-checksum_cut")))
}

#[test]
fn offloads_that_somebody_turned_on_are_counted_until_they_are_mended() -> Result<()> {
    let lab = Lab::with(2, Underlay::over(Family::Ipv6))?;
    let (workloads, _instances) = talk(&lab, &[])?;
    let one = lab.host(1);
    let send =
        || traffic::udp_segmented(&workloads[0].netns, &workloads[1].netns, workloads[1].v4.into(), 1000, 5);
    send()?;
    let before = one.drops()?;
    one.netns.run(&["ethtool", "-K", &cutter::of(one)?.entrance, "tx", "on"])?;
    ensure!(send().is_err(), "it arrived without being cut up");
    let dropped = one.drops_since(&before)?;
    ensure!(dropped.keys().eq(["gso-checksum"]), "{dropped:?}");
    send()
}

#[test]
fn a_pair_that_cannot_be_made_again_is_told_of() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let _instance = Instance::up(host, &[])?;
    add(host, 100, "fd00::2")?;
    let Pair { entrance, .. } = cutter::of(host)?;
    host.netns.ip(&format!("link del {entrance}\nlink add {entrance} type bridge"))?;
    warns(host, "gso-checksum")?;
    ensure!(host.netns.devices()?.contains(&entrance), "somebody else's device was removed");
    host.netns.ip(&format!("link del {entrance}"))?;
    mends(host, "was gone")
}

#[test]
fn the_agent_makes_the_pair_again() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let (_agent, _instance) = agent::run(host, &[])?;
    add(host, 100, "fd00::2")?;
    let Pair { entrance, .. } = cutter::of(host)?;
    let index = host.netns.ifindex(&entrance)?;
    host.netns.ip(&format!("link del {entrance}"))?;
    wait_until(Instant::now() + MENDED, || {
        Ok(host.netns.ifindex(&entrance).ok().filter(|new| *new != index))
    })?;
    // The agent may still be at it.
    wait_until(Instant::now() + MENDED, || Ok(status(host)?.1.is_empty().then_some(())))
}

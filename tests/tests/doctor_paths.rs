//! `overlay doctor`: the ways to remote VTEPs, and what gets there.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use overlay_common::{
    Family,
    header::{eth, outer},
};
use overlay_tests::{
    doctor::{findings, finds, is_sound, mend, type_commands},
    frame::Network,
    mesh, over_both_families,
    overlay::Instance,
    process,
    topology::{Host, Lab, Underlay, Workload, cable},
    traffic,
};
use serde_json::Value;

over_both_families!(a_path_that_carries_less_in_its_middle_is_found, a_router_that_says_so_is_only_advice);

const VNI: u32 = 100;
/// What the middle of the path carries, bytes of an outer IP packet.
const NARROW: u32 = 1400;
/// How long the doctor may take, with room for a busy machine.
const BOUND: Duration = Duration::from_secs(15);

/// What a path carries is set for the segment, and then the workload sends no more than that.
fn mend_path(host: &Host, found: &Value) -> Result<()> {
    type_commands(host, found)?;
    mend(host, &finds(host, "port-mtu", "advice")?)
}

fn a_path_that_carries_less_in_its_middle_is_found<N: Network>() -> Result<()> {
    let lab = Lab::with(3, Underlay { aggregation: true, ..Underlay::wire(N::FAMILY) })?;
    let instances = [Instance::up(lab.host(1), &[])?, Instance::up(lab.host(2), &[])?];
    mesh::connect(&instances, VNI)?;
    let workloads = [mesh::workload(&instances[0], VNI, 1)?, mesh::workload(&instances[1], VNI, 2)?];
    let (from, to) = (&workloads[0], &workloads[1]);
    traffic::tcp(&from.netns, &to.netns, to.v4.into(), 1 << 20)?;
    let host = lab.host(1);
    // A switch says nothing about what it drops.
    let Some(switch) = &lab.switch else { anyhow::bail!("no switch") };
    switch.ip(&format!("link set u2 mtu {NARROW}"))?;
    ensure!(findings(host, &["--no-probe", "--fix"])?.iter().all(|one| one["check"] != "path-mtu"));
    let start = Instant::now();
    let found = finds(host, "path-mtu", "problem")?;
    ensure!(start.elapsed() < BOUND, "{:?}", start.elapsed());
    ensure!(found["what"].to_string().contains(&format!("packets of {NARROW} bytes")), "{found:#}");
    let room = usize::try_from(NARROW)? - outer::overhead(N::FAMILY) - eth::LEN;
    ensure!(found["mend"][0] == format!("overlay vni set 100 --mtu {room}"), "{found:#}");
    mend_path(host, &found)?;
    traffic::tcp(&from.netns, &to.netns, to.v4.into(), 1 << 20)?;
    traffic::tcp(&from.netns, &to.netns, to.v6.into(), 1 << 20)
}

fn a_router_that_says_so_is_only_advice<N: Network>() -> Result<()> {
    let lab = Lab::with(3, Underlay { aggregation: true, ..Underlay::wire(N::FAMILY) })?;
    let router = lab.host(3);
    for setting in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        router.netns.sysctl(setting, "1")?;
    }
    for setting in ["ipv4/conf/all/send_redirects", "ipv4/conf/u3/send_redirects"] {
        router.netns.sysctl(setting, "0")?;
    }
    let (host, other) = (lab.host(1), lab.host(2));
    host.netns.sysctl("ipv6/conf/u1/accept_redirects", "0")?;
    host.netns.ip(&format!("route add {} via {} dev u1 src {}", other.vtep, router.vtep, host.vtep))?;
    router.netns.ip(&format!("route add {} dev u3 mtu lock {NARROW}", other.vtep))?;
    let instances = [Instance::up(host, &[])?, Instance::up(other, &[])?];
    mesh::connect(&instances, VNI)?;
    let workloads = [mesh::workload(&instances[0], VNI, 1)?, mesh::workload(&instances[1], VNI, 2)?];
    let found = finds(host, "path-mtu", "advice")?;
    ensure!(found["what"].to_string().contains(&format!("packets of {NARROW} bytes")), "{found:#}");
    mend_path(host, &found)?;
    traffic::tcp(&workloads[0].netns, &workloads[1].netns, workloads[1].v6.into(), 1 << 20)
}

#[test]
fn a_vtep_that_nobody_answers_for_is_found() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let _instance = Instance::up(host, &[])?;
    host.overlay(&["tunnel", "add", "--vni", "100", "--remote", "10.0.0.77"])?;
    mend(host, &finds(host, "unreachable", "problem")?)?;
    host.overlay(&["tunnel", "add", "--vni", "100", "--remote", "10.9.0.77"])?;
    mend(host, &finds(host, "no-route", "problem")?)
}

#[test]
fn a_firewall_that_drops_arp_shows_in_the_next_hop() -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    let host = lab.host(1);
    let rules = "add table arp t\nadd chain arp t c { type filter hook input priority 0; policy drop; }\n";
    let feed = |text: &str| process::feed(host.netns.command("nft").args(["-f", "-"]), text);
    feed(rules)?;
    mesh::connect(&instances[..1], VNI)?;
    host.overlay(&["tunnel", "add", "--vni", "100", "--remote", "10.0.0.2"])?;
    let found = finds(host, "unreachable", "problem")?;
    ensure!(found["what"].to_string().contains("ARP"), "{found:#}");
    feed("delete table arp t\n")?;
    host.netns.ip("neigh flush dev u1")?;
    host.overlay(&["status"])?;
    traffic::ping(&host.netns, lab.host(2).v4.into(), 1)?;
    is_sound(host)
}

#[test]
fn a_route_by_another_device_is_found_and_the_device_made_an_uplink() -> Result<()> {
    let lab = Lab::new(2)?;
    let (host, other) = (lab.host(1), lab.host(2));
    let instances = mesh::up(&lab, &[])?;
    let workloads = mesh::segment(&instances, VNI)?;
    cable(&host.netns, ("x1", None), &other.netns, ("x2", None))?;
    host.netns.ip("link set x1 up\naddress add 10.7.0.1/24 dev x1")?;
    other.netns.ip("link set x2 up\naddress add 10.7.0.2/24 dev x2")?;
    for (host, device) in [(host, "x1"), (other, "x2")] {
        host.netns.settle(device)?;
    }
    is_sound(host)?;
    host.netns.ip("route add 10.0.0.2/32 via 10.7.0.2 dev x1 src 10.0.0.1")?;
    let found = finds(host, "not-an-uplink", "problem")?;
    traffic::no_ping(&workloads[0].netns, workloads[1].v4.into())?;
    mend(host, &found)?;
    // There, too: packets come in by it.
    other.netns.ip("route add 10.0.0.1/32 via 10.7.0.1 dev x2 src 10.0.0.2")?;
    mend(other, &finds(other, "not-an-uplink", "problem")?)?;
    traffic::ping(&workloads[0].netns, workloads[1].v4.into(), 1)
}

#[test]
fn an_uplink_that_is_down_is_found() -> Result<()> {
    let lab = Lab::with(2, Underlay::over(Family::Ipv4))?;
    let instances = mesh::up(&lab, &[])?;
    let workloads = mesh::segment(&instances, VNI)?;
    let host = lab.host(1);
    host.netns.ip("link set u1 down")?;
    let found = findings(host, &[])?;
    let down = found.iter().find(|one| one["check"] == "link-down");
    let Some(down) = down else { anyhow::bail!("{found:#?}") };
    type_commands(host, down)?;
    host.netns.settle("u1")?;
    host.overlay(&["status"])?;
    host.netns.ip("address replace fd00::1/64 dev u1 nodad")?;
    traffic::ping(&workloads[0].netns, workloads[1].v4.into(), 3)?;
    is_sound(host)
}

/// Makes a workload say something to everybody, often.
fn speak(workload: &Workload) -> Result<()> {
    workload.netns.run(&[
        "ip",
        "neigh",
        "replace",
        "10.1.0.9",
        "lladdr",
        "02:00:00:00:00:99",
        "dev",
        "eth0",
    ])?;
    let words = ["-q", "-c", "20", "-i", "0.01", "-W", "0.1", "10.1.0.9"];
    process::output(workload.netns.command("ping").args(words)).map(drop)
}

#[test]
fn a_vtep_that_never_sent_anything_is_found() -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    let host = lab.host(1);
    instances[0].reach(VNI, lab.host(2))?;
    let workload = mesh::workload(&instances[0], VNI, 1)?;
    speak(&workload)?;
    let found = finds(host, "never-sent", "advice")?;
    // It is the other host that lacks something.
    type_commands(lab.host(2), &found)?;
    let answering = mesh::workload(&instances[1], VNI, 2)?;
    traffic::ping(&workload.netns, answering.v4.into(), 1)?;
    is_sound(host)
}

//! Equal-cost routes to a remote VTEP: flows are shared out among them, and each flow keeps to one.

use std::{net::IpAddr, thread, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use overlay_common::{DropReason, Notice};
use overlay_tests::{
    dialogue::Dialogue,
    frame::{ETHER_IPV4, Ethernet, IP_TCP, IP_UDP, Ipv4, Network as _, Tcp, Udp},
    overlay::Instance,
    topology::{Host, Lab, Plan, Workload, cable},
    traffic,
    wire::{Direction, Wire},
};
use serde_json::json;

const VNI: u32 = 100;
const FLOWS: u64 = 32;
/// Datagrams of a flow, each way.
const LENGTH: usize = 20;
/// What hosts say to each other besides.
const NOISE: u64 = 20;

/// Addresses of the local VTEPs that are on no uplink, but for the last digit, which is the host's number.
#[derive(Clone, Copy)]
struct Net {
    vtep: &'static str,
    first: &'static str,
    second: &'static str,
    len: u8,
}

const IPV4: Net = Net { vtep: "10.255.0.", first: "10.0.0.", second: "10.9.0.", len: 32 };
const IPV6: Net = Net { vtep: "fdff::", first: "fd00::", second: "fd09::", len: 128 };

/// Two hosts with two links between them, both of which lead to the other's VTEP.
fn lab(net: Net) -> Result<Lab> {
    let lab = Lab::new(2)?;
    let (one, two) = (lab.host(1), lab.host(2));
    cable(&one.netns, ("x1", None), &two.netns, ("x2", None))?;
    for host in &lab.hosts {
        let number = host.number;
        host.netns.ip(&format!(
            "link set x{number} up\naddr add 10.9.0.{number}/24 dev x{number}\n\
             addr add fd09::{number}/64 dev x{number} nodad\naddr add {}{number}/{} dev lo",
            net.vtep, net.len
        ))?;
        host.netns.sysctl("ipv4/fib_multipath_hash_policy", "1")?;
        host.netns.sysctl("ipv4/conf/all/ignore_routes_with_linkdown", "1")?;
        host.netns.sysctl("ipv6/conf/all/ignore_routes_with_linkdown", "1")?;
    }
    for host in &lab.hosts {
        host.netns.settle(&format!("x{}", host.number))?;
        route(host, net)?;
    }
    Ok(lab)
}

fn route(host: &Host, net: Net) -> Result<()> {
    let (number, other) = (host.number, 3 - host.number);
    host.netns.ip(&format!(
        "route replace {0}{other}/{1} nexthop via {2}{other} dev u{number} nexthop via {3}{other} dev x{number}",
        net.vtep, net.len, net.first, net.second
    ))
}

fn up(lab: &Lab, net: Net) -> Result<Vec<Instance<'_>>> {
    let up = |host: &'_ Host| -> Result<()> {
        let local = format!("{}{}", net.vtep, host.number);
        let second = format!("x{}", host.number);
        host.overlay(&["up", "--uplink", &host.uplink, &second, "--local", &local])?;
        Ok(())
    };
    lab.hosts.iter().map(|host| up(host).and_then(|()| Instance::adopt(host))).collect()
}

fn connect(instances: &[Instance<'_>], net: Net) -> Result<Vec<Workload>> {
    for instance in instances {
        let remote = format!("{}{}", net.vtep, 3 - instance.host.number);
        instance.host.overlay(&["tunnel", "add", "--vni", "100", "--remote", &remote])?;
    }
    let workload = |instance: &Instance<'_>| {
        // What fits over either family.
        let workload =
            instance.host.workload(&Plan { mtu: Some(1430), ..Plan::new(VNI, instance.host.number) })?;
        instance.attach(VNI, &workload)?;
        Ok(workload)
    };
    instances.iter().map(workload).collect()
}

/// How many packets each of a host's uplinks has sent.
fn sent(host: &Host) -> Result<[u64; 2]> {
    let count = |device: &str| -> Result<u64> {
        let text = host.netns.run(&["ip", "-s", "-j", "link", "show", "dev", device])?;
        let links: serde_json::Value = serde_json::from_str(&text)?;
        links[0]["stats64"]["tx"]["packets"].as_u64().context("no count")
    };
    Ok([count(&host.uplink)?, count(&format!("x{}", host.number))?])
}

/// How many packets each of a host's uplinks sends while `work` is done.
fn sent_while(host: &Host, work: impl FnOnce() -> Result<()>) -> Result<[u64; 2]> {
    let before = sent(host)?;
    work()?;
    let after = sent(host)?;
    Ok([after[0] - before[0], after[1] - before[1]])
}

fn exchange(workloads: &[Workload]) -> Result<()> {
    traffic::udp(&workloads[0].netns, &workloads[1].netns, IpAddr::V4(workloads[1].v4), &[100; LENGTH])
}

fn flows_are_shared_out(net: Net) -> Result<()> {
    let lab = lab(net)?;
    let instances = up(&lab, net)?;
    let workloads = connect(&instances, net)?;
    exchange(&workloads)?;
    for host in &lab.hosts {
        let shares = sent_while(host, || (0..FLOWS).try_for_each(|_| exchange(&workloads)))?;
        println!("{FLOWS} flows of {LENGTH} packets: {shares:?}");
        let all = FLOWS * LENGTH as u64;
        ensure!(shares[0] + shares[1] < all + FLOWS + NOISE, "{shares:?}");
        ensure!(shares.iter().all(|&share| share >= all / 8), "not shared out: {shares:?}");
    }
    for _ in 0..8 {
        // Longer than an answer of the kernel is used: it has to be the same again.
        let shares = sent_while(lab.host(1), || {
            let flow = Dialogue::start(&workloads[0].netns, &workloads[1].netns, workloads[1].v4.into())?;
            let end = std::time::Instant::now() + std::time::Duration::from_millis(250);
            while std::time::Instant::now() < end {
                flow.go_on(20)?;
            }
            flow.finish()
        })?;
        ensure!(shares.iter().any(|&share| share < NOISE), "one flow took both ways: {shares:?}");
    }
    let status = lab.host(1).overlay_json(&["status"])?;
    ensure!(status["warnings"] == json!([]), "{status}");
    Ok(())
}

#[test]
fn flows_are_shared_out_over_ipv4() -> Result<()> {
    flows_are_shared_out(IPV4)
}

#[test]
fn flows_are_shared_out_over_ipv6() -> Result<()> {
    flows_are_shared_out(IPV6)
}

#[test]
fn flows_move_to_the_way_that_is_left() -> Result<()> {
    let lab = lab(IPV4)?;
    let instances = up(&lab, IPV4)?;
    let workloads = connect(&instances, IPV4)?;
    let flows: Vec<Dialogue> = (0..8)
        .map(|_| Dialogue::start(&workloads[0].netns, &workloads[1].netns, workloads[1].v4.into()))
        .collect::<Result<_>>()?;
    for (down, up) in [("x1", "u1"), ("u1", "x1")] {
        lab.host(1).netns.ip(&format!("link set {down} down"))?;
        // Full of traffic, the kernel of the other host takes long to act on the lost carrier; asking hastens it.
        lab.host(2).netns.run(&["ethtool", &down.replace('1', "2")])?;
        flows.iter().try_for_each(|flow| flow.go_on(20))?;
        lab.host(1).netns.ip(&format!("link set {down} up"))?;
        lab.host(1).netns.settle(down)?;
        lab.host(1).netns.settle(up)?;
        lab.host(2).netns.settle(&down.replace('1', "2"))?;
        route(lab.host(1), IPV4)?;
    }
    for flow in flows {
        flow.go_on(20)?;
        flow.finish()?;
    }
    Ok(())
}

#[test]
fn a_second_way_is_taken_when_it_is_there_and_its_settings_are_looked_at() -> Result<()> {
    let lab = lab(IPV4)?;
    let one = lab.host(1);
    one.netns.ip("route replace 10.255.0.2/32 via 10.0.0.2 dev u1")?;
    let instances = up(&lab, IPV4)?;
    let workloads = connect(&instances, IPV4)?;
    let shares = sent_while(one, || (0..FLOWS).try_for_each(|_| exchange(&workloads)))?;
    ensure!(shares[1] < NOISE, "there is one way: {shares:?}");

    route(one, IPV4)?;
    one.netns.sysctl("ipv4/fib_multipath_hash_policy", "0")?;
    let status = one.overlay_json(&["status"])?;
    ensure!(status["warnings"].to_string().contains("fib_multipath_hash_policy=1"), "{status}");
    one.netns.sysctl("ipv4/fib_multipath_hash_policy", "1")?;
    let shares = sent_while(one, || (0..FLOWS).try_for_each(|_| exchange(&workloads)))?;
    ensure!(shares.iter().all(|&share| share >= NOISE), "not shared out: {shares:?}");
    Ok(())
}

/// Datagrams of 1450 bytes of IP, on as many flows.
fn send_large(from: &Workload, to: &Workload, flows: u16) -> Result<()> {
    let wire = Wire::open(&from.netns, Workload::DEVICE, Direction::In)?;
    let ip = Ipv4::new(from.v4, to.v4, IP_UDP);
    for port in 3000..3000 + flows {
        let datagram = Udp::new(port, 2000).datagram(ip.addresses(), &[1; 1422]);
        wire.send(&Ethernet::new(from.mac, to.mac, ETHER_IPV4).frame(&ip.packet(&datagram)))?;
        // Answers are so many a second.
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// What becomes of an MSS of 1410 in a handshake.
fn clamped(from: &Workload, to: &Workload, port: u16) -> Result<u16> {
    let ip = Ipv4::new(from.v4, to.v4, IP_TCP);
    let header = Tcp { offset_flags: 6 << 12 | 2, ..Tcp::new(port, 9) };
    let segment = header.segment(ip.addresses(), &[2, 4, 5, 130]);
    let far = Wire::open(&to.netns, Workload::DEVICE, Direction::In)?;
    let wire = Wire::open(&from.netns, Workload::DEVICE, Direction::In)?;
    wire.send(&Ethernet::new(from.mac, to.mac, ETHER_IPV4).frame(&ip.packet(&segment)))?;
    let is_ours = |bytes: &[u8]| bytes.get(34..36) == Some(&port.to_be_bytes()[..]) && bytes[23] == IP_TCP;
    let syn = far.expect("a handshake", |seen| is_ours(&seen.bytes))?.bytes;
    let mss = syn.get(56..58).context("no MSS")?;
    Ok(u16::from_be_bytes([mss[0], mss[1]]))
}

#[test]
fn what_does_not_fit_its_own_path_is_answered_and_an_mss_fits_every_path() -> Result<()> {
    const LARGE: u16 = 48;
    for small in ["u", "x"] {
        let lab = lab(IPV4)?;
        let instances = up(&lab, IPV4)?;
        let workloads = connect(&instances, IPV4)?;
        let (one, [from, to]) = (lab.host(1), &workloads[..]) else { bail!("two workloads") };
        from.netns.ip("link set eth0 mtu 1450")?;
        one.netns.ip(&format!("link set {} mtu 1450", from.port))?;
        traffic::ping(&from.netns, to.v4.into(), 5)?;
        for host in &lab.hosts {
            host.netns.ip(&format!("link set {small}{} mtu 1400", host.number))?;
        }
        let (drops, answered) = (one.drops()?, one.noticed(Notice::TooBigAnswered)?);
        send_large(from, to, LARGE)?;
        let too_big = one.drops_since(&drops)?.get(DropReason::TooBig.name()).copied().unwrap_or_default();
        let answered = one.noticed(Notice::TooBigAnswered)? - answered;
        ensure!(too_big > 8 && too_big < u64::from(LARGE) - 8, "{small}: {too_big} dropped");
        ensure!(answered == too_big, "{small}: {too_big} dropped, {answered} answered");
        one.overlay(&["vni", "set", "100", "--clamp-mss", "on"])?;
        for port in 4000..4004 {
            let mss = clamped(from, to, port)?;
            ensure!(mss == 1400 - 50 - 40, "{small}: an MSS of {mss}");
        }
    }
    Ok(())
}

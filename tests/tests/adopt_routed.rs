//! A `vxlan` device that is in no bridge and that the host routes into, as Flannel makes one: adopted like those that are.

use std::net::{IpAddr, UdpSocket};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use overlay_common::Family;
use overlay_tests::{
    adopting::{FEW, ROUTED},
    agent::{self, soon},
    dialogue::Dialogue,
    frame::Mac,
    kernel,
    overlay::{FAILED, Instance},
    process::Background,
    routed::{self, DEVICE, PORT, gateway, pods},
    stream::Stream,
    topology::{Host, Lab, Underlay, Workload},
    traffic,
    wire::{Direction, Wire},
};

fn agent(host: &Host) -> Result<(Background, Instance<'_>)> {
    agent::run(host, &["--port", PORT])
}

/// Adopts and releases on one host, then on both, while datagrams between pods and a connection between hosts go on.
fn nothing_is_lost(family: Family, options: &[&str]) -> Result<()> {
    let lab = Lab::with(2, Underlay::over(family))?;
    let pods = pods(&lab, options)?;
    let mut agents: Vec<_> = lab.hosts.iter().map(agent).collect::<Result<_>>()?;
    let [one, two] = [lab.host(1), lab.host(2)];
    let stream = Stream::start(&pods[0].netns, &pods[1].netns, pods[1].v4.into())?;
    let talk = Dialogue::start(&two.netns, &one.netns, gateway(1).into())?;
    ROUTED.loses_nothing(&lab, (stream, talk), |_| Ok(()))?;
    for (agent, _) in &mut agents {
        ensure!(agent.signal(Signal::SIGTERM)? == Some(0), "it has to end well");
    }
    Ok(())
}

#[test]
fn nothing_is_lost_over_ipv4() -> Result<()> {
    nothing_is_lost(Family::Ipv4, &[])
}

#[test]
fn nothing_is_lost_over_ipv6() -> Result<()> {
    nothing_is_lost(Family::Ipv6, &["udp6zerocsumtx", "udp6zerocsumrx"])
}

#[test]
fn nothing_is_lost_over_ipv6_with_checksums() -> Result<()> {
    nothing_is_lost(Family::Ipv6, &[])
}

/// Waits until the programs of a host have carried packets both ways between two pods.
fn known(host: &Host, pods: &[Workload]) -> Result<()> {
    let stream = Stream::start(&pods[0].netns, &pods[1].netns, pods[1].v4.into())?;
    ROUTED.carries(host, &stream)?;
    stream.finish().map(drop)
}

/// A host that is adopted and one whose kernel does it all: everything arrives both ways, and TCP goes by the programs.
fn all_arrives(underlay: Underlay, options: &[&str]) -> Result<()> {
    let lab = Lab::with(2, underlay)?;
    let pods = pods(&lab, options)?;
    let host = lab.host(1);
    let (_agent, _instance) = agent(host)?;
    host.overlay(&["adopt", DEVICE])?;
    known(host, &pods)?;
    let [one, two] = [&pods[0].netns, &pods[1].netns];
    let (kernel, ours) = (ROUTED.carried(host)?, ROUTED.forwarded(host)?);
    let other = &lab.host(2).netns;
    let ways: [(_, _, IpAddr); 8] = [
        (one, two, pods[1].v4.into()),
        (one, two, pods[1].v6.into()),
        (two, one, pods[0].v4.into()),
        (two, one, pods[0].v6.into()),
        (&host.netns, other, gateway(2).into()),
        (other, &host.netns, gateway(1).into()),
        (&host.netns, two, pods[1].v6.into()),
        (other, one, pods[0].v6.into()),
    ];
    for (from, to, address) in ways {
        traffic::ping(from, address, 5)?;
        traffic::tcp(from, to, address, 1 << 22)?;
        traffic::udp(from, to, address, &[0, 1, 512, 1200, 1372, 1373, 4000])?;
        traffic::udp_segmented(from, to, address, 1000, 20)?;
    }
    let (kernel_after, ours_after) = (ROUTED.carried(host)?, ROUTED.forwarded(host)?);
    let (sent, received) = (ours_after.0 - ours.0, ours_after.1 - ours.1);
    // Four times four megabytes each way, and answers.
    ensure!(sent > 11_000 && received > 11_000, "the programs sent {sent} and received {received}");
    // What is in pieces and is not TCP, and the odd frame: hundreds against thousands.
    let by_kernel = (kernel_after.0 - kernel.0, kernel_after.1 - kernel.1);
    ensure!(by_kernel.0 < 600 && by_kernel.1 < 600, "the kernel carried {by_kernel:?}");
    ensure!(host.drops()?.values().all(|count| *count == 0), "{:?}", host.drops()?);
    Ok(())
}

#[test]
fn all_arrives_in_large_pieces() -> Result<()> {
    all_arrives(Underlay::over(Family::Ipv4), &[])
}

#[test]
fn all_arrives_as_on_a_wire() -> Result<()> {
    all_arrives(Underlay { aggregation: true, ..Underlay::wire(Family::Ipv4) }, &[])
}

#[test]
fn all_arrives_over_ipv6() -> Result<()> {
    all_arrives(Underlay::over(Family::Ipv6), &["udp6zerocsumtx", "udp6zerocsumrx"])
}

#[test]
fn all_arrives_over_ipv6_with_checksums() -> Result<()> {
    all_arrives(Underlay::wire(Family::Ipv6), &[])
}

#[test]
fn a_large_piece_of_tcp_stays_whole() -> Result<()> {
    let lab = Lab::new(2)?;
    let pods = pods(&lab, &[])?;
    let (host, other) = (lab.host(1), lab.host(2));
    let (_agent, _instance) = agent(host)?;
    host.overlay(&["adopt", DEVICE])?;
    known(host, &pods)?;
    for (from, to, at) in [(host, other, other), (other, host, host)] {
        let wire = Wire::open(&at.netns, &at.uplink, Direction::In)?;
        let kernel = ROUTED.carried(host)?;
        traffic::tcp(&from.netns, &to.netns, gateway(to.number).into(), 1 << 24)?;
        let largest = wire.collect(|_| true)?.iter().map(|frame| frame.bytes.len()).max();
        ensure!(largest > Some(60_000), "the largest had {largest:?} bytes");
        let after = ROUTED.carried(host)?;
        ensure!(after.0 - kernel.0 <= FEW && after.1 - kernel.1 <= FEW, "{kernel:?} and then {after:?}");
    }
    Ok(())
}

#[test]
fn bytes_on_the_wire_are_those_of_the_device() -> Result<()> {
    let lab = Lab::new(2)?;
    let pods = pods(&lab, &["noudpcsum", "ttl", "9", "tos", "0xb8", "srcport", "50000", "50100"])?;
    let (host, other) = (lab.host(1), lab.host(2));
    let (_agent, _instance) = agent(host)?;
    let stream = Stream::start(&pods[0].netns, &pods[1].netns, pods[1].v4.into())?;
    let wire = Wire::open(&other.netns, &other.uplink, Direction::In)?;
    let port = PORT.parse::<u16>()?.to_be_bytes();
    let seen = |what: &str| {
        wire.collect(|_| false)?;
        stream.go_on(300)?;
        let is_it = |bytes: &[u8]| bytes.len() >= 100 && bytes[23] == 17 && bytes[36..38] == port;
        wire.expect(what, |frame| is_it(&frame.bytes)).map(|frame| frame.bytes)
    };
    let kernel = seen("a packet of the kernel")?;
    host.overlay(&["adopt", DEVICE])?;
    ROUTED.carries(host, &stream)?;
    let ours = seen("a packet of the programs")?;
    // The ids differ, and so do their checksums and the payload; the source ports are of the same range.
    for at in [0..18, 20..24, 26..34, 36..64, 72..74, 76..86] {
        ensure!(kernel[at.clone()] == ours[at.clone()], "{at:?}: {kernel:x?}, {ours:x?}");
    }
    for bytes in [&kernel, &ours] {
        let port = u16::from_be_bytes([bytes[34], bytes[35]]);
        ensure!((50000..50100).contains(&port), "source port {port}");
    }
    stream.finish().map(drop)
}

#[test]
fn a_station_that_moves_is_followed() -> Result<()> {
    let lab = Lab::new(3)?;
    let pods = pods(&lab, &[])?;
    let host = lab.host(1);
    let (_agent, _instance) = agent(host)?;
    host.overlay(&["adopt", DEVICE])?;
    known(host, &pods)?;
    let sender = host.netns.enter(|| Ok(UdpSocket::bind("0.0.0.0:0")?))?;
    // What host 2 has is now behind host 3, and back: the underlay tells where it was sent.
    let station = routed::mac(2);
    for number in [3, 2, 3] {
        let at = lab.host(number);
        let wire = Wire::open(&at.netns, &at.uplink, Direction::In)?;
        routed::behind(host, station, at.vtep)?;
        let is_it = |bytes: &[u8]| bytes.len() > 92 && bytes[50..56] == station.0 && bytes[92..] == [number];
        soon("the station is found where it is", || {
            let before = ROUTED.forwarded(host)?;
            sender.send_to(&[number], (pods[1].v4, 7000))?;
            let came = wire.collect(|frame| is_it(&frame.bytes))?;
            Ok((!came.is_empty() && ROUTED.forwarded(host)?.0 == before.0 + 1).then_some(()))
        })?;
    }
    kernel::bridge(host, &format!("fdb del {station} dev {DEVICE} self"))?;
    soon("what the kernel does not know is left to it", || {
        let ours = ROUTED.forwarded(host)?;
        sender.send_to(&[0], (pods[1].v4, 7000))?;
        Ok((ROUTED.forwarded(host)? == ours).then_some(()))
    })
}

#[test]
fn what_is_for_another_address_than_the_device_s_stays_with_the_kernel() -> Result<()> {
    let lab = Lab::new(2)?;
    let pods = pods(&lab, &[])?;
    let (host, other) = (lab.host(1), lab.host(2));
    let (_agent, _instance) = agent(host)?;
    host.overlay(&["adopt", DEVICE])?;
    known(host, &pods)?;
    let stranger = Mac([0x02, 0, 0, 0, 0xf1, 0x99]);
    routed::behind(other, stranger, host.vtep)?;
    other.netns.ip(&format!("neigh replace 10.244.1.0 lladdr {stranger} dev {DEVICE} nud permanent"))?;
    let (kernel, ours) = (ROUTED.carried(host)?, ROUTED.forwarded(host)?);
    traffic::no_ping(&pods[1].netns, pods[0].v4.into())?;
    ensure!(
        ROUTED.carried(host)?.1 >= kernel.1 + 3 && ROUTED.forwarded(host)? == ours,
        "the kernel has them"
    );
    Ok(())
}

#[test]
fn what_is_routed_into_no_device_is_refused() -> Result<()> {
    let lab = Lab::new(2)?;
    pods(&lab, &[])?;
    let host = lab.host(1);
    let (_agent, _instance) = agent(host)?;
    let refused = |words: &str| {
        let refused = host.overlay_fails(&["adopt", DEVICE])?;
        ensure!(refused.code == FAILED && refused.stderr.contains(words), "{words}: {refused:?}");
        ensure!(refused.stderr.lines().count() == 1, "{refused:?}");
        Ok(())
    };
    host.netns.ip(&format!("link set {DEVICE} down"))?;
    refused("not up")?;
    host.netns.ip(&format!("link set {DEVICE} up\naddr flush dev {DEVICE}"))?;
    refused("nor has it an address")?;
    host.netns.ip(&format!("addr add 10.244.1.0/32 dev {DEVICE}"))?;
    host.netns.run(&["tc", "qdisc", "add", "dev", DEVICE, "root", "pfifo"])?;
    refused("queueing discipline")?;
    host.netns.run(&["tc", "qdisc", "del", "dev", DEVICE, "root"])?;
    host.overlay(&["adopt", DEVICE]).map(drop)
}

#[test]
fn the_device_is_as_it_was_without_tcx() -> Result<()> {
    let lab = Lab::new(2)?;
    let pods = pods(&lab, &[])?;
    let host = lab.host(1);
    let (mut agent, instance) = agent::run(host, &["--port", PORT, "--tc", "clsact"])?;
    let qdiscs = || host.netns.run(&["tc", "qdisc", "show", "dev", DEVICE]);
    let before = qdiscs()?;
    let stream = Stream::start(&pods[0].netns, &pods[1].netns, pods[1].v4.into())?;
    for _ in 0..2 {
        host.overlay(&["adopt", DEVICE])?;
        ROUTED.carries(host, &stream)?;
        ensure!(qdiscs()?.contains("clsact"), "it is by clsact: {}", qdiscs()?);
        host.overlay(&["adopt", "--release", DEVICE])?;
        ensure!(qdiscs()? == before, "the device is not as it was: {}", qdiscs()?);
        stream.go_on(100)?;
    }
    host.overlay(&["adopt", DEVICE])?;
    ensure!(agent.signal(Signal::SIGTERM)? == Some(0), "it has to end well");
    host.overlay(&["down"])?;
    instance.is_down_already();
    ensure!(qdiscs()? == before, "the device is not as it was: {}", qdiscs()?);
    stream.go_on(100)
}

//! The harness proves itself: frames on the wire, and frames as bytes.

use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use overlay_tests::{
    foreign::Foreign,
    frame::{
        Arp, ETHER_EXPERIMENT, ETHER_IPV4, ETHER_IPV6, Echo, Ethernet, IP_ICMP6, IP_TCP, IP_UDP, Ipv4, Ipv6,
        Mac, Network, Outer, Tcp, Udp, verify,
    },
    peer::{Peer, Segment},
    testrun::{TC_NEXT, XDP_PASS},
    topology::{Lab, Plan, Underlay, Workload},
    traffic,
    wire::{Direction, Wire},
};

const VNI: u32 = 100;

#[test]
fn frames_are_sent_and_received() -> Result<()> {
    let lab = Lab::new(2)?;
    let (one, two) = (lab.host(1), lab.host(2));
    let sender = Wire::open(&one.netns, &one.uplink, Direction::In)?;
    let onlooker = Wire::open(&one.netns, &one.uplink, Direction::Both)?;
    let receiver = Wire::open(&two.netns, &two.uplink, Direction::In)?;
    let mut header = Ethernet::new(one.mac, two.mac, ETHER_EXPERIMENT);
    let plain = header.frame(b"plain");
    header.tag = Some(0x2064);
    let tagged = header.frame(b"tagged");
    for frame in [&plain, &plain, &tagged] {
        sender.send(frame)?;
    }
    let seen = receiver.collect_to(|frame| frame.bytes == tagged, |frame| frame.bytes == plain)?;
    ensure!(seen.len() == 2, "{} of 2", seen.len());
    ensure!(onlooker.expect("the frame", |frame| frame.bytes == plain)?.outgoing, "not outgoing");
    ensure!(receiver.collect(|frame| frame.bytes == plain)?.is_empty(), "a frame came twice");
    Ok(())
}

#[test]
fn a_host_understands_built_frames() -> Result<()> {
    let lab = Lab::new(2)?;
    let (one, two) = (lab.host(1), lab.host(2));
    let wire = Wire::open(&one.netns, &one.uplink, Direction::In)?;
    wire.send(&Arp::request((one.mac, one.v4), two.v4))?;
    let answer = wire.expect("an ARP reply", |frame| is_arp_reply(&frame.bytes))?;
    let (arp, _) = Arp::parse(Ethernet::parse(&answer.bytes)?.1)?;
    ensure!(arp.sender == (two.mac, two.v4), "{arp:?}");
    let addresses = (IpAddr::V6(one.v6), IpAddr::V6(two.v6));
    let message = Echo { reply: false, id: 7, sequence: 9 }.message(addresses, b"who's there");
    let packet = Ipv6::new(one.v6, two.v6, IP_ICMP6).packet(&message);
    wire.send(&Ethernet::new(one.mac, two.mac, ETHER_IPV6).frame(&packet))?;
    let reply = Echo { reply: true, id: 7, sequence: 9 }.message((addresses.1, addresses.0), b"who's there");
    wire.expect("an echo reply", |frame| frame.bytes.ends_with(&reply)).map(drop)
}

fn is_arp_reply(frame: &[u8]) -> bool {
    let arp = Ethernet::parse(frame).and_then(|(_, packet)| Arp::parse(packet));
    arp.is_ok_and(|(arp, _)| arp.operation == 2)
}

#[test]
fn a_kernel_peer_takes_built_vxlan() -> Result<()> {
    // Else the checksums of what the peer sends are left to a device that is not there.
    let lab = Lab::with(2, Underlay { offloads: false, ..Underlay::default() })?;
    let (one, two) = (lab.host(1), lab.host(2));
    let peer = Peer::join(two, &Segment::new(two, VNI, &[one]))?;
    let workload = two.workload(&Plan::new(VNI, 2))?;
    peer.attach(&workload)?;
    let wire = Wire::open(&one.netns, &one.uplink, Direction::In)?;
    let inside = Wire::open(&workload.netns, Workload::DEVICE, Direction::In)?;
    let inner = Ethernet::new(Mac([2; 6]), workload.mac, ETHER_EXPERIMENT).frame(b"inner");
    let outer = Outer::<Ipv4>::new((one.mac, one.v4), (two.mac, two.v4), VNI)?;
    wire.send(&outer.frame(&inner))?;
    inside.expect("the inner frame", |frame| frame.bytes == inner)?;
    let back = Ethernet::new(workload.mac, Mac([2; 6]), ETHER_EXPERIMENT).frame(b"back");
    inside.send(&back)?;
    let returned = wire.expect("the answer", |frame| frame.bytes.ends_with(b"back"))?;
    let (outer, inner) = Outer::<Ipv4>::parse(&returned.bytes)?;
    ensure!(inner == back && outer.vxlan.vni == VNI && outer.ip.source == two.v4, "{outer:?}");
    verify(&returned.bytes)
}

#[test]
fn foreign_programs_count() -> Result<()> {
    let lab = Lab::new(2)?;
    let (one, two) = (lab.host(1), lab.host(2));
    let programs = [
        Foreign::tcx(&two.netns, &two.uplink)?,
        Foreign::clsact(&two.netns, &two.uplink)?,
        Foreign::xdp(&two.netns, &two.uplink)?,
    ];
    traffic::ping(&one.netns, two.v4.into(), 5)?;
    let frame = Ethernet::new(one.mac, two.mac, ETHER_EXPERIMENT).frame(&[7; 50]);
    for (program, verdict) in programs.iter().zip([TC_NEXT, TC_NEXT, XDP_PASS]) {
        ensure!(program.seen()? >= 5, "it saw {}", program.seen()?);
        let outcome = program.test_run(&two.netns, &two.uplink, &frame)?;
        ensure!(outcome.verdict == verdict && outcome.frame == frame, "{outcome:?}");
    }
    Ok(())
}

#[test]
fn frames_read_back_as_built() -> Result<()> {
    let (one, two) = ("192.0.2.1".parse()?, "192.0.2.2".parse()?);
    let mut ip = Ipv4::new(one, two, IP_TCP);
    ip.options = vec![1, 1, 1, 0];
    ip.tos = 0xb8;
    let segment = Tcp::new(1, 2).segment(ip.addresses(), b"some odd number of bytes, 31...");
    let mut ethernet = Ethernet::new(Mac([2; 6]), Mac([4; 6]), ETHER_IPV4);
    ethernet.tag = Some(7);
    let inner = ethernet.frame(&ip.packet(&segment));
    verify(&inner)?;
    let (v6_one, v6_two): (IpAddr, IpAddr) = ("2001:db8::1".parse()?, "2001:db8::2".parse()?);
    let outer = Outer::<Ipv6>::new((Mac([6; 6]), v6_one), (Mac([8; 6]), v6_two), 0xab_cdef)?;
    let frame = outer.frame(&inner);
    verify(&frame)?;
    let (parsed, rest) = Outer::<Ipv6>::parse(&frame)?;
    ensure!(rest == inner && parsed.frame(&inner) == frame && parsed.vxlan == outer.vxlan, "{parsed:?}");
    let (parsed_ethernet, packet) = Ethernet::parse(&inner)?;
    let (parsed_ip, payload) = Ipv4::parse(packet)?;
    ensure!(
        parsed_ethernet == ethernet && payload == segment && parsed_ip.options == ip.options,
        "{parsed_ip:?}"
    );
    ensure!(parsed_ethernet.frame(&parsed_ip.packet(payload)) == inner, "built again, it differs");
    Ok(())
}

#[test]
fn wrong_frames_are_noticed() -> Result<()> {
    let (one, two) = ("192.0.2.1".parse()?, "192.0.2.2".parse()?);
    let build = |change: &dyn Fn(&mut Ipv4, &mut Udp)| {
        let (mut ip, mut udp) = (Ipv4::new(one, two, IP_UDP), Udp::new(1, 2));
        change(&mut ip, &mut udp);
        let packet = ip.packet(&udp.datagram(ip.addresses(), b"data"));
        Ethernet::new(Mac([2; 6]), Mac([4; 6]), ETHER_IPV4).frame(&packet)
    };
    verify(&build(&|_, _| {})).context("the right one")?;
    let wrong: [fn(&mut Ipv4, &mut Udp); 6] = [
        |ip, _| ip.checksum = Some(1),
        |ip, _| ip.total_length = Some(9000),
        |ip, _| ip.version_length = Some(0x46),
        |_, udp| udp.checksum = Some(1),
        |_, udp| udp.length = Some(11),
        |_, udp| udp.length = Some(7),
    ];
    for (index, change) in wrong.into_iter().enumerate() {
        ensure!(verify(&build(&change)).is_err(), "the wrong frame {index} looks right");
    }
    Ok(())
}

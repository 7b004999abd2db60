//! UDP checksums over IPv6 that `from_port` makes for VTEPs which want them.

use std::net::Ipv6Addr;

use anyhow::{Context as _, Result, ensure};
use overlay_tests::{
    bench::{Bench, Hook, PORT, REMOTE, STATION, lab_over, same, udp_frame},
    frame::{
        ETHER_EXPERIMENT, ETHER_IPV4, ETHER_IPV6, Echo, Ethernet, IP_ICMP, IP_TCP, IP_UDP, Ipv4, Ipv6, Mac,
        Network as _, Outer, Tcp, Udp,
    },
    testrun::TC_REDIRECT,
    wire::{Direction, Wire},
};

#[test]
fn udp_checksums_over_ipv6_are_right_where_they_are_wanted() -> Result<()> {
    let lab = lab_over::<Ipv6>()?;
    let bench = Bench::<Ipv6>::over(&lab, &["--xdp", "off"])?;
    let add = ["tunnel", "add", "--vni", "7", "--remote", "fd00::7", "--udp6-csum"];
    bench.host().overlay(&add)?;
    bench.add_port("r1", 7)?;
    bench.add_station(7, REMOTE, ["--remote", "fd00::7"])?;
    bench
        .host()
        .netns
        .ip(&format!("neigh replace fd00::7 lladdr {} dev u1 nud permanent", lab.host(2).mac))?;
    let mut all = vec![
        ("UDP over IPv4", udp_frame(STATION, REMOTE, 98)),
        ("an odd length", udp_frame(STATION, REMOTE, 99)),
        ("all of the MTU", udp_frame(STATION, REMOTE, usize::try_from(bench.host().inner_mtu)? + 14)),
    ];
    all.extend(frames()?);
    for len in 15..=400 {
        all.push((
            "some length",
            Ethernet::new(STATION, REMOTE, ETHER_EXPERIMENT).frame(&vec![0x5a; len - 14]),
        ));
    }
    let mut wrong = Vec::new();
    for (what, frame) in all {
        let (outcome, drops) = bench.run(Hook::Port("r1"), &frame)?;
        ensure!(outcome.verdict == TC_REDIRECT && drops.is_empty(), "{what}: {}, {drops:?}", outcome.verdict);
        let mut outer = Outer::<Ipv6>::new(
            (bench.host().mac, bench.host().v6),
            (lab.host(2).mac, "fd00::7".parse::<Ipv6Addr>()?),
            7,
        )?;
        outer.choose_as(&outcome.frame)?;
        outer.udp.checksum = None;
        if let Err(error) = same(&outcome.frame, &outer.frame(&frame)) {
            wrong.push(format!("{what} ({} bytes): {error:#}", frame.len()));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The other VTEP of the instance gets none.
    let (outcome, _) = bench.run(Hook::Port(PORT), &udp_frame(STATION, REMOTE, 98))?;
    ensure!(Outer::<Ipv6>::parse(&outcome.frame)?.0.udp.checksum == Some(0), "host 2 asked for none");
    Ok(())
}

#[test]
fn of_the_copies_of_a_flooded_frame_those_have_checksums_that_shall() -> Result<()> {
    let lab = lab_over::<Ipv6>()?;
    let bench = Bench::<Ipv6>::over(&lab, &["--xdp", "off"])?;
    let (host, mac) = (bench.host(), lab.host(2).mac);
    let vteps = [("fd00::7", true), ("fd00::8", false), ("fd00::9", true), ("fd00::a", false)];
    for (remote, wants) in vteps {
        let add = ["tunnel", "add", "--vni", "7", "--remote", remote, "--udp6-csum"];
        host.overlay(if wants { &add } else { &add[..6] })?;
        host.netns.ip(&format!("neigh replace {remote} lladdr {mac} dev u1 nud permanent"))?;
    }
    bench.add_port("r1", 7)?;
    let wire = Wire::open(&lab.host(2).netns, "u2", Direction::In)?;
    for (what, mut frame) in frames()? {
        frame[..6].copy_from_slice(&Mac::BROADCAST.0);
        let (outcome, drops) = bench.run(Hook::Port("r1"), &frame)?;
        ensure!(outcome.verdict == TC_REDIRECT && drops.is_empty(), "{what}: {}, {drops:?}", outcome.verdict);
        let copies = wire.collect(|received| received.bytes.ends_with(&frame[14..]))?;
        let mut wanting = Vec::new();
        for packet in copies.iter().map(|copy| &copy.bytes).chain([&outcome.frame]) {
            let (mut outer, _) = Outer::<Ipv6>::parse(packet)?;
            let to = outer.ip.destination.to_string();
            let wants = vteps.contains(&(to.as_str(), true));
            outer.udp.checksum = (!wants).then_some(0);
            same(packet, &outer.frame(&frame)).with_context(|| format!("{what}, to {to}"))?;
            wanting.push(wants);
        }
        wanting.sort_unstable();
        ensure!(wanting == [false, false, true, true], "{what}: {wanting:?}");
    }
    Ok(())
}

/// Frames of every kind; of many nobody can tell the sum from the headers.
fn frames() -> Result<Vec<(&'static str, Vec<u8>)>> {
    let ip4 = Ipv4::new([10, 1, 0, 1].into(), [10, 1, 0, 2].into(), IP_UDP);
    let ip6 = Ipv6::new("fd01::1".parse()?, "fd01::2".parse()?, IP_UDP);
    let datagram = |addresses| Udp::new(1, 2).datagram(addresses, &[0xc3; 71]);
    let mut none = Udp::new(1, 2);
    none.checksum = Some(0);
    let over4 = |packet: Vec<u8>| Ethernet::new(STATION, REMOTE, ETHER_IPV4).frame(&packet);
    let fragment = |fragment| Ipv4 { fragment, ..ip4.clone() }.packet(&datagram(ip4.addresses()));
    let with_options = Ipv4 { options: vec![1; 12], ..ip4.clone() };
    let tcp = |addresses| Tcp::new(1, 2).segment(addresses, b"some data, 25 bytes long.");
    let tcp6 = Ipv6 { next_header: IP_TCP, ..ip6.clone() };
    let echo = Echo { reply: false, id: 1, sequence: 2 };
    let padded = [over4(ip4.packet(&datagram(ip4.addresses()))), vec![0x77; 9]].concat();
    let hop_by_hop = [&[IP_UDP, 0, 1, 4, 0, 0, 0, 0][..], &datagram(ip6.addresses())].concat();
    let extended = Ipv6 { next_header: 0, ..ip6.clone() }.packet(&hop_by_hop);
    Ok(vec![
        ("UDP without a checksum", over4(ip4.packet(&none.datagram(ip4.addresses(), &[9; 33])))),
        ("a first fragment", over4(fragment(0x2000))),
        ("a last fragment", over4(fragment(0x0007))),
        ("options", over4(with_options.packet(&datagram(ip4.addresses())))),
        (
            "ICMP",
            over4(Ipv4 { protocol: IP_ICMP, ..ip4.clone() }.packet(&echo.message(ip4.addresses(), &[4; 99]))),
        ),
        ("bytes behind the packet", padded),
        ("TCP over IPv4", over4(Ipv4 { protocol: IP_TCP, ..ip4.clone() }.packet(&tcp(ip4.addresses())))),
        (
            "TCP over IPv6",
            Ethernet::new(STATION, REMOTE, ETHER_IPV6).frame(&tcp6.packet(&tcp(ip6.addresses()))),
        ),
        ("IPv4 that is none", over4(vec![0xff; 30])),
        ("IPv6 that is none", Ethernet::new(STATION, REMOTE, ETHER_IPV6).frame(&[0xff; 40])),
        ("an extension header", Ethernet::new(STATION, REMOTE, ETHER_IPV6).frame(&extended)),
        ("a UDP header cut short", over4(ip4.packet(&[1, 2, 3]))),
    ])
}

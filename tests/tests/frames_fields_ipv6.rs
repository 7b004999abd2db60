//! Fields of outer headers over IPv6 that a segment chooses, and the UDP checksum over them.

use anyhow::{Result, ensure};
use overlay_tests::{
    bench::{Bench, PORT, REMOTE, STATION, lab_over},
    frame::{ETHER_IPV4, ETHER_IPV6, Ethernet, IP_UDP, Ipv4, Ipv6, Network as _, Outer, Udp},
    testrun::{self, TC_REDIRECT},
};

const MARK: u32 = 0x0048_1234;

/// What a frame with the packet mark [`MARK`] leaves with.
fn outer_of(bench: &Bench<'_, Ipv6>, port: &str, frame: &[u8]) -> Result<(Outer<Ipv6>, Vec<u8>)> {
    let outcome = testrun::tc_marked(&bench.instance, "from_port", port, MARK, frame)?;
    ensure!(outcome.verdict == TC_REDIRECT, "verdict {}", outcome.verdict);
    let (outer, inner) = Outer::parse(&outcome.frame)?;
    ensure!(inner == frame, "the inner frame has changed");
    Ok((outer, outcome.frame))
}

/// TTL 7 and TOS byte 0xb9, over either family.
fn frames() -> Result<[Vec<u8>; 2]> {
    let ip4 = Ipv4 { ttl: 7, tos: 0xb9, ..Ipv4::new([10, 1, 0, 1].into(), [10, 1, 0, 2].into(), IP_UDP) };
    let plain = Ipv6::new("fd01::1".parse()?, "fd01::2".parse()?, IP_UDP);
    let ip6 = Ipv6 { hop_limit: 7, traffic_class: 0xb9, ..plain };
    let data = Udp::new(1, 2);
    let (of_ip4, of_ip6) =
        (data.datagram(ip4.addresses(), b"some data"), data.datagram(ip6.addresses(), b"some data"));
    Ok([
        Ethernet::new(STATION, REMOTE, ETHER_IPV4).frame(&ip4.packet(&of_ip4)),
        Ethernet::new(STATION, REMOTE, ETHER_IPV6).frame(&ip6.packet(&of_ip6)),
    ])
}

#[test]
fn every_field_is_chosen_over_ipv6_too() -> Result<()> {
    let lab = lab_over::<Ipv6>()?;
    let bench = Bench::<Ipv6>::over(&lab, &["--xdp", "off"])?;
    for frame in frames()? {
        bench.set(&["--ttl", "64", "--dscp", "0", "--gbp", "off"])?;
        let ip = outer_of(&bench, PORT, &frame)?.0.ip;
        ensure!((ip.hop_limit, ip.traffic_class) == (64, 0x01), "{ip:?}");
        bench.set(&["--ttl", "inherit", "--dscp", "inherit", "--source-ports", "99-99", "--gbp", "on"])?;
        let (outer, bytes) = outer_of(&bench, PORT, &frame)?;
        ensure!((outer.ip.hop_limit, outer.ip.traffic_class) == (7, 0xb9), "{outer:?}");
        ensure!(outer.udp.source == 99 && bytes[62..66] == [0x88, 0x48, 0x12, 0x34], "{outer:?}");
    }
    Ok(())
}

#[test]
fn a_udp_checksum_covers_what_a_segment_chooses() -> Result<()> {
    let lab = lab_over::<Ipv6>()?;
    let bench = Bench::<Ipv6>::over(&lab, &["--xdp", "off"])?;
    let host = bench.host();
    host.overlay(&["tunnel", "add", "--vni", "7", "--remote", "fd00::7", "--udp6-csum", "--port", "8472"])?;
    bench.add_port("r1", 7)?;
    bench.add_station(7, REMOTE, ["--remote", "fd00::7"])?;
    host.netns.ip(&format!("neigh replace fd00::7 lladdr {} dev u1 nud permanent", lab.host(2).mac))?;
    host.overlay(&["vni", "set", "7", "--dscp", "46", "--source-ports", "1-65535", "--gbp", "on"])?;
    for frame in frames()? {
        let (outer, bytes) = outer_of(&bench, "r1", &frame)?;
        ensure!(outer.udp.checksum != Some(0), "no checksum");
        let right = Outer { udp: Udp { checksum: None, ..outer.udp.clone() }, ..outer.clone() };
        ensure!(right.frame(&frame) == bytes, "{:?} instead of\n{right:?}", outer.udp);
        ensure!(outer.udp.destination == 8472 && bytes[62] == 0x88, "{outer:?}");
    }
    Ok(())
}

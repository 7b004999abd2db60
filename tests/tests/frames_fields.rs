//! Fields of outer headers that a segment chooses, and what it takes of reserved ones, byte for byte.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use overlay_common::DropReason;
use overlay_tests::{
    bench::{Bench, Fate, Hook, OTHER_PORT, PORT, REMOTE, Row, STATION, lab, udp_frame},
    frame::{
        Arp, ETHER_ARP, ETHER_IPV4, ETHER_IPV6, Ethernet, IP_UDP, Ipv4, Ipv6, Network as _, Outer, Udp,
        verify,
    },
    testrun::{self, TC_REDIRECT},
};

const UPLINK: Hook<'_> = Hook::Uplink("u1");

/// The outer headers that a frame leaves with.
fn outer_of(bench: &Bench<'_>, port: &str, frame: &[u8]) -> Result<Outer<Ipv4>> {
    let (outcome, drops) = bench.run(Hook::Port(port), frame)?;
    ensure!(outcome.verdict == TC_REDIRECT, "verdict {}, counted {drops:?}", outcome.verdict);
    verify(&outcome.frame)?;
    let (outer, inner) = Outer::parse(&outcome.frame)?;
    ensure!(inner == frame, "the inner frame has changed");
    Ok(outer)
}

/// From [`STATION`] to [`REMOTE`]: IPv4 with and without DF, IPv6, and ARP; TTL 7 and TOS byte 0xb8 where there is one.
fn frames() -> Result<[(&'static str, Vec<u8>); 4]> {
    let ethernet = |ether_type| Ethernet::new(STATION, REMOTE, ether_type);
    let ipv4 = |fragment| {
        let plain = Ipv4::new([10, 1, 0, 1].into(), [10, 1, 0, 2].into(), IP_UDP);
        let ip = Ipv4 { ttl: 7, tos: 0xb8, fragment, ..plain };
        ethernet(ETHER_IPV4).frame(&ip.packet(&Udp::new(1, 2).datagram(ip.addresses(), b"some data")))
    };
    let plain = Ipv6::new("fd01::1".parse()?, "fd01::2".parse()?, IP_UDP);
    let ip6 = Ipv6 { hop_limit: 7, traffic_class: 0xb8, ..plain };
    let arp =
        Arp { operation: 2, sender: (STATION, [10, 1, 0, 1].into()), target: (REMOTE, [10, 1, 0, 2].into()) };
    Ok([
        ("IPv4 with DF", ipv4(0x4000)),
        ("IPv4 without", ipv4(0)),
        (
            "IPv6",
            ethernet(ETHER_IPV6).frame(&ip6.packet(&Udp::new(1, 2).datagram(ip6.addresses(), b"some data"))),
        ),
        ("ARP", ethernet(ETHER_ARP).frame(&arp.packet())),
    ])
}

#[test]
fn ttl_and_dscp_are_fixed_or_inherited() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    for (ttl, of_ip, of_arp) in [("64", 64, 64), ("1", 1, 1), ("255", 255, 255), ("inherit", 7, 64)] {
        bench.set(&["--ttl", ttl])?;
        for (what, frame) in frames()? {
            let found = outer_of(&bench, PORT, &frame)?.ip.ttl;
            let expected = if what == "ARP" { of_arp } else { of_ip };
            ensure!(found == expected, "{what}, --ttl {ttl}: {found} instead of {expected}");
        }
    }
    for (dscp, of_ip, of_arp) in [("0", 0, 0), ("63", 63, 63), ("inherit", 46, 0), ("10", 10, 10)] {
        bench.set(&["--dscp", dscp])?;
        for (what, frame) in frames()? {
            let found = outer_of(&bench, PORT, &frame)?.ip.tos >> 2;
            let expected = if what == "ARP" { of_arp } else { of_ip };
            ensure!(found == expected, "{what}, --dscp {dscp}: {found} instead of {expected}");
        }
    }
    Ok(())
}

#[test]
fn an_inner_ttl_of_zero_is_not_inherited() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    bench.set(&["--ttl", "inherit"])?;
    let ip = Ipv4 { ttl: 0, ..Ipv4::new([10, 1, 0, 1].into(), [10, 1, 0, 2].into(), IP_UDP) };
    let frame = Ethernet::new(STATION, REMOTE, ETHER_IPV4)
        .frame(&ip.packet(&Udp::new(1, 2).datagram(ip.addresses(), b"")));
    ensure!(outer_of(&bench, PORT, &frame)?.ip.ttl == 64);
    Ok(())
}

#[test]
fn dont_fragment_is_set_unset_or_inherited_and_what_may_be_fragmented_has_an_id() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    for (df, expected) in [("set", [true; 4]), ("unset", [false; 4]), ("inherit", [true, false, true, false])]
    {
        bench.set(&["--df", df])?;
        for ((what, frame), expected) in frames()?.into_iter().zip(expected) {
            let mut ids = BTreeSet::new();
            for _ in 0..20 {
                let ip = outer_of(&bench, PORT, &frame)?.ip;
                ensure!(ip.fragment == if expected { 0x4000 } else { 0 }, "{what}, --df {df}: {ip:?}");
                ensure!((ip.id == 0) == expected, "{what}, --df {df}: id {}", ip.id);
                ids.insert(ip.id);
            }
            ensure!(expected || ids.len() > 10, "{what}, --df {df}: only {} ids", ids.len());
        }
    }
    Ok(())
}

#[test]
fn source_ports_are_of_the_range_and_a_flow_keeps_its_own() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    for (range, first, last, most) in
        [("1-65535", 1, 65535, 64), ("5000-5003", 5000, 5003, 4), ("7-7", 7, 7, 1)]
    {
        bench.set(&["--source-ports", range])?;
        let mut ports = BTreeSet::new();
        for flow in 0..64 {
            let ip = Ipv4::new([10, 1, 0, 1].into(), [10, 1, 0, 2].into(), IP_UDP);
            let frame = Ethernet::new(STATION, REMOTE, ETHER_IPV4)
                .frame(&ip.packet(&Udp::new(1000 + flow, 80).datagram(ip.addresses(), b"data")));
            let port = outer_of(&bench, PORT, &frame)?.udp.source;
            ensure!((first..=last).contains(&port), "{range}: {port}");
            ensure!(outer_of(&bench, PORT, &frame)?.udp.source == port, "{range}: one flow, two ports");
            ports.insert(port);
        }
        ensure!(ports.len() * 10 >= most * 9, "{range}: 64 flows have {} ports", ports.len());
    }
    Ok(())
}

#[test]
fn another_segment_keeps_its_own_fields() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    bench.set(&["--ttl", "9", "--dscp", "inherit", "--df", "unset", "--gbp", "on"])?;
    let [(_, frame), ..] = frames()?;
    // The other segment's remote has no neighbour, so its frames are looked at before the redirect fills that in.
    let outer = outer_of(&bench, OTHER_PORT, &frame)?;
    ensure!((outer.ip.ttl, outer.ip.tos, outer.ip.fragment) == (64, 0, 0x4000), "{outer:?}");
    let outer = outer_of(&bench, PORT, &frame)?;
    ensure!((outer.ip.ttl, outer.ip.tos, outer.ip.fragment) == (9, 0xb8, 0), "{outer:?}");
    Ok(())
}

/// A packet whose VXLAN header has one more bit set, counted from the first on.
fn with_bit(bench: &Bench<'_>, inner: &[u8], bit: usize) -> Result<Vec<u8>> {
    let mut packet = bench.packet(inner, |_| {})?;
    packet[42 + bit / 8] |= 0x80 >> (bit % 8);
    Ok(packet)
}

#[test]
fn reserved_bits_are_ignored_or_refused_each_of_them() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let inner = udp_frame(REMOTE, STATION, 98);
    // G, D, A and the policy id, of the draft's group policy.
    let policy = |bit: usize| matches!(bit, 0 | 9 | 12 | 16..32);
    for (settings, is_refused) in [
        (["--reserved", "ignore", "--gbp", "off"], (|_, _| false) as fn(usize, bool) -> bool),
        (["--reserved", "drop", "--gbp", "off"], |bit, _| bit != 4),
        (["--reserved", "ignore", "--gbp", "on"], |_, _| false),
        (["--reserved", "drop", "--gbp", "on"], |bit, is_policy| bit != 4 && !is_policy),
    ] {
        bench.set(&settings)?;
        let mut rows = Vec::new();
        for bit in (0..32).chain(56..64) {
            let fate = if is_refused(bit, policy(bit)) {
                Fate::Dropped(DropReason::ReservedBits)
            } else {
                Fate::Redirected(inner.clone())
            };
            rows.push(Row::new(format!("bit {bit}"), with_bit(&bench, &inner, bit)?, fate));
        }
        bench.table(UPLINK, &rows).with_context(|| settings.join(" "))?;
    }
    Ok(())
}

#[test]
fn xdp_leaves_reserved_bits_and_group_policies_to_tc() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "native"])?;
    let inner = udp_frame(REMOTE, STATION, 98);
    let (plain, marked) = (bench.packet(&inner, |_| {})?, with_bit(&bench, &inner, 0)?);
    for (settings, fate) in [
        (["--reserved", "ignore", "--gbp", "off"], Fate::Stripped(inner.clone())),
        (["--reserved", "drop", "--gbp", "off"], Fate::NotOurs),
        (["--reserved", "ignore", "--gbp", "on"], Fate::NotOurs),
    ] {
        bench.set(&settings)?;
        let rows = [
            Row::new("plain", plain.clone(), Fate::Stripped(inner.clone())),
            Row::new("with the G flag", marked.clone(), fate),
        ];
        bench.table(Hook::Xdp("u1"), &rows).with_context(|| settings.join(" "))?;
    }
    Ok(())
}

/// Packet marks, and the first four bytes of the VXLAN header that `vxlan_build_gbp_hdr` makes of them.
const MARKS: [(u32, [u8; 4]); 6] = [
    (0, [0x08, 0, 0, 0]),
    (0x1234, [0x88, 0, 0x12, 0x34]),
    (1 << 22, [0x88, 0x40, 0, 0]),
    (1 << 19, [0x88, 0x08, 0, 0]),
    (0x8000_0000, [0x88, 0, 0, 0]),
    (0xffff_ffff, [0x88, 0x48, 0xff, 0xff]),
];

#[test]
fn the_mark_goes_into_the_header_and_comes_out_of_it() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let (out, back) = (udp_frame(STATION, REMOTE, 98), udp_frame(REMOTE, STATION, 98));
    for gbp in [false, true] {
        bench.set(&["--gbp", if gbp { "on" } else { "off" }])?;
        for (mark, bytes) in MARKS {
            let outcome = testrun::tc_marked(&bench.instance, "from_port", PORT, mark, &out)?;
            let expected = if gbp { bytes } else { MARKS[0].1 };
            ensure!(outcome.frame[42..46] == expected, "mark {mark:#x}: {:02x?}", &outcome.frame[42..46]);

            let packet = bench.packet(&back, |outer| {
                outer.vxlan.flags = bytes[0];
                outer.vxlan.reserved.copy_from_slice(&bytes[1..]);
            })?;
            let outcome = testrun::tc_marked(&bench.instance, "from_uplink", "u1", 0x55, &packet)?;
            ensure!(outcome.frame == back, "not the inner frame");
            // Without the G flag the mark is left as it was.
            let expected = if gbp && mark != 0 { mark & 0x0048_ffff } else { 0x55 };
            let found = testrun::mark_of(&outcome);
            ensure!(found == expected, "{bytes:02x?} with {gbp}: mark {found:#x}");
        }
    }
    Ok(())
}

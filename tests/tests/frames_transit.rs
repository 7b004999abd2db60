//! Frame tables of transit: a packet from one VTEP that goes on to another, byte for byte, by TC and by XDP.

use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use aya::maps::{HashMap, Map, MapData};
use overlay_common::{
    DropReason, Family, Notice,
    maps::uplink::{self, Uplink, XdpSending},
};
use overlay_tests::{
    bench::{
        Bench, Fate, Hook, NOBODY, REMOTE, Row, SECOND_STATION, STATION, VNI, lab_over, same, udp_frame,
    },
    frame::{
        Arp, ETHER_ARP, ETHER_EXPERIMENT, ETHER_IPV4, ETHER_IPV6, Ethernet, IP_TCP, Ipv4, Ipv6, Mac, Network,
        Outer, Tcp, verify,
    },
    over_both_families, process,
    testrun::TC_REDIRECT,
    topology::Lab,
    transit::{BEYOND, Fields, relay, second, sending, sent},
};

over_both_families! {
    nothing_goes_on_unless_it_is_so_set,
    other_outer_headers_are_all_that_changes,
    xdp_sends_the_same,
    without_a_device_that_sends_xdp_leaves_it_to_tc,
    the_ttl_goes_on_and_ends,
    what_is_not_known_behind_another_vtep_does_not_go_on,
    xdp_leaves_what_is_not_simple_to_tc,
    marks_of_congestion_go_through_the_inner_header,
    the_segment_has_dscp_and_mtu_as_in_every_tunnel,
    a_vtep_of_the_other_family_gets_its_own_headers,
    both_vteps_are_counted,
    a_nic_returns_what_came_by_it,
    tags_that_are_kept_go_on,
}

const TC: Hook<'_> = Hook::Uplink("u1");
const XDP: Hook<'_> = Hook::Xdp("u1");

/// Frames of all kinds to the station behind the second VTEP.
fn frames() -> Result<Vec<(&'static str, Vec<u8>)>> {
    let ip6 = Ipv6::new("fd01::1".parse()?, "fd01::2".parse()?, IP_TCP);
    let tcp = Tcp::new(1, 2).segment(ip6.addresses(), b"some data");
    let arp =
        Arp { operation: 2, sender: (REMOTE, [10, 1, 0, 1].into()), target: (BEYOND, [10, 1, 0, 2].into()) };
    let ethernet = |ether_type| Ethernet::new(REMOTE, BEYOND, ether_type);
    Ok(vec![
        ("IPv4", udp_frame(REMOTE, BEYOND, 98)),
        ("an odd length", udp_frame(REMOTE, BEYOND, 99)),
        ("as long as the path takes", udp_frame(REMOTE, BEYOND, 1430)),
        ("IPv6", ethernet(ETHER_IPV6).frame(&ip6.packet(&tcp))),
        ("ARP", ethernet(ETHER_ARP).frame(&arp.packet())),
        ("some protocol", ethernet(ETHER_EXPERIMENT).frame(&[0xa5; 50])),
        ("an Ethernet header", ethernet(ETHER_EXPERIMENT).frame(&[])),
    ])
}

fn nothing_goes_on_unless_it_is_so_set<N: Fields>() -> Result<()> {
    let lab = lab_over::<N>()?;
    let bench = relay::<N>(&lab, "native", N::FAMILY)?;
    sending(&lab, true)?;
    bench.set(&["--transit", "off"])?;
    let mut rows = Vec::new();
    for (what, inner) in frames()? {
        rows.push(Row::new(what, bench.packet(&inner, |_| {})?, Fate::Dropped(DropReason::TunnelToTunnel)));
    }
    bench.table(TC, &rows)?;
    let passing: Vec<Row> = rows.into_iter().map(|row| Row { fate: Fate::NotOurs, ..row }).collect();
    bench.table(XDP, &passing)
}

/// A change to outer headers.
type Change<'a, N> = (&'static str, &'a dyn Fn(&mut Outer<N>));

/// Packets that need nothing but other outer headers, and those that they get.
fn rows<N: Fields>(lab: &Lab, bench: &Bench<'_, N>, fate: impl Fn(Vec<u8>) -> Fate) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (what, inner) in frames()? {
        let expected = sent::<N>(lab, &inner, 63, 0)?;
        verify(&expected)?;
        rows.push(Row::new(what, bench.packet(&inner, |_| {})?, fate(expected)));
    }
    let inner = udp_frame(REMOTE, BEYOND, 98);
    let expected = sent::<N>(lab, &inner, 63, 0)?;
    let changes: [Change<'_, N>; 3] = [
        ("a UDP checksum", &|outer| outer.udp.checksum = None),
        ("reserved bits", &|outer| (outer.vxlan.flags, outer.vxlan.reserved_last) = (0xff, 0xff)),
        ("another DSCP", &|outer| outer.ip.set(64, 0xb8)),
    ];
    for (what, change) in changes {
        rows.push(Row::new(what, bench.packet(&inner, |outer| change(outer))?, fate(expected.clone())));
    }
    Ok(rows)
}

fn other_outer_headers_are_all_that_changes<N: Fields>() -> Result<()> {
    process::stay_on_one_cpu()?;
    let lab = lab_over::<N>()?;
    let bench = relay::<N>(&lab, "off", N::FAMILY)?;
    let mut rows = rows(&lab, &bench, Fate::Redirected)?;
    let inner = udp_frame(REMOTE, BEYOND, 98);
    let mut trailing = bench.packet(&inner, |_| {})?;
    trailing.extend([0; 7]);
    rows.push(Row::new("bytes behind it", trailing, Fate::Redirected(sent::<N>(&lab, &inner, 63, 0)?)));
    bench.table(TC, &rows)?;
    bench.table(TC, &rows).context("again")
}

fn xdp_sends_the_same<N: Fields>() -> Result<()> {
    process::stay_on_one_cpu()?;
    let lab = lab_over::<N>()?;
    let bench = relay::<N>(&lab, "native", N::FAMILY)?;
    sending(&lab, true)?;
    let rows = rows(&lab, &bench, Fate::Fed)?;
    bench.table(XDP, &rows)?;
    bench.table(XDP, &rows).context("again")?;
    // TC finds the same, and neither takes what the other knows of a flow for something else.
    let by_tc: Vec<Row> = rows
        .iter()
        .map(|row| match &row.fate {
            Fate::Fed(bytes) => Row { fate: Fate::Redirected(bytes.clone()), ..row.clone() },
            _ => row.clone(),
        })
        .collect();
    bench.table(TC, &by_tc)?;
    bench.table(XDP, &rows).context("after TC")?;
    let place = ["--port", "p1"];
    bench.host().overlay(
        &[&["fdb", "replace", "--vni", &VNI.to_string(), &BEYOND.to_string()], &place[..]].concat(),
    )?;
    let inner = udp_frame(REMOTE, BEYOND, 98);
    bench.check(XDP, &bench.packet(&inner, |_| {})?, &Fate::Stripped(inner.clone())).context("moved")
}

fn without_a_device_that_sends_xdp_leaves_it_to_tc<N: Fields>() -> Result<()> {
    let lab = lab_over::<N>()?;
    let bench = relay::<N>(&lab, "native", N::FAMILY)?;
    let inner = udp_frame(REMOTE, BEYOND, 98);
    let packet = bench.packet(&inner, |_| {})?;
    let sends = |on: bool| {
        sending(&lab, on)?;
        let status = bench.host().overlay_json(&["status"])?;
        ensure!(status["uplinks"][0]["sends_from_xdp"] == on, "{status}");
        ensure!(status["warnings"].to_string().contains("u1 sends nothing from XDP") != on, "{status}");
        let fate = if on { Fate::Fed(sent::<N>(&lab, &inner, 63, 0)?) } else { Fate::NotOurs };
        bench.check(XDP, &packet, &fate).with_context(|| format!("sending: {on}"))
    };
    sends(false)?;
    sends(true)?;
    sends(false)
}

fn the_ttl_goes_on_and_ends<N: Fields>() -> Result<()> {
    let lab = lab_over::<N>()?;
    let bench = relay::<N>(&lab, "native", N::FAMILY)?;
    sending(&lab, true)?;
    // Whatever new packets get.
    bench.set(&["--ttl", "9"])?;
    let inner = udp_frame(REMOTE, BEYOND, 98);
    let (mut by_tc, mut by_xdp) = (Vec::new(), Vec::new());
    for ttl in [0, 1, 2, 3, 64, 128, 255] {
        let packet = bench.packet(&inner, |outer| outer.ip.set(ttl, 0))?;
        let (tc, xdp) = if ttl < 2 {
            (Fate::Dropped(DropReason::TtlExpired), Fate::NotOurs)
        } else {
            let expected = sent::<N>(&lab, &inner, ttl - 1, 0)?;
            (Fate::Redirected(expected.clone()), Fate::Fed(expected))
        };
        by_tc.push(Row::new(format!("TTL {ttl}"), packet.clone(), tc));
        by_xdp.push(Row::new(format!("TTL {ttl}"), packet, xdp));
    }
    bench.table(TC, &by_tc)?;
    bench.table(XDP, &by_xdp)
}

fn what_is_not_known_behind_another_vtep_does_not_go_on<N: Fields>() -> Result<()> {
    let lab = lab_over::<N>()?;
    let bench = relay::<N>(&lab, "native", N::FAMILY)?;
    sending(&lab, true)?;
    let stranger: IpAddr = match N::FAMILY {
        Family::Ipv4 => [10, 0, 0, 77].into(),
        Family::Ipv6 => [0xfd00, 0, 0, 0, 0, 0, 0, 0x77].into(),
    };
    let plain = |inner: &[u8]| bench.packet(inner, |_| {});
    let from_stranger = {
        let mut outer = bench.outer()?;
        outer.ip.set_source(stranger)?;
        outer.frame(&udp_frame(REMOTE, BEYOND, 98))
    };
    let rows = [
        ("to everyone", plain(&udp_frame(REMOTE, Mac::BROADCAST, 98))?, Fate::Copied),
        ("to a group", plain(&udp_frame(REMOTE, Mac([1, 0, 0x5e, 0, 0, 9]), 98))?, Fate::Copied),
        ("to nobody known", plain(&udp_frame(REMOTE, NOBODY, 98))?, Fate::Copied),
        (
            "to a station behind the same VTEP",
            plain(&udp_frame(SECOND_STATION, REMOTE, 98))?,
            Fate::Dropped(DropReason::SameVtep),
        ),
        ("from a stranger", from_stranger, Fate::Dropped(DropReason::NotAMember)),
        (
            "from a group address",
            plain(&udp_frame(Mac([1, 0, 0, 0, 0, 1]), BEYOND, 98))?,
            Fate::Dropped(DropReason::BadSourceMac),
        ),
    ];
    let rows = rows.map(|(what, packet, fate)| Row::new(what, packet, fate));
    bench.table(TC, &rows)?;
    bench.table(XDP, &rows.map(|row| Row { fate: Fate::NotOurs, ..row }))
}

fn xdp_leaves_what_is_not_simple_to_tc<N: Fields>() -> Result<()> {
    let lab = lab_over::<N>()?;
    let bench = relay::<N>(&lab, "native", N::FAMILY)?;
    sending(&lab, true)?;
    let inner = udp_frame(REMOTE, BEYOND, 98);
    let packet = bench.packet(&inner, |_| {})?;
    let known = Row::new("as it is", packet.clone(), Fate::Fed(sent::<N>(&lab, &inner, 63, 0)?));
    // The pseudo header of `udp_frame`: 10.1.0.1, 10.1.0.2, UDP, 64 bytes.
    let mut open = inner.clone();
    open[40..42].copy_from_slice(&(0x0a01_u16 + 0x0001 + 0x0a01 + 0x0002 + 17 + 64).to_be_bytes());
    let to_another = bench.packet(&inner, |outer| outer.ethernet.destination = NOBODY)?;
    let mut trailing = packet.clone();
    trailing.push(0);
    let tagged = Ethernet { tag: Some(7), ..Ethernet::new(REMOTE, BEYOND, ETHER_IPV4) }.frame(&[1; 60]);
    let left = [
        ("a checksum that is still open", bench.packet(&open, |_| {})?),
        ("to another MAC address", to_another),
        ("bytes behind it", trailing),
        ("congestion", bench.packet(&inner, |outer| outer.ip.set(64, 3))?),
        ("a tag", bench.packet(&tagged, |_| {})?),
        ("a station that is not known yet", bench.packet(&udp_frame(NOBODY, BEYOND, 98), |_| {})?),
        ("longer than the path takes", bench.packet(&udp_frame(REMOTE, BEYOND, 1465), |_| {})?),
    ];
    let mut rows = Vec::new();
    for (what, packet) in left {
        rows.extend([known.clone(), Row::new(what, packet, Fate::NotOurs)]);
    }
    for len in 14..packet.len() {
        rows.extend([known.clone(), Row::new("cut short", packet[..len].to_vec(), Fate::NotOurs)]);
    }
    bench.table(XDP, &rows)?;
    bench.set(&["--suppress", "on", "--clamp-mss", "on"])?;
    let ip = Ipv4::new([10, 1, 0, 1].into(), [10, 1, 0, 2].into(), IP_TCP);
    let mut tcp = Tcp::new(1, 2);
    tcp.offset_flags = 0x5002;
    let syn = Ethernet::new(REMOTE, BEYOND, ETHER_IPV4).frame(&ip.packet(&tcp.segment(ip.addresses(), b"")));
    let handshake = Row::new("a handshake", bench.packet(&syn, |_| {})?, Fate::NotOurs);
    bench.table(XDP, &[handshake, known])
}

fn marks_of_congestion_go_through_the_inner_header<N: Fields>() -> Result<()> {
    let lab = lab_over::<N>()?;
    let bench = relay::<N>(&lab, "off", N::FAMILY)?;
    let inner = |tos| {
        let ip = Ipv4 { tos, ..Ipv4::new([10, 1, 0, 1].into(), [10, 1, 0, 2].into(), IP_TCP) };
        let segment = Tcp::new(1, 2).segment(ip.addresses(), b"some data");
        Ethernet::new(REMOTE, BEYOND, ETHER_IPV4).frame(&ip.packet(&segment))
    };
    let mut rows = Vec::new();
    for (outer, before, after) in [
        (0b11, 0b10, Some(0b11)),
        (0b11, 0b01, Some(0b11)),
        (0b01, 0b10, Some(0b01)),
        (0b00, 0b10, Some(0b10)),
        (0b11, 0b00, None),
        (0b10, 0b00, Some(0b00)),
    ] {
        let packet = bench.packet(&inner(0xb8 | before), |headers| headers.ip.set(64, 0x28 | outer))?;
        let fate = match after {
            Some(after) => Fate::Redirected(sent::<N>(&lab, &inner(0xb8 | after), 63, after)?),
            None => Fate::Dropped(DropReason::Ecn),
        };
        rows.push(Row::new(format!("outer {outer:02b}, inner {before:02b}"), packet, fate));
    }
    bench.table(TC, &rows)
}

fn the_segment_has_dscp_and_mtu_as_in_every_tunnel<N: Fields>() -> Result<()> {
    let lab = lab_over::<N>()?;
    let bench = relay::<N>(&lab, "native", N::FAMILY)?;
    sending(&lab, true)?;
    bench.set(&["--dscp", "46", "--mtu", "1000"])?;
    let fits = udp_frame(REMOTE, BEYOND, 1014);
    let expected = sent::<N>(&lab, &fits, 63, 0xb8)?;
    let packet = bench.packet(&fits, |_| {})?;
    bench.check(TC, &packet, &Fate::Redirected(expected.clone()))?;
    bench.check(XDP, &packet, &Fate::Fed(expected))?;
    // What does not fit is answered, by the tunnel that it came from.
    let packet = bench.packet(&udp_frame(REMOTE, BEYOND, 1015), |_| {})?;
    bench.check(XDP, &packet, &Fate::NotOurs)?;
    let before = bench.host().noticed(Notice::TooBigAnswered)?;
    let (outcome, drops) = bench.run(TC, &packet)?;
    ensure!((outcome.verdict, &drops[..]) == (TC_REDIRECT, &[(DropReason::TooBig, 1)]), "{drops:?}");
    ensure!(bench.host().noticed(Notice::TooBigAnswered)? == before + 1);
    verify(&outcome.frame)?;
    let (outer, answer) = Outer::<N>::parse(&outcome.frame)?;
    ensure!(outer.ip.addresses() == (lab.host(1).vtep, lab.host(2).vtep), "{outer:?}");
    let (ethernet, icmp) = Ethernet::parse(answer)?;
    ensure!((ethernet.source, ethernet.destination) == (BEYOND, REMOTE), "{ethernet:?}");
    let (ip, message) = Ipv4::parse(icmp)?;
    ensure!(ip.addresses() == ([10, 1, 0, 2].into(), [10, 1, 0, 1].into()), "{ip:?}");
    ensure!(message[..2] == [3, 4] && message[6..8] == 1000_u16.to_be_bytes(), "{message:?}");
    Ok(())
}

fn a_vtep_of_the_other_family_gets_its_own_headers<N: Fields>() -> Result<()> {
    let lab = lab_over::<N>()?;
    let inner = udp_frame(REMOTE, BEYOND, 98);
    let (family, expected) = match N::FAMILY {
        Family::Ipv4 => (Family::Ipv6, sent::<Ipv6>(&lab, &inner, 6, 0)?),
        Family::Ipv6 => (Family::Ipv4, sent::<Ipv4>(&lab, &inner, 6, 0)?),
    };
    let bench = relay::<N>(&lab, "native", family)?;
    sending(&lab, true)?;
    let packet = bench.packet(&inner, |outer| outer.ip.set(7, 0))?;
    bench.check(TC, &packet, &Fate::Redirected(expected.clone()))?;
    bench.check(XDP, &packet, &Fate::NotOurs)?;
    bench.check(TC, &packet, &Fate::Redirected(expected)).context("again")?;
    let packet = bench.packet(&inner, |outer| outer.ip.set(1, 0))?;
    bench.check(TC, &packet, &Fate::Dropped(DropReason::TtlExpired))
}

fn both_vteps_are_counted<N: Fields>() -> Result<()> {
    let lab = lab_over::<N>()?;
    let bench = relay::<N>(&lab, "native", N::FAMILY)?;
    sending(&lab, true)?;
    let inner = udp_frame(REMOTE, BEYOND, 98);
    let packet = bench.packet(&inner, |_| {})?;
    let expected = sent::<N>(&lab, &inner, 63, 0)?;
    let marked = bench.packet(&Ethernet::new(REMOTE, BEYOND, ETHER_EXPERIMENT).frame(&[1; 50]), |_| {})?;
    bench.check(TC, &packet, &Fate::Redirected(expected.clone()))?;
    bench.check(XDP, &packet, &Fate::Fed(expected.clone()))?;
    bench.check(XDP, &packet, &Fate::Fed(expected.clone()))?;
    // By way of the frame itself.
    let mut trailing = packet;
    trailing.push(0);
    bench.check(TC, &trailing, &Fate::Redirected(expected))?;
    let (outcome, _) = bench.run(TC, &marked)?;
    ensure!(outcome.verdict == TC_REDIRECT);
    let stats = bench.host().overlay_json(&["stats", "--vni", &VNI.to_string()])?;
    let rows = stats["segments"].as_array().context("no segments")?;
    for (remote, sent, received) in
        [(lab.host(2).vtep, [0, 0], [5, 4 * 98 + 64]), (second(N::FAMILY), [5, 4 * 98 + 64], [0, 0])]
    {
        let row = rows.iter().find(|row| row["remote"] == remote.to_string()).context("no row")?;
        let counted = ["tx_packets", "tx_bytes", "rx_packets", "rx_bytes"].map(|key| row[key].as_u64());
        let expected = [sent, received].concat();
        ensure!(counted.iter().flatten().copied().eq(expected.iter().copied()), "{row}");
    }
    Ok(())
}

/// `XDP_TX` is for devices of other drivers than there are here: that this is one is said in its stead.
fn a_nic_returns_what_came_by_it<N: Fields>() -> Result<()> {
    let lab = lab_over::<N>()?;
    let bench = relay::<N>(&lab, "native", N::FAMILY)?;
    sending(&lab, true)?;
    let path = bench.instance.pins().join("maps").join(uplink::NAME);
    let map = Map::HashMap(MapData::from_pin(path)?);
    let mut uplinks = HashMap::<_, u32, [u8; size_of::<Uplink>()]>::try_from(map)?;
    let index = bench.host().netns.ifindex("u1")?;
    let noted: Uplink = bytemuck::cast(uplinks.get(&index, 0)?);
    ensure!(noted.sends_from_xdp() && !noted.returns_from_xdp(), "{noted:?}");
    uplinks.insert(index, bytemuck::cast::<_, [u8; _]>(noted.with_sending(XdpSending::Returned)), 0)?;
    let inner = udp_frame(REMOTE, BEYOND, 98);
    let expected = sent::<N>(&lab, &inner, 63, 0)?;
    bench.check(XDP, &bench.packet(&inner, |_| {})?, &Fate::Returned(expected))
}

fn tags_that_are_kept_go_on<N: Fields>() -> Result<()> {
    let lab = lab_over::<N>()?;
    let bench = relay::<N>(&lab, "off", N::FAMILY)?;
    let tagged = Ethernet { tag: Some(0x2007), ..Ethernet::new(REMOTE, BEYOND, ETHER_IPV4) };
    let inner = tagged.frame(&udp_frame(REMOTE, BEYOND, 98)[14..]);
    let packet = bench.packet(&inner, |_| {})?;
    bench.check(TC, &packet, &Fate::Dropped(DropReason::InnerVlan))?;
    bench.set(&["--vlan", "keep"])?;
    let expected = sent::<N>(&lab, &inner, 63, 0)?;
    bench.check(TC, &packet, &Fate::Redirected(expected.clone()))?;
    // The longer way, too.
    let (outcome, drops) = bench.run(TC, &[&packet[..], &[0; 3]].concat())?;
    ensure!(outcome.verdict == TC_REDIRECT, "{drops:?}");
    same(&outcome.frame, &expected)?;
    bench.check(
        TC,
        &bench.packet(&udp_frame(REMOTE, STATION, 98), |_| {})?,
        &Fate::Redirected(udp_frame(REMOTE, STATION, 98)),
    )
}

//! Frame tables of `from_uplink_xdp`: it strips what is for one station behind a port, and touches nothing else.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, ensure};
use overlay_tests::{
    bench::{
        Bench, Fate, Hook, NOBODY, OTHER_PORT, OTHER_VNI, OTHER_VTEP, PORT, REMOTE, Row, STATION, VNI,
        lab_over, udp_frame,
    },
    frame::{
        Arp, ETHER_EXPERIMENT, ETHER_IPV4, ETHER_IPV6, Ethernet, IP_TCP, Ipv4, Ipv6, Mac, Network, Outer, Tcp,
    },
    over_both_families,
    wire::{Direction, Wire},
};

over_both_families! {
    a_known_station_gets_exactly_the_inner_frame,
    other_destinations_are_left_to_tc,
    what_native_xdp_saw_arrives,
    what_generic_xdp_saw_arrives,
    what_no_xdp_saw_arrives,
    a_packet_in_a_vlan_is_not_ours,
    a_packet_within_a_frame_is_not_ours,
}

/// Goes through a table with XDP attached each way.
fn with_xdp<N: Network>(rows: impl Fn(&Bench<'_, N>) -> Result<Vec<Row>>) -> Result<()> {
    let lab = lab_over::<N>()?;
    for (xdp, hook) in [("native", Hook::Xdp("u1")), ("generic", Hook::XdpGeneric("u1"))] {
        let bench = Bench::over(&lab, &["--xdp", xdp])?;
        bench.table(hook, &rows(&bench)?).context(xdp)?;
        bench.instance.down()?;
    }
    Ok(())
}

fn a_known_station_gets_exactly_the_inner_frame<N: Network>() -> Result<()> {
    with_xdp::<N>(|bench| {
        let ip6 = Ipv6::new("fd01::1".parse()?, "fd01::2".parse()?, IP_TCP);
        let tcp = Tcp::new(1, 2).segment(ip6.addresses(), b"some data");
        let arp = Arp {
            operation: 2,
            sender: (REMOTE, [10, 1, 0, 1].into()),
            target: (STATION, [10, 1, 0, 2].into()),
        };
        let to_station = |ether_type| Ethernet::new(REMOTE, STATION, ether_type);
        let inner = [
            ("IPv4", udp_frame(REMOTE, STATION, 98)),
            ("the shortest that Ethernet has", udp_frame(REMOTE, STATION, 60)),
            ("as long as the uplink takes", udp_frame(REMOTE, STATION, 1464)),
            ("IPv6", to_station(ETHER_IPV6).frame(&ip6.packet(&tcp))),
            ("ARP", to_station(0x0806).frame(&arp.packet())),
            ("some protocol", to_station(ETHER_EXPERIMENT).frame(&[0xa5; 50])),
            ("IPv4 that is none", to_station(ETHER_IPV4).frame(&[0xff; 50])),
            ("an Ethernet header", to_station(ETHER_EXPERIMENT).frame(&[])),
        ];
        let mut rows = Vec::new();
        for (what, inner) in inner {
            rows.push(Row::new(what, bench.packet(&inner, |_| {})?, Fate::Stripped(inner)));
        }
        let inner = udp_frame(REMOTE, STATION, 98);
        let reserved = bench.packet(&inner, |outer| {
            (outer.vxlan.flags, outer.vxlan.reserved, outer.vxlan.reserved_last) = (0xff, [0xff; 3], 0xff);
        })?;
        rows.push(Row::new("reserved bits", reserved, Fate::Stripped(inner.clone())));
        let other = into_other(bench, &inner)?;
        rows.push(Row::new("the other segment", other, Fate::Stripped(inner)));
        Ok(rows)
    })
}

/// A packet for the other segment.
fn into_other<N: Network>(bench: &Bench<'_, N>, inner: &[u8]) -> Result<Vec<u8>> {
    let mut outer = bench.outer()?;
    outer.vxlan.vni = OTHER_VNI;
    outer.ip.set_source(Bench::<N>::other_vtep())?;
    Ok(outer.frame(inner))
}

fn other_destinations_are_left_to_tc<N: Network>() -> Result<()> {
    with_xdp::<N>(|bench| {
        let own = bench.host().mac;
        // Even if it is known behind a port.
        bench.add_station(VNI, own, ["--port", PORT])?;
        let inner = [
            ("to everyone", udp_frame(REMOTE, Mac::BROADCAST, 98)),
            ("to a group", udp_frame(REMOTE, Mac([1, 0, 0x5e, 0, 0, 1]), 98)),
            ("to nobody known", udp_frame(REMOTE, NOBODY, 98)),
            ("to a station behind a VTEP", udp_frame(NOBODY, REMOTE, 98)),
            ("to the uplink's own address", udp_frame(REMOTE, own, 98)),
            ("from everyone", udp_frame(Mac::BROADCAST, STATION, 98)),
            ("from zero", udp_frame(Mac([0; 6]), STATION, 98)),
            (
                "tagged",
                Ethernet { tag: Some(7), ..Ethernet::new(REMOTE, STATION, ETHER_IPV4) }.frame(&[1; 60]),
            ),
            ("a provider's tag", Ethernet::new(REMOTE, STATION, 0x88a8).frame(&[1; 60])),
            ("no frame", Vec::new()),
            ("less than a header", vec![2; 13]),
        ];
        let mut rows = Vec::new();
        for (what, inner) in inner {
            rows.push(Row::new(what, bench.packet(&inner, |_| {})?, Fate::NotOurs));
        }
        Ok(rows)
    })
}

/// A change to outer headers.
type Change<'a> = (&'static str, &'a dyn Fn(&mut Outer<Ipv4>));

#[test]
fn wrong_or_unusual_packets_are_left_to_tc() -> Result<()> {
    let other_vtep: Ipv4Addr = OTHER_VTEP.parse()?;
    let changes: [Change<'_>; 25] = [
        ("the next port", &|outer| outer.udp.destination = 4790),
        ("to another host", &|outer| outer.ip.destination = [10, 0, 0, 7].into()),
        ("TCP", &|outer| outer.ip.protocol = IP_TCP),
        ("another EtherType", &|outer| outer.ethernet.ether_type = ETHER_EXPERIMENT),
        ("a VLAN tag", &|outer| outer.ethernet.tag = Some(7)),
        ("to another MAC address", &|outer| outer.ethernet.destination = NOBODY),
        ("to all MAC addresses", &|outer| outer.ethernet.destination = Mac::BROADCAST),
        ("no flag", &|outer| outer.vxlan.flags = 0),
        ("all flags but I", &|outer| outer.vxlan.flags = 0xf7),
        ("VNI 0", &|outer| outer.vxlan.vni = 0),
        ("an unknown VNI", &|outer| outer.vxlan.vni = VNI + 1),
        ("a stranger", &|outer| outer.ip.source = [10, 0, 0, 77].into()),
        ("a member of another segment", &|outer| outer.ip.source = other_vtep),
        ("into a segment without it", &|outer| outer.vxlan.vni = OTHER_VNI),
        ("a first fragment", &|outer| outer.ip.fragment = 0x2000),
        ("a later fragment", &|outer| outer.ip.fragment = 0x2001),
        ("a wrong checksum", &|outer| outer.ip.checksum = Some(0x1234)),
        ("a wrong version", &|outer| outer.ip.version_length = Some(0x65)),
        ("a short header", &|outer| outer.ip.version_length = Some(0x44)),
        ("a long UDP length", &|outer| outer.udp.length = Some(9000)),
        ("a short UDP length", &|outer| outer.udp.length = Some(60)),
        ("no UDP length", &|outer| outer.udp.length = Some(0)),
        ("a long IP length", &|outer| outer.ip.total_length = Some(9000)),
        ("a short IP length", &|outer| outer.ip.total_length = Some(60)),
        ("no IP length", &|outer| outer.ip.total_length = Some(0)),
    ];
    with_xdp::<Ipv4>(|bench| {
        let inner = udp_frame(REMOTE, STATION, 98);
        let mut rows = Vec::new();
        for (what, change) in changes {
            rows.push(Row::new(what, bench.packet(&inner, |outer| change(outer))?, Fate::NotOurs));
        }
        for len in (4..=40).step_by(4) {
            let packet = bench.packet(&inner, |outer| outer.ip.options = vec![1; len])?;
            rows.push(Row::new(format!("{len} bytes of options"), packet, Fate::Stripped(inner.clone())));
            let wrong = bench.packet(&inner, |outer| {
                (outer.ip.options, outer.ip.checksum) = (vec![1; len], Some(0x1234));
            })?;
            rows.push(Row::new(format!("{len} bytes of options, a wrong checksum"), wrong, Fate::NotOurs));
        }
        let packet = bench.packet(&inner, |_| {})?;
        rows.push(Row::new("bytes behind it", [&packet[..], &[0]].concat(), Fate::NotOurs));
        rows.extend(
            (14..packet.len()).map(|len| Row::new("cut short", packet[..len].to_vec(), Fate::NotOurs)),
        );
        Ok(rows)
    })
}

/// Sends packets for both segments over the wire: each has to arrive once, at its own station.
fn arrive<N: Network>(xdp: &str) -> Result<()> {
    let lab = lab_over::<N>()?;
    let bench = Bench::<N>::over(&lab, &["--xdp", xdp])?;
    let host_2 = lab.host(2);
    let wire = Wire::open(&host_2.netns, &host_2.uplink, Direction::In)?;
    let (station, other) = (bench.station(PORT)?, bench.station(OTHER_PORT)?);
    let (one, two) = (udp_frame(REMOTE, STATION, 101), udp_frame(REMOTE, STATION, 102));
    let ether = Ethernet::new(REMOTE, STATION, ETHER_EXPERIMENT).frame(&[3; 50]);
    let all = udp_frame(REMOTE, Mac::BROADCAST, 103);
    for inner in [&one, &ether, &all] {
        wire.send(&bench.packet(inner, |_| {})?)?;
    }
    wire.send(&into_other(&bench, &two)?)?;
    let is_ours = |bytes: &Vec<u8>| [&one, &two, &ether, &all].contains(&bytes);
    for (station, expected) in [(&other, vec![&two]), (&station, vec![&one, &ether, &all])] {
        for inner in &expected {
            station.expect("its frame", |frame| frame.bytes == **inner)?;
        }
        let more = station.collect(|frame| is_ours(&frame.bytes))?;
        ensure!(more.is_empty(), "{} more frames arrived", more.len());
    }
    Ok(())
}

fn what_native_xdp_saw_arrives<N: Network>() -> Result<()> {
    arrive::<N>("native")
}

fn what_generic_xdp_saw_arrives<N: Network>() -> Result<()> {
    arrive::<N>("generic")
}

fn what_no_xdp_saw_arrives<N: Network>() -> Result<()> {
    arrive::<N>("off")
}

/// After a generic XDP program for several buffers the kernel shows TC a frame from its network header on.
fn a_packet_within_a_frame_is_not_ours<N: Network>() -> Result<()> {
    let lab = lab_over::<N>()?;
    for xdp in ["off", "native", "generic"] {
        let bench = Bench::<N>::over(&lab, &["--xdp", xdp])?;
        let (host_1, host_2) = (bench.host(), lab.host(2));
        let wire = Wire::open(&host_2.netns, &host_2.uplink, Direction::In)?;
        let station = bench.station(PORT)?;
        let inner = udp_frame(REMOTE, Mac::BROADCAST, 104);
        let packet = bench.packet(&inner, |_| {})?;
        wire.send(&Ethernet::new(host_2.mac, host_1.mac, N::ETHER_TYPE).frame(&packet))?;
        let seen = station.collect(|frame| frame.bytes == inner)?;
        ensure!(seen.is_empty(), "with {xdp} XDP it was taken for a packet of ours");
        bench.instance.down()?;
    }
    Ok(())
}

/// The kernel takes the tag off the bytes before TC sees them.
fn a_packet_in_a_vlan_is_not_ours<N: Network>() -> Result<()> {
    let lab = lab_over::<N>()?;
    for xdp in ["off", "native", "generic"] {
        let bench = Bench::<N>::over(&lab, &["--xdp", xdp])?;
        let before = bench.host().drops()?;
        let wire = Wire::open(&lab.host(2).netns, &lab.host(2).uplink, Direction::In)?;
        let station = bench.station(PORT)?;
        let (inner, last) = (udp_frame(REMOTE, STATION, 105), udp_frame(REMOTE, STATION, 106));
        wire.send(&bench.packet(&inner, |outer| outer.ethernet.tag = Some(7))?)?;
        wire.send(&bench.packet(&last, |_| {})?)?;
        let seen =
            station.collect_to(|frame| frame.bytes == last, |frame| frame.bytes.ends_with(&inner[14..]))?;
        ensure!(seen.is_empty(), "with {xdp} XDP it was taken for a packet of ours");
        let dropped = bench.host().drops_since(&before)?;
        ensure!(dropped.is_empty(), "with {xdp} XDP {dropped:?}");
        bench.instance.down()?;
    }
    Ok(())
}

//! Frame tables of `from_uplink`: what is delivered, what is not ours, what is dropped and why.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use overlay_common::DropReason;
use overlay_tests::{
    bench::{
        Bench, Fate, Hook, NOBODY, OTHER_PORT, OTHER_VNI, OTHER_VTEP, PORT, REMOTE, Row, SECOND_PORT,
        SECOND_STATION, STATION, VNI, lab, lab_over, udp_frame,
    },
    frame::{
        Arp, ETHER_ARP, ETHER_EXPERIMENT, ETHER_IPV4, ETHER_IPV6, Ethernet, IP_ICMP, IP_TCP, IP_UDP, Ipv4,
        Ipv6, Mac, Network, Outer, Tcp, Udp,
    },
    over_both_families,
    wire::{Direction, Wire},
};

const UPLINK: Hook<'_> = Hook::Uplink("u1");

over_both_families! {
    a_known_station_gets_exactly_the_inner_frame,
    a_tiny_frame_is_padded_with_zeros,
    inner_frames_are_guarded,
    what_nobody_is_known_for_goes_to_every_port_and_nowhere_else,
    what_no_port_is_there_for_is_dropped_and_counted,
}

/// Frames of every kind to a station behind a port.
fn deliverable() -> Result<Vec<(&'static str, Vec<u8>)>> {
    let (one, two) = ("fd01::1".parse()?, "fd01::2".parse()?);
    let ip6 = Ipv6::new(one, two, IP_TCP);
    let tcp = Tcp::new(1, 2).segment(ip6.addresses(), b"some data");
    let arp = Arp {
        operation: 2,
        sender: (REMOTE, Ipv4Addr::new(10, 1, 0, 1)),
        target: (STATION, Ipv4Addr::new(10, 1, 0, 2)),
    };
    let to_station = |ether_type| Ethernet::new(REMOTE, STATION, ether_type);
    Ok(vec![
        ("IPv4", udp_frame(REMOTE, STATION, 98)),
        ("the shortest that Ethernet has", udp_frame(REMOTE, STATION, 60)),
        ("as long as the uplink takes", udp_frame(REMOTE, STATION, 1464)),
        ("longer, over a larger MTU", udp_frame(REMOTE, STATION, 3000)),
        ("IPv6", to_station(ETHER_IPV6).frame(&ip6.packet(&tcp))),
        ("ARP", to_station(ETHER_ARP).frame(&arp.packet())),
        ("some protocol", to_station(ETHER_EXPERIMENT).frame(&[0xa5; 50])),
        ("a length instead of an EtherType", to_station(50).frame(&[0x42; 50])),
        ("IPv4 that is none", to_station(ETHER_IPV4).frame(&[0xff; 50])),
    ])
}

fn a_known_station_gets_exactly_the_inner_frame<N: Network>() -> Result<()> {
    let lab = lab_over::<N>()?;
    for xdp in ["off", "native", "generic"] {
        let bench = Bench::<N>::over(&lab, &["--xdp", xdp])?;
        let mut rows = Vec::new();
        for (what, inner) in deliverable()? {
            rows.push(Row::new(what, bench.packet(&inner, |_| {})?, Fate::Redirected(inner)));
        }
        bench.table(UPLINK, &rows)?;
        bench.instance.down()?;
    }
    Ok(())
}

fn a_tiny_frame_is_padded_with_zeros<N: Network>() -> Result<()> {
    let lab = lab_over::<N>()?;
    let bench = Bench::<N>::over(&lab, &["--xdp", "off"])?;
    // The kernel leaves no less than an IP header behind the Ethernet header.
    let mut rows = Vec::new();
    for (ether_type, least) in [(ETHER_EXPERIMENT, 34), (ETHER_IPV4, 34), (ETHER_IPV6, 54)] {
        for (len, trailing) in (0..=45).flat_map(|len| [0, 1, 5, 20, 60].map(|trailing| (len, trailing))) {
            let inner = Ethernet::new(REMOTE, STATION, ether_type).frame(&vec![0xee; len]);
            let mut packet = bench.packet(&inner, |_| {})?;
            packet.resize(packet.len() + trailing, 0xdd);
            let mut padded = inner;
            padded.resize(padded.len().max(least), 0);
            let what = format!("{ether_type:#06x}, {len} bytes of payload, {trailing} behind the packet");
            rows.push(Row::new(what, packet, Fate::Redirected(padded)));
        }
    }
    bench.table(UPLINK, &rows)
}

/// A change to outer headers.
type Change<'a> = (&'static str, &'a dyn Fn(&mut Outer<Ipv4>));

fn rows(bench: &Bench<'_>, inner: &[u8], changes: &[Change<'_>], fate: &Fate) -> Result<Vec<Row>> {
    changes
        .iter()
        .map(|(what, change)| Ok(Row::new(*what, bench.packet(inner, |outer| change(outer))?, fate.clone())))
        .collect()
}

#[test]
fn what_rfc_7348_leaves_open_does_not_matter() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let inner = udp_frame(REMOTE, STATION, 98);
    let changes: [Change<'_>; 12] = [
        ("all flags", &|outer| outer.vxlan.flags = 0xff),
        ("reserved bytes", &|outer| outer.vxlan.reserved = [0xff; 3]),
        ("the last reserved byte", &|outer| outer.vxlan.reserved_last = 0xff),
        ("a UDP checksum", &|outer| outer.udp.checksum = None),
        ("a low source port", &|outer| outer.udp.source = 1),
        ("the VXLAN port as source port", &|outer| outer.udp.source = 4789),
        ("no source port", &|outer| outer.udp.source = 0),
        ("the last hop", &|outer| outer.ip.ttl = 1),
        ("DSCP and ECN", &|outer| outer.ip.tos = 0xba),
        ("may be fragmented, and was not", &|outer| outer.ip.fragment = 0),
        ("an IP id", &|outer| outer.ip.id = 0xffff),
        ("the reserved IP flag", &|outer| outer.ip.fragment = 0xc000),
    ];
    let fate = Fate::Redirected(inner.clone());
    bench.table(UPLINK, &rows(&bench, &inner, &changes, &fate)?)?;
    let other = bench.packet(&inner, |outer| {
        outer.vxlan.vni = OTHER_VNI;
        outer.ip.source = OTHER_VTEP.parse().expect("an address");
    })?;
    bench.table(UPLINK, &[Row::new("the other segment", other, fate)])
}

#[test]
fn what_is_not_ours_passes_untouched() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    bench.host().netns.ip("addr add 10.0.0.9/24 dev u1")?;
    let inner = udp_frame(REMOTE, STATION, 98);
    let changes: [Change<'_>; 18] = [
        ("the next port", &|outer| outer.udp.destination = 4790),
        ("the port that Linux had first", &|outer| outer.udp.destination = 8472),
        ("port 0", &|outer| outer.udp.destination = 0),
        ("from our port to another", &|outer| (outer.udp.source, outer.udp.destination) = (4789, 49152)),
        ("to another host", &|outer| outer.ip.destination = [10, 0, 0, 7].into()),
        ("to an address that is no VTEP's", &|outer| outer.ip.destination = [10, 0, 0, 9].into()),
        ("to the subnet", &|outer| outer.ip.destination = [10, 0, 0, 255].into()),
        ("to everyone", &|outer| outer.ip.destination = [255; 4].into()),
        ("to nowhere", &|outer| outer.ip.destination = [0; 4].into()),
        ("to a group", &|outer| outer.ip.destination = [239, 1, 1, 1].into()),
        ("TCP", &|outer| outer.ip.protocol = IP_TCP),
        ("ICMP", &|outer| outer.ip.protocol = IP_ICMP),
        ("UDP-Lite", &|outer| outer.ip.protocol = 136),
        ("a VLAN tag", &|outer| outer.ethernet.tag = Some(7)),
        ("to another MAC address", &|outer| outer.ethernet.destination = NOBODY),
        ("to all MAC addresses", &|outer| outer.ethernet.destination = Mac::BROADCAST),
        ("to a group of MAC addresses", &|outer| outer.ethernet.destination = Mac([1, 0, 0x5e, 0, 0, 1])),
        ("another EtherType", &|outer| outer.ethernet.ether_type = ETHER_EXPERIMENT),
    ];
    bench.table(UPLINK, &rows(&bench, &inner, &changes, &Fate::NotOurs)?)?;
    let malformed: [Change<'_>; 6] = [
        ("a later fragment", &|outer| outer.ip.fragment = 0x2001),
        ("the last fragment", &|outer| outer.ip.fragment = 1),
        ("IPv6's version", &|outer| outer.ip.version_length = Some(0x65)),
        ("no version", &|outer| outer.ip.version_length = Some(0x05)),
        ("a header of 16 bytes", &|outer| outer.ip.version_length = Some(0x44)),
        ("no header", &|outer| outer.ip.version_length = Some(0x40)),
    ];
    bench.table(UPLINK, &rows(&bench, &inner, &malformed, &Fate::NotOurs)?)?;
    bench.table(UPLINK, &other_traffic(&bench, &inner)?)?;
    let ours = bench.packet(&inner, |_| {})?;
    bench.table(Hook::Uplink(PORT), &[Row::new("on another device", ours, Fate::NotOurs)])
}

fn other_traffic(bench: &Bench<'_>, inner: &[u8]) -> Result<Vec<Row>> {
    let (one, two) = (bench.host(), bench.lab.host(2));
    let ipv6 = Outer::<Ipv6>::new((two.mac, two.v6), (one.mac, one.v6), VNI)?;
    let plain = Ipv4::new(two.v4, one.v4, IP_UDP);
    let small = plain.packet(&Udp::new(1, 53).datagram(plain.addresses(), b""));
    let frames = [
        ("VXLAN over IPv6", ipv6.frame(inner)),
        ("ARP", Arp::request((two.mac, two.v4), one.v4)),
        ("UDP", Ethernet::new(two.mac, one.mac, ETHER_IPV4).frame(&small)),
        ("next to nothing", Ethernet::new(two.mac, one.mac, ETHER_EXPERIMENT).frame(b"E")),
        ("our inner frame", inner.to_vec()),
    ];
    Ok(frames.into_iter().map(|(what, frame)| Row::new(what, frame, Fate::NotOurs)).collect())
}

#[test]
fn what_is_ours_and_wrong_is_dropped_with_its_reason() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let inner = udp_frame(REMOTE, STATION, 98);
    let other_vtep: Ipv4Addr = OTHER_VTEP.parse()?;
    let own = bench.host().v4;
    let changes: [(DropReason, Change<'_>); 13] = [
        (DropReason::NoVniFlag, ("no flag", &|outer| outer.vxlan.flags = 0)),
        (DropReason::NoVniFlag, ("all flags but I", &|outer| outer.vxlan.flags = 0xf7)),
        (DropReason::UnknownVni, ("VNI 0", &|outer| outer.vxlan.vni = 0)),
        (DropReason::UnknownVni, ("the next VNI", &|outer| outer.vxlan.vni = VNI + 1)),
        (DropReason::UnknownVni, ("the last VNI", &|outer| outer.vxlan.vni = 0xff_ffff)),
        (DropReason::UnknownVni, ("a VNI in wrong order", &|outer| outer.vxlan.vni = 0x02_0301)),
        (DropReason::NotAMember, ("a stranger", &|outer| outer.ip.source = [10, 0, 0, 77].into())),
        (DropReason::NotAMember, ("a member of another segment", &|outer| outer.ip.source = other_vtep)),
        (DropReason::NotAMember, ("into a segment without it", &|outer| outer.vxlan.vni = OTHER_VNI)),
        (DropReason::NotAMember, ("from ourselves", &|outer| outer.ip.source = own)),
        (DropReason::NotAMember, ("from nowhere", &|outer| outer.ip.source = [0; 4].into())),
        (DropReason::OuterFragment, ("a first fragment", &|outer| outer.ip.fragment = 0x2000)),
        (DropReason::OuterChecksum, ("a wrong checksum", &|outer| outer.ip.checksum = Some(0x1234))),
    ];
    let mut table = Vec::new();
    for (reason, change) in changes {
        table.extend(rows(&bench, &inner, &[change], &Fate::Dropped(reason))?);
    }
    bench.table(UPLINK, &table)
}

fn inner_frames_are_guarded<N: Network>() -> Result<()> {
    let lab = lab_over::<N>()?;
    let bench = Bench::<N>::over(&lab, &["--xdp", "off"])?;
    let ethernet = |source, destination| Ethernet::new(source, destination, ETHER_EXPERIMENT).frame(&[5; 50]);
    let tagged = |tag, ether_type| {
        let header = Ethernet { tag, ..Ethernet::new(REMOTE, STATION, ether_type) };
        header.frame(&[6; 60])
    };
    let station = ethernet(REMOTE, STATION);
    let mut table = vec![
        (DropReason::BadSourceMac, "from everyone", ethernet(Mac::BROADCAST, STATION)),
        (DropReason::BadSourceMac, "from a group", ethernet(Mac([1, 0, 0x5e, 0, 0, 1]), STATION)),
        (DropReason::BadSourceMac, "from a group of ours", ethernet(Mac([3, 0, 0, 0, 0, 1]), STATION)),
        (DropReason::BadSourceMac, "from zero", ethernet(Mac([0; 6]), STATION)),
        (DropReason::InnerVlan, "a tag", tagged(Some(7), ETHER_IPV4)),
        (DropReason::InnerVlan, "a tag without a VLAN", tagged(Some(0), ETHER_IPV4)),
        (DropReason::InnerVlan, "a provider's tag", tagged(None, 0x88a8)),
        (DropReason::TunnelToTunnel, "to a station behind a VTEP", ethernet(SECOND_STATION, REMOTE)),
        (DropReason::TunnelToTunnel, "to its own source", ethernet(REMOTE, REMOTE)),
    ];
    for len in 0..14 {
        table.push((DropReason::InnerTruncated, "shorter than an Ethernet header", station[..len].to_vec()));
    }
    let mut all = Vec::new();
    for (reason, what, inner) in table {
        all.push(Row::new(what, bench.packet(&inner, |_| {})?, Fate::Dropped(reason)));
    }
    bench.table(UPLINK, &all)?;
    bench.host().overlay(&["vni", "set", &VNI.to_string(), "--flood", "off"])?;
    let unknown = bench.packet(&ethernet(REMOTE, NOBODY), |_| {})?;
    let fate = Fate::Dropped(DropReason::UnknownUnicast);
    bench.table(UPLINK, &[Row::new("to a stranger, and no flooding", unknown, fate)])
}

fn what_nobody_is_known_for_goes_to_every_port_and_nowhere_else<N: Network>() -> Result<()> {
    let lab = lab_over::<N>()?;
    let bench = Bench::<N>::over(&lab, &["--xdp", "off"])?;
    let stations = [bench.station(PORT)?, bench.station(SECOND_PORT)?];
    let others = [
        bench.station(OTHER_PORT)?,
        Wire::open(&lab.host(2).netns, "u2", Direction::In)?,
        Wire::open(&bench.host().netns, "u1", Direction::Both)?,
    ];
    let own = bench.host().mac;
    for (index, to) in [Mac::BROADCAST, NOBODY, own, Mac([1, 0, 0x5e, 0, 0, 1])].into_iter().enumerate() {
        let inner = udp_frame(REMOTE, to, 100 + index);
        bench.check(UPLINK, &bench.packet(&inner, |_| {})?, &Fate::Copied)?;
        for station in &stations {
            let copies = station.collect(|frame| frame.bytes == inner)?;
            ensure!(copies.len() == 1, "{} copies to {to}", copies.len());
        }
    }
    for other in others {
        let strays = other.collect(|frame| frame.bytes.windows(6).any(|part| part == REMOTE.0))?;
        ensure!(strays.is_empty(), "{} copies went elsewhere", strays.len());
    }
    Ok(())
}

fn what_no_port_is_there_for_is_dropped_and_counted<N: Network>() -> Result<()> {
    let lab = lab_over::<N>()?;
    let bench = Bench::<N>::over(&lab, &["--xdp", "off"])?;
    bench.add_tunnel(7, &lab.host(2).vtep.to_string())?;
    let mut rows = Vec::new();
    for (what, to) in [("to everyone", Mac::BROADCAST), ("to nobody known", NOBODY)] {
        let packet = bench.packet(&udp_frame(REMOTE, to, 98), |outer| outer.vxlan.vni = 7)?;
        rows.push(Row::new(what, packet, Fate::Dropped(DropReason::NoReceivers)));
    }
    bench.table(UPLINK, &rows)
}

//! Frame tables of `from_uplink_xdp` for a port that XDP feeds: what goes straight there, what is left to TC, and that what is
//! kept of a packet is used for its like only.

use anyhow::{Result, ensure};
use overlay_tests::{
    bench::{
        Bench, Fate, Hook, NOBODY, OTHER_VNI, PORT, REMOTE, Row, SECOND_STATION, STATION, VNI, lab_over,
        udp_frame,
    },
    frame::{
        Arp, ETHER_EXPERIMENT, ETHER_IPV4, ETHER_IPV6, Ethernet, IP_TCP, IP_UDP, Ipv4, Ipv6, Mac, Network,
        Outer, Tcp, Udp,
    },
    over_both_families,
    overlay::FAILED,
    process,
};

over_both_families! {
    a_frame_for_a_fed_port_goes_there_first_and_later,
    what_is_not_simple_is_left_to_tc,
    closer_looks_are_left_to_tc,
    a_station_that_moves_is_followed_at_once,
    a_tunnel_that_is_gone_is_heard_no_more,
}

const HOOK: Hook<'_> = Hook::Xdp("u1");

/// A bench whose [`PORT`] is fed by XDP.
fn fed<N: Network>(lab: &overlay_tests::topology::Lab) -> Result<Bench<'_, N>> {
    process::stay_on_one_cpu()?;
    let bench = Bench::over(lab, &["--xdp", "native"])?;
    bench.stations.run(&["ethtool", "-K", PORT, "gro", "on"])?;
    bench.host().overlay(&["port", "set", PORT, "--xdp-redirect", "on"])?;
    Ok(bench)
}

/// Each row several times in turn: what is found out the first time is known the next.
fn again(rows: &[Row]) -> Vec<Row> {
    rows.iter().flat_map(|row| [row.clone(), row.clone(), row.clone()]).collect()
}

fn a_frame_for_a_fed_port_goes_there_first_and_later<N: Network>() -> Result<()> {
    let lab = lab_over::<N>()?;
    let bench = fed::<N>(&lab)?;
    let ip6 = Ipv6::new("fd01::1".parse()?, "fd01::2".parse()?, IP_TCP);
    let tcp = Tcp::new(1, 2).segment(ip6.addresses(), b"some data");
    let arp =
        Arp { operation: 2, sender: (REMOTE, [10, 1, 0, 1].into()), target: (STATION, [10, 1, 0, 2].into()) };
    let to_station = |ether_type| Ethernet::new(REMOTE, STATION, ether_type);
    let inner = [
        ("IPv4", udp_frame(REMOTE, STATION, 98)),
        ("another length", udp_frame(REMOTE, STATION, 61)),
        ("as long as the port takes", udp_frame(REMOTE, STATION, 1514)),
        ("IPv6", to_station(ETHER_IPV6).frame(&ip6.packet(&tcp))),
        ("ARP", to_station(0x0806).frame(&arp.packet())),
        ("some protocol", to_station(ETHER_EXPERIMENT).frame(&[0xa5; 50])),
        ("an Ethernet header", to_station(ETHER_EXPERIMENT).frame(&[])),
    ];
    let mut rows = Vec::new();
    for (what, inner) in inner {
        rows.push(Row::new(what, bench.packet(&inner, |_| {})?, Fate::Fed(inner)));
    }
    bench.table(HOOK, &again(&rows))?;
    let mixed: Vec<Row> = rows.iter().chain(&rows).cloned().collect();
    bench.table(HOOK, &mixed)?;
    let other = udp_frame(REMOTE, SECOND_STATION, 98);
    let row = Row::new("a port that is not fed", bench.packet(&other, |_| {})?, Fate::Stripped(other));
    bench.table(HOOK, &again(&[row]))?;
    let counted = u64::try_from(5 * rows.len())?;
    let stats = bench.host().overlay_json(&["stats", "--vni", &VNI.to_string()])?.to_string();
    ensure!(stats.contains(&format!("\"rx_packets\":{counted}")), "not {counted}: {stats}");
    Ok(())
}

fn what_is_not_simple_is_left_to_tc<N: Network>() -> Result<()> {
    let lab = lab_over::<N>()?;
    let bench = fed::<N>(&lab)?;
    let ip = Ipv4::new([10, 1, 0, 1].into(), [10, 1, 0, 2].into(), IP_UDP);
    let datagram = |checksum| {
        let mut udp = Udp::new(1000, 2000);
        udp.checksum = checksum;
        Ethernet::new(REMOTE, STATION, ETHER_IPV4).frame(&ip.packet(&udp.datagram(ip.addresses(), &[7; 60])))
    };
    // The pseudo header: 10.1.0.1, 10.1.0.2, UDP, 68 bytes.
    let open = 0x0a01 + 0x0001 + 0x0a01 + 0x0002 + 17 + 68;
    let sctp = Ipv4::new([10, 1, 0, 1].into(), [10, 1, 0, 2].into(), 132).packet(&[9; 40]);
    let mut options = ip.clone();
    options.options = vec![1; 4];
    let options = options.packet(&Udp::new(1, 2).datagram(ip.addresses(), &[7; 60]));
    let frame = |packet: &[u8]| Ethernet::new(REMOTE, STATION, ETHER_IPV4).frame(packet);
    let stripped = [
        ("a checksum that is still open", datagram(Some(open))),
        ("no checksum", datagram(Some(0))),
        ("a protocol that is not known", frame(&sctp)),
        ("IP options", frame(&options)),
        ("IPv4 that is none", frame(&[0; 50])),
        ("cut off within IP", frame(&[0x45; 10])),
        ("longer than the port takes", udp_frame(REMOTE, STATION, 1515)),
        ("from a station that is not known yet", udp_frame(NOBODY, STATION, 98)),
    ];
    let right = datagram(None);
    let mut rows = vec![Row::new("a right checksum", bench.packet(&right, |_| {})?, Fate::Fed(right))];
    for (what, inner) in stripped {
        rows.push(Row::new(what, bench.packet(&inner, |_| {})?, Fate::Stripped(inner)));
    }
    for (what, destination) in [("everyone", Mac::BROADCAST), ("nobody", NOBODY), ("behind a VTEP", REMOTE)] {
        let packet = bench.packet(&udp_frame(SECOND_STATION, destination, 98), |_| {})?;
        rows.push(Row::new(what, packet, Fate::NotOurs));
    }
    bench.table(HOOK, &again(&rows))
}

/// A change to outer headers.
type Change<'a> = (&'static str, &'a dyn Fn(&mut Outer<Ipv4>));

#[test]
fn what_is_like_a_known_packet_but_for_one_thing_is_not_taken_for_it() -> Result<()> {
    let changes: [Change<'_>; 25] = [
        ("the next port", &|outer| outer.udp.destination = 4790),
        ("to another host", &|outer| outer.ip.destination = [10, 0, 0, 7].into()),
        ("TCP", &|outer| outer.ip.protocol = IP_TCP),
        ("another EtherType", &|outer| outer.ethernet.ether_type = ETHER_EXPERIMENT),
        ("a VLAN tag", &|outer| outer.ethernet.tag = Some(7)),
        ("to another MAC address", &|outer| outer.ethernet.destination = NOBODY),
        ("to all MAC addresses", &|outer| outer.ethernet.destination = Mac::BROADCAST),
        ("no flag", &|outer| outer.vxlan.flags = 0),
        ("VNI 0", &|outer| outer.vxlan.vni = 0),
        ("an unknown VNI", &|outer| outer.vxlan.vni = VNI + 1),
        ("a stranger", &|outer| outer.ip.source = [10, 0, 0, 77].into()),
        ("into a segment without it", &|outer| outer.vxlan.vni = OTHER_VNI),
        ("a first fragment", &|outer| outer.ip.fragment = 0x2000),
        ("a later fragment", &|outer| outer.ip.fragment = 0x2001),
        ("a wrong checksum", &|outer| outer.ip.checksum = Some(0x1234)),
        ("a wrong version", &|outer| outer.ip.version_length = Some(0x65)),
        ("a longer header", &|outer| outer.ip.version_length = Some(0x46)),
        ("a long UDP length", &|outer| outer.udp.length = Some(9000)),
        ("a short UDP length", &|outer| outer.udp.length = Some(60)),
        ("no UDP length", &|outer| outer.udp.length = Some(0)),
        ("a long IP length", &|outer| outer.ip.total_length = Some(9000)),
        ("a short IP length", &|outer| outer.ip.total_length = Some(60)),
        ("no IP length", &|outer| outer.ip.total_length = Some(0)),
        ("congestion", &|outer| outer.ip.tos = 3),
        ("congestion that does not matter but to TC", &|outer| outer.ip.tos = 1),
    ];
    let alike: [Change<'_>; 7] = [
        ("another id", &|outer| outer.ip.id = 0x4321),
        ("DF", &|outer| outer.ip.fragment = 0x4000),
        ("another TTL", &|outer| outer.ip.ttl = 3),
        ("another DSCP", &|outer| outer.ip.tos = 0xb8),
        ("ECT(0)", &|outer| outer.ip.tos = 2),
        ("another source port", &|outer| outer.udp.source = 1),
        ("a UDP checksum", &|outer| outer.udp.checksum = Some(0x1234)),
    ];
    let lab = lab_over::<Ipv4>()?;
    let bench = fed::<Ipv4>(&lab)?;
    let inner = udp_frame(REMOTE, STATION, 98);
    let packet = bench.packet(&inner, |_| {})?;
    let known = Row::new("as it is", packet.clone(), Fate::Fed(inner.clone()));
    let mut rows = Vec::new();
    for (what, change) in alike {
        let packet = bench.packet(&inner, |outer| change(outer))?;
        rows.extend([known.clone(), Row::new(what, packet, Fate::Fed(inner.clone()))]);
    }
    for (what, change) in changes {
        // What congestion does to a sender that does not know of it is for TC to say, and all else is not ours.
        let packet = bench.packet(&inner, |outer| change(outer))?;
        let fate = if what.ends_with("but to TC") { Fate::Fed(inner.clone()) } else { Fate::NotOurs };
        rows.extend([known.clone(), Row::new(what, packet, fate)]);
    }
    rows.extend([known.clone(), Row::new("bytes behind it", [&packet[..], &[0]].concat(), Fate::NotOurs)]);
    for len in 14..packet.len() {
        rows.extend([known.clone(), Row::new("cut short", packet[..len].to_vec(), Fate::NotOurs)]);
    }
    for at in [50, 55, 56, 61] {
        // The stations.
        let mut other = packet.clone();
        other[at] ^= 4;
        let fate = if at < 56 { Fate::NotOurs } else { Fate::Stripped(other[50..].to_vec()) };
        rows.extend([known.clone(), Row::new(format!("byte {at}"), other, fate)]);
    }
    bench.table(HOOK, &rows)
}

fn closer_looks_are_left_to_tc<N: Network>() -> Result<()> {
    let lab = lab_over::<N>()?;
    let bench = fed::<N>(&lab)?;
    bench.set(&["--suppress", "on", "--clamp-mss", "on"])?;
    let ip = Ipv4::new([10, 1, 0, 1].into(), [10, 1, 0, 2].into(), IP_TCP);
    let tcp = |syn| {
        let mut tcp = Tcp::new(1, 2);
        tcp.offset_flags = 0x5000 | if syn { 2 } else { 0x10 };
        Ethernet::new(REMOTE, STATION, ETHER_IPV4).frame(&ip.packet(&tcp.segment(ip.addresses(), b"data")))
    };
    let arp =
        Arp { operation: 2, sender: (REMOTE, [10, 1, 0, 1].into()), target: (STATION, [10, 1, 0, 2].into()) };
    let arp = Ethernet::new(REMOTE, STATION, 0x0806).frame(&arp.packet());
    let mut rows = Vec::new();
    for (what, inner, is_simple) in [
        ("a handshake", tcp(true), false),
        ("what comes after it", tcp(false), true),
        ("ARP", arp, false),
        ("UDP", udp_frame(REMOTE, STATION, 98), true),
    ] {
        let fate = if is_simple { Fate::Fed(inner.clone()) } else { Fate::Stripped(inner.clone()) };
        rows.push(Row::new(what, bench.packet(&inner, |_| {})?, fate));
    }
    bench.table(HOOK, &again(&rows))
}

fn a_station_that_moves_is_followed_at_once<N: Network>() -> Result<()> {
    let lab = lab_over::<N>()?;
    let bench = fed::<N>(&lab)?;
    let inner = udp_frame(REMOTE, STATION, 98);
    let packet = bench.packet(&inner, |_| {})?;
    bench.table(HOOK, &again(&[Row::new("fed", packet.clone(), Fate::Fed(inner.clone()))]))?;
    let (vni, mac) = (VNI.to_string(), STATION.to_string());
    let put = |place: [&str; 2]| {
        bench.host().overlay(&[&["fdb", "replace", "--vni", &vni, &mac], &place[..]].concat()).map(drop)
    };
    put(["--port", "p2"])?;
    bench.check(HOOK, &packet, &Fate::Stripped(inner.clone()))?;
    put(["--remote", &lab.host(2).vtep.to_string()])?;
    bench.check(HOOK, &packet, &Fate::NotOurs)?;
    put(["--port", PORT])?;
    bench.check(HOOK, &packet, &Fate::Fed(inner))
}

fn a_tunnel_that_is_gone_is_heard_no_more<N: Network>() -> Result<()> {
    let lab = lab_over::<N>()?;
    let bench = fed::<N>(&lab)?;
    let inner = udp_frame(REMOTE, STATION, 98);
    let packet = bench.packet(&inner, |_| {})?;
    bench.table(HOOK, &again(&[Row::new("fed", packet.clone(), Fate::Fed(inner))]))?;
    let (vni, remote) = (VNI.to_string(), lab.host(2).vtep.to_string());
    bench.host().overlay(&["tunnel", "del", "--vni", &vni, "--remote", &remote])?;
    bench.check(HOOK, &packet, &Fate::NotOurs)?;
    let refused = bench.host().overlay_fails(&["tunnel", "del", "--vni", &vni, "--remote", &remote])?;
    ensure!(refused.code != FAILED, "{refused:?}");
    Ok(())
}

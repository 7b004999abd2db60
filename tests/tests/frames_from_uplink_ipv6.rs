//! Frame tables of `from_uplink` and `from_uplink_xdp` over IPv6: what is delivered, what is not ours, what is dropped
//! and why.

use std::net::Ipv6Addr;

use anyhow::{Context as _, Result, ensure};
use overlay_common::DropReason;
use overlay_tests::{
    bench::{
        Bench, Fate, Hook, NOBODY, OTHER_VNI, PORT, REMOTE, Row, STATION, VNI, lab, lab_over, udp_frame,
    },
    frame::{ETHER_EXPERIMENT, Ethernet, IP_ICMP6, IP_TCP, IP_UDP, Ipv6, Mac, Network as _, Outer},
    testrun::{TC_DROP, TC_NEXT, TC_REDIRECT},
};

const UPLINK: Hook<'_> = Hook::Uplink("u1");

/// A change to outer headers.
type Change<'a> = (&'static str, &'a dyn Fn(&mut Outer<Ipv6>));

fn rows(bench: &Bench<'_, Ipv6>, inner: &[u8], changes: &[Change<'_>], fate: &Fate) -> Result<Vec<Row>> {
    changes
        .iter()
        .map(|(what, change)| Ok(Row::new(*what, bench.packet(inner, |outer| change(outer))?, fate.clone())))
        .collect()
}

/// Goes through a table with TC alone, and with XDP attached each way: there all that is not `stripped` passes.
fn everywhere(table: impl Fn(&Bench<'_, Ipv6>) -> Result<Vec<Row>>, stripped: bool) -> Result<()> {
    let lab = lab_over::<Ipv6>()?;
    let hooks = [("off", UPLINK), ("native", Hook::Xdp("u1")), ("generic", Hook::XdpGeneric("u1"))];
    for (xdp, hook) in hooks {
        let bench = Bench::<Ipv6>::over(&lab, &["--xdp", xdp])?;
        let mut rows = table(&bench)?;
        if xdp != "off" {
            for row in &mut rows {
                row.fate = match std::mem::replace(&mut row.fate, Fate::NotOurs) {
                    Fate::Redirected(bytes) if stripped => Fate::Stripped(bytes),
                    _ => Fate::NotOurs,
                };
            }
        }
        bench.table(hook, &rows).with_context(|| format!("XDP {xdp}"))?;
        bench.instance.down()?;
    }
    Ok(())
}

#[test]
fn what_the_rfcs_leave_open_does_not_matter() -> Result<()> {
    let changes: [Change<'_>; 12] = [
        ("nothing", &|_| {}),
        ("all flags", &|outer| outer.vxlan.flags = 0xff),
        ("reserved bytes", &|outer| outer.vxlan.reserved = [0xff; 3]),
        ("the last reserved byte", &|outer| outer.vxlan.reserved_last = 0xff),
        ("a UDP checksum", &|outer| outer.udp.checksum = None),
        // RFC 7348, section 4.1: it may be verified, and need not be.
        ("a wrong UDP checksum", &|outer| outer.udp.checksum = Some(0x1234)),
        ("a low source port", &|outer| outer.udp.source = 1),
        ("no source port", &|outer| outer.udp.source = 0),
        ("the last hop", &|outer| outer.ip.hop_limit = 1),
        ("no hop left", &|outer| outer.ip.hop_limit = 0),
        ("DSCP and ECN", &|outer| outer.ip.traffic_class = 0xba),
        ("a flow label", &|outer| outer.ip.flow_label = 0xf_ffff),
    ];
    let inner = udp_frame(REMOTE, STATION, 98);
    everywhere(|bench| rows(bench, &inner, &changes, &Fate::Redirected(inner.clone())), true)
}

#[test]
fn what_is_not_ours_passes_untouched() -> Result<()> {
    let v6 = |last| Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last);
    let changes: [Change<'_>; 20] = [
        ("the next port", &|outer| outer.udp.destination = 4790),
        ("port 0", &|outer| outer.udp.destination = 0),
        ("from our port to another", &|outer| (outer.udp.source, outer.udp.destination) = (4789, 49152)),
        ("to another host", &|outer| outer.ip.destination = v6(7)),
        ("to nowhere", &|outer| outer.ip.destination = Ipv6Addr::UNSPECIFIED),
        ("to the loopback address", &|outer| outer.ip.destination = Ipv6Addr::LOCALHOST),
        ("to a group", &|outer| outer.ip.destination = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1)),
        ("TCP", &|outer| outer.ip.next_header = IP_TCP),
        ("ICMPv6", &|outer| outer.ip.next_header = IP_ICMP6),
        ("UDP-Lite", &|outer| outer.ip.next_header = 136),
        ("nothing behind it", &|outer| outer.ip.next_header = 59),
        ("what looks like hop-by-hop options", &|outer| outer.ip.next_header = 0),
        ("what looks like routing", &|outer| outer.ip.next_header = 43),
        ("what looks like options", &|outer| outer.ip.next_header = 60),
        ("a VLAN tag", &|outer| outer.ethernet.tag = Some(7)),
        ("to another MAC address", &|outer| outer.ethernet.destination = NOBODY),
        ("to all MAC addresses", &|outer| outer.ethernet.destination = Mac::BROADCAST),
        ("to a group of MAC addresses", &|outer| outer.ethernet.destination = Mac([0x33, 0x33, 0, 0, 0, 1])),
        ("another EtherType", &|outer| outer.ethernet.ether_type = ETHER_EXPERIMENT),
        ("the EtherType of IPv4", &|outer| outer.ethernet.ether_type = 0x0800),
    ];
    let inner = udp_frame(REMOTE, STATION, 98);
    everywhere(
        |bench| {
            let mut all = rows(bench, &inner, &changes, &Fate::NotOurs)?;
            for version in [0_u8, 4, 5, 7, 15] {
                let mut packet = bench.packet(&inner, |_| {})?;
                packet[14] = version << 4;
                all.push(Row::new(format!("version {version}"), packet, Fate::NotOurs));
            }
            Ok(all)
        },
        false,
    )
}

/// The packet with an extension header of `next` between IPv6 and UDP.
fn extended(outer: &Outer<Ipv6>, inner: &[u8], next: u8, extension: &[u8]) -> Vec<u8> {
    let datagram = outer.udp.datagram(outer.ip.addresses(), &outer.vxlan.packet(inner));
    let ip = Ipv6 { next_header: next, ..outer.ip.clone() };
    outer.ethernet.frame(&ip.packet(&[extension, &datagram].concat()))
}

#[test]
fn extension_headers_are_not_ours_and_fragments_are_dropped() -> Result<()> {
    const FRAGMENT: u8 = 44;
    let inner = udp_frame(REMOTE, STATION, 98);
    let dropped = Fate::Dropped(DropReason::OuterFragment);
    let cases: [(&str, u8, [u8; 8], &Fate); 9] = [
        ("hop-by-hop options", 0, [IP_UDP, 0, 1, 4, 0, 0, 0, 0], &Fate::NotOurs),
        ("routing", 43, [IP_UDP, 0, 4, 0, 0, 0, 0, 0], &Fate::NotOurs),
        ("options for the destination", 60, [IP_UDP, 0, 1, 4, 0, 0, 0, 0], &Fate::NotOurs),
        ("authentication", 51, [IP_UDP, 0, 0, 0, 0, 0, 0, 1], &Fate::NotOurs),
        ("a first fragment", FRAGMENT, [IP_UDP, 0, 0, 1, 0, 0, 0, 9], &dropped),
        ("a fragment that is all", FRAGMENT, [IP_UDP, 0, 0, 0, 0, 0, 0, 9], &dropped),
        ("a later fragment", FRAGMENT, [IP_UDP, 0, 0, 9, 0, 0, 0, 9], &Fate::NotOurs),
        ("the last fragment", FRAGMENT, [IP_UDP, 0, 5, 0xa8, 0, 0, 0, 9], &Fate::NotOurs),
        ("a fragment of TCP", FRAGMENT, [IP_TCP, 0, 0, 1, 0, 0, 0, 9], &Fate::NotOurs),
    ];
    everywhere(
        |bench| {
            let outer = bench.outer()?;
            let row = |(what, next, bytes, fate): &(&str, u8, [u8; 8], &Fate)| {
                Row::new(*what, extended(&outer, &inner, *next, bytes), (*fate).clone())
            };
            Ok(cases.iter().map(row).collect())
        },
        false,
    )
}

#[test]
fn what_is_ours_and_wrong_is_dropped_with_its_reason() -> Result<()> {
    let inner = udp_frame(REMOTE, STATION, 98);
    let v6 = |last| Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last);
    let changes: [(DropReason, Change<'_>); 13] = [
        (DropReason::NoVniFlag, ("no flag", &|outer| outer.vxlan.flags = 0)),
        (DropReason::NoVniFlag, ("all flags but I", &|outer| outer.vxlan.flags = 0xf7)),
        (DropReason::UnknownVni, ("VNI 0", &|outer| outer.vxlan.vni = 0)),
        (DropReason::UnknownVni, ("the next VNI", &|outer| outer.vxlan.vni = VNI + 1)),
        (DropReason::NotAMember, ("a stranger", &|outer| outer.ip.source = v6(0x77))),
        (DropReason::NotAMember, ("a member of another segment", &|outer| outer.ip.source = v6(3))),
        (DropReason::NotAMember, ("into a segment without it", &|outer| outer.vxlan.vni = OTHER_VNI)),
        (DropReason::NotAMember, ("from ourselves", &|outer| outer.ip.source = v6(1))),
        (DropReason::NotAMember, ("from nowhere", &|outer| outer.ip.source = Ipv6Addr::UNSPECIFIED)),
        (DropReason::UdpLength, ("no payload", &|outer| outer.ip.payload_length = Some(0))),
        (DropReason::UdpLength, ("a byte too few", &|outer| outer.ip.payload_length = Some(113))),
        (DropReason::OuterTruncated, ("a byte too many", &|outer| outer.ip.payload_length = Some(115))),
        (DropReason::UdpLength, ("no UDP length", &|outer| outer.udp.length = Some(0))),
    ];
    everywhere(
        |bench| {
            let mut all = Vec::new();
            for (reason, change) in &changes {
                all.extend(rows(bench, &inner, &[*change], &Fate::Dropped(*reason))?);
            }
            Ok(all)
        },
        false,
    )
}

/// Else a packet over IPv6 could pass for one of a member over IPv4.
#[test]
fn ipv4_addresses_do_not_come_in_by_ipv6() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off", "--local", "fd00::1"])?;
    let (one, two) = (lab.host(1), lab.host(2));
    let inner = udp_frame(REMOTE, STATION, 98);
    let right = bench.packet(&inner, |_| {})?;
    bench.check(UPLINK, &right, &Fate::Redirected(inner.clone()))?;
    let mut rows = Vec::new();
    for (source, destination) in [
        (two.v4.to_ipv6_mapped(), one.v6),
        (two.v4.to_ipv6_mapped(), one.v4.to_ipv6_mapped()),
        (two.v6, one.v4.to_ipv6_mapped()),
    ] {
        let outer = Outer::<Ipv6>::new((two.mac, source), (one.mac, destination), VNI)?;
        let what = format!("from {source} to {destination}");
        rows.push(Row::new(what, outer.frame(&inner), Fate::NotOurs));
    }
    bench.table(UPLINK, &rows)
}

#[test]
fn every_flipped_bit_of_the_ip_header_is_harmless() -> Result<()> {
    let lab = lab_over::<Ipv6>()?;
    let bench = Bench::<Ipv6>::over(&lab, &["--xdp", "off"])?;
    let inner = udp_frame(REMOTE, STATION, 100);
    let packet = bench.packet(&inner, |_| {})?;
    let mut wrong = Vec::new();
    for bit in 14 * 8..54 * 8 {
        let mut changed = packet.clone();
        changed[bit / 8] ^= 0x80 >> (bit % 8);
        let (outcome, drops) = bench.run(UPLINK, &changed)?;
        let is_right = match outcome.verdict {
            TC_NEXT => outcome.frame == changed && drops.is_empty(),
            TC_DROP => drops.len() == 1,
            // Traffic class, flow label and hop limit.
            TC_REDIRECT => outcome.frame == inner && drops.is_empty() && (bit < 18 * 8 || bit / 8 == 21),
            _ => false,
        };
        if !is_right {
            wrong.push((bit, outcome.verdict, drops));
        }
    }
    ensure!(wrong.is_empty(), "bit, verdict, drops: {wrong:?}");
    Ok(())
}

#[test]
fn only_an_uplink_takes_packets() -> Result<()> {
    let lab = lab_over::<Ipv6>()?;
    let bench = Bench::<Ipv6>::over(&lab, &["--xdp", "off"])?;
    let inner = udp_frame(REMOTE, STATION, 98);
    let ours = bench.packet(&inner, |_| {})?;
    let within = Ethernet::new(lab.host(2).mac, lab.host(1).mac, 0x86dd).frame(&ours);
    bench.table(UPLINK, &[Row::new("a packet within a frame", within, Fate::NotOurs)])?;
    bench.table(Hook::Uplink(PORT), &[Row::new("on another device", ours, Fate::NotOurs)])
}

#[test]
fn a_first_fragment_for_somebody_else_on_our_port_passes() -> Result<()> {
    let lab = lab_over::<Ipv6>()?;
    let bench = Bench::<Ipv6>::over(&lab, &["--xdp", "off"])?;
    let whole = bench.packet(&udp_frame(REMOTE, STATION, 100), |outer| outer.vxlan.vni = 77)?;
    let (headers, datagram) = whole.split_at(14 + 40);
    let mut first = headers.to_vec();
    // A fragment header, of UDP, with more to come.
    first[14 + 6] = 44;
    let len = u16::from_be_bytes([first[18], first[19]]) + 8;
    first[18..20].copy_from_slice(&len.to_be_bytes());
    let first = [&first[..], &[IP_UDP, 0, 0, 1, 0, 0, 0, 9], datagram].concat();
    bench.check(UPLINK, &first, &Fate::Dropped(DropReason::UnknownVni)).context("nobody listens")?;
    let _socket = bench.host().netns.enter(|| Ok(std::net::UdpSocket::bind(("::", 4789))?))?;
    bench.check(UPLINK, &whole, &Fate::NotOurs).context("whole")?;
    bench.check(UPLINK, &first, &Fate::NotOurs).context("the first fragment")
}

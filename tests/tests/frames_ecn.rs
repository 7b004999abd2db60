//! Explicit congestion notification across the tunnel, byte for byte (RFC 6040): all combinations, both ways.

use anyhow::{Context as _, Result};
use overlay_common::DropReason;
use overlay_tests::{
    bench::{Bench, Fate, Hook, PORT, REMOTE, Row, STATION, lab, lab_over},
    frame::{Arp, ETHER_ARP, ETHER_IPV4, ETHER_IPV6, Ethernet, IP_TCP, Ipv4, Ipv6, Mac, Network, Outer, Tcp},
};

const NOT_ECT: u8 = 0b00;
const ECT_1: u8 = 0b01;
const ECT_0: u8 = 0b10;
const CE: u8 = 0b11;
/// In the order of the columns of figure 4.
const ALL: [u8; 4] = [NOT_ECT, ECT_0, ECT_1, CE];

/// RFC 6040, figure 4: what the inner field becomes, for each inner field and each outer one; `None`: dropped.
const FIGURE_4: [(u8, [Option<u8>; 4]); 4] = [
    (NOT_ECT, [Some(NOT_ECT), Some(NOT_ECT), Some(NOT_ECT), None]),
    (ECT_0, [Some(ECT_0), Some(ECT_0), Some(ECT_1), Some(CE)]),
    (ECT_1, [Some(ECT_1), Some(ECT_1), Some(ECT_1), Some(CE)]),
    (CE, [Some(CE), Some(CE), Some(CE), Some(CE)]),
];

/// A DSCP that has to stay: expedited forwarding.
const DSCP: u8 = 46 << 2;

/// TCP over IPv4 or IPv6 with that TOS byte or traffic class.
fn frame(from: Mac, to: Mac, ether_type: u16, tos: u8) -> Result<Vec<u8>> {
    let packet = if ether_type == ETHER_IPV4 {
        let ip = Ipv4 { tos, ..Ipv4::new([10, 1, 0, 1].into(), [10, 1, 0, 2].into(), IP_TCP) };
        ip.packet(&Tcp::new(1, 2).segment(ip.addresses(), b"some data"))
    } else {
        let plain = Ipv6::new("fd01::1".parse()?, "fd01::2".parse()?, IP_TCP);
        let ip = Ipv6 { traffic_class: tos, flow_label: 0x9_abcd, ..plain };
        ip.packet(&Tcp::new(1, 2).segment(ip.addresses(), b"some data"))
    };
    Ok(Ethernet::new(from, to, ether_type).frame(&packet))
}

fn arp(from: Mac, to: Mac) -> Vec<u8> {
    let arp = Arp { operation: 2, sender: (from, [10, 1, 0, 1].into()), target: (to, [10, 1, 0, 2].into()) };
    Ethernet::new(from, to, ETHER_ARP).frame(&arp.packet())
}

/// A row for each combination out of a tunnel, as `fate` has it: the packet, and what the inner frame was and becomes.
/// `set_tos` sets the TOS byte or traffic class of the outer header.
fn out_of_a_tunnel<N: Network>(
    bench: &Bench<'_, N>,
    set_tos: impl Fn(&mut N, u8),
    fate: impl Fn(Vec<u8>, Option<Vec<u8>>) -> Fate,
) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for ether_type in [ETHER_IPV4, ETHER_IPV6] {
        for (inner, line) in FIGURE_4 {
            for (outer, result) in ALL.into_iter().zip(line) {
                let before = frame(REMOTE, STATION, ether_type, DSCP | inner)?;
                let after = result.map(|result| frame(REMOTE, STATION, ether_type, DSCP | result));
                // The outer DSCP is the underlay's own business.
                let packet = bench.packet(&before, |headers| set_tos(&mut headers.ip, 0x28 | outer))?;
                let what = format!("{ether_type:#06x}: inner {inner:02b}, outer {outer:02b}");
                rows.push(Row::new(what, packet, fate(before, after.transpose()?)));
            }
        }
    }
    for outer in ALL {
        let inner = arp(REMOTE, STATION);
        let packet = bench.packet(&inner, |headers| set_tos(&mut headers.ip, outer))?;
        rows.push(Row::new(format!("ARP, outer {outer:02b}"), packet, fate(inner.clone(), Some(inner))));
    }
    Ok(rows)
}

#[test]
fn out_of_a_tunnel_all_combinations_are_as_in_rfc_6040() -> Result<()> {
    let becomes = |_, after| match after {
        Some(after) => Fate::Redirected(after),
        None => Fate::Dropped(DropReason::Ecn),
    };
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let rows = out_of_a_tunnel(&bench, |ip, tos| ip.tos = tos, becomes)?;
    bench.table(Hook::Uplink("u1"), &rows).context("over IPv4")?;

    let lab = lab_over::<Ipv6>()?;
    let bench = Bench::<Ipv6>::over(&lab, &["--xdp", "off"])?;
    let rows = out_of_a_tunnel(&bench, |ip, tos| ip.traffic_class = tos, becomes)?;
    bench.table(Hook::Uplink("u1"), &rows).context("over IPv6")
}

#[test]
fn xdp_leaves_alone_what_has_to_change_or_to_be_dropped() -> Result<()> {
    let lab = lab()?;
    for (xdp, hook) in [("native", Hook::Xdp("u1")), ("generic", Hook::XdpGeneric("u1"))] {
        let bench = Bench::new(&lab, &["--xdp", xdp])?;
        let rows = out_of_a_tunnel(
            &bench,
            |ip, tos| ip.tos = tos,
            |before, after| {
                if after.as_ref() == Some(&before) { Fate::Stripped(before) } else { Fate::NotOurs }
            },
        )?;
        bench.table(hook, &rows).context(xdp)?;
        bench.instance.down()?;
    }
    Ok(())
}

#[test]
fn what_is_no_ip_header_is_left_as_it_is() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let mut rows = Vec::new();
    for (ether_type, payload) in [(ETHER_IPV4, vec![0x60; 40]), (ETHER_IPV6, vec![0x45; 50])] {
        let inner = Ethernet::new(REMOTE, STATION, ether_type).frame(&payload);
        let packet = bench.packet(&inner, |headers| headers.ip.tos = CE)?;
        rows.push(Row::new(format!("{ether_type:#06x}"), packet, Fate::Redirected(inner)));
    }
    bench.table(Hook::Uplink("u1"), &rows)
}

#[test]
fn into_a_tunnel_the_inner_field_is_copied() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    for ether_type in [ETHER_IPV4, ETHER_IPV6] {
        for ecn in ALL {
            let inner = frame(STATION, REMOTE, ether_type, DSCP | ecn)?;
            let (outcome, drops) = bench.run(Hook::Port(PORT), &inner)?;
            let (outer, inside) = Outer::<Ipv4>::parse(&outcome.frame)?;
            let what = format!("{ether_type:#06x} with {ecn:02b}: {outer:?}, counted {drops:?}");
            anyhow::ensure!(outer.ip.tos == ecn && inside == inner && drops.is_empty(), "{what}");
        }
    }
    let (outcome, _) = bench.run(Hook::Port(PORT), &arp(STATION, REMOTE))?;
    anyhow::ensure!(Outer::<Ipv4>::parse(&outcome.frame)?.0.ip.tos == 0, "ARP has no ECN");
    Ok(())
}

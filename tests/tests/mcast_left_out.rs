//! With `--mcast-snooping on`, nobody is left out who could not say that he listens.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result, ensure};
use overlay_common::DropReason;
use overlay_tests::{
    bench::{Bench, Hook, PORT, SECOND_PORT, SECOND_STATION, STATION, lab},
    frame::{ETHER_EXPERIMENT, ETHER_IPV4, Ethernet, Ipv4, Mac, Network as _},
    group::{igmp, mld},
    topology::Lab,
};

const ALL: (Mac, Ipv4Addr) = (Mac([1, 0, 0x5e, 0, 0, 1]), Ipv4Addr::new(224, 0, 0, 1));
const OWN: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
const ALL_IPV6: (Mac, Ipv6Addr) = (Mac([0x33, 0x33, 0, 0, 0, 1]), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1));

/// A query of IGMP that wants answers at once.
const QUERY: [u8; 8] = [0x11, 0, 0, 0, 0, 0, 0, 0];

fn bench_with_snooping(lab: &Lab) -> Result<Bench<'_>> {
    let bench = Bench::new(lab, &["--xdp", "off"])?;
    bench.set(&["--mcast-snooping", "on"])?;
    Ok(bench)
}

fn has(bench: &Bench<'_>, kind: &str) -> Result<bool> {
    let mdb = bench.host().overlay_json(&["mdb", "show"])?;
    Ok(mdb.as_array().context("no array")?.iter().any(|row| row["kind"] == kind))
}

/// The same query in another IPv4 header.
fn in_header(change: impl FnOnce(&mut Ipv4)) -> Vec<u8> {
    let right = igmp(STATION, OWN, ALL, QUERY.to_vec());
    let mut ip = Ipv4::new(OWN, ALL.1, 2);
    (ip.ttl, ip.options) = (1, vec![0x94, 4, 0, 0]);
    change(&mut ip);
    Ethernet::new(STATION, ALL.0, ETHER_IPV4).frame(&ip.packet(&right[14 + 24..]))
}

#[test]
fn a_query_that_not_everybody_hears_counts_for_nothing() -> Result<()> {
    let lab = lab()?;
    let bench = bench_with_snooping(&lab)?;
    let (group, mac) = (Ipv4Addr::new(239, 9, 9, 9), Mac([1, 0, 0x5e, 9, 9, 9]));
    let message = [&[130, 0, 0, 0, 0, 0, 0, 0][..], &[0; 16]].concat();
    let mld = |source: &str, to: (Mac, Ipv6Addr)| -> Result<Vec<u8>> {
        Ok(mld(STATION, source.parse()?, to, message.clone()))
    };
    let right_mld = mld("fe80::1", ALL_IPV6)?;
    let without_alert = [&right_mld[..14 + 40 + 2], &[1, 4, 0, 0, 0, 0], &right_mld[14 + 40 + 8..]].concat();
    for (what, frame) in [
        ("to another group", igmp(STATION, OWN, (mac, group), QUERY.to_vec())),
        ("to another MAC address", igmp(STATION, OWN, (mac, ALL.1), QUERY.to_vec())),
        ("to another IP address", igmp(STATION, OWN, (ALL.0, group), QUERY.to_vec())),
        ("from a group", igmp(STATION, group, ALL, QUERY.to_vec())),
        ("with a wrong header checksum", in_header(|ip| ip.checksum = Some(1))),
        ("from far away", in_header(|ip| ip.ttl = 64)),
        ("that routers need not look at", in_header(|ip| ip.options = vec![1, 1, 1, 0])),
        ("MLD, to another group", mld("fe80::1", (Mac([0x33, 0x33, 0, 0, 0, 2]), "ff02::2".parse()?))?),
        ("MLD, to another MAC address", mld("fe80::1", (Mac([0x33, 0x33, 0, 0, 0, 2]), ALL_IPV6.1))?),
        ("MLD, not from the link", mld("fd00::1", ALL_IPV6)?),
        ("MLD, from nobody", mld("::", ALL_IPV6)?),
        ("MLD, that routers need not look at", without_alert),
    ] {
        let drops = bench.run(Hook::Port(PORT), &frame)?.1;
        ensure!(drops.is_empty(), "{what}: {drops:?}");
        ensure!(!has(&bench, "querier")?, "{what}");
        ensure!(!has(&bench, "router")?, "{what}");
    }
    for right in [in_header(|_| ()), right_mld] {
        bench.run(Hook::Port(PORT), &right)?;
        ensure!(has(&bench, "querier")? && has(&bench, "router")?);
        bench.set(&["--mcast-snooping", "off"])?;
        bench.set(&["--mcast-snooping", "on"])?;
    }
    Ok(())
}

#[test]
fn a_query_beyond_what_a_port_may_have_flooded_counts_for_nothing() -> Result<()> {
    let lab = lab()?;
    let bench = bench_with_snooping(&lab)?;
    bench.host().overlay(&["port", "set", PORT, "--bum-rate", "1"])?;
    let other = Ethernet::new(STATION, Mac::BROADCAST, ETHER_EXPERIMENT).frame(&[1; 50]);
    for _ in 0..16 {
        ensure!(bench.run(Hook::Port(PORT), &other)?.1.is_empty());
    }
    let query = igmp(STATION, OWN, ALL, QUERY.to_vec());
    let drops = bench.run(Hook::Port(PORT), &query)?.1;
    ensure!(drops == [(DropReason::BumRate, 1)], "{drops:?}");
    ensure!(!has(&bench, "querier")?);
    // What passes costs no more than anything else.
    bench.host().overlay(&["port", "set", SECOND_PORT, "--bum-rate", "1"])?;
    let query = igmp(SECOND_STATION, OWN, ALL, QUERY.to_vec());
    for _ in 0..16 {
        ensure!(bench.run(Hook::Port(SECOND_PORT), &query)?.1.is_empty());
    }
    ensure!(has(&bench, "querier")?);
    Ok(())
}

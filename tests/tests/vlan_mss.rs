//! Handshakes behind VLAN tags that are kept: their MSS fits what the tags leave of the path, both ways. Frames come in and
//! leave by real devices, which take the outer tag beside the bytes.

use anyhow::{Context as _, Result, ensure};
use overlay_common::Notice;
use overlay_tests::{
    bench::{Bench, Hook, PORT, REMOTE, STATION, VNI, lab, same},
    frame::{Ipv4, Mac, Outer, verify},
    handshake::{SYN, SYN_ACK, frame4, frame6, of_linux},
    tags::{kept, with_tags, without_tags},
    testrun::TC_REDIRECT,
    topology::Lab,
    trunk::{Switch, Tag, tag},
    wire::{Direction, Wire},
};

/// What fits by default behind IPv4 and TCP, and behind IPv6 and TCP.
const FITTING: [u16; 2] = [1410, 1390];

fn underlay(lab: &Lab) -> Result<Wire> {
    Wire::open(&lab.host(2).netns, "u2", Direction::In)
}

/// Handshakes of both families that say `sizes`.
fn handshakes(macs: (Mac, Mac), flags: u16, sizes: [u16; 2]) -> Result<[Vec<u8>; 2]> {
    Ok([frame4(macs, flags, &of_linux(sizes[0])), frame6(macs, flags, &of_linux(sizes[1]))?])
}

/// Whether a packet of the underlay carries a frame that is this one but for its MSS: `expected`.
fn carries(packet: &[u8], frame: &[u8]) -> bool {
    Outer::<Ipv4>::parse(packet)
        .is_ok_and(|(_, inner)| inner.len() == frame.len() && inner[..34] == frame[..34])
}

/// The handshakes of a workload that says too much, in frames that have tags on its wire and in the tunnel.
fn outward(bench: &Bench<'_>, wire: &Wire, tags: (&[Tag], &[Tag]), fitting: [u16; 2]) -> Result<()> {
    let far = underlay(bench.lab)?;
    for flags in [SYN, SYN_ACK] {
        let said = handshakes((STATION, REMOTE), flags, [1460, 1440])?;
        let lowered = handshakes((STATION, REMOTE), flags, fitting)?;
        for (said, lowered) in said.iter().zip(&lowered) {
            let lowered = with_tags(lowered, tags.1);
            let before = bench.host().noticed(Notice::MssClamped)?;
            wire.send(&with_tags(said, tags.0))?;
            let seen = far.expect("a handshake", |seen| carries(&seen.bytes, &lowered))?;
            let (_, inner) = Outer::<Ipv4>::parse(&seen.bytes)?;
            verify(&without_tags(inner))?;
            same(inner, &lowered)?;
            ensure!(bench.host().noticed(Notice::MssClamped)? == before + 1, "not noticed");
        }
    }
    Ok(())
}

/// The same out of the tunnel, for the workload.
fn inward(bench: &Bench<'_>, wire: &Wire, tags: (&[Tag], &[Tag]), fitting: [u16; 2]) -> Result<()> {
    let far = underlay(bench.lab)?;
    for flags in [SYN, SYN_ACK] {
        let said = handshakes((REMOTE, STATION), flags, [1460, 1440])?;
        let lowered = handshakes((REMOTE, STATION), flags, fitting)?;
        for (said, lowered) in said.iter().zip(&lowered) {
            far.send(&bench.packet(&with_tags(said, tags.1), |_| {})?)?;
            let seen = wire.expect("a handshake", |seen| seen.bytes.starts_with(&STATION.0))?;
            verify(&without_tags(&seen.bytes))?;
            same(&seen.bytes, &with_tags(lowered, tags.0))?;
        }
    }
    Ok(())
}

#[test]
fn tags_count_where_the_path_says_what_fits() -> Result<()> {
    for arguments in [&["--xdp", "off"], &["--xdp", "native"]] {
        let lab = lab()?;
        let bench = Bench::new(&lab, arguments)?;
        bench.set(&["--vlan", "keep", "--clamp-mss", "on"])?;
        let wire = bench.station(PORT)?;
        for tags in kept().into_iter().chain([vec![]]) {
            let fitting = FITTING.map(|size| size - 4 * u16::try_from(tags.len()).unwrap_or_default());
            outward(&bench, &wire, (&tags, &tags), fitting).with_context(|| format!("to {tags:x?}"))?;
            inward(&bench, &wire, (&tags, &tags), fitting).with_context(|| format!("from {tags:x?}"))?;
        }
    }
    Ok(())
}

#[test]
fn tags_among_the_bytes_count_alike() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    bench.set(&["--vlan", "keep", "--clamp-mss", "on"])?;
    for tags in kept() {
        let fitting = FITTING.map(|size| size - 4 * u16::try_from(tags.len()).unwrap_or_default());
        let said = handshakes((STATION, REMOTE), SYN, [1460, 1440])?;
        for (said, lowered) in said.iter().zip(handshakes((STATION, REMOTE), SYN, fitting)?) {
            let (outcome, drops) = bench.run(Hook::Port(PORT), &with_tags(said, &tags))?;
            ensure!(outcome.verdict == TC_REDIRECT && drops.is_empty(), "{tags:x?}: {drops:?}");
            let (_, inner) = Outer::<Ipv4>::parse(&outcome.frame)?;
            same(inner, &with_tags(&lowered, &tags)).with_context(|| format!("{tags:x?}"))?;
        }
    }
    Ok(())
}

#[test]
fn a_number_counts_whatever_the_tags() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    bench.set(&["--vlan", "keep", "--clamp-mss", "1300"])?;
    let wire = bench.station(PORT)?;
    for tags in kept() {
        outward(&bench, &wire, (&tags, &tags), [1300; 2]).with_context(|| format!("to {tags:x?}"))?;
        inward(&bench, &wire, (&tags, &tags), [1300; 2]).with_context(|| format!("from {tags:x?}"))?;
    }
    Ok(())
}

#[test]
fn the_tag_of_a_trunk_port_takes_no_room_in_the_tunnel() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    bench.set(&["--vlan", "keep", "--clamp-mss", "on"])?;
    let switch = Switch::new(bench.host(), "t1")?;
    bench.host().overlay(&["port", "add", "t1", "--vlan", &format!("10:{VNI}")])?;
    let vni = VNI.to_string();
    bench.host().overlay(&["fdb", "del", "--vni", &vni, &STATION.to_string()])?;
    bench.add_station(VNI, STATION, ["--port", "t1"])?;
    let wire = Wire::open(&switch.netns, Switch::TRUNK, Direction::In)?;
    for kept in [vec![], vec![tag(0x6007)]] {
        let fitting = FITTING.map(|size| size - 4 * u16::try_from(kept.len()).unwrap_or_default());
        let on_trunk = [&[tag(10)], &kept[..]].concat();
        outward(&bench, &wire, (&on_trunk, &kept), fitting).with_context(|| format!("to {kept:x?}"))?;
        inward(&bench, &wire, (&on_trunk, &kept), fitting).with_context(|| format!("from {kept:x?}"))?;
    }
    Ok(())
}

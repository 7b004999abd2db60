//! Tags that say a priority and no VLAN: who sends them means a frame without a tag (IEEE 802.1Q, section 6.9.1), and the
//! kernel's stack takes them so.

use anyhow::{Context as _, Result, ensure};
use overlay_common::DropReason;
use overlay_tests::{
    bench::{Bench, PORT, REMOTE, SECOND_PORT, SECOND_STATION, STATION, lab},
    frame::{ETHER_EXPERIMENT, Ethernet, Ipv4, Mac, Outer},
    wire::{Direction, Wire},
};

/// A priority, and no VLAN.
const PRIORITY: u16 = 0xe000;

fn frame(source: Mac, destination: Mac, tag: Option<u16>) -> Vec<u8> {
    Ethernet { tag, ..Ethernet::new(source, destination, ETHER_EXPERIMENT) }.frame(&[0x19; 60])
}

#[test]
fn packets_of_the_underlay_are_taken_as_without_a_tag() -> Result<()> {
    for xdp in ["off", "native"] {
        let lab = lab()?;
        let bench = Bench::new(&lab, &["--xdp", xdp])?;
        let station = bench.station(PORT)?;
        let wire = Wire::open(&lab.host(2).netns, "u2", Direction::In)?;
        let inner = frame(REMOTE, STATION, None);
        for tag in [0, PRIORITY] {
            wire.send(&bench.packet(&inner, |outer| outer.ethernet.tag = Some(tag))?)?;
            station
                .expect("the inner frame", |seen| seen.bytes == inner)
                .with_context(|| format!("xdp {xdp}, {tag:#x}"))?;
        }
        // Another VLAN of the underlay is none of ours.
        wire.send(&bench.packet(&inner, |outer| outer.ethernet.tag = Some(7))?)?;
        ensure!(station.collect(|seen| seen.bytes == inner)?.is_empty());
    }
    Ok(())
}

#[test]
fn frames_of_a_port_are_taken_as_without_a_tag() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let (here, there) = (bench.station(SECOND_PORT)?, Wire::open(&lab.host(2).netns, "u2", Direction::In)?);
    let from = bench.station(PORT)?;
    for tag in [0, PRIORITY] {
        from.send(&frame(STATION, SECOND_STATION, Some(tag)))?;
        here.expect("a frame", |seen| seen.bytes == frame(STATION, SECOND_STATION, None))?;
        from.send(&frame(STATION, REMOTE, Some(tag)))?;
        let inner = frame(STATION, REMOTE, None);
        let is_it = |bytes: &[u8]| Outer::<Ipv4>::parse(bytes).is_ok_and(|(_, found)| found == inner);
        there.expect("a packet", |seen| is_it(&seen.bytes))?;
    }
    // One behind it that does name a VLAN stays what it is.
    let before = bench.host().drops()?;
    let [destination, source] = [SECOND_STATION.0, STATION.0];
    let tags = [0x81, 0, 0, 0, 0x81, 0, 0, 7, 0x88, 0xb5];
    from.send(&[&destination[..], &source, &tags, &[0x19; 60]].concat())?;
    ensure!(here.collect(|seen| seen.bytes.ends_with(&[0x19; 60]))?.is_empty());
    let drops = bench.host().drops_since(&before)?;
    ensure!(drops.get(DropReason::InnerVlan.name()) == Some(&1), "{drops:?}");
    Ok(())
}

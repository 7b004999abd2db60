//! Many segments, on trunk ports, each with a station behind its port and one behind a remote VTEP.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use overlay_common::Vni;
use overlay_tests::{
    bench::{self, Bench, Hook, REMOTE, STATION, VNI, udp_frame},
    netns::NetNs,
    topology::cable,
};

use super::{
    ROOM, Scale,
    draw::Case,
    stations::{LENGTH, put},
    vteps::Members,
};
use crate::programs::Programs;

/// What there are many of.
pub(super) const OF: &str = "segments";

/// The first of them.
const FIRST_VNI: u32 = 1_000_000;

/// VLANs of a trunk, 4094 at most.
const OF_TRUNK: u32 = 4_000;

/// Trunk ports.
const TRUNKS: [&str; 3] = ["t1", "t2", "t3"];

/// Makes so many, and measures.
pub(super) fn measure(count: u32, times: usize, nothing: &mut Programs, scale: &mut Scale) -> Result<()> {
    let lab = bench::lab()?;
    let bench: Bench<'_> = Bench::new(&lab, &["--xdp", "off", "--fdb-size", &ROOM.to_string()])?;
    let host = bench.host();
    let trunks = NetNs::new("trunks")?;
    for (trunk, first) in TRUNKS.into_iter().zip((0..count).step_by(OF_TRUNK as usize)) {
        cable(&host.netns, (trunk, None), &trunks, (trunk, None))?;
        host.netns.ip(&format!("link set {trunk} up"))?;
        let map = format!("1-{}:{}", OF_TRUNK.min(count - first), FIRST_VNI + first);
        host.overlay(&["port", "add", trunk, "--vlan", &map])?;
    }
    let members = Members::open(&bench.instance)?;
    let remote = lab.host(2).v4;
    let id = members.id(Vni::new(VNI).context("a VNI")?, remote)?;
    members.add((0..count).filter_map(|number| Some((Vni::new(FIRST_VNI + number)?, remote, id))))?;
    let mut text = String::new();
    for number in 0..count {
        let (vni, trunk) = (FIRST_VNI + number, TRUNKS[(number / OF_TRUNK) as usize]);
        writeln!(text, "{vni} {STATION} {trunk}\n{vni} {REMOTE} {remote}")?;
    }
    put(host, "add", &[], &text)?;
    let case = |program, hook, count| Case { of: OF, count, program, hook };
    // Out of one trunk, with the tag of one of its segments.
    let on_trunk = OF_TRUNK.min(count);
    let port = case("from_port", Hook::Port(TRUNKS[0]), on_trunk);
    let sent = port.measure(&bench, nothing, times, |number| {
        let mut frame = udp_frame(STATION, REMOTE, LENGTH);
        let [high, low] = u16::try_from(number + 1)?.to_be_bytes();
        frame.splice(12..12, [0x81, 0x00, high, low]);
        Ok(frame)
    })?;
    let uplink = case("from_uplink", Hook::Uplink(&host.uplink), count);
    let packet = |number| {
        let inner = udp_frame(REMOTE, STATION, LENGTH);
        bench.packet(&inner, |outer| outer.vxlan.vni = FIRST_VNI + number)
    };
    let received = uplink.measure(&bench, nothing, times, packet)?;
    scale.packets.extend(sent.into_iter().chain(received).map(|packet| super::Packet { count, ..packet }));
    bench.instance.down()?;
    drop((bench.stations, trunks));
    Ok(())
}

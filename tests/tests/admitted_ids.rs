//! VTEPs that come by a multicast group of the underlay take an id, and leave nothing behind with it.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, ensure};
use overlay_common::maps::admitted;
use overlay_tests::{
    bench::{Bench, Hook, STATION, VNI, lab},
    frame::{ETHER_EXPERIMENT, ETHER_IPV4, Ethernet, IP_ICMP, Ipv4, Mac, Network as _, Outer, TooBig},
    testrun::tc_in_turn,
};

/// The address of a VTEP that comes by itself.
fn remote(number: usize) -> Result<Ipv4Addr> {
    Ok(Ipv4Addr::from(0x0a00_1000 + u32::try_from(number)?))
}

/// The segment that it comes to: as many as one takes, each.
fn segment(number: usize) -> Result<u32> {
    let of_each = usize::try_from(admitted::MAX_OF_SEGMENT)?;
    Ok(VNI + u32::try_from(number.saturating_sub(1) / of_each)?)
}

/// A packet from there.
fn packet(bench: &Bench<'_>, number: usize) -> Result<Vec<u8>> {
    let [.., m, n] = u32::try_from(number)?.to_be_bytes();
    let inner = Ethernet::new(Mac([2, 7, 0, 0, m, n]), STATION, ETHER_EXPERIMENT).frame(&[1; 60]);
    let (source, vni) = (remote(number)?, segment(number)?);
    bench.packet(&inner, |outer| (outer.ip.source, outer.vxlan.vni) = (source, vni))
}

/// What the underlay told about the path to one.
fn told(bench: &Bench<'_>, number: usize) -> Result<serde_json::Value> {
    let tunnels = bench.host().overlay_json(&["tunnel", "show"])?;
    let remote = remote(number)?.to_string();
    let row = tunnels.as_array().context("no array")?.iter().find(|row| row["remote"] == remote);
    Ok(row.with_context(|| format!("{remote} is no member"))?["path_mtu_told"]["mtu"].clone())
}

#[test]
fn who_gets_the_id_of_another_does_not_get_its_path_mtu() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let (host, vni) = (bench.host(), VNI.to_string());
    for segment in VNI..=segment(admitted::MAX_FREE)? {
        let vni = segment.to_string();
        host.overlay(&["tunnel", "add", "--vni", &vni, "--remote", "239.1.1.1", "--dev", "u1"])?;
    }
    bench.run(Hook::Uplink("u1"), &packet(&bench, 0)?)?;
    let ours: Outer<Ipv4> = Outer::new((host.mac, host.v4), (Mac([2; 6]), remote(0)?), VNI)?;
    let router = Ipv4::new(Ipv4Addr::new(192, 0, 2, 1), host.v4, IP_ICMP);
    let message = TooBig { mtu: 1400 }.message(router.addresses(), &ours.frame(&[7; 1450])[14..][..64]);
    let news =
        Ethernet::new(Mac([2, 0, 0, 0, 0xff, 1]), host.mac, ETHER_IPV4).frame(&router.packet(&message));
    bench.run(Hook::Uplink("u1"), &news)?;
    ensure!(told(&bench, 0)? == 1400, "{}", told(&bench, 0)?);
    host.overlay(&["tunnel", "del", "--vni", &vni, "--remote", &remote(0)?.to_string()])?;
    // Its id is the last in the queue now.
    let others = (1..=admitted::MAX_FREE)
        .map(|number| Ok(("u1", packet(&bench, number)?)))
        .collect::<Result<Vec<_>>>()?;
    tc_in_turn(&bench.instance, "from_uplink", &others, others.len())?;
    ensure!(told(&bench, admitted::MAX_FREE)?.is_null(), "{}", told(&bench, admitted::MAX_FREE)?);
    Ok(())
}

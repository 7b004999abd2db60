//! Messages that anybody can forge about packets that were too big: what they cannot do.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use overlay_common::{DropReason, Notice};
use overlay_tests::{
    bench::{Bench, Fate, Hook, PORT, REMOTE, STATION, VNI, lab_over, udp_frame},
    frame::{ETHER_IPV6, Ethernet, IP_ICMP, IP_ICMP6, IP_UDP, Ipv4, Ipv6, Mac, Network, Outer, TooBig, Udp},
    process::{stay_on_one_cpu, wait_until},
};

const ROUTER: Mac = Mac([2, 0, 0, 0, 0xff, 1]);

/// A frame of a workload with an IPv6 packet of `len` bytes.
fn frame6(len: usize) -> Result<Vec<u8>> {
    let ip = Ipv6::new("fd01::1".parse()?, "fd01::2".parse()?, IP_UDP);
    let datagram = Udp::new(1000, 2000).datagram(ip.addresses(), &vec![7; len - 48]);
    Ok(Ethernet::new(STATION, REMOTE, ETHER_IPV6).frame(&ip.packet(&datagram)))
}

/// The MTU that the answer to a frame names; `None`: the frame is sent.
fn answered<N: Network>(bench: &Bench<'_, N>, frame: &[u8]) -> Result<Option<u16>> {
    let before = bench.host().noticed(Notice::TooBigAnswered)?;
    let (outcome, drops) = bench.run(Hook::Port(PORT), frame)?;
    if drops.is_empty() {
        return Ok(None);
    }
    ensure!(drops == [(DropReason::TooBig, 1)], "{drops:?}");
    ensure!(bench.host().noticed(Notice::TooBigAnswered)? == before + 1, "not answered");
    let is_ipv6 = outcome.frame[12..14] == ETHER_IPV6.to_be_bytes();
    let at = if is_ipv6 { 14 + 40 + 6 } else { 14 + 20 + 6 };
    let mtu = outcome.frame.get(at..at + 2).context("a short answer")?;
    Ok(Some(u16::from_be_bytes([mtu[0], mtu[1]])))
}

/// Has a router say that no more than `mtu` bytes get to host 2, and checks what a workload notices of it: it can still send
/// the smallest MTU of IPv6, and is told that, and of IPv4 that `ipv4` bytes fit.
fn ipv6_goes_on<N: Network>(router: &N, protocol: u8, mtu: u32, ipv4: u16) -> Result<()> {
    // Each CPU has answers of its own.
    stay_on_one_cpu()?;
    let lab = lab_over::<N>()?;
    let bench = Bench::<N>::over(&lab, &["--xdp", "off"])?;
    let (host, other) = (bench.host(), lab.host(2));
    let ours = Outer::<N>::new((host.mac, host.vtep), (other.mac, other.vtep), VNI)?.frame(&[7; 1400]);
    let (source, _) = router.addresses();
    let ip = N::between(source, host.vtep, protocol)?;
    let message = TooBig { mtu }.message(ip.addresses(), &ours[14..14 + 548]);
    let told = Ethernet::new(ROUTER, host.mac, N::ETHER_TYPE).frame(&ip.packet(&message));
    ensure!(answered(&bench, &frame6(1300)?)?.is_none());
    bench.check(Hook::Uplink("u1"), &told, &Fate::NotOurs)?;
    let soon = Instant::now() + Duration::from_secs(1);
    let answer = wait_until(soon, || answered(&bench, &frame6(1300)?))?;
    ensure!(answer == 1280, "{answer} bytes");
    for len in [1280, 600] {
        ensure!(answered(&bench, &frame6(len)?)?.is_none(), "{len} bytes");
    }
    ensure!(answered(&bench, &frame6(1281)?)? == Some(1280));
    // What is smaller than IPv6 allows is believed for IPv4.
    ensure!(answered(&bench, &udp_frame(STATION, REMOTE, 14 + usize::from(ipv4)))?.is_none());
    let answer = answered(&bench, &udp_frame(STATION, REMOTE, 15 + usize::from(ipv4)))?;
    ensure!(answer == Some(ipv4), "{answer:?}");
    Ok(())
}

#[test]
fn a_small_mtu_that_somebody_tells_does_not_end_ipv6_over_ipv4() -> Result<()> {
    ipv6_goes_on(&Ipv4::new([192, 0, 2, 1].into(), [0; 4].into(), IP_ICMP), IP_ICMP, 552, 502)
}

#[test]
fn a_small_mtu_that_somebody_tells_does_not_end_ipv6_over_ipv6() -> Result<()> {
    let router = Ipv6::new("2001:db8::1".parse()?, "::".parse()?, IP_ICMP6);
    ipv6_goes_on(&router, IP_ICMP6, 1280, 1210)
}

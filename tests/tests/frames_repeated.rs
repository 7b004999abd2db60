//! What TC keeps of a frame is used for its like only: whatever came before, a frame is treated as if it was the first.

use anyhow::{Context as _, Result, ensure};
use aya::maps::{Map, MapData, MapInfo, PerCpuArray};
use overlay_common::{
    DropReason,
    header::checksum,
    maps::{
        departure::{self, Departure},
        early::{self, Pattern},
    },
};
use overlay_tests::{
    bench::{Bench, Hook, PORT, REMOTE, STATION, VNI, lab_over, same},
    frame::{ETHER_IPV4, ETHER_IPV6, Ethernet, IP_TCP, IP_UDP, Ipv4, Ipv6, Mac, Network, Tcp, Udp},
    over_both_families, process,
    testrun::{Outcome, TC_REDIRECT, pinned_tc},
};

over_both_families! {
    what_a_port_sends_gets_the_headers_of_its_own,
    settings_of_the_segment_hold_for_each_frame,
    what_a_tunnel_brings_is_looked_at_for_itself,
    a_remote_vtep_that_is_gone_gets_no_more,
    all_are_counted,
}

const FROM_PORT: Hook<'_> = Hook::Port(PORT);
const UPLINK: Hook<'_> = Hook::Uplink("u1");

type Treated = (Outcome, Vec<(DropReason, u64)>);

/// Frames from one station to another that have all that is compared.
fn frames(source: Mac, destination: Mac) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let ip4 = |protocol| Ipv4::new([10, 1, 0, 1].into(), [10, 1, 0, 2].into(), protocol);
    let udp = Udp::new(1000, 2000).datagram(ip4(IP_UDP).addresses(), &[7; 70]);
    let tcp = Tcp::new(1000, 2000).segment(ip4(IP_TCP).addresses(), b"some data");
    let ip6 = Ipv6::new("fd01::1".parse()?, "fd01::2".parse()?, IP_UDP);
    let udp6 = Udp::new(1000, 2000).datagram(ip6.addresses(), &[7; 70]);
    let of = |ether_type, packet: Vec<u8>| Ethernet::new(source, destination, ether_type).frame(&packet);
    Ok(vec![
        ("UDP", of(ETHER_IPV4, ip4(IP_UDP).packet(&udp))),
        ("TCP", of(ETHER_IPV4, ip4(IP_TCP).packet(&tcp))),
        ("UDP in IPv6", of(ETHER_IPV6, ip6.packet(&udp6))),
    ])
}

/// Has a frame treated. The id of an IPv4 packet that may be fragmented, which is drawn, is taken out, and its checksum.
fn run<N: Network>(bench: &Bench<'_, N>, hook: Hook<'_>, frame: &[u8]) -> Result<Treated> {
    let (mut outcome, drops) = bench.run(hook, frame)?;
    let is_ipv4 = outcome.frame.get(12..14) == Some(&ETHER_IPV4.to_be_bytes()[..]);
    if matches!(hook, Hook::Port(_))
        && is_ipv4
        && outcome.frame.get(20).is_some_and(|flags| flags & 0x40 == 0)
    {
        for range in [18..20, 24..26] {
            outcome.frame.get_mut(range).context("cut off")?.fill(0);
        }
    }
    Ok((outcome, drops))
}

/// Nothing that was kept holds any more.
fn forget<N: Network>(bench: &Bench<'_, N>) -> Result<()> {
    bench.set(&["--flood", "on"])
}

fn ensure_same((one, drops): &Treated, (other, other_drops): &Treated) -> Result<()> {
    ensure!(one.verdict == other.verdict, "verdicts {} and {}", one.verdict, other.verdict);
    ensure!(drops == other_drops, "drops {drops:?} and {other_drops:?}");
    same(&one.frame, &other.frame)
}

/// Has `other` treated after nothing and after itself, then `frame`; and the other way round. That must make no difference to
/// either. `reference` is what becomes of `frame`.
fn check_pair<N: Network>(
    bench: &Bench<'_, N>,
    hook: Hook<'_>,
    (frame, reference): (&[u8], &Treated),
    other: &[u8],
) -> Result<()> {
    let often = |frame: &[u8], expected: &Treated| {
        (0..3).try_for_each(|_| ensure_same(&run(bench, hook, frame)?, expected))
    };
    forget(bench)?;
    let first = run(bench, hook, other)?;
    often(other, &first).context("the other frame after itself")?;
    often(frame, reference).context("the known frame after the other")?;
    forget(bench)?;
    often(frame, reference).context("the known frame")?;
    often(other, &first).context("the other frame")
}

/// Makes the checksum of an IPv4 header right again for a change of the byte `at`, unless that is of the checksum.
fn mend_checksum(packet: &mut [u8], at: usize) {
    if packet[12..14] == ETHER_IPV4.to_be_bytes() && (14..34).contains(&at) && !(24..26).contains(&at) {
        packet[24..26].fill(0);
        let check = !checksum::fold(checksum::sum(&packet[14..34]));
        packet[24..26].copy_from_slice(&check.to_be_bytes());
    }
}

/// The same for all frames that differ from `frame` in a bit or two of one byte, or in length.
fn check_all<N: Network>(bench: &Bench<'_, N>, hook: Hook<'_>, frame: &[u8], headers: usize) -> Result<()> {
    forget(bench)?;
    let reference = run(bench, hook, frame)?;
    ensure!(reference.0.verdict == TC_REDIRECT && reference.1.is_empty(), "{reference:?}");
    let bits = (0..headers).map(|at| (at, 1 << (at % 8) | 0x40 >> (at % 5)));
    // What says congestion.
    for (at, bits) in bits.chain([(15, 1), (15, 2), (15, 3), (15, 0x10), (15, 0x20), (15, 0x30)]) {
        let mut other = frame.to_vec();
        other[at] ^= bits;
        if matches!(hook, Hook::Uplink(_)) {
            mend_checksum(&mut other, at);
        }
        check_pair(bench, hook, (frame, &reference), &other).with_context(|| format!("byte {at}"))?;
    }
    for len in [headers - 1, headers, headers + 1, frame.len() - 1, frame.len() + 1, frame.len() + 600] {
        let mut other = frame.to_vec();
        other.resize(len, 0x5a);
        check_pair(bench, hook, (frame, &reference), &other).with_context(|| format!("{len} bytes"))?;
    }
    Ok(())
}

fn bench_over<N: Network>(lab: &overlay_tests::topology::Lab) -> Result<Bench<'_, N>> {
    process::stay_on_one_cpu()?;
    Bench::over(lab, &["--xdp", "off"])
}

/// How many of a map's places of `SIZE` bytes, on all CPUs, hold something: a time, behind a generation.
fn kept<N: Network, const SIZE: usize>(bench: &Bench<'_, N>, program: &str, name: &str) -> Result<usize> {
    let info = pinned_tc(&bench.instance, program)?.info()?;
    for id in info.map_ids()?.context("the kernel tells no maps")? {
        let map = MapInfo::from_id(id)?;
        if map.name_as_str() == Some(name) {
            let map: PerCpuArray<MapData, [u8; SIZE]> =
                Map::PerCpuArray(MapData::from_id(id)?).try_into().context("not that map")?;
            let mut count = 0;
            for values in map.iter() {
                count += values?.iter().filter(|value| value[8..16] != [0; 8]).count();
            }
            return Ok(count);
        }
    }
    anyhow::bail!("{program} has no map {name}")
}

fn what_a_port_sends_gets_the_headers_of_its_own<N: Network>() -> Result<()> {
    let lab = lab_over::<N>()?;
    let bench = bench_over::<N>(&lab)?;
    for (what, frame) in frames(STATION, REMOTE)? {
        check_all(&bench, FROM_PORT, &frame, 58).with_context(|| what.to_owned())?;
    }
    let kept = kept::<N, { size_of::<Departure>() }>(&bench, "from_port", departure::NAME)?;
    ensure!(kept >= 3, "{kept} kept");
    Ok(())
}

fn settings_of_the_segment_hold_for_each_frame<N: Network>() -> Result<()> {
    let lab = lab_over::<N>()?;
    let bench = bench_over::<N>(&lab)?;
    let all = frames(STATION, REMOTE)?;
    for settings in [
        &["--ttl", "inherit", "--dscp", "inherit", "--df", "inherit"][..],
        &["--df", "unset"],
        &["--df", "set", "--gbp", "on"],
        &["--gbp", "off", "--clamp-mss", "on", "--suppress", "on"],
        &["--clamp-mss", "off", "--mtu", "600"],
    ] {
        bench.set(settings)?;
        for (what, frame) in &all {
            let reference = run(&bench, FROM_PORT, frame)?;
            ensure!(reference.0.verdict == TC_REDIRECT, "{settings:?}, {what}: {reference:?}");
            // Of IPv4 TOS, DF and TTL, of IPv6 traffic class and hop limit; the MSS; longer than the MTU.
            let mut others: Vec<Vec<u8>> = Vec::new();
            for (at, bits) in [(15, 0x28), (15, 3), (20, 0x40), (22, 1), (14, 2), (21, 1), (47, 2)] {
                let mut other = frame.clone();
                other[at] ^= bits;
                others.push(other);
            }
            others.push([&frame[..], &[0; 600]].concat());
            for (number, other) in others.iter().enumerate() {
                check_pair(&bench, FROM_PORT, (frame, &reference), other)
                    .with_context(|| format!("{settings:?}, {what}, change {number}"))?;
            }
        }
    }
    Ok(())
}

fn what_a_tunnel_brings_is_looked_at_for_itself<N: Network>() -> Result<()> {
    let lab = lab_over::<N>()?;
    let bench = bench_over::<N>(&lab)?;
    for (what, inner) in frames(REMOTE, STATION)?.into_iter().skip(1) {
        let packet = bench.packet(&inner, |_| {})?;
        let headers = packet.len() - inner.len() + 34;
        check_all(&bench, UPLINK, &packet, headers).with_context(|| what.to_owned())?;
    }
    let kept = kept::<N, { size_of::<Pattern>() }>(&bench, "from_uplink", early::ARRIVALS)?;
    ensure!(kept >= 1, "{kept} kept");
    Ok(())
}

fn a_remote_vtep_that_is_gone_gets_no_more<N: Network>() -> Result<()> {
    let lab = lab_over::<N>()?;
    let bench = bench_over::<N>(&lab)?;
    let (vni, remote) = (VNI.to_string(), lab.host(2).vtep.to_string());
    let (_, frame) = frames(STATION, REMOTE)?.remove(0);
    let (_, inner) = frames(REMOTE, STATION)?.remove(0);
    let packet = bench.packet(&inner, |_| {})?;
    for _ in 0..3 {
        for (hook, bytes) in [(FROM_PORT, &frame), (UPLINK, &packet)] {
            let (outcome, drops) = run(&bench, hook, bytes)?;
            ensure!(outcome.verdict == TC_REDIRECT && drops.is_empty(), "{outcome:?}, {drops:?}");
        }
    }
    bench.host().overlay(&["vni", "set", &vni, "--flood", "off"])?;
    bench.host().overlay(&["tunnel", "del", "--vni", &vni, "--remote", &remote])?;
    let (_, drops) = run(&bench, FROM_PORT, &frame)?;
    ensure!(drops == [(DropReason::UnknownUnicast, 1)], "{drops:?}");
    let (_, drops) = run(&bench, UPLINK, &packet)?;
    ensure!(drops == [(DropReason::NotAMember, 1)], "{drops:?}");
    Ok(())
}

fn all_are_counted<N: Network>() -> Result<()> {
    let lab = lab_over::<N>()?;
    let bench = bench_over::<N>(&lab)?;
    let (mut sent, mut received) = ((0, 0), (0, 0));
    for (_, frame) in frames(STATION, REMOTE)? {
        for _ in 0..5 {
            run(&bench, FROM_PORT, &frame)?;
            sent = (sent.0 + 1, sent.1 + frame.len());
        }
    }
    for (_, inner) in frames(REMOTE, STATION)? {
        let packet = bench.packet(&inner, |_| {})?;
        for _ in 0..5 {
            run(&bench, UPLINK, &packet)?;
            received = (received.0 + 1, received.1 + inner.len());
        }
    }
    let stats = bench.host().overlay_json(&["stats", "--vni", &VNI.to_string()])?.to_string();
    for (field, value) in
        [("tx_packets", sent.0), ("tx_bytes", sent.1), ("rx_packets", received.0), ("rx_bytes", received.1)]
    {
        ensure!(stats.contains(&format!("\"{field}\":{value}")), "not {value} of {field}: {stats}");
    }
    Ok(())
}

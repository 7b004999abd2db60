//! Frame tables of `from_uplink`: lengths that do not agree, frames cut short, and IP options.

use anyhow::{Result, ensure};
use overlay_common::DropReason;
use overlay_tests::{
    bench::{Bench, Fate, Hook, PORT, REMOTE, Row, STATION, lab, lab_over, udp_frame},
    frame::{Ipv4, Network, Outer, Vxlan},
    over_both_families,
    testrun::{TC_DROP, TC_NEXT},
    wire::{Direction, Wire},
};

const UPLINK: Hook<'_> = Hook::Uplink("u1");

over_both_families! {
    packets_cut_short_at_every_length,
    packets_cut_short_within_the_ip_header,
    what_trails_the_inner_frame_is_cut_off,
    a_udp_length_has_to_fit,
    an_ip_length_has_to_fit,
}

/// `BPF_PROG_TEST_RUN` refuses frames without a whole IP header.
fn least<N: Network>() -> usize {
    14 + N::LEN
}

/// Every way to cut a packet short: up to the UDP header nobody can tell that it is ours, then it is truncated.
fn cut<N: Network>(packet: &[u8], udp_end: usize) -> Vec<Row> {
    let fate = |len| if len < udp_end { Fate::NotOurs } else { Fate::Dropped(DropReason::OuterTruncated) };
    (least::<N>()..packet.len())
        .map(|len| Row::new(format!("of {} bytes", packet.len()), packet[..len].to_vec(), fate(len)))
        .collect()
}

fn packets_cut_short_at_every_length<N: Network>() -> Result<()> {
    let lab = lab_over::<N>()?;
    let bench = Bench::<N>::over(&lab, &["--xdp", "off"])?;
    let inner = udp_frame(REMOTE, STATION, 200);
    let udp_end = Outer::<N>::LEN - Vxlan::LEN;
    bench.table(UPLINK, &cut::<N>(&bench.packet(&inner, |_| {})?, udp_end))?;
    let tiny = bench.packet(&inner[..14], |_| {})?;
    bench.table(UPLINK, &cut::<N>(&tiny, udp_end))
}

#[test]
fn packets_with_options_cut_short_at_every_length() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let inner = udp_frame(REMOTE, STATION, 200);
    let packet = bench.packet(&inner, |outer| outer.ip.options = vec![1; 40])?;
    bench.table(UPLINK, &cut::<Ipv4>(&packet, 82))
}

fn packets_cut_short_within_the_ip_header<N: Network>() -> Result<()> {
    let lab = lab_over::<N>()?;
    let bench = Bench::<N>::over(&lab, &["--xdp", "off"])?;
    let (host_1, host_2) = (bench.host(), lab.host(2));
    let before = host_1.drops()?;
    let inner = udp_frame(REMOTE, STATION, 100);
    let packet = bench.packet(&inner, |_| {})?;
    let station = bench.station(PORT)?;
    let wire = Wire::open(&host_2.netns, &host_2.uplink, Direction::In)?;
    for len in 14..least::<N>() {
        wire.send(&packet[..len])?;
    }
    wire.send(&packet)?;
    let seen = station.collect_to(|frame| frame.bytes == inner, |_| true)?;
    let odd = seen.iter().filter(|frame| frame.bytes.starts_with(&STATION.0)).count();
    ensure!(odd == 1, "{odd} frames for the station");
    let dropped = host_1.drops_since(&before)?;
    ensure!(dropped.is_empty(), "{dropped:?}");
    Ok(())
}

/// A packet, with bytes behind it, after a change.
fn longer<N: Network>(
    bench: &Bench<'_, N>,
    inner: &[u8],
    trailing: usize,
    change: impl FnOnce(&mut Outer<N>),
) -> Result<Vec<u8>> {
    Ok([bench.packet(inner, change)?, vec![0xdd; trailing]].concat())
}

fn what_trails_the_inner_frame_is_cut_off<N: Network>() -> Result<()> {
    let lab = lab_over::<N>()?;
    let bench = Bench::<N>::over(&lab, &["--xdp", "off"])?;
    let mut rows = Vec::new();
    for len in [34, 35, 60, 61, 1000] {
        let inner = udp_frame(REMOTE, STATION, len);
        let len = inner.len();
        for trailing in [1, 2, 3, 4, 18, 46, 500] {
            let what = |layer| format!("{len} bytes, {trailing} behind {layer}");
            let behind_ip = longer(&bench, &inner, trailing, |_| {})?;
            let udp_len = u16::try_from(16 + len)?;
            let whole = [&inner[..], &vec![0xdd; trailing]].concat();
            let behind_udp = bench.packet(&whole, |outer| outer.udp.length = Some(udp_len))?;
            let behind_both = [&behind_udp[..], &[0xdd; 7]].concat();
            for (layer, frame) in [("IP", behind_ip), ("UDP", behind_udp), ("both", behind_both)] {
                rows.push(Row::new(what(layer), frame, Fate::Redirected(inner.clone())));
            }
        }
    }
    bench.table(UPLINK, &rows)
}

fn a_udp_length_has_to_fit<N: Network>() -> Result<()> {
    let lab = lab_over::<N>()?;
    let bench = Bench::<N>::over(&lab, &["--xdp", "off"])?;
    let inner = udp_frame(REMOTE, STATION, 100);
    let right = u16::try_from(16 + inner.len())?;
    let fate = |udp_len| match udp_len {
        0..16 => Fate::Dropped(DropReason::UdpLength),
        16..30 => Fate::Dropped(DropReason::InnerTruncated),
        _ if udp_len > right => Fate::Dropped(DropReason::UdpLength),
        _ => {
            let mut expected = inner[..usize::from(udp_len) - 16].to_vec();
            expected.resize(expected.len().max(34), 0);
            Fate::Redirected(expected)
        }
    };
    let mut rows = Vec::new();
    for udp_len in (0..=right + 20).chain([0x7fff, 0x8000, 0xfff8, 0xffff]) {
        let change = |outer: &mut Outer<N>| outer.udp.length = Some(udp_len);
        let what = format!("UDP length {udp_len} instead of {right}");
        rows.push(Row::new(&*what, bench.packet(&inner, change)?, fate(udp_len)));
        // There are bytes behind the packet, but they are not its own.
        if udp_len > right {
            let frame = longer(&bench, &inner, 100, change)?;
            rows.push(Row::new(format!("{what}, and bytes behind it"), frame, fate(udp_len)));
        }
    }
    bench.table(UPLINK, &rows)
}

fn an_ip_length_has_to_fit<N: Network>() -> Result<()> {
    let lab = lab_over::<N>()?;
    let bench = Bench::<N>::over(&lab, &["--xdp", "off"])?;
    let inner = udp_frame(REMOTE, STATION, 100);
    let right = u16::try_from(N::COUNTED + 16 + inner.len())?;
    let mut rows = Vec::new();
    for total_len in (0..=right + 20).chain([0x7fff, 0x8000, 0xffff]).filter(|len| *len != right) {
        let reason = if total_len > right { DropReason::OuterTruncated } else { DropReason::UdpLength };
        let packet = bench.packet(&inner, |outer| outer.ip.set_length(total_len))?;
        let what = format!("IP length {total_len} instead of {right}");
        rows.push(Row::new(what, packet, Fate::Dropped(reason)));
    }
    bench.table(UPLINK, &rows)
}

#[test]
fn ip_options_are_skipped_and_checked() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let inner = udp_frame(REMOTE, STATION, 100);
    let mut rows = Vec::new();
    for len in (4..=40).step_by(4) {
        // No-operations, and the end of the list.
        let mut options = vec![1; len];
        options[len - 1] = 0;
        let packet = |change: fn(&mut Outer<Ipv4>)| {
            bench.packet(&inner, |outer| {
                outer.ip.options = options.clone();
                change(outer);
            })
        };
        let what = |what: &str| format!("{len} bytes of options, {what}");
        rows.push(Row::new(what("right"), packet(|_| {})?, Fate::Redirected(inner.clone())));
        let wrong_sum = packet(|outer| outer.ip.checksum = Some(0x1234))?;
        let fate = Fate::Dropped(DropReason::OuterChecksum);
        rows.push(Row::new(what("a wrong checksum"), wrong_sum, fate.clone()));
        for at in (34..34 + len).chain([14 + 1, 14 + 4, 14 + 8]) {
            let mut changed = packet(|_| {})?;
            changed[at] ^= 0x20;
            rows.push(Row::new(what(&format!("byte {at} changed under way")), changed, fate.clone()));
        }
        let trailing = [packet(|_| {})?, vec![0xdd; 9]].concat();
        rows.push(Row::new(what("bytes behind"), trailing, Fate::Redirected(inner.clone())));
    }
    bench.table(UPLINK, &rows)
}

#[test]
fn every_flipped_bit_of_the_ip_header_is_noticed() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let packet = bench.packet(&udp_frame(REMOTE, STATION, 100), |_| {})?;
    let mut wrong = Vec::new();
    for bit in 14 * 8..34 * 8 {
        let mut changed = packet.clone();
        changed[bit / 8] ^= 0x80 >> (bit % 8);
        let (outcome, drops) = bench.run(UPLINK, &changed)?;
        let passed = outcome.verdict == TC_NEXT && outcome.frame == changed;
        let dropped = outcome.verdict == TC_DROP && drops.len() == 1;
        if !(passed && drops.is_empty() || dropped) {
            wrong.push((bit, outcome.verdict, drops));
        }
    }
    ensure!(wrong.is_empty(), "bit, verdict, drops: {wrong:?}");
    Ok(())
}

//! Frame tables of what a workload is told about a packet that does not fit, byte for byte.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use overlay_common::{DropReason, Notice, maps::answers};
use overlay_tests::{
    bench::{Bench, Fate, Hook, OTHER_PORT, PORT, REMOTE, Row, STATION, VNI, lab, same, udp_frame},
    frame::{
        Arp, ETHER_ARP, ETHER_IPV4, ETHER_IPV6, Echo, Ethernet, IP_ICMP, IP_ICMP6, IP_UDP, Ipv4, Ipv6,
        Network as _, TooBig, verify,
    },
    testrun::{TC_DROP, TC_REDIRECT},
    too_big::{ROOM, V4, V6, answer4, answer6, frame, frame4, frame6, ip4, ip6},
};

const FROM_PORT: Hook<'_> = Hook::Port(PORT);

/// Whether a frame is counted as too big, and answered with these bytes or, `None`, not at all.
fn check(bench: &Bench<'_>, frame: &[u8], expected: Option<&[u8]>) -> Result<()> {
    let before = bench.host().noticed(Notice::TooBigAnswered)?;
    let (outcome, drops) = bench.run(FROM_PORT, frame)?;
    ensure!(drops == [(DropReason::TooBig, 1)], "counted {drops:?}");
    let answered = bench.host().noticed(Notice::TooBigAnswered)? - before;
    let Some(expected) = expected else {
        ensure!((outcome.verdict, answered) == (TC_DROP, 0), "verdict {}, {answered}", outcome.verdict);
        return Ok(());
    };
    ensure!((outcome.verdict, answered) == (TC_REDIRECT, 1), "verdict {}, {answered}", outcome.verdict);
    verify(&outcome.frame)?;
    same(&outcome.frame, expected)
}

fn route(bench: &Bench<'_>, mtu: u32) -> Result<()> {
    let route = format!("route replace 10.0.0.2/32 dev u1 src 10.0.0.1 mtu lock {mtu}");
    bench.host().netns.ip(&route)?;
    // What a CPU remembers of the FIB's answer.
    std::thread::sleep(Duration::from_millis(120));
    Ok(())
}

#[test]
fn ipv4_is_told_the_mtu_byte_for_byte() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    for len in [1451, 1452, 1453, 1499, 1500, 3000] {
        let frame = frame4(len);
        check(&bench, &frame, Some(&answer4(&frame, ROOM)?)).with_context(|| format!("{len} bytes"))?;
    }
    let fits = bench.run(FROM_PORT, &frame4(1450))?;
    ensure!(fits.1.is_empty(), "{fits:?}");
    let variants = [
        ("may be fragmented", Ipv4 { fragment: 0, ..ip4(IP_UDP) }, 20),
        ("a first fragment", Ipv4 { fragment: 0x2000, ..ip4(IP_UDP) }, 20),
        ("options", Ipv4 { options: vec![1; 40], ..ip4(IP_UDP) }, 60),
        ("marked", Ipv4 { tos: 0xb9, ttl: 1, id: 77, ..ip4(IP_UDP) }, 20),
        ("some protocol", ip4(132), 20),
    ];
    for (what, ip, headers) in variants {
        let frame = frame(&ip, headers, 1500);
        check(&bench, &frame, Some(&answer4(&frame, ROOM)?)).context(what)?;
    }
    let mut trailer = frame4(1460);
    let expected = answer4(&trailer, ROOM)?;
    trailer.extend([0xee; 9]);
    check(&bench, &trailer, Some(&expected)).context("a trailer")?;
    let echo = Echo { reply: false, id: 7, sequence: 1 };
    let ip = ip4(IP_ICMP);
    let ping = Ethernet::new(STATION, REMOTE, ETHER_IPV4)
        .frame(&ip.packet(&echo.message(ip.addresses(), &[9; 1450])));
    check(&bench, &ping, Some(&answer4(&ping, ROOM)?)).context("a ping")
}

#[test]
fn ipv6_is_told_the_mtu_byte_for_byte() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    for len in [1451, 1452, 1453, 1500] {
        let frame = frame6(len);
        check(&bench, &frame, Some(&answer6(&frame, ROOM)?)).with_context(|| format!("{len} bytes"))?;
    }
    route(&bench, 1330)?;
    for len in [1281, 1282, 1283, 1284, 1450] {
        let frame = frame6(len);
        check(&bench, &frame, Some(&answer6(&frame, 1280)?))
            .with_context(|| format!("{len} bytes, 1280 fit"))?;
    }
    route(&bench, 1329)?;
    for len in [1280, 1281, 1450] {
        check(&bench, &frame6(len), None).with_context(|| format!("{len} bytes, 1279 fit"))?;
    }
    Ok(())
}

#[test]
fn a_small_path_is_told_with_a_short_quote() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    for path in [552, 300, 150, 118] {
        route(&bench, path)?;
        let room = path - 50;
        for len in [room + 1, room + 2, room + 3, room + 4, room + 300] {
            let frame = frame4(usize::try_from(len)?);
            let expected = answer4(&frame, room)?;
            check(&bench, &frame, Some(&expected)).with_context(|| format!("{len} bytes, {room} fit"))?;
        }
    }
    route(&bench, 117)?;
    check(&bench, &frame4(68), None).context("no IPv4 fits")
}

#[test]
fn what_nobody_must_be_told_about_is_dropped_silently() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let to = |destination| frame(&Ipv4 { destination, ..ip4(IP_UDP) }, 20, 1500);
    let from = |source| frame(&Ipv4 { source, ..ip4(IP_UDP) }, 20, 1500);
    let to6 = |text: &str| {
        Ok::<_, anyhow::Error>(frame(&Ipv6 { destination: text.parse()?, ..ip6(IP_UDP) }, 40, 1500))
    };
    let from6 =
        |text: &str| Ok::<_, anyhow::Error>(frame(&Ipv6 { source: text.parse()?, ..ip6(IP_UDP) }, 40, 1500));
    let mut cases = vec![
        ("to a group", to([224, 0, 0, 1].into())),
        ("to everybody", to([255; 4].into())),
        ("to nobody", to([0; 4].into())),
        ("to itself", to([127, 0, 0, 1].into())),
        ("from nobody", from([0; 4].into())),
        ("from itself", from([127, 0, 0, 1].into())),
        ("from a group", from([239, 1, 1, 1].into())),
        ("from everybody", from([255; 4].into())),
        ("a later fragment", frame(&Ipv4 { fragment: 0x2001, ..ip4(IP_UDP) }, 20, 1500)),
        ("no version", frame(&Ipv4 { version_length: Some(0x55), ..ip4(IP_UDP) }, 20, 1500)),
        ("no header", frame(&Ipv4 { version_length: Some(0x44), ..ip4(IP_UDP) }, 20, 1500)),
        ("a length that is not there", frame(&Ipv4 { total_length: Some(1501), ..ip4(IP_UDP) }, 20, 1500)),
        (
            "a packet that fits, and a trailer",
            frame(&Ipv4 { total_length: Some(1450), ..ip4(IP_UDP) }, 20, 1500),
        ),
        ("IPv6 to a group", to6("ff02::1")?),
        ("IPv6 to nobody", to6("::")?),
        ("IPv6 from nobody", from6("::")?),
        ("IPv6 from itself", from6("::1")?),
        ("IPv6 from a group", from6("ff02::1")?),
        (
            "IPv6 of a length that is not there",
            frame(&Ipv6 { payload_length: Some(1461), ..ip6(IP_UDP) }, 40, 1500),
        ),
        ("LLDP", Ethernet::new(STATION, REMOTE, 0x88cc).frame(&[2; 1500])),
        ("ARP", {
            let arp = Arp { operation: 1, sender: (STATION, V4.0), target: (REMOTE, V4.1) };
            let mut frame = Ethernet::new(STATION, REMOTE, ETHER_ARP).frame(&arp.packet());
            frame.resize(1500, 0);
            frame
        }),
    ];
    for kind in [3_u8, 4, 5, 11, 12] {
        let mut message = TooBig { mtu: 0 }.message((V4.0.into(), V4.1.into()), &[7; 1472]);
        message[0] = kind;
        cases.push((
            "an ICMP error",
            Ethernet::new(STATION, REMOTE, ETHER_IPV4).frame(&ip4(IP_ICMP).packet(&message)),
        ));
    }
    for kind in [1_u8, 2, 3, 4, 127] {
        let mut message = TooBig { mtu: 0 }.message((V6.0.into(), V6.1.into()), &[7; 1452]);
        message[0] = kind;
        cases.push((
            "an ICMPv6 error",
            Ethernet::new(STATION, REMOTE, ETHER_IPV6).frame(&ip6(IP_ICMP6).packet(&message)),
        ));
    }
    for (what, frame) in cases {
        check(&bench, &frame, None).with_context(|| format!("{what}, {} bytes", frame.len()))?;
    }
    Ok(())
}

#[test]
fn the_mtu_of_the_segment_counts() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let vni = VNI.to_string();
    bench.host().overlay(&["vni", "set", &vni, "--mtu", "1400"])?;
    let frame = frame4(1401);
    check(&bench, &frame, Some(&answer4(&frame, 1400)?))?;
    let (outcome, drops) = bench.run(FROM_PORT, &frame4(1400))?;
    ensure!(outcome.verdict == TC_REDIRECT && drops.is_empty(), "{drops:?}");
    let view = bench.host().overlay_json(&["vni", "show", &vni])?;
    ensure!(view[0]["mtu"] == 1400, "{view}");
    bench.host().overlay(&["vni", "set", &vni, "--mtu", "auto"])?;
    let frame = frame4(1451);
    check(&bench, &frame, Some(&answer4(&frame, ROOM)?))?;
    // Between ports of this host there is no path.
    let local = udp_frame(STATION, overlay_tests::bench::SECOND_STATION, 3000);
    bench.table(FROM_PORT, &[Row::new("to a port", local.clone(), Fate::Redirected(local))])
}

#[test]
fn answers_keep_to_their_rate() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let frame = frame4(1500);
    let begin = Instant::now();
    let mut answered = 0;
    let count = 400;
    for _ in 0..count {
        let (outcome, drops) = bench.run(FROM_PORT, &frame)?;
        ensure!(drops == [(DropReason::TooBig, 1)], "{drops:?}");
        answered += u64::from(outcome.verdict == TC_REDIRECT);
    }
    let passed = u64::try_from(begin.elapsed().as_nanos())?;
    // The clock of the programs goes in ticks of up to 10 ms.
    let most = answers::BURST + (passed + 10_000_000) / answers::INTERVAL_NS;
    ensure!((answers::BURST..=most).contains(&answered), "{answered} answers, at most {most}");
    ensure!(answered < count, "400 frames took {passed} ns, too long to see a limit");
    let notices = bench.host().notices()?;
    ensure!(notices["too-big-answered"] == answered, "{notices:?}");
    ensure!(notices["too-big-unanswered"] == count - answered, "{notices:?}");
    // Other ports have their own.
    let other = udp_frame(STATION, REMOTE, 2000);
    let (outcome, _) = bench.run(Hook::Port(OTHER_PORT), &other)?;
    ensure!(outcome.verdict == TC_REDIRECT, "verdict {}", outcome.verdict);
    Ok(())
}

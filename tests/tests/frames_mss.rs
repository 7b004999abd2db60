//! Frame tables of the MSS option: what it is lowered to, both ways, and what is left alone.

use anyhow::{Context as _, Result, ensure};
use overlay_common::Notice;
use overlay_tests::{
    bench::{Bench, Hook, PORT, REMOTE, SECOND_STATION, STATION, VNI, lab, same},
    frame::{Ipv4, Outer, verify},
    handshake::{SYN, SYN_ACK, frame4, frame6, mss, of_linux},
    testrun::TC_REDIRECT,
};

const FROM_PORT: Hook<'_> = Hook::Port(PORT);
const FROM_UPLINK: Hook<'_> = Hook::Uplink("u1");
const NOTHING: u16 = 0x10;

/// Sends a frame to host 2: the inner frame that leaves, and how many options were lowered.
fn sent(bench: &Bench<'_>, frame: &[u8]) -> Result<(Vec<u8>, u64)> {
    let before = bench.host().noticed(Notice::MssClamped)?;
    let (outcome, drops) = bench.run(FROM_PORT, frame)?;
    ensure!(outcome.verdict == TC_REDIRECT && drops.is_empty(), "{}, {drops:?}", outcome.verdict);
    let (_, inner) = Outer::<Ipv4>::parse(&outcome.frame)?;
    Ok((inner.to_vec(), bench.host().noticed(Notice::MssClamped)? - before))
}

/// Has host 2 send a frame: what the workload gets, and how many options were lowered.
fn received(bench: &Bench<'_>, frame: &[u8]) -> Result<(Vec<u8>, u64)> {
    let before = bench.host().noticed(Notice::MssClamped)?;
    let packet = bench.packet(frame, |_| {})?;
    let (outcome, drops) = bench.run(FROM_UPLINK, &packet)?;
    ensure!(outcome.verdict == TC_REDIRECT && drops.is_empty(), "{}, {drops:?}", outcome.verdict);
    Ok((outcome.frame, bench.host().noticed(Notice::MssClamped)? - before))
}

/// Whether `options` become `expected`, in frames of both families to and from host 2, and the checksums stay right.
fn check(bench: &Bench<'_>, flags: u16, options: &[u8], expected: (&[u8], &[u8])) -> Result<()> {
    for (macs, outward) in [((STATION, REMOTE), true), ((REMOTE, STATION), false)] {
        let rows = [
            (frame4(macs, flags, options), frame4(macs, flags, expected.0), options != expected.0),
            (frame6(macs, flags, options)?, frame6(macs, flags, expected.1)?, options != expected.1),
        ];
        for (frame, expected, is_lowered) in rows {
            let (got, lowered) = if outward { sent(bench, &frame)? } else { received(bench, &frame)? };
            verify(&got)?;
            same(&got, &expected).with_context(|| format!("outward: {outward}"))?;
            ensure!(lowered == u64::from(is_lowered), "{lowered} noticed");
        }
    }
    Ok(())
}

fn bench_with<'a>(lab: &'a overlay_tests::topology::Lab, clamp: &str) -> Result<Bench<'a>> {
    let bench = Bench::new(lab, &["--xdp", "off"])?;
    bench.host().overlay(&["vni", "set", &VNI.to_string(), "--clamp-mss", clamp])?;
    let view = bench.host().overlay_json(&["vni", "show", &VNI.to_string()])?;
    ensure!(view[0]["clamp_mss"] == clamp, "{view}");
    Ok(bench)
}

#[test]
fn a_number_is_the_most_there_is() -> Result<()> {
    let lab = lab()?;
    let bench = bench_with(&lab, "1360")?;
    for flags in [SYN, SYN_ACK, 0xc2] {
        for (size, lowered) in [(1460, 1360), (65535, 1360), (1361, 1360), (1360, 1360), (536, 536), (0, 0)] {
            let (options, expected) = (of_linux(size), of_linux(lowered));
            check(&bench, flags, &options, (&expected, &expected))
                .with_context(|| format!("{size}, flags {flags:#x}"))?;
        }
    }
    Ok(())
}

#[test]
fn on_means_what_fits_the_path() -> Result<()> {
    let lab = lab()?;
    let bench = bench_with(&lab, "on")?;
    // 1500 less 50 of tunnel and inner Ethernet, less the headers of IP and TCP.
    check(&bench, SYN, &of_linux(1460), (&of_linux(1410), &of_linux(1390)))?;
    check(&bench, SYN_ACK, &of_linux(1400), (&of_linux(1400), &of_linux(1390)))?;
    bench.host().overlay(&["vni", "set", &VNI.to_string(), "--mtu", "1300"])?;
    check(&bench, SYN, &of_linux(1460), (&of_linux(1260), &of_linux(1240)))?;
    bench.host().overlay(&["vni", "set", &VNI.to_string(), "--mtu", "auto"])?;
    bench.host().netns.ip("route add 10.0.0.2/32 dev u1 src 10.0.0.1 mtu lock 1400")?;
    std::thread::sleep(std::time::Duration::from_millis(120));
    check(&bench, SYN, &of_linux(1460), (&of_linux(1310), &of_linux(1290)))?;
    bench.host().netns.ip("route replace 10.0.0.2/32 dev u1 src 10.0.0.1 mtu lock 170")?;
    std::thread::sleep(std::time::Duration::from_millis(120));
    // What no kernel would go below.
    check(&bench, SYN, &of_linux(1460), (&of_linux(88), &of_linux(88)))?;
    bench.host().overlay(&["vni", "set", &VNI.to_string(), "--clamp-mss", "off"])?;
    check(&bench, SYN, &of_linux(1460), (&of_linux(1460), &of_linux(1460)))
}

#[test]
fn the_option_is_found_wherever_it_is_and_else_nothing_changes() -> Result<()> {
    let lab = lab()?;
    let bench = bench_with(&lab, "1000")?;
    let behind = |front: &[u8], back: &[u8], size| [front, &mss(size), back].concat();
    for (front, back) in [
        (&[][..], &[][..]),
        (&[1, 1, 1, 1], &[]),
        (&[4, 2], &[0, 0]),
        (&[1], &[1, 1, 1]),
        (&[3, 3, 7], &[0]),
        (&[4, 2, 3, 3, 7], &[1, 1, 1]),
        (&[8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1], &[]),
        (&[1; 36], &[]),
        (
            &[
                254, 36, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23,
                24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34,
            ],
            &[],
        ),
    ] {
        let expected = behind(front, back, 1000);
        check(&bench, SYN, &behind(front, back, 1460), (&expected, &expected))
            .with_context(|| format!("{front:?}"))?;
    }
    let untouched: [(&str, u16, &[u8]); 9] = [
        ("no handshake", NOTHING, &[2, 4, 5, 0xb4]),
        ("none", SYN, &[]),
        ("others", SYN, &[1, 3, 3, 7]),
        ("too short", SYN, &[2, 3, 5, 0xb4]),
        ("too long", SYN, &[2, 5, 5, 0xb4, 0, 0, 0, 0]),
        ("cut off", SYN, &[1, 1, 2, 4]),
        ("behind the end", SYN, &[0, 1, 1, 1, 2, 4, 5, 0xb4]),
        ("behind an option of no length", SYN, &[9, 0, 1, 1, 2, 4, 5, 0xb4]),
        ("within another", SYN, &[9, 8, 2, 4, 5, 0xb4, 1, 1]),
    ];
    for (what, flags, options) in untouched {
        check(&bench, flags, options, (options, options)).context(what)?;
    }
    Ok(())
}

#[test]
fn what_is_no_tcp_handshake_is_left_alone() -> Result<()> {
    let lab = lab()?;
    let bench = bench_with(&lab, "1000")?;
    let good = frame4((STATION, REMOTE), SYN, &mss(1460));
    let changed = |at: usize, byte| {
        let mut frame = good.clone();
        frame[at] = byte;
        frame
    };
    let mut cut = good.clone();
    cut.truncate(54);
    let cases = [
        ("UDP", changed(23, 17)),
        ("a later fragment", changed(21, 1)),
        ("a header of fewer than 20 bytes", changed(46, 0x40)),
        ("a header that is not there", changed(46, 0xf0)),
        ("no IPv4", changed(14, 0x65)),
        ("cut off before the options", cut),
        ("cut off in the header", good[..40].to_vec()),
    ];
    for (what, frame) in cases {
        let (got, lowered) = sent(&bench, &frame)?;
        if what != "a header that is not there" {
            ensure!(lowered == 0, "{what}: lowered");
            same(&got, &frame).context(what)?;
        }
    }
    // What stays on the host meets no tunnel, and a number counts all the same.
    let local = frame4((STATION, SECOND_STATION), SYN, &mss(1460));
    let (outcome, _) = bench.run(FROM_PORT, &local)?;
    same(&outcome.frame, &frame4((STATION, SECOND_STATION), SYN, &mss(1000)))?;
    bench.host().overlay(&["vni", "set", &VNI.to_string(), "--clamp-mss", "on"])?;
    let (outcome, _) = bench.run(FROM_PORT, &local)?;
    same(&outcome.frame, &local)
}

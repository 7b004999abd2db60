//! `overlay explain` of packets on an uplink with XDP: what that makes of them, and what TC then has.

use anyhow::{Context as _, Result, ensure};
use insta::assert_snapshot;
use overlay_common::Family;
use overlay_tests::{
    bench::{Bench, Hook, NOBODY, PORT, REMOTE, SECOND_STATION, STATION, lab, udp_frame},
    explain::{case, check, explained, hex, question},
    frame::{Ipv4, Mac},
    testrun::{XDP_PASS, XDP_REDIRECT, XDP_TX},
    topology::Lab,
    transit::{BEYOND, Fields as _, relay, sending},
};

const TC: Hook<'_> = Hook::Uplink("u1");

/// A bench with native XDP, transit, and a port that XDP feeds.
fn native(lab: &Lab) -> Result<Bench<'_, Ipv4>> {
    let bench = relay::<Ipv4>(lab, "native", Family::Ipv4)?;
    sending(lab, true)?;
    bench.stations.run(&["ethtool", "-K", PORT, "gro", "on"])?;
    bench.host().overlay(&["port", "set", PORT, "--xdp-redirect", "on"])?;
    Ok(bench)
}

/// Compares what is said with what the attached XDP program does, and where that leaves the packet to TC, with what TC does.
fn meets(bench: &Bench<'_, Ipv4>, hook: Hook<'_>, packet: &[u8], fate: &str, tc: &str) -> Result<()> {
    let said = explained(bench, TC, packet)?;
    let (outcome, _) = bench.run(hook, packet)?;
    let is_marked = outcome.context.first_chunk().is_some_and(|len| u32::from_ne_bytes(*len) != 0);
    let (met, first) = match outcome.verdict {
        XDP_REDIRECT | XDP_TX => ("sent", None),
        XDP_PASS if is_marked => ("stripped", Some("takes the outer headers off")),
        XDP_PASS => ("untouched", Some("leaves it to TC as it is")),
        other => anyhow::bail!("verdict {other}"),
    };
    ensure!(met == fate, "{met} instead of {fate}: {said:#}");
    let Some(first) = first else {
        let bytes = hex(&outcome.frame);
        ensure!(said["program"] == "from_uplink_xdp" && said["verdict"] == "redirected", "{said:#}");
        ensure!(said["packet"]["bytes"] == bytes, "{bytes} came out, and said is {said:#}");
        return Ok(());
    };
    let step = &said["steps"][0];
    ensure!(step["step"] == "early" && step["outcome"].to_string().contains(first), "{said:#}");
    ensure!(said["program"] == "from_uplink", "{said:#}");
    check(bench, &case(fate, TC, packet.to_vec(), tc))
}

#[test]
fn packets_meet_what_was_said() -> Result<()> {
    let lab = lab()?;
    let bench = native(&lab)?;
    let plain = |inner: &[u8]| bench.packet(inner, |_| {});
    let to_port = udp_frame(REMOTE, STATION, 98);
    for (what, packet, fate, tc) in [
        ("a port that XDP feeds", plain(&to_port)?, "sent", ""),
        ("another VTEP", plain(&udp_frame(REMOTE, BEYOND, 98))?, "sent", ""),
        ("another port", plain(&udp_frame(REMOTE, SECOND_STATION, 98))?, "stripped", "redirected"),
        ("from a new station", plain(&udp_frame(NOBODY, SECOND_STATION, 98))?, "stripped", "redirected"),
        ("everyone", plain(&udp_frame(REMOTE, Mac::BROADCAST, 98))?, "untouched", "copied"),
        ("congestion", bench.packet(&to_port, |outer| outer.ip.set(64, 3))?, "untouched", "ecn"),
        (
            "a stranger",
            bench.packet(&to_port, |outer| outer.ip.source = [10, 0, 0, 9].into())?,
            "untouched",
            "not-a-member",
        ),
        (
            "no hop left",
            bench.packet(&udp_frame(REMOTE, BEYOND, 98), |outer| outer.ip.set(1, 0))?,
            "untouched",
            "ttl-expired",
        ),
        (
            "another UDP port",
            bench.packet(&to_port, |outer| outer.udp.destination = 53)?,
            "untouched",
            "passed",
        ),
    ] {
        meets(&bench, Hook::Xdp("u1"), &packet, fate, tc).context(what)?;
    }
    Ok(())
}

#[test]
fn the_generic_hook_meets_what_was_said() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "generic"])?;
    let packet = bench.packet(&udp_frame(REMOTE, STATION, 98), |_| {})?;
    meets(&bench, Hook::XdpGeneric("u1"), &packet, "stripped", "redirected")
}

#[test]
fn it_reads_like_this() -> Result<()> {
    let lab = lab()?;
    let bench = native(&lab)?;
    let ask = |inner: &[u8], words: &[&str]| question(&bench, TC, &bench.packet(inner, |_| {})?, words);
    assert_snapshot!("fed", ask(&udp_frame(REMOTE, STATION, 60), &[])?);
    assert_snapshot!("sent_on", ask(&udp_frame(REMOTE, BEYOND, 60), &[])?);
    assert_snapshot!("stripped", ask(&udp_frame(REMOTE, SECOND_STATION, 60), &[])?);
    assert_snapshot!("stripped_as_json", ask(&udp_frame(REMOTE, SECOND_STATION, 60), &["-o", "json"])?);
    Ok(())
}

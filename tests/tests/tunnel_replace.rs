//! `overlay tunnel replace`: a remote VTEP that has another address from now on.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use overlay_common::DropReason;
use overlay_tests::{
    bench::{Bench, Fate, Hook, OTHER_VNI, PORT, REMOTE, STATION, VNI, lab, udp_frame},
    fdb::place,
    frame::Mac,
    mesh,
    overlay::{EXISTS, MISSING, USAGE},
    refusal::all_refused,
    testrun::TC_REDIRECT,
    topology::Lab,
};

const OLD: &str = "10.0.0.2";
const NEW: &str = "10.0.0.77";
const UPLINK: Hook<'_> = Hook::Uplink("u1");

/// Where the outer destination address of a packet over IPv4 is.
const DESTINATION: std::ops::Range<usize> = 30..34;

/// Where a frame for a remote station goes.
fn destination(bench: &Bench<'_>, to: Mac) -> Result<Ipv4Addr> {
    let (outcome, _) = bench.run(Hook::Port(PORT), &udp_frame(STATION, to, 100))?;
    ensure!(outcome.verdict == TC_REDIRECT, "verdict {}", outcome.verdict);
    let octets: [u8; 4] = outcome.frame[DESTINATION].try_into()?;
    Ok(octets.into())
}

#[test]
fn all_that_is_behind_a_vtep_moves_with_it() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let host = bench.host();
    // In two segments, and with a station that was learned.
    bench.add_tunnel(OTHER_VNI, OLD)?;
    let learned = Mac([2, 0, 0, 0, 7, 1]);
    let inner = udp_frame(learned, STATION, 100);
    let from = |remote: &str| {
        let source: Ipv4Addr = remote.parse()?;
        bench.packet(&inner, |outer| outer.ip.source = source)
    };
    bench.check(UPLINK, &from(OLD)?, &Fate::Redirected(inner.clone()))?;
    bench.check(UPLINK, &from(NEW)?, &Fate::Dropped(DropReason::NotAMember))?;
    for mac in [REMOTE, learned] {
        ensure!(destination(&bench, mac)?.to_string() == OLD);
    }
    host.overlay(&["tunnel", "replace", OLD, "--remote", NEW])?;
    for mac in [REMOTE, learned] {
        ensure!(place(host, VNI, mac)?.as_deref() == Some(NEW), "{mac}");
        ensure!(destination(&bench, mac)?.to_string() == NEW, "{mac}");
    }
    bench.check(UPLINK, &from(NEW)?, &Fate::Redirected(inner.clone()))?;
    bench.check(UPLINK, &from(OLD)?, &Fate::Dropped(DropReason::NotAMember))?;
    let tunnels = host.overlay_json(&["tunnel", "show"])?.to_string();
    ensure!(tunnels.matches(NEW).count() == 2 && !tunnels.contains(&format!("\"{OLD}\"")), "{tunnels}");
    // And back.
    host.overlay(&["tunnel", "replace", NEW, "--remote", OLD])?;
    ensure!(destination(&bench, REMOTE)?.to_string() == OLD);
    bench.check(UPLINK, &from(OLD)?, &Fate::Redirected(inner.clone()))
}

#[test]
fn what_cannot_be_its_address_is_refused() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    all_refused(
        bench.host(),
        &[
            ("tunnel replace 10.0.0.9 --remote 10.0.0.77", MISSING, "10.0.0.9"),
            ("tunnel replace 10.0.0.2 --remote 10.0.0.3", EXISTS, "10.0.0.3 is a remote VTEP already"),
            ("tunnel replace 10.0.0.2 --remote 10.0.0.2", EXISTS, "10.0.0.2 is a remote VTEP already"),
            ("tunnel replace 10.0.0.2 --remote 10.0.0.1", USAGE, "10.0.0.1 is the local VTEP"),
            ("tunnel replace 10.0.0.2 --remote 10.0.0.255", USAGE, "broadcast address"),
            ("tunnel replace 10.0.0.2 --remote 239.1.1.1", USAGE, "239.1.1.1 is a multicast group"),
            ("tunnel replace 10.0.0.2 --remote fd00::2", USAGE, "fd00::2"),
            ("tunnel replace 10.0.0.2", USAGE, "--remote"),
            ("tunnel replace 10.0.0.2 --remote host", USAGE, "host"),
        ],
    )
}

#[test]
fn a_host_that_got_another_address_is_reached_again() -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    let workloads = mesh::segment(&instances, 100)?;
    mesh::exchange(&workloads[0], &workloads[1], 1 << 16)?;
    let moved = lab.host(2);
    moved.netns.ip(&format!("addr del {OLD}/24 dev {}", moved.uplink))?;
    moved.netns.ip(&format!("addr add {NEW}/24 dev {}", moved.uplink))?;
    // It notes its own new address.
    moved.overlay(&["status"])?;
    lab.host(1).overlay(&["tunnel", "replace", OLD, "--remote", NEW])?;
    mesh::exchange(&workloads[0], &workloads[1], 1 << 16)
}

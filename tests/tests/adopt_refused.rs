//! What cannot be adopted, what is taken over from the device, and adopting without an agent.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use overlay_tests::{
    agent,
    foreign::Foreign,
    frame::VXLAN_PORT,
    kernel::{self, DEVICE, VNI, adopted, carried, forwarded},
    overlay::{EXISTS, FAILED, Instance, MISSING, USAGE},
    process::{Background, wait_until},
    stream::{Stream, Tally},
    topology::Lab,
    wire::{Direction, Wire},
};

#[test]
fn what_cannot_be_adopted_is_refused() -> Result<()> {
    let lab = Lab::new(2)?;
    let (_peers, workloads) = kernel::segment(&lab, &[])?;
    let host = lab.host(1);
    let (_agent, _instance) = agent::run(host, &[])?;
    host.netns.ip("link add ext0 type vxlan dstport 4789 external\n\
         link add alone0 type vxlan id 7 dstport 4789 local 10.0.0.1\n\
         link add other0 type vxlan id 8 dstport 8472 local 10.0.0.1\n\
         link add lost0 type vxlan id 9 dstport 4789 local 10.0.0.9\n\
         link add gbp0 type vxlan id 10 dstport 4790 gbp")?;
    let foreign = Foreign::tcx(&host.netns, DEVICE)?;
    let cases = [
        ("nothing0", FAILED, "there is no device nothing0"),
        (host.uplink.as_str(), FAILED, "no vxlan device"),
        ("ext0", FAILED, "external"),
        ("gbp0", FAILED, "gbp"),
        ("other0", FAILED, "UDP port 8472"),
        ("lost0", FAILED, "10.0.0.9"),
        ("alone0", FAILED, "no member of a bridge"),
        (DEVICE, FAILED, "TC programs"),
    ];
    for (device, code, words) in cases {
        let refused = host.overlay_fails(&["adopt", device])?;
        ensure!(refused.code == code && refused.stderr.contains(words), "{device}: {refused:?}");
        ensure!(refused.stderr.lines().count() == 1, "{device}: {refused:?}");
    }
    drop(foreign);
    let refused = |words: &str| {
        let refused = host.overlay_fails(&["adopt", DEVICE])?;
        ensure!(refused.code == FAILED && refused.stderr.contains(words), "{words}: {refused:?}");
        Ok(())
    };
    host.netns.run(&["tc", "qdisc", "add", "dev", DEVICE, "root", "pfifo"])?;
    refused("queueing discipline")?;
    host.netns.run(&["tc", "qdisc", "del", "dev", DEVICE, "root"])?;
    for (family, words) in [("bridge", "nft list tables bridge"), ("inet", "iptables")] {
        host.netns.run(&["nft", "add", "table", family, "some"])?;
        refused(words)?;
        host.netns.run(&["nft", "delete", "table", family, "some"])?;
    }
    host.netns.ip("link set vx100 down")?;
    refused("not up")?;
    host.netns.ip("link set vx100 up")?;

    host.overlay(&["adopt", DEVICE])?;
    ensure!(host.overlay_fails(&["adopt", DEVICE])?.code == EXISTS, "it is adopted");
    for words in [
        &["vni", "add", "100"][..],
        &["tunnel", "add", "--vni", "100", "--remote", "10.0.0.2"],
        &["tunnel", "del", "--vni", "100", "--remote", "10.0.0.2"],
        &["port", "add", &workloads[0].port, "--vni", "100"],
    ] {
        let refused = host.overlay_fails(words)?;
        ensure!(refused.stderr.lines().count() == 1, "{words:?}: {refused:?}");
    }
    host.overlay(&["adopt", "--release", DEVICE])?;
    ensure!(host.overlay_fails(&["adopt", "--release", DEVICE])?.code == MISSING, "it is released");
    ensure!(host.overlay_fails(&["adopt", "--follow"])?.code == USAGE, "a device is missing");
    Ok(())
}

#[test]
fn what_becomes_unfit_is_left_to_the_kernel() -> Result<()> {
    let lab = Lab::new(2)?;
    let (_peers, workloads) = kernel::segment(&lab, &[])?;
    let host = lab.host(1);
    let (_agent, _instance) = agent::run(host, &[])?;
    host.overlay(&["adopt", DEVICE])?;
    let stream = Stream::start(&workloads[0].netns, &workloads[1].netns, workloads[1].v4.into())?;
    // The kernel does not tell of such programs, but the agent looks.
    let followed = |wanted: bool| {
        wait_until(Instant::now() + agent::GENEROUS, || {
            Ok(adopted(host)?.is_some_and(|row| row["followed"] == wanted).then_some(()))
        })
    };
    followed(true)?;
    let foreign = Foreign::tcx(&host.netns, DEVICE)?;
    followed(false)?;
    let (kernel, ours, seen) = (carried(host)?, forwarded(host)?, foreign.seen()?);
    stream.go_on(300)?;
    ensure!(carried(host)?.0 >= kernel.0 + 300 && forwarded(host)? == ours, "the kernel has all frames");
    ensure!(foreign.seen()? >= seen + 300, "the other program sees them");
    drop(foreign);
    followed(true)?;
    stream.go_on(300)?;
    stream.finish().map(drop)
}

#[test]
fn bytes_on_the_wire_are_those_of_the_device() -> Result<()> {
    for (options, range) in [
        (&["noudpcsum", "srcport", "40000", "40016"][..], 40000..40016),
        (&["noudpcsum", "ttl", "9", "tos", "0xb8", "df", "set", "srcport", "50000", "50100"], 50000..50100),
        (&["noudpcsum", "ttl", "inherit", "tos", "inherit", "df", "inherit"], 32768..60999),
    ] {
        let lab = Lab::new(2)?;
        let (_peers, workloads) = kernel::segment(&lab, options)?;
        let (host, other) = (lab.host(1), lab.host(2));
        let (_agent, _instance) = agent::run(host, &[])?;
        let stream = Stream::start(&workloads[0].netns, &workloads[1].netns, workloads[1].v4.into())?;
        let wire = Wire::open(&other.netns, &other.uplink, Direction::In)?;
        let seen = |what: &str| {
            let is_ours = |bytes: &[u8]| {
                bytes.len() >= 100
                    && bytes[12..14] == [8, 0]
                    && bytes[23] == 17
                    && bytes[36..38] == VXLAN_PORT.to_be_bytes()
                    && bytes[62..64] == [8, 0]
            };
            wire.collect(|_| false)?;
            stream.go_on(300)?;
            wire.expect(what, |frame| is_ours(&frame.bytes)).map(|frame| frame.bytes)
        };
        let kernel = seen("a packet of the kernel")?;
        host.overlay(&["adopt", DEVICE])?;
        agent::soon("the programs send", || {
            let before = forwarded(host)?;
            stream.go_on(50)?;
            Ok((forwarded(host)?.0 >= before.0 + 50).then_some(()))
        })?;
        let ours = seen("a packet of the programs")?;
        for (what, at) in [
            ("Ethernet", 0..14),
            ("version and TOS", 14..16),
            ("length", 16..18),
            ("flags", 20..22),
            ("TTL and protocol", 22..24),
            ("addresses", 26..34),
            ("UDP port, length and checksum", 36..42),
            ("VXLAN", 42..50),
            ("inner Ethernet", 50..64),
        ] {
            ensure!(kernel[at.clone()] == ours[at.clone()], "{options:?}: {what}: {kernel:x?}, {ours:x?}");
        }
        for bytes in [&kernel, &ours] {
            let port = u16::from_be_bytes([bytes[34], bytes[35]]);
            ensure!(range.contains(&port), "{options:?}: source port {port}");
        }
        stream.finish()?;
    }
    Ok(())
}

#[test]
fn without_an_agent_it_is_followed_in_the_foreground() -> Result<()> {
    in_the_foreground("tcx", Stream::finish)
}

#[test]
fn ports_are_as_they_were_without_tcx() -> Result<()> {
    // The kernel stops a device for a moment when it gets its first clsact qdisc: not a matter of losses.
    in_the_foreground("clsact", |_| Ok(Tally { sent: 0, answered: 0 }))
}

/// How long it may take until a command that was just started has adopted a device, and each station was seen by the kernel.
const BEGINS: Duration = Duration::from_secs(30);

/// Adopts with `--follow`, by that hook, and ends it again; what went on all the while ends as said.
fn in_the_foreground(tc: &str, end: impl FnOnce(Stream) -> Result<Tally>) -> Result<()> {
    let lab = Lab::new(2)?;
    let (_peers, workloads) = kernel::segment(&lab, &[])?;
    let host = lab.host(1);
    let _instance = Instance::up(host, &["--tc", tc])?;
    let refused = host.overlay_fails(&["adopt", DEVICE])?;
    ensure!(refused.code == FAILED && refused.stderr.contains("--follow"), "{refused:?}");
    let stream = Stream::start(&workloads[0].netns, &workloads[1].netns, workloads[1].v4.into())?;
    let mut follower = Background::start(&mut host.overlay_command(&["adopt", DEVICE, "--follow"])?)?;
    wait_until(Instant::now() + BEGINS, || {
        let before = forwarded(host)?;
        stream.go_on(50)?;
        Ok((forwarded(host)?.0 >= before.0 + 50).then_some(()))
    })?;
    let status = host.overlay_json(&["status"])?;
    ensure!(status["adopted"][0]["dev"] == DEVICE && status["adopted"][0]["vni"] == VNI, "{status}");
    let export = host.overlay(&["export"])?;
    ensure!(export.contains("adopt = [\"vx100\"]") && !export.contains("[[vni]]"), "{export}");
    ensure!(follower.signal(Signal::SIGTERM)? == Some(0), "it has to end well");
    ensure!(adopted(host)?.is_none(), "it is released");
    let qdiscs = host.netns.run(&["tc", "qdisc", "show", "dev", &workloads[0].port])?;
    ensure!(!qdiscs.contains("clsact"), "the port is not as it was: {qdiscs:?}");
    stream.go_on(100)?;
    end(stream).map(drop)
}

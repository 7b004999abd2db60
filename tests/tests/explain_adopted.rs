//! `overlay explain` of segments that are adopted: whether the kernel has a frame, and why.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use insta::assert_snapshot;
use overlay_common::Family;
use overlay_tests::{
    agent,
    bench::udp_frame,
    explain::hex,
    frame::{Ipv4, Mac, Outer},
    kernel::{self, DEVICE},
    overlay::Instance,
    process::wait_until,
    testrun::{self, TC_NEXT, TC_REDIRECT},
    topology::{Host, Lab, Underlay, Workload},
};
use serde_json::Value;

/// Stations that send nothing by themselves, here and behind the other host.
const HERE: Mac = Mac([2, 0, 0, 0, 7, 1]);
const THERE: Mac = Mac([2, 0, 0, 0, 7, 2]);
const NOBODY: Mac = Mac([2, 0, 0, 0, 7, 9]);

/// An agent renews what it lent each second, where it has a CPU.
const PATIENCE: Duration = Duration::from_secs(30);

/// A program on a hook, and the words that explain what it does.
struct Place<'a> {
    instance: &'a Instance<'a>,
    program: &'a str,
    device: &'a str,
    words: [&'a str; 2],
}

impl Place<'_> {
    fn said(&self, frame: &[u8]) -> Result<Value> {
        let bytes = hex(frame);
        self.instance.host.overlay_json(&[&["explain"], &self.words[..], &["--hex", &bytes]].concat())
    }

    fn text(&self, frame: &[u8]) -> Result<String> {
        let bytes = hex(frame);
        let text =
            self.instance.host.overlay(&[&["explain"], &self.words[..], &["--hex", &bytes]].concat())?;
        // The rest has a source port that follows from the flow.
        Ok(text.split("packet:").next().unwrap_or_default().to_owned())
    }

    fn run(&self, frame: &[u8]) -> Result<testrun::Outcome> {
        testrun::tc(self.instance, self.program, self.device, frame)
    }

    /// Gives the attached program the frame until it is said that the kernel has the next one for that reason.
    fn until_left(&self, frame: &[u8], because: &str) -> Result<String> {
        let mut last = Value::Null;
        let found = wait_until(Instant::now() + PATIENCE, || {
            last = self.said(frame)?;
            let is_left = last["verdict"] == "passed" && last["steps"].to_string().contains(because);
            // Asking makes no difference.
            if is_left && self.said(frame)?["steps"] == last["steps"] {
                return self.text(frame).map(Some);
            }
            self.run(frame)?;
            Ok(None)
        });
        let text = found.with_context(|| format!("{because}: {last:#}"))?;
        let outcome = self.run(frame)?;
        ensure!(outcome.verdict == TC_NEXT && outcome.frame == frame, "the kernel does not have it");
        Ok(text)
    }

    /// The same until the frame is sent, as is said.
    fn until_sent(&self, frame: &[u8], to: &str) -> Result<String> {
        let mut last = Value::Null;
        let found = wait_until(Instant::now() + PATIENCE, || {
            last = self.said(frame)?;
            let outcome = self.run(frame)?;
            if last["verdict"] != "redirected" || outcome.verdict != TC_REDIRECT {
                return Ok(None);
            }
            ensure!(last["packet"]["bytes"] == hex(&outcome.frame), "{last:#}");
            ensure!(last["to"]["device"] == to && last["program"] == self.program, "{last:#}");
            self.text(frame).map(Some)
        });
        found.with_context(|| format!("{last:#}"))
    }
}

/// A bridge and a device on both hosts, which know the stations; and a workload on each.
fn segment(lab: &Lab) -> Result<Vec<Workload>> {
    let (_, workloads) = kernel::segment_of(lab, false, &["df", "set"])?;
    let (host, member) = (lab.host(1), &workloads[0].port);
    let there = lab.host(2).vtep;
    kernel::bridge(
        host,
        &format!(
            "fdb replace {HERE} dev {member} master static\n\
             fdb replace {THERE} dev {DEVICE} dst {there} self\n\
             fdb replace {THERE} dev {DEVICE} master static"
        ),
    )?;
    Ok(workloads)
}

fn known(host: &Host) -> Result<()> {
    wait_until(Instant::now() + PATIENCE, || {
        let count = kernel::adopted(host)?.and_then(|row| row["stations"].as_u64());
        Ok((count >= Some(2)).then_some(()))
    })
    .context("the stations are known")
}

#[test]
fn frames_of_adopted_segments_meet_what_was_said() -> Result<()> {
    let lab = Lab::with(2, Underlay::known(Family::Ipv4))?;
    let workloads = segment(&lab)?;
    let member = &workloads[0].port[..];
    let host = lab.host(1);
    let (_agent, instance) = agent::run(host, &[])?;
    host.overlay(&["adopt", DEVICE])?;
    known(host)?;
    let port = Place {
        instance: &instance,
        program: "adopted_from_port",
        device: member,
        words: ["--port", member],
    };
    let out = udp_frame(HERE, THERE, 98);
    let source = port.until_left(&out, "a frame of its source now and then")?;
    assert_snapshot!("source_due", source);
    port.until_left(&out, "a frame to its destination now and then")?;
    assert_snapshot!("sent", port.until_sent(&out, "u1")?);
    port.until_left(&udp_frame(HERE, NOBODY, 98), "does not know its destination")?;
    port.until_left(&udp_frame(NOBODY, THERE, 98), "does not know its source")?;
    port.until_left(&udp_frame(HERE, HERE, 98), "on the side that it comes from")?;
    port.until_left(&udp_frame(HERE, THERE, 1600), "it does not fit")?;
    let made =
        host.overlay_json(&["explain", "--port", member, "--dst", &THERE.to_string(), "--proto", "arp"])?;
    ensure!(made["steps"].to_string().contains("neither IPv4 nor IPv6"), "{made:#}");

    let uplink =
        Place { instance: &instance, program: "from_uplink", device: "u1", words: ["--from-uplink", "u1"] };
    let (to, from) = (host, lab.host(2));
    let outer = || Outer::<Ipv4>::new((from.mac, from.vtep), (to.mac, to.vtep), kernel::VNI);
    let into = outer()?.frame(&udp_frame(THERE, HERE, 98));
    uplink.until_left(&into, "a frame of its source now and then")?;
    assert_snapshot!("received", uplink.until_sent(&into, member)?);
    let mut stranger = outer()?;
    stranger.ip.source = [10, 0, 0, 9].into();
    let text = uplink.until_left(&stranger.frame(&udp_frame(THERE, HERE, 98)), "nobody behind the VTEP")?;
    assert_snapshot!("stranger", text);
    let mut reserved = outer()?;
    reserved.vxlan.reserved_last = 1;
    uplink.until_left(&reserved.frame(&udp_frame(THERE, HERE, 98)), "its outer headers are not plain")?;
    uplink
        .until_left(&outer()?.frame(&udp_frame(HERE, THERE, 98)), "the kernel knows its source elsewhere")?;
    Ok(())
}

#[test]
fn a_lease_that_is_over_is_said() -> Result<()> {
    let lab = Lab::with(2, Underlay::known(Family::Ipv4))?;
    let workloads = segment(&lab)?;
    let member = &workloads[0].port[..];
    let host = lab.host(1);
    let (agent, instance) = agent::run(host, &[])?;
    host.overlay(&["adopt", DEVICE])?;
    known(host)?;
    agent.send(nix::sys::signal::Signal::SIGKILL)?;
    let port = Place {
        instance: &instance,
        program: "adopted_from_port",
        device: member,
        words: ["--port", member],
    };
    port.until_left(&udp_frame(HERE, THERE, 98), "nobody follows what the kernel knows")?;
    Ok(())
}

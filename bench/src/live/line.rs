//! The path of live frames through one peer.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use aya::programs::Xdp;
use overlay_tests::{
    bench::udp_frame,
    frame::{self, Ipv4, Ipv6, Network},
    netns::NetNs,
    process::wait_until,
    testrun,
    topology::{Host, Lab, Workload},
};

use crate::{
    peer::{Peer, Site, VNI},
    programs::{Globals, Programs},
    setting::Outer,
};

/// Bytes of a frame: a UDP datagram of 64 bytes.
const LENGTH: usize = 14 + 20 + 8 + 64;

/// Frames that the kernel takes in one go, as many as a driver takes from a NIC.
const BATCH: u32 = 64;

/// Frames that are sent before it counts, so that caches are warm.
const WARM_UP: u32 = 100_000;

/// How long frames that were sent may take to be received.
const ARRIVAL: Duration = Duration::from_secs(5);

/// An uplink, a program that takes its frames, and a workload that counts them.
pub(super) struct Line<'a> {
    program: Source,
    netns: &'a NetNs,
    uplink: &'a str,
    packet: Vec<u8>,
    counter: Programs,
}

/// Whose program it is.
enum Source {
    /// The one that `overlay` has attached.
    Pinned(Box<Xdp>),
    /// One of the bench's own, of that name.
    Own(Programs, &'static str),
}

impl<'a> Line<'a> {
    /// Lays a line to the second workload of a site.
    pub(super) fn lay(peer: Peer, lab: &'a Lab, site: &Site<'_>, outer: Outer) -> Result<Self> {
        let (host, [sender, receiver]) = (lab.host(2), site.workloads());
        let mut counter = Programs::new(&Globals::default())?;
        // With a program there, the veth takes what is redirected to it.
        counter.attach_xdp("count", &receiver.netns, Workload::DEVICE)?;
        let inner = udp_frame(sender.mac, receiver.mac, LENGTH);
        let packet = match outer {
            Outer::Ipv4 => packet::<Ipv4>(lab, &inner)?,
            Outer::Ipv6 => packet::<Ipv6>(lab, &inner)?,
        };
        let program = source(peer, host, site)?;
        Ok(Self { program, netns: &host.netns, uplink: &host.uplink, packet, counter })
    }

    /// Frames per second that arrive, over so many seconds.
    pub(super) fn rate(&mut self, seconds: u32) -> Result<f64> {
        let rough = self.send(WARM_UP)?;
        let times = f64::from(WARM_UP) / rough.as_secs_f64() * f64::from(seconds);
        ensure!(times.is_finite() && times >= 1.0, "{WARM_UP} frames took {rough:?}");
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked, and it saturates"
        )]
        let times = times as u32;
        let before = self.counter.counted()?;
        let start = Instant::now();
        self.send(times)?;
        let elapsed = start.elapsed();
        let arrived = self.settled()? - before;
        ensure!(arrived > 0, "none of {times} frames arrived");
        Ok(arrived as f64 / elapsed.as_secs_f64())
    }

    fn send(&mut self, times: u32) -> Result<Duration> {
        let program = match &mut self.program {
            Source::Pinned(program) => program,
            Source::Own(programs, name) => programs.xdp(name)?,
        };
        testrun::xdp_live(program, self.netns, self.uplink, &self.packet, (times, BATCH))
    }

    /// What was counted once nothing more comes.
    fn settled(&self) -> Result<u64> {
        let mut last = None;
        wait_until(Instant::now() + ARRIVAL, || {
            let now = self.counter.counted()?;
            Ok((last.replace(now) == Some(now)).then_some(now))
        })
    }
}

fn packet<N: Network>(lab: &Lab, inner: &[u8]) -> Result<Vec<u8>> {
    let (from, to) = (lab.host(1), lab.host(2));
    Ok(frame::Outer::<N>::new((from.mac, from.vtep), (to.mac, to.vtep), VNI)?.frame(inner))
}

/// The program that takes the frames of a peer's uplink.
fn source(peer: Peer, host: &Host, site: &Site<'_>) -> Result<Source> {
    let [_, receiver] = site.workloads();
    if let [_, instance] = site.instances() {
        host.overlay(&["port", "set", &receiver.port, "--xdp-redirect", "on"])?;
        let status = host.overlay_json(&["status"])?;
        ensure!(status["fed_by_xdp"][0] == receiver.port.as_str(), "XDP does not feed the port: {status}");
        return Ok(Source::Pinned(Box::new(testrun::pinned_xdp(instance, "from_uplink_xdp")?)));
    }
    let port = host.netns.ifindex(&receiver.port)?;
    let programs = Programs::new(&Globals { port, ..Globals::default() })?;
    Ok(Source::Own(programs, if peer == Peer::Floor { "floor_from_uplink_xdp" } else { "nothing_xdp" }))
}

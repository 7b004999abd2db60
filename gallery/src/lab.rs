//! What the pictures are of: two hosts, a segment with a workload behind each, and some traffic.

use std::process::Stdio;

use anyhow::Result;
use overlay_tests::{
    mesh,
    process::Background,
    topology::{Host, Lab},
    traffic,
};

const VNI: u32 = 100;

/// A lab that is there while pictures are taken.
pub(crate) struct Gallery;

impl Gallery {
    /// Builds it, has `take` look at host 1, and takes it down.
    pub(crate) fn show(take: impl FnOnce(&Host) -> Result<()>) -> Result<()> {
        let lab = Lab::new(2)?;
        let instances = mesh::up(&lab, &[])?;
        let workloads = mesh::segment(&instances, VNI)?;
        let [one, two] = &workloads[..] else { anyhow::bail!("not two workloads") };
        traffic::ping(&one.netns, two.v4.into(), 10)?;
        traffic::tcp(&one.netns, &two.netns, two.v4.into(), 1 << 20)?;
        let host = lab.host(1);
        // So that there is something to drop.
        host.overlay(&["vni", "set", "100", "--flood", "off"])?;
        one.netns.ip("neigh replace 10.1.0.99 lladdr 02:00:00:00:00:63 dev eth0")?;
        traffic::no_ping(&one.netns, "10.1.0.99".parse()?)?;
        let mut talk = one.netns.command("ping");
        talk.stdout(Stdio::null());
        let _talk = Background::start(talk.args(["-q", "-i", "0.01", "-c", "30000", &two.v4.to_string()]))?;
        take(host)?;
        instances.into_iter().try_for_each(overlay_tests::overlay::Instance::down)
    }
}

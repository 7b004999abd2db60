//! What commands mend, and what they say is off, while workloads talk.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    dialogue::Dialogue,
    mesh,
    overlay::Instance,
    process::{self, wait_until},
    topology::{Host, Lab, Workload},
    traffic::PATIENCE,
};

/// The segment that workloads talk in.
pub const VNI: u32 = 100;

/// Runs `overlay status`; what it says is off, and what it says that it mended.
pub fn status(host: &Host) -> Result<(Value, String)> {
    let output = process::output(&mut host.overlay_command(&["-o", "json", "status"])?)?;
    let mended = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{mended}");
    Ok((serde_json::from_slice(&output.stdout)?, mended))
}

/// Runs `overlay status`, which has to have mended something, and find nothing else that is off.
pub fn mends(host: &Host, what: &str) -> Result<()> {
    // The kernel takes a moment to detach a program whose link is gone.
    let status = wait_until(Instant::now() + PATIENCE, || {
        let (status, mended) = status(host)?;
        Ok(mended.contains(what).then_some(status))
    })
    .with_context(|| format!("not mended: {what}"))?;
    ensure!(status["warnings"] == json!([]), "{status}");
    quiet(host)
}

/// Runs `overlay status`, which has to have nothing to mend.
pub fn quiet(host: &Host) -> Result<()> {
    let (_, mended) = status(host)?;
    ensure!(mended.is_empty(), "nothing should be left to mend: {mended}");
    Ok(())
}

/// Runs `overlay status`, which has to say that something is off.
pub fn warns(host: &Host, what: &str) -> Result<()> {
    let (status, _) = status(host)?;
    ensure!(status["warnings"].to_string().contains(what), "no {what:?} in {status}");
    let table = host.overlay(&["status"])?;
    ensure!(table.contains(what), "no {what:?} in {table}");
    Ok(())
}

/// Instances, workloads, and a connection between the first two of these.
pub struct Talk<'a> {
    /// One on each host.
    pub instances: Vec<Instance<'a>>,
    /// One behind each.
    pub workloads: Vec<Workload>,
    /// The connection.
    pub flow: Dialogue,
}

/// Instances on all hosts, and a connection between the workloads of the first two.
pub fn talk<'a>(lab: &'a Lab, arguments: &[&str]) -> Result<Talk<'a>> {
    let instances = mesh::up(lab, arguments)?;
    let workloads = mesh::segment(&instances, VNI)?;
    let flow = Dialogue::start(&workloads[0].netns, &workloads[1].netns, workloads[1].v4.into())?;
    flow.go_on(50)?;
    Ok(Talk { instances, workloads, flow })
}

//! The agent, `overlay run`, and how soon it has mended something.

use std::{
    net::IpAddr,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    netns::NetNs,
    overlay::Instance,
    process::{self, Background, wait_until},
    topology::Host,
};

/// How soon the agent mends what changed.
pub const PROMPT: Duration = Duration::from_secs(1);

/// Starts `overlay run` on a host, and waits until the instance is up.
pub fn run<'a>(host: &'a Host, arguments: &[&str]) -> Result<(Background, Instance<'a>)> {
    let arguments = [&["run", "--uplink", &host.uplink], arguments].concat();
    let mut command = host.overlay_command(&arguments)?;
    let mut agent = Background::start(command.stdout(Stdio::null()))?;
    wait_until(Instant::now() + Duration::from_secs(20), || {
        ensure!(agent.is_running()?, "`overlay run` has ended");
        let status = process::output(&mut host.overlay_command(&["-o", "json", "status"])?)?;
        let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap_or_default();
        Ok((status["up"] == true).then_some(()))
    })?;
    Ok((agent, Instance::adopt(host)?))
}

/// Pings until there is an answer, which has to come within [`PROMPT`]; how long that took is printed with `what`.
pub fn answers_soon(what: &str, from: &NetNs, to: IpAddr) -> Result<()> {
    let start = Instant::now();
    let to = to.to_string();
    wait_until(start + PROMPT, || {
        let ping = process::output(from.command("ping").args(["-q", "-c", "1", "-W", "0.1", &to]))?;
        Ok(ping.status.success().then_some(()))
    })
    .with_context(|| format!("{what}: no answer from {to} within {PROMPT:?}"))?;
    println!("{what}: mended within {} ms", start.elapsed().as_millis());
    Ok(())
}

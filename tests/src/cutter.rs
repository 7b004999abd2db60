//! The pair of devices that cuts packets up, for VTEPs over IPv6 that want UDP checksums.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::topology::Host;

/// The names of both ends on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Where packets go in whole.
    pub entrance: String,
    /// Where their pieces come out.
    pub exit: String,
}

/// The pair of a host's instance, if it is there.
pub fn find(host: &Host) -> Result<Option<Pair>> {
    let mut names = host.netns.devices()?;
    names.retain(|name| name.starts_with("ovl"));
    let [entrance, exit] = &names[..] else {
        ensure!(names.is_empty(), "not one pair: {names:?}");
        return Ok(None);
    };
    Ok(Some(Pair { entrance: entrance.clone(), exit: exit.clone() }))
}

/// The pair of a host's instance, which has to be there.
pub fn of(host: &Host) -> Result<Pair> {
    find(host)?.context("no pair of devices that cuts packets up")
}

/// How many pieces have come out of a host's pair.
pub fn pieces(host: &Host) -> Result<u64> {
    let Pair { exit, .. } = of(host)?;
    let text = host.netns.run(&["ip", "-s", "-j", "link", "show", "dev", &exit])?;
    let links: Value = serde_json::from_str(&text)?;
    links[0]["stats64"]["rx"]["packets"].as_u64().with_context(|| format!("no count in {text}"))
}

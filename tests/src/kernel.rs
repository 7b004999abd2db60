//! Hosts whose segment the kernel serves by a `vxlan` device and a bridge, and what is adopted of it.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{
    peer::{Peer, Segment},
    process,
    topology::{Host, Lab, Plan, Workload},
};

/// The segment.
pub const VNI: u32 = 100;

/// The name of the `vxlan` device on every host.
pub const DEVICE: &str = "vx100";

/// Bridge and device on every host, with a workload behind each, numbered as its host.
pub fn segment<'a>(lab: &'a Lab, options: &[&str]) -> Result<(Vec<Peer<'a>>, Vec<Workload>)> {
    segment_of(lab, true, options)
}

/// The same with devices that learn, or do not.
pub fn segment_of<'a>(
    lab: &'a Lab,
    learning: bool,
    options: &[&str],
) -> Result<(Vec<Peer<'a>>, Vec<Workload>)> {
    let (mut peers, mut workloads) = (Vec::new(), Vec::new());
    for host in &lab.hosts {
        let others: Vec<_> = lab.hosts.iter().filter(|other| other.number != host.number).collect();
        let segment = Segment { learning, ..Segment::new(host, VNI, &others).options(options) };
        let peer = Peer::join(host, &segment)?;
        let workload = host.workload(&Plan::new(VNI, host.number))?;
        peer.attach(&workload)?;
        peers.push(peer);
        workloads.push(workload);
    }
    Ok((peers, workloads))
}

/// Packets that the `vxlan` device of a host has sent and received.
pub fn carried(host: &Host) -> Result<(u64, u64)> {
    carried_by(host, DEVICE)
}

/// The same of a device of that name.
pub fn carried_by(host: &Host, device: &str) -> Result<(u64, u64)> {
    let text = host.netns.run(&["ip", "-json", "-statistics", "link", "show", device])?;
    let links: Value = serde_json::from_str(&text)?;
    let packets = |way: &str| links[0]["stats64"][way]["packets"].as_u64();
    packets("tx").zip(packets("rx")).with_context(|| format!("no counts in {text}"))
}

/// Packets that the programs of a host have sent into and received from the segment's tunnels.
pub fn forwarded(host: &Host) -> Result<(u64, u64)> {
    forwarded_in(host, VNI)
}

/// The same of a segment of that number.
pub fn forwarded_in(host: &Host, vni: u32) -> Result<(u64, u64)> {
    let stats = host.overlay_json(&["stats"])?;
    let rows = stats["segments"].as_array().context("no segments")?;
    let rows = rows.iter().filter(|row| row["vni"] == vni && !row["remote"].is_null());
    let sum = |way: &str| rows.clone().filter_map(|row| row[way].as_u64()).sum();
    Ok((sum("tx_packets"), sum("rx_packets")))
}

/// The one device that a host has adopted, as `overlay adopt` shows it; `None`: it has none.
pub fn adopted(host: &Host) -> Result<Option<Value>> {
    let all = host.overlay_json(&["adopt"])?;
    Ok(all.as_array().and_then(|all| all.first().cloned()))
}

/// Runs lines of `bridge` commands on a host, without the leading `bridge`.
pub fn bridge(host: &Host, script: &str) -> Result<()> {
    process::feed(host.netns.command("bridge").args(["-batch", "-"]), script).map(drop)
}

/// Gives the bridge of a host an address of its own in the segment: the host is a station.
pub fn address(peer: &Peer<'_>, host: &Host) -> Result<Ipv4Addr> {
    let addr = Ipv4Addr::new(10, 1, 0, 100 + host.number);
    host.netns.ip(&format!("addr add {addr}/24 dev {}", peer.bridge))?;
    Ok(addr)
}

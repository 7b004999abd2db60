//! `overlay status`.

use overlay_common::{
    IfIndex,
    maps::{
        config::{Config, Merging, TcHook},
        device::{Device, DeviceName},
        uplink::{Uplink, XdpHook, XdpReason},
    },
};
use serde::Serialize;

use super::{
    Session, adopt,
    output::{Table, or_dash, period},
};
use crate::{
    agent::presence::{self, Running},
    devices,
    error::Result,
    instance::Instance,
    listener::{self, Merger},
    maps,
    netlink::Link,
    port,
};

#[derive(Serialize)]
struct Status {
    instance: String,
    version: &'static str,
    up: bool,
    /// The agent that runs for it, if one does.
    agent: Option<AgentRow>,
    local: Vec<String>,
    port: u16,
    uplinks: Vec<UplinkRow>,
    tunnel_gro: Vec<MergerRow>,
    /// Devices of the kernel.
    adopted: Vec<adopt::Row>,
    segments: usize,
    ports: usize,
    /// Those that XDP feeds.
    fed_by_xdp: Vec<String>,
    vteps: usize,
    stations: usize,
    /// What is not as it should be.
    warnings: Vec<String>,
}

/// An agent that runs.
#[derive(Serialize)]
struct AgentRow {
    /// None: it is in another PID namespace.
    pid: Option<i32>,
    /// RFC 3339, in UTC.
    since: Option<String>,
    /// The same, in seconds until now.
    #[serde(skip)]
    age: Option<u64>,
}

impl AgentRow {
    fn of(running: Running) -> Self {
        let since = running.since.map(|since| humantime::format_rfc3339_seconds(since).to_string());
        let age = running.since.and_then(|since| since.elapsed().ok()).map(|age| age.as_secs());
        Self { pid: running.pid, since, age }
    }
}

/// Whether tunnel packets of a family are merged as they come in.
#[derive(Serialize)]
struct MergerRow {
    family: &'static str,
    on: bool,
    why: &'static str,
}

#[derive(Serialize)]
struct UplinkRow {
    dev: Option<String>,
    /// 0: the device is gone.
    ifindex: u32,
    present: bool,
    tc: &'static str,
    xdp: &'static str,
    why: &'static str,
    /// Whether XDP sends by it what is in transit.
    sends_from_xdp: bool,
}

pub(super) async fn run(session: &Session) -> Result<()> {
    let (instance, netlink, report) = session.open_repaired().await?;
    let config = instance.config()?;
    let ports = port::show(&instance)?;
    let status = Status {
        instance: instance.name().to_owned(),
        version: env!("CARGO_PKG_VERSION"),
        up: true,
        agent: presence::look(instance.name())?.map(AgentRow::of),
        local: config.locals().iter().map(ToString::to_string).collect(),
        port: config.port(),
        uplinks: uplinks(&instance, &config)?,
        tunnel_gro: mergers(&instance, &config, &netlink.links().await?)?,
        adopted: adopt::rows(&instance, &netlink).await?,
        segments: maps::segments(&instance)?.entries()?.len(),
        ports: ports.len(),
        fed_by_xdp: ports.into_iter().filter(|port| port.is_fed_by_xdp).map(|port| port.name).collect(),
        vteps: maps::vteps::Vteps::open(&instance)?.all()?.len(),
        stations: maps::fdb::open(&instance)?.count()?,
        warnings: report.warnings,
    };
    session.output.print(&status, table)
}

/// The uplinks that are wanted.
fn uplinks(instance: &Instance, config: &Config) -> Result<Vec<UplinkRow>> {
    let served = maps::uplinks(instance)?.entries()?;
    let row = |(name, device): (DeviceName, Device)| {
        let index = device.index().map_or(0, IfIndex::get);
        let uplink = served.get(&index);
        UplinkRow {
            dev: Some(name.as_str().to_owned()),
            ifindex: index,
            present: uplink.is_some(),
            tc: match config.tc() {
                TcHook::Tcx => "tcx",
                TcHook::Clsact => "clsact",
            },
            xdp: match uplink.map(Uplink::xdp) {
                None | Some(XdpHook::Off) => "off",
                Some(XdpHook::Native) => "native",
                Some(XdpHook::Generic) => "generic",
            },
            why: uplink.map_or("the device is gone", |uplink| why(uplink.why())),
            sends_from_xdp: uplink.is_some_and(Uplink::sends_from_xdp),
        }
    };
    Ok(devices::uplinks(instance)?.into_iter().map(row).collect())
}

/// Whether tunnel packets are merged as they come in, of each family that the VTEP has.
fn mergers(instance: &Instance, config: &Config, links: &[Link]) -> Result<Vec<MergerRow>> {
    let mut rows = Vec::new();
    for family in listener::FAMILIES {
        let (on, why) = match Merger::of(instance, config, links, family)? {
            Merger::NoAddress => continue,
            Merger::Others if config.listener(family).is_none() => {
                (true, "another vxlan device listens on the port")
            }
            Merger::Ours | Merger::Others => match (config.listener(family), config.merging()) {
                (None, _) => (false, "the kernel refuses the device"),
                (Some(_), Merging::Always) => (true, "asked for"),
                (Some(_), _) => (true, "an uplink has GRO on"),
            },
            Merger::Unwanted => (false, "asked for"),
            Merger::Useless => (false, "no uplink has GRO on, or XDP takes the outer headers off before"),
        };
        rows.push(MergerRow { family: family.name(), on, why });
    }
    Ok(rows)
}

const fn why(reason: XdpReason) -> &'static str {
    match reason {
        XdpReason::Asked => "asked for",
        XdpReason::Taken => "the XDP hook is taken by another program",
        XdpReason::Unsupported => "the driver has no native XDP",
        XdpReason::Virtual => "TC alone is faster on a virtual device",
        XdpReason::Driver => "native XDP is faster on a NIC",
    }
}

fn table(status: &Status) -> Table {
    let mut table = Table::new(["instance", &status.instance]);
    table.row(["version".to_owned(), status.version.to_owned()]);
    let agent = status.agent.as_ref().map_or_else(
        || "none; `overlay run` starts one".to_owned(),
        |agent| {
            let (pid, since) = (agent.pid.as_ref(), agent.since.as_ref());
            let age = agent.age.map(|age| format!(", for {}", period(age))).unwrap_or_default();
            format!("process {} since {}{age}", or_dash(pid), or_dash(since))
        },
    );
    table.row(["agent".to_owned(), agent]);
    table.row(["local VTEP".to_owned(), format!("{} port {}", status.local.join(" "), status.port)]);
    for uplink in &status.uplinks {
        let name = or_dash(uplink.dev.as_ref());
        let how = if uplink.present {
            let sends = if uplink.sends_from_xdp { ", sends from XDP" } else { "" };
            format!("{name} by {}, XDP {} ({}){sends}", uplink.tc, uplink.xdp, uplink.why)
        } else {
            format!("{name}, gone")
        };
        table.row(["uplink".to_owned(), how]);
    }
    for merger in &status.tunnel_gro {
        let state = if merger.on { "on" } else { "off" };
        table.row(["tunnel GRO".to_owned(), format!("{} {state} ({})", merger.family, merger.why)]);
    }
    for row in &status.adopted {
        let who = if row.followed { "known frames by us" } else { "all frames by the kernel" };
        table.row(["adopted".to_owned(), format!("{} (VNI {}), {who}", row.dev, row.vni)]);
    }
    table.row(["segments".to_owned(), status.segments.to_string()]);
    table.row(["ports".to_owned(), status.ports.to_string()]);
    if !status.fed_by_xdp.is_empty() {
        table.row(["fed by XDP".to_owned(), status.fed_by_xdp.join(" ")]);
    }
    table.row(["remote VTEPs".to_owned(), status.vteps.to_string()]);
    table.row(["stations".to_owned(), status.stations.to_string()]);
    for warning in &status.warnings {
        table.row(["warning".to_owned(), warning.clone()]);
    }
    table
}

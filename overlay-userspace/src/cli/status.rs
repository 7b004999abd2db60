//! `overlay status`.

use overlay_common::{
    IfIndex,
    maps::{
        config::{Config, TcHook},
        device::{Device, DeviceName},
        uplink::{Uplink, XdpHook, XdpReason},
    },
};
use serde::Serialize;

use super::{
    Session,
    output::{Table, or_dash},
};
use crate::{devices, error::Result, instance::Instance, maps, port};

#[derive(Serialize)]
struct Status {
    instance: String,
    version: &'static str,
    up: bool,
    local: Vec<String>,
    port: u16,
    uplinks: Vec<UplinkRow>,
    segments: usize,
    ports: usize,
    /// Those that XDP feeds.
    fed_by_xdp: Vec<String>,
    vteps: usize,
    stations: usize,
    /// What is not as it should be.
    warnings: Vec<String>,
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
}

pub(super) async fn run(session: &Session) -> Result<()> {
    let (instance, _, report) = session.open_repaired().await?;
    let config = instance.config()?;
    let ports = port::show(&instance)?;
    let status = Status {
        instance: instance.name().to_owned(),
        version: env!("CARGO_PKG_VERSION"),
        up: true,
        local: config.locals().iter().map(ToString::to_string).collect(),
        port: config.port(),
        uplinks: uplinks(&instance, &config)?,
        segments: maps::segments(&instance)?.entries()?.len(),
        ports: ports.len(),
        fed_by_xdp: ports.into_iter().filter(|port| port.is_fed_by_xdp).map(|port| port.name).collect(),
        vteps: maps::vteps::Vteps::open(&instance)?.all()?.len(),
        stations: maps::fdb::open(&instance)?.entries()?.len(),
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
        }
    };
    Ok(devices::uplinks(instance)?.into_iter().map(row).collect())
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
    table.row(["local VTEP".to_owned(), format!("{} port {}", status.local.join(" "), status.port)]);
    for uplink in &status.uplinks {
        let name = or_dash(uplink.dev.as_ref());
        let how = if uplink.present {
            format!("{name} by {}, XDP {} ({})", uplink.tc, uplink.xdp, uplink.why)
        } else {
            format!("{name}, gone")
        };
        table.row(["uplink".to_owned(), how]);
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

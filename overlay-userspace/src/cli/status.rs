//! `overlay status`.

use overlay_common::{
    IfIndex,
    maps::{
        config::TcHook,
        uplink::{XdpHook, XdpReason},
    },
};
use serde::Serialize;

use super::{Session, output::Table};
use crate::{error::Result, forwarding, maps};

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
    vteps: usize,
    stations: usize,
    /// What is not as it should be.
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct UplinkRow {
    dev: Option<String>,
    ifindex: u32,
    tc: &'static str,
    xdp: &'static str,
    why: &'static str,
}

pub(super) async fn run(session: &Session) -> Result<()> {
    let (instance, netlink) = session.open_with_netlink().await?;
    let config = instance.config()?;
    let links = netlink.links().await?;
    let mut status = Status {
        instance: instance.name().to_owned(),
        version: env!("CARGO_PKG_VERSION"),
        up: true,
        local: config.locals().iter().map(ToString::to_string).collect(),
        port: config.port(),
        uplinks: Vec::new(),
        segments: maps::segments(&instance)?.entries()?.len(),
        ports: maps::ports(&instance)?.entries()?.len(),
        vteps: maps::vteps::Vteps::open(&instance)?.all()?.len(),
        stations: maps::fdb::open(&instance)?.entries()?.len(),
        warnings: Vec::new(),
    };
    let off = forwarding::off()?;
    for (is_off, family) in [(off.ipv4, "ipv4"), (off.ipv6, "ipv6")] {
        if is_off {
            status.warnings.push(format!(
                "net.{family}.conf.lo.forwarding is off, so changed next hops are not followed; `sysctl -w \
                 net.{family}.conf.lo.forwarding=1` mends it"
            ));
        }
    }
    for (index, uplink) in maps::uplinks(&instance)?.entries()? {
        let link = links.iter().find(|link| IfIndex::new(index) == Some(link.index));
        if link.is_none() {
            status.warnings.push(format!("the uplink with index {index} is gone"));
        }
        status.uplinks.push(UplinkRow {
            dev: link.map(|link| link.name.clone()),
            ifindex: index,
            tc: match config.tc() {
                TcHook::Tcx => "tcx",
                TcHook::Clsact => "clsact",
            },
            xdp: match uplink.xdp() {
                XdpHook::Off => "off",
                XdpHook::Native => "native",
                XdpHook::Generic => "generic",
            },
            why: why(uplink.why()),
        });
    }
    session.output.print(&status, table)
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
        let name = uplink.dev.clone().unwrap_or_else(|| format!("index {}, gone", uplink.ifindex));
        table.row([
            "uplink".to_owned(),
            format!("{name} by {}, XDP {} ({})", uplink.tc, uplink.xdp, uplink.why),
        ]);
    }
    table.row(["segments".to_owned(), status.segments.to_string()]);
    table.row(["ports".to_owned(), status.ports.to_string()]);
    table.row(["remote VTEPs".to_owned(), status.vteps.to_string()]);
    table.row(["stations".to_owned(), status.stations.to_string()]);
    for warning in &status.warnings {
        table.row(["warning".to_owned(), warning.clone()]);
    }
    table
}

//! `overlay fdb`.

use std::net::IpAddr;

use clap::{Args, Subcommand};
use overlay_common::{
    MacAddr, Vni,
    maps::fdb::{FdbEntry, FdbKey, Origin, Place},
};
use serde::Serialize;

use super::{
    Session,
    output::{Table, or_dash},
    parse::{ExistOk, MissingOk, station},
};
use crate::{
    error::Result,
    fdb::{self, At},
    instance::Instance,
    maps::vteps::Vteps,
    netlink::Link,
};

#[derive(Debug, Subcommand)]
pub(super) enum Fdb {
    /// Put a station somewhere, for good
    Add {
        #[command(flatten)]
        station: Station,
        #[command(flatten)]
        place: PlaceArgs,
        #[command(flatten)]
        exist_ok: ExistOk,
    },
    /// Remove a station
    Del {
        #[command(flatten)]
        station: Station,
        #[command(flatten)]
        missing_ok: MissingOk,
    },
    /// List stations
    Show {
        /// Number of the one segment to show
        #[arg(long)]
        vni: Option<Vni>,
    },
    /// Remove all learned stations of a segment
    Flush {
        /// Number of the segment
        #[arg(long)]
        vni: Vni,
    },
}

#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Station {
    /// Number of the segment
    #[arg(long)]
    vni: Vni,
    /// Address of the station
    #[arg(value_parser = station)]
    mac: MacAddr,
}

#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct PlaceArgs {
    /// Address of the remote VTEP that it is behind
    #[arg(long, value_name = "ADDR")]
    remote: Option<IpAddr>,
    /// Device of the port that it is behind
    #[arg(long, value_name = "DEV")]
    port: Option<String>,
}

#[derive(Serialize)]
struct Row {
    vni: u32,
    mac: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote: Option<String>,
    origin: &'static str,
    age_s: u64,
}

impl Fdb {
    pub(super) async fn run(self, session: &Session) -> Result<()> {
        let (instance, netlink) = session.open_with_netlink().await?;
        match self {
            Self::Add { station: Station { vni, mac }, place, exist_ok } => {
                let at = match place {
                    PlaceArgs { remote: Some(remote), .. } => At::Remote(remote),
                    PlaceArgs { port, .. } => At::Port(port.unwrap_or_default()),
                };
                exist_ok.apply(fdb::add(&instance, &netlink, vni, mac, &at).await)
            }
            Self::Del { station: Station { vni, mac }, missing_ok } => {
                missing_ok.apply(fdb::del(&instance, vni, mac))
            }
            Self::Flush { vni } => fdb::flush(&instance, vni).map(drop),
            Self::Show { vni } => {
                let rows = rows(&instance, &netlink.links().await?, vni)?;
                session.output.print(&rows, |rows| table(rows))
            }
        }
    }
}

fn rows(instance: &Instance, links: &[Link], vni: Option<Vni>) -> Result<Vec<Row>> {
    let now = fdb::now()?;
    let vteps = Vteps::open(instance)?.all()?;
    let row = |(key, entry): (FdbKey, FdbEntry)| {
        let vni = key.vni()?;
        let (port, remote) = match entry.place(vni)? {
            Place::Port { device, .. } => {
                let link = links.iter().find(|link| link.index == device);
                (Some(link.map_or_else(|| device.to_string(), |link| link.name.clone())), None)
            }
            Place::Vtep(id) => {
                let vtep = vteps.iter().find(|(other, _)| *other == id);
                (None, Some(vtep.map_or_else(|| id.to_string(), |(_, vtep)| vtep.remote().to_string())))
            }
        };
        Some(Row {
            vni: vni.get(),
            mac: key.mac().to_string(),
            port,
            remote,
            origin: match entry.origin() {
                Origin::Learned => "learned",
                Origin::Static => "static",
                Origin::Control => "control",
            },
            age_s: now.saturating_sub(entry.last_seen()) / 1_000_000_000,
        })
    };
    Ok(fdb::show(instance, vni)?.into_iter().filter_map(row).collect())
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(["VNI", "MAC", "PORT", "REMOTE", "ORIGIN", "AGE"]);
    for row in rows {
        table.row([
            row.vni.to_string(),
            row.mac.clone(),
            or_dash(row.port.as_ref()),
            or_dash(row.remote.as_ref()),
            row.origin.to_owned(),
            format!("{}s", row.age_s),
        ]);
    }
    table
}

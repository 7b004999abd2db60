//! `overlay fdb`.

use std::net::IpAddr;

use clap::{Args, Subcommand, ValueEnum};
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
    fdb::{self, At, Filter, Known},
    instance::Instance,
    maps::{self, vteps::Vteps},
    netlink::Netlink,
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
    /// Put a station somewhere, for good, wherever it was before
    Replace {
        #[command(flatten)]
        station: Station,
        #[command(flatten)]
        place: PlaceArgs,
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
        #[command(flatten)]
        filter: FilterArgs,
        /// Only those of that origin
        #[arg(long, value_enum)]
        origin: Option<OriginArg>,
        /// Only the station with that address
        #[arg(value_parser = station)]
        mac: Option<MacAddr>,
    },
    /// Remove stations: those that all of what is named holds of
    #[command(group = clap::ArgGroup::new("which").required(true).multiple(true).args(["vni", "port", "remote", "origin"]))]
    Flush {
        #[command(flatten)]
        filter: FilterArgs,
        /// Only those of that origin [default: learned]
        #[arg(long, value_enum)]
        origin: Option<OriginArg>,
    },
}

#[derive(Clone, Debug, Args)]
pub(super) struct FilterArgs {
    /// Only those of the segment of that number
    #[arg(long)]
    vni: Option<Vni>,
    /// Only those behind the port of that device
    #[arg(long, value_name = "DEV")]
    port: Option<String>,
    /// Only those behind the remote VTEP of that address
    #[arg(long, value_name = "ADDR")]
    remote: Option<IpAddr>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum OriginArg {
    /// From frames
    Learned,
    /// By commands
    Static,
    /// By a control plane
    Control,
}

impl From<OriginArg> for Origin {
    fn from(origin: OriginArg) -> Self {
        match origin {
            OriginArg::Learned => Self::Learned,
            OriginArg::Static => Self::Static,
            OriginArg::Control => Self::Control,
        }
    }
}

impl FilterArgs {
    fn with(self, mac: Option<MacAddr>, origin: Option<OriginArg>) -> Filter {
        let Self { vni, port, remote } = self;
        Filter { vni, mac, port, remote, origin: origin.map(Origin::from) }
    }
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

impl From<PlaceArgs> for At {
    fn from(place: PlaceArgs) -> Self {
        match place {
            PlaceArgs { remote: Some(remote), .. } => Self::Remote(remote),
            PlaceArgs { port, .. } => Self::Port(port.unwrap_or_default()),
        }
    }
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
    moves: u32,
    flapping: bool,
    frozen: bool,
    /// Seconds that it still stays where it is.
    frozen_s: u32,
}

#[derive(Serialize)]
struct Removed {
    removed: u32,
}

impl Fdb {
    pub(super) async fn run(self, session: &Session) -> Result<()> {
        let (instance, netlink) = session.open_with_netlink().await?;
        match self {
            Self::Add { station: Station { vni, mac }, place, exist_ok } => {
                exist_ok.apply(fdb::add(&instance, &netlink, vni, mac, &place.into(), Known::Stays).await)
            }
            Self::Replace { station: Station { vni, mac }, place } => {
                fdb::add(&instance, &netlink, vni, mac, &place.into(), Known::Moves).await
            }
            Self::Del { station: Station { vni, mac }, missing_ok } => {
                missing_ok.apply(fdb::del(&instance, vni, mac))
            }
            Self::Flush { filter, origin } => {
                let removed = fdb::flush(&instance, &filter.with(None, origin))?;
                session.output.print_json(&Removed { removed })
            }
            Self::Show { filter, origin, mac } => {
                let rows = rows(&instance, &netlink, &filter.with(mac, origin)).await?;
                session.output.print(&rows, |rows| table(rows))
            }
        }
    }
}

async fn rows(instance: &Instance, netlink: &Netlink, filter: &Filter) -> Result<Vec<Row>> {
    let now = fdb::now()?;
    let links = netlink.links().await?;
    let vteps = Vteps::open(instance)?.all()?;
    let segments = maps::segments(instance)?.entries()?;
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
        let rule = segments.get(&vni.get()).copied().unwrap_or_default().flap_rule();
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
            moves: entry.moves(),
            flapping: entry.is_flapping(rule, now),
            frozen: entry.is_frozen(rule, now),
            frozen_s: entry.frozen_for(rule, now),
        })
    };
    Ok(fdb::show(instance, filter)?.into_iter().filter_map(row).collect())
}

impl Row {
    fn state(&self) -> String {
        match self {
            Self { frozen: true, frozen_s, .. } => format!("frozen {frozen_s}s"),
            Self { flapping: true, .. } => "flapping".to_owned(),
            Self { .. } => "-".to_owned(),
        }
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(["VNI", "MAC", "PORT", "REMOTE", "ORIGIN", "AGE", "MOVES", "STATE"]);
    for row in rows {
        table.row([
            row.vni.to_string(),
            row.mac.clone(),
            or_dash(row.port.as_ref()),
            or_dash(row.remote.as_ref()),
            row.origin.to_owned(),
            format!("{}s", row.age_s),
            row.moves.to_string(),
            row.state(),
        ]);
    }
    table
}

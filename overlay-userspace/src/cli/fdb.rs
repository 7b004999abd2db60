//! `overlay fdb`.

use std::{
    collections::HashMap,
    net::IpAddr,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand, ValueEnum};
use overlay_common::{
    MacAddr, Vni,
    maps::fdb::{FdbEntry, FdbKey, Origin, Place},
};
use serde::Serialize;

use super::{
    Session, input,
    output::{Table, or_dash, period},
    parse::{ExistOk, MissingOk, station},
};
use crate::{
    error::{Error, Result},
    fdb::{self, Action, At, Filter, Known, Stations},
    instance::Instance,
    maps::{self, vteps::Vteps},
    netlink::Netlink,
};

#[derive(Debug, Subcommand)]
pub(super) enum Fdb {
    /// Put a station somewhere, for good; or all of a file
    Add {
        #[command(flatten)]
        placed: Placed,
        #[command(flatten)]
        exist_ok: ExistOk,
    },
    /// Put a station somewhere, for good, wherever it was before; or all of a file
    Replace {
        #[command(flatten)]
        placed: Placed,
    },
    /// Remove a station, or all of a file
    Del {
        #[command(flatten)]
        station: Station,
        /// Remove the stations of a file, all or none: a line is [VNI] MAC, and what else stands there for `add`; - is stdin
        #[arg(long, value_name = "FILE")]
        from: Option<PathBuf>,
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
    #[arg(long, required_unless_present = "from")]
    vni: Option<Vni>,
    /// Address of the station
    #[arg(value_parser = station, required_unless_present = "from", conflicts_with = "from")]
    mac: Option<MacAddr>,
}

/// Stations, and where they are.
#[derive(Clone, Debug, Args)]
#[command(group = clap::ArgGroup::new("where").required(true).args(["remote", "port", "from"]))]
pub(super) struct Placed {
    #[command(flatten)]
    station: Station,
    /// Address of the remote VTEP that it is behind
    #[arg(long, value_name = "ADDR")]
    remote: Option<IpAddr>,
    /// Device of the port that it is behind
    #[arg(long, value_name = "DEV")]
    port: Option<String>,
    /// Put the stations of a file, all or none: a line is [VNI] MAC and ADDR or DEV, without VNI if --vni is given; - is stdin
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
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

impl Station {
    /// The station, where one is named.
    fn named(self) -> Result<(Vni, MacAddr)> {
        let missing = || Error::Usage("name a segment and a station".to_owned());
        Ok((self.vni.ok_or_else(missing)?, self.mac.ok_or_else(missing)?))
    }
}

impl Placed {
    async fn put(self, instance: &Instance, netlink: &Netlink, known: Known) -> Result<()> {
        let (vni, mac) = self.station.named()?;
        let at = PlaceArgs { remote: self.remote, port: self.port }.into();
        fdb::add(instance, netlink, vni, mac, &at, known).await
    }
}

#[derive(Serialize)]
struct Removed {
    removed: u32,
}

impl Fdb {
    /// The file of stations that it is about, if it is about one, and what is to become of them.
    fn file(&self) -> Option<(Option<Vni>, &Path, Action)> {
        let (station, file, action) = match self {
            Self::Add { placed, exist_ok } => {
                let known = if exist_ok.is_asked() { Known::StaysIfSame } else { Known::Stays };
                (placed.station, &placed.from, Action::Put(known))
            }
            Self::Replace { placed } => (placed.station, &placed.from, Action::Put(Known::Moves)),
            Self::Del { station, from, missing_ok } => {
                (*station, from, Action::Forget { missing_ok: missing_ok.is_asked() })
            }
            Self::Show { .. } | Self::Flush { .. } => return None,
        };
        Some((station.vni, file.as_deref()?, action))
    }

    pub(super) async fn run(self, session: &Session) -> Result<()> {
        if let Some((vni, file, action)) = self.file() {
            // Before the instance is locked: it may take whoever writes it a while.
            let (name, text) = input::read(file)?;
            let stations = Stations::parse(&name, &text, vni, action)?;
            let (instance, netlink) = session.open_with_netlink().await?;
            return stations.apply(&instance, &netlink, action).await.map(drop);
        }
        let (instance, netlink) = session.open_with_netlink().await?;
        match self {
            Self::Add { placed, exist_ok } => {
                let known = if exist_ok.is_asked() { Known::StaysIfSame } else { Known::Stays };
                placed.put(&instance, &netlink, known).await
            }
            Self::Replace { placed } => placed.put(&instance, &netlink, Known::Moves).await,
            Self::Del { station, missing_ok, .. } => {
                let (vni, mac) = station.named()?;
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
    let links: HashMap<_, _> =
        netlink.links().await?.into_iter().map(|link| (link.index.get(), link.name)).collect();
    let vteps: HashMap<_, _> = Vteps::open(instance)?.all()?.into_iter().collect();
    let segments = maps::segments(instance)?.entries()?;
    let row = |(key, entry): (FdbKey, FdbEntry)| {
        let vni = key.vni()?;
        let (port, remote) = match entry.place(vni)? {
            Place::Port { device, .. } => {
                (Some(links.get(&device.get()).cloned().unwrap_or_else(|| device.to_string())), None)
            }
            Place::Vtep(id) => {
                let remote = vteps.get(&id).map(|vtep| vtep.remote().to_string());
                (None, Some(remote.unwrap_or_else(|| id.to_string())))
            }
        };
        let rule = segments.get(&vni.get()).copied().unwrap_or_default().flap_rule();
        Some(Row {
            vni: vni.get(),
            mac: key.mac().to_string(),
            port,
            remote,
            origin: entry.origin().name(),
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
            Self { frozen: true, frozen_s, .. } => format!("frozen {}", period(u64::from(*frozen_s))),
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
            period(row.age_s),
            row.moves.to_string(),
            row.state(),
        ]);
    }
    table
}

//! `overlay neigh`.

use clap::{Args, Subcommand};
use overlay_common::{
    MacAddr, OverlayAddr, Vid, Vni,
    maps::neighbour::{Neighbour, NeighbourKey},
};
use serde::Serialize;

use super::{
    Session,
    output::{Table, period},
    parse::{ExistOk, MissingOk, overlay_address, station},
};
use crate::{
    error::Result,
    fdb,
    instance::Instance,
    neigh::{self, Station},
    segment,
};

#[derive(Debug, Subcommand)]
pub(super) enum Neigh {
    /// Say which station has an address, for good
    Add {
        #[command(flatten)]
        address: Address,
        #[command(flatten)]
        station: StationArgs,
        #[command(flatten)]
        exist_ok: ExistOk,
    },
    /// Say it, whichever station had the address
    Replace {
        #[command(flatten)]
        address: Address,
        #[command(flatten)]
        station: StationArgs,
    },
    /// Remove an address
    Del {
        #[command(flatten)]
        address: Address,
        #[command(flatten)]
        missing_ok: MissingOk,
    },
    /// List neighbours
    Show {
        /// Number of the one segment to show
        #[arg(long)]
        vni: Option<Vni>,
    },
    /// Remove all learned neighbours of a segment
    Flush {
        /// Number of the segment
        #[arg(long)]
        vni: Vni,
    },
}

#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Address {
    /// Number of the segment
    #[arg(long)]
    vni: Vni,
    /// Address in the overlay
    #[arg(value_parser = overlay_address)]
    ip: OverlayAddr,
}

#[derive(Clone, Copy, Debug, Args)]
pub(super) struct StationArgs {
    /// MAC address of the station that has it
    #[arg(value_parser = station)]
    mac: MacAddr,
    /// The station is a router (IPv6)
    #[arg(long)]
    router: bool,
}

impl From<StationArgs> for Station {
    fn from(StationArgs { mac, router }: StationArgs) -> Self {
        Self { mac, router }
    }
}

#[derive(Serialize)]
struct Row {
    vni: u32,
    ip: String,
    mac: String,
    origin: &'static str,
    router: bool,
    age_s: u64,
    /// The VLANs that it was heard in, the outer one first.
    vlans: Vec<u16>,
}

#[derive(Serialize)]
struct Removed {
    removed: usize,
}

impl Neigh {
    pub(super) async fn run(self, session: &Session) -> Result<()> {
        let (instance, _) = session.open_with_netlink().await?;
        neigh::sweep(&instance)?;
        match self {
            Self::Add { address: Address { vni, ip }, station, exist_ok } => {
                exist_ok.apply(neigh::add(&instance, vni, ip, station.into()))
            }
            Self::Replace { address: Address { vni, ip }, station } => {
                neigh::replace(&instance, vni, ip, station.into())
            }
            Self::Del { address: Address { vni, ip }, missing_ok } => {
                missing_ok.apply(neigh::del(&instance, vni, ip))
            }
            Self::Flush { vni } => {
                session.output.print_json(&Removed { removed: neigh::flush(&instance, vni)? })
            }
            Self::Show { vni } => {
                if vni.is_some() {
                    segment::show(&instance, vni)?;
                }
                session.output.print(&rows(&instance, vni)?, |rows| table(rows))
            }
        }
    }
}

fn rows(instance: &Instance, vni: Option<Vni>) -> Result<Vec<Row>> {
    let now = fdb::now()?;
    let row = |(key, entry): (NeighbourKey, Neighbour)| {
        let (mac, router) = entry.station(key)?;
        Some(Row {
            vni: key.vni()?.get(),
            ip: key.address().to_string(),
            mac: mac.to_string(),
            origin: entry.origin().name(),
            router,
            age_s: now.saturating_sub(entry.last_seen()) / 1_000_000_000,
            vlans: entry.vlans().vids().into_iter().flatten().map(Vid::get).collect(),
        })
    };
    Ok(neigh::show(instance, vni)?.into_iter().filter_map(row).collect())
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(["VNI", "IP", "MAC", "ORIGIN", "ROUTER", "VLAN", "AGE"]);
    for row in rows {
        table.row([
            row.vni.to_string(),
            row.ip.clone(),
            row.mac.clone(),
            row.origin.to_owned(),
            if row.router { "yes" } else { "-" }.to_owned(),
            vlans(&row.vlans),
            period(row.age_s),
        ]);
    }
    table
}

fn vlans(vids: &[u16]) -> String {
    let vids: Vec<_> = vids.iter().map(u16::to_string).collect();
    if vids.is_empty() { "-".to_owned() } else { vids.join("/") }
}

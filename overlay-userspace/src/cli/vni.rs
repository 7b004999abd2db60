//! `overlay vni`.

use clap::{Args, Subcommand};
use overlay_common::{Vni as Number, maps::segment::ClampMss};
use serde::Serialize;

use super::{
    Session,
    output::Table,
    parse::{ExistOk, MissingOk, Mtu, Switch, clamp_mss, mtu},
};
use crate::{
    error::{Error, Result},
    mtu, port,
    segment::{self, Change},
};

#[derive(Debug, Subcommand)]
pub(super) enum Vni {
    /// Make a segment
    Add {
        /// Number of the segment
        vni: Number,
        #[command(flatten)]
        settings: Settings,
        #[command(flatten)]
        exist_ok: ExistOk,
    },
    /// Change the settings of a segment
    Set {
        /// Number of the segment
        vni: Number,
        #[command(flatten)]
        settings: Settings,
    },
    /// Remove a segment that nothing is in
    Del {
        /// Number of the segment
        vni: Number,
        #[command(flatten)]
        missing_ok: MissingOk,
    },
    /// List segments
    Show {
        /// Number of the one segment to show
        vni: Option<Number>,
    },
}

#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Settings {
    /// Learn where stations are out of their frames [default: on]
    #[arg(long, value_enum)]
    learning: Option<Switch>,
    /// Flood frames to stations that are not known [default: on]
    #[arg(long, value_enum)]
    flood: Option<Switch>,
    /// Forget a learned station that sends nothing for so long; 0: never [default: 300]
    #[arg(long, value_name = "SECONDS")]
    ageing: Option<u32>,
    /// Largest IP packet of a workload that goes into tunnels; auto: what their paths carry [default: auto]
    #[arg(long, value_name = "BYTES|auto", value_parser = mtu)]
    mtu: Option<Mtu>,
    /// Lower the MSS of TCP handshakes to what fits the path, or to a number [default: off]
    #[arg(long, value_name = "on|off|BYTES", value_parser = clamp_mss)]
    clamp_mss: Option<ClampMss>,
}

impl Settings {
    /// Whether none is named.
    const fn is_empty(&self) -> bool {
        let Self { learning, flood, ageing, mtu, clamp_mss } = self;
        learning.is_none() && flood.is_none() && ageing.is_none() && mtu.is_none() && clamp_mss.is_none()
    }
}

impl From<Settings> for Change {
    fn from(settings: Settings) -> Self {
        Self {
            learning: settings.learning.map(bool::from),
            flood: settings.flood.map(bool::from),
            ageing: settings.ageing,
            mtu: settings.mtu.map(|Mtu(mtu)| mtu),
            clamp_mss: settings.clamp_mss,
        }
    }
}

#[derive(Serialize)]
struct Row {
    vni: u32,
    learning: bool,
    flood: bool,
    ageing_s: u32,
    mtu: Option<u16>,
    clamp_mss: String,
    ports: Vec<String>,
    remotes: Vec<String>,
}

impl Vni {
    pub(super) async fn run(self, session: &Session) -> Result<()> {
        let (instance, netlink) = session.open_with_netlink().await?;
        match self {
            Self::Add { vni, settings, exist_ok } => {
                let change = settings.into();
                mtu::check(&instance, &netlink, vni, &change).await?;
                exist_ok.apply(segment::add(&instance, &netlink, vni, change).await)
            }
            Self::Set { settings, .. } if settings.is_empty() => {
                Err(Error::Usage("nothing to set; `overlay vni set --help` lists the settings".to_owned()))
            }
            Self::Set { vni, settings } => {
                let change = settings.into();
                mtu::check(&instance, &netlink, vni, &change).await?;
                segment::set(&instance, vni, change)
            }
            Self::Del { vni, missing_ok } => missing_ok.apply(segment::del(&instance, vni)),
            Self::Show { vni } => {
                let names = port::show(&instance, &netlink).await?;
                let rows: Vec<Row> =
                    segment::show(&instance, vni)?.into_iter().map(|view| row(view, &names)).collect();
                session.output.print(&rows, |rows| table(rows))
            }
        }
    }
}

fn row(view: segment::View, names: &[port::View]) -> Row {
    let name_of = |device| {
        let known = names.iter().find(|port| port.device == device).and_then(|port| port.name.clone());
        known.unwrap_or_else(|| device.to_string())
    };
    Row {
        vni: view.vni.get(),
        learning: view.settings.learning(),
        flood: view.settings.flood(),
        ageing_s: view.settings.ageing(),
        mtu: view.settings.mtu(),
        clamp_mss: match view.settings.clamp_mss() {
            ClampMss::Off => "off".to_owned(),
            ClampMss::ToPath => "on".to_owned(),
            ClampMss::To(mss) => mss.to_string(),
        },
        ports: view.ports.into_iter().map(name_of).collect(),
        remotes: view.remotes.iter().map(ToString::to_string).collect(),
    }
}

fn table(rows: &[Row]) -> Table {
    let on_off = |on: bool| if on { "on" } else { "off" }.to_owned();
    let list = |items: &[String]| if items.is_empty() { "-".to_owned() } else { items.join(",") };
    let mut table =
        Table::new(["VNI", "LEARNING", "FLOOD", "AGEING", "MTU", "CLAMP MSS", "PORTS", "REMOTES"]);
    for row in rows {
        table.row([
            row.vni.to_string(),
            on_off(row.learning),
            on_off(row.flood),
            if row.ageing_s == 0 { "never".to_owned() } else { format!("{}s", row.ageing_s) },
            row.mtu.map_or_else(|| "auto".to_owned(), |mtu| mtu.to_string()),
            row.clamp_mss.clone(),
            list(&row.ports),
            list(&row.remotes),
        ]);
    }
    table
}

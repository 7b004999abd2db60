//! `overlay vni`.

use clap::{Args, Subcommand, ValueEnum};
use overlay_common::{
    Vni as Number,
    maps::{path_mtu::IPV6_MIN, segment::ClampMss},
};
use serde::Serialize;

use super::{
    Session,
    headers::{Headers, Shown},
    output::{Table, out_of},
    parse::{ExistOk, MissingOk, Mtu, Switch, Unknown, clamp_mss, mtu},
};
use crate::{
    error::{Error, Result},
    mtu, port, say,
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

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Args)]
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
    /// Learn no more stations at a time; 0: any number [default: 0]
    #[arg(long, value_name = "N")]
    learn_limit: Option<u32>,
    /// Moves within the window by which a station flaps; 0: none do [default: 5]
    #[arg(long, value_name = "N")]
    flap_moves: Option<u16>,
    /// That window [default: 180]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=LONGEST))]
    flap_window: Option<u32>,
    /// Leave a station where it is for so long instead of letting it flap; 0: let it move on [default: 0]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(0..=LONGEST))]
    flap_freeze: Option<u32>,
    /// What to do with frames that have VLAN tags: drop them, or keep the tags inside the tunnel [default: drop]
    #[arg(long, value_enum)]
    vlan: Option<Tagged>,
    #[command(flatten)]
    headers: Headers,
    /// Answer ARP and ND for stations whose addresses are known [default: off]
    #[arg(long, value_enum)]
    suppress: Option<Switch>,
    /// What to do with ARP and ND requests for addresses that are not known [default: flood]
    #[arg(long, value_enum)]
    suppress_unknown: Option<Unknown>,
    /// Learn addresses from DHCP servers too, whoever says to be one [default: off]
    #[arg(long, value_enum)]
    snoop_dhcp: Option<Switch>,
    /// Learn who listens to which multicast group, and send what is to the group to nobody else [default: off]
    #[arg(long, value_enum)]
    mcast_snooping: Option<Switch>,
    /// Send a frame out of a tunnel on to the VTEP that its destination is known behind [default: off]
    #[arg(long, value_enum)]
    transit: Option<Switch>,
}

/// What becomes of frames that have VLAN tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Tagged {
    /// They are dropped
    Drop,
    /// They keep their tags, two at most
    Keep,
}

/// A year, in seconds.
const LONGEST: i64 = 365 * 24 * 60 * 60;

impl From<Settings> for Change {
    fn from(settings: Settings) -> Self {
        Self {
            learning: settings.learning.map(bool::from),
            flood: settings.flood.map(bool::from),
            ageing: settings.ageing,
            keeps_vlan: settings.vlan.map(|tagged| tagged == Tagged::Keep),
            headers: settings.headers.into(),
            mtu: settings.mtu.map(|Mtu(mtu)| mtu),
            clamp_mss: settings.clamp_mss,
            learn_limit: settings.learn_limit,
            flap_moves: settings.flap_moves,
            flap_window: settings.flap_window,
            flap_freeze: settings.flap_freeze,
            suppress: settings.suppress.map(bool::from),
            drop_unknown_neighbour: settings.suppress_unknown.map(|what| what == Unknown::Drop),
            snoop_dhcp: settings.snoop_dhcp.map(bool::from),
            mcast_snooping: settings.mcast_snooping.map(bool::from),
            transit: settings.transit.map(bool::from),
        }
    }
}

impl Settings {
    /// Says what is easily misunderstood.
    fn explain(self, vni: Number) {
        if self.ageing == Some(0) {
            say::aside(format_args!("--ageing 0: stations that VNI {vni} learns never age"));
        }
        if let Some(Mtu(Some(mtu))) = self.mtu.filter(|Mtu(mtu)| mtu.is_some_and(|mtu| mtu < IPV6_MIN)) {
            say::aside(format_args!(
                "--mtu {mtu}: IPv6 needs {IPV6_MIN} or more; packets of it that are larger are dropped, and not answered"
            ));
        }
    }
}

/// What becomes of ARP and ND.
#[derive(Serialize)]
struct Suppression {
    suppress: bool,
    suppress_unknown: &'static str,
    snoop_dhcp: bool,
}

/// Who gets what besides known stations behind ports.
#[derive(Serialize)]
struct Receivers {
    mcast_snooping: bool,
    transit: bool,
}

#[derive(Serialize)]
struct Row {
    vni: u32,
    learning: bool,
    flood: bool,
    ageing_s: u32,
    mtu: Option<u16>,
    clamp_mss: String,
    learned: u64,
    learn_limit: u32,
    flap_moves: u16,
    flap_window_s: u32,
    flap_freeze_s: u32,
    #[serde(flatten)]
    suppression: Suppression,
    ports: Vec<String>,
    remotes: Vec<String>,
    vlan: &'static str,
    #[serde(flatten)]
    headers: Shown,
    #[serde(flatten)]
    receivers: Receivers,
}

impl Vni {
    pub(super) async fn run(self, session: &Session) -> Result<()> {
        let (instance, netlink) = session.open_with_netlink().await?;
        match self {
            Self::Add { vni, settings, exist_ok } => {
                let change = settings.into();
                mtu::check(&instance, &netlink, vni, &change).await?;
                exist_ok.apply(segment::add(&instance, &netlink, vni, change).await)?;
                settings.explain(vni);
                Ok(())
            }
            Self::Set { settings, .. } if settings == Settings::default() => {
                Err(Error::Usage("nothing to set; `overlay vni set --help` lists the settings".to_owned()))
            }
            Self::Set { vni, settings } => {
                let change = settings.into();
                mtu::check(&instance, &netlink, vni, &change).await?;
                segment::set(&instance, vni, change)?;
                settings.explain(vni);
                Ok(())
            }
            Self::Del { vni, missing_ok } => missing_ok.apply(segment::del(&instance, vni)),
            Self::Show { vni } => {
                let names = port::show(&instance)?;
                let rows: Vec<Row> =
                    segment::show(&instance, vni)?.into_iter().map(|view| row(view, &names)).collect();
                session.output.print(&rows, |rows| table(rows))
            }
        }
    }
}

fn row(view: segment::View, names: &[port::View]) -> Row {
    let name_of = |device| {
        let known = names.iter().find(|port| port.device == Some(device));
        known.map_or_else(|| device.to_string(), |port| port.name.clone())
    };
    let rule = view.settings.flap_rule();
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
        learned: view.learned,
        learn_limit: view.settings.learn_limit(),
        flap_moves: rule.moves,
        flap_window_s: rule.window,
        flap_freeze_s: rule.freeze,
        suppression: Suppression {
            suppress: view.settings.suppress(),
            suppress_unknown: if view.settings.drops_unknown_neighbour() { "drop" } else { "flood" },
            snoop_dhcp: view.settings.snoop_dhcp(),
        },
        ports: view.ports.into_iter().map(name_of).collect(),
        remotes: view.remotes.iter().map(ToString::to_string).collect(),
        vlan: if view.settings.keeps_vlan() { "keep" } else { "drop" },
        headers: view.settings.policy().into(),
        receivers: Receivers {
            mcast_snooping: view.settings.mcast_snooping(),
            transit: view.settings.transit(),
        },
    }
}

fn table(rows: &[Row]) -> Table {
    let on_off = |on: bool| if on { "on" } else { "off" }.to_owned();
    let list = |items: &[String]| if items.is_empty() { "-".to_owned() } else { items.join(",") };
    let mut table = Table::new([
        "VNI",
        "LEARNING",
        "FLOOD",
        "AGEING",
        "MTU",
        "CLAMP MSS",
        "LEARNED",
        "VLAN",
        "SUPPRESS",
        "TRANSIT",
        "PORTS",
        "REMOTES",
        "HEADERS",
    ]);
    for row in rows {
        table.row([
            row.vni.to_string(),
            on_off(row.learning),
            on_off(row.flood),
            if row.ageing_s == 0 { "never".to_owned() } else { format!("{}s", row.ageing_s) },
            row.mtu.map_or_else(|| "auto".to_owned(), |mtu| mtu.to_string()),
            row.clamp_mss.clone(),
            out_of(row.learned, row.learn_limit),
            row.vlan.to_owned(),
            on_off(row.suppression.suppress),
            on_off(row.receivers.transit),
            list(&row.ports),
            list(&row.remotes),
            row.headers.particulars(),
        ]);
    }
    table
}

//! `overlay up`, `down` and `run`.

use std::net::IpAddr;

use clap::{Args, ValueEnum};
use overlay_common::{
    header::udp::VXLAN_PORT,
    maps::{
        config::{Merging, TcHook},
        device::XdpChoice,
        fdb::DEFAULT_ENTRIES,
        vtep::{DEFAULT_NAMED, MOST_NAMED},
    },
};
use tokio::signal::unix::{SignalKind, signal};

use super::{
    Session,
    parse::{ExistOk, MissingOk},
};
use crate::{
    agent,
    datapath::Room,
    down,
    error::{Context as _, Error, Result},
    instance::Instance,
    logs, say,
    up::{self, Settings},
};

#[derive(Debug, Args)]
pub(super) struct Up {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    exist_ok: ExistOk,
}

#[derive(Debug, Args)]
pub(super) struct Down {
    #[command(flatten)]
    missing_ok: MissingOk,
}

#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Take the data path down at the end, if it was not up before; otherwise it goes on forwarding
    #[arg(long)]
    ephemeral: bool,
}

#[derive(Debug, Args)]
pub(super) struct SettingsArgs {
    /// Devices that face the underlay
    #[arg(long = "uplink", value_name = "DEV", required = true, num_args = 1..)]
    uplinks: Vec<String>,
    /// Addresses of the local VTEP, IPv4 or IPv6 [default: the first of each family on each uplink]
    #[arg(long = "local", value_name = "ADDR", num_args = 1..)]
    locals: Vec<IpAddr>,
    /// UDP port of the VTEP
    #[arg(long, default_value_t = VXLAN_PORT, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// How XDP serves the uplinks, besides TC
    #[arg(long, value_enum, default_value_t = Xdp::Auto)]
    xdp: Xdp,
    /// Whether the kernel merges tunnel packets as they come in, by idle vxlan devices of ours on the VTEP's port
    #[arg(long, value_enum, default_value_t = TunnelGro::Auto)]
    tunnel_gro: TunnelGro,
    /// How TC programs are attached
    #[arg(long, value_enum, default_value_t = Tc::Auto)]
    tc: Tc,
    /// Stations that the FDB holds
    #[arg(long, value_name = "N", default_value_t = DEFAULT_ENTRIES, value_parser = clap::value_parser!(u32).range(1..=1 << 24))]
    fdb_size: u32,
    /// Remote VTEPs that there can be, besides those that come by multicast groups of the underlay
    #[arg(long, value_name = "N", default_value_t = DEFAULT_NAMED, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_NAMED)))]
    max_vteps: u32,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Xdp {
    /// Whatever measures faster on the device
    Auto,
    /// The driver's hook
    Native,
    /// The generic hook
    Generic,
    /// TC alone
    Off,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum TunnelGro {
    /// Where an uplink has GRO on, and XDP does not take the outer headers off before
    Auto,
    /// In any case
    On,
    /// Not because of us
    Off,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Tc {
    /// TCX where the kernel has it
    Auto,
    /// TCX links
    Tcx,
    /// Filters of a clsact qdisc
    Clsact,
}

impl From<SettingsArgs> for Settings {
    fn from(args: SettingsArgs) -> Self {
        Self {
            uplinks: args.uplinks,
            locals: args.locals,
            port: args.port,
            xdp: match args.xdp {
                Xdp::Auto => XdpChoice::Auto,
                Xdp::Native => XdpChoice::Native,
                Xdp::Generic => XdpChoice::Generic,
                Xdp::Off => XdpChoice::Off,
            },
            merging: match args.tunnel_gro {
                TunnelGro::Auto => Merging::Auto,
                TunnelGro::On => Merging::Always,
                TunnelGro::Off => Merging::Never,
            },
            tc: match args.tc {
                Tc::Auto => None,
                Tc::Tcx => Some(TcHook::Tcx),
                Tc::Clsact => Some(TcHook::Clsact),
            },
            room: Room { stations: args.fdb_size, vteps: args.max_vteps },
        }
    }
}

impl Up {
    pub(super) async fn run(self, session: &Session) -> Result<()> {
        let settings = self.settings.into();
        let up = up::up(&session.name()?, &settings).await;
        if let (Err(Error::Exists(_)), true) = (&up, self.exist_ok.is_asked()) {
            let (instance, netlink) = session.open_with_netlink().await?;
            up::check_same(&instance, &netlink, &settings).await?;
            return up::check_served(&instance, &settings);
        }
        up
    }
}

impl Down {
    pub(super) async fn run(self, session: &Session) -> Result<()> {
        self.missing_ok.apply(down::down(&session.name()?).await)
    }
}

impl Run {
    /// Brings the instance up, or adopts the one that is, and waits for a signal.
    pub(super) async fn run(self, session: &Session) -> Result<()> {
        let name = session.name()?;
        let mut terminate = signal(SignalKind::terminate()).context(|| "cannot wait for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context(|| "cannot wait for SIGINT")?;
        let settings = self.settings.into();
        let is_ours = start(&name, &settings).await?;
        let (instance, netlink) = session.open_with_netlink().await?;
        up::check_same(&instance, &netlink, &settings).await?;
        let _logs = logs::follow(&instance, session.verbose);
        drop(instance);
        say::line(format_args!("instance {name} {}", if is_ours { "is up" } else { "was up, and goes on" }));
        tokio::select! {
            ended = agent::run(&name) => {
                ended?;
                say::line(format_args!("instance {name} was taken down, and needs no agent"));
                return Ok(());
            }
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if self.ephemeral && is_ours {
            down::down(&name).await?;
            say::line(format_args!("instance {name} is down"));
        } else {
            say::line(format_args!("instance {name} goes on forwarding; `overlay down` takes it down"));
        }
        Ok(())
    }
}

/// Brings an instance up; `false` if it is already. Then even its uplinks may be gone.
async fn start(name: &str, settings: &Settings) -> Result<bool> {
    if Instance::glance(name).is_some() {
        return Ok(false);
    }
    match up::up(name, settings).await {
        Ok(()) => Ok(true),
        Err(Error::Exists(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

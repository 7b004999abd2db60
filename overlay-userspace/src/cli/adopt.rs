//! `overlay adopt`.

use clap::Args;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use super::{Session, output::Table};
use crate::{
    adopt::{self, View},
    agent::{self, presence},
    error::{Context as _, Error, Result},
    instance::Instance,
    netlink::Netlink,
    say,
};

#[derive(Debug, Args)]
pub(super) struct Adopt {
    /// The `vxlan` device, a member of a bridge or one that the host routes into; without it, what is adopted is shown
    device: Option<String>,
    /// Follow what the kernel knows in the foreground, where no agent runs; at the end, the device is released
    #[arg(long, requires = "device", conflicts_with = "release")]
    follow: bool,
    /// Leave the device to the kernel again
    #[arg(long, requires = "device")]
    release: bool,
}

/// A device that is adopted.
#[derive(Serialize)]
pub(super) struct Row {
    pub(super) dev: String,
    pub(super) vni: u32,
    bridge: String,
    ports: Vec<String>,
    vteps: usize,
    stations: usize,
    /// Whether an agent follows what the kernel knows; otherwise the kernel has all frames.
    pub(super) followed: bool,
}

impl Adopt {
    pub(super) async fn run(self, session: &Session) -> Result<()> {
        let Some(device) = &self.device else { return show(session).await };
        if self.release {
            let (instance, netlink) = session.open_with_netlink().await?;
            return adopt::release(&instance, &netlink, device).await;
        }
        let name = session.name()?;
        let running = presence::look(&name)?;
        match (running, self.follow) {
            (None, false) => Err(Error::Failed(format!(
                "no agent runs that would follow what the kernel knows of {device}; start `overlay run`, or give --follow"
            ))),
            (Some(_), true) => Err(Error::Failed(format!(
                "an agent runs, which follows what the kernel knows of {device}; leave out --follow"
            ))),
            (Some(_), false) => self.adopt(session, device).await,
            (None, true) => {
                // Whoever ends this process from here on ends it well.
                let mut terminate = signal(SignalKind::terminate()).context(|| "cannot wait for SIGTERM")?;
                let mut interrupt = signal(SignalKind::interrupt()).context(|| "cannot wait for SIGINT")?;
                self.adopt(session, device).await?;
                say::line(format_args!("{device} is adopted, and followed until this process ends"));
                tokio::select! {
                    over = agent::follow_adopted(&name) => return over,
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                let (instance, netlink) = session.open_with_netlink().await?;
                match adopt::release(&instance, &netlink, device).await {
                    Err(Error::Missing(_)) => Ok(()),
                    done => done,
                }
            }
        }
    }

    async fn adopt(&self, session: &Session, device: &str) -> Result<()> {
        let (instance, netlink) = session.open_with_netlink().await?;
        for note in adopt::adopt(&instance, &netlink, device).await? {
            say::aside(note);
        }
        Ok(())
    }
}

async fn show(session: &Session) -> Result<()> {
    let (instance, netlink) = session.open_with_netlink().await?;
    let rows = rows(&instance, &netlink).await?;
    session.output.print(&rows, |rows| {
        let mut table = Table::new(["DEV", "VNI", "BRIDGE", "PORTS", "VTEPS", "STATIONS", "FRAMES"]);
        for row in rows {
            table.row([
                row.dev.clone(),
                row.vni.to_string(),
                row.bridge.clone(),
                row.ports.join(" "),
                row.vteps.to_string(),
                row.stations.to_string(),
                if row.followed { "known ones by us" } else { "all by the kernel" }.to_owned(),
            ]);
        }
        table
    })
}

/// All that is adopted.
pub(super) async fn rows(instance: &Instance, netlink: &Netlink) -> Result<Vec<Row>> {
    let links = netlink.links().await?;
    let name = |index| {
        let link = links.iter().find(|link| Some(link.index) == index);
        link.map_or_else(|| "-".to_owned(), |link| link.name.clone())
    };
    let row = |view: View| Row {
        dev: view.name,
        vni: view.vni.get(),
        bridge: name(view.bridge),
        ports: view.ports.into_iter().map(|port| name(Some(port))).collect(),
        vteps: view.vteps,
        stations: view.stations,
        followed: view.is_followed,
    };
    Ok(adopt::show(instance)?.into_iter().map(row).collect())
}

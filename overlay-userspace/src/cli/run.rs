//! `overlay run`.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::{Session, up::SettingsArgs};
use crate::{
    agent::{self, Source, Tally, presence},
    declared::{self, Declared, How},
    down,
    error::{Context as _, Error, Result},
    instance::Instance,
    log, logs, metrics, preflight, say,
    up::{self, Settings},
};

/// Where metrics are served unless somebody says where.
pub(super) const METRICS: &str = "127.0.0.1:9477";

#[derive(Debug, Args)]
#[command(mut_arg("uplinks", |uplinks| uplinks.required(false).required_unless_present("config")))]
pub(super) struct Run {
    /// Configuration file: it is applied first, as `overlay apply` does, and again at SIGHUP
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["uplinks", "locals", "port", "xdp", "tunnel_gro", "tc", "fdb_size", "max_vteps"])]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: SettingsArgs,
    /// Serve metrics by HTTP, in Prometheus's text format, at http://ADDR:PORT/metrics
    #[arg(long, value_name = "ADDR:PORT", num_args = 0..=1, default_missing_value = METRICS, value_parser = socket)]
    metrics: Option<SocketAddr>,
    /// Take the data path down at the end, if it was not up before; otherwise it goes on forwarding
    #[arg(long)]
    ephemeral: bool,
}

/// An address and a port.
pub(super) fn socket(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("no address and port; write it as in {METRICS} or [::1]:9477"))
}

/// What the instance shall be at the start.
enum Start {
    File(Box<Declared>),
    Settings(Settings),
}

impl Run {
    /// Brings the instance up, or adopts the one that is, and waits for a signal.
    pub(super) async fn run(self, session: &Session) -> Result<()> {
        let name = session.name()?;
        preflight::capabilities()?;
        log::start(session.verbose)?;
        let start = match &self.config {
            Some(path) => Start::File(Box::new(open(path)?)),
            None => Start::Settings(self.settings.into()),
        };
        let declared = match &start {
            Start::File(declared) => declared.agent().metrics,
            Start::Settings(_) => None,
        };
        let address = self.metrics.or(declared);
        let bound = address.map(metrics::bind).transpose()?;
        let presence = presence::claim(&name)?;
        let mut terminate = signal(SignalKind::terminate()).context(|| "cannot wait for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context(|| "cannot wait for SIGINT")?;
        let hangup = signal(SignalKind::hangup()).context(|| "cannot wait for SIGHUP")?;
        let is_ours = begin(&name, &start, session).await?;
        let _logs = logs::follow(&Instance::open(&name)?)?;
        say::line(format_args!("instance {name} {}", if is_ours { "is up" } else { "was up, and goes on" }));
        let tally = Tally::new()?;
        let serving = bound.map(|bound| bound.serve(&name, &tally)).transpose()?;
        let source = Source { file: self.config, metrics: self.metrics, serving };
        tokio::select! {
            ended = agent::run(&name, presence, tally, source, hangup) => {
                ended?;
                say::line(format_args!("instance {name} was taken down, and needs no agent"));
                return Ok(());
            }
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        agent::stopping();
        if self.ephemeral && is_ours {
            down::down(&name).await?;
            say::line(format_args!("instance {name} is down"));
        } else {
            say::line(format_args!("instance {name} goes on forwarding; `overlay down` takes it down"));
        }
        Ok(())
    }
}

/// A file that can be read again.
fn open(path: &Path) -> Result<Declared> {
    if path == Path::new("-") {
        return Err(Error::Usage("-c -: standard input cannot be read again; name a file".to_owned()));
    }
    Declared::open(path)
}

/// Makes the instance what it shall be; whether it was not up before.
async fn begin(name: &str, start: &Start, session: &Session) -> Result<bool> {
    match start {
        Start::File(file) => {
            let is_ours = Instance::glance(name).is_none();
            declared::confirm::settle(name).await?;
            declared::apply(name, file, How { outlives_hangup: true, ..How::default() }).await?;
            Ok(is_ours)
        }
        Start::Settings(settings) => {
            let is_ours = bring_up(name, settings).await?;
            let (instance, netlink) = session.open_with_netlink().await?;
            up::check_same(&instance, &netlink, settings).await?;
            Ok(is_ours)
        }
    }
}

/// Brings an instance up; `false` if it is already. Then even its uplinks may be gone.
async fn bring_up(name: &str, settings: &Settings) -> Result<bool> {
    if Instance::glance(name).is_some() {
        return Ok(false);
    }
    match up::up(name, settings).await {
        Ok(()) => Ok(true),
        Err(Error::Exists(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

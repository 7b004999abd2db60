//! `overlay apply`, `export`, `confirm` and `schema`.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use serde::Serialize;

use super::Session;
use crate::{
    declared::{self, Declared, How, Line, confirm, schema},
    error::{Error, Result},
    preflight, say,
};

#[derive(Debug, Args)]
pub(super) struct Apply {
    /// Configuration file, in TOML; `-` for standard input
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Only print what differs
    #[arg(long)]
    dry_run: bool,
    /// Roll back after that time, as in 60s, unless `overlay confirm` says before that all is well. A process that waits in
    /// the background sees to it, whatever becomes of this terminal
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    confirm: Option<Duration>,
}

/// A time in which somebody can confirm something.
fn duration(text: &str) -> Result<Duration, String> {
    let time =
        humantime::parse_duration(text).map_err(|error| format!("{error}; write it as in 60s or 5m"))?;
    let day = Duration::from_secs(24 * 60 * 60);
    if (Duration::from_secs(1)..=day).contains(&time) { Ok(time) } else { Err("name 1s to 1day".to_owned()) }
}

#[derive(Serialize)]
struct Changes {
    /// Whether they were made.
    applied: bool,
    changes: Vec<Line>,
}

impl Apply {
    pub(super) async fn run(self, session: &Session) -> Result<()> {
        let name = session.name()?;
        let declared = Declared::open(&self.file)?;
        confirm::settle(&name).await?;
        let how = How { dry_run: self.dry_run, confirm: self.confirm, outlives_hangup: false };
        let diff = declared::apply(&name, &declared, how).await?;
        let changes = Changes { applied: !self.dry_run, changes: declared::lines(&diff) };
        if self.dry_run || session.verbose {
            session.output.print_lines(&changes, |changes| &changes.changes)?;
        } else {
            session.output.print_json(&changes)?;
        }
        if let Some(time) = self.confirm.filter(|_| !self.dry_run && !diff.is_empty()) {
            let time = humantime::format_duration(time);
            say::aside(format_args!("`overlay confirm` keeps this; otherwise it is rolled back in {time}"));
        }
        Ok(())
    }
}

/// Prints the configuration of the instance as a file that `apply` takes.
pub(super) async fn export(session: &Session) -> Result<()> {
    let (instance, netlink) = session.open_with_netlink().await?;
    let state = declared::export(&instance, &netlink).await?;
    session.output.print_text(&declared::file(&state)?, || declared::toml(&state))
}

/// Keeps what was applied with `--confirm`.
pub(super) fn confirm(session: &Session) -> Result<()> {
    preflight::capabilities()?;
    confirm::confirm(&session.name()?)
}

/// Waits for that, and rolls back otherwise.
pub(super) async fn wait(session: &Session) -> Result<()> {
    confirm::wait(&session.name()?).await
}

/// Prints the JSON Schema of the configuration file.
pub(super) fn print_schema(session: &Session) -> Result<()> {
    let text = || {
        let text = serde_json::to_string_pretty(&schema::schema());
        text.map(|text| format!("{text}\n")).map_err(|error| Error::failed("cannot print JSON", error))
    };
    session.output.print_text(&schema::schema(), text)
}

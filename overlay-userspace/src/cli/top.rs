//! `overlay top`.

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use clap::Args;

use super::{Session, listening::Signals, output::Format, parse};
use crate::{
    error::{Error, Result},
    preflight,
    top::{self, Theme},
};

#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Top {
    /// Seconds from one look to the next
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = parse::interval)]
    interval: Duration,
}

impl Top {
    pub(super) async fn run(self, session: &Session) -> Result<()> {
        if session.output.format() == Format::Json {
            return Err(Error::Usage(
                "top is for people; `overlay -o json stats --watch` is for programs".to_owned(),
            ));
        }
        if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
            return Err(Error::Failed(
                "top needs a terminal; `overlay stats --watch` writes to files and pipes".to_owned(),
            ));
        }
        preflight::capabilities()?;
        let mut signals = Signals::listen()?;
        let name = session.name()?;
        tokio::select! {
            ended = top::run(&name, self.interval, Theme::of_environment()) => ended,
            // What was begun is dropped, and the terminal as it was.
            () = signals.asked() => Ok(()),
        }
    }
}

//! `overlay man`.

use std::{fs, path::PathBuf};

use clap::{Args, CommandFactory};

use super::examples;
use crate::error::{Context as _, Result};

#[derive(Debug, Args)]
pub(super) struct Man {
    /// The directory to write them into, which is made unless it is there
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

impl Man {
    /// Writes a page for every subcommand, named as `git` names its own: `overlay-vni-add.1`.
    pub(super) fn write<C: CommandFactory>(&self) -> Result<()> {
        let place = self.directory.display();
        fs::create_dir_all(&self.directory).context(|| format!("cannot make directory {place}"))?;
        clap_mangen::generate_to(examples::command::<C>(), &self.directory)
            .context(|| format!("cannot write manual pages to {place}"))
    }
}

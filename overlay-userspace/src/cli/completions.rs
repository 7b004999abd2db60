//! `overlay completions`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(super) fn print<C: CommandFactory>(&self) {
        clap_complete::generate(self.shell, &mut C::command(), "overlay", &mut std::io::stdout());
    }
}

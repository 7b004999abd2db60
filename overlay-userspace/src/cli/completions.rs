//! `overlay completions`.

use std::io::Write as _;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(super) fn print<C: CommandFactory>(&self) {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut C::command(), "overlay", &mut script);
        // It panics where nobody listens any more.
        let _ = std::io::stdout().write_all(&script);
    }
}

//! Project tasks: `cargo xtask setup | run | test | lint | package | gallery | bench`.

mod bench;
mod binary;
mod gallery;
mod lint;
mod package;
mod process;
mod run;
mod setup;
mod test;
mod version;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Project tasks of overlay.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what building, testing and linting need, where it is missing
    Setup,
    /// Build `overlay` and run it with ARGS; the demo without
    Run {
        /// Arguments of `overlay`
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Run every test; needs root, for the network namespaces
    Test {
        /// Arguments of `cargo test`
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Check formatting, clippy with warnings denied, and file lengths
    Lint,
    /// Make the Debian package
    Package(package::Package),
    /// Make the pictures in docs/gallery from what commands print
    Gallery {
        /// Names of pictures; all without
        names: Vec<String>,
    },
    /// Measure `overlay` against the kernel's own ways; `bench --help` tells more
    #[command(disable_help_flag = true)]
    Bench {
        /// Arguments of the bench
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

fn main() -> ExitCode {
    match perform(Cli::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            process::say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> Result<()> {
    match task {
        Task::Setup => setup::everything(),
        Task::Run { args } => run::run(&args),
        Task::Test { args } => test::test(&args),
        Task::Lint => lint::lint(),
        Task::Package(package) => package.make(),
        Task::Gallery { names } => gallery::gallery(&names),
        Task::Bench { args } => bench::bench(&args),
    }
}

//! The command line: one file for each noun.

mod adopt;
mod capture;
mod completions;
mod declared;
mod doctor;
mod examples;
mod explain;
mod fdb;
mod headers;
mod input;
mod listening;
mod man;
mod mdb;
mod monitor;
mod neigh;
mod output;
mod parse;
mod port;
mod run;
mod stats;
mod status;
mod top;
mod tunnel;
mod up;
mod version;
mod vni;
pub(crate) mod words;

use std::process::ExitCode;

use clap::{FromArgMatches as _, Parser, Subcommand};

use crate::{
    demo,
    error::{Error, Result},
    instance::{self, Instance},
    netlink::Netlink,
    netns, preflight, progress,
    repair::{Report, repair},
    say,
};
use output::{Format, Output};

/// A VXLAN overlay whose whole forwarding path is eBPF
#[derive(Debug, Parser)]
#[command(name = "overlay", version, max_term_width = 100, arg_required_else_help = true)]
struct Cli {
    /// How to print what commands show: columns for people, or JSON for programs
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    output: Format,
    /// Network namespace to work in, as `ip netns` names it
    #[arg(short, long, global = true, value_name = "NAME")]
    netns: Option<String>,
    /// Instance to work on; by default there is one for each network namespace
    #[arg(long, global = true, value_name = "NAME")]
    instance: Option<String>,
    /// Say more about what is done
    #[arg(short, long, global = true)]
    verbose: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Load the programs and let packets in
    Up(up::Up),
    /// Take the data path down; nothing stays behind
    Down(up::Down),
    /// Bring the data path up, and keep it in line with the host, in the foreground
    Run(Box<run::Run>),
    /// Show what is up, and how it is served
    Status,
    /// Segments
    #[command(subcommand)]
    Vni(vni::Vni),
    /// Devices that face workloads
    #[command(subcommand)]
    Port(port::Port),
    /// Remote VTEPs that a segment reaches
    #[command(subcommand)]
    Tunnel(tunnel::Tunnel),
    /// Where the stations of a segment are
    #[command(subcommand)]
    Fdb(fdb::Fdb),
    /// Which stations have which addresses, to answer ARP and ND by
    #[command(subcommand)]
    Neigh(neigh::Neigh),
    /// Who listens to which multicast group
    #[command(subcommand)]
    Mdb(mdb::Mdb),
    /// Forward what a `vxlan` device of the kernel knows the way of, while that stays in place
    Adopt(adopt::Adopt),
    /// Make the instance what a file says, and change just what differs
    Apply(declared::Apply),
    /// Print what the instance was told, as a file that `apply` takes
    Export,
    /// Keep what was applied with --confirm
    Confirm,
    /// Print the JSON Schema of the configuration file
    Schema,
    /// Roll back what was applied unless it is confirmed
    #[command(name = crate::declared::confirm::WAIT, hide = true)]
    AwaitConfirmation,
    /// Packets, bytes and drops, and how fast they come
    Stats(stats::Stats),
    /// The same as a dashboard in the terminal
    Top(top::Top),
    /// Say what the data path would do with a frame, step by step
    Explain(explain::Explain),
    /// Show what happens as it happens: stations that come, move and go, frames for unknown ones, drops
    Monitor(monitor::Monitor),
    /// Show packets as the programs saw them, and what became of each
    Capture(capture::Capture),
    /// Find what is wrong or could be better, and say the command that mends it
    Doctor(doctor::Doctor),
    /// Two hosts, two workloads and an overlay between them, in namespaces of their own
    Demo,
    /// Print what this is, and what the kernel has for it
    Version,
    /// Write the manual pages
    Man(man::Man),
    /// Print a completion script for a shell
    Completions(completions::Completions),
}

/// What commands work with.
struct Session {
    output: Output,
    netns: Option<String>,
    instance: Option<String>,
    verbose: bool,
}

impl Session {
    /// The name of the instance that is meant.
    fn name(&self) -> Result<String> {
        instance::name(self.instance.as_deref())
    }

    /// The instance that is meant, locked.
    fn open(&self) -> Result<Instance> {
        preflight::capabilities()?;
        Instance::open(&self.name()?)
    }

    /// The same, in line with the host, and a connection to the kernel.
    async fn open_with_netlink(&self) -> Result<(Instance, Netlink)> {
        let (instance, netlink, _) = self.open_repaired().await?;
        Ok((instance, netlink))
    }

    /// The same, and what was off.
    async fn open_repaired(&self) -> Result<(Instance, Netlink, Report)> {
        preflight::capabilities()?;
        crate::declared::confirm::settle(&self.name()?).await?;
        let (instance, netlink) = (self.open()?, Netlink::connect()?);
        let report = repair(&instance, &netlink).await?;
        for repair in &report.repairs {
            say::aside(repair);
        }
        Ok((instance, netlink, report))
    }
}

/// Runs the command that this process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let parsed =
        examples::command::<Cli>().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say::failure(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

/// Prints what clap has to say: help as it is, an error as one line.
fn usage(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    match error.kind() {
        DisplayHelp | DisplayVersion | DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            ExitCode::from(u8::from(error.use_stderr()) * 2)
        }
        _ => {
            say::aside(parse::one_line(&error.to_string()));
            ExitCode::from(2)
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    if let Command::Completions(command) = &cli.command {
        command.print::<Cli>();
        return Ok(());
    }
    if let Command::Man(command) = &cli.command {
        return command.write::<Cli>();
    }
    if let Some(name) = &cli.netns {
        preflight::capabilities()?;
        netns::enter(name)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::failed("cannot start", error))?;
    let Cli { output, netns, instance, verbose, command } = cli;
    let session = Session { output: Output::new(output), netns, instance, verbose };
    if session.output.format() == Format::Table {
        progress::show();
    }
    runtime.block_on(dispatch(&session, command))
}

async fn dispatch(session: &Session, command: Command) -> Result<()> {
    match command {
        Command::Up(command) => command.run(session).await,
        Command::Down(command) => command.run(session).await,
        Command::Run(command) => command.run(session).await,
        Command::Status => status::run(session).await,
        Command::Vni(command) => command.run(session).await,
        Command::Port(command) => command.run(session).await,
        Command::Tunnel(command) => command.run(session).await,
        Command::Fdb(command) => command.run(session).await,
        Command::Mdb(command) => command.run(session).await,
        Command::Neigh(command) => command.run(session).await,
        Command::Adopt(command) => command.run(session).await,
        Command::Apply(command) => command.run(session).await,
        Command::Export => declared::export(session).await,
        Command::Confirm => declared::confirm(session),
        Command::Schema => declared::print_schema(session),
        Command::AwaitConfirmation => declared::wait(session).await,
        Command::Stats(command) => command.run(session).await,
        Command::Top(command) => command.run(session).await,
        Command::Explain(command) => command.run(session).await,
        Command::Monitor(command) => command.run(session).await,
        Command::Capture(command) => command.run(session).await,
        Command::Doctor(command) => command.run(session).await,
        Command::Demo => demo::run().await,
        Command::Version => version::run(session),
        Command::Completions(_) | Command::Man(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}

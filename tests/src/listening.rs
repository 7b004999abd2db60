//! Commands that listen: `overlay monitor` and `overlay capture`.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{process::Background, topology::Host};

/// How long a line may take to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A command that listens.
pub struct Listening {
    process: Background,
    lines: Receiver<String>,
    asides: Receiver<String>,
}

impl Listening {
    /// Starts `overlay ARGUMENTS` on a host, and waits until it listens.
    pub fn start(host: &Host, arguments: &[&str]) -> Result<Self> {
        let mut command = host.overlay_command(arguments)?;
        let mut process = Background::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
        let lines = follow(process.child().stdout.take().context("no stdout")?);
        let asides = follow(process.child().stderr.take().context("no stderr")?);
        let first = asides.recv_timeout(PATIENCE).context("it does not say that it listens")?;
        ensure!(first.contains("Ctrl-C ends it"), "{first}");
        Ok(Self { process, lines, asides })
    }

    /// The next line.
    pub fn line(&self) -> Result<String> {
        self.lines.recv_timeout(PATIENCE).context("no line came")
    }

    /// The next line, which is JSON.
    pub fn json(&self) -> Result<Value> {
        let line = self.line()?;
        serde_json::from_str(&line).context(line)
    }

    /// Ends it as Ctrl-C does; the lines that are left, and the last that it said aside.
    pub fn end(mut self) -> Result<(Vec<String>, String)> {
        let code = self.process.signal(Signal::SIGINT)?;
        self.ended(code)
    }

    /// Waits until it ends by itself; the lines that are left, and the last that it said aside.
    pub fn wait(self) -> Result<(Vec<String>, String)> {
        // Both pipes are closed when it has ended.
        let rest: Vec<String> = self.lines.iter().collect();
        let last = self.asides.iter().last().context("it said nothing")?;
        Ok((rest, last))
    }

    fn ended(self, code: Option<i32>) -> Result<(Vec<String>, String)> {
        ensure!(code == Some(0), "exit code {code:?}");
        self.wait()
    }

    /// Kills it, so that it can do nothing more.
    pub fn kill(mut self) -> Result<()> {
        self.process.signal(Signal::SIGKILL).map(drop)
    }

    /// Lets nobody read what it prints.
    #[must_use]
    pub fn hang_up(self) -> Hung {
        drop(self.lines);
        Hung { asides: self.asides, process: self.process }
    }
}

/// A command whose output nobody reads.
pub struct Hung {
    asides: Receiver<String>,
    process: Background,
}

impl Hung {
    /// The last that it said aside before it ended by itself.
    pub fn wait(mut self) -> Result<String> {
        let last = self.asides.iter().last().context("it said nothing")?;
        let deadline = std::time::Instant::now() + PATIENCE;
        crate::process::wait_until(deadline, || Ok((!self.process.is_running()?).then_some(())))?;
        Ok(last)
    }
}

/// The lines of a pipe. Nobody reads it any more once the receiver is gone and another line came.
fn follow(pipe: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    let mut pipe = BufReader::new(pipe).lines();
    std::thread::spawn(move || pipe.try_for_each(|line| line.ok().and_then(|line| sender.send(line).ok())));
    lines
}

//! Running other programs.

use std::{
    ffi::OsStr,
    io::{self, BufRead as _, BufReader, PipeReader},
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Error, Result, anyhow, bail};
use indicatif::{ProgressBar, ProgressStyle};

/// How often a run without a terminal says that it is still alive.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

/// Prints one line of ours, apart from what programs print: on stderr, since stdout belongs to `overlay`.
pub(crate) fn say(line: &str) {
    eprintln!("xtask: {line}");
}

/// The cargo that runs us, so that `cargo +toolchain xtask` keeps its toolchain.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(crate::binary::workspace());
    command
}

/// Whether this process may do what needs root.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The command with the environment it is given, as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let environment = command
        .get_envs()
        .filter_map(|(key, value)| Some(format!("{}={} ", key.display(), value?.display())));
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(OsStr::to_string_lossy).collect();
    environment.collect::<String>() + &words.join(" ")
}

/// Runs to the end and returns stdout.
///
/// # Errors
///
/// When it cannot be started or fails; the error holds what it said.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| not_started(command))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        bail!("`{}`: {}: {}", shown(command), output.status, said.trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{}` did not print text", shown(command)))
}

/// Runs to the end with our own stdin, stdout and stderr.
///
/// # Errors
///
/// When it cannot be started or fails.
pub(crate) fn pass(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| not_started(command))?;
    if !status.success() {
        bail!("`{}`: {status}", shown(command));
    }
    Ok(())
}

/// Becomes the command: its signals, its terminal and its exit code are then ours. Returns only when that fails.
pub(crate) fn become_it(command: &mut Command) -> Error {
    let error = command.exec();
    Error::new(error).context(not_started(command))
}

/// Runs to the end with a short live status in place of its output.
///
/// # Errors
///
/// When it cannot be started or fails, after printing all that it had said.
pub(crate) fn quietly(what: &str, command: &mut Command) -> Result<()> {
    let (reader, writer) = io::pipe().context("no pipe")?;
    let second = writer.try_clone().context("no second pipe end")?;
    command.stdin(Stdio::null()).stdout(writer).stderr(second);
    let child = command.spawn();
    // The command keeps the write ends until they are replaced, and the reader would wait for them for ever.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = child.with_context(|| not_started(command))?;

    let mut progress = Progress::start(what);
    let said = follow(reader, &mut progress);
    let status = child.wait()?;
    progress.finish(status.success());
    if !status.success() {
        eprintln!("{}", said.join("\n"));
        bail!("{what}: `{}`: {status}", shown(command));
    }
    Ok(())
}

/// Collects lines until the last writer is gone.
fn follow(reader: PipeReader, progress: &mut Progress) -> Vec<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(reader).split(b'\n').map_while(Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                break;
            }
        }
    });
    let mut said = Vec::new();
    loop {
        match lines.recv_timeout(Duration::from_secs(1)) {
            Ok(line) => said.push(line),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return said,
        }
        progress.update(said.last().map_or("", |line| line.trim()));
    }
}

/// A spinner on a terminal, a line now and then elsewhere.
struct Progress {
    what: String,
    bar: ProgressBar,
    started: Instant,
    last_sign: Instant,
}

impl Progress {
    fn start(what: &str) -> Self {
        let bar = ProgressBar::new_spinner().with_prefix(what.to_owned());
        if bar.is_hidden() {
            say(what);
        } else if let Ok(style) =
            ProgressStyle::with_template("{spinner} {prefix}, {elapsed}  {wide_msg:.dim}")
        {
            bar.set_style(style);
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        let started = Instant::now();
        Self { what: what.to_owned(), bar, started, last_sign: started }
    }

    fn update(&mut self, line: &str) {
        if !self.bar.is_hidden() {
            self.bar.set_message(line.to_owned());
        } else if self.last_sign.elapsed() >= SIGN_OF_LIFE {
            self.last_sign = Instant::now();
            say(&format!("  {} s: {line}", self.started.elapsed().as_secs()));
        }
    }

    fn finish(self, success: bool) {
        self.bar.finish_and_clear();
        let outcome = if success { "done" } else { "failed" };
        say(&format!("{}: {outcome} in {} s", self.what, self.started.elapsed().as_secs()));
    }
}

fn not_started(command: &Command) -> Error {
    anyhow!("cannot start `{}`", shown(command))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_environment_and_the_words() {
        let mut command = Command::new("cargo");
        command.env("LLVM_PREFIX", "/opt/llvm").env_remove("RUSTC").args(["install", "x"]);
        assert_eq!(shown(&command), "LLVM_PREFIX=/opt/llvm cargo install x");
    }

    #[test]
    fn quietly_passes_the_outcome_on() {
        assert!(quietly("true", Command::new("sh").args(["-c", "echo said; exit 0"])).is_ok());
        let error = quietly("false", Command::new("sh").args(["-c", "exit 3"])).unwrap_err();
        assert!(error.to_string().contains("exit status: 3"), "{error}");
        assert!(quietly("none", &mut Command::new("/nonexistent")).is_err());
    }
}

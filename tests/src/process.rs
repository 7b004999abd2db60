//! Child processes: bounded in time, checked, and never left behind.

use std::{
    io::Write as _,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// How long a command that should finish by itself may take.
pub const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// Runs `command` to its end, within [`COMMAND_LIMIT`], and returns what it wrote whatever its exit status.
pub fn output(command: &mut Command) -> Result<Output> {
    let what = describe(command);
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {what}"))?;
    bounded(child, &what)
}

/// Runs `command` with `input` on its standard input; a failure carries what it wrote to stderr.
pub fn feed(command: &mut Command, input: &str) -> Result<String> {
    let what = describe(command);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {what}"))?;
    let written = child.stdin.take().context("no stdin")?.write_all(input.as_bytes());
    let text = stdout(&bounded(child, &what)?, &what).with_context(|| format!("with input\n{input}"))?;
    written.with_context(|| format!("writing to {what}"))?;
    Ok(text)
}

/// Runs `command`, which has to succeed, and returns its standard output.
pub fn checked(command: &mut Command) -> Result<String> {
    stdout(&output(command)?, &describe(command))
}

/// The program and arguments of `command`, as one would type them.
#[must_use]
pub fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn stdout(output: &Output, what: &str) -> Result<String> {
    ensure!(
        output.status.success(),
        "`{what}` failed ({}): {}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout)
    );
    String::from_utf8(output.stdout.clone()).with_context(|| format!("the output of `{what}`"))
}

fn bounded(child: Child, what: &str) -> Result<Output> {
    let pid = Pid::from_raw(i32::try_from(child.id())?);
    let (done, waiter) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || done.send(child.wait_with_output()).is_ok());
    let outcome = waiter.recv_timeout(COMMAND_LIMIT);
    if outcome.is_err() {
        // The child is not waited for yet, so its id cannot belong to another process.
        kill(pid, Signal::SIGKILL).context("killing a command that hangs")?;
    }
    let finished = reader.join();
    ensure!(finished.is_ok(), "waiting for `{what}` panicked");
    outcome
        .with_context(|| format!("`{what}` did not finish within {COMMAND_LIMIT:?}"))?
        .with_context(|| format!("waiting for `{what}`"))
}

/// A process that runs until it is stopped; killed when dropped.
#[derive(Debug)]
pub struct Background {
    child: Child,
    what: String,
}

impl Background {
    /// Starts `command`; its standard input is empty, the rest is inherited unless set.
    pub fn start(command: &mut Command) -> Result<Self> {
        let what = describe(command);
        let child = command.stdin(Stdio::null()).spawn().with_context(|| format!("starting {what}"))?;
        Ok(Self { child, what })
    }

    /// The process itself, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Sends `signal` and waits for the end of the process; returns its exit code, or none if the signal ended it.
    pub fn signal(&mut self, signal: Signal) -> Result<Option<i32>> {
        self.send(signal)?;
        let deadline = Instant::now() + COMMAND_LIMIT;
        wait_until(deadline, || Ok(self.child.try_wait()?.map(|status| status.code())))
            .with_context(|| format!("`{}` after {signal}", self.what))
    }

    /// Sends `signal`.
    pub fn send(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(i32::try_from(self.child.id())?), signal)?)
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Both fail only where the process has ended and been waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks `probe` until it has an answer, for states that the kernel announces no event for.
pub fn wait_until<T>(deadline: Instant, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    loop {
        if let Some(answer) = probe()? {
            return Ok(answer);
        }
        ensure!(Instant::now() < deadline, "nothing of the kind before the deadline");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Keeps the calling thread on one CPU from now on, for programs that keep something for each CPU.
pub fn stay_on_one_cpu() -> Result<()> {
    let (this, mut one) = (Pid::from_raw(0), CpuSet::new());
    let allowed = sched_getaffinity(this)?;
    one.set((0..CpuSet::count()).find(|cpu| allowed.is_set(*cpu) == Ok(true)).context("no CPU")?)?;
    Ok(sched_setaffinity(this, &one)?)
}

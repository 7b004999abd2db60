//! The agent, `overlay run`, what it tells its service manager and its log, and how soon it has mended something.

use std::{
    fs,
    io::{BufRead as _, BufReader, ErrorKind},
    net::IpAddr,
    os::unix::net::UnixDatagram,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc::{self, Receiver},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;

use crate::{
    netns::NetNs,
    overlay::Instance,
    process::{self, Background, wait_until},
    topology::{Host, Workload},
};

/// How soon the agent mends what changed, on a machine that has time for it.
pub const PROMPT: Duration = Duration::from_secs(1);

/// How long to wait for what comes at once on a machine that has time for it.
pub const GENEROUS: Duration = Duration::from_secs(60);

/// A service manager, as far as the agent knows: it has a socket (`sd_notify(3)`).
#[derive(Debug)]
pub struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    /// One that nobody has told anything yet.
    pub fn new() -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("overlay-{}-{number}.notify", std::process::id()));
        let socket = UnixDatagram::bind(&path).with_context(|| path.display().to_string())?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        Ok(Self { socket, path })
    }

    /// Has what `command` starts tell this manager.
    pub fn manages(&self, command: &mut Command) {
        command.env("NOTIFY_SOCKET", &self.path);
    }

    /// Waits until `process` tells something that has this line, or begins a line with it if that ends with `=`; all of it.
    pub fn expect(&self, process: &mut Background, line: &str) -> Result<String> {
        let is_it = |told: &str| told == line || (line.ends_with('=') && told.starts_with(line));
        wait_until(Instant::now() + GENEROUS, || {
            let mut buffer = [0; 4096];
            match self.socket.recv(&mut buffer) {
                Ok(length) => {
                    let told = String::from_utf8_lossy(&buffer[..length]).into_owned();
                    return Ok(told.lines().any(is_it).then_some(told));
                }
                Err(error) => {
                    ensure!(
                        matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
                        "{error}"
                    );
                }
            }
            ensure!(process.is_running()?, "it has ended");
            Ok(None)
        })
        .with_context(|| format!("waiting for {line}"))
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Starts `overlay run` on a host, and waits until the instance is up and the agent looked at everything.
pub fn run<'a>(host: &'a Host, arguments: &[&str]) -> Result<(Background, Instance<'a>)> {
    let arguments = [&["run", "--uplink", &host.uplink], arguments].concat();
    let mut command = host.overlay_command(&arguments)?;
    let manager = Manager::new()?;
    manager.manages(&mut command);
    let mut agent = Background::start(command.stdout(Stdio::null()))?;
    manager.expect(&mut agent, "READY=1")?;
    Ok((agent, Instance::adopt(host)?))
}

/// An agent whose log is read.
#[derive(Debug)]
pub struct Agent {
    /// Its process.
    pub process: Background,
    /// Its service manager.
    pub manager: Manager,
    lines: Receiver<String>,
}

impl Agent {
    /// Starts `overlay ARGUMENTS` on a host, and waits until it is ready.
    pub fn start(host: &Host, arguments: &[&str]) -> Result<Self> {
        Self::start_as(host, arguments, |_| Ok(()))
    }

    /// The same, with more said about the process.
    pub fn start_as(
        host: &Host,
        arguments: &[&str],
        more: impl FnOnce(&mut Command) -> Result<()>,
    ) -> Result<Self> {
        let mut command = host.overlay_command(arguments)?;
        let manager = Manager::new()?;
        manager.manages(&mut command);
        let (reader, writer) = std::io::pipe()?;
        command.stdout(Stdio::null()).stderr(writer);
        more(&mut command)?;
        let mut process = Background::start(&mut command)?;
        // Ours would keep the log from ending.
        drop(command);
        let (sender, lines) = mpsc::channel();
        let mut log = BufReader::new(reader).lines();
        std::thread::spawn(move || log.by_ref().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        manager.expect(&mut process, "READY=1")?;
        Ok(Self { process, manager, lines })
    }

    /// Waits until it logs a line that has `what` in it.
    pub fn said(&self, what: &str) -> Result<String> {
        let deadline = Instant::now() + GENEROUS;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).with_context(|| format!("the log has no {what:?}"))?;
            if line.contains(what) {
                return Ok(line);
            }
        }
    }

    /// Asks it to end, which it has to do well.
    pub fn end(&mut self) -> Result<()> {
        let code = self.process.signal(Signal::SIGTERM)?;
        ensure!(code == Some(0), "it ended with {code:?}");
        Ok(())
    }
}

/// For how long so far anybody on this machine had to wait for a CPU (`Documentation/accounting/psi.rst`).
fn waited_for_cpus() -> Result<Duration> {
    let path = "/proc/pressure/cpu";
    let text = fs::read_to_string(path).context(path)?;
    let some = text.lines().find_map(|line| line.strip_prefix("some "));
    let total = some.and_then(|line| line.split_whitespace().find_map(|word| word.strip_prefix("total=")));
    Ok(Duration::from_micros(total.with_context(|| text.clone())?.parse()?))
}

/// Asks `probe` until it has an answer, which has to come within [`PROMPT`], the time not counted in which somebody had to wait
/// for a CPU: on an idle machine that is none. How long it took is printed with `what`.
pub fn soon<T>(what: &str, probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let (start, waited) = (Instant::now(), waited_for_cpus()?);
    let answer = wait_until(start + GENEROUS, probe).with_context(|| format!("{what}: not mended"))?;
    let (took, waited) = (start.elapsed(), waited_for_cpus()?.saturating_sub(waited));
    println!(
        "{what}: mended within {} ms, of which CPUs were lacking for {}",
        took.as_millis(),
        waited.as_millis()
    );
    ensure!(
        took.saturating_sub(waited) <= PROMPT,
        "{what}: mended only after {took:?}, and CPUs were lacking for {waited:?}"
    );
    Ok(answer)
}

/// Pings from a workload until there is an answer, [`soon`]. What it asks for the other's MAC address while nothing is mended
/// is lost: it asks again at once rather than after a second, as it would.
pub fn answers_soon(what: &str, from: &NetNs, to: IpAddr) -> Result<()> {
    let family = if to.is_ipv4() { "ipv4" } else { "ipv6" };
    from.sysctl(&format!("{family}/neigh/{}/retrans_time_ms", Workload::DEVICE), "20")?;
    let to = to.to_string();
    soon(what, || {
        let ping = process::output(from.command("ping").args(["-q", "-c", "1", "-W", "0.1", &to]))?;
        Ok(ping.status.success().then_some(()))
    })
    .with_context(|| format!("no answer from {to}"))
}

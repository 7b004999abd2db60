//! Programs that measure: pinned to a CPU, bounded in time, gone with their guard.

use std::{
    fs,
    io::Read as _,
    net::IpAddr,
    os::fd::AsFd as _,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use overlay_tests::{
    netns::NetNs,
    process::{Background, describe, wait_until},
};

use crate::{cpus, stop};

/// How much longer than it was told to a program may take.
const GRACE: Duration = Duration::from_secs(10);

/// How soon a signal is seen, in milliseconds.
const GLANCE: u16 = 100;

/// How long a server may take until it listens.
const START: Duration = Duration::from_secs(5);

/// A program in a namespace, on one CPU.
pub(crate) struct Call<'a> {
    /// Where.
    pub(crate) netns: &'a NetNs,
    /// Which CPU.
    pub(crate) cpu: usize,
    /// The program and its arguments.
    pub(crate) words: &'a [&'a str],
}

/// How a server's socket shows in `/proc`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Call<'_> {
    fn command(&self) -> Result<Command> {
        let (program, arguments) = self.words.split_first().context("an empty command")?;
        let mut command = self.netns.command(program);
        command.args(arguments);
        cpus::pin(&mut command, self.cpu);
        Ok(command)
    }

    /// Starts a server, and waits until it has its socket.
    ///
    /// # Errors
    ///
    /// When it ends before.
    pub(crate) fn serve(&self, transport: Transport, address: IpAddr, port: u16) -> Result<Background> {
        let mut command = self.command()?;
        let what = describe(&command);
        let mut server = Background::start(command.stdout(Stdio::null()).stderr(Stdio::null()))?;
        wait_until(Instant::now() + START, || {
            ensure!(server.is_running()?, "it ended at once");
            Ok(has_socket(self.netns, transport, address, port)?.then_some(()))
        })
        .with_context(|| format!("starting `{what}`"))?;
        Ok(server)
    }

    /// Starts something that goes on by itself.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub(crate) fn start(&self) -> Result<Background> {
        Background::start(self.command()?.stdout(Stdio::null()).stderr(Stdio::null()))
    }

    /// Runs to the end, which is due after `seconds`, and returns what it wrote to stdout.
    ///
    /// # Errors
    ///
    /// When it fails or takes much longer, or a signal asks to stop; it is killed then.
    pub(crate) fn finish(&self, seconds: u32) -> Result<String> {
        let deadline = Instant::now() + Duration::from_secs(seconds.into()) + GRACE;
        let mut command = self.command()?;
        let what = describe(&command);
        let mut process = Background::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
        let mut output = process.child().stdout.take().context("no stdout")?;
        let mut text = Vec::new();
        let mut chunk = [0; 1 << 14];
        loop {
            stop::check()?;
            ensure!(Instant::now() < deadline, "`{what}` does not come to an end");
            let mut waiting = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
            if poll(&mut waiting, PollTimeout::from(GLANCE))? == 0 {
                continue;
            }
            match output.read(&mut chunk)? {
                0 => break,
                length => text.extend_from_slice(&chunk[..length]),
            }
        }
        let text = String::from_utf8(text).with_context(|| format!("the output of `{what}`"))?;
        let mut errors = String::new();
        if let Some(mut stderr) = process.child().stderr.take() {
            stderr.read_to_string(&mut errors)?;
        }
        let status = process.child().wait()?;
        if !status.success() {
            bail!(
                "`{what}` failed ({status}): {}",
                last_line(&errors).or(last_line(&text)).unwrap_or_default()
            );
        }
        Ok(text)
    }
}

fn last_line(text: &str) -> Option<&str> {
    text.lines().map(str::trim).rfind(|line| !line.is_empty())
}

/// Whether somebody listens in the namespace, of which `/proc/thread-self` shows that of the thread.
fn has_socket(netns: &NetNs, transport: Transport, address: IpAddr, port: u16) -> Result<bool> {
    let path = match (transport, address) {
        (Transport::Tcp, IpAddr::V4(_)) => "/proc/thread-self/net/tcp",
        (Transport::Udp, IpAddr::V4(_)) => "/proc/thread-self/net/udp",
        (Transport::Tcp, IpAddr::V6(_)) => "/proc/thread-self/net/tcp6",
        (Transport::Udp, IpAddr::V6(_)) => "/proc/thread-self/net/udp6",
    };
    let table = netns.enter(|| fs::read_to_string(path).context(path))?;
    Ok(is_in_table(&table, port))
}

/// Whether a socket with nobody at the other end has that local port (`man 5 proc_pid_net`).
fn is_in_table(table: &str, port: u16) -> bool {
    let port = format!(":{port:04X}");
    table.lines().skip(1).any(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (local, remote) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        local.ends_with(&port) && remote.ends_with(":0000")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_found_by_its_port() {
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0200010A:1451 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1
   1: 0200010A:1452 0100010A:A000 01 00000000:00000000 00:00000000 00000000     0        0 2
";
        assert!(is_in_table(table, 5201));
        assert!(!is_in_table(table, 5202), "that is a connection");
        assert!(!is_in_table(table, 80));
    }

    #[test]
    fn the_last_line_with_something_on_it() {
        assert_eq!(last_line("a\nb \n\n"), Some("b"));
        assert_eq!(last_line("\n"), None);
    }
}

//! What commands have in common that listen until somebody ends them.

use std::{
    fmt::Display,
    io::{self, ErrorKind, Write as _},
    os::fd::AsFd as _,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::{Context as _, Error, Result};

/// Signals that ask this process to end.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    /// Listens for them from now on.
    pub(super) fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context(|| "cannot wait for signals");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// Waits for one of them.
    pub(super) async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

/// Standard output, on which somebody may not listen any more: that is no failure, but the end.
#[derive(Default)]
pub(super) struct Pipe {
    is_closed: bool,
}

impl Pipe {
    /// Writes a line.
    pub(super) fn line(&mut self, line: impl Display) -> Result<()> {
        let written = writeln!(io::stdout().lock(), "{line}");
        self.check(written)
    }

    /// Takes note of how writing went.
    pub(super) fn check(&mut self, written: io::Result<()>) -> Result<()> {
        match written {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(())
            }
            Err(error) => Err(Error::failed("cannot write", error)),
            Ok(()) => Ok(()),
        }
    }

    /// Whether nobody listens any more.
    pub(super) fn is_closed(&self) -> bool {
        let stdout = io::stdout();
        let mut asked = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
        let is_hung_up = poll(&mut asked, PollTimeout::ZERO).is_ok()
            && asked[0].revents().is_some_and(|found| found.contains(PollFlags::POLLERR));
        self.is_closed || is_hung_up
    }
}

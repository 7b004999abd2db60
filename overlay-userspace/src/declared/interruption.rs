//! Signals that ask this process to end: they do so between two steps, and what was done is rolled back.

use futures_util::FutureExt as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::{Context as _, Error, Result};

/// Whether somebody asked this process to end.
#[derive(Debug, Default)]
pub(crate) struct Interruption {
    signals: Vec<Signal>,
}

impl Interruption {
    /// Listens from now on; `hangup`: a terminal that goes away asks for the end, too.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does.
    pub(crate) fn listen(hangup: bool) -> Result<Self> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate()];
        let kinds = kinds.into_iter().chain(hangup.then(SignalKind::hangup));
        let signals = kinds.map(signal).collect::<Result<_, _>>();
        Ok(Self { signals: signals.context(|| "cannot wait for signals")? })
    }

    /// Never: for what has to be done to its end.
    pub(crate) fn ignored() -> Self {
        Self::default()
    }

    /// # Errors
    ///
    /// [`Error::Failed`] if somebody did.
    pub(crate) fn check(&mut self) -> Result<()> {
        let is_asked = |signal: &mut Signal| signal.recv().now_or_never().is_some();
        if self.signals.iter_mut().any(is_asked) {
            return Err(Error::Failed("interrupted".to_owned()));
        }
        Ok(())
    }
}

//! Ctrl-C: what is being measured ends at once, and everything that was made is taken down.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{SigSet, Signal};

static ASKED: AtomicBool = AtomicBool::new(false);

/// Watches for SIGINT, SIGTERM and SIGHUP from now on.
///
/// They are blocked, here and in every process started later: a command that sets something up or takes it down always
/// runs to its end.
///
/// # Errors
///
/// When signals cannot be blocked.
pub(crate) fn watch() -> Result<()> {
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    signals.thread_block().context("blocking signals")?;
    thread::spawn(move || {
        while signals.wait().is_ok() {
            if !ASKED.swap(true, Ordering::Relaxed) {
                eprintln!("bench: stopping, and taking down what was made");
            }
        }
    });
    Ok(())
}

/// Fails once a signal has come.
///
/// # Errors
///
/// When it has.
pub(crate) fn check() -> Result<()> {
    ensure!(!ASKED.load(Ordering::Relaxed), "stopped by a signal");
    Ok(())
}

//! What the agent tells the service manager that started it (`sd_notify(3)`); nothing where there is none.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::{task::JoinHandle, time::interval};

/// Nothing can be done where the manager does not listen.
fn tell(states: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(states);
}

/// The instance is in line with the host.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The configuration file is being applied again; [`ready`] says when that is over.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// What is to be seen in `systemctl status`.
pub(super) fn status(text: &str) {
    tell(&[NotifyState::Status(text)]);
}

/// The agent is about to end.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Says that the agent is alive, as often as the manager wants to hear it, while this is not dropped.
#[derive(Debug)]
pub(super) struct Heartbeat(Option<JoinHandle<()>>);

impl Heartbeat {
    /// Begins. It beats between what the agent does: where that hangs, it stops.
    pub(super) fn start() -> Self {
        Self(sd_notify::watchdog_enabled().map(|limit| tokio::spawn(beat(limit / 3))))
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

async fn beat(every: Duration) {
    let mut beats = interval(every.max(Duration::from_millis(1)));
    loop {
        beats.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

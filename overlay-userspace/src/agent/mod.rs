//! The agent: repairs an instance as soon as the kernel says that something has changed.
//!
//! It keeps nothing that the data path needs, and holds the instance's lock only while it repairs.

mod adopted;
mod events;
mod manager;
pub mod presence;
mod reload;
mod tally;

use std::time::{Duration, Instant};

use tokio::{
    signal::unix::Signal,
    task::spawn_blocking,
    time::{MissedTickBehavior, interval, sleep},
};

pub use self::{adopted::follow_adopted, reload::Source, tally::Tally};
pub(crate) use manager::stopping;

use self::{
    adopted::Follower,
    events::{Changes, Events},
    manager::Heartbeat,
    presence::Presence,
};
use crate::{
    declared::confirm,
    error::{Context as _, Result},
    instance::Instance,
    maps::next_hops,
    netlink::Netlink,
    repair::{Path, repair},
};

/// Changes seldom come alone: how long to wait for those that belong together.
const GATHER: Duration = Duration::from_millis(50);

/// How often to look for what the kernel does not tell: programs that were detached, stations that have aged.
const LOOK: Duration = Duration::from_secs(3);

/// However much changes, repairs take no more than one part in this many of the time, and pause no longer than that.
const SHARE: u32 = 3;
const MAX_PAUSE: Duration = Duration::from_millis(200);

/// Whether an instance is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    GoesOn,
    Over,
}

/// Keeps an instance in line with the host, until it is taken down. At `hangup` the file that it came of is applied again.
///
/// # Errors
///
/// Fails if the kernel refuses a netlink socket.
pub async fn run(name: &str, presence: Presence, tally: Tally, source: Source, hangup: Signal) -> Result<()> {
    let _heartbeat = Heartbeat::start();
    let netlink = Netlink::connect()?;
    let (paths, said, adopted) = (Vec::new(), Vec::new(), Follower::default());
    let mut agent =
        Agent { name, presence, netlink, paths, said, adopted, is_ready: false, tally, source, hangup };
    loop {
        let events = Events::subscribe()?;
        if agent.follow(&events).await == Life::Over {
            return Ok(());
        }
        tracing::warn!("the kernel ended what it told by netlink; following it anew");
        agent.netlink = Netlink::connect()?;
    }
}

struct Agent<'a> {
    name: &'a str,
    presence: Presence,
    netlink: Netlink,
    /// How the remote VTEPs were reached at the last repair.
    paths: Vec<Path>,
    /// What was off then, and was said.
    said: Vec<String>,
    adopted: Follower,
    /// Whether everything has been looked at once.
    is_ready: bool,
    tally: Tally,
    source: Source,
    hangup: Signal,
}

impl Agent<'_> {
    /// Repairs whenever something changes, until the kernel says no more or the instance is gone. One thing at a time: what
    /// else the agent shall do is a further arm here.
    async fn follow(&mut self, events: &Events) -> Life {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut renew = adopted::renewal();
        loop {
            let life = tokio::select! {
                () = events.changed() => {
                    events.look(|changes| self.ask_again(changes));
                    sleep(GATHER).await;
                    let changes = events.take();
                    if changes.ended {
                        return Life::GoesOn;
                    }
                    self.act(&changes).await
                }
                _ = look.tick() => self.repair(None).await,
                _ = renew.tick() => self.follow_kernel().await,
                _ = self.hangup.recv() => self.reload().await,
            };
            if life == Life::Over {
                return life;
            }
        }
    }

    /// Does what changes ask for.
    async fn act(&mut self, changes: &Changes) -> Life {
        if changes.lost > 0 {
            self.tally.lost(changes.lost);
            tracing::warn!("the kernel told more than could be read; looking at everything again");
        }
        let lost = |path: &Path| changes.neighbours.get(&(path.uplink, path.via)) == Some(&true);
        let mut life = Life::GoesOn;
        if changes.everything || self.paths.iter().any(lost) {
            life = self.repair(changes.first).await;
        }
        if life == Life::GoesOn && (changes.everything || changes.stations) {
            life = self.follow_kernel().await;
        }
        self.ask_again(changes);
        life
    }

    /// Has the programs ask the kernel again for the next hops that changes may concern.
    fn ask_again(&self, changes: &Changes) {
        let concerned =
            |path: &&Path| changes.everything || changes.neighbours.contains_key(&(path.uplink, path.via));
        let vteps: Vec<_> = self.paths.iter().filter(concerned).map(|path| path.vtep).collect();
        if let Some(instance) = Instance::glance(self.name).filter(|_| !vteps.is_empty()) {
            // Without this, they ask soon enough.
            let _ = next_hops::forget_all(&instance, vteps);
            if self.paths.iter().any(|path| path.is_multipath) {
                let _ = next_hops::forget_flows(&instance);
            }
        }
    }

    /// Follows what the kernel knows of segments that are adopted.
    async fn follow_kernel(&mut self) -> Life {
        let start = Instant::now();
        self.adopted.follow(self.name, &self.netlink).await;
        sleep((start.elapsed() * (SHARE - 1)).min(MAX_PAUSE)).await;
        Life::GoesOn
    }

    /// Applies the configuration file again. If it cannot be, what runs stays.
    async fn reload(&mut self) -> Life {
        manager::reloading();
        match self.source.reload(self.name, &self.tally).await {
            Ok(done) => {
                self.tally.reloaded(true);
                tracing::info!("{done}");
            }
            Err(error) => {
                self.tally.reloaded(false);
                tracing::error!("not reloaded, all stays as it is: {error}");
            }
        }
        let life = self.repair(None).await;
        if self.is_ready {
            manager::ready();
        }
        life
    }

    /// Repairs, because of a change that was told at `told`.
    async fn repair(&mut self, told: Option<Instant>) -> Life {
        let start = Instant::now();
        let life = self.mend().await;
        if let Some(delay) = told.map(|told| told.elapsed()) {
            tracing::debug!("looked at everything {} ms after a change", delay.as_millis());
            self.tally.answered(delay);
        }
        sleep((start.elapsed() * (SHARE - 1)).min(MAX_PAUSE)).await;
        life
    }

    async fn mend(&mut self) -> Life {
        if Instance::glance(self.name).is_none() {
            return Life::Over;
        }
        if let Err(error) = self.presence.renew(self.name) {
            tracing::warn!("{error}");
            return Life::Over;
        }
        match self.try_repair().await {
            Ok(()) => {}
            Err(_) if Instance::glance(self.name).is_none() => return Life::Over,
            Err(error) => {
                self.tally.failed();
                self.say(vec![error.to_string()]);
            }
        }
        Life::GoesOn
    }

    async fn try_repair(&mut self) -> Result<()> {
        confirm::settle(self.name).await?;
        let name = self.name.to_owned();
        // Another command may have the lock for a while.
        let opened = spawn_blocking(move || Instance::open(&name)).await;
        let instance = opened.context(|| "cannot wait for the instance")??;
        let report = repair(&instance, &self.netlink).await?;
        drop(instance);
        self.tally.repaired(&report);
        for repair in report.repairs {
            tracing::info!("{repair}");
        }
        self.paths = report.paths;
        self.say(report.warnings);
        if !self.is_ready {
            self.is_ready = true;
            manager::ready();
        }
        Ok(())
    }

    /// Says what is off, if it was not said before.
    fn say(&mut self, now: Vec<String>) {
        for warning in now.iter().filter(|warning| !self.said.contains(warning)) {
            tracing::warn!("{warning}");
        }
        if now != self.said || !self.is_ready {
            manager::status(&match now.as_slice() {
                [] => format!("instance {} is in line with the host", self.name),
                [only] => only.clone(),
                [first, ..] => format!("{first}; and {} more", now.len() - 1),
            });
        }
        self.said = now;
    }
}

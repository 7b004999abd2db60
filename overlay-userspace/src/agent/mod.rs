//! The agent: repairs an instance as soon as the kernel says that something has changed.
//!
//! It keeps nothing that the data path needs, and holds the instance's lock only while it repairs.

mod events;

use std::time::Duration;

use tokio::{
    task::spawn_blocking,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use self::events::{Changes, Events};
use crate::{
    declared::confirm,
    error::{Context as _, Result},
    instance::Instance,
    maps::next_hops,
    netlink::Netlink,
    repair::{Path, repair},
    say,
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

/// Keeps an instance in line with the host, until it is taken down.
///
/// # Errors
///
/// Fails if the kernel refuses a netlink socket.
pub async fn run(name: &str) -> Result<()> {
    let mut agent = Agent { name, netlink: Netlink::connect()?, paths: Vec::new(), said: Vec::new() };
    loop {
        let events = Events::subscribe()?;
        if agent.follow(&events).await == Life::Over {
            return Ok(());
        }
        agent.netlink = Netlink::connect()?;
    }
}

struct Agent<'a> {
    name: &'a str,
    netlink: Netlink,
    /// How the remote VTEPs were reached at the last repair.
    paths: Vec<Path>,
    /// What was off then, and was said.
    said: Vec<String>,
}

impl Agent<'_> {
    /// Repairs whenever something changes, until the kernel says no more or the instance is gone.
    async fn follow(&mut self, events: &Events) -> Life {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
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
                _ = look.tick() => self.repair().await,
            };
            if life == Life::Over {
                return life;
            }
        }
    }

    /// Does what changes ask for.
    async fn act(&mut self, changes: &Changes) -> Life {
        let lost = |path: &Path| changes.neighbours.get(&(path.uplink, path.via)) == Some(&true);
        let mut life = Life::GoesOn;
        if changes.everything || self.paths.iter().any(lost) {
            life = self.repair().await;
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

    async fn repair(&mut self) -> Life {
        let start = Instant::now();
        let mut said = Vec::new();
        match self.try_repair().await {
            Ok(()) => {}
            Err(_) if Instance::glance(self.name).is_none() => return Life::Over,
            Err(error) => said.push(error.to_string()),
        }
        if !said.is_empty() {
            self.say(said);
        }
        sleep((start.elapsed() * (SHARE - 1)).min(MAX_PAUSE)).await;
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
        for repair in report.repairs {
            say::aside(repair);
        }
        self.paths = report.paths;
        self.say(report.warnings);
        Ok(())
    }

    /// Says what is off, if it was not said before.
    fn say(&mut self, now: Vec<String>) {
        for warning in now.iter().filter(|warning| !self.said.contains(warning)) {
            say::aside(warning);
        }
        self.said = now;
    }
}

//! Following what the kernel knows of segments that are adopted: in the agent, or in a process for that alone.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

use super::{GATHER, MAX_PAUSE, events::Events};
use crate::{
    adopt::{self, Followed},
    error::Result,
    netlink::Netlink,
    say,
};

/// How often the lease of what is adopted is renewed: it lasts three times as long.
const RENEW: Duration = Duration::from_secs(1);

/// When to renew.
pub(super) fn renewal() -> Interval {
    let mut renew = interval(RENEW);
    renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
    renew
}

/// Follows, and says each thing once.
#[derive(Debug, Default)]
pub(super) struct Follower {
    said: Vec<String>,
}

impl Follower {
    /// Follows once; whether nothing is adopted any more. A failure is said, and the next time may do better.
    pub(super) async fn follow(&mut self, name: &str, netlink: &Netlink) -> bool {
        let Followed { done, notes, is_over } = match adopt::follow(name, netlink).await {
            Ok(followed) => followed,
            Err(error) => Followed { notes: vec![error.to_string()], ..Followed::default() },
        };
        for line in done.iter().chain(notes.iter().filter(|note| !self.said.contains(note))) {
            say::aside(line);
        }
        self.said = notes;
        is_over
    }
}

/// Follows what the kernel knows of all that the instance of that name has adopted, until it has adopted nothing any more.
///
/// # Errors
///
/// Fails if the kernel refuses a netlink socket.
pub async fn follow_adopted(name: &str) -> Result<()> {
    let mut follower = Follower::default();
    loop {
        let (events, netlink) = (Events::subscribe()?, Netlink::connect()?);
        let mut renew = renewal();
        loop {
            tokio::select! {
                () = events.changed() => {
                    sleep(GATHER).await;
                    let changes = events.take();
                    if changes.ended {
                        break;
                    }
                    if !changes.everything && !changes.stations {
                        continue;
                    }
                }
                _ = renew.tick() => {}
            }
            if follower.follow(name, &netlink).await {
                return Ok(());
            }
            sleep(MAX_PAUSE / 4).await;
        }
    }
}

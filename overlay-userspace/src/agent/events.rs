//! What the kernel says of devices, addresses, routes and neighbours.

use std::{
    collections::HashMap,
    mem,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use futures_util::{Stream, StreamExt as _};
use overlay_common::IfIndex;
use tokio::{sync::Notify, task::JoinHandle};

use crate::{
    error::Result,
    netlink::{Event, Netlink},
};

/// Neighbours to keep apart; beyond, everything counts as changed.
const MAX_NEIGHBOURS: usize = 1024;

/// What has changed since somebody last asked. It takes the same memory however much that is.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Devices, addresses or routes changed.
    pub(super) everything: bool,
    /// Stations that bridges and `vxlan` devices know changed.
    pub(super) stations: bool,
    /// Neighbours that changed; `true`: one was removed.
    pub(super) neighbours: HashMap<(IfIndex, IpAddr), bool>,
    /// How often the kernel had more to tell than could be read.
    pub(super) lost: u64,
    /// When the first of it was told.
    pub(super) first: Option<Instant>,
    /// The kernel says no more.
    pub(super) ended: bool,
}

impl Changes {
    fn add(&mut self, event: Event) {
        match event {
            Event::Other => {}
            Event::Station => self.stations = true,
            Event::Neighbour { device, addr, is_gone } if self.neighbours.len() < MAX_NEIGHBOURS => {
                *self.neighbours.entry((device, addr)).or_default() |= is_gone;
            }
            Event::Neighbour { .. } | Event::Host => self.everything = true,
            // What was lost can have been anything.
            Event::Lost => {
                self.lost += 1;
                self.everything = true;
            }
        }
    }

    fn is_none(&self) -> bool {
        !self.everything && !self.stations && !self.ended && self.neighbours.is_empty()
    }
}

/// Collects what changes.
pub(super) struct Events {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    changes: Mutex<Changes>,
    changed: Notify,
}

impl Shared {
    fn update(&self, update: impl FnOnce(&mut Changes)) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        update(&mut changes);
        if !changes.is_none() {
            changes.first.get_or_insert_with(Instant::now);
            self.changed.notify_one();
        }
    }
}

impl Events {
    /// Starts to collect.
    pub(super) fn subscribe() -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let task = tokio::spawn(collect(Netlink::events()?, Arc::clone(&shared)));
        Ok(Self { shared, task })
    }

    /// Waits until something has changed.
    pub(super) async fn changed(&self) {
        self.shared.changed.notified().await;
    }

    /// What has changed since this was last called.
    pub(super) fn take(&self) -> Changes {
        mem::take(&mut *self.shared.changes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at what has changed.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Changes) -> T) -> T {
        look(&self.shared.changes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn collect(mut events: impl Stream<Item = Event> + Unpin, shared: Arc<Shared>) {
    while let Some(event) = events.next().await {
        shared.update(|changes| changes.add(event));
    }
    shared.update(|changes| changes.ended = true);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded() {
        let mut changes = Changes::default();
        for number in 0..100_000_u32 {
            let device = IfIndex::new(1).expect("not 0");
            changes.add(Event::Neighbour { device, addr: IpAddr::V4(number.into()), is_gone: false });
        }
        assert_eq!(changes.neighbours.len(), MAX_NEIGHBOURS);
        assert!(changes.everything, "the rest is not forgotten");
    }

    #[test]
    fn what_was_lost_counts() {
        let mut changes = Changes::default();
        changes.add(Event::Other);
        assert!(changes.is_none());
        changes.add(Event::Lost);
        assert!(changes.everything);
        assert_eq!(changes.lost, 1);
    }
}

//! Listening to what the programs tell.
//!
//! Each listener has one of a few slots, and so a buffer of its own on each CPU: several hear all that they want. It says until
//! when it is there, and says so again in time; programs tell nothing to one that does not. So nothing is left of a
//! listener that is killed: the kernel frees its buffers and its lock on the slot.

pub mod capture;
pub mod file;
pub mod names;
pub mod sight;

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use aya::maps::perf::PerfEvent;
use futures_util::future::select_all;
use nix::{
    fcntl::{Flock, FlockArg},
    time::{ClockId, clock_gettime},
};
use overlay_common::{
    Notice, Vni,
    maps::event::{Event, Kind, LEASE_NS, Listener, SLOTS},
};
use tokio::{
    io::unix::AsyncFd,
    time::{Interval, MissedTickBehavior, interval},
};

use crate::{
    datapath,
    error::{Context as _, Error, Result},
    instance::Instance,
    maps::{
        events::{self, Buffer, Listeners},
        notices,
    },
};

/// How often a listener looks around, and says that it is still there: well within [`LEASE_NS`].
const TICK: Duration = Duration::from_millis(200);

/// How far the wall clock may be off before it is read again.
const SLACK: Duration = Duration::from_millis(1);

/// Between two looks at clocks that are taken for one, in nanoseconds, and how often that is tried.
const PRECISE_NS: u64 = 50_000;
const TRIES: u32 = 16;

/// Pages of all buffers together, and of each, at most.
const MOST_PAGES: usize = 1 << 14;
const PAGES: usize = 1 << 9;

/// What a listener wants.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Events of these kinds.
    pub kinds: Vec<Kind>,
    /// Those of one segment only, and those whose segment the programs do not know.
    pub vni: Option<Vni>,
    /// Bytes of a packet, at most.
    pub bytes: u32,
}

/// What was heard.
#[derive(Debug)]
pub struct Heard {
    /// When.
    pub time: SystemTime,
    /// On which CPU, by the order of those that are there.
    pub cpu: usize,
    /// What.
    pub event: Event,
    /// What there is of the packet.
    pub packet: Vec<u8>,
}

/// A listener. It ends when it is dropped.
pub struct Ear {
    instance: Instance,
    wanted: Wanted,
    slot: usize,
    place: PathBuf,
    lock: Flock<File>,
    listeners: Listeners,
    buffers: Vec<AsyncFd<Buffer>>,
    tick: Interval,
    /// When the monotonic clock began.
    boot: SystemTime,
    lost_before: u64,
    withheld_before: u64,
}

impl Ear {
    /// Listens from now on to an instance, which is locked.
    ///
    /// # Errors
    ///
    /// Fails if there are as many listeners as there can be, or the kernel refuses something.
    pub fn open(instance: &Instance, wanted: Wanted) -> Result<Self> {
        let captures = wanted.captures();
        if captures {
            datapath::load_capture(instance)?;
        }
        let (slot, place, lock) = claim(instance)?;
        let listeners = Listeners::open(instance)?;
        let pages = |cpus: usize| (MOST_PAGES / cpus.max(1)).clamp(1, PAGES).next_power_of_two();
        let buffers = events::buffers(instance, slot, pages)?.into_iter().map(|buffer| {
            // SAFETY: the buffer owns its descriptor, and keeps it as long as it lives.
            unsafe { AsyncFd::register(buffer) }.context(|| "cannot wait for events")
        });
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ear = Self {
            buffers: buffers.collect::<Result<_>>()?,
            lost_before: listeners.lost(slot)?,
            withheld_before: withheld(instance)?,
            instance: instance.to_look_at(),
            wanted,
            slot,
            place,
            lock,
            listeners,
            tick,
            boot: boot()?,
        };
        ear.renew()?;
        Ok(ear)
    }

    /// The instance, which is not locked.
    #[must_use]
    pub const fn instance(&self) -> &Instance {
        &self.instance
    }

    /// Waits for events, but not long; what came meanwhile, in order. `None`: the instance was taken down.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does.
    pub async fn hear(&mut self) -> Result<Option<Vec<Heard>>> {
        let fired = {
            let readable = self.buffers.iter_mut().map(|buffer| Box::pin(buffer.readable_mut()));
            tokio::select! {
                (guard, _, others) = select_all(readable) => {
                    drop(others);
                    guard.context(|| "cannot wait for events")?.clear_ready();
                    true
                }
                _ = self.tick.tick() => false,
            }
        };
        if !fired {
            if !self.is_there() {
                return Ok(None);
            }
            self.renew()?;
        }
        self.take().map(Some)
    }

    /// What is in the buffers.
    ///
    /// # Errors
    ///
    /// Fails if the clock does.
    pub fn take(&mut self) -> Result<Vec<Heard>> {
        self.follow_clock()?;
        let boot = self.boot;
        let mut heard = Vec::new();
        for (cpu, buffer) in self.buffers.iter_mut().enumerate() {
            buffer.get_mut().for_each(|record| {
                let PerfEvent::Sample { head, tail } = record else { return };
                let bytes = if tail.is_empty() { head.into() } else { [head, tail].concat() };
                if let Some((event, packet)) = Event::read(&bytes) {
                    let time = boot + Duration::from_nanos(event.time);
                    heard.push(Heard { time, cpu, event, packet: packet.to_vec() });
                }
            });
        }
        heard.sort_by_key(|heard| heard.event.time);
        Ok(heard)
    }

    /// How many events found no room in the buffers since this began to listen, and how many programs kept to themselves because
    /// there were too many of their kind.
    ///
    /// # Errors
    ///
    /// Fails if the instance was taken down.
    pub fn missing(&self) -> Result<(u64, u64)> {
        let lost = self.listeners.lost(self.slot)?.saturating_sub(self.lost_before);
        Ok((lost, withheld(&self.instance)?.saturating_sub(self.withheld_before)))
    }

    /// Follows the wall clock where somebody sets it; what is less is only the time between two looks at clocks.
    fn follow_clock(&mut self) -> Result<()> {
        let boot = boot()?;
        let (later, earlier) = if boot > self.boot { (boot, self.boot) } else { (self.boot, boot) };
        if later.duration_since(earlier).is_ok_and(|apart| apart > SLACK) {
            self.boot = boot;
        }
        Ok(())
    }

    /// Whether the instance is still the one that this listens to.
    fn is_there(&self) -> bool {
        let own = self.lock.metadata().map(|metadata| metadata.ino());
        own.is_ok_and(|own| fs::metadata(&self.place).is_ok_and(|metadata| metadata.ino() == own))
    }

    /// Says that this is still there.
    fn renew(&mut self) -> Result<()> {
        let kinds = self.wanted.kinds.iter().fold(0, |all, kind| all | kind.bit());
        let until = monotonic()? + LEASE_NS;
        self.listeners.set(self.slot, Listener::new(kinds, self.wanted.vni, self.wanted.bytes, until))?;
        if self.wanted.captures() && !self.listeners.is_capturing()? {
            events::begin_capture(&self.instance)?;
        }
        Ok(())
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        // Without this, it is believed to be there for a moment.
        let _ = self.listeners.set(self.slot, Listener::default());
    }
}

impl Wanted {
    /// Whether packets have to be captured for it.
    fn captures(&self) -> bool {
        self.kinds.contains(&Kind::Frame)
    }
}

/// Takes a slot that nobody has.
fn claim(instance: &Instance) -> Result<(usize, PathBuf, Flock<File>)> {
    for slot in 0..SLOTS {
        let place = instance.listeners().join(slot.to_string());
        let what = || format!("cannot make {}", place.display());
        fs::create_dir_all(&place).context(what)?;
        let file = File::open(&place).context(what)?;
        if let Ok(lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            return Ok((slot, place, lock));
        }
    }
    Err(Error::Failed(format!(
        "{SLOTS} `overlay monitor` and `overlay capture` listen to instance {} already, and no more can; end one",
        instance.name()
    )))
}

fn withheld(instance: &Instance) -> Result<u64> {
    let all = notices::read(instance)?;
    Ok(all.into_iter().filter(|(notice, _)| *notice == Notice::EventWithheld).map(|(_, count)| count).sum())
}

/// Nanoseconds of the monotonic clock.
fn monotonic() -> Result<u64> {
    let now = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).context(|| "cannot read the clock")?);
    u64::try_from(now.as_nanos()).context(|| "cannot read the clock")
}

/// When the monotonic clock began, by today's wall clock.
fn boot() -> Result<SystemTime> {
    let mut before = monotonic()?;
    for _ in 0..TRIES {
        let now = SystemTime::now();
        let after = monotonic()?;
        if after - before < PRECISE_NS {
            return since(now, before);
        }
        // Somebody else had the CPU between the looks at the clocks.
        before = after;
    }
    since(SystemTime::now(), before)
}

fn since(now: SystemTime, monotonic_ns: u64) -> Result<SystemTime> {
    let began = now.checked_sub(Duration::from_nanos(monotonic_ns));
    began.ok_or_else(|| Error::Failed("the clock is before 1970".to_owned()))
}

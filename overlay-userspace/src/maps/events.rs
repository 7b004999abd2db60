//! `EVENTS`, and `LISTENERS`.

use aya::{
    maps::{
        Array, MapData, PerCpuArray, PerfEventArray,
        perf::{PerfBufferError, PerfEventArrayBuffer},
    },
    util::online_cpus,
};
use overlay_common::maps::{
    event::{LISTENERS, LOST, Listener, NAMES},
    flow::{CAPTURING, GENERATION, OF_PROGRAMS},
};

use super::{fdb, open};
use crate::{
    datapath::{self, CAPTURE_BEGIN},
    error::{Context as _, Error, Result},
    instance::Instance,
};

/// One CPU's buffer.
pub type Buffer = PerfEventArrayBuffer<MapData>;

/// How often it is tried to have packets captured: another CPU may begin a generation at the same time.
const TRIES: u32 = 1000;

/// A buffer of so many pages for each CPU that is there, in the map of a slot. The kernel takes them out of the map when this
/// process ends, however it does.
///
/// # Errors
///
/// Fails if the kernel refuses one.
pub fn buffers(instance: &Instance, slot: usize, pages: impl Fn(usize) -> usize) -> Result<Vec<Buffer>> {
    let name = NAMES[slot];
    let mut map: PerfEventArray<MapData> = open(instance, name)?;
    let cpus = online_cpus().map_err(|(what, error)| Error::failed(what, error))?;
    let pages = pages(cpus.len());
    let opened =
        cpus.into_iter().map(|cpu| map.open(cpu, Some(pages))).collect::<Result<_, PerfBufferError>>();
    opened.context(|| format!("cannot have the kernel put events into map {name}"))
}

/// Who listens.
pub struct Listeners {
    slots: Array<MapData, Listener>,
    lost: PerCpuArray<MapData, u64>,
    generation: Array<MapData, u64>,
}

impl Listeners {
    /// Opens the maps.
    ///
    /// # Errors
    ///
    /// Fails if they are gone.
    pub fn open(instance: &Instance) -> Result<Self> {
        Ok(Self {
            slots: open(instance, LISTENERS)?,
            lost: open(instance, LOST)?,
            generation: open(instance, GENERATION)?,
        })
    }

    /// Says who listens by a slot, which is the caller's.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does.
    pub fn set(&mut self, slot: usize, listener: Listener) -> Result<()> {
        let index = u32::try_from(slot).context(|| "no such slot")?;
        self.slots.set(index, listener, 0).context(|| format!("cannot write map {LISTENERS}"))
    }

    /// How many events have found no room in the buffers of a slot, ever.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does.
    pub fn lost(&self, slot: usize) -> Result<u64> {
        let index = u32::try_from(slot).context(|| "no such slot")?;
        let counts = self.lost.get(&index, 0).context(|| format!("cannot read map {LOST}"))?;
        Ok(counts.iter().sum())
    }

    /// Whether programs capture packets.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does.
    pub fn is_capturing(&self) -> Result<bool> {
        let count = self.generation.get(&OF_PROGRAMS, 0);
        Ok(count.context(|| format!("cannot read map {GENERATION}"))? & CAPTURING != 0)
    }
}

/// Has programs capture packets for those who listen to that, until none of them is left.
///
/// # Errors
///
/// Fails if the kernel does.
pub fn begin_capture(instance: &Instance) -> Result<()> {
    let program = datapath::classifier(instance, CAPTURE_BEGIN)?;
    for _ in 0..TRIES {
        // The kernel takes no frame without any byte behind its header.
        if fdb::run(&program, CAPTURE_BEGIN, &[0])? == 1 {
            return Ok(());
        }
    }
    Err(Error::Failed("the programs are too busy to begin a capture; try again".to_owned()))
}

//! `STATS`.

use std::{collections::BTreeMap, os::fd::AsFd as _, thread, time::Duration};

use aya::{
    Pod,
    maps::{MapData, PerCpuHashMap, PerCpuValues},
    util::nr_cpus,
};
use overlay_common::{
    Vni, VtepId,
    maps::{
        counters::{Counters, CountersKey, NAME},
        tally::{self, Tally},
    },
};

use super::{
    batch, data, open,
    table::{NOT_THERE, is_there, lacks_memory},
};
use crate::{
    error::{Context as _, Result},
    instance::Instance,
};

/// Counts of all segments: to and from each remote VTEP, and, under `None`, between ports of this host.
///
/// # Errors
///
/// Fails if a map is gone.
pub fn read(instance: &Instance) -> Result<BTreeMap<(Vni, Option<VtepId>), Counters>> {
    let mut of_cpus = Vec::new();
    for_each(instance, NAME, |key: &CountersKey, values: &[Counters]| of_cpus.push((*key, values.to_vec())))?;
    // What was not here when `STATS` was read is not looked for.
    let mut tallies = Vec::new();
    for_each(instance, tally::NAME, |_: &u32, values: &[Tally]| tallies.push(values.to_vec()))?;
    let mut all = BTreeMap::new();
    for (key, values) in of_cpus {
        let Some(vni) = key.vni() else { continue };
        let mut sum = Counters::default();
        for (cpu, value) in values.into_iter().enumerate() {
            sum += value;
            if let Some(tally) = tally_of(&tallies, cpu, &value).filter(|tally| tally.key == key) {
                sum += *tally;
            }
        }
        all.insert((vni, key.vtep()), sum);
    }
    Ok(all)
}

/// What a CPU counted at the place that is noted in its counters.
fn tally_of<'a>(tallies: &'a [Vec<Tally>], cpu: usize, counters: &Counters) -> Option<&'a Tally> {
    tallies.get(usize::try_from(counters.tally.checked_sub(1)?).ok()?)?.get(cpu)
}

/// Calls `visit` with what all CPUs have of each entry of a map.
fn for_each<K: Pod, V: Pod>(instance: &Instance, name: &str, visit: impl FnMut(&K, &[V])) -> Result<()> {
    let map = data(instance, name)?;
    batch::for_each_per_cpu(map.fd().as_fd(), cpus()?, visit).context(|| format!("cannot read map {name}"))
}

fn cpus() -> Result<usize> {
    nr_cpus().map_err(|(what, error)| crate::Error::failed(what, error))
}

/// Starts to count for a segment, or for a remote VTEP in it. What is counted already goes on.
///
/// # Errors
///
/// Fails if the map is full.
pub fn start(instance: &Instance, vni: Vni, vtep: Option<VtepId>) -> Result<()> {
    let mut map: PerCpuHashMap<MapData, CountersKey, Counters> = open(instance, NAME)?;
    let cpus = cpus()?;
    let mut tries = 0;
    loop {
        let zeros =
            PerCpuValues::try_from(vec![Counters::default(); cpus]).context(|| "cannot start to count")?;
        match map.insert(CountersKey::new(vni, vtep), zeros, NOT_THERE) {
            Err(error) if is_there(&error) => return Ok(()),
            Err(error) if lacks_memory(&error) && tries < TRIES => {
                tries += 1;
                thread::sleep(PAUSE);
            }
            started => return started.context(|| format!("cannot write map {NAME}")),
        }
    }
}

/// The kernel has few elements for all CPUs at hand, and makes more in the background: whoever starts to count for thousands
/// has to wait for that, each so long,
const PAUSE: Duration = Duration::from_millis(1);
/// and so often.
const TRIES: u32 = 1000;

/// Stops to count for a segment, or for a remote VTEP in it.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn stop(instance: &Instance, vni: Vni, vtep: Option<VtepId>) -> Result<()> {
    let mut map: PerCpuHashMap<MapData, CountersKey, Counters> = open(instance, NAME)?;
    // What was not counted need not be stopped.
    let _ = map.remove(&CountersKey::new(vni, vtep));
    Ok(())
}

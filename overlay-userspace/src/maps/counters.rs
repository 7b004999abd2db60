//! `STATS`.

use std::{collections::BTreeMap, os::fd::AsFd as _, thread, time::Duration};

use aya::{
    maps::{MapData, PerCpuHashMap, PerCpuValues},
    util::nr_cpus,
};
use overlay_common::{
    Vni, VtepId,
    maps::{
        counters::{Counters, CountersKey, NAME},
        early::{self, Pattern},
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

/// Counts of all segments: to and from each remote VTEP, and, under `None`, between ports of this host. What programs have
/// counted in a pattern and have yet to put here is added, so that it is off for a moment only where they do so meanwhile.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn read(instance: &Instance) -> Result<BTreeMap<(Vni, Option<VtepId>), Counters>> {
    let map = data(instance, NAME)?;
    let mut all = BTreeMap::new();
    let sum_up = |key: &CountersKey, values: &[Counters]| {
        let Some(vni) = key.vni() else { return };
        let sum: &mut Counters = all.entry((vni, key.vtep())).or_default();
        *sum = Counters::default();
        for value in values {
            *sum += *value;
        }
    };
    batch::for_each_per_cpu(map.fd().as_fd(), cpus()?, sum_up)
        .context(|| format!("cannot read map {NAME}"))?;
    for (vni, vtep, [packets, bytes]) in counted_early(instance)? {
        if let Some(sum) = all.get_mut(&(vni, Some(vtep))) {
            sum.rx_packets += packets;
            sum.rx_bytes += bytes;
        }
    }
    Ok(all)
}

/// What was counted in patterns.
fn counted_early(instance: &Instance) -> Result<Vec<(Vni, VtepId, [u64; 2])>> {
    let map = data(instance, early::NAME)?;
    let mut all = Vec::new();
    let collect = |_: &u32, patterns: &[Pattern]| all.extend(patterns.iter().filter_map(Pattern::counted));
    batch::for_each_per_cpu(map.fd().as_fd(), cpus()?, collect)
        .context(|| format!("cannot read map {}", early::NAME))?;
    Ok(all)
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

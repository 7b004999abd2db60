//! `NEXT_HOPS`.

use aya::maps::{MapData, PerCpuArray, PerCpuValues};
use overlay_common::{
    VtepId,
    maps::next_hop::{NAME, NextHop, Slot},
};

use super::open;
use crate::{
    error::{Context as _, Result},
    instance::Instance,
};

/// What CPUs last used for a remote VTEP; `is_multipath`: for flows to it.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn read(instance: &Instance, vtep: VtepId, is_multipath: bool) -> Result<Vec<NextHop>> {
    let map: PerCpuArray<MapData, NextHop> = open(instance, NAME)?;
    let own = Slot::new(vtep).index();
    let slots = if is_multipath { Slot::flows() } else { own..own + 1 };
    let mut hops = Vec::new();
    for slot in slots {
        let values = map.get(&slot, 0).context(|| format!("cannot read map {NAME}"))?;
        let is_its = |hop: &NextHop| !hop.is_forgotten() && (!is_multipath || hop.is_of_flow_to(vtep));
        hops.extend(values.iter().copied().filter(is_its));
    }
    Ok(hops)
}

/// Makes every CPU ask the kernel again.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn forget(instance: &Instance, vtep: VtepId) -> Result<()> {
    forget_all(instance, [vtep])
}

/// Makes every CPU ask the kernel again for each of these remote VTEPs.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn forget_all(instance: &Instance, vteps: impl IntoIterator<Item = VtepId>) -> Result<()> {
    disown(instance, vteps.into_iter().map(|vtep| Slot::new(vtep).index()))
}

/// Makes every CPU ask the kernel again for all flows that equal-cost routes are shared out to.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn forget_flows(instance: &Instance) -> Result<()> {
    disown(instance, Slot::flows())
}

/// Each CPU's own program may be going by what stands there, and reads it bit by bit: so all of it stays but whose it is, and until when.
fn disown(instance: &Instance, slots: impl Iterator<Item = u32>) -> Result<()> {
    let mut map: PerCpuArray<MapData, NextHop> = open(instance, NAME)?;
    for slot in slots {
        let hops = map.get(&slot, 0).context(|| format!("cannot read map {NAME}"))?;
        if hops.iter().all(NextHop::is_forgotten) {
            continue;
        }
        let forgotten: Vec<_> = hops.iter().map(|hop| hop.forgotten()).collect();
        let forgotten = PerCpuValues::try_from(forgotten).context(|| "cannot forget a next hop")?;
        map.set(slot, forgotten, 0).context(|| format!("cannot write map {NAME}"))?;
    }
    Ok(())
}

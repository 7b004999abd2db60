//! Uplinks, ports, segments, remote VTEPs, stations and neighbours.

use std::collections::BTreeMap;

use overlay_common::maps::{
    admitted,
    fdb::{FdbEntry, FdbKey, Origin},
    neighbour::{Neighbour, NeighbourKey},
};
use prometheus::Result;

use super::{page::Page, traffic::MOST};
use crate::{
    agent::Tally,
    devices,
    instance::Instance,
    maps::{self, vteps::Vteps},
};

/// Entries by their origin.
type Origins = BTreeMap<&'static str, u64>;

/// What an instance has.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    segments: usize,
    stations: Origins,
    room: u32,
    neighbours: Origins,
    /// By name and role: whether the device is there.
    devices: BTreeMap<(String, &'static str), bool>,
    /// By kind.
    vteps: BTreeMap<&'static str, u64>,
    /// By address; empty until the agent has looked.
    reachable: BTreeMap<String, bool>,
}

fn no_origins() -> Origins {
    Origin::ALL.map(|origin| (origin.name(), 0)).into()
}

/// Reads it.
pub(super) fn read(instance: &Instance, tally: &Tally) -> crate::Result<Inventory> {
    let (mut stations, mut neighbours) = (no_origins(), no_origins());
    maps::fdb::open(instance)?.for_each(|_: &FdbKey, entry: &FdbEntry| {
        *stations.entry(entry.origin().name()).or_default() += 1;
    })?;
    maps::neighbours::open(instance)?.for_each(|_: &NeighbourKey, entry: &Neighbour| {
        *neighbours.entry(entry.origin().name()).or_default() += 1;
    })?;
    let mut inventory = Inventory {
        segments: maps::segments(instance)?.count()?,
        stations,
        room: maps::fdb::size(instance)?,
        neighbours,
        ..Inventory::default()
    };
    for (name, device) in devices::uplinks(instance)? {
        let is_there = device.index().is_some();
        inventory.devices.insert((name.as_str().to_owned(), "uplink"), is_there);
    }
    for (name, device, _) in devices::ports(instance)? {
        inventory.devices.insert((name.as_str().to_owned(), "port"), device.index().is_some());
    }
    inventory.vteps(instance, tally)?;
    Ok(inventory)
}

impl Inventory {
    fn vteps(&mut self, instance: &Instance, tally: &Tally) -> crate::Result<()> {
        let counts = tally.counts();
        self.vteps = [("named", 0), ("admitted", 0), ("group", 0)].into();
        for (id, vtep) in Vteps::open(instance)?.all()? {
            let kind = if vtep.is_group() {
                "group"
            } else if admitted::is_one(id) {
                "admitted"
            } else {
                if counts.looked.is_some() {
                    self.reachable.insert(vtep.remote().to_string(), counts.reached.contains(&id));
                }
                "named"
            };
            *self.vteps.entry(kind).or_default() += 1;
        }
        Ok(())
    }
}

/// Adds it to a page.
pub(super) fn add(page: &Page, inventory: &Inventory) -> Result<()> {
    let of = |map: &BTreeMap<&'static str, u64>| -> Vec<_> {
        map.iter().map(|(key, count)| ([(*key).to_owned()], *count)).collect()
    };
    let stations = of(&inventory.stations);
    page.gauge("overlay_fdb_entries", "Stations in the FDB, by who put them there.", ["origin"], stations)?;
    let room = u64::from(inventory.room);
    page.gauge("overlay_fdb_capacity", "Stations that the FDB has room for.", [], [([], room)])?;
    let neighbours = of(&inventory.neighbours);
    page.gauge("overlay_neighbours", "Neighbours, by who put them there.", ["origin"], neighbours)?;
    page.gauge("overlay_segments", "Segments.", [], [([], inventory.segments as u64)])?;
    page.gauge(
        "overlay_vteps",
        "Remote VTEPs: named by commands, admitted because they spoke to a group, and groups.",
        ["kind"],
        of(&inventory.vteps),
    )?;
    devices(page, inventory)?;
    reachable(page, inventory)
}

/// Adds devices: how many there are, and the first of them one by one, uplinks before ports.
fn devices(page: &Page, inventory: &Inventory) -> Result<()> {
    let mut counts = BTreeMap::from([("port", [0; 2]), ("uplink", [0; 2])]);
    for ((_, role), is_there) in &inventory.devices {
        counts.entry(role).or_default()[usize::from(*is_there)] += 1;
    }
    let rows = counts.iter().flat_map(|(role, [gone, there])| {
        [("gone", *gone), ("served", *there)]
            .map(|(state, count)| ([(*role).to_owned(), state.to_owned()], count))
    });
    page.gauge("overlay_devices", "Uplinks and ports that are wanted, by state.", ["role", "state"], rows)?;
    let mut all: Vec<_> = inventory.devices.iter().collect();
    all.sort_by_key(|((_, role), _)| *role != "uplink");
    let rows = all
        .into_iter()
        .take(MOST)
        .map(|((device, role), is_there)| ([device.clone(), (*role).to_owned()], u64::from(*is_there)));
    page.gauge(
        "overlay_device_served",
        "Whether an uplink or a port is there and served; 0: it is waited for.",
        ["device", "role"],
        rows,
    )
}

/// Adds which VTEPs are reached: how many, and the first of them one by one.
fn reachable(page: &Page, inventory: &Inventory) -> Result<()> {
    let unreachable = inventory.reachable.values().filter(|is_reached| !**is_reached).count();
    page.gauge(
        "overlay_vteps_unreachable",
        "Named remote VTEPs that no route by an uplink led to when the agent last looked.",
        [],
        [([], unreachable as u64)],
    )?;
    let rows = inventory.reachable.iter().take(MOST);
    page.gauge(
        "overlay_vtep_reachable",
        "Whether a route by an uplink led to the named remote VTEP when the agent last looked.",
        ["vtep"],
        rows.map(|(vtep, is_reached)| ([vtep.clone()], u64::from(*is_reached))),
    )
}

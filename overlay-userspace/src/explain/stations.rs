//! The FDB entries that a frame can meet.

use std::collections::{BTreeMap, BTreeSet};

use overlay_common::{
    MacAddr, Vni,
    header::{eth, ipv6, udp, vxlan},
    maps::{
        adopted::Station,
        fdb::{FdbEntry, FdbKey, Place},
        neighbour::NeighbourKey,
    },
};

use super::Side;
use crate::{
    error::Result,
    instance::Instance,
    maps::{self, fdb, neighbours},
    netlink::Link,
};

/// The entries that a frame can meet, and whether there is room for more.
pub(super) struct Stations {
    entries: BTreeMap<FdbKey, FdbEntry>,
    adopted: BTreeMap<FdbKey, Station>,
    is_full: bool,
    source: Option<MacAddr>,
}

impl Stations {
    /// Reads what is known of a frame's stations in every segment, and of the stations of neighbours, which may be asked for.
    ///
    /// Of the whole FDB a copy would take as long as loading it did.
    pub(super) fn read(instance: &Instance, side: Side, frame: &[u8]) -> Result<Self> {
        let table = fdb::open(instance)?;
        let is_full = table.count()? >= usize::try_from(fdb::size(instance)?).unwrap_or(usize::MAX);
        let mut keys = BTreeSet::new();
        let macs = macs(side, frame);
        let source = macs[1];
        maps::segments(instance)?.for_each(|vni, _| {
            let key = |mac: &MacAddr| Some(FdbKey::new(Vni::new(*vni)?, *mac));
            keys.extend(macs.iter().flatten().filter_map(key));
        })?;
        neighbours::open(instance)?.for_each(|key: &NeighbourKey, neighbour| {
            let station = neighbour.station(*key).map(|(mac, _)| mac);
            keys.extend(key.vni().zip(station).map(|(vni, mac)| FdbKey::new(vni, mac)));
        })?;
        let mut entries = BTreeMap::new();
        for key in keys {
            if let Some(entry) = table.get(key)? {
                entries.insert(key, entry);
            }
        }
        let adopted = adopted(instance, macs)?;
        Ok(Self { entries, adopted, is_full, source })
    }

    pub(super) const fn entries(&self) -> &BTreeMap<FdbKey, FdbEntry> {
        &self.entries
    }

    /// What the kernel knows of its stations in segments that are adopted.
    pub(super) const fn adopted(&self) -> &BTreeMap<FdbKey, Station> {
        &self.adopted
    }

    /// Whether the FDB has no room for another.
    pub(super) const fn fill_the_fdb(&self) -> bool {
        self.is_full
    }

    /// Who the workload's frame is from, if it is long enough to say.
    pub(super) const fn source(&self) -> Option<MacAddr> {
        self.source
    }

    /// What is known of a station.
    pub(super) fn get(&self, vni: Vni, mac: MacAddr) -> Option<&FdbEntry> {
        self.entries.get(&FdbKey::new(vni, mac))
    }
}

/// What the kernel knows of these stations in each segment that is adopted.
fn adopted(instance: &Instance, macs: [Option<MacAddr>; 2]) -> Result<BTreeMap<FdbKey, Station>> {
    let stations = maps::adopted_stations(instance)?;
    let mut found = BTreeMap::new();
    for vni in maps::adopted(instance)?.entries()?.into_keys().filter_map(Vni::new) {
        for key in macs.into_iter().flatten().map(|mac| FdbKey::new(vni, mac)) {
            found.extend(stations.get(key)?.map(|station| (key, station)));
        }
    }
    Ok(found)
}

/// Destination and source of the workload's frame, which a tunnel packet carries.
fn macs(side: Side, frame: &[u8]) -> [Option<MacAddr>; 2] {
    let start = match side {
        Side::Port | Side::Member => Some(0),
        Side::Uplink => inner_start(frame),
    };
    let address = |at: usize| frame.get(at..)?.first_chunk().copied().map(MacAddr::new);
    [start.and_then(address), start.and_then(|start| address(start + 6))]
}

/// Where the inner frame of a tunnel packet begins, if it is one.
fn inner_start(packet: &[u8]) -> Option<usize> {
    let ether_type = packet.get(eth::LEN - 2..eth::LEN)?;
    let behind = match ether_type {
        [0x08, 0x00] => usize::from(packet.get(eth::LEN)? & 0xf) * 4,
        [0x86, 0xdd] => match packet.get(eth::LEN + 6)? {
            44 => ipv6::LEN + ipv6::FRAGMENT_LEN,
            _ => ipv6::LEN,
        },
        _ => return None,
    };
    Some(eth::LEN + behind + udp::LEN + vxlan::LEN)
}

/// A station that is known behind a port, the first by address.
///
/// # Errors
///
/// Fails if the kernel does.
pub fn behind(instance: &Instance, port: &Link) -> Result<Option<MacAddr>> {
    let mut first: Option<MacAddr> = None;
    let mut look = |key: &FdbKey, place: Option<Place>| {
        let is_there = place.and_then(Place::port) == Some(port.index);
        if is_there && first.is_none_or(|first| key.mac() < first) {
            first = Some(key.mac());
        }
    };
    fdb::open(instance)?.for_each(|key, entry| look(key, key.vni().and_then(|vni| entry.place(vni))))?;
    maps::adopted_stations(instance)?
        .for_each(|key: &FdbKey, entry| look(key, key.vni().and_then(|vni| entry.place(vni))))?;
    Ok(first)
}

//! Typed handles on the pinned maps, named after what `overlay-common` calls them.

pub mod admitted;
mod batch;
pub mod config;
pub(crate) mod copy;
pub mod counters;
pub mod drops;
pub mod events;
pub mod fdb;
pub mod flood;
pub mod generation;
pub mod learned;
pub mod neighbours;
pub mod next_hops;
pub mod notices;
pub mod path_mtus;
pub mod port_counters;
mod table;
pub mod vteps;

pub use table::{Added, Table};

use aya::maps::{Map, MapData, MapError};

use overlay_common::{
    UnderlayAddr,
    maps::{
        adopted::{self, Adopted, Station},
        bum_rate::{self, BumRate},
        device::{self, Device, DeviceName},
        fdb::FdbKey,
        managed::{self, Managed},
        mdb::{self, MdbEntry, MdbKey},
        member::{self, MemberKey},
        parked::{self, Parked, ParkedVlan},
        port::{self, Port},
        segment::{self, Segment},
        uplink::{self, Uplink},
        vlan::{self, TagKey, VlanKey},
        vtep_ids,
    },
};

use crate::{
    error::{Context as _, Result},
    instance::Instance,
};

/// Opens a pinned map.
fn data(instance: &Instance, name: &str) -> Result<MapData> {
    MapData::from_pin(instance.maps().join(name))
        .context(|| format!("cannot open map {name} of instance {}", instance.name()))
}

/// Opens a pinned map as whatever it has to be.
fn open<T: TryFrom<Map, Error = MapError>>(instance: &Instance, name: &str) -> Result<T> {
    Map::from_map_data(data(instance, name)?)
        .and_then(T::try_from)
        .context(|| format!("cannot open map {name} of instance {}", instance.name()))
}

/// `ADOPTED`: VNI to the `vxlan` device of the kernel.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn adopted(instance: &Instance) -> Result<Table<u32, Adopted>> {
    Table::open(instance, adopted::NAME)
}

/// `ADOPTED_PORTS`: device index of a bridge member to VNI.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn adopted_ports(instance: &Instance) -> Result<Table<u32, u32>> {
    Table::open(instance, adopted::PORTS_NAME)
}

/// `ADOPTED_STATIONS`: what the kernel knows of stations.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn adopted_stations(instance: &Instance) -> Result<Table<FdbKey, Station>> {
    Table::open(instance, adopted::STATIONS_NAME)
}

/// `PORTS`: device index to port.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn ports(instance: &Instance) -> Result<Table<u32, Port>> {
    Table::open(instance, port::NAME)
}

/// `SEGMENTS`: VNI to settings.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn segments(instance: &Instance) -> Result<Table<u32, Segment>> {
    Table::open(instance, segment::NAME)
}

/// `UPLINKS`: device index to uplink.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn uplinks(instance: &Instance) -> Result<Table<u32, Uplink>> {
    Table::open(instance, uplink::NAME)
}

/// `MEMBERS`: segment and address to the remote VTEP's id.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn members(instance: &Instance) -> Result<Table<MemberKey, u32>> {
    Table::open(instance, member::NAME)
}

/// `BUM_RATES`: device index to the limit of a port.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn bum_rates(instance: &Instance) -> Result<Table<u32, BumRate>> {
    Table::open(instance, bum_rate::NAME)
}

/// `MDB`: who listens to which multicast group.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn mdb(instance: &Instance) -> Result<Table<MdbKey, MdbEntry>> {
    Table::open(instance, mdb::NAME)
}

/// `MANAGED`: the neighbours that the kernel was asked to keep resolved.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn managed(instance: &Instance) -> Result<Table<Managed, u32>> {
    Table::open(instance, managed::NAME)
}

/// `DEVICES`: name to the device that is wanted.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn devices(instance: &Instance) -> Result<Table<DeviceName, Device>> {
    Table::open(instance, device::NAME)
}

/// `PARKED`: stations that wait for a port.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn parked(instance: &Instance) -> Result<Table<FdbKey, Parked>> {
    Table::open(instance, parked::NAME)
}

/// `PARKED_VLANS`: VLANs that wait for a trunk port, to VNI.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn parked_vlans(instance: &Instance) -> Result<Table<ParkedVlan, u32>> {
    Table::open(instance, parked::VLANS_NAME)
}

/// `VLANS`: VLAN of a trunk port to VNI.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn vlans(instance: &Instance) -> Result<Table<VlanKey, u32>> {
    Table::open(instance, vlan::NAME)
}

/// `TAGS`: segment on a trunk port to VLAN id.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn tags(instance: &Instance) -> Result<Table<TagKey, u32>> {
    Table::open(instance, vlan::TAGS_NAME)
}

/// Makes the maps that only commands use.
///
/// # Errors
///
/// Fails if the kernel refuses one.
pub fn create(instance: &Instance) -> Result<()> {
    Table::<DeviceName, Device>::create(instance, device::NAME, device::MAX_ENTRIES)?;
    Table::<Managed, u32>::create(instance, managed::NAME, managed::MAX_ENTRIES)?;
    Table::<FdbKey, Parked>::create(instance, parked::NAME, parked::MAX_ENTRIES)?;
    Table::<ParkedVlan, u32>::create(instance, parked::VLANS_NAME, vlan::MAX_ENTRIES)
}

/// `VTEP_IDS`: address to the remote VTEP's id.
fn vtep_ids(instance: &Instance) -> Result<Table<UnderlayAddr, u32>> {
    Table::open(instance, vtep_ids::NAME)
}

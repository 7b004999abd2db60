//! `PARKED`: stations that are wanted behind ports whose devices are not there. No program reads it.

use bytemuck::{Pod, Zeroable};

use super::{device::DeviceName, fdb::FdbEntry, map_data};

/// The map's name: a hash of [`super::fdb::FdbKey`] to [`Parked`].
pub const NAME: &str = "PARKED";

/// Stations that can be parked.
pub const MAX_ENTRIES: usize = 1 << 16;

/// A station that waits for a port.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Parked {
    port: DeviceName,
    entry: FdbEntry,
}

map_data!(Parked);

impl Parked {
    /// A station behind the port of that name, as it stood in the FDB.
    #[must_use]
    pub const fn new(port: DeviceName, entry: FdbEntry) -> Self {
        Self { port, entry }
    }

    /// The port that it waits for.
    #[must_use]
    pub const fn port(&self) -> DeviceName {
        self.port
    }

    /// The entry as it stood in the FDB. The device it names is not there any more.
    #[must_use]
    pub const fn entry(&self) -> &FdbEntry {
        &self.entry
    }
}

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use aya::{
    Pod,
    maps::{HashMap, Map, MapData, MapError},
};

use super::{batch, data};
use crate::{
    error::{Context as _, Error, Result},
    instance::Instance,
};

/// Not all memory at once (`include/uapi/linux/bpf.h`).
const BPF_F_NO_PREALLOC: u32 = 1;

/// A hash map of the data path.
#[derive(Debug)]
pub struct Table<K, V> {
    name: &'static str,
    map: HashMap<MapData, K, V>,
    fd: OwnedFd,
}

impl<K: Pod, V: Pod> Table<K, V> {
    /// Opens the map of that name.
    pub(super) fn open(instance: &Instance, name: &'static str) -> Result<Self> {
        let what = || format!("cannot open map {name} of instance {}", instance.name());
        let data = data(instance, name)?;
        let fd = data.fd().as_fd().try_clone_to_owned().context(what)?;
        let map = Map::from_map_data(data).and_then(HashMap::try_from).context(what)?;
        Ok(Self { name, map, fd })
    }

    /// Makes a map that no program reads, and pins it; it takes memory as entries come.
    pub(super) fn create(instance: &Instance, name: &'static str, entries: usize) -> Result<()> {
        let what = || format!("cannot make map {name}");
        let entries = u32::try_from(entries).context(what)?;
        let map = HashMap::<MapData, K, V>::create(entries, BPF_F_NO_PREALLOC).context(what)?;
        map.pin(instance.maps().join(name)).context(what)
    }

    /// The value of a key, if there is one.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does.
    pub fn get(&self, key: K) -> Result<Option<V>> {
        match self.map.get(&key, 0) {
            Ok(value) => Ok(Some(value)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(Error::failed(format!("cannot read map {}", self.name), error)),
        }
    }

    /// Sets the value of a key.
    ///
    /// # Errors
    ///
    /// Fails if the map is full, saying so.
    pub fn put(&mut self, key: K, value: &V) -> Result<()> {
        self.map.insert(key, value, 0).map_err(|error| {
            if is_full(&error) {
                Error::Failed(format!("map {} is full; remove entries first", self.name))
            } else {
                Error::failed(format!("cannot write map {}", self.name), error)
            }
        })
    }

    /// Adds a key that is not there.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does otherwise.
    pub fn add(&mut self, key: K, value: &V) -> Result<Added> {
        match self.map.insert(key, value, NOT_THERE) {
            Ok(()) => Ok(Added::New),
            Err(error) if is_there(&error) => Ok(Added::Known),
            Err(error) if is_full(&error) => Ok(Added::Full),
            Err(error) => Err(Error::failed(format!("cannot write map {}", self.name), error)),
        }
    }

    /// Calls `visit` with each entry, in any order. The programs may change the map meanwhile: what is there all along comes
    /// once.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does.
    pub fn for_each(&self, mut visit: impl FnMut(&K, &V)) -> Result<()> {
        let visit_all =
            |keys: &[K], values: &[V]| keys.iter().zip(values).for_each(|(key, value)| visit(key, value));
        batch::for_each(self.fd.as_fd(), visit_all).context(|| format!("cannot read map {}", self.name))
    }

    /// How many entries there are.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does.
    pub fn count(&self) -> Result<usize> {
        let mut count = 0;
        batch::for_each(self.fd.as_fd(), |keys: &[K], _: &[V]| count += keys.len())
            .context(|| format!("cannot read map {}", self.name))?;
        Ok(count)
    }

    /// Removes a key; `false` if it was not there.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does.
    pub fn remove(&mut self, key: K) -> Result<bool> {
        match self.map.remove(&key) {
            Ok(()) => Ok(true),
            Err(MapError::KeyNotFound) => Ok(false),
            Err(MapError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => {
                Ok(false)
            }
            Err(error) => Err(Error::failed(format!("cannot write map {}", self.name), error)),
        }
    }
}

impl<K: Pod + Ord, V: Pod> Table<K, V> {
    /// All entries, in the order of their keys. The programs may change the map meanwhile: each key comes once.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does.
    pub fn entries(&self) -> Result<BTreeMap<K, V>> {
        let mut all = Vec::new();
        self.for_each(|key, value| all.push((*key, *value)))?;
        Ok(all.into_iter().collect())
    }
}

/// `BPF_NOEXIST`: adds, and changes nothing that is there.
pub(super) const NOT_THERE: u64 = 1;

/// What became of a key that was to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It is there, and was not before.
    New,
    /// It was there before, and is as it was.
    Known,
    /// The map is full.
    Full,
}

/// Whether the kernel refused an entry because it is there.
pub(super) fn is_there(error: &MapError) -> bool {
    matches!(error, MapError::SyscallError(error) if error.io_error.raw_os_error() == Some(libc::EEXIST))
}

/// Whether the kernel had no memory for an entry at hand (`ENOMEM`).
pub(super) fn lacks_memory(error: &MapError) -> bool {
    matches!(error, MapError::SyscallError(error) if error.io_error.raw_os_error() == Some(libc::ENOMEM))
}

/// Whether the kernel refused an entry because there are as many as there can be (`E2BIG`).
fn is_full(error: &MapError) -> bool {
    matches!(error, MapError::SyscallError(error) if error.io_error.raw_os_error() == Some(libc::E2BIG))
}

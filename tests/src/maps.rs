//! All that an instance's maps hold, byte for byte.

use std::{
    collections::BTreeMap,
    fs, io,
    os::fd::{AsFd as _, AsRawFd as _},
    path::Path,
    ptr,
};

use anyhow::{Context as _, Result, ensure};
use aya::maps::{MapData, MapInfo, MapType};

use crate::overlay::Instance;

/// Maps by name, entries by key; of a queue the element whose turn it is. Program arrays are left out.
pub type Contents = BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>;

/// `BPF_MAP_LOOKUP_ELEM` and `BPF_MAP_LOOKUP_BATCH` of `include/uapi/linux/bpf.h`.
const LOOKUP_ELEM: libc::c_int = 1;
const LOOKUP_BATCH: libc::c_int = 24;

/// Entries in a system call: more than are in one bucket of a hash.
const COUNT: usize = 4096;

/// What the former takes of `union bpf_attr`.
#[repr(C)]
struct Element {
    map_fd: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// What the latter takes.
#[repr(C)]
struct Batch {
    from: u64,
    to: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    element_flags: u64,
    flags: u64,
}

/// Reads all of them.
pub fn contents(instance: &Instance<'_>) -> Result<Contents> {
    let mut all = Contents::new();
    for entry in fs::read_dir(instance.pins().join("maps"))? {
        let path = entry?.path();
        let name = path.file_name().context("no name")?.to_string_lossy().into_owned();
        let what = || path.display().to_string();
        let info = MapInfo::from_pin(&path).with_context(what)?;
        // These hold programs, and buffers of those who listen.
        if !matches!(info.map_type()?, MapType::ProgramArray | MapType::PerfEventArray) {
            all.insert(name, read(&path, &info).with_context(what)?);
        }
    }
    ensure!(all.len() > 20, "only {} maps", all.len());
    Ok(all)
}

/// The first map and key whose values differ, if any do.
#[must_use]
pub fn difference(one: &Contents, other: &Contents) -> Option<String> {
    if one.keys().ne(other.keys()) {
        return Some("there are other maps".to_owned());
    }
    for (name, entries) in one {
        let others = &other[name];
        for key in entries.keys().chain(others.keys()) {
            let (before, after) = (entries.get(key), others.get(key));
            if before != after {
                return Some(format!("{name} at {key:02x?}: {before:02x?} and then {after:02x?}"));
            }
        }
    }
    None
}

fn read(path: &Path, info: &MapInfo) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let map = MapData::from_pin(path)?;
    let fd = map.fd().as_fd().as_raw_fd().cast_unsigned();
    let key_size = usize::try_from(info.key_size())?;
    // A per-CPU map has a value for each CPU that there could be, in words.
    let of_one = usize::try_from(info.value_size())?;
    let value_size = match info.map_type()? {
        MapType::PerCpuArray | MapType::PerCpuHash | MapType::LruPerCpuHash => {
            of_one.next_multiple_of(8) * cpus()?
        }
        _ => of_one,
    };
    if key_size == 0 { head(fd, value_size) } else { all(fd, key_size, value_size) }
}

fn cpus() -> Result<usize> {
    aya::util::nr_cpus().map_err(|(_, error)| error.into())
}

/// The element of a queue whose turn it is.
fn head(map_fd: u32, size: usize) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut value = vec![0_u8; size];
    let mut attributes = Element { map_fd, pad: 0, key: 0, value: value.as_mut_ptr() as u64, flags: 0 };
    // SAFETY: the kernel reads the attributes, and writes no more than the value has room for.
    let found = unsafe { call(LOOKUP_ELEM, &mut attributes) }?;
    Ok(found.then_some((Vec::new(), value)).into_iter().collect())
}

/// All entries but those that are zero.
fn all(map_fd: u32, key_size: usize, value_size: usize) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut entries = BTreeMap::new();
    let (mut keys, mut values) = (vec![0_u8; COUNT * key_size], vec![0_u8; COUNT * value_size]);
    // Where the kernel goes on is a word or a key.
    let (mut from, mut to) = ([0_u8; 64], [0_u8; 64]);
    let mut is_first = true;
    loop {
        let mut attributes = Batch {
            from: if is_first { 0 } else { from.as_mut_ptr() as u64 },
            to: to.as_mut_ptr() as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: u32::try_from(COUNT)?,
            map_fd,
            element_flags: 0,
            flags: 0,
        };
        // SAFETY: the kernel reads the attributes and writes no more than there is room for.
        let goes_on = unsafe { call(LOOKUP_BATCH, &mut attributes) }?;
        let found = usize::try_from(attributes.count)?;
        for (key, value) in keys.chunks(key_size).zip(values.chunks(value_size)).take(found) {
            if value.iter().any(|byte| *byte != 0) {
                entries.insert(key.to_vec(), value.to_vec());
            }
        }
        if !goes_on {
            return Ok(entries);
        }
        (from, is_first) = (to, false);
    }
}

/// Makes a call; `false` where the kernel found nothing, or nothing more.
///
/// # Safety
///
/// The attributes are those of the command, and point to as much as it reads and writes.
unsafe fn call<T>(command: libc::c_int, attributes: &mut T) -> Result<bool> {
    // SAFETY: the caller promises it.
    let code = unsafe { libc::syscall(libc::SYS_bpf, command, ptr::from_mut(attributes), size_of::<T>()) };
    match (code, io::Error::last_os_error()) {
        (0, _) => Ok(true),
        (_, error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        (_, error) => Err(error.into()),
    }
}

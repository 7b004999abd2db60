//! Copies of pinned maps for programs that explain: what those write stays theirs.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd},
};

use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, MapError, MapInfo, Queue},
};

use super::{batch, data};
use crate::{
    error::{Context as _, Error, Result},
    instance::Instance,
};

/// How many entries a pinned map has room for.
pub(crate) fn room(instance: &Instance, name: &str) -> Result<u32> {
    let info = MapInfo::from_pin(instance.maps().join(name)).context(|| format!("cannot open map {name}"))?;
    Ok(info.max_entries())
}

/// Puts entries into the programs' own hash of that name.
pub(crate) fn fill<'a, K: Pod, V: Pod>(
    ebpf: &mut Ebpf,
    name: &str,
    entries: impl IntoIterator<Item = (&'a K, &'a V)>,
) -> Result<()> {
    let what = || format!("cannot copy map {name}");
    let mut map: HashMap<_, K, V> = own(ebpf, name)?.try_into().context(what)?;
    entries.into_iter().try_for_each(|(key, value)| map.insert(key, value, 0)).context(what)
}

/// Copies all entries of a pinned hash to the programs' own.
pub(crate) fn hash<K: Pod, V: Pod>(instance: &Instance, ebpf: &mut Ebpf, name: &str) -> Result<()> {
    each(instance, name, |keys: &[K], values: &[V]| fill(ebpf, name, keys.iter().zip(values)))
}

/// Copies all entries of a pinned array.
pub(crate) fn array<V: Pod>(instance: &Instance, ebpf: &mut Ebpf, name: &str) -> Result<()> {
    let what = || format!("cannot copy map {name}");
    each(instance, name, |indices: &[u32], values: &[V]| {
        let mut map: Array<_, V> = own(ebpf, name)?.try_into().context(what)?;
        indices
            .iter()
            .zip(values)
            .try_for_each(|(index, value)| map.set(*index, value, 0))
            .map_err(|error: MapError| Error::failed(what(), error))
    })
}

/// Copies the element of a pinned queue whose turn it is, if there is one: no call reads the others and leaves them there.
pub(crate) fn head(instance: &Instance, ebpf: &mut Ebpf, name: &str) -> Result<()> {
    let what = || format!("cannot copy map {name}");
    let pinned = data(instance, name)?;
    let Some(element) = peek(pinned.fd().as_fd()).context(what)? else {
        return Ok(());
    };
    let mut queue: Queue<_, u32> = own(ebpf, name)?.try_into().context(what)?;
    queue.push(element, 0).context(what)
}

fn own<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut aya::maps::Map> {
    ebpf.map_mut(name).ok_or_else(|| Error::Failed(format!("the explaining programs have no map {name}")))
}

fn each<K: Pod, V: Pod>(
    instance: &Instance,
    name: &str,
    mut visit: impl FnMut(&[K], &[V]) -> Result<()>,
) -> Result<()> {
    let pinned = data(instance, name)?;
    let mut outcome = Ok(());
    batch::for_each(pinned.fd().as_fd(), |keys: &[K], values: &[V]| {
        if outcome.is_ok() {
            outcome = visit(keys, values);
        }
    })
    .context(|| format!("cannot read map {name}"))?;
    outcome
}

/// `BPF_MAP_LOOKUP_ELEM` of `include/uapi/linux/bpf.h`, which leaves a queue as it is.
const LOOKUP_ELEM: libc::c_int = 1;

/// What that takes of `union bpf_attr`.
#[repr(C)]
struct Attributes {
    map_fd: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// The element of a queue of words whose turn it is.
fn peek(queue: BorrowedFd<'_>) -> io::Result<Option<u32>> {
    let mut element = 0_u32;
    let mut attributes = Attributes {
        map_fd: queue.as_raw_fd().cast_unsigned(),
        pad: 0,
        key: 0,
        value: (&raw mut element) as u64,
        flags: 0,
    };
    // SAFETY: the kernel reads the attributes, and writes one word.
    match unsafe { batch::bpf(LOOKUP_ELEM, &mut attributes) } {
        Ok(()) => Ok(Some(element)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

//! Reading whole maps, many entries in a system call (`BPF_MAP_LOOKUP_BATCH`, Linux 5.6), which aya does not offer.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
    ptr,
};

use aya::Pod;

/// `BPF_MAP_LOOKUP_BATCH` of `include/uapi/linux/bpf.h`.
const LOOKUP_BATCH: libc::c_int = 24;

/// Entries in a system call: enough that the call itself costs nothing, and more than the kernel ever has in one bucket of a
/// hash that is not made to have them there.
const COUNT: usize = 4096;

/// Where the kernel goes on: a bucket of a hash, or a key of an array.
type Position = u64;

/// `struct { .. } batch` of `union bpf_attr`.
#[repr(C)]
struct Attributes {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// Has the kernel do something with maps (`bpf(2)`), for which aya has no call.
///
/// # Errors
///
/// The kernel's.
///
/// # Safety
///
/// `A` is what the command takes of `union bpf_attr`, and what it points to is as the command wants it.
pub(super) unsafe fn bpf<A>(command: libc::c_int, attributes: &mut A) -> io::Result<()> {
    // SAFETY: the attributes are as long as said; the caller sees to the rest.
    match unsafe { libc::syscall(libc::SYS_bpf, command, ptr::from_mut(attributes), size_of::<A>()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Calls `visit` with all entries of a hash or an array, many at a time. Of a hash that programs change meanwhile, each entry
/// that is there all along comes once.
///
/// # Errors
///
/// Fails if the kernel does. `K` and `V` have to be of the sizes that the map has.
pub(super) fn for_each<K: Pod, V: Pod>(map: BorrowedFd<'_>, visit: impl FnMut(&[K], &[V])) -> io::Result<()> {
    for_each_of(map, COUNT, 1, visit)
}

/// The same with each entry of a per-CPU map, and its values on the CPUs, `cpus` of them ([`aya::util::nr_cpus`]).
///
/// # Errors
///
/// As [`for_each`]. The size of `V` has to be a multiple of 8.
pub(super) fn for_each_per_cpu<K: Pod, V: Pod>(
    map: BorrowedFd<'_>,
    cpus: usize,
    mut visit: impl FnMut(&K, &[V]),
) -> io::Result<()> {
    const { assert!(size_of::<V>().is_multiple_of(8), "the kernel would leave gaps") };
    let visit_all = |keys: &[K], values: &[V]| {
        keys.iter().zip(values.chunks_exact(cpus)).for_each(|(key, values)| visit(key, values));
    };
    for_each_of(map, (COUNT / cpus).max(SMALL), cpus, visit_all)
}

/// The least that is asked for at a time.
const SMALL: usize = 64;

/// Visits entries that have so many values each, `count` at a time.
fn for_each_of<K: Pod, V: Pod>(
    map: BorrowedFd<'_>,
    mut count: usize,
    each: usize,
    mut visit: impl FnMut(&[K], &[V]),
) -> io::Result<()> {
    let (mut from, mut to): (Position, Position) = (0, 0);
    let mut is_first = true;
    loop {
        let (mut keys, mut values) =
            (Vec::<K>::with_capacity(count), Vec::<V>::with_capacity(count.saturating_mul(each)));
        let mut attributes = Attributes {
            in_batch: if is_first { 0 } else { (&raw mut from) as u64 },
            out_batch: (&raw mut to) as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: u32::try_from(count).map_err(io::Error::other)?,
            map_fd: map.as_raw_fd().cast_unsigned(),
            elem_flags: 0,
            flags: 0,
        };
        // SAFETY: the kernel reads and writes the attributes, reads one position and writes the other, and writes no more keys
        // and values than there is room for.
        let ended = match unsafe { bpf(LOOKUP_BATCH, &mut attributes) } {
            Ok(()) => false,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
            // More entries are in one bucket than there is room for.
            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {
                count = count.saturating_mul(2);
                continue;
            }
            Err(error) => return Err(error),
        };
        let found = (attributes.count as usize).min(count);
        // SAFETY: the kernel wrote so many, and any bytes are a key and values.
        unsafe {
            keys.set_len(found);
            values.set_len(found * each);
        }
        visit(&keys, &values);
        if ended {
            return Ok(());
        }
        (from, is_first) = (to, false);
    }
}

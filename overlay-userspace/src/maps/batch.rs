//! Reading whole maps, many entries in a system call (`BPF_MAP_LOOKUP_BATCH`, Linux 5.6), which aya does not offer.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
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

/// Calls `visit` with all entries of a hash or an array, many at a time. Of a hash that programs change meanwhile, each entry
/// that is there all along comes once.
///
/// # Errors
///
/// Fails if the kernel does. `K` and `V` have to be of the sizes that the map has.
pub(super) fn for_each<K: Pod, V: Pod>(
    map: BorrowedFd<'_>,
    mut visit: impl FnMut(&[K], &[V]),
) -> io::Result<()> {
    let (mut from, mut to): (Position, Position) = (0, 0);
    let mut is_first = true;
    let mut count = COUNT;
    loop {
        let (mut keys, mut values) = (Vec::<K>::with_capacity(count), Vec::<V>::with_capacity(count));
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
        let length = size_of::<Attributes>();
        // SAFETY: the kernel reads and writes the attributes, which are as long as said, reads one position and writes the
        // other, and writes no more keys and values than there is room for.
        let code = unsafe { libc::syscall(libc::SYS_bpf, LOOKUP_BATCH, &raw mut attributes, length) };
        let ended = match (code, io::Error::last_os_error()) {
            (0, _) => false,
            (_, error) if error.raw_os_error() == Some(libc::ENOENT) => true,
            // More entries are in one bucket than there is room for.
            (_, error) if error.raw_os_error() == Some(libc::ENOSPC) => {
                count = count.saturating_mul(2);
                continue;
            }
            (_, error) => return Err(error),
        };
        let found = (attributes.count as usize).min(count);
        // SAFETY: the kernel wrote so many, and any bytes are a key and a value.
        unsafe {
            keys.set_len(found);
            values.set_len(found);
        }
        visit(&keys, &values);
        if ended {
            return Ok(());
        }
        (from, is_first) = (to, false);
    }
}

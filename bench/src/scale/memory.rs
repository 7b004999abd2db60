//! What maps take of the kernel's memory.

use std::{fs, os::fd::AsRawFd as _};

use anyhow::{Context as _, Result};
use aya::maps::MapInfo;
use overlay_common::maps::{ageing, fdb};
use overlay_tests::overlay::Instance;

/// Bytes of the tables of stations: the FDB itself, and the queue of those that age.
pub(super) fn of_stations(instance: &Instance<'_>) -> Result<u64> {
    Ok(of(instance, fdb::NAME)? + of(instance, ageing::NAME)?)
}

/// Bytes of a map as the kernel counts them for whoever has it open (`bpf_map_show_fdinfo` in `kernel/bpf/syscall.c`): of a hash
/// its buckets, and its elements as its allocator has them.
fn of(instance: &Instance<'_>, name: &str) -> Result<u64> {
    let map = MapInfo::from_pin(instance.pins().join("maps").join(name))?.fd()?;
    let fd = std::os::fd::AsFd::as_fd(&map).as_raw_fd();
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{fd}"))?;
    let bytes = text.lines().find_map(|line| line.strip_prefix("memlock:")?.trim().parse().ok());
    bytes.with_context(|| format!("the kernel does not tell what map {name} takes: {text}"))
}

//! Instances whose network namespace is gone, and with it all that they had outside their pins.

use std::{
    fs,
    path::{Path, PathBuf},
};

use aya::programs::links::PinnedLink;
use overlay_common::maps::config::Config;

use crate::{
    error::{Context as _, Result},
    instance::Instance,
    netns,
};

/// Whether the network namespace of an instance is gone.
///
/// # Errors
///
/// Fails if the instance's pins cannot be read.
pub(crate) fn is_one(instance: &Instance, config: &Config) -> Result<bool> {
    let cookie = config.netns_cookie();
    Ok(cookie != netns::cookie()? && !has_live_link(instance)? && !netns::is_in_sight(cookie))
}

/// Whether a pinned link still holds a program on a device.
fn has_live_link(instance: &Instance) -> Result<bool> {
    let pins = links(instance)?;
    let open: Vec<PinnedLink> = pins.iter().filter_map(|pin| PinnedLink::from_pin(pin).ok()).collect();
    // What aya does not tell of a link, the kernel says of whoever has it open (`bpf_link_show_fdinfo` in
    // `kernel/bpf/syscall.c`): the index of its device, 0 once that is gone.
    let infos = fs::read_dir("/proc/self/fdinfo").context(|| "cannot read /proc/self/fdinfo")?;
    let infos = infos.flatten().filter_map(|info| fs::read_to_string(info.path()).ok());
    let mut links = infos.filter(|info| info.contains("link_type:"));
    let is_live = links.any(|info| !info.lines().any(|line| line.split_whitespace().eq(["ifindex:", "0"])));
    drop(open);
    Ok(is_live)
}

/// The pinned links of an instance.
fn links(instance: &Instance) -> Result<Vec<PathBuf>> {
    let directory = instance.links();
    let entries = fs::read_dir(&directory).context(|| format!("cannot read {}", directory.display()))?;
    let is_link = |path: &PathBuf| !Path::is_dir(path);
    Ok(entries.flatten().map(|entry| entry.path()).filter(is_link).collect())
}

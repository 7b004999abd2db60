//! The BPF filesystem, where programs, links and maps outlive the process that made them.

use std::{fs, path::Path};

use nix::{
    mount::{MsFlags, mount},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};

use crate::error::{Context as _, Error, Result};

/// Where it is mounted.
const MOUNT_POINT: &str = "/sys/fs/bpf";

/// The directory of all instances.
pub const ROOT: &str = "/sys/fs/bpf/overlay";

/// Whether a BPF filesystem is mounted where we look for it.
#[must_use]
pub fn is_mounted() -> bool {
    statfs(MOUNT_POINT).is_ok_and(|fs| fs.filesystem_type() == BPF_FS_MAGIC)
}

/// Mounts the BPF filesystem where it is not, and makes the directory of all instances.
///
/// # Errors
///
/// Fails where it cannot be mounted, and in a mount namespace of our own, with which it would vanish.
pub fn ensure() -> Result<()> {
    if !is_mounted() {
        if !in_first_mount_namespace() {
            return Err(Error::Failed(format!(
                "no BPF filesystem on {MOUNT_POINT}, and one mounted here would vanish with this mount namespace; \
                 instead of `ip netns exec NAME overlay …` say `overlay -n NAME …`"
            )));
        }
        mount(Some("bpf"), MOUNT_POINT, Some("bpf"), MsFlags::empty(), Some("mode=0700"))
            .context(|| format!("cannot mount the BPF filesystem; try `mount -t bpf bpf {MOUNT_POINT}`"))?;
        eprintln!("overlay: mounted the BPF filesystem on {MOUNT_POINT}");
    }
    fs::create_dir_all(ROOT).context(|| format!("cannot make {ROOT}"))
}

/// Whether this process sees the mounts that the system's first process sees.
fn in_first_mount_namespace() -> bool {
    let namespace = |process: &str| fs::read_link(Path::new("/proc").join(process).join("ns/mnt")).ok();
    namespace("self") == namespace("1")
}

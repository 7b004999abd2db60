//! The BPF filesystem, where programs, links and maps outlive the process that made them.

use std::{
    fs::{self, File},
    path::Path,
};

use nix::{
    fcntl::{Flock, FlockArg},
    mount::{MsFlags, mount},
    sys::statfs::{BPF_FS_MAGIC, statfs},
    unistd::getppid,
};

use crate::{
    error::{Context as _, Error, Result},
    netns, say,
};

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
        mount_once()?;
    }
    fs::create_dir_all(ROOT).context(|| format!("cannot make {ROOT}"))
}

/// Mounts it, unless another command does so at this moment: a second mount would hide what is pinned in the first.
fn mount_once() -> Result<()> {
    let below = File::open(MOUNT_POINT)
        .context(|| format!("there is no {MOUNT_POINT} to mount the BPF filesystem on"))?;
    let _lock = Flock::lock(below, FlockArg::LockExclusive)
        .map_err(|(_, error)| Error::failed(format!("cannot lock {MOUNT_POINT}"), error))?;
    if is_mounted() {
        return Ok(());
    }
    if in_passing_mount_namespace() {
        return Err(Error::Failed(format!(
            "no BPF filesystem on {MOUNT_POINT}, and one mounted here would vanish with this mount namespace; \
             instead of `ip netns exec NAME overlay …` say `overlay -n NAME …`"
        )));
    }
    mount(Some("bpf"), MOUNT_POINT, Some("bpf"), MsFlags::empty(), Some("mode=0700"))
        .context(|| format!("cannot mount the BPF filesystem; try `mount -t bpf bpf {MOUNT_POINT}`"))?;
    say::aside(format_args!("mounted the BPF filesystem on {MOUNT_POINT}"));
    Ok(())
}

/// Whether the mount namespace will be gone soon: one made for this process alone, or by `ip netns exec`, which mounts
/// `/sys` anew and calls the mount by the network namespace's name.
fn in_passing_mount_namespace() -> bool {
    let namespace = |process: &str| fs::read_link(Path::new("/proc").join(process).join("ns/mnt")).ok();
    let is_own = namespace("self") != namespace(&getppid().to_string());
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let sys = mounts.lines().rfind(|line| line.split(' ').nth(1) == Some("/sys"));
    let source = sys.and_then(|line| line.split(' ').next()).unwrap_or_default();
    is_own || (!source.is_empty() && Path::new(netns::NAMED).join(source).exists())
}

//! Workloads' own devices, where they can be seen: the other ends of ports' veths.

use std::{
    collections::HashMap,
    fs::File,
    path::{Path, PathBuf},
};

use nix::net::if_::if_indextoname;

use super::shell::{Shell, inside};
use crate::{
    devices,
    error::Context as _,
    netlink::{Link, Netlink},
    netns, offload,
};

/// A workload's device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Workload {
    pub(super) device: String,
    pub(super) mtu: u32,
    /// Its network namespace; `None`: that of the host.
    namespace: Option<PathBuf>,
}

impl Workload {
    /// A command where the device is.
    pub(super) fn command(&self, shell: &Shell, command: impl std::fmt::Display) -> String {
        match &self.namespace {
            None => shell.host(command),
            Some(path) => inside(path, command),
        }
    }
}

/// The network namespaces that the host's devices lead to, by their numbers.
pub(super) struct Sight(HashMap<i32, PathBuf>);

impl Sight {
    pub(super) async fn new(netlink: &Netlink, links: &[Link]) -> Self {
        let mut known = HashMap::new();
        if links.iter().all(|link| link.elsewhere.is_none()) {
            return Self(known);
        }
        for path in netns::in_sight() {
            let Ok(file) = File::open(&path) else { continue };
            if let Some(id) = netlink.namespace_id(&file).await {
                known.entry(id).or_insert_with(|| shortest(path));
            }
        }
        Self(known)
    }

    /// What is at the other end of a port's device.
    pub(super) fn workload(&self, links: &[Link], port: &Link) -> Option<Workload> {
        let other = port.other?;
        let Some(id) = port.elsewhere else {
            let link = links.iter().find(|link| link.index == other && link.other == Some(port.index))?;
            return Some(Workload { device: link.name.clone(), mtu: link.mtu, namespace: None });
        };
        let path = self.0.get(&id)?;
        let (device, mtu) = netns::inside(path.to_str()?, || {
            let name = if_indextoname(other.get()).context(|| "the device is gone")?;
            let name = name.to_string_lossy().into_owned();
            offload::mtu(devices::name(&name)?).map(|mtu| (name, mtu))
        })
        .ok()?;
        Some(Workload { device, mtu, namespace: Some(path.clone()) })
    }
}

/// The namespace of a process, and not of each of its threads.
fn shortest(path: PathBuf) -> PathBuf {
    let parts: Vec<_> = path.iter().collect();
    match parts[..] {
        [_, _, process, task, thread, ns, net] if task == "task" && thread == process => {
            Path::new("/proc").join(process).join(ns).join(net)
        }
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_named_by_itself() {
        let short = |path: &str| shortest(PathBuf::from(path)).display().to_string();
        assert_eq!(short("/proc/7/task/7/ns/net"), "/proc/7/ns/net");
        assert_eq!(short("/proc/7/task/8/ns/net"), "/proc/7/task/8/ns/net");
        assert_eq!(short("/run/netns/blue"), "/run/netns/blue");
    }
}

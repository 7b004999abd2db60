//! What has to hold before the kernel is touched: privileges and kernel features.

use std::{fs, path::Path};

use aya::{
    programs::ProgramType,
    sys::{BpfHelper, is_helper_supported},
};

use crate::{
    error::{Context as _, Error, Result},
    hook,
};

/// Types of the running kernel, which some tools want to explain the programs by.
const BTF: &str = "/sys/kernel/btf/vmlinux";

/// The capabilities that commands need: bit in `/proc/self/status` (`include/uapi/linux/capability.h`) and name.
const CAPABILITIES: [(u32, &str); 4] =
    [(12, "CAP_NET_ADMIN"), (21, "CAP_SYS_ADMIN"), (38, "CAP_PERFMON"), (39, "CAP_BPF")];

/// The helpers that the programs call and that not every kernel has: program type, helper, name and Linux version.
const HELPERS: [(ProgramType, BpfHelper, &str, &str); 4] = [
    (ProgramType::SchedClassifier, BpfHelper::BPF_FUNC_redirect_peer, "bpf_redirect_peer", "5.10"),
    (
        ProgramType::SchedClassifier,
        BpfHelper::BPF_FUNC_ktime_get_coarse_ns,
        "bpf_ktime_get_coarse_ns",
        "5.11",
    ),
    (ProgramType::SchedClassifier, BpfHelper::BPF_FUNC_loop, "bpf_loop", "5.17"),
    (ProgramType::Xdp, BpfHelper::BPF_FUNC_xdp_load_bytes, "bpf_xdp_load_bytes", "5.18"),
];

/// Checks that this process has the capabilities it needs.
///
/// # Errors
///
/// Names those that are missing.
pub fn capabilities() -> Result<()> {
    let status = fs::read_to_string("/proc/self/status").context(|| "cannot read /proc/self/status")?;
    let missing = missing_capabilities(&status)
        .ok_or_else(|| Error::Failed("/proc/self/status does not tell the capabilities".to_owned()))?;
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::Failed(format!("not permitted: {} missing; run as root", missing.join(", "))))
}

fn missing_capabilities(status: &str) -> Option<Vec<&'static str>> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let effective = u64::from_str_radix(line.trim(), 16).ok()?;
    Some(CAPABILITIES.iter().filter(|(bit, _)| effective & (1 << bit) == 0).map(|(_, name)| *name).collect())
}

/// What the kernel can do.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    /// Its name.
    pub name: &'static str,
    /// The version of Linux that brought it.
    pub since: &'static str,
    /// Whether it is there; `None`: nobody knows.
    pub present: Option<bool>,
    /// Whether nothing works without it.
    pub needed: bool,
}

/// What the programs need, and what they can do without. Without the capabilities nobody can tell most of it.
pub fn host_features() -> impl Iterator<Item = Feature> {
    let may_ask = capabilities().is_ok();
    let needed = features().map(move |(name, since, present)| Feature {
        name,
        since,
        present: present.filter(|_| may_ask),
        needed: true,
    });
    let tcx = may_ask.then(hook::has_tcx);
    let btf = Some(Path::new(BTF).exists());
    needed.chain([
        Feature { name: "TCX", since: "6.6", present: tcx, needed: false },
        Feature { name: "BTF", since: "5.4", present: btf, needed: false },
    ])
}

/// What the programs need that not every kernel has: name, the version of Linux that brought it, and whether it is there;
/// `None`: nobody knows.
pub fn features() -> impl Iterator<Item = (&'static str, &'static str, Option<bool>)> {
    HELPERS.into_iter().map(|(program_type, helper, name, version)| {
        (name, version, is_helper_supported(program_type, helper).ok())
    })
}

/// Checks that the kernel can run the programs.
///
/// # Errors
///
/// Names the first feature that is missing.
pub fn kernel() -> Result<()> {
    // A probe that fails proves nothing: loading the programs will tell.
    match features().find(|(_, _, present)| *present == Some(false)) {
        Some((name, version, _)) => Err(Error::Failed(format!(
            "this kernel is too old: {name} is missing, which Linux {version} brought"
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_named() {
        let status = "Name:\toverlay\nCapEff:\t0000000000001000\n";
        assert_eq!(missing_capabilities(status), Some(vec!["CAP_SYS_ADMIN", "CAP_PERFMON", "CAP_BPF"]));
        assert_eq!(missing_capabilities("CapEff:\t000001ffffffffff\n"), Some(vec![]));
        assert_eq!(missing_capabilities("Name:\toverlay\n"), None);
    }
}

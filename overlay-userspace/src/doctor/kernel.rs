//! What the kernel and the caller have to bring.

use std::fs;

use aya::programs::ProgramInfo;

use super::{finding::Finding, scene::Scene, shell::Shell};
use crate::{
    bpffs,
    datapath::{FROM_PORT, FROM_UPLINK},
    preflight,
};

const JIT: &str = "/proc/sys/net/core/bpf_jit_enable";

/// What was found out.
struct Facts {
    missing: Vec<(&'static str, &'static str, bool)>,
    has_bpffs: bool,
    /// `None`: this network namespace does not see the setting.
    compiles: Option<bool>,
    /// Whether the programs that are loaded were compiled; `None`: none is loaded.
    compiled: Option<bool>,
}

pub(super) fn check(scene: &Scene) -> Vec<Finding> {
    let features = preflight::host_features().filter(|feature| feature.present == Some(false));
    let facts = Facts {
        missing: features.map(|feature| (feature.name, feature.since, feature.needed)).collect(),
        has_bpffs: bpffs::is_mounted(),
        compiles: fs::read_to_string(JIT).ok().map(|text| text.trim() != "0"),
        compiled: compiled(scene),
    };
    judge(&facts, &scene.shell)
}

/// Whether the kernel has compiled the programs of the hot path, as far as they are there.
fn compiled(scene: &Scene) -> Option<bool> {
    let programs = scene.up.as_ref()?.instance.programs();
    let infos = [FROM_PORT, FROM_UPLINK].map(|name| ProgramInfo::from_pin(programs.join(name)).ok());
    let sizes: Vec<u32> = infos.iter().flatten().map(ProgramInfo::size_jitted).collect();
    (!sizes.is_empty()).then(|| sizes.iter().all(|size| *size > 0))
}

fn judge(facts: &Facts, shell: &Shell) -> Vec<Finding> {
    let mut found = Vec::new();
    for (name, since, needed) in &facts.missing {
        let what = format!("the kernel has no {name}, which Linux {since} brought");
        found.push(if *needed {
            Finding::problem("kernel", name, what).why("the programs cannot be loaded; run a newer kernel")
        } else {
            Finding::advice("kernel", name, what).why(without(name))
        });
    }
    if !facts.has_bpffs {
        found.push(
            Finding::problem("bpffs", "/sys/fs/bpf", "no BPF filesystem is mounted on /sys/fs/bpf")
                .why("programs and maps would end with the process that makes them; `overlay up` mounts it, too")
                .mend("mount -t bpf bpf /sys/fs/bpf"),
        );
    }
    found.extend(jit(facts, shell));
    if found.is_empty() {
        found.push(Finding::fine(
            "kernel",
            "kernel",
            "the kernel has what the programs need, and compiles them",
        ));
    }
    found
}

fn jit(facts: &Facts, shell: &Shell) -> Option<Finding> {
    let on = "sysctl -w net.core.bpf_jit_enable=1";
    let why = "the kernel interprets each instruction of the programs: packets take several times as long";
    match (facts.compiles, facts.compiled) {
        (_, Some(true)) | (Some(true) | None, None) => None,
        (Some(false), None) => Some(
            Finding::problem("jit", "net.core.bpf_jit_enable", "the kernel's BPF compiler is off")
                .why(why)
                .mend(on),
        ),
        (compiles, Some(false)) => {
            let what = "the programs were loaded while the kernel's BPF compiler was off";
            let mut finding = Finding::problem("jit", "net.core.bpf_jit_enable", what).why(why);
            if compiles != Some(true) {
                finding = finding.mend(on);
            }
            Some(finding.mend(shell.anew(None)))
        }
    }
}

/// What a kernel lacks that can be done without.
fn without(name: &str) -> &'static str {
    match name {
        "TCX" => "programs are filters of a clsact qdisc, which anybody can remove unseen",
        "BTF" => "tools cannot show the programs with their types",
        _ => "it is done without",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Severity;

    fn facts() -> Facts {
        Facts { missing: Vec::new(), has_bpffs: true, compiles: Some(true), compiled: None }
    }

    fn checks(facts: &Facts) -> Vec<(&'static str, Severity)> {
        judge(facts, &Shell::default()).iter().map(|finding| (finding.check, finding.severity)).collect()
    }

    #[test]
    fn a_kernel_that_has_all_is_fine() {
        assert_eq!(checks(&facts()), [("kernel", Severity::Fine)]);
        // Only the first network namespace sees the setting.
        let unseen = Facts { compiles: None, compiled: Some(true), ..facts() };
        assert_eq!(checks(&unseen), [("kernel", Severity::Fine)]);
    }

    #[test]
    fn what_is_missing_is_a_problem_if_it_is_needed() {
        let old = Facts { missing: vec![("bpf_loop", "5.17", true), ("TCX", "6.6", false)], ..facts() };
        assert_eq!(checks(&old), [("kernel", Severity::Problem), ("kernel", Severity::Advice)]);
        assert_eq!(checks(&Facts { has_bpffs: false, ..facts() }), [("bpffs", Severity::Problem)]);
    }

    #[test]
    fn without_the_compiler_it_is_turned_on_and_programs_are_loaded_anew() {
        let off = Facts { compiles: Some(false), ..facts() };
        let found = judge(&off, &Shell::default());
        assert_eq!(found[0].mend, ["sysctl -w net.core.bpf_jit_enable=1"]);
        let loaded = Facts { compiled: Some(false), ..off };
        let found = judge(&loaded, &Shell::default());
        assert_eq!(found[0].mend.len(), 2);
        assert!(found[0].mend[1].contains("overlay down"), "{:?}", found[0].mend);
        // It was turned on since.
        let found = judge(&Facts { compiles: Some(true), ..loaded }, &Shell::default());
        assert_eq!(found[0].mend.len(), 1);
    }
}

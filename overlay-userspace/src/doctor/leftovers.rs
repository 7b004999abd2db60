//! What instances have left that are no more: pins, notes, devices.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::fcntl::{Flock, FlockArg};
use overlay_common::maps::config::Config;

use super::{
    finding::{Finding, Fix},
    scene::Scene,
    shell::Shell,
};
use crate::{
    agent::presence,
    bpffs,
    declared::confirm,
    devices,
    error::Result,
    instance::{self, Instance},
    netlink::Link,
    orphan,
};

pub(super) fn check(scene: &Scene) -> Result<Vec<Finding>> {
    let names = if bpffs::is_mounted() { instance::all()? } else { Vec::new() };
    let mut found = Vec::new();
    for name in &names {
        found.extend(instance(scene, name));
    }
    found.extend(notes(&scene.name, &names)?);
    let made: BTreeSet<String> = names.iter().flat_map(|name| made_by(name)).collect();
    found.extend(scene.links.iter().filter_map(|link| device(&scene.shell, link, &made)));
    if found.is_empty() {
        found.push(Finding::fine("leftovers", bpffs::ROOT, "no instance has left anything behind"));
    }
    Ok(found)
}

/// How long an instance that comes up may be without what tells so.
const COMING_UP: Duration = Duration::from_secs(10);

/// An instance that was cut off while it came up, or whose network namespace is gone.
fn instance(scene: &Scene, name: &str) -> Option<Finding> {
    let one = Instance::glance(name)?;
    // Whoever has it locked is at work with it.
    let directory = File::open(Path::new(bpffs::ROOT).join(name)).ok()?;
    let made = directory.metadata().and_then(|metadata| metadata.modified()).ok()?;
    let _lock = Flock::lock(directory, FlockArg::LockSharedNonblock).ok()?;
    // What another version has made is that one's.
    let config = one.config_if_any().ok()?;
    if config == Config::default() {
        let is_old = made.elapsed().is_ok_and(|age| age >= COMING_UP);
        return is_old.then(|| judge_cut_off(&scene.name, name));
    }
    let is_gone = one.check_version(&config).is_ok() && orphan::is_one(&one, &config).unwrap_or(false);
    is_gone.then(|| judge_gone(name))
}

/// `meant` is the instance that the doctor was called for: those of others are never taken down unasked.
fn judge_cut_off(meant: &str, name: &str) -> Finding {
    let finding =
        Finding::problem("leftover-instance", name, format!("bringing instance {name} up was cut off"))
            .why("it forwards nothing, and none of that name can come up")
            .mend(format!("overlay --instance {name} down"));
    if meant == name { finding.fix(Fix::Down(name.to_owned())) } else { finding }
}

fn judge_gone(name: &str) -> Finding {
    Finding::advice("leftover-instance", name, format!("the network namespace of instance {name} is gone"))
        .why("its maps and programs take memory, and serve nobody")
        .mend(format!("overlay --instance {name} down"))
}

/// Notes under `/run` of instances that are not up.
fn notes(meant: &str, names: &[String]) -> Result<Vec<Finding>> {
    let Ok(entries) = fs::read_dir(confirm::ROOT) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        let Some(name) = of_agent(&path).filter(|name| !names.contains(name)) else { continue };
        // One that is about to bring its instance up has it locked.
        if presence::look(&name)?.is_none() && path.exists() {
            found.push(judge_note(meant, &path, &name));
        }
    }
    Ok(found)
}

/// The instance whose agent has a file.
fn of_agent(path: &Path) -> Option<String> {
    path.file_name()?.to_str()?.strip_suffix(".agent").map(str::to_owned)
}

fn judge_note(meant: &str, path: &Path, name: &str) -> Finding {
    let what = format!("an agent of instance {name} has left {}", path.display());
    let finding = Finding::advice("leftover-note", path.display(), what)
        .why("the agent was killed, and the instance is not up: nothing needs the file")
        .mend(format!("rm {}", path.display()));
    if meant == name { finding.fix(Fix::Unlink(PathBuf::from(path))) } else { finding }
}

/// The names of the devices that an instance may make for itself.
fn made_by(name: &str) -> Vec<String> {
    let Some(instance) = Instance::glance(name) else { return Vec::new() };
    let names = "46io".chars().filter_map(|purpose| devices::own_name(&instance, purpose).ok());
    names.map(|name| name.as_str().to_owned()).collect()
}

/// A device that is called as ours are, and that no instance makes.
fn device(shell: &Shell, link: &Link, made: &BTreeSet<String>) -> Option<Finding> {
    let name = &link.name;
    let is_entrance = is_called_ours(name, 'i');
    let is_listener = (is_called_ours(name, '4') || is_called_ours(name, '6')) && link.vxlan.is_some();
    // The other end of a pair goes with it.
    ((is_entrance || is_listener) && !made.contains(name)).then(|| {
        Finding::advice("leftover-device", name, format!("{name} is a device of an instance that is no more"))
            .why("it may have the kernel take tunnel packets that nobody wants")
            .mend(shell.host(format_args!("ip link del {name}")))
            .fix(Fix::Delete(link.index))
    })
}

/// Whether a name is one of those that [`devices::own_name`] makes.
fn is_called_ours(name: &str, purpose: char) -> bool {
    let hash = name.strip_prefix("ovl").and_then(|rest| rest.strip_suffix(purpose)?.strip_suffix('-'));
    hash.is_some_and(|hash| hash.len() == 8 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_devices_are_known_by_their_names() {
        assert!(is_called_ours("ovl0badcafe-4", '4'));
        for name in ["ovl0badcafe-4", "ovl0badcaf-i", "ovl0badcafex-i", "ovlzzzzzzzz-i", "eth0", "ovl-i"] {
            assert!(!is_called_ours(name, 'i'), "{name}");
        }
    }

    #[test]
    fn only_the_instance_that_is_meant_is_taken_down_unasked() {
        assert!(judge_cut_off("blue", "blue").fixable);
        assert!(!judge_cut_off("blue", "red").fixable && !judge_gone("red").fixable);
        let path = Path::new("/run/overlay/blue.agent");
        assert!(judge_note("blue", path, "blue").fixable && !judge_note("red", path, "blue").fixable);
    }

    #[test]
    fn an_agent_s_file_names_its_instance() {
        assert_eq!(of_agent(Path::new("/run/overlay/blue.agent")), Some("blue".to_owned()));
        assert_eq!(of_agent(Path::new("/run/overlay/blue")), None);
    }
}

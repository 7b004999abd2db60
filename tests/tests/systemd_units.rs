//! The units in `contrib/systemd`: they are right, confine the agent, and give it what it needs and nothing else.

use std::{fs, io, os::unix::process::CommandExt as _, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use overlay_tests::{
    agent::Agent,
    declared::{TempDirectory, TempFile},
    mesh,
    overlay::{self, FAILED, Instance, failure, has_pins},
    process, refusal,
    topology::{Lab, Plan},
    traffic,
};

const ONE: &str = include_str!("../../contrib/systemd/overlay.service");
const TEMPLATE: &str = include_str!("../../contrib/systemd/overlay@.service");

/// Tenths that `systemd-analyze security` may count; 0 would be a service that can do nothing.
const EXPOSURE: &str = "29";

/// The value of a key of [`ONE`].
fn value(key: &str) -> Result<&'static str> {
    let mut lines = ONE.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    lines.next().with_context(|| format!("no {key}"))
}

/// The numbers of capabilities (`include/uapi/linux/capability.h`), by their names.
const CAPABILITIES: [(&str, libc::c_ulong); 4] =
    [("CAP_NET_ADMIN", 12), ("CAP_SYS_ADMIN", 21), ("CAP_PERFMON", 38), ("CAP_BPF", 39)];

/// The capabilities that the units leave the agent.
fn left() -> Result<Vec<(&'static str, libc::c_ulong)>> {
    let number = |name: &'static str| {
        let known = CAPABILITIES.iter().find(|(known, _)| *known == name);
        known.copied().with_context(|| format!("{name} is new here"))
    };
    value("CapabilityBoundingSet")?.split(' ').map(number).collect()
}

/// Has a command run with these capabilities only.
fn confine(command: &mut Command, capabilities: Vec<(&'static str, libc::c_ulong)>) {
    // SAFETY: the closure only makes system calls, which are allowed between fork and exec, and have no pointers.
    unsafe {
        command.pre_exec(move || {
            for number in 0..64 {
                let is_left = capabilities.iter().any(|(_, left)| *left == number);
                // The kernel refuses numbers that it has no capability for.
                if !is_left && libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) != 0 {
                    let error = io::Error::last_os_error();
                    if error.raw_os_error() != Some(libc::EINVAL) {
                        return Err(error);
                    }
                }
            }
            Ok(())
        });
    }
}

/// The units as files that systemd's tools take without an installed binary.
fn written(directory: &Path) -> Result<Vec<String>> {
    fs::create_dir(directory)?;
    let binary = overlay::binary()?;
    let binary = binary.to_str().context("no text")?;
    let units = [("overlay.service", ONE), ("overlay@.service", TEMPLATE)];
    let write = |(name, text): (&str, &str)| {
        let path = directory.join(name);
        // Manual pages are not installed here either.
        let text: String = text
            .lines()
            .filter(|line| !line.starts_with("Documentation="))
            .fold(String::new(), |text, line| text + &line.replace("/usr/bin/overlay", binary) + "\n");
        fs::write(&path, text)?;
        Ok(path.to_str().context("no text")?.to_owned())
    };
    units.into_iter().map(write).collect()
}

#[test]
fn systemd_has_nothing_to_say_against_them() -> Result<()> {
    let directory = TempDirectory::new("units");
    for path in written(directory.path())? {
        let said = process::output(Command::new("systemd-analyze").args(["verify", "--man=no", &path]))?;
        let text = String::from_utf8_lossy(&said.stderr);
        let about = text.lines().filter(|line| line.contains("overlay")).collect::<Vec<_>>();
        ensure!(said.status.success() && about.is_empty(), "{path}: {}: {text}", said.status);
    }
    Ok(())
}

#[test]
fn they_confine_the_agent() -> Result<()> {
    let directory = TempDirectory::new("security");
    for path in written(directory.path())? {
        let mut analyze = Command::new("systemd-analyze");
        analyze.args(["security", "--offline=true", "--no-pager", "--threshold", EXPOSURE, &path]);
        process::checked(&mut analyze)?;
    }
    Ok(())
}

#[test]
fn the_two_say_the_same() -> Result<()> {
    let of_one = |line: &str| {
        line.replace(" %i", "")
            .replace("/%i.toml", "/overlay.toml")
            .replace(" --instance run", " run")
            .replace(" --instance down", " down")
    };
    let from_template: Vec<String> = TEMPLATE.lines().map(of_one).collect();
    let one: Vec<&str> = ONE.lines().collect();
    ensure!(from_template == one, "{from_template:#?}\nis not\n{one:#?}");
    Ok(())
}

#[test]
fn the_agent_works_with_just_the_capabilities_that_they_leave() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let first = host.workload(&Plan::new(100, 1))?;
    let text = |more: &str| {
        format!(
            "[vtep]\nuplinks = [\"u1\"]\n[[vni]]\nid = 100\nremotes = [\"10.0.0.2\"]\nports = [\"p100-1\"]\n{more}"
        )
    };
    let file = TempFile::new(&text(""))?;
    let with_those = |command: &mut Command| {
        confine(command, left()?);
        Ok(())
    };
    let mut agent = Agent::start_as(host, &["run", "-c", file.name()], with_those)?;
    let instances = [Instance::adopt(host)?, Instance::up(lab.host(2), &[])?];
    let effective = fs::read_to_string(format!("/proc/{}/status", agent.process.id()))?;
    let effective = effective.lines().find_map(|line| line.strip_prefix("CapEff:\t")).context("no CapEff")?;
    let expected: u64 = left()?.iter().map(|(_, number)| 1 << number).sum();
    ensure!(u64::from_str_radix(effective, 16)? == expected, "{effective}");
    instances[1].reach(100, host)?;
    let second = mesh::workload(&instances[1], 100, 2)?;
    mesh::exchange(&first, &second, 1 << 16)?;
    // What it repairs, and what it applies again: a trunk, a device of the host's own, a group of the underlay.
    host.netns.ip("link del p100-1")?;
    agent.said("p100-1")?;
    let more = "[[port]]\nname = \"host0\"\ncreate = true\nvni = 100\naddress = [\"10.1.0.77/24\"]\n";
    fs::write(file.path(), text("[[vni.tunnel]]\nremote = \"239.1.1.1\"\ndev = \"u1\"\n") + more)?;
    agent.process.send(nix::sys::signal::Signal::SIGHUP)?;
    let line = agent.said("eloaded")?;
    ensure!(line.contains("changes"), "{line}");
    traffic::ping(&host.netns, second.v4.into(), 3)?;
    host.netns.ip("link set u1 down\nlink set u1 name wan\nlink set wan up")?;
    agent.said("uplink")?;
    agent.end()?;
    traffic::ping(&host.netns, second.v4.into(), 3)?;
    instances.into_iter().try_for_each(Instance::down)
}

#[test]
fn with_one_less_it_is_refused() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    for (lacking, _) in left()? {
        let mut command = host.overlay_command(&["run", "--uplink", "u1"])?;
        confine(&mut command, left()?.into_iter().filter(|(name, _)| *name != lacking).collect());
        refusal::check(&failure(&mut command)?, FAILED, &format!("{lacking} missing"))?;
        ensure!(!has_pins(host)?, "it is up without {lacking}");
    }
    Ok(())
}

//! The Debian package: installed in a copy of this machine, upgraded, removed and purged, with and without a service manager.

use std::{collections::BTreeSet, fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use overlay_tests::{
    copy::{Copy, Init},
    declared::TempDirectory,
    mesh,
    overlay::Instance,
    package, process,
    stream::Stream,
    topology::{Lab, Plan},
    traffic,
};
use serde_json::Value;

const VNI: u32 = 100;

const FILE: &str =
    "[vtep]\nuplinks = [\"u1\"]\n[[vni]]\nid = 100\nports = [\"p100-1\"]\nremotes = [\"10.0.0.2\"]\n";

/// What dpkg keeps of packages that are gone, and what anything leaves that runs.
const BOOKS: [&str; 5] = ["/var/lib/dpkg/", "/var/log/", "/var/cache/", "/var/tmp/", "/var/lib/systemd/"];

/// The files of a copy that a package could have left.
fn files(copy: &Copy) -> Result<BTreeSet<String>> {
    let is_book = |path: &String| BOOKS.iter().any(|book| path.starts_with(book));
    Ok(copy.changes()?.into_iter().filter(|path| !is_book(path)).collect())
}

/// Whether an instance is up in a copy.
fn is_up(copy: &Copy) -> bool {
    copy.path("/sys/fs/bpf/overlay").exists()
}

fn is_installed(copy: &Copy) -> Result<bool> {
    let status = copy.output(&["dpkg-query", "--show", "--showformat=${Status}", package::NAME])?;
    Ok(String::from_utf8_lossy(&status.stdout).ends_with(" ok installed"))
}

#[test]
fn it_is_installed_upgraded_removed_and_purged_with_nothing_left() -> Result<()> {
    let lab = Lab::new(2)?;
    let copy = Copy::new(&lab.host(1).netns, Init::Nothing)?;
    let before = files(&copy)?;
    package::install(&copy)?;
    let version: Value = serde_json::from_str(&copy.run(&["overlay", "-o", "json", "version"])?)?;
    ensure!(version["version"] == env!("CARGO_PKG_VERSION"), "{version}");
    for path in [
        "/usr/share/man/man1/overlay.1.gz",
        "/usr/share/man/man1/overlay-fdb-add.1.gz",
        "/usr/share/bash-completion/completions/overlay",
        "/usr/share/zsh/vendor-completions/_overlay",
        "/usr/share/fish/vendor_completions.d/overlay.fish",
        "/usr/lib/systemd/system/overlay.service",
        "/usr/lib/systemd/system/overlay@.service",
        "/usr/share/doc/overlay/copyright",
        "/usr/share/doc/overlay/changelog.gz",
        "/usr/share/doc/overlay/NEWS.gz",
        "/usr/share/doc/overlay/agent.md",
    ] {
        ensure!(copy.path(path).is_file(), "no {path}");
    }
    let example = "/usr/share/doc/overlay/examples/overlay.toml";
    let tried = copy.output(&["overlay", "apply", "--dry-run", "-f", example])?;
    let said = String::from_utf8_lossy(&tried.stderr);
    ensure!(said.contains("there is no device eth0"), "the example is wrong: {said}");
    copy.write("/etc/overlay/mine.toml", FILE)?;
    package::install(&copy)?;
    ensure!(copy.run(&["dpkg", "--verify", package::NAME])?.is_empty(), "not as it was packed");
    copy.run(&["dpkg", "--remove", package::NAME])?;
    ensure!(copy.path("/etc/overlay/mine.toml").exists(), "what was not the package's is gone");
    copy.run(&["dpkg", "--purge", package::NAME])?;
    ensure!(copy.path("/etc/overlay/mine.toml").exists(), "what was not the package's is gone");
    fs::remove_file(copy.path("/etc/overlay/mine.toml"))?;
    package::install(&copy)?;
    copy.run(&["dpkg", "--purge", package::NAME])?;
    let after = files(&copy)?;
    ensure!(after == before, "left: {:?}", after.symmetric_difference(&before).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn an_upgrade_leaves_packets_alone_and_a_removal_takes_the_instance_down() -> Result<()> {
    let lab = Lab::new(2)?;
    let (one, two) = (lab.host(1), lab.host(2));
    let copy = Copy::new(&one.netns, Init::Nothing)?;
    package::install(&copy)?;
    let here = one.workload(&Plan::new(VNI, 1))?;
    copy.write("/etc/overlay/overlay.toml", FILE)?;
    copy.run(&["overlay", "apply", "-f", "/etc/overlay/overlay.toml"])?;
    let other = Instance::up(two, &[])?;
    other.reach(VNI, one)?;
    let there = mesh::workload(&other, VNI, 2)?;
    let stream = Stream::start(&here.netns, &there.netns, there.v4.into())?;
    package::install(&copy)?;
    stream.go_on(200)?;
    stream.finish()?;
    ensure!(is_up(&copy), "the upgrade took it down");
    copy.run(&["dpkg", "--remove", package::NAME])?;
    ensure!(!is_up(&copy), "what is removed leaves an instance that nothing takes down");
    traffic::no_ping(&here.netns, there.v4.into())?;
    other.down()
}

#[test]
fn a_removal_waits_for_what_it_cannot_take_down() -> Result<()> {
    let lab = Lab::new(2)?;
    let copy = Copy::new(&lab.host(1).netns, Init::Nothing)?;
    package::install(&copy)?;
    // On the other host's network, which is not the copy's own.
    let elsewhere = |arguments: &[&str]| {
        let mut command = lab.host(2).netns.command("nsenter");
        let words = copy.command(&[&["overlay"], arguments].concat());
        command.args(words.get_args().filter(|word| *word != "--net"));
        process::checked(&mut command)
    };
    elsewhere(&["--instance", "blue", "up", "--uplink", "u2"])?;
    let refused = copy.output(&["dpkg", "--remove", package::NAME])?;
    let said = String::from_utf8_lossy(&refused.stderr);
    ensure!(!refused.status.success() && said.contains("instance blue is still up"), "{said}");
    ensure!(is_installed(&copy)? && is_up(&copy), "half removed");
    elsewhere(&["--instance", "blue", "down"])?;
    copy.run(&["dpkg", "--remove", package::NAME])?;
    ensure!(!is_installed(&copy)?, "not removed");
    Ok(())
}

#[test]
fn what_is_removed_in_a_chroot_leaves_the_machine_alone() -> Result<()> {
    let lab = Lab::new(2)?;
    let copy = Copy::new(&lab.host(1).netns, Init::Nothing)?;
    package::install(&copy)?;
    copy.run(&["overlay", "up", "--uplink", "u1"])?;
    // As an installer of images would have it, with the machine's own /sys.
    let script = "\
        mkdir -p /run/chroot/changes /run/chroot/work /run/chroot/root && \
        mount -t overlay -o lowerdir=/,upperdir=/run/chroot/changes,workdir=/run/chroot/work chroot /run/chroot/root && \
        mount -t proc proc /run/chroot/root/proc && \
        mount --rbind /sys /run/chroot/root/sys && \
        chroot /run/chroot/root dpkg --remove overlay";
    copy.run(&["sh", "-euc", script])?;
    ensure!(is_up(&copy), "the machine's instance is down");
    ensure!(is_installed(&copy)?, "it was removed from the machine");
    copy.run(&["overlay", "down"]).map(drop)
}

/// What systemd says of a property of the service.
fn property(copy: &Copy, name: &str) -> Result<String> {
    let shown = copy.run(&["systemctl", "show", "--value", "--property", name, "overlay.service"])?;
    Ok(shown.trim().to_owned())
}

#[test]
fn the_service_runs_confined_and_packets_outlive_it() -> Result<()> {
    let lab = Lab::new(2)?;
    let (one, two) = (lab.host(1), lab.host(2));
    let copy = Copy::new(&one.netns, Init::Systemd)?;
    package::install(&copy)?;
    copy.link_unit("overlay.service")?;
    let here = one.workload(&Plan::new(VNI, 1))?;
    copy.write("/etc/overlay/overlay.toml", FILE)?;
    copy.systemctl(&["start", "overlay"])?;
    let process: u32 = property(&copy, "MainPID")?.parse()?;
    let status = fs::read_to_string(copy.path(&format!("/proc/{process}/status")))?;
    ensure!(status.contains("Seccomp:\t2") && status.contains("CapEff:\t000000c000201000"), "{status}");
    let other = Instance::up(two, &[])?;
    other.reach(VNI, one)?;
    let there = mesh::workload(&other, VNI, 2)?;
    let stream = Stream::start(&here.netns, &there.netns, there.v4.into())?;
    copy.write("/etc/overlay/overlay.toml", &FILE.replace("id = 100", "id = 100\nageing = 77"))?;
    copy.systemctl(&["reload", "overlay"])?;
    let set = copy.run(&["overlay", "-o", "json", "vni", "show", "100"])?;
    ensure!(set.contains("\"ageing_s\": 77"), "not reloaded: {set}");
    // An upgrade has the new agent adopt what the old one leaves.
    package::install(&copy)?;
    ensure!(property(&copy, "ActiveState")? == "active", "{}", property(&copy, "StatusText")?);
    ensure!(property(&copy, "MainPID")? != process.to_string(), "the old agent goes on");
    copy.systemctl(&["kill", "--signal=KILL", "overlay"])?;
    process::wait_until(std::time::Instant::now() + overlay_tests::agent::GENEROUS, || {
        let restarts = property(&copy, "NRestarts")?;
        Ok((restarts == "1" && property(&copy, "ActiveState")? == "active").then_some(()))
    })
    .context("it does not start again")?;
    copy.systemctl(&["stop", "overlay"])?;
    ensure!(copy.path("/run/overlay").is_dir(), "a stop takes the directory of others away");
    stream.go_on(200)?;
    stream.finish()?;
    copy.systemctl(&["start", "overlay"])?;
    copy.run(&["dpkg", "--remove", package::NAME])?;
    ensure!(!is_up(&copy), "what is removed leaves an instance that nothing takes down");
    let left = copy.output(&["pgrep", "-x", "overlay"])?;
    ensure!(left.stdout.is_empty(), "the agent runs on");
    other.down()
}

#[test]
fn lintian_has_nothing_to_say_against_it() -> Result<()> {
    let directory = TempDirectory::new("lintian");
    fs::create_dir(directory.path())?;
    let path = package::put_here(directory.path())?;
    let mut lintian = Command::new("lintian");
    lintian.args(["--fail-on", "error,warning"]).arg(path);
    let said = process::output(&mut lintian)?;
    ensure!(
        said.status.success(),
        "{}{}",
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr)
    );
    Ok(())
}

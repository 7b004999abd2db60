//! The `overlay` command line, run on a host.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use overlay_common::{DropReason, Notice};
use serde_json::Value;

use crate::{
    process,
    topology::{Host, Workload},
};

/// Where the instances of this machine keep their pins.
pub const PINS: &str = "/sys/fs/bpf/overlay";

/// Exit code: the command failed.
pub const FAILED: i32 = 1;
/// Exit code: the command was not understood.
pub const USAGE: i32 = 2;
/// Exit code: what should be added exists.
pub const EXISTS: i32 = 3;
/// Exit code: what should be deleted does not exist.
pub const MISSING: i32 = 4;

/// How a command failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its exit code.
    pub code: i32,
    /// What it wrote to stderr.
    pub stderr: String,
}

/// The binary under test: `$OVERLAY_BIN`, or what cargo built beside the test.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = env::var_os("OVERLAY_BIN") {
        return Ok(path.into());
    }
    let test = env::current_exe()?;
    let profile = test.parent().and_then(Path::parent).context("a test executable outside target/")?;
    let path = profile.join("overlay");
    ensure!(path.exists(), "there is no {}: run `cargo xtask test`", path.display());
    Ok(path)
}

/// Runs `overlay ARGUMENTS` on no host of a lab, which has to succeed, and returns its standard output.
pub fn overlay(arguments: &[&str]) -> Result<String> {
    process::checked(Command::new(binary()?).args(arguments))
}

impl Host {
    /// The command `overlay ARGUMENTS`, to be run on this host.
    pub fn overlay_command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = self.netns.command(binary()?);
        command.args(arguments);
        Ok(command)
    }

    /// Runs `overlay ARGUMENTS`, which has to succeed, and returns its standard output.
    pub fn overlay(&self, arguments: &[&str]) -> Result<String> {
        process::checked(&mut self.overlay_command(arguments)?)
            .with_context(|| format!("on {}", self.netns.name()))
    }

    /// Runs `overlay -o json ARGUMENTS`, which has to succeed, and reads its standard output.
    pub fn overlay_json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.overlay(&[&["-o", "json"], arguments].concat())?;
        serde_json::from_str(&text).with_context(|| format!("`overlay {}`: {text}", arguments.join(" ")))
    }

    /// Runs `overlay ARGUMENTS`, which has to fail.
    pub fn overlay_fails(&self, arguments: &[&str]) -> Result<Failure> {
        failure(&mut self.overlay_command(arguments)?)
    }

    /// How often frames were dropped on this host, per reason; every reason is there.
    pub fn drops(&self) -> Result<BTreeMap<String, u64>> {
        let stats = self.overlay_json(&["stats", "--drops"])?;
        let drops = stats["drops"].as_array().with_context(|| format!("no drops in {stats}"))?;
        let entry = |entry: &Value| Some((entry["reason"].as_str()?.to_owned(), entry["packets"].as_u64()?));
        let drops: Option<BTreeMap<_, _>> = drops.iter().map(entry).collect();
        let drops = drops.with_context(|| format!("not as documented: {stats}"))?;
        for reason in DropReason::ALL {
            ensure!(drops.contains_key(reason.name()), "no {reason} in {stats}");
        }
        Ok(drops)
    }

    /// How often the programs did something besides forwarding and dropping; every notice is there.
    pub fn notices(&self) -> Result<BTreeMap<String, u64>> {
        let stats = self.overlay_json(&["stats", "--notices"])?;
        let notices = stats["notices"].as_array().with_context(|| format!("no notices in {stats}"))?;
        let entry = |entry: &Value| Some((entry["notice"].as_str()?.to_owned(), entry["count"].as_u64()?));
        let notices: Option<BTreeMap<_, _>> = notices.iter().map(entry).collect();
        let notices = notices.with_context(|| format!("not as documented: {stats}"))?;
        for notice in Notice::ALL {
            ensure!(notices.contains_key(notice.name()), "no {notice} in {stats}");
        }
        Ok(notices)
    }

    /// How often that was done.
    pub fn noticed(&self, notice: Notice) -> Result<u64> {
        Ok(self.notices()?[notice.name()])
    }

    /// The reasons for which frames were dropped since `before`, and how many.
    pub fn drops_since(&self, before: &BTreeMap<String, u64>) -> Result<BTreeMap<String, u64>> {
        let mut drops = self.drops()?;
        for (reason, count) in &mut drops {
            *count -= before.get(reason).copied().unwrap_or(0);
        }
        drops.retain(|_, count| *count > 0);
        Ok(drops)
    }

    /// What the instance on this host was told: its status, segments, ports, tunnels, and FDB entries
    /// and neighbours that were not learned.
    pub fn configuration(&self) -> Result<Value> {
        let mut whole = serde_json::Map::new();
        for noun in ["vni", "port", "tunnel", "fdb", "neigh"] {
            whole.insert(noun.to_owned(), self.overlay_json(&[noun, "show"])?);
        }
        for noun in ["fdb", "neigh"] {
            let rows = whole.get_mut(noun).and_then(Value::as_array_mut).context("no array")?;
            rows.retain(|entry| entry["origin"] != "learned");
        }
        // What packets change is no configuration.
        for (noun, field) in [
            ("fdb", "age_s"),
            ("neigh", "age_s"),
            ("tunnel", "next_hop"),
            ("tunnel", "path_mtu"),
            ("tunnel", "path_mtu_told"),
            ("vni", "learned"),
            ("port", "learned"),
        ] {
            let rows = whole.get_mut(noun).and_then(Value::as_array_mut).context("no array")?;
            for row in rows {
                row.as_object_mut().context("no object")?.remove(field);
            }
        }
        let mut status = self.overlay_json(&["status"])?;
        for field in ["stations", "agent"] {
            status.as_object_mut().context("status: no object")?.remove(field);
        }
        whole.insert("status".to_owned(), status);
        Ok(Value::Object(whole))
    }
}

/// The name of the instance that a host has by default.
fn name_on(host: &Host) -> Result<String> {
    Ok(format!("net-{}", host.netns.cookie()?))
}

fn pins_of(instance: &str) -> PathBuf {
    Path::new(PINS).join(instance)
}

/// Whether a host's default instance has pins.
pub fn has_pins(host: &Host) -> Result<bool> {
    Ok(pins_of(&name_on(host)?).exists())
}

/// Runs a command, which has to fail.
pub fn failure(command: &mut Command) -> Result<Failure> {
    let what = process::describe(command);
    let output = process::output(command)?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    match output.status.code() {
        Some(0) => bail!("`{what}` succeeded: {}{stderr}", String::from_utf8_lossy(&output.stdout)),
        Some(code) => Ok(Failure { code, stderr }),
        None => bail!("`{what}` ended by a signal: {stderr}"),
    }
}

/// An instance on a host: brought down when dropped, which has to leave no pin behind.
#[derive(Debug)]
pub struct Instance<'a> {
    /// The host.
    pub host: &'a Host,
    /// The name of the instance.
    pub name: String,
    is_down: bool,
}

impl<'a> Instance<'a> {
    /// `overlay up` on the host's uplink, with more arguments.
    pub fn up(host: &'a Host, arguments: &[&str]) -> Result<Self> {
        host.overlay(&[&["up", "--uplink", &host.uplink], arguments].concat())?;
        Self::adopt(host)
    }

    /// Takes care of the instance of this host, however it came up.
    pub fn adopt(host: &'a Host) -> Result<Self> {
        let name = name_on(host)?;
        let pins = pins_of(&name);
        ensure!(pins.is_dir(), "the instance is up, and there is no {}", pins.display());
        Ok(Self { host, name, is_down: false })
    }

    /// The directory of its pins.
    #[must_use]
    pub fn pins(&self) -> PathBuf {
        pins_of(&self.name)
    }

    /// Makes a workload's port a port of segment `vni`.
    pub fn attach(&self, vni: u32, workload: &Workload) -> Result<()> {
        self.host.overlay(&["port", "add", &workload.port, "--vni", &vni.to_string()]).map(drop)
    }

    /// Lets segment `vni` reach another host, and the other host send into it.
    pub fn reach(&self, vni: u32, remote: &Host) -> Result<()> {
        let (vni, remote) = (vni.to_string(), remote.vtep.to_string());
        self.host.overlay(&["tunnel", "add", "--vni", &vni, "--remote", &remote]).map(drop)
    }

    /// `overlay down`; nothing of the instance may be left.
    pub fn down(mut self) -> Result<()> {
        self.take_down()
    }

    /// Takes note that somebody else took it down.
    pub fn is_down_already(mut self) {
        self.is_down = true;
    }

    fn take_down(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.is_down, true) {
            return Ok(());
        }
        self.host.overlay(&["down"])?;
        let pins = self.pins();
        ensure!(!pins.exists(), "`overlay down` left {}", pins.display());
        Ok(())
    }
}

impl Drop for Instance<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.take_down()
            && !std::thread::panicking()
        {
            panic!("{error:#}");
        }
    }
}

//! Debian packages.

use std::{collections::BTreeMap, fs, process::Command};

use anyhow::{Result, anyhow, bail};

use crate::{
    process::{is_root, output, quietly},
    version::Version,
};

/// A Debian package, and the oldest version of it that serves.
#[derive(Debug)]
pub(crate) struct Package {
    name: String,
    at_least: Option<Version>,
}

impl Package {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), at_least: None }
    }

    pub(crate) fn at_least(name: impl Into<String>, version: Version) -> Self {
        Self { name: name.into(), at_least: Some(version) }
    }

    fn served_by(&self, candidates: &BTreeMap<String, String>) -> bool {
        candidates.get(&self.name).is_some_and(|candidate| {
            self.at_least.is_none_or(|wanted| Version::parse(candidate) >= Some(wanted))
        })
    }
}

/// Installs packages, removing none.
///
/// # Errors
///
/// Where this is not Debian or Ubuntu, or not root, or apt has no such package or would remove others for it: says what
/// to do by hand.
pub(crate) fn install(packages: &[Package]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = packages.iter().map(|package| package.name.as_str()).collect();
    let listed = names.join(" ");
    let by_hand = format!(
        "as root, run\n  apt-get update\n  apt-get install --no-install-recommends {listed}\nthen this again"
    );
    if !is_debian_like(&fs::read_to_string("/etc/os-release").unwrap_or_default()) {
        bail!(
            "this is not Debian or Ubuntu: install what these packages of theirs bring, then run this again\n  {listed}"
        );
    }
    if !is_root() {
        bail!("packages are missing: {by_hand}");
    }
    let fresh =
        refresh_if_needed(packages).map_err(|error| anyhow!("{error:#}; once a source has it, {by_hand}"))?;
    let removed = would_remove(&names)?;
    if !removed.is_empty() {
        bail!("apt would remove {removed} for what is missing; if that is right, {by_hand}");
    }
    install_now(&names).or_else(|error| {
        if fresh {
            return Err(error);
        }
        // Old lists name files that the archive no longer has.
        refresh()?;
        install_now(&names)
    })
}

fn would_remove(names: &[&str]) -> Result<String> {
    let simulation = output(apt_get_install(names).arg("--simulate"))?;
    Ok(removals(&simulation).join(" "))
}

fn install_now(names: &[&str]) -> Result<()> {
    let what = format!("installing {}", names.join(" "));
    quietly(&what, apt_get_install(names).args(["--yes", "--no-remove"]))
}

/// Fetches apt's lists where they lack a package or know it too old, and returns whether it did.
fn refresh_if_needed(packages: &[Package]) -> Result<bool> {
    if lacking(packages)?.is_empty() {
        return Ok(false);
    }
    refresh()?;
    let lacking = lacking(packages)?;
    if !lacking.is_empty() {
        bail!("apt knows no {}", lacking.join(", no "));
    }
    Ok(true)
}

fn refresh() -> Result<()> {
    quietly("fetching apt's package lists", apt_get().arg("update"))
}

fn lacking(packages: &[Package]) -> Result<Vec<String>> {
    let mut apt_cache = Command::new("apt-cache");
    apt_cache.env("LC_ALL", "C").arg("policy");
    let policy = output(apt_cache.args(packages.iter().map(|package| &package.name)))?;
    let candidates = candidates(&policy);
    let lacking = packages.iter().filter(|package| !package.served_by(&candidates));
    Ok(lacking
        .map(|Package { name, at_least }| match at_least {
            Some(version) => format!("{name} {version} or newer"),
            None => name.clone(),
        })
        .collect())
}

fn apt_get_install(names: &[&str]) -> Command {
    let mut command = apt_get();
    command.args(["install", "--no-install-recommends"]).args(names);
    command
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("LC_ALL", "C").env("DEBIAN_FRONTEND", "noninteractive").args([
        "--quiet",
        "-o",
        "DPkg::Lock::Timeout=300",
    ]);
    command
}

/// Whether `/etc/os-release` names Debian, Ubuntu or a child of theirs.
fn is_debian_like(os_release: &str) -> bool {
    os_release
        .lines()
        .filter_map(|line| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")))
        .flat_map(|value| value.trim_matches(['"', '\'']).split_whitespace())
        .any(|id| id == "debian" || id == "ubuntu")
}

/// Package name -> candidate version, from `apt-cache policy`.
fn candidates(policy: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut package = "";
    for line in policy.lines() {
        if !line.starts_with(' ') {
            package = line.trim_end_matches(':');
        } else if let Some(version) = line.trim().strip_prefix("Candidate: ")
            && version != "(none)"
        {
            found.insert(package.to_owned(), version.to_owned());
        }
    }
    found
}

/// What `apt-get install --simulate` would remove.
fn removals(simulation: &str) -> Vec<&str> {
    let removed = simulation.lines().filter_map(|line| line.strip_prefix("Remv "));
    removed.filter_map(|rest| rest.split_whitespace().next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_debian_and_its_children_from_others() {
        for (os_release, expected) in [
            ("PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\n", true),
            ("NAME=\"Ubuntu\"\nID=ubuntu\nID_LIKE=debian\n", true),
            ("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", true),
            ("ID=\"fedora\"\n", false),
            ("NAME=\"not debian\"\nVERSION_ID=debian\nID=arch\n", false),
            ("", false),
        ] {
            assert_eq!(is_debian_like(os_release), expected, "{os_release:?}");
        }
    }

    const POLICY: &str = "\
rustc-web:
  Installed: (none)
  Candidate: 1.85.0+dfsg3-1~deb12u3
  Version table:
     1.85.0+dfsg3-1~deb12u3 500
        500 http://mirror.example/debian bookworm/main amd64 Packages
rust-clippy:
  Installed: (none)
  Candidate: (none)
  Version table:
";

    #[test]
    fn reads_candidates() {
        let found = candidates(POLICY);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found["rustc-web"], "1.85.0+dfsg3-1~deb12u3");
    }

    #[test]
    fn a_candidate_may_be_too_old() {
        let found = candidates(POLICY);
        assert!(Package::new("rustc-web").served_by(&found));
        assert!(Package::at_least("rustc-web", Version(1, 85)).served_by(&found));
        assert!(!Package::at_least("rustc-web", Version(1, 90)).served_by(&found));
        assert!(!Package::new("rust-clippy").served_by(&found));
        assert!(!Package::new("unheard-of").served_by(&found));
    }

    #[test]
    fn reads_removals() {
        let simulation = "Reading package lists...\nRemv cargo-web [1.96.0]\nRemv rustc-web [1.96.0]\nInst rustc (1.63.0)\n";
        assert_eq!(removals(simulation), ["cargo-web", "rustc-web"]);
        assert!(removals("Inst rustc (1.63.0)\nConf rustc (1.63.0)\n").is_empty());
    }
}

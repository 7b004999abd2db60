//! The programs that the demo and the tests call.

use std::{env, path::PathBuf};

use super::apt::Package;

/// A program and the Debian package that brings it.
const PROGRAMS: [(&str, &str); 6] = [
    ("ip", "iproute2"),
    ("ping", "iputils-ping"),
    ("iperf3", "iperf3"),
    ("ethtool", "ethtool"),
    ("tcpdump", "tcpdump"),
    ("bpftool", "bpftool"),
];

/// Those that are not on `PATH`.
pub(crate) fn missing() -> Vec<&'static str> {
    absent().map(|(program, _)| program).collect()
}

/// The packages of those.
pub(crate) fn missing_packages() -> impl Iterator<Item = Package> {
    absent().map(|(_, package)| Package::new(package))
}

/// Where the program is on `PATH`.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|directory| directory.join(program)).find(|file| file.is_file())
}

fn absent() -> impl Iterator<Item = (&'static str, &'static str)> {
    PROGRAMS.into_iter().filter(|(program, _)| on_path(program).is_none())
}

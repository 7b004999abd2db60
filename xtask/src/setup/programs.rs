//! The programs that the demo, the tests and the bench call.

use std::{env, path::PathBuf};

use super::apt::Package;

/// Who calls programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The demo.
    Demo,
    /// `cargo xtask package`.
    Packager,
    /// The tests, which call the others' too.
    Tests,
    /// The bench, which calls all.
    Bench,
}

/// A program and the Debian package that brings it.
type Program = (&'static str, &'static str);

/// What the demo calls, and everybody who makes hosts.
const OF_DEMO: &[Program] = &[
    ("ip", "iproute2"),
    ("ping", "iputils-ping"),
    ("iperf3", "iperf3"),
    ("ethtool", "ethtool"),
    ("tcpdump", "tcpdump"),
    ("bpftool", "bpftool"),
];

/// What packaging calls.
const OF_PACKAGER: &[Program] = &[("dpkg-shlibdeps", "dpkg-dev"), ("strip", "binutils")];

/// What the tests call besides: they look at the package and its units, and at what others make of what this says. Debian starts a
/// server with `prometheus`, which they do not use.
const OF_TESTS: &[Program] = &[
    ("nft", "nftables"),
    ("promtool", "prometheus"),
    ("tshark", "tshark"),
    ("tmux", "tmux"),
    ("lintian", "lintian"),
    ("systemd-analyze", "systemd"),
];

/// What only the bench calls: they measure.
const OF_BENCH: &[Program] = &[("sockperf", "sockperf"), ("ab", "apache2-utils")];

/// Those that are not on `PATH`.
pub(crate) fn missing(caller: Caller) -> Vec<&'static str> {
    absent(caller).map(|(program, _)| program).collect()
}

/// The packages of those.
pub(crate) fn missing_packages(caller: Caller) -> impl Iterator<Item = Package> {
    absent(caller).map(|(_, package)| Package::new(package))
}

/// Where the program is on `PATH`.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|directory| directory.join(program)).find(|file| file.is_file())
}

fn absent(caller: Caller) -> impl Iterator<Item = Program> {
    let lists: &[&[Program]] = match caller {
        Caller::Demo => &[OF_DEMO],
        Caller::Packager => &[OF_PACKAGER],
        Caller::Tests => &[OF_DEMO, OF_PACKAGER, OF_TESTS],
        Caller::Bench => &[OF_DEMO, OF_PACKAGER, OF_TESTS, OF_BENCH],
    };
    lists.iter().copied().flatten().copied().filter(|(program, _)| on_path(program).is_none())
}

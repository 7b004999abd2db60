//! The programs that the demo, the tests and the bench call.

use std::{env, path::PathBuf};

use super::apt::Package;

/// Who calls programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The demo and the tests.
    Tests,
    /// The bench, which calls theirs too.
    Bench,
}

/// A program and the Debian package that brings it.
type Program = (&'static str, &'static str);

/// What everybody calls. Debian starts a server with `prometheus`, which the tests do not use.
const OF_ALL: &[Program] = &[
    ("ip", "iproute2"),
    ("ping", "iputils-ping"),
    ("iperf3", "iperf3"),
    ("ethtool", "ethtool"),
    ("tcpdump", "tcpdump"),
    ("bpftool", "bpftool"),
    ("nft", "nftables"),
    ("promtool", "prometheus"),
    ("tshark", "tshark"),
    ("tmux", "tmux"),
];

/// What only the bench calls: they measure.
const OF_BENCH: [Program; 2] = [("sockperf", "sockperf"), ("ab", "apache2-utils")];

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
    let of_bench = OF_BENCH.into_iter().filter(move |_| caller == Caller::Bench);
    OF_ALL.iter().copied().chain(of_bench).filter(|(program, _)| on_path(program).is_none())
}

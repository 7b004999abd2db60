//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::{
    peer::Peer,
    probe::Probe,
    setting::{Outer, Setting},
};

/// Measure overlay against the kernel's own ways to do the same, on this machine.
///
/// Two hosts and a workload behind each, in network namespaces, are set up for every peer; all are measured in turn, in
/// rotating order, several rounds long. Ratios are taken within each round, so that what slows the machine down for a while
/// does no harm. Needs root, and a machine with nothing else to do.
#[derive(Parser, Debug)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench", version = None)]
pub(crate) struct Options {
    /// The essential in less than 90 seconds: two rounds of what the targets are about
    #[arg(long)]
    quick: bool,
    /// How often everything is measured [default: 5; 2 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,
    /// How long each measurement takes [default: 2; 1 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: Option<u32>,
    /// Settings of the underlay [default: all]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "SETTING")]
    setting: Vec<Setting>,
    /// What tunnel packets are
    #[arg(long, value_enum, default_value_t = Outer::Ipv4, value_name = "FAMILY")]
    outer: Outer,
    /// Peers [default: all; with --quick kernel, floor, ours-off]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PEER")]
    peer: Vec<Peer>,
    /// What to measure [default: all but lines; with --quick tcp1, udp64, rr, xdp, cost]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "WHAT")]
    only: Vec<What>,
    /// What a million stations, ten thousand remote VTEPs and ten thousand segments cost, and nothing else
    #[arg(long, conflicts_with_all = ["only", "save", "check", "plot"])]
    scale: bool,
    /// Write all figures as JSON, to stdout instead of the tables for -
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Draw the figures
    #[arg(long, value_name = "FILE.svg")]
    pub(crate) plot: Option<PathBuf>,
    /// Write the ratios as a baseline
    #[arg(long, value_name = "FILE")]
    pub(crate) save: Option<PathBuf>,
    /// Compare ratios with a baseline, and fail if one is worse by more than the margin
    #[arg(long, value_name = "FILE")]
    pub(crate) check: Option<PathBuf>,
    /// How much worse than the baseline a ratio may be, in percent [default: what the baseline says]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(0..=100))]
    pub(crate) margin: Option<u32>,
}

/// What `--only` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Probe(Probe),
    Live,
    Cost,
    Lines,
}

impl ValueEnum for What {
    fn value_variants<'a>() -> &'a [Self] {
        &[
            Self::Probe(Probe::Tcp1),
            Self::Probe(Probe::Tcp4),
            Self::Probe(Probe::Udp64),
            Self::Probe(Probe::Rr),
            Self::Probe(Probe::RrLoad),
            Self::Probe(Probe::Crr),
            Self::Live,
            Self::Cost,
            Self::Lines,
        ]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        match self {
            Self::Probe(probe) => probe.to_possible_value(),
            Self::Live => Some(clap::builder::PossibleValue::new("xdp").help(
                "Tunnel packets that one CPU takes from an uplink's XDP hook to a workload, of ours with native XDP, of \
                 the kernel's device and of a redirect alone",
            )),
            Self::Cost => Some(clap::builder::PossibleValue::new("cost").help(
                "Nanoseconds of each program on each of its paths, and of those that run under traffic",
            )),
            Self::Lines => Some(clap::builder::PossibleValue::new("lines").help(
                "What a packet of UDP costs by lines of the programs and functions of the kernel, by looking at what CPUs are \
                 at; only if it is named",
            )),
        }
    }
}

/// What shall be measured.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is something that was asked for, yes or no")]
pub(crate) struct Plan {
    /// Settings, one after the other.
    pub(crate) settings: Vec<Setting>,
    /// What tunnel packets are.
    pub(crate) outer: Outer,
    /// Peers, in turn.
    pub(crate) peers: Vec<Peer>,
    /// Measurements of each.
    pub(crate) probes: Vec<Probe>,
    /// Whether XDP is measured on live frames.
    pub(crate) live: bool,
    /// Whether programs are measured by themselves.
    pub(crate) cost: bool,
    /// Whether it is looked where the time of a packet goes.
    pub(crate) lines: bool,
    /// How often.
    pub(crate) rounds: u32,
    /// How long each measurement takes.
    pub(crate) seconds: u32,
    /// Whether it is measured what size costs.
    pub(crate) scale: bool,
    /// Whether to be content with less.
    pub(crate) quick: bool,
}

impl Plan {
    /// How many rates a search may try.
    pub(crate) const fn trials(&self) -> u32 {
        if self.quick { 3 } else { 6 }
    }
}

impl Options {
    /// What these options ask for.
    pub(crate) fn plan(&self) -> Plan {
        const QUICK_PEERS: &[Peer] = &[Peer::Kernel, Peer::Floor, Peer::OURS];
        const QUICK_PROBES: &[Probe] = &[Probe::Tcp1, Probe::Udp64, Probe::Rr];
        let (peers, probes) = if self.quick {
            (QUICK_PEERS, QUICK_PROBES)
        } else {
            (Peer::value_variants(), Probe::value_variants())
        };
        // Over IPv6 all are that.
        let is_another = |peer: &Peer| *peer != Peer::OursIpv6 || self.outer != Outer::Ipv6;
        let peers: Vec<_> = peers.iter().copied().filter(is_another).collect();
        let chosen = self.only.iter().filter_map(|what| match what {
            What::Probe(probe) => Some(*probe),
            What::Live | What::Cost | What::Lines => None,
        });
        let is_chosen = |what| self.only.is_empty() || self.only.contains(&what);
        Plan {
            settings: or_else(&self.setting, Setting::value_variants()),
            outer: self.outer,
            peers: or_else(&self.peer, &peers),
            probes: match (self.scale, self.only.is_empty()) {
                (true, _) => Vec::new(),
                (false, true) => probes.to_vec(),
                (false, false) => once_each(chosen),
            },
            live: !self.scale && is_chosen(What::Live),
            cost: !self.scale && is_chosen(What::Cost),
            lines: self.only.contains(&What::Lines),
            scale: self.scale,
            rounds: self.rounds.unwrap_or(if self.quick { 2 } else { 5 }),
            seconds: self.seconds.unwrap_or(if self.quick { 1 } else { 2 }),
            quick: self.quick,
        }
    }
}

fn or_else<T: Copy + PartialEq>(chosen: &[T], otherwise: &[T]) -> Vec<T> {
    once_each(if chosen.is_empty() { otherwise } else { chosen }.iter().copied())
}

fn once_each<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut once = Vec::new();
    for value in values {
        if !once.contains(&value) {
            once.push(value);
        }
    }
    once
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn plan(words: &[&str]) -> Plan {
        Options::parse_from([&["bench"], words].concat()).plan()
    }

    #[test]
    fn the_command_line_is_sound() {
        Options::command().debug_assert();
    }

    #[test]
    fn without_words_everything_is_measured() {
        let plan = plan(&[]);
        assert_eq!((plan.settings.len(), plan.peers.len(), plan.probes.len()), (2, 7, 6));
        assert!(plan.live && plan.cost && plan.rounds == 5);
        assert!(!super::tests::plan(&["--outer", "ipv6"]).peers.contains(&Peer::OursIpv6));
    }

    #[test]
    fn what_is_chosen_is_measured_once() {
        let plan =
            plan(&["--only", "udp64,tcp1,udp64", "--peer", "floor", "--peer", "floor", "--rounds", "7"]);
        assert_eq!(plan.probes, [Probe::Udp64, Probe::Tcp1]);
        assert_eq!((plan.peers, plan.rounds, plan.cost), (vec![Peer::Floor], 7, false));
    }

    #[test]
    fn size_is_measured_by_itself() {
        let alone = plan(&["--scale", "--quick"]);
        assert!(alone.scale && alone.quick && !alone.cost && alone.probes.is_empty());
        assert!(!plan(&[]).scale);
    }

    #[test]
    fn words_go_before_quick() {
        let plan = plan(&["--quick", "--rounds", "3", "--only", "cost"]);
        assert_eq!((plan.rounds, plan.seconds), (3, 1));
        assert!(plan.probes.is_empty() && plan.cost && !plan.live);
        let live = super::tests::plan(&["--only", "xdp"]);
        assert!(live.probes.is_empty() && live.live && !live.cost);
    }
}

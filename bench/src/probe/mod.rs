//! One measurement: which program measures, how it is called, and what it says.

mod command;
mod connections;
mod iperf3;
mod rate;
mod sockperf;
mod tcp;
mod udp;

use std::fmt;

use anyhow::Result;
use clap::ValueEnum;

use crate::{cpus::Cpus, figure::Figure, peer::Site};

/// What is measured in one go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum)]
pub(crate) enum Probe {
    /// TCP, one flow (iperf3)
    Tcp1,
    /// TCP, four flows (iperf3)
    Tcp4,
    /// UDP datagrams of 64 bytes, at most 0.5 % lost (iperf3)
    Udp64,
    /// Request and response, one at a time (sockperf)
    Rr,
    /// The same beside a bulk transfer (sockperf, iperf3)
    RrLoad,
    /// Connect, request, response, close (ab)
    Crr,
}

/// What TCP in bulk goes by: that of most machines, whatever this one has.
pub(crate) const CONGESTION_CONTROL: &str = "cubic";

pub(crate) use tcp::WINDOW;

/// A figure and its value.
pub(crate) type Value = (Figure, f64);

impl Probe {
    /// The name in output and files.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tcp1 => "tcp1",
            Self::Tcp4 => "tcp4",
            Self::Udp64 => "udp64",
            Self::Rr => "rr",
            Self::RrLoad => "rr-load",
            Self::Crr => "crr",
        }
    }

    /// What it measures.
    pub(crate) const fn figures(self) -> &'static [Figure] {
        match self {
            Self::Tcp1 => &[Figure::Tcp1, Figure::Tcp1Cpu],
            Self::Tcp4 => &[Figure::Tcp4, Figure::Tcp4Cpu],
            Self::Udp64 => &[Figure::Udp64, Figure::Udp64Cpu],
            Self::Rr => &[Figure::Requests, Figure::RequestsP50, Figure::RequestsP99],
            Self::RrLoad => &[Figure::LoadedRequests, Figure::LoadedRequestsP50, Figure::LoadedRequestsP99],
            Self::Crr => &[Figure::Connections],
        }
    }

    /// Measures.
    ///
    /// # Errors
    ///
    /// When a program that measures fails, or a signal asks to stop.
    pub(crate) fn measure(self, place: &Place<'_>) -> Result<Vec<Value>> {
        match self {
            Self::Tcp1 => tcp::measure(place, 1, [Figure::Tcp1, Figure::Tcp1Cpu]),
            Self::Tcp4 => tcp::measure(place, 4, [Figure::Tcp4, Figure::Tcp4Cpu]),
            Self::Udp64 => udp::measure(place),
            Self::Rr => sockperf::alone(place),
            Self::RrLoad => sockperf::loaded(place),
            Self::Crr => connections::measure(place),
        }
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Where and how long to measure.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    /// The workloads.
    pub(crate) site: &'a Site<'a>,
    /// Where the two ends run.
    pub(crate) cpus: Cpus,
    /// How long, in seconds.
    pub(crate) seconds: u32,
    /// How many rates a search may try, each for so long.
    pub(crate) trials: u32,
}

//! What the underlay is like.

use std::fmt;

use clap::ValueEnum;
use overlay_common::Family;
use overlay_tests::topology::Underlay;
use serde::{Deserialize, Serialize};

/// How the veth between the two hosts carries packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Setting {
    /// Whole GSO packets, checksums left open, as between virtual machines of one host
    Super,
    /// Frames of one MTU with real checksums, merged by GRO where they arrive, as on a wire
    Wire,
}

/// What tunnel packets are; the traffic inside is IPv4 in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outer {
    /// IPv4
    Ipv4,
    /// IPv6
    Ipv6,
}

impl Outer {
    const fn family(self) -> Family {
        match self {
            Self::Ipv4 => Family::Ipv4,
            Self::Ipv6 => Family::Ipv6,
        }
    }
}

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}

impl Setting {
    /// The underlay of a lab.
    pub(crate) fn underlay(self, outer: Outer) -> Underlay {
        let known = Underlay::known(outer.family());
        match self {
            Self::Super => known,
            Self::Wire => Underlay { offloads: false, aggregation: true, ..known },
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Super => "super",
            Self::Wire => "wire",
        })
    }
}

//! What the underlay is like.

use std::fmt;

use clap::ValueEnum;
use overlay_common::Family;
use overlay_tests::topology::Underlay;
use serde::Serialize;

/// How the veth between the two hosts carries packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Setting {
    /// Whole GSO packets, checksums left open, as between virtual machines of one host
    Super,
    /// Frames of one MTU with real checksums, merged by GRO where they arrive, as on a wire
    Wire,
}

impl Setting {
    /// The underlay of a lab.
    pub(crate) fn underlay(self) -> Underlay {
        let known = Underlay::known(Family::Ipv4);
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

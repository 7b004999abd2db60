//! The ways to forward that are compared.

mod external;
mod floor;
mod kernel;
mod ours;

use std::{fmt, net::IpAddr};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use overlay_tests::{
    netns::NetNs,
    overlay::Instance,
    topology::{Lab, Plan, Workload},
    traffic,
};
use serde::Serialize;

use crate::{programs::Programs, setting::Outer};

/// The segment of every lab.
pub(crate) const VNI: u32 = 100;

/// A way to get frames from one workload to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Peer {
    /// The kernel's `vxlan` device and bridge, with static FDB and neighbours
    Kernel,
    /// The kernel's `vxlan external` device, with TC programs that set and get the tunnel key
    External,
    /// The same hops by TC redirects alone, without encapsulation: no overlay can be faster
    Floor,
    /// `overlay up --xdp off`
    OursOff,
    /// The same, with tunnels over IPv6 whatever those of the others are over
    OursIpv6,
    /// `overlay up --xdp generic`
    OursGeneric,
    /// `overlay up --xdp native`
    OursNative,
}

impl Peer {
    /// The name in output and files.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::External => "external",
            Self::Floor => "floor",
            Self::OursOff => "ours-off",
            Self::OursIpv6 => "ours-ipv6",
            Self::OursGeneric => "ours-generic",
            Self::OursNative => "ours-native",
        }
    }

    /// The one of ours whose figures the targets are about: what `--xdp auto` chooses on veth.
    pub(crate) const OURS: Self = Self::OursOff;

    /// Whether it is `overlay`.
    pub(crate) const fn is_ours(self) -> bool {
        match self {
            Self::OursOff | Self::OursIpv6 | Self::OursGeneric | Self::OursNative => true,
            Self::Kernel | Self::External | Self::Floor => false,
        }
    }

    /// What its tunnels are over, where those of the others are over `outer`.
    pub(crate) const fn outer(self, outer: Outer) -> Outer {
        match self {
            Self::OursIpv6 => Outer::Ipv6,
            Self::Kernel
            | Self::External
            | Self::Floor
            | Self::OursOff
            | Self::OursGeneric
            | Self::OursNative => outer,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Two workloads, and a peer that carries their frames between the two hosts of a lab.
pub(crate) struct Site<'a> {
    // Dropped first: it holds on to what follows.
    parts: Parts<'a>,
    workloads: [Workload; 2],
}

/// What a peer consists of, beside what goes with its namespaces.
enum Parts<'a> {
    Devices,
    Programs(#[expect(dead_code, reason = "held: dropped, they are detached")] Vec<Programs>),
    Instances(Vec<Instance<'a>>),
}

impl<'a> Site<'a> {
    /// Sets the peer up and tries it.
    ///
    /// # Errors
    ///
    /// Why it cannot run here.
    pub(crate) fn build(peer: Peer, lab: &'a Lab) -> Result<Self> {
        let workloads = [1, 2].map(|number| Self::workload(peer, lab, number));
        let [one, two] = workloads;
        let workloads = [one?, two?];
        for (workload, other) in [(&workloads[0], &workloads[1]), (&workloads[1], &workloads[0])] {
            workload.netns.ip(&format!(
                "neigh replace {} lladdr {} dev {} nud permanent",
                other.v4,
                other.mac,
                Workload::DEVICE
            ))?;
        }
        let parts = match peer {
            Peer::Kernel => kernel::build(lab, &workloads)?,
            Peer::External => external::build(lab, &workloads)?,
            Peer::Floor => floor::build(lab, &workloads)?,
            Peer::OursOff | Peer::OursIpv6 => ours::build(lab, &workloads, "off")?,
            Peer::OursGeneric => ours::build(lab, &workloads, "generic")?,
            Peer::OursNative => ours::build(lab, &workloads, "native")?,
        };
        let site = Self { parts, workloads };
        traffic::ping(site.sender(), site.address(), 3).context("nothing gets through")?;
        Ok(site)
    }

    fn workload(peer: Peer, lab: &Lab, number: u8) -> Result<Workload> {
        let host = lab.host(number);
        let mut plan = Plan::new(VNI, number);
        if peer == Peer::Floor {
            // Frames cross the underlay as they are: the uplink has to take them for its own.
            plan.mac = host.mac;
        }
        host.workload(&plan)
    }

    /// The workloads, sender or asker first.
    pub(crate) const fn workloads(&self) -> &[Workload; 2] {
        &self.workloads
    }

    /// The workload that sends or asks.
    pub(crate) fn sender(&self) -> &NetNs {
        &self.workloads[0].netns
    }

    /// The workload that receives or answers.
    pub(crate) fn receiver(&self) -> &NetNs {
        &self.workloads[1].netns
    }

    /// The receiver's address.
    pub(crate) fn address(&self) -> IpAddr {
        self.workloads[1].v4.into()
    }

    /// The instances of `overlay`, if it is what carries the frames.
    pub(crate) fn instances(&self) -> &[Instance<'a>] {
        match &self.parts {
            Parts::Instances(instances) => instances,
            Parts::Devices | Parts::Programs(_) => &[],
        }
    }

    /// Takes it down.
    ///
    /// # Errors
    ///
    /// When something is left.
    pub(crate) fn down(self) -> Result<()> {
        match self.parts {
            Parts::Devices | Parts::Programs(_) => Ok(()),
            Parts::Instances(instances) => instances.into_iter().try_for_each(Instance::down),
        }
    }
}

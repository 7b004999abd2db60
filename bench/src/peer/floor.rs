//! The same hops, and nothing else.

use anyhow::Result;
use overlay_tests::topology::{Lab, Workload};

use super::Parts;
use crate::programs::{Globals, Programs};

/// Redirects from the port to the uplink, and from the uplink to the workload.
pub(super) fn build<'a>(lab: &'a Lab, workloads: &[Workload; 2]) -> Result<Parts<'a>> {
    let mut all = Vec::new();
    for (host, workload) in lab.hosts.iter().zip(workloads) {
        let netns = &host.netns;
        let (out, port) = (netns.ifindex(&host.uplink)?, netns.ifindex(&workload.port)?);
        let mut programs = Programs::new(&Globals { out, port, ..Globals::default() })?;
        programs.attach("floor_from_port", netns, &workload.port)?;
        programs.attach("floor_from_uplink", netns, &host.uplink)?;
        all.push(programs);
    }
    Ok(Parts::Programs(all))
}

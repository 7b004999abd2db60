//! What went through ports.

use std::collections::BTreeMap;

use overlay_common::IfIndex;

use super::ports;
use crate::{
    error::Result,
    instance::Instance,
    netlink::counted::{Both, Counted},
    traffic::Traffic,
};

/// Frames and their bytes by port: sent is what came from the workload, received what went to it, as the devices count them. A frame
/// that the kernel carries whole is one.
///
/// # Errors
///
/// Fails if the map is gone, or the kernel does not tell.
pub fn by_port(instance: &Instance) -> Result<BTreeMap<IfIndex, Traffic>> {
    let counted = Counted::open()?;
    let devices = ports(instance)?.entries()?.into_keys().filter_map(IfIndex::new);
    // A device that is gone by now has none.
    Ok(devices.filter_map(|device| Some((device, traffic(counted.by_device(device)?)))).collect())
}

fn traffic(Both { from: (tx_packets, tx_bytes), to: (rx_packets, rx_bytes) }: Both) -> Traffic {
    Traffic { tx_packets, tx_bytes, rx_packets, rx_bytes }
}

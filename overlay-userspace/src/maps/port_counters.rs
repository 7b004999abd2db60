//! What went through ports.

use std::{collections::BTreeMap, fs};

use nix::net::if_::if_nametoindex;
use overlay_common::IfIndex;

use super::ports;
use crate::{
    error::{Context as _, Result},
    instance::Instance,
    traffic::Traffic,
};

/// Where the kernel tells what the devices of this thread's network namespace have received and sent.
const PATH: &str = "/proc/thread-self/net/dev";

/// Frames and their bytes by port: sent is what came from the workload, received what went to it.
///
/// It is the device's own count. So what is handed straight to the other end of a veth (`bpf_redirect_peer`) is not in it.
///
/// # Errors
///
/// Fails if the map is gone, or the kernel does not tell.
pub fn by_port(instance: &Instance) -> Result<BTreeMap<IfIndex, Traffic>> {
    let ports = ports(instance)?.entries()?;
    let text = fs::read_to_string(PATH).context(|| format!("cannot read {PATH}"))?;
    let devices = text.lines().filter_map(device);
    let indexed = devices.filter_map(|(name, traffic)| {
        // A device that is gone by now has none.
        let index = if_nametoindex(name).ok().and_then(IfIndex::new)?;
        ports.contains_key(&index.get()).then_some((index, traffic))
    });
    Ok(indexed.collect())
}

/// The device of a line, and what it counted; the heading has none.
fn device(line: &str) -> Option<(&str, Traffic)> {
    let (name, counts) = line.rsplit_once(':')?;
    let counts: Vec<u64> = counts.split_whitespace().map_while(|count| count.parse().ok()).collect();
    let [tx_bytes, tx_packets, .., rx_bytes, rx_packets] = *counts.get(..10)? else { return None };
    Some((name.trim(), Traffic { tx_packets, tx_bytes, rx_packets, rx_bytes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let line = "  p100-1:    9579      87    0    1    0     0          0         3     4242      21    0    0    0     0       0          0";
        let traffic = Traffic { tx_packets: 87, tx_bytes: 9579, rx_packets: 21, rx_bytes: 4242 };
        assert_eq!(device(line), Some(("p100-1", traffic)));
        assert_eq!(device(" face |bytes    packets errs drop fifo frame"), None);
        assert_eq!(device("p1: 1 2 3"), None);
    }
}

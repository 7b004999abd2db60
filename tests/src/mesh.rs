//! The usual set-up: an instance on every host, tunnels between all, workloads that talk.

use std::net::IpAddr;

use anyhow::{Context as _, Result};

use crate::{
    overlay::Instance,
    topology::{Lab, Plan, Workload},
    traffic,
};

/// Brings an instance up on every host of the lab, with more arguments for `overlay up`.
pub fn up<'a>(lab: &'a Lab, arguments: &[&str]) -> Result<Vec<Instance<'a>>> {
    lab.hosts.iter().map(|host| Instance::up(host, arguments)).collect()
}

/// Lets every instance reach every other in segment `vni`.
pub fn connect(instances: &[Instance<'_>], vni: u32) -> Result<()> {
    for instance in instances {
        for other in instances.iter().filter(|other| other.host.number != instance.host.number) {
            instance.reach(vni, other.host)?;
        }
    }
    Ok(())
}

/// Adds workload `number` of segment `vni` behind an instance.
pub fn workload(instance: &Instance<'_>, vni: u32, number: u8) -> Result<Workload> {
    let workload = instance.host.workload(&Plan::new(vni, number))?;
    instance.attach(vni, &workload)?;
    Ok(workload)
}

/// Connects all instances in segment `vni`, with one workload behind each, numbered as its host.
pub fn segment(instances: &[Instance<'_>], vni: u32) -> Result<Vec<Workload>> {
    connect(instances, vni)?;
    instances.iter().map(|instance| workload(instance, vni, instance.host.number)).collect()
}

/// Pings, TCP of `length` bytes, UDP small, large and in fragments: all of it both ways, over IPv4 and IPv6, and
/// checked for content.
pub fn exchange(one: &Workload, two: &Workload, length: usize) -> Result<()> {
    for (from, to) in [(one, two), (two, one)] {
        for address in [IpAddr::V4(to.v4), IpAddr::V6(to.v6)] {
            exchange_one_way(from, to, address, length)
                .with_context(|| format!("from {} to {}", from.netns.name(), to.netns.name()))?;
        }
    }
    Ok(())
}

fn exchange_one_way(from: &Workload, to: &Workload, address: IpAddr, length: usize) -> Result<()> {
    traffic::ping(&from.netns, address, 10)?;
    traffic::tcp(&from.netns, &to.netns, address, length)?;
    traffic::udp(&from.netns, &to.netns, address, &[0, 1, 17, 64, 999, 1400, 1401, 4000, 65000])
}

/// UDP in a single piece for the kernel to cut up, both ways, over IPv4 and IPv6, and checked for content.
pub fn exchange_segmented(one: &Workload, two: &Workload) -> Result<()> {
    for (from, to) in [(one, two), (two, one)] {
        for address in [IpAddr::V4(to.v4), IpAddr::V6(to.v6)] {
            traffic::udp_segmented(&from.netns, &to.netns, address, 1200, 20)
                .with_context(|| format!("from {} to {}", from.netns.name(), to.netns.name()))?;
        }
    }
    Ok(())
}

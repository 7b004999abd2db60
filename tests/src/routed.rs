//! Hosts with a `vxlan` device of the kernel that is in no bridge: they route into it, as Flannel has them do.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use anyhow::Result;

use crate::{
    frame::Mac,
    kernel,
    topology::{Host, Lab, Plan, Workload},
};

/// The name of the device on every host.
pub const DEVICE: &str = "flannel.1";

/// Its VNI.
pub const VNI: u32 = 1;

/// Its UDP port.
pub const PORT: &str = "8472";

/// The MAC address of the device on host `number`.
#[must_use]
pub const fn mac(number: u8) -> Mac {
    Mac([0x02, 0, 0, 0, 0xf1, number])
}

/// The address that a host has in the network of its own pods, by which it is asked itself.
#[must_use]
pub const fn gateway(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 244, number, 1)
}

const fn v6(number: u8, last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd44, 0, 0, number as u16, 0, 0, 0, last)
}

/// The device on every host, with routes, neighbours and entries for all others, and a pod behind each, numbered as its host.
pub fn pods(lab: &Lab, options: &[&str]) -> Result<Vec<Workload>> {
    for host in &lab.hosts {
        device(host, options)?;
        for other in lab.hosts.iter().filter(|other| other.number != host.number) {
            know(host, other)?;
        }
    }
    lab.hosts.iter().map(pod).collect()
}

fn device(host: &Host, options: &[&str]) -> Result<()> {
    // What comes by another device than answers would leave by is not let in.
    for (what, value) in
        [("ipv4/ip_forward", "1"), ("ipv6/conf/all/forwarding", "1"), ("ipv4/conf/all/rp_filter", "1")]
    {
        host.netns.sysctl(what, value)?;
    }
    let Host { number, vtep, uplink, .. } = host;
    host.netns.ip(&format!(
        "link add {DEVICE} address {} type vxlan id {VNI} local {vtep} dev {uplink} dstport {PORT} nolearning {}\n\
         link set {DEVICE} addrgenmode none\n\
         link set {DEVICE} up\n\
         addr add 10.244.{number}.0/32 dev {DEVICE}\n\
         addr add {}/128 dev {DEVICE} nodad",
        mac(*number),
        options.join(" "),
        v6(*number, 0xf1)
    ))
}

/// Has a host know the way to the pods of another.
fn know(host: &Host, other: &Host) -> Result<()> {
    let (number, mac) = (other.number, mac(other.number));
    let mut script = String::new();
    for (net, via) in [
        (format!("10.244.{number}.0/24"), IpAddr::V4(Ipv4Addr::new(10, 244, number, 0))),
        (format!("{}/64", v6(number, 0)), v6(number, 0xf1).into()),
    ] {
        writeln!(script, "neigh replace {via} lladdr {mac} dev {DEVICE} nud permanent")?;
        writeln!(script, "route add {net} via {via} dev {DEVICE} onlink")?;
    }
    host.netns.ip(&script)?;
    behind(host, mac, other.vtep)
}

/// Has a host know that MAC address behind the VTEP at `vtep`.
pub fn behind(host: &Host, mac: Mac, vtep: IpAddr) -> Result<()> {
    kernel::bridge(host, &format!("fdb replace {mac} dev {DEVICE} dst {vtep} self permanent"))
}

fn pod(host: &Host) -> Result<Workload> {
    let number = host.number;
    let plan = Plan { v4: Ipv4Addr::new(10, 244, number, 2), v6: v6(number, 2), ..Plan::new(VNI, number) };
    let pod = host.workload(&plan)?;
    host.netns.ip(&format!(
        "addr add {}/24 dev {port}\naddr add {}/64 dev {port} nodad",
        gateway(number),
        v6(number, 1),
        port = pod.port
    ))?;
    pod.netns.ip(&format!(
        "route add default via {}\nroute add default via {}",
        gateway(number),
        v6(number, 1)
    ))?;
    Ok(pod)
}

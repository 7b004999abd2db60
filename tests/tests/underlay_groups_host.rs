//! What the host itself, and other instances on it, notice of a multicast group of the underlay that was joined.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use overlay_common::Family;
use overlay_tests::{
    frame::{ETHER_EXPERIMENT, Ethernet, Mac, Network},
    over_both_families,
    overlay::Instance,
    topology::{Host, Lab, Underlay},
    wire::{Direction, Wire},
};

over_both_families! {
    what_others_send_to_the_group_leaves_the_host,
    a_group_is_left_by_the_last_instance_that_joined_it,
}

fn group<N: Network>() -> IpAddr {
    match N::FAMILY {
        Family::Ipv4 => [239, 129, 1, 1].into(),
        Family::Ipv6 => [0xff05, 0, 0, 0, 0, 0, 1, 1].into(),
    }
}

fn joined(host: &Host, addr: IpAddr) -> Result<bool> {
    Ok(host.netns.run(&["ip", "address", "show", "dev", &host.uplink])?.contains(&format!(" {addr}/")))
}

fn is_local(host: &Host, addr: IpAddr) -> Result<bool> {
    let family = if addr.is_ipv4() { "-4" } else { "-6" };
    let routes = host.netns.run(&["ip", family, "route", "show", "table", "local"])?;
    Ok(routes.contains(&format!("local {addr} ")))
}

fn what_others_send_to_the_group_leaves_the_host<N: Network>() -> Result<()> {
    let lab = Lab::with(2, Underlay::known(N::FAMILY))?;
    let (host, group) = (lab.host(1), group::<N>());
    // Somebody else's use of the same group.
    host.netns.ip(&format!(
        "link add other type vxlan id 7 group {group} dev u1 dstport 8472 ttl 5\n\
         link set other addrgenmode none\n\
         link set other up"
    ))?;
    let _instance = Instance::up(host, &[])?;
    host.overlay(&["tunnel", "add", "--vni", "100", "--remote", &group.to_string(), "--dev", "u1"])?;
    let leaves = |number: u8| -> Result<bool> {
        let wire = Wire::open(&host.netns, "u1", Direction::Both)?;
        let other = Wire::open(&host.netns, "other", Direction::In)?;
        let inner =
            Ethernet::new(Mac([2, 0, 0, 0, 0, 9]), Mac::BROADCAST, ETHER_EXPERIMENT).frame(&[number; 64]);
        other.send(&inner)?;
        let sent = wire.collect(|frame| frame.outgoing && frame.bytes.ends_with(&inner))?;
        Ok(sent.len() == 1)
    };
    ensure!(joined(host, group)? && !is_local(host, group)?);
    ensure!(leaves(1)?, "the group is the host's own address");
    host.netns.ip("link set u1 down\nlink set u1 up")?;
    host.netns.settle("u1")?;
    let status = host.overlay(&["status"])?;
    // The kernel takes IPv6 addresses from a device that goes down, and stays in their groups.
    ensure!(!status.contains("cannot have the kernel join"), "{status}");
    ensure!(!is_local(host, group)?, "the route is back");
    ensure!(leaves(2)?, "after the link was down");
    host.overlay(&["tunnel", "del", "--vni", "100", "--remote", &group.to_string()])?;
    ensure!(!joined(host, group)?, "it was not left");
    Ok(())
}

fn a_group_is_left_by_the_last_instance_that_joined_it<N: Network>() -> Result<()> {
    let lab = Lab::with(2, Underlay::known(N::FAMILY))?;
    let (host, group) = (lab.host(1), group::<N>());
    let on = |name: &str, words: &[&str]| host.overlay(&[&["--instance", name], words].concat());
    let names = [format!("{}-a", host.netns.name()), format!("{}-b", host.netns.name())];
    for (name, port) in names.iter().zip(["4789", "4790"]) {
        on(name, &["up", "--uplink", "u1", "--port", port])?;
        on(name, &["tunnel", "add", "--vni", "100", "--remote", &group.to_string(), "--dev", "u1"])?;
    }
    let first = on(&names[0], &["down"]).and_then(|_| joined(host, group));
    let last = on(&names[1], &["down"]).and_then(|_| joined(host, group));
    ensure!(first?, "the other instance still listens");
    ensure!(!last?, "nobody listens any more");
    Ok(())
}

//! Head-end replication to as many remote VTEPs as a segment of a large site has.

use std::{collections::BTreeMap, fmt::Write as _, net::IpAddr, time::Instant};

use anyhow::{Result, ensure};
use overlay_tests::{
    frame::{ETHER_EXPERIMENT, Ethernet, Mac, Network, Outer},
    mesh, over_both_families,
    overlay::Instance,
    topology::{Lab, Underlay, Workload},
    wire::{Direction, Wire},
};

const VNI: u32 = 100;
const REMOTES: u16 = 300;

over_both_families! {
    three_hundred_remotes_get_one_copy_each,
}

/// Addresses of a host that stands for many.
fn address<N: Network>(number: u16) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    match N::FAMILY {
        overlay_common::Family::Ipv4 => [10, 9, high, low].into(),
        overlay_common::Family::Ipv6 => [0xfd09, 0, 0, 0, 0, 0, 0, number].into(),
    }
}

fn three_hundred_remotes_get_one_copy_each<N: Network>() -> Result<()> {
    let lab = Lab::with(2, Underlay::known(N::FAMILY))?;
    let one = Instance::up(lab.host(1), &[])?;
    let workload = mesh::workload(&one, VNI, 1)?;
    let everyone: Vec<IpAddr> = (1..=REMOTES).map(address::<N>).collect();
    let (mac, mut neighbours) = (lab.host(2).mac, String::new());
    let net = if everyone[0].is_ipv4() { "10.9.0.0/16" } else { "fd09::/64" };
    writeln!(neighbours, "route add {net} dev u1")?;
    for remote in &everyone {
        writeln!(neighbours, "neigh replace {remote} lladdr {mac} dev u1 nud permanent")?;
    }
    lab.host(1).netns.ip(&neighbours)?;
    let start = Instant::now();
    for remote in &everyone {
        let remote = remote.to_string();
        lab.host(1).overlay(&["tunnel", "add", "--vni", &VNI.to_string(), "--remote", &remote])?;
    }
    let each = start.elapsed() / u32::from(REMOTES);
    println!("{REMOTES} tunnels added, {each:?} each");
    ensure!(each.as_millis() < 200, "{each:?} for each tunnel");

    let wire = Wire::open(&lab.host(2).netns, "u2", Direction::In)?;
    let sender = Wire::open(&workload.netns, Workload::DEVICE, Direction::In)?;
    let unknown = Mac([2, 0xee, 0, 0, 0, 1]);
    let before = lab.host(1).drops()?;
    for (number, to) in (0..).zip([Mac::BROADCAST, unknown, Mac([1, 0, 0x5e, 1, 2, 3])]) {
        let inner = Ethernet::new(workload.mac, to, ETHER_EXPERIMENT).frame(&[number; 400]);
        sender.send(&inner)?;
        let mut copies: BTreeMap<IpAddr, u32> = everyone.iter().map(|remote| (*remote, 0)).collect();
        let is_copy = |bytes: &[u8]| Outer::<N>::parse(bytes).is_ok_and(|(_, found)| found == inner);
        let first = wire.expect("a copy", |frame| is_copy(&frame.bytes))?;
        for frame in std::iter::once(first).chain(wire.collect(|frame| is_copy(&frame.bytes))?) {
            *copies.entry(Outer::<N>::parse(&frame.bytes)?.0.ip.addresses().1).or_default() += 1;
        }
        let wrong: Vec<_> = copies.iter().filter(|(_, count)| **count != 1).collect();
        ensure!(wrong.is_empty(), "to {to}: {} do not have one copy, such as {:?}", wrong.len(), wrong[0]);
    }
    let dropped = lab.host(1).drops_since(&before)?;
    ensure!(dropped.is_empty(), "{dropped:?}");
    Ok(())
}

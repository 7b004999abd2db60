//! Suppression between hosts whose workloads are behind VLAN tags that the segment keeps. The kernel has no VLAN devices, so
//! programs put the tags on what workloads' own stacks send, and take off those of the answers that have them.

use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use overlay_common::Notice;
use overlay_tests::{
    dialogue::Dialogue,
    frame::{Mac, Network},
    mesh,
    neigh::{self, await_learned, carries_question, forget, suppress},
    over_both_families,
    overlay::Instance,
    tags,
    topology::{Lab, Plan, Underlay, Workload},
    traffic,
    trunk::{ETHER_SERVICE_TAG, Switch, Tag, tag},
    wire::{Direction, Wire},
};

const VNI: u32 = 100;
const LENGTH: usize = 1 << 20;

over_both_families!(no_question_behind_tags_crosses_the_underlay_once_stations_are_known);

fn no_question_behind_tags_crosses_the_underlay_once_stations_are_known<N: Network>() -> Result<()> {
    for tags in [&[tag(0x600a)][..], &[(ETHER_SERVICE_TAG, 5), tag(0x200a)]] {
        once_stations_are_known::<N>(tags).with_context(|| format!("{tags:x?}"))?;
    }
    Ok(())
}

fn once_stations_are_known<N: Network>(tags: &[Tag]) -> Result<()> {
    let lab = Lab::with(2, Underlay::over(N::FAMILY))?;
    let instances = mesh::up(&lab, &[])?;
    mesh::connect(&instances, VNI)?;
    let (_here, one) = tags::workload(&instances[0], VNI, 1, tags)?;
    let (_there, two) = tags::workload(&instances[1], VNI, 2, tags)?;
    for host in &lab.hosts {
        suppress(host, VNI)?;
    }
    let wires = lab
        .hosts
        .iter()
        .map(|host| Wire::open(&host.netns, &host.uplink, Direction::In))
        .collect::<Result<Vec<_>>>()?;
    mesh::exchange(&one, &two, LENGTH)?;
    // Who is asked then knows who asked.
    ensure!(!wires[1].collect(carries_question::<N>)?.is_empty(), "the first questions are flooded");
    ensure!(wires[0].collect(carries_question::<N>)?.is_empty(), "the first questions come back");
    for (host, workload) in lab.hosts.iter().flat_map(|host| [(host, &one), (host, &two)]) {
        await_learned(host, VNI, workload.v4.into(), workload.mac)?;
        await_learned(host, VNI, workload.v6.into(), workload.mac)?;
    }
    let before = neigh::requests(lab.host(1), VNI)?;
    for (asker, asked) in [(&one, &two), (&two, &one)] {
        forget(asker)?;
        for address in [IpAddr::from(asked.v4), asked.v6.into()] {
            traffic::ping(&asker.netns, address, 3)?;
            // The kernel believes the answer.
            let known = asker.netns.run(&["ip", "neigh", "show", &address.to_string()])?;
            ensure!(known.contains(&asked.mac.to_string()), "{address}: {known}");
        }
    }
    let dialogues =
        [IpAddr::from(two.v4), two.v6.into()].map(|address| Dialogue::start(&one.netns, &two.netns, address));
    forget(&one)?;
    forget(&two)?;
    for dialogue in dialogues {
        let dialogue = dialogue?;
        dialogue.go_on(100)?;
        dialogue.finish()?;
    }
    mesh::exchange(&one, &two, LENGTH)?;
    for wire in &wires {
        let crossed = wire.collect(carries_question::<N>)?;
        ensure!(crossed.is_empty(), "{} questions crossed, such as {:02x?}", crossed.len(), crossed[0].bytes);
    }
    let (requests, answered) = neigh::requests(lab.host(1), VNI)?;
    let (asked, told) = (requests - before.0, answered - before.1);
    ensure!(asked >= 2 && asked == told, "{told} of {asked} answered");
    Ok(())
}

/// Workloads of the same addresses in two VLANs behind one port, and which have the MAC addresses of host and VLAN.
fn twins(instance: &Instance<'_>) -> Result<(Switch, [Workload; 2])> {
    let mut switch = Switch::new(instance.host, "t1")?;
    let number = instance.host.number;
    let mut workload = |vlan: u8| {
        let plan = Plan { mac: Mac([2, 0, 0, 0, vlan, number]), ..tags::plan(instance, VNI, number)? };
        switch.workload(&plan, &[tag(vlan.into())])
    };
    let workloads = [workload(10)?, workload(20)?];
    switch.start()?;
    tags::attach(instance, VNI)?;
    Ok((switch, workloads))
}

#[test]
fn vlans_that_use_the_same_addresses_do_not_mix() -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    mesh::connect(&instances, VNI)?;
    let (_here, ours) = twins(&instances[0])?;
    let (_there, theirs) = twins(&instances[1])?;
    for host in &lab.hosts {
        suppress(host, VNI)?;
    }
    for _ in 0..3 {
        for (one, two) in ours.iter().zip(&theirs) {
            forget(one)?;
            forget(two)?;
            mesh::exchange(one, two, LENGTH)?;
            for (asker, asked) in [(one, two), (two, one)] {
                for address in [asked.v4.to_string(), asked.v6.to_string()] {
                    let known = asker.netns.run(&["ip", "neigh", "show", &address])?;
                    ensure!(known.contains(&asked.mac.to_string()), "{address}: {known}");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn a_duplicate_address_behind_tags_is_still_detected() -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    mesh::connect(&instances, VNI)?;
    let (_here, one) = tags::workload(&instances[0], VNI, 1, &[tag(10)])?;
    let (_there, two) = tags::workload(&instances[1], VNI, 2, &[tag(10)])?;
    for host in &lab.hosts {
        suppress(host, VNI)?;
    }
    mesh::exchange(&one, &two, LENGTH)?;
    await_learned(lab.host(1), VNI, two.v6.into(), two.mac)?;
    neigh::await_duplicate(&one, two.v6)
}

/// TCP finds its size by the answers, and by the MSS where that is lowered; UDP by the answers.
#[test]
fn flows_that_do_not_know_what_fits_behind_their_tags_find_out() -> Result<()> {
    for clamp in ["off", "on"] {
        for tags in [&[tag(10)][..], &[(ETHER_SERVICE_TAG, 5), tag(10)]] {
            let lab = Lab::new(2)?;
            let instances = mesh::up(&lab, &[])?;
            mesh::connect(&instances, VNI)?;
            let mut sides = vec![];
            for instance in &instances {
                let mut switch = Switch::new(instance.host, "t1")?;
                let plan = Plan { mtu: Some(1492), ..Plan::new(VNI, instance.host.number) };
                let workload = switch.workload(&plan, tags)?;
                switch.start()?;
                tags::attach(instance, VNI)?;
                instance.host.overlay(&["vni", "set", &VNI.to_string(), "--clamp-mss", clamp])?;
                sides.push((switch, workload));
            }
            let [(_, one), (_, two)] = &sides[..] else { unreachable!("two hosts") };
            for address in [IpAddr::from(two.v4), two.v6.into()] {
                traffic::tcp(&one.netns, &two.netns, address, LENGTH)
                    .with_context(|| format!("{tags:x?}, clamping {clamp}"))?;
            }
            let told = lab.host(1).noticed(Notice::TooBigAnswered)?;
            ensure!((told == 0) == (clamp == "on"), "clamping {clamp}: {told} answers");
            let clamped = lab.host(1).noticed(Notice::MssClamped)?;
            ensure!((clamped == 0) == (clamp == "off"), "clamping {clamp}: {clamped} handshakes");
        }
    }
    Ok(())
}

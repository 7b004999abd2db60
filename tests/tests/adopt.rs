//! Segments of the kernel's `vxlan` devices that are adopted: the programs carry what is known, nothing is lost either way.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use overlay_common::Family;
use overlay_tests::{
    adopting::{BRIDGED, PATIENCE},
    agent::{self, Agent, soon},
    dialogue::Dialogue,
    kernel::{self, DEVICE, adopted, carried, forwarded},
    overlay::Instance,
    process::{Background, wait_until},
    stream::Stream,
    topology::{Host, Lab, Plan, Underlay, Workload},
    traffic,
};

/// Agents on the hosts, and their instances.
fn agents(lab: &Lab) -> Result<Vec<(Background, Instance<'_>)>> {
    lab.hosts.iter().map(|host| agent::run(host, &[])).collect()
}

/// Waits until the programs of a host know the way of frames between two workloads.
fn known(host: &Host, stations: u64) -> Result<()> {
    wait_until(Instant::now() + PATIENCE, || {
        let count = adopted(host)?.and_then(|row| row["stations"].as_u64());
        Ok((count >= Some(stations)).then_some(()))
    })
    .context("the stations are known")
}

/// Adopts and releases on one host, then on both, while datagrams and a connection go on.
fn nothing_is_lost(family: Family, options: &[&str]) -> Result<()> {
    let lab = Lab::with(2, Underlay::over(family))?;
    let (_peers, workloads) = kernel::segment(&lab, options)?;
    let [one, two] = [&workloads[0], &workloads[1]];
    let mut agents = agents(&lab)?;
    let stream = Stream::start(&one.netns, &two.netns, two.v4.into())?;
    let talk = Dialogue::start(&two.netns, &one.netns, one.v6.into())?;
    BRIDGED.loses_nothing(&lab, (stream, talk), |host| known(host, 2))?;
    for (agent, _) in &mut agents {
        ensure!(agent.signal(Signal::SIGTERM)? == Some(0), "it has to end well");
    }
    Ok(())
}

#[test]
fn nothing_is_lost_over_ipv4() -> Result<()> {
    nothing_is_lost(Family::Ipv4, &[])
}

#[test]
fn nothing_is_lost_over_ipv6() -> Result<()> {
    nothing_is_lost(Family::Ipv6, &["udp6zerocsumtx", "udp6zerocsumrx"])
}

#[test]
fn nothing_is_lost_over_ipv6_with_checksums() -> Result<()> {
    nothing_is_lost(Family::Ipv6, &[])
}

#[test]
fn all_else_goes_by_the_kernel() -> Result<()> {
    let lab = Lab::new(2)?;
    let (peers, workloads) = kernel::segment(&lab, &[])?;
    let hosts: Vec<_> = peers
        .iter()
        .zip(&lab.hosts)
        .map(|(peer, host)| kernel::address(peer, host))
        .collect::<Result<_>>()?;
    let _agents = agents(&lab)?;
    for host in &lab.hosts {
        host.overlay(&["adopt", DEVICE])?;
    }
    for workload in &workloads {
        for addr in
            workloads.iter().map(|other| other.v4).filter(|addr| *addr != workload.v4).chain(hosts.clone())
        {
            workload.netns.ip("neighbour flush all")?;
            traffic::ping(&workload.netns, addr.into(), 5)?;
        }
    }
    for host in &lab.hosts {
        for workload in &workloads {
            traffic::ping(&host.netns, workload.v4.into(), 5)?;
            traffic::tcp(&host.netns, &workload.netns, workload.v4.into(), 1 << 18)?;
        }
    }
    overlay_tests::mesh::exchange(&workloads[0], &workloads[1], 1 << 20)?;
    overlay_tests::mesh::exchange_segmented(&workloads[0], &workloads[1])
}

/// Two workloads with one address behind hosts 2 and 3: a station that is now here, now there.
fn twins(lab: &Lab, peers: &[overlay_tests::peer::Peer<'_>]) -> Result<Vec<Workload>> {
    let twin = |number: u8| {
        let host = lab.host(number);
        let workload = host.workload(&Plan::new(kernel::VNI, 9))?;
        peers[usize::from(number) - 1].attach(&workload)?;
        Ok(workload)
    };
    [2, 3].into_iter().map(twin).collect()
}

#[test]
fn what_the_kernel_is_told_is_followed() -> Result<()> {
    let lab = Lab::new(3)?;
    let (peers, workloads) = kernel::segment_of(&lab, false, &[])?;
    let twins = twins(&lab, &peers)?;
    let (host, one) = (lab.host(1), &workloads[0]);
    let station = twins[0].mac;
    for other in [lab.host(2), lab.host(3)] {
        kernel::bridge(
            other,
            &format!(
                "fdb replace {} dev {DEVICE} dst {} self\nfdb replace {0} dev {DEVICE} master static",
                one.mac, host.vtep
            ),
        )?;
    }
    kernel::bridge(host, &format!("fdb replace {station} dev {DEVICE} master static"))?;
    for workload in [one, &twins[0], &twins[1]] {
        for other in [one, &twins[0]] {
            workload
                .netns
                .ip(&format!("neigh replace {} lladdr {} dev eth0 nud permanent", other.v4, other.mac))?;
        }
    }
    let (_agent, _instance) = agent::run(host, &[])?;
    host.overlay(&["adopt", DEVICE])?;
    let socket = one.netns.enter(|| Ok(std::net::UdpSocket::bind("0.0.0.0:0")?))?;
    for turn in 0..4 {
        let at = turn % 2;
        let receiver = twins[at].netns.enter(|| {
            let socket = std::net::UdpSocket::bind((IpAddr::from(twins[at].v4), 7000))?;
            socket.set_read_timeout(Some(Duration::from_millis(20)))?;
            Ok(socket)
        })?;
        let to = lab.host(u8::try_from(at)? + 2).vtep;
        kernel::bridge(host, &format!("fdb replace {station} dev {DEVICE} dst {to} self"))?;
        let before = forwarded(host)?;
        soon("the station is found where it is", || {
            // Its own bridge has to hear of it, too.
            receiver.send_to(&[7], (one.v4, 7001))?;
            socket.send_to(&[7], (twins[at].v4, 7000))?;
            let got = receiver.recv(&mut [0; 8]).is_ok();
            Ok((got && forwarded(host)?.0 > before.0 + 2).then_some(()))
        })?;
    }
    kernel::bridge(host, &format!("fdb del {station} dev {DEVICE} self"))?;
    soon("what the kernel does not know is left to it", || {
        let (kernel, ours) = (carried(host)?, forwarded(host)?);
        for _ in 0..5 {
            socket.send_to(&[7], (twins[0].v4, 7000))?;
        }
        Ok((carried(host)?.0 >= kernel.0 + 5 && forwarded(host)? == ours).then_some(()))
    })
}

#[test]
fn a_station_that_moves_is_followed() -> Result<()> {
    let lab = Lab::new(2)?;
    let (peers, workloads) = kernel::segment(&lab, &[])?;
    let _agents = agents(&lab)?;
    for host in &lab.hosts {
        host.overlay(&["adopt", DEVICE])?;
    }
    let stays = &workloads[0];
    // The same addresses, behind the other host, as often as it goes.
    for turn in 0..3 {
        let at = usize::from(turn % 2 == 0);
        let moved = lab.hosts[at].workload(&Plan::new(kernel::VNI, 9))?;
        peers[at].attach(&moved)?;
        agent::answers_soon("a station that moved", &moved.netns, stays.v4.into())?;
        let stream = Stream::start(&moved.netns, &stays.netns, stays.v4.into())?;
        if at == 1 {
            known(lab.host(2), 2)?;
            BRIDGED.carries(lab.host(2), &stream)?;
        }
        stream.finish()?;
    }
    Ok(())
}

#[test]
fn an_agent_that_is_killed_loses_nothing() -> Result<()> {
    let lab = Lab::new(2)?;
    let (_peers, workloads) = kernel::segment(&lab, &[])?;
    let host = lab.host(1);
    let (agent, _instance) = agent::run(host, &[])?;
    host.overlay(&["adopt", DEVICE])?;
    let stream = Stream::start(&workloads[0].netns, &workloads[1].netns, workloads[1].v4.into())?;
    known(host, 2)?;
    BRIDGED.carries(host, &stream)?;
    agent.send(Signal::SIGKILL)?;
    let lapsed = |wanted: bool| {
        wait_until(Instant::now() + agent::GENEROUS, || {
            stream.go_on(10)?;
            let row = adopted(host)?.context("it stays adopted")?;
            Ok((row["followed"] == !wanted).then_some(()))
        })
    };
    lapsed(true).context("the lease ends")?;
    let (kernel, ours) = (carried(host)?, forwarded(host)?);
    stream.go_on(500)?;
    ensure!(carried(host)?.0 >= kernel.0 + 500, "the kernel has all frames");
    ensure!(forwarded(host)? == ours, "the programs have none");

    let (_agent, again) = agent::run(host, &[])?;
    again.is_down_already();
    lapsed(false).context("a new agent goes on")?;
    BRIDGED.carries(host, &stream)?;
    stream.finish().map(drop)
}

#[test]
fn a_device_that_goes_leaves_nothing() -> Result<()> {
    let lab = Lab::new(2)?;
    let (_peers, workloads) = kernel::segment(&lab, &[])?;
    let host = lab.host(1);
    let _talk = Stream::start(&workloads[0].netns, &workloads[1].netns, workloads[1].v4.into())?.finish()?;
    let mut agent = Agent::start(host, &["run", "--uplink", &host.uplink])?;
    let instance = Instance::adopt(host)?;
    host.overlay(&["adopt", DEVICE])?;
    known(host, 2)?;
    let pins = || {
        let names = std::fs::read_dir(instance.pins().join("links"))?.map(|entry| Ok(entry?.file_name()));
        let names = names.collect::<Result<Vec<_>>>()?;
        Ok::<_, anyhow::Error>(names.iter().filter(|name| name.to_string_lossy().contains("adopted")).count())
    };
    ensure!(pins()? == 1, "the program is on the workload's port");
    host.netns.ip(&format!("link del {DEVICE}"))?;
    let line = agent.said(DEVICE)?;
    ensure!(line.contains("vx100 is gone, and VNI 100 with it"), "{line}");
    ensure!(adopted(host)?.is_none() && pins()? == 0, "something is left");
    ensure!(
        host.overlay_json(&["tunnel", "show"])?.as_array().is_some_and(Vec::is_empty),
        "a tunnel is left"
    );
    agent.end()
}

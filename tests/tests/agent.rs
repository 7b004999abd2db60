//! The agent mends what changes within a second, while connections go on.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    fcntl::{Flock, FlockArg},
    sys::signal::Signal,
};
use overlay_common::maps::next_hop::{self, NextHop};
use overlay_tests::{
    agent::{self, Agent, answers_soon},
    dialogue::Dialogue,
    maps, mesh,
    netns::NetNs,
    overlay::Instance,
    process::{Background, wait_until},
    replug,
    topology::{Host, Lab, Plan, Workload},
    traffic,
};
use serde_json::json;

const VNI: u32 = 100;

/// How soon the agent has looked for what it is not told, and then some.
const LOOKED: Duration = Duration::from_secs(6);

struct Talk<'a> {
    agents: Vec<Background>,
    instances: Vec<Instance<'a>>,
    workloads: Vec<Workload>,
    flow: Dialogue,
}

impl Talk<'_> {
    /// Waits for the first answer between the workloads, and has the connection go on and everything be well.
    fn mended(self, what: &str) -> Result<()> {
        answers_soon(what, &self.workloads[0].netns, self.workloads[1].v4.into())?;
        self.flow.go_on(50)?;
        let status = self.instances[0].host.overlay_json(&["status"])?;
        ensure!(status["warnings"] == json!([]), "{status}");
        self.finish()
    }

    fn finish(mut self) -> Result<()> {
        self.flow.finish()?;
        for agent in &mut self.agents {
            ensure!(agent.is_running()?, "the agent has ended by itself");
            ensure!(agent.signal(Signal::SIGTERM)? == Some(0), "it has to end well");
        }
        Ok(())
    }
}

/// Agents on all hosts, and a connection between the workloads of the first two.
fn talk<'a>(lab: &'a Lab, arguments: &[&str]) -> Result<Talk<'a>> {
    let (mut agents, mut instances) = (Vec::new(), Vec::new());
    for host in &lab.hosts {
        let (agent, instance) = agent::run(host, arguments)?;
        agents.push(agent);
        instances.push(instance);
    }
    let workloads = mesh::segment(&instances, VNI)?;
    let flow = Dialogue::start(&workloads[0].netns, &workloads[1].netns, workloads[1].v4.into())?;
    flow.go_on(50)?;
    Ok(Talk { agents, instances, workloads, flow })
}

#[test]
fn an_uplink_that_was_made_again() -> Result<()> {
    let lab = Lab::new(3)?;
    let talk = talk(&lab, &[])?;
    lab.host(1).netns.ip("link del u1")?;
    replug::uplink(&lab, lab.host(1))?;
    talk.mended("an uplink that was made again")
}

#[test]
fn an_uplink_that_was_down() -> Result<()> {
    let lab = Lab::new(3)?;
    let talk = talk(&lab, &[])?;
    let host = lab.host(1);
    host.netns.ip(&format!("link set u1 down\nlink set u1 up\naddr add {}/64 dev u1 nodad", host.v6))?;
    host.netns.settle("u1")?;
    talk.mended("an uplink that was down")
}

#[test]
fn a_renamed_uplink() -> Result<()> {
    let lab = Lab::new(3)?;
    let talk = talk(&lab, &[])?;
    lab.host(1).netns.ip("link set u1 name wan")?;
    agent::soon("the name of a renamed uplink", || {
        let status = lab.host(1).overlay_json(&["status"])?;
        Ok((status["uplinks"][0]["dev"] == "wan").then_some(()))
    })?;
    talk.mended("a renamed uplink")
}

#[test]
fn another_address_of_an_uplink() -> Result<()> {
    let lab = Lab::new(3)?;
    let talk = talk(&lab, &[])?;
    let host = lab.host(1);
    for other in &lab.hosts[1..] {
        // From its old address they would take nothing any more.
        other.overlay(&["tunnel", "del", "--vni", "100", "--remote", "10.0.0.1"])?;
        other.overlay(&["tunnel", "add", "--vni", "100", "--remote", "10.0.0.101"])?;
    }
    host.netns.ip(&format!("addr del {}/24 dev u1\naddr add 10.0.0.101/24 dev u1", host.v4))?;
    talk.mended("another address of an uplink")
}

#[test]
fn another_mac_address_of_an_uplink() -> Result<()> {
    let lab = Lab::new(3)?;
    let talk = talk(&lab, &["--xdp", "native"])?;
    lab.host(1).netns.sysctl("ipv4/conf/u1/arp_notify", "1")?;
    lab.host(1).netns.ip("link set u1 address 02:00:0a:00:00:99")?;
    talk.mended("another MAC address of an uplink")
}

#[test]
fn another_mac_address_of_the_next_hop() -> Result<()> {
    let lab = Lab::new(2)?;
    let talk = talk(&lab, &[])?;
    let (one, two) = (lab.host(1), lab.host(2));
    two.netns.ip("link set u2 address 02:00:0a:00:00:99")?;
    one.netns.ip(&format!("neighbour replace {} lladdr 02:00:0a:00:00:99 dev u1 nud reachable", two.v4))?;
    talk.mended("another MAC address of the next hop")
}

/// The next hops that programs have asked for, CPU by CPU, forgotten or not.
fn next_hops(instance: &Instance<'_>) -> Result<Vec<NextHop>> {
    let contents = maps::contents(instance)?;
    let slots = contents.get(next_hop::NAME).context("no next hops")?.values();
    let hops = slots.flat_map(|slot| slot.chunks_exact(size_of::<NextHop>()));
    Ok(hops.map(bytemuck::pod_read_unaligned).filter(|hop: &NextHop| hop.uplink().is_some()).collect())
}

/// A program may be going by a next hop while the agent has the kernel asked again: what it reads must not go away under it.
#[test]
fn a_next_hop_that_is_forgotten_stays_whole() -> Result<()> {
    let lab = Lab::new(2)?;
    let (_agent, first) = agent::run(lab.host(1), &[])?;
    let (_other_agent, second) = agent::run(lab.host(2), &[])?;
    let instances = [first, second];
    let workloads = mesh::segment(&instances, VNI)?;
    traffic::ping(&workloads[0].netns, workloads[1].v4.into(), 3)?;
    let before = next_hops(&instances[0])?;
    ensure!(!before.is_empty(), "nothing was asked for");
    let two = lab.host(2);
    let neighbour = format!("neighbour replace {} lladdr {} dev u1 nud", two.v4, two.mac);
    let after = wait_until(Instant::now() + agent::GENEROUS, || {
        lab.host(1).netns.ip(&format!("{neighbour} stale\n{neighbour} reachable"))?;
        let hops = next_hops(&instances[0])?;
        Ok((hops.len() < before.len() || hops.iter().all(NextHop::is_forgotten)).then_some(hops))
    })?;
    ensure!(after.len() >= before.len(), "they were emptied: {before:?} and then {after:?}");
    for hop in after {
        let [destination @ .., _, _, _, _, _, _, _, _] = *hop.ethernet();
        ensure!(destination == two.mac.0 && hop.mtu() == 1500, "{hop:?}");
    }
    Ok(())
}

#[test]
fn a_route_that_moved_to_another_uplink() -> Result<()> {
    let lab = Lab::new(2)?;
    replug::second_link(&lab)?;
    let (agent, first) = agent::run(lab.host(1), &["--uplink", "x"])?;
    let (other_agent, second) = agent::run(lab.host(2), &["--uplink", "y"])?;
    let instances = vec![first, second];
    let workloads = mesh::segment(&instances, VNI)?;
    let flow = Dialogue::start(&workloads[0].netns, &workloads[1].netns, workloads[1].v4.into())?;
    flow.go_on(50)?;
    let talk = Talk { agents: vec![agent, other_agent], instances, workloads, flow };
    let one = lab.host(1);
    one.netns.ip("route add 10.0.0.2/32 via 10.9.0.2 dev x src 10.0.0.1")?;
    let shown = || one.overlay_json(&["tunnel", "show"]);
    agent::soon("the way to a VTEP", || {
        talk.flow.go_on(1)?;
        Ok((shown()?[0]["next_hop"]["dev"] == "x").then_some(()))
    })
    .with_context(|| format!("{:?}", shown()))?;
    talk.mended("a route that moved to another uplink")
}

/// A workload whose device and port are deleted, and made again with another index.
fn lose_port(host: &Host, workload: &Workload) -> Result<()> {
    let before = host.netns.ifindex(&workload.port)?;
    host.netns.ip(&format!("link del {}", workload.port))?;
    replug::port(host, workload, &Plan::new(VNI, host.number))?;
    ensure!(host.netns.ifindex(&workload.port)? != before, "it should have another index");
    Ok(())
}

#[test]
fn a_port_that_returned_with_another_index() -> Result<()> {
    let lab = Lab::new(2)?;
    let talk = talk(&lab, &[])?;
    let (host, workload) = (lab.host(1), &talk.workloads[0]);
    host.overlay(&["fdb", "add", "--vni", "100", "02:00:00:00:00:77", "--port", &workload.port])?;
    lose_port(host, workload)?;
    answers_soon("a port that returned", &talk.workloads[1].netns, workload.v4.into())?;
    let stations = host.overlay_json(&["fdb", "show"])?;
    let kept = stations.as_array().context("no array")?.iter().find(|row| row["mac"] == "02:00:00:00:00:77");
    ensure!(kept.is_some_and(|row| row["port"] == workload.port && row["origin"] == "static"), "{stations}");
    talk.mended("a port that returned with another index")
}

#[test]
fn detached_programs() -> Result<()> {
    let lab = Lab::new(2)?;
    let talk = talk(&lab, &["--tc", "clsact"])?;
    lab.host(1).netns.run(&["tc", "filter", "del", "dev", "u1", "ingress"])?;
    talk.mended("a filter that somebody removed")
}

#[test]
fn what_the_kernel_does_not_tell_is_found_soon() -> Result<()> {
    let lab = Lab::new(2)?;
    let talk = talk(&lab, &[])?;
    let host = lab.host(1);
    let index = host.netns.ifindex("u1")?;
    std::fs::remove_file(talk.instances[0].pins().join(format!("links/{index}-from_uplink")))?;
    host.netns.sysctl("ipv4/conf/lo/forwarding", "0")?;
    wait_until(Instant::now() + LOOKED, || {
        let forwarding = host.netns.run(&["cat", "/proc/sys/net/ipv4/conf/lo/forwarding"])?;
        Ok((forwarding.trim() == "1").then_some(()))
    })?;
    talk.flow.go_on(50)?;
    talk.finish()
}

#[test]
fn an_agent_ends_when_its_instance_is_taken_down() -> Result<()> {
    let lab = Lab::new(2)?;
    let (mut agent, instance) = agent::run(lab.host(1), &[])?;
    instance.down()?;
    let gone = || Ok((!agent.is_running()?).then_some(()));
    wait_until(Instant::now() + Duration::from_secs(10), gone)
}

#[test]
fn an_agent_adopts_an_instance_whose_uplink_is_gone() -> Result<()> {
    let lab = Lab::new(3)?;
    let instances = mesh::up(&lab, &[])?;
    let workloads = mesh::segment(&instances, VNI)?;
    let host = lab.host(1);
    host.netns.ip("link del u1")?;
    let (_agent, adopted) = agent::run(host, &[])?;
    adopted.is_down_already();
    replug::uplink(&lab, host)?;
    answers_soon("an uplink that came late", &workloads[0].netns, workloads[1].v4.into())
}

/// Makes a great many changes, faster than they can be told one by one.
fn churn(netns: &NetNs) -> Result<()> {
    let mut script = String::new();
    for number in 0..4000_u32 {
        let [_, _, high, low] = number.to_be_bytes();
        writeln!(script, "route add 172.16.{high}.{low}/32 dev lo")?;
    }
    for _ in 0..2 {
        netns.ip(&script)?;
        netns.ip(&script.replace("route add", "route del"))?;
    }
    Ok(())
}

#[test]
fn a_flood_of_changes_is_survived() -> Result<()> {
    let lab = Lab::new(3)?;
    let talk = talk(&lab, &[])?;
    let host = lab.host(1);
    churn(&host.netns)?;
    lab.host(1).netns.ip("link del u1")?;
    churn(&host.netns)?;
    replug::uplink(&lab, host)?;
    talk.mended("an uplink that was made again in a flood of changes")
}

#[test]
fn an_idle_agent_leaves_the_instance_to_others() -> Result<()> {
    let lab = Lab::new(3)?;
    let (_agent, instance) = agent::run(lab.host(1), &[])?;
    // As commands do, but without waiting for anybody.
    let free = || -> Result<bool> {
        let directory = std::fs::File::open(instance.pins())?;
        Ok(Flock::lock(directory, FlockArg::LockExclusiveNonblock).is_ok())
    };
    wait_until(Instant::now() + LOOKED, || Ok(free()?.then_some(())))?;
    let mut free_times = 0;
    for _ in 0..100 {
        std::thread::sleep(Duration::from_millis(5));
        free_times += u32::from(free()?);
    }
    ensure!(free_times > 80, "free {free_times} times of 100");
    instance.down()
}

#[test]
fn the_agent_says_what_it_did_and_what_is_off() -> Result<()> {
    let lab = Lab::new(3)?;
    let host = lab.host(1);
    let mut agent = Agent::start(host, &["run", "--uplink", "u1"])?;
    let instance = Instance::adopt(host)?;
    host.netns.ip("link set u1 name wan")?;
    agent.said("uplink u1 is called wan now")?;
    host.netns.ip("link del wan")?;
    agent.said("uplink wan is gone, and waited for")?;
    agent.said("our address 10.0.0.1 is none of this host's")?;
    agent.end()?;
    instance.down()
}

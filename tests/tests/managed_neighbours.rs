//! The neighbours that the kernel was asked to keep resolved: those that packets to remote VTEPs go to, and no others.

use anyhow::{Result, ensure};
use overlay_tests::{
    overlay::Instance,
    topology::{Host, Lab},
};

const REMOTE: &str = "10.9.0.1";

/// The addresses of the neighbours that the kernel keeps resolved.
fn kept(host: &Host) -> Result<Vec<String>> {
    let all = host.netns.run(&["ip", "-d", "neigh", "show"])?;
    let kept = all.lines().filter(|line| line.contains("managed"));
    let mut kept: Vec<_> = kept.filter_map(|line| Some(line.split(' ').next()?.to_owned())).collect();
    kept.sort();
    Ok(kept)
}

fn tunnel(host: &Host, verb: &str) -> Result<()> {
    host.overlay(&["tunnel", verb, "--vni", "100", "--remote", REMOTE]).map(drop)
}

#[test]
fn equal_cost_gateways_are_forgotten_with_the_tunnel() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let _instance = Instance::up(host, &[])?;
    host.netns.ip("route add 10.9.0.0/16 nexthop via 10.0.0.2 nexthop via 10.0.0.3")?;
    tunnel(host, "add")?;
    ensure!(kept(host)? == ["10.0.0.2", "10.0.0.3"], "{:?}", kept(host)?);
    tunnel(host, "del")?;
    ensure!(kept(host)?.is_empty(), "{:?}", kept(host)?);
    Ok(())
}

#[test]
fn the_gateway_of_a_route_that_moved_is_forgotten() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let instance = Instance::up(host, &[])?;
    host.netns.ip("route add 10.9.0.0/16 via 10.0.0.2\nneigh add 10.0.0.9 dev u1 managed")?;
    tunnel(host, "add")?;
    host.netns.ip("route replace 10.9.0.0/16 via 10.0.0.3")?;
    host.overlay(&["status"])?;
    ensure!(kept(host)? == ["10.0.0.3", "10.0.0.9"], "{:?}", kept(host)?);
    host.netns.ip("route replace 10.9.0.0/16 via 10.0.0.4")?;
    instance.down()?;
    ensure!(kept(host)? == ["10.0.0.9"], "{:?}", kept(host)?);
    Ok(())
}

#[test]
fn a_tunnel_from_before_there_was_a_route_keeps_nobody_else() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let instance = Instance::up(host, &[])?;
    tunnel(host, "add")?;
    host.netns.ip("route add 10.9.0.0/16 via 10.0.0.2")?;
    host.overlay(&["status"])?;
    ensure!(kept(host)? == ["10.0.0.2"], "{:?}", kept(host)?);
    instance.down()?;
    ensure!(kept(host)?.is_empty(), "{:?}", kept(host)?);
    Ok(())
}

#[test]
fn what_another_instance_needs_is_kept_until_the_last_one_goes() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    host.netns.ip("route add 10.9.0.0/16 via 10.0.0.2")?;
    let on = |name, words: &[&str]| host.overlay(&[&["--instance", name], words].concat());
    let names = [format!("{}-a", host.netns.name()), format!("{}-b", host.netns.name())];
    for (name, port) in names.iter().zip(["4789", "4790"]) {
        on(name, &["up", "--uplink", "u1", "--port", port])?;
        on(name, &["tunnel", "add", "--vni", "100", "--remote", REMOTE])?;
    }
    let all = kept(host);
    let first = on(&names[0], &["down"]).and_then(|_| kept(host));
    let last = on(&names[1], &["down"]).and_then(|_| kept(host));
    ensure!(all? == ["10.0.0.2"]);
    ensure!(first? == ["10.0.0.2"], "the other instance still needs it");
    ensure!(last?.is_empty(), "the last one left it");
    Ok(())
}

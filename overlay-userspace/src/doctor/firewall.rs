//! Rules of nftables that see tunnel packets.
//!
//! Hardly any do. TC ingress runs before the `ingress` hook of the same device and before all of IP
//! (`__netif_receive_skb_core` in `net/core/dev.c`), and our programs redirect: such a packet skips the `egress` hook of the
//! device that it leaves by (`nf_skip_egress`). What is left is the devices below an uplink, whose hooks come before or after
//! those of the uplink itself: members of a bridge or a bond, and what a VLAN or macvlan device stands on. On a bridge there are
//! the chains of the bridge family, too.

mod rules;

use std::process::{Command, Stdio};

use overlay_common::IfIndex;

use super::{finding::Finding, scene::Scene, shell::Shell};
use crate::netlink::Link;
use rules::{Chain, Outcome};

pub(super) fn check(scene: &Scene) -> Vec<Finding> {
    let Some(up) = &scene.up else { return Vec::new() };
    let port = up.config.port();
    let uplinks: Vec<&Link> = up.uplinks(scene).map(|(link, _)| link).collect();
    let below: Vec<&str> = uplinks.iter().flat_map(|uplink| below(&scene.links, uplink)).collect();
    let is_bridge = uplinks.iter().any(|uplink| uplink.is_bridge);
    if below.is_empty() && !is_bridge {
        let what = format!("no rule of a firewall sees packets of UDP port {port}: our programs come first");
        return vec![Finding::fine("firewall", port, what)];
    }
    let Some(chains) = ruleset() else {
        let what = "the rules of the devices below the uplinks cannot be looked at: there is no `nft`";
        return vec![Finding::fine("firewall", port, what)];
    };
    let in_the_way = chains.iter().filter(|chain| chain.is_met(&below, is_bridge));
    let found: Vec<Finding> = in_the_way.filter_map(|chain| judge(&scene.shell, chain, port)).collect();
    if found.is_empty() {
        let what = format!("no rule of nftables below the uplinks drops packets of UDP port {port}");
        return vec![Finding::fine("firewall", port, what)];
    }
    found
}

/// The devices that packets of an uplink go through, too.
fn below<'a>(links: &'a [Link], uplink: &Link) -> Vec<&'a str> {
    let is_part = |link: &&Link| link.controller == Some(uplink.index);
    // A veth names its other end so, which is no device below it.
    let is_base = |link: &&Link| stands_on(uplink, link.index) && !stands_on(link, uplink.index);
    links.iter().filter(|link| is_part(link) || is_base(link)).map(|link| link.name.as_str()).collect()
}

fn stands_on(link: &Link, base: IfIndex) -> bool {
    link.elsewhere.is_none() && link.other == Some(base)
}

/// The base chains of this network namespace; `None`: there is no `nft` that says.
fn ruleset() -> Option<Vec<Chain>> {
    let mut chains = rules::parse(&nft(&["-j", "-n", "list", "ruleset"])?)?;
    for chain in chains.iter_mut().filter(|chain| chain.lacks_devices()) {
        // Of devices, nft 1.0 says nothing in JSON.
        let text = nft(&["list", "chain", &chain.family, &chain.table, &chain.name])?;
        chain.read_devices(&String::from_utf8_lossy(&text));
    }
    Some(chains)
}

fn nft(words: &[&str]) -> Option<Vec<u8>> {
    let output = Command::new("nft").args(words).stdin(Stdio::null()).output().ok()?;
    output.status.success().then_some(output.stdout)
}

fn judge(shell: &Shell, chain: &Chain, port: u16) -> Option<Finding> {
    let Chain { family, table, name, .. } = chain;
    let what = format!("chain {name} of table {family} {table}");
    let finding = match chain.outcome(port) {
        Outcome::Passes => return None,
        Outcome::Drops => Finding::problem(
            "firewall",
            name,
            format!("{what} drops packets of UDP port {port} below an uplink"),
        )
        .why("it sees tunnel packets before our programs do: nothing comes out of tunnels there"),
        Outcome::MayDrop => Finding::advice(
            "firewall",
            name,
            format!("{what} may drop packets of UDP port {port} below an uplink"),
        )
        .why(
            "it sees tunnel packets before our programs do, and has rules that depend on more than the port",
        ),
    };
    Some(
        finding.mend(
            shell.host(format_args!("nft insert rule {family} {table} {name} udp dport {port} accept")),
        ),
    )
}

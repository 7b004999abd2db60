//! Random configurations against the kernel: what is applied is exported, and what is exported is applied with nothing to
//! change, from whatever was there before.

use std::fmt::Write as _;

use anyhow::{Result, ensure};
use overlay_tests::{overlay::Instance, topology::Lab};
use proptest::{
    collection::{btree_map, btree_set},
    prelude::*,
    sample::{select, subsequence},
    test_runner::{Config, TestRunner},
};

/// How many instances are made; each is changed from one configuration to the next.
const CASES: u32 = 12;

/// Devices that can be ports.
const PORTS: [&str; 4] = ["v0", "v1", "v2", "v3"];

/// The lines of a segment's settings.
fn settings() -> impl Strategy<Value = Vec<String>> {
    let lines = vec![
        prop::bool::ANY.prop_map(|on| format!("learning = {on}")).boxed(),
        prop::bool::ANY.prop_map(|on| format!("flood = {on}")).boxed(),
        (0_u32..1000).prop_map(|age| format!("ageing = {age}")).boxed(),
        (68_u16..1400).prop_map(|mtu| format!("mtu = {mtu}")).boxed(),
        select(vec!["true", "false", "1200", "\"on\""]).prop_map(|mss| format!("clamp-mss = {mss}")).boxed(),
        (0_u32..9).prop_map(|limit| format!("learn-limit = {limit}")).boxed(),
        (1_u16..9).prop_map(|moves| format!("flap-moves = {moves}")).boxed(),
        (1_u32..900).prop_map(|window| format!("flap-window = {window}")).boxed(),
        (0_u32..900).prop_map(|freeze| format!("flap-freeze = {freeze}")).boxed(),
        select(vec!["1", "255", "\"inherit\""]).prop_map(|ttl| format!("ttl = {ttl}")).boxed(),
        select(vec!["0", "63", "\"inherit\""]).prop_map(|dscp| format!("dscp = {dscp}")).boxed(),
        select(vec!["set", "unset", "inherit"]).prop_map(|df| format!("df = \"{df}\"")).boxed(),
        (1_u16..9, 0_u16..9)
            .prop_map(|(from, more)| format!("source-ports = \"{from}-{}\"", from + more))
            .boxed(),
        select(vec!["ignore", "drop"]).prop_map(|what| format!("reserved = \"{what}\"")).boxed(),
        prop::bool::ANY.prop_map(|on| format!("gbp = {on}")).boxed(),
        select(vec!["drop", "keep"]).prop_map(|what| format!("vlan = \"{what}\"")).boxed(),
        Just("suppress = true\nsuppress-unknown = \"drop\"\nsnoop-dhcp = true".to_owned()).boxed(),
        prop::bool::ANY.prop_map(|on| format!("mcast-snooping = {on}")).boxed(),
        prop::bool::ANY.prop_map(|on| format!("transit = {on}")).boxed(),
    ];
    let all = lines.len();
    (lines, subsequence((0..all).collect::<Vec<_>>(), 0..=all))
        .prop_map(|(lines, chosen)| chosen.into_iter().map(|place| lines[place].clone()).collect())
}

/// A segment, but for its ports.
#[derive(Clone, Debug)]
struct Segment {
    settings: Vec<String>,
    /// Last bytes of remote addresses.
    remotes: Vec<u8>,
    /// Last bytes of MACs, and which place they are in.
    stations: Vec<(u8, usize)>,
    neighbours: Vec<u8>,
    groups: Vec<(u8, usize)>,
}

fn segment() -> impl Strategy<Value = Segment> {
    (
        settings(),
        btree_set(2_u8..9, 0..4),
        btree_map(1_u8..30, any::<prop::sample::Index>(), 0..8),
        btree_set(1_u8..30, 0..4),
        btree_map(1_u8..9, any::<prop::sample::Index>(), 0..3),
    )
        .prop_map(|(settings, remotes, stations, neighbours, groups)| Segment {
            settings,
            remotes: remotes.into_iter().collect(),
            stations: stations.into_iter().map(|(mac, place)| (mac, place.index(64))).collect(),
            neighbours: neighbours.into_iter().collect(),
            groups: groups.into_iter().map(|(group, place)| (group, place.index(64))).collect(),
        })
}

/// What a port is: in no segment, plain, limited, or a trunk.
type Port = (u8, prop::sample::Index, u32);

fn file() -> impl Strategy<Value = String> {
    let segments = btree_map(1_u32..12, segment(), 1..4);
    let ports = prop::collection::vec((0_u8..4, any::<prop::sample::Index>(), 0_u32..5000), PORTS.len());
    let vteps = btree_set(2_u8..9, 0..4);
    let xdp = select(vec!["auto", "generic", "off"]);
    (segments, ports, vteps, xdp).prop_map(|(segments, ports, special, xdp)| {
        let vnis: Vec<u32> = segments.keys().copied().collect();
        let mut text = format!("[vtep]\nuplinks = [\"u1\"]\nxdp = \"{xdp}\"\n");
        for (name, (kind, vni, number)) in PORTS.iter().zip(&ports) {
            let vni = vnis[vni.index(vnis.len())];
            let _ = match kind {
                0 => Ok(()),
                1 => writeln!(text, "[[port]]\nname = \"{name}\"\nvni = {vni}"),
                2 => writeln!(
                    text,
                    "[[port]]\nname = \"{name}\"\nvni = {vni}\nbum-rate = {number}\nlearn-limit = {number}"
                ),
                _ => writeln!(
                    text,
                    "[[port]]\nname = \"{name}\"\nvlan = \"{}:{vni},7:{}\"",
                    10 + number % 5,
                    100 + number % 9
                ),
            };
        }
        for (vni, segment) in &segments {
            let _ = inside(&mut text, *vni, segment, &ports, &vnis, &special);
        }
        text
    })
}

fn inside(
    text: &mut String,
    vni: u32,
    segment: &Segment,
    ports: &[Port],
    vnis: &[u32],
    special: &std::collections::BTreeSet<u8>,
) -> std::fmt::Result {
    writeln!(text, "[[vni]]\nid = {vni}\n{}", segment.settings.join("\n"))?;
    let mut places = Vec::new();
    for remote in &segment.remotes {
        writeln!(text, "[[vni.tunnel]]\nremote = \"10.0.0.{remote}\"")?;
        if special.contains(remote) {
            writeln!(text, "port = 8472")?;
        }
        places.push(format!("remote = \"10.0.0.{remote}\""));
    }
    for (name, (kind, of, _)) in PORTS.iter().zip(ports) {
        if *kind > 0 && vnis[of.index(vnis.len())] == vni {
            places.push(format!("port = \"{name}\""));
        }
    }
    if !places.is_empty() {
        for (mac, place) in &segment.stations {
            writeln!(
                text,
                "[[vni.fdb]]\nmac = \"02:00:00:00:00:{mac:02x}\"\n{}",
                places[place % places.len()]
            )?;
        }
        for (group, place) in &segment.groups {
            writeln!(text, "[[vni.mdb]]\ngroup = \"239.0.0.{group}\"\n{}", places[place % places.len()])?;
        }
    }
    for ip in &segment.neighbours {
        writeln!(text, "[[vni.neigh]]\nip = \"10.1.0.{ip}\"\nmac = \"02:00:00:00:00:{ip:02x}\"")?;
    }
    Ok(())
}

#[test]
fn what_is_applied_is_exported_and_leads_back() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    for (number, port) in PORTS.iter().enumerate() {
        host.netns.ip(&format!("link add {port} type veth peer name w{number}\nlink set {port} up"))?;
    }
    let first = "[vtep]\nuplinks = [\"u1\"]\n";
    host.apply(first, &[])?;
    let instance = Instance::adopt(host)?;
    let check = |text: &str| -> Result<()> {
        let before = host.overlay(&["export"])?;
        host.apply(text, &[])?;
        ensure!(host.apply_json(text)?.is_empty(), "applied twice, it changes something");
        let exported = host.overlay(&["export"])?;
        ensure!(host.apply_json(&exported)?.is_empty(), "exported, it changes something:\n{exported}");
        host.apply(&before, &[])?;
        ensure!(host.overlay(&["export"])? == before, "the way back leads elsewhere");
        host.apply(text, &[]).map(drop)
    };
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    runner.run(&file(), |text| {
        check(&text).map_err(|error| TestCaseError::fail(format!("{error:#}\n{text}")))
    })?;
    let last = host.overlay(&["export"])?;
    instance.down()?;
    // The same from nothing.
    host.apply(&last, &[])?;
    let _instance = Instance::adopt(host)?;
    ensure!(host.overlay(&["export"])? == last, "made from nothing, it is another");
    Ok(())
}

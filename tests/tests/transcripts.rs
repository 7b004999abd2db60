//! What commands print, for people and for programs, word for word.

use anyhow::{Context as _, Result, ensure};
use insta::assert_snapshot;
use overlay_common::Family;
use overlay_tests::{
    frame::{ETHER_EXPERIMENT, Ethernet, Mac},
    overlay::{Instance, overlay},
    topology::{Host, Lab, Underlay},
    wire::{Direction, Wire},
};

/// Commands that show something, and what their snapshots are called.
const SHOWN: &[(&str, &[&str])] = &[
    ("status", &["status"]),
    ("vni", &["vni", "show"]),
    ("port", &["port", "show"]),
    ("tunnel", &["tunnel", "show"]),
    ("fdb", &["fdb", "show"]),
    ("neigh", &["neigh", "show"]),
    ("mdb", &["mdb", "show"]),
    ("stats", &["stats"]),
    ("stats_drops", &["stats", "--drops"]),
    ("stats_neigh", &["stats", "--neigh"]),
    ("stats_notices", &["stats", "--notices"]),
    ("export", &["export"]),
    ("fdb_flush", &["fdb", "flush", "--vni", "100"]),
    ("neigh_flush", &["neigh", "flush", "--vni", "100"]),
];

/// Commands that are not among those, and where it is tested what they print.
const ELSEWHERE: &[(&str, &str)] = &[
    ("up", "nothing; bringing_up.rs"),
    ("down", "nothing; bringing_up.rs"),
    ("run", "a log; agent_service.rs"),
    ("apply", "apply.rs"),
    ("confirm", "nothing; apply_confirm.rs"),
    ("schema", "configuration.rs"),
    ("explain", "explain.rs"),
    ("adopt", "adopt.rs"),
    ("doctor", "doctor.rs"),
    ("monitor", "events; monitor.rs"),
    ("capture", "packets; capture.rs"),
    ("top", "a terminal; top.rs"),
    ("demo", "its own figures; lifecycle.rs"),
    ("version", "the kernel's; manual.rs"),
    ("man", "files; manual.rs"),
    ("completions", "clap's"),
    ("help", "manual.rs"),
];

/// A segment with a bit of everything, whose one port has sent a frame that is forwarded, and one that is dropped.
fn set_up(host: &Host) -> Result<()> {
    // IPv6 would send what nobody asked for.
    host.netns.sysctl("ipv6/conf/default/disable_ipv6", "1")?;
    host.netns
        .ip("link add p1 type veth peer name w1 address 02:00:00:00:00:01\nlink set p1 up\nlink set w1 up")?;
    host.netns.settle("p1")?;
    for line in [
        "vni add 100 --ageing 0 --mcast-snooping on --suppress on",
        "port add p1 --vni 100 --learn-limit 10",
        "tunnel add --vni 100 --remote 10.0.0.2",
        "fdb add --vni 100 02:00:00:00:00:02 --remote 10.0.0.2",
        "neigh add --vni 100 192.168.0.2 02:00:00:00:00:02",
        "mdb add --vni 100 239.1.1.1 --remote 10.0.0.2",
    ] {
        host.overlay(&line.split(' ').collect::<Vec<_>>())?;
    }
    let workload = Wire::open(&host.netns, "w1", Direction::In)?;
    for to in [Mac([2, 0, 0, 0, 0, 2]), Mac([1, 0x80, 0xc2, 0, 0, 2])] {
        workload.send(&Ethernet::new(Mac([2, 0, 0, 0, 0, 1]), to, ETHER_EXPERIMENT).frame(&[7; 50]))?;
    }
    Ok(())
}

/// A text without what differs from run to run: the instance's name, and ages.
fn steady(text: &str, instance: &Instance<'_>) -> String {
    let line = |line: &str| match line.split_once("\"age_s\": ") {
        Some((indent, _)) => format!("{indent}\"age_s\": AGE,\n"),
        None => format!("{line}\n"),
    };
    text.replace(&instance.name, "net-COOKIE").lines().map(line).collect()
}

/// The same of ages in a table, which are some seconds.
fn ageless(text: &str) -> String {
    let is_age = |word: &str| matches!(word.trim_end().as_bytes(), [b'0'..=b'9', b's']);
    let words = text.split_inclusive([' ', '\n']);
    words.map(|word| if is_age(word) { format!("?{}", &word[1..]) } else { word.to_owned() }).collect()
}

#[test]
fn commands_print_what_they_did() -> Result<()> {
    let lab = Lab::with(2, Underlay::known(Family::Ipv4))?;
    let host = lab.host(1);
    let instance = Instance::up(host, &[])?;
    set_up(host)?;
    for (name, words) in SHOWN {
        // What is removed is not there to be removed again.
        let json = host.overlay(&[&["-o", "json"], *words].concat())?;
        let text = host.overlay(words)?;
        let title = format!("$ overlay {}", words.join(" "));
        let text = ageless(&steady(&text, &instance));
        assert_snapshot!(*name, format!("{title}\n{text}\n{}", steady(&json, &instance)));
    }
    instance.down()
}

#[test]
fn each_command_is_tested_for_what_it_prints() -> Result<()> {
    let help = overlay(&["--help"])?;
    let commands = help.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next());
    for line in commands.context("no commands")?.lines() {
        let Some(name) = line.strip_prefix("  ").and_then(|line| line.split(' ').next()) else { continue };
        let is_shown = SHOWN.iter().any(|(_, words)| words[0] == name);
        let is_elsewhere = ELSEWHERE.iter().any(|(other, _)| *other == name);
        ensure!(name.is_empty() || is_shown || is_elsewhere, "{name} has no transcript");
    }
    Ok(())
}

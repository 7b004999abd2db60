//! `overlay apply` and `export`: an instance becomes what a file says, and what differs is changed and nothing else.

use std::{fmt::Write as _, process::Stdio};

use anyhow::{Context as _, Result, ensure};
use insta::assert_snapshot;
use overlay_tests::{
    mesh,
    overlay::{FAILED, Instance, has_pins},
    process,
    topology::{Host, Lab, Plan},
    traffic,
};

/// Host `number` of two, with one workload in segment 100.
fn plain(number: u8) -> String {
    let other = 3 - number;
    format!(
        "[vtep]\nuplinks = [\"u{number}\"]\n\n[[vni]]\nid = 100\nports = [\"p100-{number}\"]\nremotes = [\"10.0.0.{other}\"]\n"
    )
}

/// A bit of everything, on host 1.
const MUCH: &str = r#"
[vtep]
uplinks = ["u1"]

[[port]]
name = "p100-2"
vlan = "10:1000,20-21:2000"
vni = 300
bum-rate = "20k"

[[port]]
name = "host0"
create = true
vni = 100
address = ["10.5.0.1/24", "fd05::1/64"]
mtu = 1400

[[vni]]
id = 100
learning = false
ageing = 60
mtu = 1400
clamp-mss = 1300
ttl = "inherit"
source-ports = "50000-50001"
suppress = "on"
suppress-unknown = "drop"
ports = ["p100-1"]
remotes = ["10.0.0.2", "10.0.0.3"]
[[vni.tunnel]]
remote = "239.1.1.1"
dev = "u1"
[[vni.tunnel]]
remote = "fd00::2"
udp6-csum = true
port = 8472
[[vni.fdb]]
mac = "02:00:00:00:00:02"
remote = "10.0.0.2"
[[vni.fdb]]
mac = "02:00:00:00:00:03"
port = "host0"
[[vni.neigh]]
ip = "fd01::1"
mac = "02:00:00:00:00:02"
router = true
[[vni.mdb]]
group = "239.9.9.9"
remote = "10.0.0.2"

[[vni]]
id = 2000
[[vni.fdb]]
mac = "02:00:00:00:00:02"
port = "p100-2"
"#;

/// Ports for [`MUCH`].
fn with_ports(host: &Host) -> Result<Vec<overlay_tests::topology::Workload>> {
    [1, 2].map(|number| host.workload(&Plan::new(100, number))).into_iter().collect()
}

#[test]
fn two_files_make_two_hosts_that_talk() -> Result<()> {
    let lab = Lab::new(2)?;
    let workloads = [1, 2].map(|number| lab.host(number).workload(&Plan::new(100, number)));
    let [one, two] = workloads;
    let (one, two) = (one?, two?);
    let mut instances = Vec::new();
    for host in &lab.hosts {
        let printed = host.apply(&plain(host.number), &["--dry-run"])?;
        ensure!(printed.contains("+ vtep: uplinks u"), "{printed}");
        ensure!(!has_pins(host)?, "a dry run left something");
        ensure!(host.apply(&plain(host.number), &[])?.is_empty(), "it talks");
        instances.push(Instance::adopt(host)?);
    }
    mesh::exchange(&one, &two, 1 << 20)
}

#[test]
fn what_is_exported_is_applied_with_nothing_to_change() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let _ports = with_ports(host)?;
    host.apply(MUCH, &[])?;
    let _instance = Instance::adopt(host)?;
    ensure!(host.apply_json(MUCH)?.is_empty(), "the same file changes something");
    let exported = host.overlay(&["export"])?;
    assert_snapshot!("exported", exported);
    ensure!(host.apply_json(&exported)?.is_empty(), "what was exported changes something");
    // Only what is not there any more is made again.
    host.overlay(&["fdb", "del", "--vni", "100", "02:00:00:00:00:02"])?;
    let changes = host.apply_json(&exported)?;
    ensure!(
        changes.len() == 1 && changes[0]["kind"] == "fdb" && changes[0]["action"] == "add",
        "{changes:?}"
    );
    // And the other way round.
    host.apply(&plain(1), &[])?;
    ensure!(host.overlay(&["export"])? == plain(1), "{}", host.overlay(&["export"])?);
    let made =
        host.netns.devices()?.into_iter().find(|name| name.starts_with("ovl") || name.starts_with("host0"));
    ensure!(made.is_none(), "{made:?} was left");
    Ok(())
}

#[test]
fn what_differs_is_printed_for_people_and_for_programs() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let _ports = with_ports(host)?;
    host.apply(MUCH, &[])?;
    let _instance = Instance::adopt(host)?;
    let before = host.overlay(&["export"])?;
    let other = MUCH
        .replace("20-21:2000", "20:2000,22:2002")
        .replace("\"10.0.0.2\", \"10.0.0.3\"", "\"10.0.0.2\", \"10.0.0.4\"")
        .replace("8472", "8473")
        .replace("ageing = 60\n", "")
        .replace("fd05::1/64", "fd05::2/64")
        .replace("20k", "10k")
        .replace("port = \"host0\"", "remote = \"10.0.0.4\"")
        .replace("239.9.9.9", "239.9.9.8");
    let printed = host.apply(&other, &["--dry-run"])?;
    assert_snapshot!("differences", printed);
    ensure!(host.overlay(&["export"])? == before, "a dry run changed something");
    let changes = host.apply_json(&other)?;
    ensure!(changes.len() == printed.lines().count(), "{changes:?}");
    assert_snapshot!("difference_as_json", serde_json::to_string_pretty(&changes[0])?);
    ensure!(host.apply_json(&other)?.is_empty(), "not all of it was changed");
    host.apply(&before, &[])?;
    ensure!(host.overlay(&["export"])? == before, "the way back leads elsewhere");
    Ok(())
}

#[test]
fn nothing_that_stays_is_lost_while_the_rest_changes() -> Result<()> {
    let lab = Lab::new(2)?;
    let (one, two) = (lab.host(1).workload(&Plan::new(100, 1))?, lab.host(2).workload(&Plan::new(100, 2))?);
    let _other = lab.host(1).workload(&Plan::new(100, 3))?;
    let mut instances = Vec::new();
    for host in &lab.hosts {
        host.apply(&plain(host.number), &[])?;
        instances.push(Instance::adopt(host)?);
    }
    traffic::ping(&one.netns, two.v4.into(), 1)?;
    let busy = format!(
        "{}[[vni.fdb]]\nmac = \"{}\"\nremote = \"10.0.0.2\"\n[[vni]]\nid = 200\nlearning = false\nports = [\"p100-3\"]\nremotes = [\"10.0.0.2\", \"10.0.0.9\"]\n",
        plain(1),
        two.mac
    );
    let mut pings = one.netns.command("ping");
    pings.args(["-q", "-i", "0.002", "-w", "60", "-c", "1500", &two.v4.to_string()]).stdout(Stdio::piped());
    let pinging = pings.spawn()?;
    for _ in 0..6 {
        lab.host(1).apply(&busy, &[])?;
        lab.host(1).apply(&plain(1), &[])?;
    }
    let said = String::from_utf8(pinging.wait_with_output()?.stdout)?;
    ensure!(said.contains("1500 packets transmitted, 1500 received"), "{said}");
    Ok(())
}

#[test]
fn a_failure_half_way_is_rolled_back() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let _ports = with_ports(host)?;
    host.apply(MUCH, &[])?;
    let instance = Instance::adopt(host)?;
    let pair = overlay_tests::cutter::of(host)?;
    let without = MUCH.replace("udp6-csum = true\n", "");
    host.apply(&without, &[])?;
    let before = host.overlay(&["export"])?;
    // Only when all else is done does it show that its name is taken.
    host.netns.ip(&format!("link add {} type veth peer name other", pair.entrance))?;
    let failing = MUCH.replace("id = 2000", "id = 2002\n[[vni]]\nid = 2000").replace("10.0.0.3", "10.0.0.5");
    let failure = host.apply_fails(&failing)?;
    ensure!(failure.code == FAILED && failure.stderr.lines().count() == 1, "{failure:?}");
    ensure!(failure.stderr.contains("all of it was rolled back"), "{failure:?}");
    ensure!(host.overlay(&["export"])? == before, "not as before: {}", host.overlay(&["export"])?);
    instance.down()?;
    let failure = host.apply_fails(&failing)?;
    ensure!(failure.stderr.contains("the instance is down again"), "{failure:?}");
    ensure!(!has_pins(host)?, "there are pins");
    let devices = host.netns.devices()?;
    ensure!(!devices.iter().any(|name| name.starts_with("host0")), "{devices:?}");
    Ok(())
}

#[test]
fn a_hundred_thousand_stations_in_one_file() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let mut many = "[vtep]\nuplinks = [\"u1\"]\n\n[[vni]]\nid = 100\nremotes = [\"10.0.0.2\"]\n".to_owned();
    for number in 0_u32..100_000 {
        let [_, a, b, c] = number.to_be_bytes();
        write!(many, "\n[[vni.fdb]]\nmac = \"02:00:00:{a:02x}:{b:02x}:{c:02x}\"\nremote = \"10.0.0.2\"\n")?;
    }
    host.apply(&many, &[])?;
    let _instance = Instance::adopt(host)?;
    ensure!(host.overlay_json(&["status"])?["stations"] == 100_000, "not all of them");
    ensure!(host.overlay(&["export"])? == many, "the export is another file");
    ensure!(host.apply_json(&many)?.is_empty(), "something is left to change");
    let few = many.replace("10.0.0.2", "10.0.0.3");
    ensure!(host.apply_json(&few)?.len() == 100_002, "not all of them moved");
    Ok(())
}

#[test]
fn standard_input_is_a_file_too() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let _ports = with_ports(host)?;
    process::feed(&mut host.overlay_command(&["apply", "-f", "-"])?, MUCH).context("applying")?;
    let _instance = Instance::adopt(host)?;
    let exported = host.overlay(&["export"])?;
    process::feed(&mut host.overlay_command(&["apply", "-f", "-"])?, &exported).map(drop)
}

#[test]
fn uplinks_come_and_go_while_traffic_goes_on() -> Result<()> {
    let lab = Lab::new(2)?;
    let (one, two) = (lab.host(1).workload(&Plan::new(100, 1))?, lab.host(2).workload(&Plan::new(100, 2))?);
    let host = lab.host(1);
    host.netns.ip(
        "link add v9 type veth peer name w9\naddr add 10.9.0.1/24 dev v9\nlink set v9 up\nlink set w9 up",
    )?;
    let mut instances = Vec::new();
    for host in &lab.hosts {
        host.apply(&plain(host.number), &[])?;
        instances.push(Instance::adopt(host)?);
    }
    let state = || -> Result<String> {
        let status = host.overlay_json(&["status"])?;
        let names: Vec<_> =
            status["uplinks"].as_array().into_iter().flatten().map(|one| &one["dev"]).collect();
        Ok(format!("{names:?} {} {}", status["local"], status["uplinks"][0]["xdp"]))
    };
    let before = state()?;
    let more = plain(1).replace("[\"u1\"]", "[\"u1\", \"v9\"]\nxdp = \"generic\"");
    let mut pings = one.netns.command("ping");
    pings.args(["-q", "-i", "0.002", "-w", "60", "-c", "500", &two.v4.to_string()]).stdout(Stdio::piped());
    let pinging = pings.spawn()?;
    host.apply(&more, &[])?;
    let after = state()?;
    ensure!(after.contains("v9") && after.contains("10.9.0.1") && after.contains("generic"), "{after}");
    ensure!(host.apply_json(&more)?.is_empty(), "the same file changes something");
    host.apply(&plain(1), &[])?;
    ensure!(state()? == before, "{} instead of {before}", state()?);
    let qdiscs = host.netns.run(&["tc", "qdisc", "show", "dev", "v9"])?;
    ensure!(!qdiscs.contains("clsact"), "{qdiscs}");
    let said = String::from_utf8(pinging.wait_with_output()?.stdout)?;
    ensure!(said.contains("500 packets transmitted, 500 received"), "{said}");
    // The other address alone: the tunnel to 10.0.0.2 would leave by no uplink.
    let failure = host.apply_fails(&plain(1).replace("u1", "v9"))?;
    ensure!(failure.stderr.contains("which is no uplink"), "{failure:?}");
    ensure!(state()? == before, "{} instead of {before}", state()?);
    mesh::exchange(&one, &two, 1 << 16)
}

//! What is there already is left alone only where it is as it was asked for; and what was asked for makes sense.

use anyhow::{Context as _, Result, ensure};
use overlay_tests::{
    mesh,
    overlay::{EXISTS, Instance, USAGE},
    refusal::all_refused,
    topology::Lab,
};

const VNI: u32 = 100;

#[test]
fn a_tunnel_that_is_there_gets_the_stations_it_lacks() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let instance = Instance::up(host, &[])?;
    instance.reach(VNI, lab.host(2))?;
    let workload = mesh::workload(&instance, VNI, 1)?;
    let again = "tunnel add --vni 100 --remote 10.0.0.2 --exist-ok --mac 02:aa:00:00:00:01 02:aa:00:00:00:02";
    let again: Vec<_> = again.split_whitespace().collect();
    for _ in 0..2 {
        host.overlay(&again)?;
        let fdb = host.overlay_json(&["fdb", "show", "--vni", "100"])?;
        let stations = fdb.as_array().context("no array")?;
        let placed =
            stations.iter().filter(|row| row["origin"] == "static" && row["remote"] == "10.0.0.2").count();
        ensure!(placed == 2, "{fdb}");
    }
    // One of them is elsewhere: none is put there.
    host.overlay(&["fdb", "add", "--vni", "100", "02:aa:00:00:00:09", "--port", &workload.port])?;
    all_refused(
        host,
        &[
            (
                "tunnel add --vni 100 --remote 10.0.0.2 --exist-ok --mac 02:aa:00:00:00:03 02:aa:00:00:00:09",
                EXISTS,
                "02:aa:00:00:00:09",
            ),
            ("tunnel add --vni 100 --remote 10.0.0.2 --mac 02:aa:00:00:00:03", EXISTS, "10.0.0.2"),
        ],
    )
}

#[test]
fn what_is_there_with_other_settings_is_no_success() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let instance = Instance::up(host, &[])?;
    instance.reach(VNI, lab.host(2))?;
    host.overlay(&["tunnel", "add", "--vni", "100", "--remote", "fd00::2", "--udp6-csum"])?;
    host.overlay(&["tunnel", "add", "--vni", "100", "--remote", "239.1.1.1", "--dev", "u1"])?;
    let _workload = mesh::workload(&instance, VNI, 1)?;
    host.overlay(&["vni", "set", "100", "--learn-limit", "7"])?;
    all_refused(
        host,
        &[
            ("tunnel add --vni 100 --remote 10.0.0.2 --port 5000 --exist-ok", EXISTS, "port 4789"),
            ("tunnel add --vni 100 --remote fd00::2 --exist-ok", EXISTS, "--udp6-csum"),
            ("tunnel add --vni 100 --remote 239.1.1.1 --port 5000 --exist-ok", EXISTS, "port 4789"),
            ("port add p100-1 --vni 100 --learn-limit 3 --exist-ok", EXISTS, "p100-1"),
            ("port add p100-1 --vni 100 --bum-rate 30 --exist-ok", EXISTS, "p100-1"),
            ("vni add 100 --learning off --exist-ok", EXISTS, "100"),
            ("vni add 100 --learn-limit 8 --exist-ok", EXISTS, "100"),
        ],
    )?;
    for command in [
        "tunnel add --vni 100 --remote 10.0.0.2 --port 4789 --exist-ok",
        "tunnel add --vni 100 --remote fd00::2 --udp6-csum --exist-ok",
        "tunnel add --vni 100 --remote 239.1.1.1 --dev u1 --exist-ok",
        "port add p100-1 --vni 100 --exist-ok",
        "vni add 100 --learn-limit 7 --learning on --exist-ok",
        "vni add 100 --exist-ok",
    ] {
        host.overlay(&command.split_whitespace().collect::<Vec<_>>())
            .with_context(|| format!("`overlay {command}`"))?;
    }
    Ok(())
}

#[test]
fn addresses_that_no_remote_has() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let _instance = Instance::up(host, &["--local", "10.0.0.1"])?;
    host.netns.ip("link add other type bridge\naddr add 10.77.0.1/24 dev other\nlink set other up")?;
    host.netns.ip("addr add fd77::1/64 dev other nodad\naddr add 10.0.0.9/24 dev u1")?;
    all_refused(
        host,
        &[
            ("tunnel add --vni 100 --remote 10.77.0.1", USAGE, "10.77.0.1"),
            ("tunnel add --vni 100 --remote 10.0.0.9", USAGE, "10.0.0.9"),
            ("tunnel add --vni 100 --remote 10.0.0.255", USAGE, "10.0.0.255"),
            ("tunnel add --vni 100 --remote 10.77.0.255", USAGE, "10.77.0.255"),
        ],
    )?;
    host.overlay(&["tunnel", "add", "--vni", "100", "--remote", "10.0.0.2"]).map(drop)
}

#[test]
fn an_mtu_too_small_for_ipv6_is_worth_a_word() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let _instance = Instance::up(host, &[])?;
    for (command, is_small) in
        [("vni add 100 --mtu 1279", true), ("vni set 100 --mtu 68", true), ("vni set 100 --mtu 1280", false)]
    {
        let arguments: Vec<_> = command.split_whitespace().collect();
        let output = overlay_tests::process::output(&mut host.overlay_command(&arguments)?)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`overlay {command}`: {said}");
        ensure!(said.contains("1280") == is_small, "`overlay {command}`: {said:?}");
        ensure!(said.lines().count() <= 1, "{said}");
    }
    Ok(())
}

#[test]
fn commands_about_neighbours_mend_what_changed_too() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let instance = Instance::up(host, &[])?;
    let workload = mesh::workload(&instance, VNI, 1)?;
    host.netns.ip(&format!("link set {} name renamed", workload.port))?;
    let arguments = ["neigh", "show"];
    let output = overlay_tests::process::output(&mut host.overlay_command(&arguments)?)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(said.contains("renamed"), "nothing was mended: {said:?}");
    Ok(())
}

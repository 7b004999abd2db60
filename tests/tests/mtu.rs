//! Sizes that commands take and show.

use anyhow::{Result, ensure};
use overlay_tests::{
    mesh,
    overlay::{FAILED, Instance, USAGE},
    process,
    topology::{Host, Lab, Plan},
};
use serde_json::json;

const VNI: u32 = 100;

/// What a command that succeeds writes to stderr.
fn said(host: &Host, command: &str) -> Result<String> {
    let arguments: Vec<_> = command.split_whitespace().collect();
    let output = process::output(&mut host.overlay_command(&arguments)?)?;
    let text = String::from_utf8(output.stderr)?;
    ensure!(output.status.success(), "`overlay {command}`: {text}");
    Ok(text)
}

#[test]
fn sizes_that_cannot_be_are_refused_in_one_line() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let instance = Instance::up(host, &[])?;
    instance.reach(VNI, lab.host(2))?;
    let before = host.configuration()?;
    for (command, code, about) in [
        ("vni set 100 --mtu 67", USAGE, "68"),
        ("vni set 100 --mtu 0", USAGE, "68"),
        ("vni set 100 --mtu 65536", USAGE, "65535"),
        ("vni set 100 --mtu big", USAGE, "auto"),
        ("vni set 100 --mtu 1451", FAILED, "u1 (MTU 1500) carry IP packets of at most 1450"),
        ("vni add 200 --mtu 1451", FAILED, "at most 1450"),
        ("vni set 100 --clamp-mss 87", USAGE, "88"),
        ("vni set 100 --clamp-mss 65536", USAGE, "65535"),
        ("vni set 100 --clamp-mss auto", USAGE, "on, off"),
    ] {
        let arguments: Vec<_> = command.split_whitespace().collect();
        let failure = host.overlay_fails(&arguments)?;
        let is_right = failure.code == code
            && failure.stderr.lines().count() == 1
            && failure.stderr.starts_with("overlay: ")
            && failure.stderr.contains(about);
        ensure!(is_right, "`overlay {command}`: {failure:?}");
        ensure!(host.configuration()? == before, "`overlay {command}` changed something");
    }
    Ok(())
}

#[test]
fn sizes_are_shown_as_they_were_set() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let _instance = Instance::up(host, &[])?;
    let shown = || {
        let view = host.overlay_json(&["vni", "show", "100"])?;
        Ok::<_, anyhow::Error>((view[0]["mtu"].clone(), view[0]["clamp_mss"].clone()))
    };
    host.overlay(&["vni", "add", "100"])?;
    ensure!(shown()? == (json!(null), json!("off")));
    for (flags, mtu, clamp) in [
        (&["--mtu", "1450"][..], json!(1450), "off"),
        (&["--clamp-mss", "on"], json!(1450), "on"),
        (&["--mtu", "68", "--clamp-mss", "1360"], json!(68), "1360"),
        (&["--learning", "off"], json!(68), "1360"),
        (&["--mtu", "auto", "--clamp-mss", "off"], json!(null), "off"),
    ] {
        host.overlay(&[&["vni", "set", "100"], flags].concat())?;
        ensure!(shown()? == (mtu, json!(clamp)), "{flags:?}: {:?}", shown()?);
    }
    Ok(())
}

#[test]
fn a_port_that_is_too_large_is_warned_about_with_the_number_that_fits() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let instance = Instance::up(host, &[])?;
    instance.reach(VNI, lab.host(2))?;
    let large = host.workload(&Plan { mtu: Some(1500), ..Plan::new(VNI, 1) })?;
    let text = said(host, &format!("port add {} --vni 100", large.port))?;
    let expected = "overlay: p100-1 has an MTU of 1500, and tunnels by u1 (MTU 1500) carry IP packets of at most 1450; \
                    set that in the workload, or 1550 on u1\n";
    ensure!(text == expected, "{text}");
    let _fits = mesh::workload(&instance, VNI, 2)?;
    let other = host.workload(&Plan::new(VNI, 3))?;
    let text = said(host, &format!("port add {} --vni 100", other.port))?;
    ensure!(text.is_empty(), "{text}");
    // Where there is no tunnel yet, what could be one counts.
    let lonely = host.workload(&Plan { mtu: Some(1500), ..Plan::new(200, 1) })?;
    let text = said(host, &format!("port add {} --vni 200", lonely.port))?;
    ensure!(text.contains("at most 1450"), "{text}");
    Ok(())
}

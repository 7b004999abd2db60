//! VLAN maps that make no sense, or do not fit what is there, are refused in one line, and nothing is changed.

use anyhow::{Context as _, Result, ensure};
use overlay_tests::{
    mesh,
    overlay::{EXISTS, FAILED, Instance, MISSING, USAGE},
    peer::{Peer, Segment},
    refusal::all_refused,
    topology::Lab,
};

#[test]
fn maps_that_make_no_sense() -> Result<()> {
    let lab = Lab::new(2)?;
    let _instance = Instance::up(lab.host(1), &[])?;
    lab.host(1).netns.ip("link add v0 type veth peer name v1")?;
    all_refused(
        lab.host(1),
        &[
            ("port add v0", USAGE, "--vni"),
            ("port add v0 --vlan 10", USAGE, "VID:VNI"),
            ("port add v0 --vlan 10:1000,", USAGE, "VID:VNI"),
            ("port add v0 --vlan 0:1000", USAGE, "a VLAN id is 1 to 4094"),
            ("port add v0 --vlan 4095:1000", USAGE, "a VLAN id is 1 to 4094"),
            ("port add v0 --vlan 4000-4095:1000", USAGE, "a VLAN id is 1 to 4094"),
            ("port add v0 --vlan red:1000", USAGE, "a VLAN id is a number"),
            ("port add v0 --vlan 10:0", USAGE, "a VNI is 1 to 16777215"),
            ("port add v0 --vlan 10:16777216", USAGE, "a VNI is 1 to 16777215"),
            ("port add v0 --vlan 20-10:1000", USAGE, "wrong way round"),
            ("port add v0 --vlan 10-20:16777210", USAGE, "above VNI 16777215"),
            ("port add v0 --vlan 10:1000,10:2000", USAGE, "VLAN 10 is there twice"),
            ("port add v0 --vlan 10:1000,20:1000", USAGE, "VNI 1000 is there twice"),
            ("port add v0 --vlan 10-20:1000,15:5000", USAGE, "VLAN 15 is there twice"),
            ("port add v0 --vlan 10-20:1000,30:1005", USAGE, "VNI 1005 is there twice"),
            ("port add v0 --vlan 10:1000 --vni 1000", USAGE, "VNI 1000 is there twice"),
            ("port add nosuch --vlan 10:1000", FAILED, "nosuch"),
            ("port add u1 --vlan 10:1000", FAILED, "u1"),
            ("port add h0 --create --vlan 10:1000", USAGE, "--create"),
            ("port vlan add v0 10:1000", MISSING, "no trunk port"),
            ("port vlan del v0 10:1000", MISSING, "no trunk port"),
            ("vni set 100 --vlan perhaps", USAGE, "perhaps"),
            ("vni set 100 --vlan keep", MISSING, "100"),
        ],
    )
}

#[test]
fn maps_that_do_not_fit_what_is_there() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let instance = Instance::up(host, &[])?;
    let _workload = mesh::workload(&instance, 100, 1)?;
    host.netns.ip("link add v0 type veth peer name v1")?;
    let _peer = Peer::join(host, &Segment::new(host, 700, &[lab.host(2)]))?;
    host.overlay(&["port", "add", "v0", "--vlan", "10:1000,20:2000", "--vni", "3000"])?;
    all_refused(
        host,
        &[
            ("port add v0 --vlan 10:1000,20:2000 --vni 3000", EXISTS, "a trunk port already"),
            ("port add v0 --vlan 10:1000 --vni 3000 --exist-ok", EXISTS, "a trunk port already"),
            ("port add v0 --vni 3000 --exist-ok", EXISTS, "a trunk port already"),
            ("port add p100-1 --vlan 10:1000", EXISTS, "a port of VNI 100 already"),
            ("port add p100-1 --vlan 10:1000 --vni 100", EXISTS, "a port of VNI 100 already"),
            ("port vlan add v0 10:1000", EXISTS, "already"),
            ("port vlan add v0 10:5000 --exist-ok", EXISTS, "VLAN 10 is there twice"),
            ("port vlan add v0 30:1000", EXISTS, "VNI 1000 is there twice"),
            ("port vlan add v0 30:3000", EXISTS, "VNI 3000 is there twice"),
            ("port vlan add v0 30:5000,10:1000", EXISTS, "VLAN 10 is there twice"),
            ("port vlan add v0 30:5000,31:700", FAILED, "VNI 700 is served by the kernel"),
            ("port vlan add p100-1 10:1000", MISSING, "p100-1 is no trunk port"),
            ("port vlan del v0 30:5000", MISSING, "no VLAN 30:5000"),
            ("port vlan del v0 10:1001", MISSING, "no VLAN 10:1001"),
            ("port vlan del v0 10:1000,30:5000", MISSING, "no VLAN 30:5000"),
            ("vni del 1000", FAILED, "1 ports"),
        ],
    )?;
    host.netns.ip("link add v2 type veth peer name v3")?;
    all_refused(host, &[("port add v2 --vlan 10:1000,11:700", FAILED, "VNI 700 is served by the kernel")])?;
    for command in [
        "port add v0 --vlan 20:2000,10:1000 --vni 3000 --exist-ok",
        "port vlan add v0 10:1000 --exist-ok",
        "port vlan del v0 30:5000 --missing-ok",
    ] {
        host.overlay(&command.split(' ').collect::<Vec<_>>())?;
    }
    Ok(())
}

#[test]
fn a_full_trunk_is_possible() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let _instance = Instance::up(host, &[])?;
    host.netns.ip("link add v0 type veth peer name v1")?;
    host.overlay(&["port", "add", "v0", "--vlan", "1-4094:10000", "--vni", "1"])?;
    let ports = host.overlay_json(&["port", "show"])?;
    let vlans = ports[0]["vlans"].as_array().context("no VLANs")?;
    ensure!(vlans.len() == 4094 && vlans[4093]["vni"] == 14093, "{ports}");
    host.overlay(&["port", "del", "v0"])?;
    Ok(())
}

//! What is refused says so in one line, with its exit code, and changes nothing.

use anyhow::{Context as _, Result, ensure};
use overlay_tests::{
    foreign::Foreign,
    mesh,
    overlay::{EXISTS, FAILED, Instance, MISSING, USAGE, binary, failure, has_pins},
    peer::{Peer, Segment},
    refusal::{all_refused, check, refused},
    topology::{Host, Lab, Plan},
    traffic,
};

const VNI: u32 = 100;
const STATIONS: [&str; 2] = ["02:00:00:00:00:01", "02:00:00:00:00:02"];

/// Host 1 with an instance, the port `p100-1` in segment 100, a tunnel to host 2, and one static entry.
fn configured(lab: &Lab) -> Result<(Instance<'_>, overlay_tests::topology::Workload)> {
    let instance = Instance::up(lab.host(1), &[])?;
    instance.reach(VNI, lab.host(2))?;
    let workload = mesh::workload(&instance, VNI, 1)?;
    lab.host(1).overlay(&["fdb", "add", "--vni", "100", STATIONS[0], "--remote", "10.0.0.2"])?;
    Ok((instance, workload))
}

#[test]
fn what_cannot_be_understood() -> Result<()> {
    let lab = Lab::new(2)?;
    let _site = configured(&lab)?;
    all_refused(
        lab.host(1),
        &[
            ("vni add 0", USAGE, "0"),
            ("vni add 16777216", USAGE, "16777216"),
            ("vni add -1", USAGE, "-1"),
            ("vni add red", USAGE, "red"),
            ("vni set 100 --learning perhaps", USAGE, "perhaps"),
            ("port add p100-1 --vni 0", USAGE, "0"),
            ("port add p100-1 --vni 16777216", USAGE, "16777216"),
            ("port add p100-1", USAGE, "--vni"),
            ("tunnel add --vni 0 --remote 10.0.0.3", USAGE, "0"),
            ("tunnel add --vni 16777216 --remote 10.0.0.3", USAGE, "16777216"),
            ("tunnel add --vni 100 --remote 10.0.0", USAGE, "10.0.0"),
            ("tunnel add --vni 100 --remote host-3", USAGE, "host-3"),
            ("tunnel add --vni 100 --remote 10.0.0.3 --mac 02:00", USAGE, "02:00"),
            ("fdb add --vni 100 02:00:00:00:00 --remote 10.0.0.2", USAGE, "02:00:00:00:00"),
            ("fdb add --vni 100 02:00:00:00:00:zz --remote 10.0.0.2", USAGE, "02:00:00:00:00:zz"),
            ("fdb add --vni 100 02:00:00:00:00:02", USAGE, "--remote"),
            ("fdb add --vni 100 02:00:00:00:00:02 --remote 10.0.0.2 --port p100-1", USAGE, "--port"),
            ("nonsense", USAGE, "nonsense"),
            ("status --nonsense", USAGE, "--nonsense"),
        ],
    )
}

#[test]
fn what_makes_no_sense() -> Result<()> {
    let lab = Lab::new(2)?;
    let _site = configured(&lab)?;
    lab.host(1).netns.ip("link add v0 type veth peer name v1")?;
    all_refused(
        lab.host(1),
        &[
            ("fdb add --vni 100 01:00:5e:00:00:01 --remote 10.0.0.2", USAGE, "01:00:5e:00:00:01"),
            ("fdb add --vni 100 ff:ff:ff:ff:ff:ff --remote 10.0.0.2", USAGE, "ff:ff:ff:ff:ff:ff"),
            ("fdb add --vni 100 00:00:00:00:00:00 --remote 10.0.0.2", USAGE, "00:00:00:00:00:00"),
            ("tunnel add --vni 100 --remote 10.0.0.3 --mac 01:00:5e:00:00:01", USAGE, "01:00:5e:00:00:01"),
            ("port add nosuch --vni 100", FAILED, "nosuch"),
            ("port add u1 --vni 100", FAILED, "u1"),
            ("port add p100-1 --vni 200", EXISTS, "p100-1"),
            ("vni del 100", FAILED, "1 ports and 1 tunnels"),
            ("fdb add --vni 100 02:00:00:00:00:02 --port nosuch", FAILED, "nosuch"),
            ("fdb add --vni 100 02:00:00:00:00:02 --port v0", MISSING, "v0"),
            ("fdb add --vni 100 02:00:00:00:00:02 --remote 10.0.0.9", MISSING, "10.0.0.9"),
            ("tunnel add --vni 100 --remote 10.0.0.1", USAGE, "10.0.0.1"),
            ("tunnel add --vni 100 --remote 224.0.0.1", USAGE, "224.0.0.1"),
            ("tunnel add --vni 100 --remote 0.0.0.0", USAGE, "0.0.0.0"),
            ("tunnel add --vni 100 --remote 255.255.255.255", USAGE, "255.255.255.255"),
        ],
    )
}

#[test]
fn what_exists_and_what_does_not() -> Result<()> {
    let lab = Lab::new(2)?;
    let (_instance, _workload) = configured(&lab)?;
    let host = lab.host(1);
    all_refused(
        host,
        &[
            ("vni add 100", EXISTS, "100"),
            ("port add p100-1 --vni 100", EXISTS, "p100-1"),
            ("tunnel add --vni 100 --remote 10.0.0.2", EXISTS, "10.0.0.2"),
            ("fdb add --vni 100 02:00:00:00:00:01 --remote 10.0.0.2", EXISTS, "02:00:00:00:00:01"),
            ("up --uplink u1", EXISTS, "up"),
            ("vni del 200", MISSING, "200"),
            ("vni set 200 --learning off", MISSING, "200"),
            ("port del v9", MISSING, "v9"),
            ("port del u1", MISSING, "u1"),
            ("tunnel del --vni 100 --remote 10.0.0.3", MISSING, "10.0.0.3"),
            ("tunnel del --vni 200 --remote 10.0.0.2", MISSING, "200"),
            ("fdb del --vni 100 02:00:00:00:00:09", MISSING, "02:00:00:00:00:09"),
            ("fdb del --vni 200 02:00:00:00:00:01", MISSING, "200"),
            ("fdb flush --vni 200", MISSING, "200"),
        ],
    )?;
    let before = host.configuration()?;
    for command in [
        "vni add 100 --exist-ok",
        "port add p100-1 --vni 100 --exist-ok",
        "tunnel add --vni 100 --remote 10.0.0.2 --exist-ok",
        "fdb add --vni 100 02:00:00:00:00:01 --remote 10.0.0.2 --exist-ok",
        "vni del 200 --missing-ok",
        "port del v9 --missing-ok",
        "tunnel del --vni 100 --remote 10.0.0.3 --missing-ok",
        "fdb del --vni 100 02:00:00:00:00:09 --missing-ok",
    ] {
        host.overlay(&command.split_whitespace().collect::<Vec<_>>())?;
    }
    ensure!(before == host.configuration()?, "commands with nothing to do did something");
    Ok(())
}

/// Commands that fail while no instance is up leave none behind.
fn refused_before_up(host: &Host, command: &str, code: i32, about: &str) -> Result<()> {
    let failure = host.overlay_fails(&command.split_whitespace().collect::<Vec<_>>())?;
    check(&failure, code, about).with_context(|| format!("`overlay {command}`"))?;
    leaves_nothing(host).with_context(|| format!("after `overlay {command}`"))
}

fn leaves_nothing(host: &Host) -> Result<()> {
    ensure!(!has_pins(host)?, "there are pins");
    let qdiscs = host.netns.run(&["tc", "qdisc", "show"])?;
    ensure!(!qdiscs.contains("clsact"), "{qdiscs}");
    let links = host.netns.run(&["ip", "-d", "link", "show"])?;
    ensure!(!links.contains("xdp") && !links.contains("vxlan"), "{links}");
    Ok(())
}

#[test]
fn what_needs_an_instance() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    for command in [
        "tunnel add --vni 100 --remote 10.0.0.2",
        "vni add 100",
        "port add u1 --vni 100",
        "fdb add --vni 100 02:00:00:00:00:01 --remote 10.0.0.2",
    ] {
        refused_before_up(host, command, FAILED, "overlay up")?;
    }
    for command in ["port show", "tunnel show", "fdb show", "vni show", "stats"] {
        refused_before_up(host, command, FAILED, "overlay up")?;
    }
    refused_before_up(host, "down", MISSING, "not up")?;
    host.overlay(&["down", "--missing-ok"]).map(drop)
}

#[test]
fn a_mount_namespace_of_its_own() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    for run in
        ["exec \"$0\" up --uplink u1", "ip netns exec \"$1\" sh -c '\"$0\" up --uplink u1; exit $?' \"$0\""]
    {
        let mut inside = host.netns.command("unshare");
        let script = format!("umount /sys/fs/bpf 2>/dev/null; {run}");
        inside.args(["--mount", "sh", "-c", &script]).arg(binary()?).arg(host.netns.name());
        check(&failure(&mut inside)?, FAILED, "overlay -n NAME")?;
    }
    leaves_nothing(host)
}

#[test]
fn uplinks_that_are_none() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    host.netns.ip("link add v0 type veth peer name v1\nlink set v0 up\nlink set v1 up")?;
    refused_before_up(host, "up --uplink nosuch", FAILED, "nosuch")?;
    refused_before_up(host, "up --uplink u1 nosuch", FAILED, "nosuch")?;
    refused_before_up(host, "up --uplink v0", FAILED, "v0")?;
    refused_before_up(host, "up --uplink u1 --local 10.9.9.9", FAILED, "10.9.9.9")?;
    refused_before_up(host, "up --uplink u1 --local nowhere", USAGE, "nowhere")?;
    refused_before_up(host, "up --uplink u1 --port 0", USAGE, "0")?;
    refused_before_up(host, "up --uplink u1 --port 65536", USAGE, "65536")?;
    refused_before_up(host, "up --uplink u1 --xdp maybe", USAGE, "maybe")?;
    refused_before_up(host, "up --uplink u1 --fdb-size 0", USAGE, "0")?;
    refused_before_up(host, "up", USAGE, "--uplink")
}

#[test]
fn missing_capabilities() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let mut powerless = host.netns.command("setpriv");
    powerless.args(["--bounding-set=-all", "--inh-caps=-all"]).arg(binary()?);
    powerless.args(["up", "--uplink", "u1"]);
    check(&failure(&mut powerless)?, FAILED, "CAP_")?;
    leaves_nothing(host)
}

#[test]
fn a_full_fdb_refuses_entries() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let instance = Instance::up(host, &["--fdb-size", "4"])?;
    host.overlay(&["vni", "add", "100", "--learning", "off"])?;
    instance.reach(VNI, lab.host(2))?;
    let add = |number: u8| format!("fdb add --vni 100 02:00:00:00:01:{number:02x} --remote 10.0.0.2");
    for number in 0..4 {
        host.overlay(&add(number).split_whitespace().collect::<Vec<_>>())?;
    }
    refused(host, &add(4), FAILED, "--fdb-size")
}

#[test]
fn a_segment_that_the_kernel_serves() -> Result<()> {
    let lab = Lab::new(2)?;
    let (one, two) = (lab.host(1), lab.host(2));
    let kernel_one = Peer::join(one, &Segment::new(one, 200, &[two]))?;
    let instances = mesh::up(&lab, &[])?;
    let kernel_two = Peer::join(two, &Segment::new(two, 200, &[one]))?;
    let ours = mesh::segment(&instances, VNI)?;
    let theirs = [one.workload(&Plan::new(200, 1))?, two.workload(&Plan::new(200, 2))?];
    kernel_one.attach(&theirs[0])?;
    kernel_two.attach(&theirs[1])?;
    mesh::exchange(&theirs[0], &theirs[1], 1 << 20).context("the kernel's segment beside ours")?;
    mesh::exchange(&ours[0], &ours[1], 1 << 20).context("our segment beside the kernel's")?;
    one.netns.ip("link add v0 type veth peer name v1")?;
    all_refused(
        one,
        &[
            ("vni add 200", FAILED, "vx200"),
            ("port add v0 --vni 200", FAILED, "vx200"),
            ("tunnel add --vni 200 --remote 10.0.0.2", FAILED, "vx200"),
        ],
    )
}

#[test]
fn an_uplink_with_a_foreign_xdp_program() -> Result<()> {
    let lab = Lab::new(2)?;
    let (one, two) = (lab.host(1), lab.host(2));
    let foreign = Foreign::xdp(&one.netns, &one.uplink)?;
    for mode in ["auto", "native"] {
        let instances = mesh::up(&lab, &["--xdp", mode])?;
        let status = one.overlay_json(&["status"])?;
        let uplink = &status["uplinks"][0];
        ensure!(uplink["xdp"] == "off", "{status}");
        ensure!(uplink["why"].as_str().is_some_and(|why| !why.is_empty()), "{status}");
        let workloads = mesh::segment(&instances, VNI)?;
        let before = foreign.seen()?;
        mesh::exchange(&workloads[0], &workloads[1], 1 << 20)?;
        ensure!(foreign.seen()? > before, "the foreign program sees nothing any more");
    }
    let before = foreign.seen()?;
    traffic::ping(&two.netns, one.v4.into(), 5)?;
    ensure!(foreign.seen()? >= before + 5, "the foreign program is gone");
    Ok(())
}

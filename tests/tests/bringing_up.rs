//! Instances that come up at the same time, are cut off, lose their namespace, or are asked for twice.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use overlay_tests::{
    mesh,
    netns::NetNs,
    overlay::{EXISTS, FAILED, Instance, PINS, binary, failure},
    process::{self, Background, wait_until},
    topology::{Host, Lab},
};

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// Instances are of the whole machine, and tests run side by side.
fn named(letter: &str, host: &Host) -> String {
    format!("{letter}-{}", host.netns.name())
}

/// Both commands at once; which of them failed.
fn at_once(host: &Host, commands: [&[&str]; 2]) -> Result<Vec<usize>> {
    let start = |arguments: &[&str]| -> Result<_> {
        let mut command = host.overlay_command(arguments)?;
        Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
    };
    let children = [start(commands[0])?, start(commands[1])?];
    let mut failed = Vec::new();
    for (number, mut child) in children.into_iter().enumerate() {
        if !child.wait()?.success() {
            failed.push(number);
        }
    }
    Ok(failed)
}

#[test]
fn of_two_that_come_up_at_once_on_one_uplink_one_does() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let (a, b) = (named("a", host), named("b", host));
    for _ in 0..2 {
        let up = |name| ["--instance", name, "up", "--uplink", "u1"];
        let failed = at_once(host, [&up(&a), &up(&b)])?;
        for name in [&a, &b] {
            host.overlay(&["--instance", name, "down", "--missing-ok"])?;
        }
        ensure!(failed.len() == 1, "failed: {failed:?}");
    }
    Ok(())
}

#[test]
fn a_device_becomes_a_port_of_one_of_two_instances() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let (a, b) = (named("a", host), named("b", host));
    host.overlay(&["--instance", &a, "up", "--uplink", "u1"])?;
    host.overlay(&["--instance", &b, "up", "--uplink", "u1", "--port", "4790"])?;
    host.netns.ip("link add v0 type veth peer name v1")?;
    let mut failed = Vec::new();
    for _ in 0..4 {
        let add = |name| ["--instance", name, "port", "add", "v0", "--vni", "100"];
        failed.push(at_once(host, [&add(&a), &add(&b)])?.len());
        for name in [&a, &b] {
            host.overlay(&["--instance", name, "port", "del", "v0", "--missing-ok"])?;
        }
    }
    for name in [&a, &b] {
        host.overlay(&["--instance", name, "down"])?;
    }
    ensure!(failed == [1; 4], "failed: {failed:?}");
    Ok(())
}

fn forwarding(host: &Host) -> Result<String> {
    let of = |family| format!("/proc/sys/net/{family}/conf/lo/forwarding");
    host.netns.enter(|| {
        let read = |family| fs::read_to_string(of(family)).with_context(|| of(family));
        Ok(format!("{}{}", read("ipv4")?.trim(), read("ipv6")?.trim()))
    })
}

#[test]
fn down_restores_what_an_up_that_was_killed_has_changed() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    ensure!(forwarding(host)? == "00");
    let mut up = Background::start(host.overlay_command(&["up", "--uplink", "u1"])?.stdout(Stdio::null()))?;
    wait_until(soon(), || Ok((forwarding(host)? == "11").then_some(())))?;
    up.signal(Signal::SIGKILL)?;
    Instance::adopt(host)?.down()?;
    ensure!(forwarding(host)? == "00", "it stays on");
    Ok(())
}

fn an_instance_whose_namespace_is_gone_goes_down(tc: &str) -> Result<()> {
    let (gone, other) = (NetNs::new("gone")?, NetNs::new("other")?);
    let name = format!("i-{}", gone.name());
    gone.ip(
        "link add u1 type veth peer name x1\nlink set u1 up\nlink set x1 up\naddr add 10.0.0.1/24 dev u1",
    )?;
    gone.ip("link add v0 type veth peer name v1")?;
    gone.run(&[&overlay()?, "--instance", &name, "up", "--uplink", "u1", "--tc", tc])?;
    gone.run(&[&overlay()?, "--instance", &name, "port", "add", "v0", "--vni", "100"])?;
    let down = || -> Result<Command> {
        let mut command = other.command(binary()?);
        command.args(["--instance", &name, "down"]);
        Ok(command)
    };
    let refused = failure(&mut down()?)?;
    ensure!(refused.code == FAILED && refused.stderr.contains("another network namespace"), "{refused:?}");
    let (release, held) = std::sync::mpsc::channel::<()>();
    let inside = gone.spawn(move || {
        // An error: released.
        let _ = held.recv();
        Ok(())
    });
    drop(gone);
    let refused = failure(&mut down()?)?;
    ensure!(refused.code == FAILED, "a process is still in it: {refused:?}");
    drop(release);
    inside.join().map_err(|_| anyhow::anyhow!("panicked"))??;
    // The kernel takes its time.
    wait_until(soon(), || Ok(process::output(&mut down()?)?.status.success().then_some(())))?;
    ensure!(!Path::new(PINS).join(&name).exists(), "pins are left");
    Ok(())
}

fn overlay() -> Result<String> {
    Ok(binary()?.to_str().context("the binary's path")?.to_owned())
}

#[test]
fn an_instance_whose_namespace_is_gone_goes_down_on_tcx() -> Result<()> {
    an_instance_whose_namespace_is_gone_goes_down("tcx")
}

#[test]
fn an_instance_whose_namespace_is_gone_goes_down_on_clsact() -> Result<()> {
    an_instance_whose_namespace_is_gone_goes_down("clsact")
}

#[test]
fn an_agent_takes_another_name_of_its_uplink() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    host.netns.ip("link property add dev u1 altname alias")?;
    for round in ["brings it up", "adopts it"] {
        let mut command = host.overlay_command(&["run", "--uplink", "alias"])?;
        let mut agent = Background::start(command.stdout(Stdio::piped()))?;
        let mut stdout = agent.child().stdout.take().context("no stdout")?;
        let mut said = [0; 256];
        let length = std::io::Read::read(&mut stdout, &mut said)?;
        ensure!(length > 0, "it ended at once, and said nothing: {round}");
        let code = agent.signal(Signal::SIGTERM)?;
        ensure!(code == Some(0), "{round}: {code:?}");
    }
    Instance::adopt(host)?.down()
}

#[test]
fn up_again_is_done_only_if_it_is_as_asked() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let asked = ["--local", "10.0.0.1", "--xdp", "generic", "--fdb-size", "1000", "--tc", "tcx"];
    let instance = Instance::up(host, &asked)?;
    let again = |change: &[&str]| -> Result<i32> {
        let mut arguments: Vec<&str> = [&["up", "--uplink", "u1", "--exist-ok"], &asked[..]].concat();
        if let [flag, value] = change {
            match arguments.iter().position(|argument| argument == flag) {
                Some(place) => arguments[place + 1] = value,
                None => arguments.extend(change),
            }
        }
        let output = process::output(&mut host.overlay_command(&arguments)?)?;
        output.status.code().context("a signal")
    };
    ensure!(again(&[])? == 0, "just as it is");
    for change in [
        ["--port", "4790"],
        ["--local", "fd00::1"],
        ["--xdp", "native"],
        ["--fdb-size", "2000"],
        ["--tc", "clsact"],
    ] {
        let code = again(&change)?;
        ensure!(code == EXISTS, "{change:?}: {code}");
    }
    instance.down()
}

/// A child's standard error whose reader has gone.
fn nobody() -> Result<Stdio> {
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    Ok(writer.into())
}

#[test]
fn a_command_does_its_work_though_nobody_hears_it() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let instance = Instance::up(host, &[])?;
    let workload = mesh::workload(&instance, 100, 1)?;
    host.netns.ip(&format!("link set {} down\nlink set {0} name renamed", workload.port))?;
    let mut command = host.overlay_command(&["vni", "add", "300"])?;
    let status = command.stdout(nobody()?).stderr(nobody()?).status()?;
    ensure!(status.success(), "{status}");
    ensure!(host.overlay_json(&["vni", "show", "300"])?[0]["vni"] == 300);
    Ok(())
}

#[test]
fn an_agent_goes_on_though_nobody_hears_it() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let instance = Instance::up(host, &[])?;
    let ports = [mesh::workload(&instance, 100, 1)?, mesh::workload(&instance, 100, 2)?];
    let pins = ports
        .iter()
        .map(|port| Ok(instance.pins().join(format!("links/{}-from_port", host.netns.ifindex(&port.port)?))))
        .collect::<Result<Vec<_>>>()?;
    let mut command = host.overlay_command(&["run", "--uplink", "u1"])?;
    let mut agent = Background::start(command.stdout(nobody()?).stderr(nobody()?))?;
    for (port, pin) in ports.iter().zip(pins) {
        ensure!(pin.exists(), "no {}", pin.display());
        host.netns.ip(&format!("link del {}", port.port))?;
        wait_until(soon(), || {
            ensure!(agent.is_running()?, "the agent has ended");
            Ok((!pin.exists()).then_some(()))
        })?;
    }
    let code = agent.signal(Signal::SIGTERM)?;
    ensure!(code == Some(0), "{code:?}");
    instance.down()
}

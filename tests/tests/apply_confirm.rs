//! `overlay apply --confirm`: rolled back unless `overlay confirm` comes in time, whatever becomes of the processes.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use overlay_tests::{
    overlay::{FAILED, Instance, MISSING, has_pins},
    process,
    refusal::check,
    topology::{Host, Lab},
};

const ONE: &str = "[vtep]\nuplinks = [\"u1\"]\n\n[[vni]]\nid = 100\nremotes = [\"10.0.0.2\"]\n";
const TWO: &str = "[vtep]\nuplinks = [\"u1\"]\n\n[[vni]]\nid = 200\nremotes = [\"10.0.0.3\"]\n";

/// The processes that wait for a confirmation of an instance.
fn waiting(instance: &Instance<'_>) -> Result<Vec<i32>> {
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words: Vec<_> = words.split(|byte| *byte == 0).collect();
        if words.contains(&&b"await-confirmation"[..]) && words.contains(&instance.name.as_bytes()) {
            pids.push(pid);
        }
    }
    Ok(pids)
}

fn soon<T>(probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    process::wait_until(Instant::now() + Duration::from_secs(20), probe)
}

fn nobody_waits(instance: &Instance<'_>) -> Result<()> {
    soon(|| Ok(waiting(instance)?.is_empty().then_some(()))).context("a process still waits")?;
    let notes = Path::new("/run/overlay").join(&instance.name);
    ensure!(!notes.exists(), "{} is left", notes.display());
    Ok(())
}

fn export(host: &Host) -> Result<String> {
    host.overlay(&["export"])
}

#[test]
fn what_nobody_confirms_is_rolled_back() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    host.apply(ONE, &[])?;
    let instance = Instance::adopt(host)?;
    host.apply(TWO, &["--confirm", "2s"])?;
    ensure!(export(host)? == TWO, "{}", export(host)?);
    ensure!(waiting(&instance)?.len() == 1, "{:?} wait", waiting(&instance)?);
    soon(|| Ok((export(host)? == ONE).then_some(()))).context("it was not rolled back")?;
    nobody_waits(&instance)
}

#[test]
fn an_instance_that_was_not_up_goes_down_again() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    host.apply(ONE, &["--confirm", "1s"])?;
    let instance = Instance::adopt(host)?;
    soon(|| Ok((!has_pins(host)?).then_some(()))).context("it is still up")?;
    nobody_waits(&instance)?;
    instance.is_down_already();
    Ok(())
}

#[test]
fn what_is_confirmed_stays_and_one_thing_waits_at_a_time() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    check(&host.overlay_fails(&["confirm"])?, MISSING, "nothing waits")?;
    host.apply(ONE, &[])?;
    let instance = Instance::adopt(host)?;
    host.apply(TWO, &["--confirm", "60s"])?;
    check(&host.apply_fails(ONE)?, FAILED, "waits to be confirmed")?;
    ensure!(export(host)? == TWO, "{}", export(host)?);
    host.overlay(&["confirm"])?;
    nobody_waits(&instance)?;
    check(&host.overlay_fails(&["confirm"])?, MISSING, "nothing waits")?;
    ensure!(export(host)? == TWO, "{}", export(host)?);
    // What fails leaves nothing that waits.
    let failure = host.overlay_fails(&["apply", "-f", "/nonexistent", "--confirm", "60s"])?;
    check(&failure, FAILED, "/nonexistent")?;
    host.apply(ONE, &["--confirm", "60s", "--dry-run"])?;
    nobody_waits(&instance)?;
    // Nor does `down`.
    host.apply(ONE, &["--confirm", "60s"])?;
    host.overlay(&["down"])?;
    nobody_waits(&instance)?;
    instance.is_down_already();
    Ok(())
}

#[test]
fn without_the_process_that_waits_the_next_command_rolls_back() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    host.apply(ONE, &[])?;
    let instance = Instance::adopt(host)?;
    host.apply(TWO, &["--confirm", "1s"])?;
    for pid in waiting(&instance)? {
        kill(Pid::from_raw(pid), Signal::SIGKILL)?;
    }
    soon(|| Ok((export(host)? == ONE).then_some(()))).context("it was not rolled back")?;
    nobody_waits(&instance)
}

//! The smallest run there is, from the command line to its output.

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use overlay_tests::{
    overlay::binary,
    process::{self, Background, wait_until},
};
use serde_json::Value;

/// The bench, with the binary that the harness finds.
fn bench(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_overlay-bench"));
    command.env("OVERLAY_BIN", binary()?).args(arguments);
    Ok(command)
}

/// The network namespaces that a process made and that are still there.
fn namespaces_of(process: u32) -> Result<Vec<String>> {
    let text = process::checked(Command::new("ip").args(["netns", "list"]))?;
    let of_it = format!("ov{process}-");
    Ok(text.lines().filter(|line| line.starts_with(&of_it)).map(str::to_owned).collect())
}

/// The ratio of a figure, which has to be a number.
fn ratio(row: &Value, against: &str) -> Result<f64> {
    row[against]["median"].as_f64().with_context(|| format!("no {against} in {row}"))
}

#[test]
fn one_round_has_figures_ratios_and_targets_and_leaves_nothing() -> Result<()> {
    let directory = std::env::temp_dir().join(format!("overlay-bench-{}", std::process::id()));
    fs::create_dir(&directory)?;
    let baseline = directory.join("baseline.toml");
    let plot = directory.join("plot.svg");
    let (baseline, plot) = (baseline.to_str().context("a path")?, plot.to_str().context("a path")?);
    let run = ["--rounds", "1", "--seconds", "1", "--setting", "super", "--only", "tcp1"];
    let files = ["--peer", "kernel,floor,ours-off", "--json", "-", "--plot", plot, "--save", baseline];
    let mut command = bench(&[&run[..], &files[..]].concat())?;
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let process = child.id();
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let document: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(document["version"] == 1 && document["rounds"] == 1, "{document}");
    ensure!(document["failures"].as_array().is_some_and(Vec::is_empty), "{}", document["failures"]);
    let rows = document["figures"].as_array().context("no figures")?;
    ensure!(rows.len() == 6, "two figures of three peers are not {}", rows.len());
    for row in rows {
        ensure!(row["values"].as_array().is_some_and(|values| values.len() == 1), "{row}");
        ensure!(ratio(row, "to_kernel")? > 0.0 && ratio(row, "to_floor")? > 0.0, "{row}");
    }
    let targets = document["targets"].as_array().context("no targets")?;
    let measured = targets.iter().filter(|target| target["measured"].is_number()).count();
    ensure!(measured == 2, "TCP in one setting is two targets, not {measured}");
    ensure!(fs::read_to_string(plot)?.contains("super: TCP, 1 flow"), "the drawing shows something else");
    ensure!(fs::read_to_string(baseline)?.contains("figure = \"tcp1\""), "the baseline is of something else");
    fs::remove_dir_all(&directory)?;
    let left = namespaces_of(process)?;
    ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

#[test]
fn live_frames_of_three_peers_have_ratios_and_targets() -> Result<()> {
    let mut command = bench(&["--rounds", "1", "--seconds", "1", "--only", "xdp", "--json", "-"])?;
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let process = child.id();
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let document: Value = serde_json::from_slice(&output.stdout)?;
    let rows = document["figures"].as_array().context("no figures")?;
    ensure!(rows.len() == 3, "{rows:?}");
    for row in rows {
        ensure!(row["figure"] == "xdp" && row["unit"] == "Mpps", "{row}");
        ensure!(ratio(row, "to_kernel")? > 0.0 && ratio(row, "to_floor")? > 0.0, "{row}");
    }
    let targets = document["targets"].as_array().context("no targets")?;
    let measured: Vec<_> = targets.iter().filter(|target| target["measured"].is_number()).collect();
    ensure!(measured.len() == 2, "{measured:?}");
    for target in measured {
        ensure!(target["figure"] == "xdp" && target["ours"] == "ours-native", "{target}");
    }
    let left = namespaces_of(process)?;
    ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

#[test]
fn what_is_amiss_is_told_in_one_line_before_anything_is_measured() -> Result<()> {
    for (arguments, what) in [
        (&["--check", "/nonexistent.toml"][..], "reading /nonexistent.toml"),
        (&["--check", "/dev/null"], "/dev/null is no baseline"),
    ] {
        let output = process::output(&mut bench(arguments)?)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(1), "{arguments:?}: {}", output.status);
        ensure!(said.starts_with("bench: ") && said.lines().count() == 1 && said.contains(what), "{said}");
        ensure!(output.stdout.is_empty(), "{arguments:?}");
    }
    Ok(())
}

#[test]
fn an_interrupt_ends_it_soon_and_leaves_nothing() -> Result<()> {
    let mut bench = Background::start(
        bench(&["--rounds", "9", "--seconds", "60", "--only", "tcp1"])?
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    )?;
    let process = bench.child().id();
    let deadline = Instant::now() + Duration::from_secs(30);
    wait_until(deadline, || Ok((namespaces_of(process)?.len() >= 5).then_some(())))?;
    ensure!(bench.signal(Signal::SIGINT)? == Some(1), "it did not fail");
    let left = namespaces_of(process)?;
    ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

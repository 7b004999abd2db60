//! What the command line says about itself: help, manual pages, version.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use overlay_tests::{
    declared::TempDirectory,
    overlay::{binary, overlay},
    process,
};
use serde_json::Value;

#[test]
fn help_fits_a_screen_and_ends_with_an_example() -> Result<()> {
    let help = overlay(&["--help"])?;
    ensure!(help.lines().count() <= 50 && help == overlay(&["-h"])?, "{help}");
    let last = overlay(&["tunnel", "add", "--help"])?;
    let example = "  overlay tunnel add --vni 100 --remote 239.1.1.1 --dev eth0";
    ensure!(last.contains("\nExamples:\n") && last.trim_end().ends_with(example), "{last}");
    Ok(())
}

#[test]
fn every_subcommand_has_a_manual_page() -> Result<()> {
    let directory = TempDirectory::new("man");
    overlay(&["man", directory.path().to_str().context("no text")?])?;
    let help = overlay(&["--help"])?;
    let commands = help.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next());
    for line in commands.context("no commands")?.lines() {
        // A long description goes on in the next line.
        let Some(name) = line.strip_prefix("  ").and_then(|line| line.split(' ').next()) else { continue };
        if name.is_empty() || name == "help" {
            continue;
        }
        let page = directory.path().join(format!("overlay-{name}.1"));
        let text = fs::read_to_string(&page).with_context(|| page.display().to_string())?;
        ensure!(text.contains(".TH") && text.contains(".SH SYNOPSIS"), "{name}: {text}");
    }
    let text = fs::read_to_string(directory.path().join("overlay-tunnel-add.1"))?;
    ensure!(text.contains("Examples:"), "{text}");
    Ok(())
}

#[test]
fn a_directory_that_cannot_be_made_is_told() -> Result<()> {
    let output = process::output(Command::new(binary()?).args(["man", "/proc/none"]))?;
    let error = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(1) && error.lines().count() == 1, "{error}");
    ensure!(error.contains("/proc/none"), "{error}");
    Ok(())
}

#[test]
fn the_version_tells_what_the_kernel_has() -> Result<()> {
    let version: Value = serde_json::from_str(&overlay(&["-o", "json", "version"])?)?;
    ensure!(version["version"] == env!("CARGO_PKG_VERSION"), "{version}");
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    ensure!(version["kernel"]["release"] == release.trim(), "{version}");
    let features = version["kernel"]["features"].as_array().context("no features")?;
    let needed: Vec<&Value> = features.iter().filter(|feature| feature["needed"] == true).collect();
    ensure!(needed.len() == 4 && needed.iter().all(|feature| feature["present"] == true), "{version}");
    ensure!(overlay(&["version"])?.contains("bpf_redirect_peer"), "no names");
    Ok(())
}

//! The configuration file's schema, its documentation and the command line name the same things.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use overlay_tests::{declared::TempFile, overlay::overlay, topology::Lab};
use serde_json::Value;

const DOCUMENT: &str = include_str!("../../docs/configuration.md");

fn schema() -> Result<Value> {
    Ok(serde_json::from_str(&overlay(&["schema"])?)?)
}

fn keys(schema: &Value, of: &str) -> Result<BTreeSet<String>> {
    let properties = &schema["$defs"][of]["properties"];
    let properties = properties.as_object().with_context(|| format!("no {of} in {schema}"))?;
    Ok(properties.keys().cloned().collect())
}

#[test]
fn every_key_is_documented() -> Result<()> {
    let schema = schema()?;
    for of in ["Vtep", "Agent", "Vni", "Port", "Tunnel", "Station", "Neighbour", "Listener"] {
        for key in keys(&schema, of)? {
            let is_said =
                DOCUMENT.contains(&format!("`{key}`")) || DOCUMENT.contains(&format!("[[vni.{key}]]"));
            ensure!(is_said, "docs/configuration.md says nothing about {key} ({of})");
        }
    }
    Ok(())
}

/// The long options of a command, but those that are no settings.
fn options(command: &[&str]) -> Result<BTreeSet<String>> {
    let help = overlay(&[command, &["--help"]].concat())?;
    let words = help
        .lines()
        .filter_map(|line| line.trim_start().split_once("--").map(|(before, rest)| (before.len(), rest)));
    let names =
        words.filter(|(before, _)| *before <= 4).filter_map(|(_, rest)| rest.split([' ', '=']).next());
    let general = ["output", "netns", "instance", "verbose", "help", "exist-ok"];
    Ok(names.filter(|name| !general.contains(name)).map(str::to_owned).collect())
}

/// What is said of an instance elsewhere in the file, or is about the file or the process.
const RUN: [&str; 10] =
    ["uplink", "local", "port", "xdp", "tunnel-gro", "tc", "fdb-size", "max-vteps", "config", "ephemeral"];

#[test]
fn every_option_has_its_key() -> Result<()> {
    let schema = schema()?;
    for (command, of, elsewhere) in [
        (&["vni", "set"][..], "Vni", &[][..]),
        (&["up"], "Vtep", &["uplink"]),
        (&["port", "add"], "Port", &[]),
        (&["tunnel", "add"], "Tunnel", &["vni", "mac"]),
        (&["fdb", "add"], "Station", &["vni", "from"]),
        (&["neigh", "add"], "Neighbour", &["vni"]),
        (&["mdb", "add"], "Listener", &["vni"]),
        (&["run"], "Agent", &RUN),
    ] {
        let (keys, options) = (keys(&schema, of)?, options(command)?);
        ensure!(options.len() > 1, "{command:?} has only {options:?}");
        let missing: Vec<_> = options
            .iter()
            .filter(|name| !keys.contains(*name) && !elsewhere.contains(&name.as_str()))
            .collect();
        ensure!(missing.is_empty(), "`overlay {}` has {missing:?}, and the file has not", command.join(" "));
    }
    Ok(())
}

#[test]
fn the_example_is_understood() -> Result<()> {
    let (_, example) = DOCUMENT.split_once("```toml\n").context("no example")?;
    let (example, _) = example.split_once("```").context("an example without end")?;
    let (lab, file) = (Lab::new(2)?, TempFile::new(example)?);
    let failure = lab.host(1).overlay_fails(&["apply", "--dry-run", "-f", file.name()])?;
    // All of it makes sense; only the host has not got the devices.
    ensure!(failure.stderr.contains("2:12: there is no device eth0"), "{failure:?}");
    Ok(())
}

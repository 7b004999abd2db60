//! What `overlay doctor` finds, and running the commands that it prints.

use std::{env, process::Output};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{
    overlay::{FAILED, binary},
    process,
    topology::Host,
};

/// Findings about instances that tests beside this one have left: they come and go.
const OF_OTHERS: [&str; 2] = ["leftover-instance", "leftover-note"];

/// Runs `overlay ARGUMENTS doctor`, whose exit code has to be what its findings say.
fn run(host: &Host, arguments: &[&str]) -> Result<Output> {
    let output = process::output(&mut host.overlay_command(&[&["doctor"], arguments].concat())?)?;
    let code = output.status.code();
    ensure!(code == Some(0) || code == Some(FAILED), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(output)
}

/// The whole report, as JSON.
pub fn report(host: &Host, arguments: &[&str]) -> Result<Value> {
    let output = run(host, &[&["-o", "json"], arguments].concat())?;
    let report: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let has_problems = report["problems"].as_u64().context("no count of problems")? > 0;
    ensure!(has_problems != output.status.success(), "exit code and findings differ: {report}");
    Ok(report)
}

/// What people read.
pub fn text(host: &Host, arguments: &[&str]) -> Result<String> {
    Ok(String::from_utf8(run(host, arguments)?.stdout)?)
}

/// The findings, without what other tests are about.
pub fn findings(host: &Host, arguments: &[&str]) -> Result<Vec<Value>> {
    let report = report(host, arguments)?;
    let all = report["findings"].as_array().context("no findings")?;
    let is_ours =
        |finding: &&Value| finding["check"].as_str().is_some_and(|check| !OF_OTHERS.contains(&check));
    Ok(all.iter().filter(is_ours).cloned().collect())
}

/// The one finding of a check, which has to be there, and no other.
pub fn finds(host: &Host, check: &str, severity: &str) -> Result<Value> {
    let found = findings(host, &[])?;
    let [one] = &found[..] else { anyhow::bail!("{} findings: {found:#?}", found.len()) };
    ensure!(one["check"] == check && one["severity"] == severity, "{one:#}");
    ensure!(one["why"].as_str().is_some_and(|why| !why.is_empty()), "no word on why: {one:#}");
    Ok(one.clone())
}

/// There has to be no finding at all.
pub fn is_sound(host: &Host) -> Result<()> {
    let found = findings(host, &[])?;
    ensure!(found.is_empty(), "{found:#?}");
    Ok(())
}

/// Types the commands that a finding names, on the host; nothing may be wrong afterwards.
pub fn mend(host: &Host, finding: &Value) -> Result<()> {
    type_commands(host, finding)?;
    is_sound(host).with_context(|| format!("after {}", finding["mend"]))
}

/// Types the commands that a finding names, on the host, in a directory that goes afterwards.
pub fn type_commands(host: &Host, finding: &Value) -> Result<()> {
    let commands = finding["mend"].as_array().context("no commands")?;
    ensure!(!commands.is_empty(), "nothing mends it: {finding:#}");
    let path = env::var("PATH").unwrap_or_default();
    let binary = binary()?;
    let beside = binary.parent().context("no directory")?.canonicalize()?;
    let directory = env::temp_dir().join(format!("doctor-{}", host.netns.name()));
    std::fs::create_dir_all(&directory)?;
    for command in commands {
        let command = command.as_str().context("no text")?;
        let mut shell = host.netns.command("sh");
        shell.args(["-e", "-c", command]).current_dir(&directory);
        shell.env("PATH", format!("{}:{path}", beside.display()));
        process::checked(&mut shell)?;
    }
    Ok(std::fs::remove_dir_all(&directory)?)
}

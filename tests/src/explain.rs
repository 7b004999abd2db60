//! Asking `overlay explain` about frames, and comparing what it says with what the attached programs then do.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{
    bench::{Bench, Hook},
    frame::Network,
    maps,
    testrun::{TC_DROP, TC_NEXT, TC_REDIRECT},
};

/// A frame, and what it comes to: `redirected`, `answered`, `copied`, `passed`, or why it is dropped.
pub struct Case<'a> {
    /// What is particular about it.
    pub what: &'a str,
    /// Where it comes from.
    pub hook: Hook<'a>,
    /// Its bytes.
    pub frame: Vec<u8>,
    /// What becomes of it.
    pub fate: &'a str,
}

/// One line of a table.
#[must_use]
pub fn case<'a>(what: &'a str, hook: Hook<'a>, frame: Vec<u8>, fate: &'a str) -> Case<'a> {
    Case { what, hook, frame, fate }
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |digits, byte| digits + &format!("{byte:02x}"))
}

/// The words of `overlay` that ask about a frame.
pub fn question<N>(bench: &Bench<'_, N>, hook: Hook<'_>, frame: &[u8], words: &[&str]) -> Result<String> {
    let bytes = hex(frame);
    let place = match hook {
        Hook::Port(device) => ["--port", device],
        Hook::Uplink(device) => ["--from-uplink", device],
        other => anyhow::bail!("nothing explains {other:?}"),
    };
    bench.lab.host(1).overlay(&[words, &["explain"], &place[..], &["--hex", &bytes]].concat())
}

/// What `overlay explain` says of a frame; it may not change anything.
pub fn explained<N>(bench: &Bench<'_, N>, hook: Hook<'_>, frame: &[u8]) -> Result<Value> {
    let before = maps::contents(&bench.instance)?;
    let said = question(bench, hook, frame, &["-o", "json"])?;
    let after = maps::contents(&bench.instance)?;
    if let Some(difference) = maps::difference(&before, &after) {
        anyhow::bail!("explaining changed {difference}");
    }
    serde_json::from_str(&said).with_context(|| said)
}

/// Compares what is said with what is expected, and with what the attached program then does.
pub fn check<N: Network>(bench: &Bench<'_, N>, case: &Case<'_>) -> Result<()> {
    let said = explained(bench, case.hook, &case.frame)?;
    let (outcome, drops) = bench.run(case.hook, &case.frame)?;
    let reason = drops.first().map(|(reason, _)| reason.name());
    let verdict = match (outcome.verdict, reason) {
        (TC_REDIRECT, _) => "redirected",
        (TC_NEXT, _) => "passed",
        (TC_DROP, Some(_)) => "dropped",
        (TC_DROP, None) => "copied",
        (other, _) => anyhow::bail!("verdict {other}"),
    };
    ensure!(said["verdict"] == verdict, "{verdict}, and said is {said:#}");
    ensure!(said["reason"]["name"].as_str() == reason, "{reason:?}, and said is {said:#}");
    if outcome.verdict == TC_REDIRECT {
        let bytes = hex(&outcome.frame);
        ensure!(said["packet"]["bytes"] == bytes, "{bytes} came out, and said is {said:#}");
    } else {
        ensure!(said["packet"].is_null(), "{said:#}");
    }
    let fate = match (verdict, reason) {
        ("redirected", Some(_)) => "answered",
        (_, Some(reason)) => reason,
        (verdict, None) => verdict,
    };
    ensure!(fate == case.fate, "{fate} instead of {}: {said:#}", case.fate);
    Ok(())
}

/// Checks all of a table, and fails with those that are wrong.
pub fn check_all<N: Network>(bench: &Bench<'_, N>, cases: &[Case<'_>]) -> Result<()> {
    let mut wrong = Vec::new();
    for case in cases {
        if let Err(error) = check(bench, case) {
            wrong.push(format!("{}: {error:#}", case.what));
        }
    }
    ensure!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    Ok(())
}

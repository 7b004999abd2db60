//! What a check finds, and the commands that mend it.

use std::path::PathBuf;

use overlay_common::{IfIndex, maps::device::DeviceName};
use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Packets are lost, or will be.
    Problem,
    /// Slower or less safe than it could be.
    Advice,
    /// As it should be.
    Fine,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check, in a word or two: stable, unlike the text.
    pub check: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The device, address, segment or file that it is about.
    pub about: String,
    /// What was found, in one line.
    pub what: String,
    /// Why it matters; empty where nothing is to be mended.
    pub why: String,
    /// The commands that mend it, in this order.
    pub mend: Vec<String>,
    /// Whether `--fix` mends it.
    pub fixable: bool,
    #[serde(skip)]
    pub(super) fix: Option<Fix>,
}

/// What `--fix` does: it changes only what is ours, or a setting of a device that can be set back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fix {
    /// Repairs the instance, as every command does.
    Repair,
    /// Turns a feature of a device on, by the kernel's name of it.
    TurnOn(DeviceName, &'static str),
    /// Gives a device another MTU.
    Mtu(IfIndex, u32),
    /// Removes a file of ours.
    Unlink(PathBuf),
    /// Removes a device of ours.
    Delete(IfIndex),
    /// Takes the instance down that was cut off while it came up.
    Down(String),
}

impl Finding {
    /// Something that packets are lost by, about `about`.
    pub(super) fn problem(check: &'static str, about: impl ToString, what: impl Into<String>) -> Self {
        Self::new(Severity::Problem, check, about, what)
    }

    /// Something that could be better.
    pub(super) fn advice(check: &'static str, about: impl ToString, what: impl Into<String>) -> Self {
        Self::new(Severity::Advice, check, about, what)
    }

    /// Something that is as it should be.
    pub(super) fn fine(check: &'static str, about: impl ToString, what: impl Into<String>) -> Self {
        Self::new(Severity::Fine, check, about, what)
    }

    #[expect(clippy::needless_pass_by_value, reason = "callers name what they have, of whatever type")]
    fn new(severity: Severity, check: &'static str, about: impl ToString, what: impl Into<String>) -> Self {
        Self {
            check,
            severity,
            about: about.to_string(),
            what: what.into(),
            why: String::new(),
            mend: Vec::new(),
            fixable: false,
            fix: None,
        }
    }

    /// Why it matters.
    #[must_use]
    pub(super) fn why(self, why: impl Into<String>) -> Self {
        Self { why: why.into(), ..self }
    }

    /// One more command that mends it.
    #[must_use]
    pub(super) fn mend(mut self, command: impl Into<String>) -> Self {
        self.mend.push(command.into());
        self
    }

    /// What `--fix` does about it.
    #[must_use]
    pub(super) fn fix(self, fix: Fix) -> Self {
        Self { fixable: true, fix: Some(fix), ..self }
    }
}

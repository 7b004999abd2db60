//! What this process says to people. It goes on where nobody listens any more.

use std::{
    fmt::Display,
    io::{self, Write as _},
};

use crate::log;

/// Says a line that is not what was asked for: on standard error, or in the log.
pub(crate) fn aside(line: impl Display) {
    if log::is_on() {
        tracing::info!("{line}");
    } else {
        let _ = writeln!(io::stderr(), "overlay: {line}");
    }
}

/// Says why this process fails: on standard error, or in the log.
pub(crate) fn failure(line: impl Display) {
    if log::is_on() {
        tracing::error!("{line}");
    } else {
        aside(line);
    }
}

/// Says a line that is: on standard output.
pub(crate) fn line(line: impl Display) {
    let _ = writeln!(io::stdout(), "overlay: {line}");
}

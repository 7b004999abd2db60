//! What this process says to people. It goes on where nobody listens any more.

use std::{
    fmt::Display,
    io::{self, Write as _},
};

/// Says a line that is not what was asked for: on standard error.
pub(crate) fn aside(line: impl Display) {
    let _ = writeln!(io::stderr(), "overlay: {line}");
}

/// Says a line that is: on standard output.
pub(crate) fn line(line: impl Display) {
    let _ = writeln!(io::stdout(), "overlay: {line}");
}

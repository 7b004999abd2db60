//! `overlay`: the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    overlay_userspace::cli::main()
}

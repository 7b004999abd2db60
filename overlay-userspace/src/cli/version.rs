//! `overlay version`.

use nix::sys::utsname::uname;
use overlay_common::maps::config;
use serde::Serialize;

use super::{Session, output::Table};
use crate::{
    error::{Context as _, Result},
    preflight,
};

/// What `overlay version` says.
#[derive(Serialize)]
struct About {
    version: &'static str,
    /// The layout of the maps: instances of another one are not touched.
    schema: u32,
    kernel: Kernel,
}

#[derive(Serialize)]
struct Kernel {
    release: String,
    machine: String,
    features: Vec<Feature>,
}

/// What the kernel can do; nobody knows without the privileges to ask.
#[derive(Serialize)]
struct Feature {
    name: &'static str,
    /// The version of Linux that brought it.
    since: &'static str,
    present: Option<bool>,
    needed: bool,
}

/// Prints what this is, and what the kernel has for it.
pub(super) fn run(session: &Session) -> Result<()> {
    let system = uname().context(|| "cannot ask for the kernel's version")?;
    let text = |text: &std::ffi::OsStr| text.to_string_lossy().into_owned();
    let about = About {
        version: env!("CARGO_PKG_VERSION"),
        schema: config::SCHEMA,
        kernel: Kernel {
            release: text(system.release()),
            machine: text(system.machine()),
            features: features(),
        },
    };
    session.output.print(&about, table)
}

fn features() -> Vec<Feature> {
    let feature =
        |preflight::Feature { name, since, present, needed }| Feature { name, since, present, needed };
    preflight::host_features().map(feature).collect()
}

fn table(about: &About) -> Table {
    let kernel = &about.kernel;
    let mut table = Table::new(["overlay", about.version, ""]);
    table.row(["maps".to_owned(), format!("layout {}", about.schema), String::new()]);
    table.row(["Linux".to_owned(), kernel.release.clone(), kernel.machine.clone()]);
    for Feature { name, since, present, needed } in &kernel.features {
        let state = match (present, needed) {
            (Some(true), _) => "yes".to_owned(),
            (Some(false), true) => format!("no: needed, came with Linux {since}"),
            (Some(false), false) => format!("no: done without, came with Linux {since}"),
            (None, _) => "unknown: run as root".to_owned(),
        };
        table.row([String::new(), (*name).to_owned(), state]);
    }
    table
}

//! Having the program `fdb_edit` put entries and remove them.

use overlay_common::maps::fdb::{Placed, Placing};

use crate::{
    error::{Error, Result},
    instance::Instance,
    maps::fdb::Editor,
    progress::Progress,
};

/// How often it is tried to put one station somewhere. A try fails if another CPU changes the same within nanoseconds, or
/// where the next few that wait to age are forgotten already.
const TRIES: u32 = 4096;

/// What was done of a request before it failed.
#[derive(Debug)]
pub(super) struct Incomplete {
    /// How many of the first placings stand.
    pub(super) done: usize,
    /// Why the next one does not.
    pub(super) error: Error,
}

impl From<Incomplete> for Error {
    fn from(incomplete: Incomplete) -> Self {
        incomplete.error
    }
}

/// Puts entries and removes them, in order.
pub(super) fn edit(instance: &Instance, placings: &[Placing]) -> Result<(), Incomplete> {
    let mut done = 0;
    run(instance, placings, &mut done).map_err(|error| Incomplete { done, error })
}

fn run(instance: &Instance, placings: &[Placing], done: &mut usize) -> Result<()> {
    let editor = Editor::open(instance)?;
    let mut progress = Progress::of("stations", placings.len());
    let mut tries = 0;
    while *done < placings.len() {
        let report = editor.run(&placings[*done..])?;
        *done += report.done();
        progress.at(*done);
        tries = if report.done() > 0 { 0 } else { tries + 1 };
        match report.next() {
            Placed::Full => return Err(full()),
            Placed::Done | Placed::Again if tries < TRIES => {}
            Placed::Done | Placed::Again => return Err(crowded()),
        }
    }
    Ok(())
}

fn full() -> Error {
    Error::Failed("the FDB is full; `overlay fdb del` makes room, `up --fdb-size` sets it".to_owned())
}

fn crowded() -> Error {
    Error::Failed(
        "the FDB is full, and stations that are learned take each place that gets free; `vni set --learn-limit` bounds them"
            .to_owned(),
    )
}

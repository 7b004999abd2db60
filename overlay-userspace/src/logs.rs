//! What the programs log, on this process's standard error.

use aya_log::EbpfLogger;
use log::{LevelFilter, Log, Metadata, Record};
use tokio::{io::unix::AsyncFd, task::JoinHandle};

use crate::{
    datapath,
    error::{Context as _, Result},
    instance::Instance,
    say,
};

/// Prints records of the programs.
struct Stderr {
    most: LevelFilter,
}

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.most
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            say::aside(record.args());
        }
    }

    fn flush(&self) {}
}

/// Stops printing when dropped.
pub struct Logs {
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Logs {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Prints what the TC programs log from now on; with `verbose`, also what is no trouble.
///
/// # Errors
///
/// Fails if the programs' log cannot be read.
pub fn follow(instance: &Instance, verbose: bool) -> Result<Logs> {
    let most = if verbose { LevelFilter::Trace } else { LevelFilter::Warn };
    let program = datapath::classifier(instance, datapath::FROM_PORT)?;
    let id = program.info().context(|| "cannot find the programs' log")?.id();
    let logger = EbpfLogger::init_from_id_with_logger(id, Stderr { most })
        .context(|| "cannot read the programs' log")?;
    // SAFETY: the logger owns its descriptor, and keeps it as long as it lives.
    let logger = unsafe { AsyncFd::register(logger) }.context(|| "cannot follow the programs' log")?;
    Ok(Logs { tasks: vec![tokio::spawn(print(logger))] })
}

async fn print(mut logger: AsyncFd<EbpfLogger<Stderr>>) {
    while let Ok(mut ready) = logger.readable_mut().await {
        ready.get_inner_mut().flush();
        ready.clear_ready();
    }
}

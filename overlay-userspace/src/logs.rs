//! What the programs log, in the log of this process.

use aya_log::EbpfLogger;
use log::{Level, Log, Metadata, Record};
use tokio::{io::unix::AsyncFd, task::JoinHandle};

use crate::{
    datapath,
    error::{Context as _, Result},
    instance::Instance,
    log::PROGRAMS,
};

/// Hands records of the programs to the log of this process.
struct Forward;

impl Log for Forward {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let text = record.args();
        match record.level() {
            Level::Error => tracing::error!(target: PROGRAMS, "{text}"),
            Level::Warn => tracing::warn!(target: PROGRAMS, "{text}"),
            Level::Info => tracing::info!(target: PROGRAMS, "{text}"),
            Level::Debug => tracing::debug!(target: PROGRAMS, "{text}"),
            Level::Trace => tracing::trace!(target: PROGRAMS, "{text}"),
        }
    }

    fn flush(&self) {}
}

/// Stops when dropped.
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

/// Logs what the TC programs do from now on.
///
/// # Errors
///
/// Fails if the programs' log cannot be read.
pub fn follow(instance: &Instance) -> Result<Logs> {
    let program = datapath::classifier(instance, datapath::FROM_PORT)?;
    let id = program.info().context(|| "cannot find the programs' log")?.id();
    let logger =
        EbpfLogger::init_from_id_with_logger(id, Forward).context(|| "cannot read the programs' log")?;
    // SAFETY: the logger owns its descriptor, and keeps it as long as it lives.
    let logger = unsafe { AsyncFd::register(logger) }.context(|| "cannot follow the programs' log")?;
    Ok(Logs { tasks: vec![tokio::spawn(print(logger))] })
}

async fn print(mut logger: AsyncFd<EbpfLogger<Forward>>) {
    while let Ok(mut ready) = logger.readable_mut().await {
        ready.get_inner_mut().flush();
        ready.clear_ready();
    }
}

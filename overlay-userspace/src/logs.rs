//! What the programs log and tell, in the log of this process.

use aya_log::EbpfLogger;
use log::{Level, Log, Metadata, Record};
use overlay_common::{Vni, maps::event::Kind};
use tokio::{io::unix::AsyncFd, task::JoinHandle};

use crate::{
    datapath,
    error::{Context as _, Result},
    instance::Instance,
    listen::{Ear, Heard, Wanted},
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

/// Logs from now on what the programs say of trouble; where the log takes it, also what is none: stations that come and move, and
/// neighbours. Where nobody else can listen for that, it is said, and all else goes on. The instance is locked.
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
    let mut tasks = vec![tokio::spawn(print(logger))];
    if tracing::enabled!(target: PROGRAMS, tracing::Level::INFO) {
        let kinds = vec![Kind::Learned, Kind::Moved, Kind::Neighbour];
        match Ear::open(instance, Wanted { kinds, vni: None, bytes: 0 }) {
            Ok(ear) => tasks.push(tokio::spawn(tell(ear))),
            Err(error) => tracing::warn!("{error}"),
        }
    }
    Ok(Logs { tasks })
}

async fn print(mut logger: AsyncFd<EbpfLogger<Forward>>) {
    while let Ok(mut ready) = logger.readable_mut().await {
        ready.get_inner_mut().flush();
        ready.clear_ready();
    }
}

/// Ends with the instance.
async fn tell(mut ear: Ear) {
    while let Ok(Some(heard)) = ear.hear().await {
        for line in heard.iter().filter_map(line) {
            tracing::info!(target: PROGRAMS, "{line}");
        }
    }
}

fn line(Heard { event, .. }: &Heard) -> Option<String> {
    let (vni, mac) = (Vni::new(event.vni)?, event.mac);
    let what = match Kind::from_code(event.kind)? {
        Kind::Neighbour => format!("{} is {mac} now", event.address()),
        other => format!("{mac} {}", other.name()),
    };
    Some(format!("VNI {vni}: {what}"))
}

//! `overlay demo`: two hosts, two workloads and an overlay between them, in network namespaces of their own.

mod capture;
mod decode;
mod lab;
mod page;
mod ping;
mod shell;
mod summary;
mod transfer;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task,
};

use crate::{
    error::{Context as _, Error, Result},
    netns, preflight,
};
use capture::Capture;
use lab::{Lab, UPLINK};
use page::Page;
use summary::Summary;

/// How long the TCP transfer lasts.
const TRANSFER: Duration = Duration::from_secs(2);

/// Shows two hosts talk, and cleans up whatever comes.
///
/// # Errors
///
/// Fails if a step does, if anything sent across did not arrive, and when interrupted.
pub async fn run() -> Result<()> {
    preflight::capabilities()?;
    let mut signals = Signals::new()?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut story = {
        let stop = Arc::clone(&stop);
        // Commands run one after the other and are never cut short: what they made is known, and can be cleaned up.
        task::spawn_blocking(move || tell(stop))
    };
    let outcome = tokio::select! {
        outcome = &mut story => outcome,
        () = signals.any() => {
            stop.store(true, Ordering::Relaxed);
            story.await
        }
    };
    outcome.context(|| "the demo broke off")?
}

/// The signals that end the demo early.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        let wait = |kind| signal(kind).context(|| "cannot wait for signals");
        Ok(Self {
            interrupt: wait(SignalKind::interrupt())?,
            terminate: wait(SignalKind::terminate())?,
            hang_up: wait(SignalKind::hangup())?,
        })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}

/// The whole story; `stop` ends it at the next step.
fn tell(stop: Arc<AtomicBool>) -> Result<()> {
    let mut lab = Lab::new(Page::new(), stop)?;
    let told = lab.build().and_then(|()| talk(&lab));
    let cleaned = lab.shell.clean();
    match (told, cleaned) {
        (Ok(summary), cleaned) => {
            cleaned?;
            lab.shell.check()?;
            summary.verdict()
        }
        (Err(error), Ok(())) => Err(error),
        (Err(error), Err(left)) => Err(Error::Failed(format!("{error}; and then, in the clean-up, {left}"))),
    }
}

/// What happens across the overlay.
fn talk(lab: &Lab) -> Result<Summary> {
    let (shell, page) = (&lab.shell, lab.shell.page());
    page.heading("Ping across");
    let capture = netns::inside(lab.host(0), || Capture::open(UPLINK))?;
    let ping = ping::run(shell)?;
    let connection = transfer::connect(lab);
    shell.check()?;
    shell.show(&["overlay -n $H1 fdb show --vni 100"])?;

    page.heading("One packet on host1's uplink, layer by layer");
    let layers = capture.first(decode::layers)?.unwrap_or_default();
    drop(capture);
    for layer in &layers {
        page.layer(layer);
    }
    if layers.is_empty() {
        page.text("No packet was seen in the tunnel.");
    }

    page.heading("TCP across");
    let transfer = connection.and_then(|connection| connection.run(TRANSFER, shell.stop()));
    shell.check()?;
    match &transfer {
        Ok(transfer) => page.text(&format!("{transfer}\n(all in memory: no wire, no network card)")),
        Err(error) => page.text(&error.to_string()),
    }

    page.heading("What the programs counted");
    shell.show(&["overlay -n $H1 stats"])?;
    shell.show(&["overlay -n $H2 stats"])?;
    let summary = Summary::new(lab, ping, !layers.is_empty(), transfer)?;
    if summary.dropped() > 0 {
        shell.show(&["overlay -n $H1 stats --drops"])?;
        shell.show(&["overlay -n $H2 stats --drops"])?;
    }
    page.heading("What happened");
    summary.print(page);
    Ok(summary)
}

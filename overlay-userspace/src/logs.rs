//! What the programs tell while the agent runs, on this process's standard error.

use overlay_common::{Vni, maps::event::Kind};
use tokio::task::JoinHandle;

use crate::{
    instance::Instance,
    listen::{Ear, Heard, Wanted},
    say,
};

/// Stops printing when dropped.
pub struct Logs {
    task: Option<JoinHandle<()>>,
}

impl Drop for Logs {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Prints what the programs tell from now on about trouble; with `verbose`, also what is none. The instance is locked. Where
/// nobody else can listen, that is said, and all else goes on.
pub fn follow(instance: &Instance, verbose: bool) -> Logs {
    let kinds = if verbose {
        vec![Kind::Flaps, Kind::Learned, Kind::Moved, Kind::Neighbour]
    } else {
        vec![Kind::Flaps]
    };
    match Ear::open(instance, Wanted { kinds, vni: None, bytes: 0 }) {
        Ok(ear) => Logs { task: Some(tokio::spawn(print(ear))) },
        Err(error) => {
            say::aside(error);
            Logs { task: None }
        }
    }
}

/// Ends with the instance.
async fn print(mut ear: Ear) {
    while let Ok(Some(heard)) = ear.hear().await {
        for line in heard.iter().filter_map(line) {
            say::aside(line);
        }
    }
}

fn line(Heard { event, .. }: &Heard) -> Option<String> {
    let (vni, mac) = (Vni::new(event.vni)?, event.mac);
    let what = match Kind::from_code(event.kind)? {
        Kind::Flaps => format!("{mac} flaps: it moves too often"),
        Kind::Neighbour => format!("{} is {mac} now", event.address()),
        other => format!("{mac} {}", other.name()),
    };
    Some(format!("VNI {vni}: {what}"))
}

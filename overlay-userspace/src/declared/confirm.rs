//! Changes that are rolled back unless somebody says that they are good: `overlay apply --confirm`, `overlay confirm`.
//!
//! What there was is noted under `/run/overlay`, with the time by which it is to be so again. A process of its own, this
//! binary run anew in a session of its own, waits for that; should somebody end it, the next command or the agent rolls back.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        inotify::{AddWatchFlags, InitFlags, Inotify},
        time::TimeValLike as _,
    },
    time::{ClockId, clock_gettime},
    unistd::setsid,
};
use serde::{Deserialize, Serialize};

use super::{Declared, restore, state::State, write};
use crate::{
    down,
    error::{Context as _, Error, Result},
    instance::Instance,
    netlink::Netlink,
    repair::repair,
    say,
};

/// Where the instances note what is to be confirmed, and their agents that they run. It does not outlive a reboot, and neither do they.
pub(crate) const ROOT: &str = "/run/overlay";

/// The command by which this binary waits; people have no use for it.
pub const WAIT: &str = "await-confirmation";

/// How long the process that waits has the time to itself, before others roll back for it.
const OTHERS: u64 = 2_000_000_000;

/// What is to be confirmed.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    /// Until when, in nanoseconds since the machine was started.
    deadline: u64,
    /// The configuration that there was; `None`: the instance was not up.
    previous: Option<String>,
}

/// Changes that wait to be confirmed. Called off when dropped.
#[derive(Debug)]
pub(crate) struct Pending {
    name: String,
}

impl Pending {
    /// They wait from now on.
    pub(crate) fn leave(self) {
        std::mem::forget(self);
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        forget(&self.name);
    }
}

fn path(name: &str) -> PathBuf {
    Path::new(ROOT).join(name).join("unconfirmed.json")
}

fn now() -> Result<u64> {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).context(|| "cannot read the clock")?;
    u64::try_from(time.num_nanoseconds()).context(|| "the clock is before its beginning")
}

fn read(name: &str) -> Option<Note> {
    serde_json::from_slice(&fs::read(path(name)).ok()?).ok()
}

/// Refuses to go on while changes of the instance wait to be confirmed.
///
/// # Errors
///
/// [`Error::Failed`] if some do.
pub(crate) fn refuse_pending(name: &str) -> Result<()> {
    let Some(note) = read(name) else { return Ok(()) };
    let left = note.deadline.saturating_sub(now()?).div_ceil(1_000_000_000);
    Err(Error::Failed(format!(
        "what was applied before waits to be confirmed, and is rolled back in {left}s otherwise; `overlay confirm` keeps it"
    )))
}

/// Has an instance, which is locked, be as it was before after `time`, unless that is called off.
pub(crate) fn begin(name: &str, before: Option<&State>, time: Duration) -> Result<Pending> {
    let directory = Path::new(ROOT).join(name);
    let what = || format!("cannot note in {} what there was", directory.display());
    let previous = before.map(write::toml).transpose()?;
    let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let note = Note { deadline: now()?.saturating_add(nanoseconds), previous };
    let pending = Pending { name: name.to_owned() };
    fs::create_dir_all(&directory).context(what)?;
    // At no time is a part of it there.
    let part = directory.join("unconfirmed.part");
    fs::write(&part, serde_json::to_vec(&note).context(what)?).context(what)?;
    fs::rename(&part, path(name)).context(what)?;
    wait_apart(name)?;
    Ok(pending)
}

/// Starts the process that waits, and sees to it that it does.
fn wait_apart(name: &str) -> Result<()> {
    let what = || "cannot start the process that waits for `overlay confirm`";
    let mut child = Command::new("/proc/self/exe")
        .args(["--instance", name, WAIT])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context(what)?;
    let mut said = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut said).context(what)?;
    }
    if said.trim().is_empty() { Err(Error::Failed(what().to_owned())) } else { Ok(()) }
}

/// Waits until the time is over, and rolls back then, or until that is called off.
///
/// # Errors
///
/// Fails if the kernel does, or rolling back.
pub async fn wait(name: &str) -> Result<()> {
    // Whoever asked may go, with the terminal, and the changes may be what took it away.
    let _ = setsid();
    let what = || "cannot wait for a file";
    let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).context(what)?;
    let changes = AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_DELETE_SELF;
    watch.add_watch(&Path::new(ROOT).join(name), changes).context(what)?;
    let Some(first) = read(name) else { return Ok(()) };
    say::line("waiting");
    loop {
        match read(name) {
            Some(note) if note.deadline == first.deadline => {}
            _ => return Ok(()),
        }
        let left = first.deadline.saturating_sub(now()?) / 1_000_000;
        if left == 0 {
            return roll_back(name).await;
        }
        let timeout = PollTimeout::try_from(left + 1).unwrap_or(PollTimeout::MAX);
        let _ = poll(&mut [PollFd::new(watch.as_fd(), PollFlags::POLLIN)], timeout);
        let _ = watch.read_events();
    }
}

/// Rolls back what nobody confirmed in time, where the process that waited is gone.
///
/// # Errors
///
/// Fails if rolling back does.
pub async fn settle(name: &str) -> Result<()> {
    if !path(name).exists() {
        return Ok(());
    }
    match read(name) {
        Some(note) if now()? > note.deadline.saturating_add(OTHERS) => {
            say::aside("what was applied was not confirmed in time, and is rolled back");
            roll_back(name).await
        }
        _ => Ok(()),
    }
}

/// Makes the instance what it was.
async fn roll_back(name: &str) -> Result<()> {
    let Some(instance) = Instance::find(name)? else {
        forget(name);
        return Ok(());
    };
    // Somebody may have been faster.
    let Some(note) = read(name).filter(|note| now().is_ok_and(|now| now >= note.deadline)) else {
        return Ok(());
    };
    let Some(previous) = note.previous else { return down::take_down(instance).await };
    let netlink = Netlink::connect()?;
    repair(&instance, &netlink).await?;
    let before = Declared::parse("what there was", previous)?;
    restore(&instance, &netlink, before.state()).await?;
    forget(name);
    Ok(())
}

/// Keeps what was applied.
///
/// # Errors
///
/// [`Error::Missing`] if nothing waits to be confirmed.
pub fn confirm(name: &str) -> Result<()> {
    let _instance = Instance::find(name)?;
    if read(name).is_none() {
        return Err(Error::Missing(
            "nothing waits to be confirmed: it was already, or was rolled back".to_owned(),
        ));
    }
    forget(name);
    Ok(())
}

/// Forgets what is to be confirmed.
pub(crate) fn forget(name: &str) {
    let _ = fs::remove_dir_all(Path::new(ROOT).join(name));
    // Other instances may have some.
    let _ = fs::remove_dir(ROOT);
}

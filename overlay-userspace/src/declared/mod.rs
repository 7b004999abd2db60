//! Declared state: a file says what an instance shall be, and what differs is changed. `overlay apply`, `export`, `confirm`.
//!
//! A file is read ([`file`]) and understood ([`meaning`]) as a [`State`]; an instance that is up is read as one, too
//! ([`current`]). The [`Diff`] of both is what there is to do ([`perform`]). What an instance learns is no part of a state.

mod check;
pub mod confirm;
mod current;
mod diff;
mod fault;
pub mod file;
mod interruption;
mod lines;
mod meaning;
mod parse;
mod perform;
pub mod schema;
mod settings;
pub mod state;
mod value;
mod vtep;
mod write;

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};

pub use current::read;
pub use diff::{Delta, Diff};
pub use lines::{Action, Line, lines};
pub use meaning::Agent;
pub use write::{file, toml};

use self::{
    fault::Text,
    interruption::Interruption,
    meaning::{Meaning, Places},
    state::State,
};
use crate::{
    down,
    error::{Context as _, Error, Result},
    instance::Instance,
    netlink::Netlink,
    preflight,
    repair::repair,
    say, up,
};

/// A file that was read and understood.
#[derive(Clone, Debug)]
pub struct Declared {
    text: Text,
    meaning: Meaning,
    /// `None`: it is no file that could be read again.
    path: Option<PathBuf>,
}

/// How a file is applied.
#[derive(Clone, Copy, Debug, Default)]
pub struct How {
    /// Only say what differs.
    pub dry_run: bool,
    /// Roll back after so long, unless that is called off (`overlay confirm`).
    pub confirm: Option<Duration>,
    /// SIGHUP does not ask for the end: to an agent it means something else.
    pub outlives_hangup: bool,
}

impl Declared {
    /// Reads a file; `-` is standard input.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] if it cannot be read; [`Error::Usage`] if it makes no sense, saying where.
    pub fn open(path: &Path) -> Result<Self> {
        if path == Path::new("-") {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text).context(|| "cannot read standard input")?;
            return Self::parse("standard input", text);
        }
        let declared = Self::parse(&path.display().to_string(), contents(path)?)?;
        Ok(Self { path: Some(path.to_owned()), ..declared })
    }

    /// Understands a text that is called `name`.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] if it makes no sense, saying where.
    pub fn parse(name: &str, text: String) -> Result<Self> {
        let text = Text { name: name.to_owned(), text };
        let file = parse::file(&text)?;
        let meaning = meaning::of(&file).map_err(|fault| text.error(&fault))?;
        Ok(Self { text, meaning, path: None })
    }

    /// What it says.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.meaning.state
    }

    /// What it says to the agent.
    #[must_use]
    pub const fn agent(&self) -> &Agent {
        &self.meaning.agent
    }

    const fn text(&self) -> &Text {
        &self.text
    }

    const fn places(&self) -> &Places {
        &self.meaning.places
    }

    /// Refuses a file that somebody changed since it was read.
    fn refuse_changed(&self) -> Result<()> {
        match &self.path {
            Some(path) if path.is_file() && contents(path)? != self.text.text => Err(Error::Failed(format!(
                "{} was changed while it was being applied; nothing was done, apply it again",
                self.text.name
            ))),
            _ => Ok(()),
        }
    }
}

fn contents(path: &Path) -> Result<String> {
    fs::read_to_string(path).context(|| format!("cannot read {}", path.display()))
}

/// What an instance was told.
///
/// # Errors
///
/// [`Error::Failed`] if it is not up.
pub async fn export(instance: &Instance, netlink: &Netlink) -> Result<State> {
    read(instance, netlink).await
}

/// Makes an instance what a file says, bringing it up if need be; what differed.
///
/// The instance is locked all the while, so that no other command sees a part of it.
///
/// # Errors
///
/// With nothing changed if the file cannot be applied, and with everything as it was if a step fails.
pub async fn apply(name: &str, declared: &Declared, how: How) -> Result<Diff> {
    preflight::capabilities()?;
    let netlink = Netlink::connect()?;
    let Some(instance) = Instance::find(name)? else {
        return bring_up(name, &netlink, declared, how).await;
    };
    instance.check(&instance.config()?)?;
    confirm::refuse_pending(name)?;
    for repaired in repair(&instance, &netlink).await?.repairs {
        say::aside(repaired);
    }
    let before = read(&instance, &netlink).await?;
    let diff = Diff::between(&before, declared.state());
    check::check(declared, &netlink, Some(&instance), &diff).await?;
    declared.refuse_changed()?;
    if how.dry_run || diff.is_empty() {
        return Ok(diff);
    }
    let pending = how.confirm.map(|time| confirm::begin(name, Some(&before), time)).transpose()?;
    let mut interruption = Interruption::listen(!how.outlives_hangup)?;
    if let Err(error) = perform::perform(&instance, &netlink, &diff, &mut interruption).await {
        let error = declared.placed(None, rolled_back(&instance, &netlink, &before, error).await);
        drop(pending);
        return Err(error);
    }
    pending.into_iter().for_each(confirm::Pending::leave);
    Ok(diff)
}

/// Brings an instance up and fills it; nothing of it is left if a step fails.
async fn bring_up(name: &str, netlink: &Netlink, declared: &Declared, how: How) -> Result<Diff> {
    let diff = Diff::between(&State::default(), declared.state());
    check::check(declared, netlink, None, &diff).await?;
    declared.refuse_changed()?;
    let Some(vtep) = declared.state().vtep.as_ref().filter(|_| !how.dry_run) else { return Ok(diff) };
    let mut interruption = Interruption::listen(!how.outlives_hangup)?;
    let instance = up::bring_up(name, &vtep.settings()).await?;
    let filled = async {
        let pending = how.confirm.map(|time| confirm::begin(name, None, time)).transpose()?;
        let rest = Diff { vtep: None, ..diff.clone() };
        perform::perform(&instance, netlink, &rest, &mut interruption).await?;
        pending.into_iter().for_each(confirm::Pending::leave);
        Result::<()>::Ok(())
    };
    match filled.await {
        Ok(()) => Ok(diff),
        Err(error) => Err(match down::take_down(instance).await {
            Ok(()) => declared.placed(None, Error::Failed(format!("{error}; the instance is down again"))),
            Err(other) => Error::Failed(format!("{error}; and taking the instance down failed: {other}")),
        }),
    }
}

/// Makes a locked instance what it was before a step failed; that step's error.
async fn rolled_back(instance: &Instance, netlink: &Netlink, before: &State, error: Error) -> Error {
    match restore(instance, netlink, before).await {
        Ok(()) => Error::Failed(format!("{error}; all of it was rolled back")),
        Err(other) => Error::Failed(format!("{error}; and rolling back failed: {other}")),
    }
}

/// Makes a locked instance what it was, whatever it is.
pub(crate) async fn restore(instance: &Instance, netlink: &Netlink, before: &State) -> Result<()> {
    let now = read(instance, netlink).await?;
    let back = Diff::between(&now, before);
    perform::perform(instance, netlink, &back, &mut Interruption::ignored()).await
}

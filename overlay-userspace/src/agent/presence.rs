//! Whether an agent runs for an instance: it holds a lock on a file, which the kernel takes from it when it ends, however
//! it does.
//!
//! It is a POSIX lock, for the kernel tells whose it is. A process loses such a lock when it closes any descriptor of the
//! file, so an agent opens its file once.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::{
        fd::AsFd,
        unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
    time::SystemTime,
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, fcntl},
};

use crate::{
    declared::confirm::ROOT,
    error::{Context as _, Error, Result},
};

/// How often to try again where others remove the file or its directory meanwhile.
const TRIES: u32 = 100;

/// An agent that runs.
#[derive(Clone, Copy, Debug)]
pub struct Running {
    /// Its process; `None`: it is in a PID namespace that this one does not see.
    pub pid: Option<i32>,
    /// Since when.
    pub since: Option<SystemTime>,
}

/// The lock of the agent that this process is. Released when dropped.
#[derive(Debug)]
pub struct Presence {
    path: PathBuf,
    file: File,
}

impl Drop for Presence {
    fn drop(&mut self) {
        // Who took the instance down has removed it, and another may be there by now.
        if is_at(&self.file, &self.path) {
            remove(&self.path);
        }
    }
}

impl Presence {
    /// Makes this process the agent again, if somebody took the instance down and another one of that name is up.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] if that one has an agent already.
    pub(super) fn renew(&mut self, name: &str) -> Result<()> {
        if !is_at(&self.file, &self.path) {
            *self = claim(name)?;
        }
        Ok(())
    }
}

fn remove(path: &Path) {
    let _ = fs::remove_file(path);
    // Others may have something there.
    let _ = fs::remove_dir(ROOT);
}

/// Beside the directories that [`crate::declared::confirm`] has, which are called as instances; no instance has a dot in its name.
fn path(name: &str) -> PathBuf {
    Path::new(ROOT).join(format!("{name}.agent"))
}

/// Makes this process the agent of an instance.
///
/// # Errors
///
/// [`Error::Failed`] if there is one already.
pub fn claim(name: &str) -> Result<Presence> {
    let path = path(name);
    for _ in 0..TRIES {
        fs::create_dir_all(ROOT).context(|| format!("cannot make {ROOT}"))?;
        let file = match OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened.context(|| format!("cannot open {}", path.display()))?,
        };
        match fcntl(file.as_fd(), FcntlArg::F_SETLK(&whole_file())) {
            Ok(_) => {}
            Err(Errno::EACCES | Errno::EAGAIN) => return Err(refusal(name, holder(&file)?)),
            Err(error) => return Err(Error::failed(format!("cannot lock {}", path.display()), error)),
        }
        if is_at(&file, &path) {
            file.set_modified(SystemTime::now()).context(|| format!("cannot write {}", path.display()))?;
            return Ok(Presence { path, file });
        }
    }
    Err(Error::Failed(format!("{} does not stay where it is; somebody keeps removing it", path.display())))
}

fn refusal(name: &str, holder: Option<i32>) -> Error {
    let who = holder.map(|pid| format!(" (process {pid})")).unwrap_or_default();
    Error::Failed(format!("instance {name} has an agent already{who}; end that one first"))
}

/// The agent of an instance, if one runs.
///
/// # Errors
///
/// Fails if the kernel does not say.
pub fn look(name: &str) -> Result<Option<Running>> {
    let path = path(name);
    let Ok(file) = File::open(&path) else { return Ok(None) };
    let Some(pid) = holder(&file)? else { return Ok(None) };
    let since = file.metadata().and_then(|metadata| metadata.modified()).ok();
    Ok(Some(Running { pid: (pid > 0).then_some(pid), since }))
}

/// Removes the file of an instance that goes down, whether an agent was killed or still runs and is about to find out.
pub(crate) fn tidy(name: &str) {
    remove(&path(name));
}

/// The process that has a file locked.
fn holder(file: &File) -> Result<Option<i32>> {
    let mut lock = whole_file();
    fcntl(file.as_fd(), FcntlArg::F_GETLK(&mut lock)).context(|| "cannot ask for the agent's lock")?;
    Ok((i32::from(lock.l_type) != libc::F_UNLCK).then_some(lock.l_pid))
}

fn whole_file() -> libc::flock {
    #[expect(clippy::cast_possible_truncation, reason = "the constants of `fcntl.h` are small")]
    let (l_type, l_whence) = (libc::F_WRLCK as libc::c_short, libc::SEEK_SET as libc::c_short);
    libc::flock { l_type, l_whence, l_start: 0, l_len: 0, l_pid: 0 }
}

/// Whether a path still names an open file.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

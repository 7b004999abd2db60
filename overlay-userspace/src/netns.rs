//! Network namespaces.

use std::{
    collections::HashSet,
    fs::{self, File},
    mem,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
    thread,
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    sched::{CloneFlags, setns},
    sys::socket::{AddressFamily, SockFlag, SockType, socket},
};

use crate::error::{Context as _, Error, Result};

/// Where `ip netns` keeps its namespaces.
pub(crate) const NAMED: &str = "/run/netns";

/// Moves this thread into the named network namespace, and into no other namespace: what is pinned under `/sys/fs/bpf`
/// stays in sight.
///
/// # Errors
///
/// Fails if there is no such namespace, or without `CAP_SYS_ADMIN`.
pub fn enter(name: &str) -> Result<()> {
    let path = if name.contains('/') { PathBuf::from(name) } else { Path::new(NAMED).join(name) };
    let file = File::open(&path).map_err(|_| {
        Error::Failed(format!("no network namespace {name:?}; `ip netns list` shows those there are"))
    })?;
    setns(file, CloneFlags::CLONE_NEWNET).context(|| format!("cannot enter network namespace {name:?}"))
}

/// Does `work` on a thread of its own in the named network namespace. Sockets that it opens stay in that namespace.
///
/// # Errors
///
/// Fails as [`enter`] and `work` do, and if `work` panics.
pub fn inside<T: Send>(name: &str, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let thread = || enter(name).and_then(|()| work());
    thread::scope(|scope| scope.spawn(thread).join())
        .unwrap_or_else(|_| Err(Error::Failed(format!("work in network namespace {name:?} broke off"))))
}

/// Keeps other commands in this thread's network namespace from taking devices for an instance, until dropped: what this one
/// looked at holds until it has taken its own.
///
/// # Errors
///
/// Fails if the namespace cannot be locked.
pub fn claim_devices() -> Result<Flock<File>> {
    // One inode for each namespace, as long as somebody has it open.
    const HERE: &str = "/proc/thread-self/ns/net";
    let namespace = File::open(HERE).context(|| format!("cannot open {HERE}"))?;
    Flock::lock(namespace, FlockArg::LockExclusive)
        .map_err(|(_, error)| Error::failed("cannot lock this network namespace", error))
}

/// The kernel's cookie of this thread's network namespace, which is unique until reboot (`SO_NETNS_COOKIE`).
///
/// # Errors
///
/// Fails before Linux 5.14.
pub fn cookie() -> Result<u64> {
    let any = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None);
    any.and_then(|socket| cookie_of(&socket)).context(|| "cannot read the network namespace's cookie")
}

/// Whether a network namespace with that cookie has a name, or a process in it.
#[must_use]
pub(crate) fn is_in_sight(cookie: u64) -> bool {
    in_sight().any(|path| {
        path.to_str().is_some_and(|path| inside(path, self::cookie).is_ok_and(|found| found == cookie))
    })
}

/// The network namespaces that have a name or a process in them, each once, those with a name first.
pub(crate) fn in_sight() -> impl Iterator<Item = PathBuf> {
    let mut seen = HashSet::new();
    let mut is_new =
        move |path: &PathBuf| fs::metadata(path).is_ok_and(|file| seen.insert((file.dev(), file.ino())));
    list(Path::new(NAMED)).chain(threads()).filter(move |path| is_new(path))
}

/// The network namespaces of all threads.
fn threads() -> impl Iterator<Item = PathBuf> {
    list(Path::new("/proc"))
        .flat_map(|process| list(&process.join("task")))
        .map(|thread| thread.join("ns/net"))
}

/// What is in a directory; nothing, if it cannot be read.
fn list(directory: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|one| one.path())
}

fn cookie_of(socket: &OwnedFd) -> nix::Result<u64> {
    let mut cookie = 0u64;
    let mut len = libc::socklen_t::try_from(mem::size_of_val(&cookie)).unwrap_or(0);
    // SAFETY: the kernel writes at most `len` bytes to `cookie`.
    let code = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut len,
        )
    };
    Errno::result(code).map(|_| cookie)
}

//! Network namespaces with a name, which go away with their guard.
//!
//! Only the network namespace is ever entered. The mount namespace stays, and with it `/sys/fs/bpf`:
//! `ip netns exec` would mount a fresh `/sys`, and what is pinned in that is gone when it returns.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    mem::size_of,
    os::{fd::AsRawFd as _, unix::process::CommandExt as _},
    path::PathBuf,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::{
    sched::{CloneFlags, setns},
    unistd::Uid,
};

use crate::process;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A network namespace of its own, visible to `ip netns` and deleted on drop.
#[derive(Debug)]
pub struct NetNs {
    name: String,
    file: Arc<File>,
}

impl NetNs {
    /// Makes the namespace `ov<pid>-<n>-<label>`, with `lo` up and IPv6 addresses usable at once.
    pub fn new(label: &str) -> Result<Self> {
        ensure!(Uid::effective().is_root(), "making network namespaces takes root");
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ov{}-{number}-{label}", std::process::id());
        process::checked(Command::new("ip").args(["netns", "add", &name]))?;
        let path = PathBuf::from("/run/netns").join(&name);
        let file = File::open(&path).with_context(|| path.display().to_string())?;
        let netns = Self { name, file: Arc::new(file) };
        // An address in duplicate address detection cannot be used for a second or more.
        for setting in ["all/accept_dad", "default/accept_dad"] {
            netns.sysctl(&format!("ipv6/conf/{setting}"), "0")?;
        }
        netns.ip("link set lo up")?;
        Ok(netns)
    }

    /// The name, as `ip netns` and `overlay --netns` take it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `work` on a thread inside the namespace and waits for it.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                enter(&self.file)?;
                work()
            });
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
        .with_context(|| format!("in {}", self.name))
    }

    /// Starts `work` on a thread inside the namespace.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> JoinHandle<Result<T>> {
        let file = Arc::clone(&self.file);
        let name = self.name.clone();
        std::thread::spawn(move || {
            enter(&file)?;
            work().with_context(|| format!("in {name}"))
        })
    }

    /// A command that will run inside the namespace.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let file = Arc::clone(&self.file);
        let mut command = Command::new(program);
        // SAFETY: the closure only makes a system call, which is allowed between fork and exec.
        unsafe {
            command.pre_exec(move || Ok(setns(&*file, CloneFlags::CLONE_NEWNET)?));
        }
        command
    }

    /// Runs a command inside the namespace, which has to succeed, and returns its standard output.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        let (program, arguments) = words.split_first().context("an empty command")?;
        process::checked(self.command(program).args(arguments)).with_context(|| format!("in {}", self.name))
    }

    /// Runs lines of `ip` commands in one go, without the leading `ip`.
    pub fn ip(&self, script: &str) -> Result<()> {
        process::feed(self.command("ip").args(["-batch", "-"]), script)
            .with_context(|| format!("in {}", self.name))
            .map(drop)
    }

    /// Writes `value` to `/proc/sys/net/<path>` of the namespace.
    pub fn sysctl(&self, path: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/net/{path}");
        self.enter(|| std::fs::write(&path, value).with_context(|| path.clone()))
    }

    /// The index of a device of the namespace.
    pub fn ifindex(&self, device: &str) -> Result<u32> {
        self.enter(|| nix::net::if_::if_nametoindex(device).with_context(|| format!("no device {device}")))
    }

    /// How many frames that a veth received XDP has redirected.
    pub fn xdp_redirects(&self, device: &str) -> Result<u64> {
        let text = self.run(&["ethtool", "-S", device])?;
        let counts = text.lines().filter(|line| line.contains("xdp_redirect:"));
        counts.map(|line| Ok(line.rsplit(' ').next().unwrap_or_default().parse::<u64>()?)).sum()
    }

    /// The names of all devices of the namespace, sorted.
    pub fn devices(&self) -> Result<Vec<String>> {
        self.enter(|| {
            let all = nix::net::if_::if_nameindex()?;
            let mut names: Vec<_> = all.iter().map(|one| one.name().to_string_lossy().into_owned()).collect();
            names.sort();
            Ok(names)
        })
    }

    /// Waits until `device` has its carrier, and the kernel has acted on that.
    ///
    /// Carrier changes are handled by a work queue; until it has run, a device that is up still drops
    /// what is sent. Asking through ethtool makes the kernel catch up first (`linkwatch_sync_dev`).
    pub fn settle(&self, device: &str) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(5);
        process::wait_until(deadline, || {
            let text = self.run(&["ethtool", device])?;
            Ok(text.contains("Link detected: yes").then_some(()))
        })
        .with_context(|| format!("no carrier on {device}"))
    }

    /// The kernel's own number for this namespace (`SO_NETNS_COOKIE`), never used again after it.
    pub fn cookie(&self) -> Result<u64> {
        self.enter(|| {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
            let mut cookie = 0_u64;
            let mut length = libc::socklen_t::try_from(size_of::<u64>())?;
            // SAFETY: the socket is open, and both pointers are to locals of the sizes they say.
            let code = unsafe {
                libc::getsockopt(
                    socket.as_raw_fd(),
                    libc::SOL_SOCKET,
                    libc::SO_NETNS_COOKIE,
                    (&raw mut cookie).cast(),
                    &raw mut length,
                )
            };
            ensure!(code == 0, "SO_NETNS_COOKIE: {}", io::Error::last_os_error());
            Ok(cookie)
        })
    }
}

impl Drop for NetNs {
    fn drop(&mut self) {
        let deleted = process::checked(Command::new("ip").args(["netns", "del", &self.name]));
        if let Err(error) = deleted
            && !std::thread::panicking()
        {
            panic!("{error:#}");
        }
    }
}

fn enter(file: &File) -> Result<()> {
    setns(file, CloneFlags::CLONE_NEWNET).map_err(|error| anyhow!("entering a network namespace: {error}"))
}
